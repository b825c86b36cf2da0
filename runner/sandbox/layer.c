/* What the kinds of image share: running things as the box's root where a layer grows, unpacking, telling. */
#include "runner/sandbox/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/userns.h"

enum { TELL_EVERY_MS = 200, UNPACK_POLL_MS = 200 };

void layer_tell(struct layer *l, int stage, int percent, const char *fmt, ...)
{
	int64_t now = clock_mono_ms();
	_cleanup_buf_ struct buf line = BUF_INIT(1000);
	va_list ap;

	if (!l->progress || (!stage && l->told_ms && now - l->told_ms < TELL_EVERY_MS)) return;
	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	l->told_ms = now;
	if (percent > l->percent) l->percent = percent;
	l->progress(l->arg, buf_str(&line), percent < 0 ? percent : l->percent);
}

/* A pid namespace besides: whatever mmdebstrap started ends with it, and a bind mount of the folder we stand in is
 * the one way to it that needs no right to the folders above. */
static const char *const reach_argv[] = {
	"unshare",      "--pid", "--fork", "--kill-child",
	"--mount-proc", "sh",    "-c",     "mount -c --bind . " LAYER_REACH " && cd " LAYER_REACH " && exec \"$@\"",
	"sh",           NULL};

int layer_start(struct layer *l, const char *const *argv, const char *const *env, int reach, int in, int out,
		pid_t *pid_r, struct err *e)
{
	_cleanup_close_ int userns = -1;
	_cleanup_vec_ struct vec full = VEC_INIT;
	struct child_opts o = {.env = env, .cwd = l->temp, .in = in, .out = out, .err = out, .die_with_parent = 1};

	if (userns_open(&userns, e)) return -1;
	if (reach) vec_add_all(&full, reach_argv);
	vec_add_all(&full, argv);
	o.argv = (const char *const *)vec_argv(&full);
	o.userns_fd = userns;
	return child_start(&o, pid_r, NULL, e);
}

int layer_discard(const char *path, struct err *e)
{
	return userns_remove_tree(path, e);
}

/* Waits for pid; meanwhile the offset of the file that it reads tells how far it is. */
static int watch_unpack(struct layer *l, pid_t pid, int fd, const char *name, struct child_status *st, struct err *e)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd pf = {.fd = pidfd, .events = POLLIN};
	struct stat file;

	if (pidfd >= 0 && !fstat(fd, &file) && file.st_size > 0)
		while (poll(&pf, 1, UNPACK_POLL_MS) == 0) {
			off_t at = lseek(fd, 0, SEEK_CUR);

			if (at >= 0) layer_tell(l, 0, (int)(at * 99 / file.st_size), "unpacking %s", name);
		}
	return child_wait(pid, -1, st, e);
}

int layer_unpack(struct layer *l, int fd, const char *name, struct err *e)
{
	_cleanup_free_ char *runner = child_beside("runner");
	const char *const argv[] = {runner ? runner : child_self(), "unpack", NULL};
	_cleanup_buf_ struct buf complaint = BUF_INIT(4096);
	_cleanup_close_ int says = memfd_create("unpack", MFD_CLOEXEC);
	struct err unread;
	struct child_status st;
	pid_t pid;

	if (says < 0) return err_sys(e, "cannot make a file in memory");
	layer_tell(l, 1, 0, "unpacking %s", name);
	if (layer_start(l, argv, NULL, 0, fd, says, &pid, e) || watch_unpack(l, pid, fd, name, &st, e)) return -1;
	if (child_ok(st)) return 0;
	if (lseek(says, 0, SEEK_SET) || fs_read_fd(says, "complaint", &complaint, &unread)) buf_clear(&complaint);
	if (complaint.len) complaint.data[strcspn(complaint.data, "\n")] = '\0';
	return err_set(e, ERR_INPUT, "cannot unpack '%s': %s", name,
		       complaint.len ? complaint.data : child_status_str(st));
}

int layer_make_rootfs(struct layer *l, const struct layer_want *w, struct err *e)
{
	return layer_unpack(l, w->fd, w->file, e);
}
