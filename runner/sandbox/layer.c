/* What the kinds of image share: running things as the box's root where a layer grows, unpacking, telling. */
#include "runner/sandbox/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/binfmt.h"
#include "runner/sandbox/userns.h"

enum { BINFMT_FD = 9, TELL_EVERY_MS = 200, UNPACK_POLL_MS = 200 };

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
	_cleanup_close_ int userns = -1, binfmt = -1;
	/* Held by the first process, and with it as long as anything runs: the others are its children. */
	struct child_fd hold[1];
	_cleanup_vec_ struct vec full = VEC_INIT;
	struct child_opts o = {.env = env, .cwd = l->temp, .in = in, .out = out, .err = out, .die_with_parent = 1};

	if (userns_open(&userns, e) || binfmt_open(userns, l->arch, &binfmt, e)) return -1;
	hold[0] = (struct child_fd){binfmt, BINFMT_FD};
	o.fds = hold;
	o.nfds = binfmt >= 0;
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

int layer_name_lowers(const struct layer *l, const struct vec *lowers, struct err *e)
{
	static const char *const folders[] = {"l", "merged", "work"};

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", l->temp, folders[i]);

		if (userns_mkdir(path, e)) return -1;
	}
	for (size_t i = 0; i < lowers->len; i++) {
		_cleanup_free_ char *to = xasprintf("../../%s/rootfs", lowers->items[i]);
		_cleanup_free_ char *path = xasprintf("%s/l/%zu", l->temp, i);

		if (symlink(to, path)) return err_sys(e, "cannot make link '%s'", path);
	}
	return 0;
}

static void unpack_argv(const struct layer_source *s, struct vec *argv)
{
	_cleanup_free_ char *runner = child_beside("slipway-runner");

	vec_add(argv, runner ? runner : child_self());
	vec_add(argv, "unpack");
	if (s->packed) vec_add_all(argv, (const char *const[]){"--packed", s->packed, NULL});
	if (s->plain) vec_add_all(argv, (const char *const[]){"--plain", s->plain, NULL});
	if (s->max_bytes) {
		vec_add(argv, "--max");
		vec_addf(argv, "%llu", (unsigned long long)s->max_bytes);
	}
	if (!s->lowers) return;
	vec_add(argv, "--layer");
	if (!s->lowers->len) return;
	vec_add(argv, "--lowers");
	vec_addf(argv, "%zu", s->lowers->len);
}

int layer_unpack(struct layer *l, const struct layer_source *s, uint64_t *bytes_r, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	_cleanup_buf_ struct buf said = BUF_INIT(4096);
	_cleanup_close_ int says = memfd_create("unpack", MFD_CLOEXEC);
	struct err unread;
	struct child_status st;
	pid_t pid;

	if (says < 0) return err_sys(e, "cannot make a file in memory");
	if (s->lowers && s->lowers->len && layer_name_lowers(l, s->lowers, e)) return -1;
	unpack_argv(s, &argv);
	layer_tell(l, 1, 0, "unpacking %s", s->name);
	if (layer_start(l, (const char *const *)vec_argv(&argv), NULL, 0, s->fd, says, &pid, e) ||
	    watch_unpack(l, pid, s->fd, s->name, &st, e))
		return -1;
	if (lseek(says, 0, SEEK_SET) || fs_read_fd(says, "complaint", &said, &unread)) buf_clear(&said);
	if (said.len) said.data[strcspn(said.data, "\n")] = '\0';
	if (!child_ok(st))
		return err_set(e, ERR_INPUT, "cannot unpack '%s': %s", s->name,
			       said.len ? said.data : child_status_str(st));
	if (bytes_r) *bytes_r = strtoull(buf_str(&said), NULL, 10);
	return 0;
}

uint64_t layer_max_bytes(void)
{
	const char *text = getenv("SLIPWAY_IMAGE_MB");
	unsigned long long mb = text ? strtoull(text, NULL, 10) : 0;

	return (mb && mb < 1ULL << 40 ? mb : 20480) << 20;
}

int layer_make_rootfs(struct layer *l, const struct layer_want *w, struct err *e)
{
	struct layer_source s = {.fd = w->fd, .name = w->file, .packed = w->hash, .max_bytes = layer_max_bytes()};

	return layer_unpack(l, &s, NULL, e);
}
