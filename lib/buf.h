#ifndef LIB_BUF_H
#define LIB_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "lib/err.h"

/* One growable byte buffer with a ceiling. data is always NUL-terminated (at data[len]) once anything was
 * added, NULL before; the bytes may hold NULs of their own. Passing the ceiling sets `overflow`, adds
 * nothing and is sticky: check once at the end with buf_check(). */
struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max; /* most bytes it may hold */
	int overflow;
};

#define BUF_INIT(max_bytes)                                                                                            \
	{                                                                                                              \
		.max = (max_bytes)                                                                                     \
	}
#define _cleanup_buf_ __attribute__((cleanup(buf_release)))

void buf_init(struct buf *b, size_t max_bytes);
void buf_release(struct buf *b);          /* frees; usable again, empty, with the same ceiling */
void buf_clear(struct buf *b);            /* len 0, memory kept, overflow forgotten */
char *buf_steal(struct buf *b);           /* the NUL-terminated bytes, never NULL; caller frees */
const char *buf_str(const struct buf *b); /* the bytes, "" when empty; borrowed */

void buf_add(struct buf *b, const void *data, size_t len);
void buf_addch(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_drop(struct buf *b, size_t n); /* removes the first n bytes */

/* buf_reserve - room for `more` bytes at data + len; NULL (and overflow) past the ceiling. The caller adds
 * what it wrote to len and keeps data[len] NUL. */
char *buf_reserve(struct buf *b, size_t more);

/* err ERR_INPUT "<what> is larger than N bytes" when the ceiling was passed */
int buf_check(const struct buf *b, const char *what, struct err *e) MUST_USE;

#endif
