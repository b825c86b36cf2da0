/* Pulling. skopeo renames a blob into its place when it has all of it: after a pull that broke off the next one goes
 * on with the blobs that are still missing. */
#include "runner/sandbox/skopeo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"

enum { TRIES = 4, FIRST_WAIT_MS = 1000, LOOK_MS = 200, INSPECT_TIMEOUT_MS = 120000, STALL_MS = 120000 };

int skopeo_refuses(const char *complaint, enum err_kind *kind_r)
{
	static const struct {
		const char *says;
		enum err_kind kind;
	} answers[] = {
		{"unauthorized", ERR_DENIED},
		{"authentication required", ERR_DENIED},
		{"denied", ERR_DENIED},
		{"Source image rejected", ERR_DENIED},
		{"403 (Forbidden)", ERR_DENIED},
		{"manifest unknown", ERR_MISSING},
		{"name unknown", ERR_MISSING},
		{"repository name not known", ERR_MISSING},
		{"404 (Not Found)", ERR_MISSING},
		{"certificate", ERR_DENIED},
		{"HTTP response to HTTPS client", ERR_DENIED},
	};

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		if (!strstr(complaint, answers[i].says)) continue;
		*kind_r = answers[i].kind;
		return 1;
	}
	return 0;
}

/* In place: `\"` and the like as they were, line ends as blanks, none at the end. */
static void unquote(char *s)
{
	char *to = s;

	for (const char *from = s; *from; from++) {
		int quoted = *from == '\\' && from[1];

		if (quoted) from++;
		*to++ = quoted && strchr("nrt", *from) ? ' ' : *from;
	}
	while (to > s && strchr(" \\", to[-1])) to--; /* a backslash: its quote was the message's last */
	*to = '\0';
}

/* The last line says most: `time="…" level=fatal msg="…"`. */
static const char *last_line(struct buf *text)
{
	char *line, *msg;

	while (text->len && strchr("\n\"", text->data[text->len - 1])) text->data[--text->len] = '\0';
	line = strrchr(buf_str(text), '\n');
	line = line ? line + 1 : text->len ? text->data : NULL;
	msg = line ? strstr(line, "msg=\"") : NULL;
	if (msg) unquote(msg + 5);
	return msg ? msg + 5 : line ? line : "";
}

static int complain(struct child_status st, struct buf *said, struct err *e)
{
	const char *line = last_line(said);
	enum err_kind kind = ERR_REMOTE;

	(void)skopeo_refuses(line, &kind);
	return err_set(e, kind, "'skopeo' %s%s%.700s", child_status_str(st), *line ? ": " : "", line);
}

/* Whether to try again, after a while. */
static int again(const struct skopeo *s, int tries, const struct err *e)
{
	int wait = FIRST_WAIT_MS << tries;

	if (e->kind != ERR_REMOTE || tries + 1 >= TRIES) return 0;
	if (s->tell)
		layer_tell(s->tell, 1, -1, "%s; trying again in %d s (%d of %d)", e->text, wait / 1000, tries + 2,
			   (int)TRIES);
	poll(NULL, 0, wait);
	return 1;
}

int skopeo_inspect(const struct skopeo *s, const char *which, int config, struct buf *out, struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s%s", s->image, which);
	const char *argv[8] = {"skopeo", "inspect", "--raw"};
	struct child_status st;
	size_t n = 3;

	if (config) argv[n++] = "--config";
	if (s->anonymous) argv[n++] = "--no-creds";
	argv[n] = name;
	for (int tries = 0;; tries++) {
		_cleanup_buf_ struct buf said = BUF_INIT(1 << 16);

		buf_clear(out);
		if (child_run(&(struct child_opts){.argv = argv, .die_with_parent = 1}, NULL, INSPECT_TIMEOUT_MS, out,
			      &said, &st, e))
			return -1;
		if (child_ok(st)) return buf_check(out, name, e);
		(void)complain(st, &said, e);
		if (!again(s, tries, e)) return -1;
	}
}

static int64_t bytes_in(const char *dir, const char *prefix)
{
	DIR *list = opendir(dir);
	int64_t sum = 0;

	if (!list) return 0;
	for (struct dirent *d; (d = readdir(list));) {
		struct stat st;

		if (d->d_name[0] == '.' || strncmp(d->d_name, prefix, strlen(prefix)) != 0) continue;
		/* Blocks, not size: holes stand for blobs that are not needed. */
		if (!fstatat(dirfd(list), d->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
			sum += (int64_t)st.st_blocks * 512;
	}
	closedir(list);
	return sum;
}

/* Waits for pid; what has come into dir tells how far it is, and that it still goes on. */
static int watch(struct layer *tell, pid_t pid, int pidfd, const char *dir, int64_t total, struct child_status *st,
		 struct err *e)
{
	_cleanup_free_ char *blobs = xasprintf("%s/blobs/sha256", dir);
	struct pollfd pf = {.fd = pidfd, .events = POLLIN};
	int64_t before = -1, moved = clock_mono_ms();

	while (poll(&pf, 1, LOOK_MS) == 0) {
		int64_t now = bytes_in(dir, "oci-put-blob") + bytes_in(blobs, "");

		if (now != before) moved = clock_mono_ms();
		before = now;
		if (tell && total > 0)
			layer_tell(tell, 0, (int)((now < total ? now : total) * 99 / total), "pulling: %lld of %lld MB",
				   (long long)(now >> 20), (long long)(total >> 20));
		if (clock_mono_ms() - moved < STALL_MS) continue;
		kill(pid, SIGKILL);
		if (child_wait(pid, -1, st, e)) return -1;
		return err_set(e, ERR_REMOTE, "'skopeo' got nothing for %d s", STALL_MS / 1000);
	}
	return child_wait(pid, -1, st, e);
}

static int copy_once(struct layer *tell, const char *const *argv, const char *dir, int64_t total, struct err *e)
{
	_cleanup_close_ int says = memfd_create("skopeo", MFD_CLOEXEC), pidfd = -1;
	_cleanup_buf_ struct buf said = BUF_INIT(1 << 20);
	struct child_opts o = {.argv = argv, .die_with_parent = 1, .out = says, .err = says};
	struct child_status st;
	struct err unread;
	pid_t pid;

	if (says < 0) return err_sys(e, "cannot make a file in memory");
	if (child_start(&o, &pid, &pidfd, e) || watch(tell, pid, pidfd, dir, total, &st, e)) return -1;
	if (child_ok(st)) return 0;
	if (lseek(says, 0, SEEK_SET) || fs_read_fd(says, "complaint", &said, &unread)) buf_clear(&said);
	return complain(st, &said, e);
}

int skopeo_pull(const struct skopeo *s, const char *digest, const char *dir, int64_t total_bytes, struct err *e)
{
	_cleanup_free_ char *from = xasprintf("%s@%s", s->image, digest), *to = xasprintf("oci:%s:x", dir);
	const char *argv[8] = {"skopeo", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers"};
	size_t n = 4;

	if (s->anonymous) argv[n++] = "--src-no-creds";
	argv[n++] = from;
	argv[n] = to;
	for (int tries = 0;; tries++) {
		if (!copy_once(s->tell, argv, dir, total_bytes, e)) return 0;
		if (!again(s, tries, e)) return -1;
	}
}

int skopeo_unpack_archive(const char *file, const char *dir, struct layer *tell, struct err *e)
{
	_cleanup_free_ char *from = xasprintf("docker-archive:%s", file), *to = xasprintf("oci:%s:x", dir);
	const char *const argv[] = {"skopeo", "copy", "--quiet", "--dest-oci-accept-uncompressed-layers",
				    from,     to,     NULL};

	return copy_once(tell, argv, dir, 0, e);
}
