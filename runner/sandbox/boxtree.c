/* A work tree that was made before, read-only, with an overlay of this box's own over it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "runner/sandbox/box.h"
#include "runner/sandbox/tree.h"

/* As root the leader sends the tree as a detached mount, for the path leads through folders that only the host's root
 * may enter; an ordinary user's box had the folder of all trees opened before our mounts hid it. */
static int open_tree_folder(const struct box_place *p, const char *name, int sent, struct err *e)
{
	static const char where[] = BOX_HOME "/host/tree";
	int fd;

	if (sent < 0) {
		fd = openat(p->trees, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		return fd < 0 ? err_sys(e, "cannot open the tree '%s'", name) : fd;
	}
	if (mkdir(where, 0700)) return err_sys(e, "cannot make folder '%s' in the box", where);
	if (syscall(SYS_move_mount, sent, "", AT_FDCWD, where, MOVE_MOUNT_F_EMPTY_PATH))
		return err_sys(e, "cannot mount the tree '%s' in the box", name);
	return sent;
}

int box_tree(const struct box_place *p, const char *path, const char *name, int sent, struct err *e)
{
	_cleanup_close_ int dir = -1;
	_cleanup_free_ char *at = NULL, *options = NULL;
	int tree, failed = 0;

	if (tree_mkdirs(p->root, path, &dir, e)) return -1;
	at = xasprintf("/proc/self/fd/%d", dir);
	if (box_check_empty(at, path, e)) return -1;
	tree = open_tree_folder(p, name, sent, e);
	if (tree < 0) return -1;
	options = xasprintf("userxattr,lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d/tree,"
			    "workdir=/proc/self/fd/%d/tree-work,volatile",
			    tree, p->data, p->data);
	if (mount("overlay", at, "overlay", 0, options))
		failed = err_sys(e, "cannot mount the sources (run: runner doctor)");
	if (sent < 0) close(tree);
	return failed;
}
