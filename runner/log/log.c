/* A job's log on disk. Bytes are masked, appended and indexed as they come; nothing is kept in memory but what
 * the masker must hold back. The hash runs along, so that closing does not read the file again.
 * A write that failed once fails for good: a log with a hole must not look whole. */
#include "runner/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"

struct log {
	struct mask *mask;
	struct buf masked;
	int fd, index_fd;
	int64_t bytes, max_bytes;
	int full, failed;
	struct err failure;
	crypto_generichash_state hash;
};

static int create(const char *dir, const char *name, int *fd_r, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	*fd_r = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return *fd_r < 0 ? err_sys(e, "cannot create log '%s'", path) : 0;
}

static void release(struct log **lp)
{
	struct log *l = *lp;

	if (!l) return;
	mask_free(&l->mask);
	buf_release(&l->masked);
	close_p(&l->fd);
	close_p(&l->index_fd);
	free(l);
	*lp = NULL;
}

int log_open(const char *dir, struct mask *mask, int64_t max_bytes, struct log **l_r, struct err *e)
{
	__attribute__((cleanup(release))) struct log *l = xcalloc(1, sizeof(*l));

	l->mask = mask;
	l->fd = l->index_fd = -1;
	l->max_bytes = max_bytes;
	buf_init(&l->masked, 64 << 20);
	crypto_generichash_init(&l->hash, NULL, 0, 32);
	if (create(dir, "log", &l->fd, e) || create(dir, "log.idx", &l->index_fd, e)) return -1;
	*l_r = steal(l);
	return 0;
}

static void put_le64(unsigned char *p, uint64_t v)
{
	for (int i = 0; i < 8; i++) p[i] = (unsigned char)(v >> (8 * i));
}

/* Appends bytes that are already masked. */
static int append(struct log *l, const char *data, size_t len, struct err *e)
{
	unsigned char record[16];

	put_le64(record, (uint64_t)clock_unix_ms());
	put_le64(record + 8, (uint64_t)l->bytes);
	if (fs_write_all(l->fd, data, len, "log", e) || fs_write_all(l->index_fd, record, sizeof(record), "log.idx", e))
		return -1;
	crypto_generichash_update(&l->hash, (const unsigned char *)data, len);
	l->bytes += (int64_t)len;
	return 0;
}

/* Writes what the masker has let go, up to the ceiling. */
static int flush(struct log *l, struct err *e)
{
	static const char over[] = "\n\nThe log is longer than this box keeps for a job; the rest is not kept.\n";
	size_t room = (size_t)(l->max_bytes - l->bytes);
	int failed = 0;

	if (l->full || !l->masked.len) {
		buf_clear(&l->masked);
		return 0;
	}
	if (l->masked.len <= room) {
		failed = append(l, l->masked.data, l->masked.len, e);
	} else {
		l->full = 1;
		failed = (room && append(l, l->masked.data, room, e)) || append(l, over, sizeof(over) - 1, e);
	}
	buf_clear(&l->masked);
	if (!failed) return 0;
	l->failed = 1;
	l->failure = *e;
	return -1;
}

int log_write(struct log *l, const void *data, size_t len, struct err *e)
{
	enum { PIECE = 1 << 20 };
	const char *p = data;

	for (size_t done = 0; done < len && !l->failed;) {
		size_t n = len - done < PIECE ? len - done : PIECE;

		if (l->mask)
			mask_feed(l->mask, p + done, n, &l->masked);
		else
			buf_add(&l->masked, p + done, n);
		done += n;
		if (flush(l, e)) return -1;
	}
	if (!l->failed) return 0;
	*e = l->failure;
	return -1;
}

void log_line(struct log *l, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(1 << 20);
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	buf_addch(&line, '\n');
	if (line.overflow || log_write(l, line.data, line.len, &e)) return; /* remembered: log_close fails */
}

int log_full(const struct log *l)
{
	return l->full;
}

int64_t log_bytes(const struct log *l)
{
	return l->bytes;
}

int log_close(struct log **lp, int64_t *bytes_r, char hash_r[65], struct err *e)
{
	__attribute__((cleanup(release))) struct log *l = *lp;
	unsigned char hash[32];

	*lp = NULL;
	if (!l->failed && l->mask) {
		mask_end(l->mask, &l->masked);
		if (flush(l, e)) return -1;
	}
	if (l->failed) {
		*e = l->failure;
		return -1;
	}
	if (fsync(l->fd) || fsync(l->index_fd)) return err_sys(e, "cannot sync the log");
	crypto_generichash_final(&l->hash, hash, sizeof(hash));
	sodium_bin2hex(hash_r, 65, hash, sizeof(hash));
	*bytes_r = l->bytes;
	return 0;
}
