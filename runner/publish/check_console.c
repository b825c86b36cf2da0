/* What an image under proof says: passed on, kept, and searched for what it must say. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

enum { TAIL_BYTES = 16384 };

int console_open(struct console *k, const char *expect, check_say_fn *say, void *arg, int *write_r, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	if (fcntl(p[0], F_SETFL, O_NONBLOCK)) die("O_NONBLOCK");
	*k = (struct console){.fd = p[0], .expect = expect && *expect ? expect : NULL, .say = say, .arg = arg};
	buf_init(&k->window, (k->expect ? strlen(k->expect) : 0) + 65536);
	buf_init(&k->tail, 2 * TAIL_BYTES);
	*write_r = p[1];
	return 0;
}

static void remember(struct console *k, const char *data, size_t len)
{
	if (len > TAIL_BYTES) {
		data += len - TAIL_BYTES;
		len = TAIL_BYTES;
	}
	buf_add(&k->tail, data, len);
	if (k->tail.len > TAIL_BYTES) buf_drop(&k->tail, k->tail.len - TAIL_BYTES);
}

void console_say(struct console *k, const char *data, size_t len)
{
	if (!k->say || !len) return;
	k->say(k->arg, data, len);
	k->mid_line = data[len - 1] != '\n';
}

void console_feed(struct console *k, const char *data, size_t len)
{
	size_t want = k->expect ? strlen(k->expect) : 0;
	struct err ignored; /* who keeps it is gone, and will end us */

	k->bytes += len;
	if (k->keep_fd > 0 && fs_write_all(k->keep_fd, data, len, "console", &ignored)) k->keep_fd = 0;
	if (k->quiet)
		remember(k, data, len);
	else
		console_say(k, data, len);
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
	buf_release(&k->tail);
}

void console_line(struct console *k, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(2000);
	va_list ap;

	if (k->mid_line) buf_addch(&line, '\n');
	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	buf_addch(&line, '\n');
	console_say(k, buf_str(&line), line.len);
}
