/* Boot proof: which kind, and what all kinds share. */
#include "runner/publish/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

/* --- console --- */

int console_open(struct console *k, const char *expect, check_say_fn *say, void *arg, int *write_r, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	if (fcntl(p[0], F_SETFL, O_NONBLOCK)) die("O_NONBLOCK");
	*k = (struct console){.fd = p[0], .expect = expect && *expect ? expect : NULL, .say = say, .arg = arg};
	buf_init(&k->window, (k->expect ? strlen(k->expect) : 0) + 65536);
	*write_r = p[1];
	return 0;
}

void console_feed(struct console *k, const char *data, size_t len)
{
	size_t want = k->expect ? strlen(k->expect) : 0;

	k->bytes += len;
	if (k->say) k->say(k->arg, data, len);
	if (!want || k->seen) return;
	buf_add(&k->window, data, len);
	k->seen = memmem(k->window.data, k->window.len, k->expect, want) != NULL;
	if (k->window.len >= want) buf_drop(&k->window, k->window.len - (want - 1));
}

void console_read(struct console *k)
{
	char chunk[16384];
	ssize_t n;

	while (k->fd >= 0) {
		n = read(k->fd, chunk, sizeof(chunk));
		if (n > 0)
			console_feed(k, chunk, (size_t)n);
		else if (n < 0 && errno == EAGAIN)
			return;
		else if (n == 0 || errno != EINTR)
			close_p(&k->fd);
	}
}

void console_release(struct console *k)
{
	close_p(&k->fd);
	buf_release(&k->window);
}

void console_line(struct console *k, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(2000);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	buf_addch(&line, '\n');
	if (k->say) k->say(k->arg, buf_str(&line), line.len);
}

/* --- verdicts --- */

int check_late(const struct plan_check *c, const struct console *k, int answered, const char *last, int64_t after_ms,
	       struct err *e)
{
	long long s = (long long)(after_ms + 999) / 1000;

	if (k->expect && !k->seen) return err_set(e, ERR_REMOTE, "did not say '%s' within %lld s", k->expect, s);
	if (c->http_path && !answered)
		return err_set(e, ERR_REMOTE, "did not answer GET %s within %lld s%s%s", c->http_path, s,
			       *last ? ": " : "", last);
	return err_set(e, ERR_REMOTE, "did not end within %lld s", s);
}

int check_ended(const struct plan_check *c, const struct console *k, int answered, const char *how, struct err *e)
{
	if (k->expect && !k->seen) return err_set(e, ERR_REMOTE, "%s before it said '%s'", how, k->expect);
	if (c->http_path && !answered) return err_set(e, ERR_REMOTE, "%s before it answered", how);
	return err_set(e, ERR_REMOTE, "%s", how);
}

/* --- the kinds --- */

static int look_at_file(const char *file, struct err *e)
{
	struct stat st;

	if (stat(file, &st)) return err_sys(e, "cannot find image '%s'", file);
	if (!S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "image '%s' is not a regular file", file);
	if (!st.st_size) return err_set(e, ERR_REMOTE, "the image is empty");
	return 0;
}

int check_boot(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg, struct err *e)
{
	if (c->boot == BOOT_NONE) return 0;
	if (c->http_path && c->boot != BOOT_UNIX)
		return err_set(e, ERR_INPUT, "an HTTP check of boot '%s' is not supported by this version",
			       plan_boot_name(c->boot));
	if (c->http_path && c->http_path[0] != '/')
		return err_set(e, ERR_INPUT, "bad path '%s' of the HTTP check: it does not begin with a slash",
			       c->http_path);
	if (c->boot == BOOT_COMMAND && !c->command) return err_set(e, ERR_INPUT, "the check has no command");
	if (look_at_file(env->file, e)) return -1;
	switch (c->boot) {
	case BOOT_NONE: return 0;
	case BOOT_UNIX:
	case BOOT_COMMAND: return check_box(c, env, say, arg, e);
	case BOOT_QEMU: return check_qemu(c, env, say, arg, e);
	case BOOT_SOLO5_SPT:
	case BOOT_SOLO5_HVT: break;
	}
	return err_set(e, ERR_INPUT, "boot '%s' is not supported by this version", plan_boot_name(c->boot));
}
