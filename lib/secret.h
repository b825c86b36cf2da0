#ifndef LIB_SECRET_H
#define LIB_SECRET_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/err.h"

/* Secret bytes: in sodium_malloc memory (guarded, never swapped where the system lets us lock it), wiped when
 * freed. Never put one in an error text, an argv or a log. */
struct secret {
	unsigned char *data; /* NULL while empty; data[len] is a NUL that is not counted */
	size_t len;
};

#define SECRET_INIT                                                                                                    \
	{                                                                                                              \
		0                                                                                                      \
	}
#define _cleanup_secret_ __attribute__((cleanup(secret_release)))

/* secret_setup - start libsodium, switch core dumps off. Call once at the start of a process that will hold
 * secrets; aborts when libsodium cannot start. */
void secret_setup(void);

void secret_alloc(struct secret *s, size_t len); /* releases what it held; bytes are zero */
void secret_set(struct secret *s, const void *data, size_t len);
void secret_release(struct secret *s);

/* secret_read_fd - all of fd, up to max bytes. err ERR_INPUT larger than max; ERR_SYS */
int secret_read_fd(int fd, const char *name, size_t max, struct secret *s, struct err *e) MUST_USE;
int secret_read_file(const char *path, size_t max, struct secret *s, struct err *e) MUST_USE;

#endif
