/* A work tree that was made before, read-only, with an overlay of this box's own over it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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

/* In a child: into the container's mounts, by the path as it is there. */
static int attach_in(int mounts, int tree, const char *path)
{
	if (setns(mounts, CLONE_NEWNS)) return -1;
	return (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

/* The container had its mounts copied when it was made: it is given this one. Only our own init runs in it yet. */
static int give(const struct box_place *p, const char *path, pid_t container, struct err *e)
{
	_cleanup_free_ char *ns = xasprintf("/proc/%d/ns/mnt", (int)container);
	_cleanup_close_ int mounts = open(ns, O_RDONLY | O_CLOEXEC), dir = -1, tree = -1;
	int status;
	pid_t pid;

	if (mounts < 0) return err_sys(e, "cannot open '%s' in the box", ns);
	if (tree_mkdirs(p->root, path, &dir, e)) return -1; /* it is there: what is mounted on it */
	tree = (int)syscall(SYS_open_tree, dir, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0) return err_sys(e, "cannot copy the sources' mount");
	pid = fork();
	if (pid < 0) return err_sys(e, "cannot fork");
	if (pid == 0) _exit(attach_in(mounts, tree, path) ? errno : 0);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) return err_sys(e, "cannot wait for a child");
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	return errno ? err_sys(e, "cannot mount the sources in the container") : 0;
}

int box_tree(const struct box_place *p, const char *path, const char *name, int sent, pid_t ahead, struct err *e)
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
	return failed || (ahead && give(p, path, ahead, e)) ? -1 : 0;
}
