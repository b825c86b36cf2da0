#ifndef RUNNER_SANDBOX_FEED_H
#define RUNNER_SANDBOX_FEED_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* A compressed stream as plain bytes: a thread of its own reads it, takes off gzip, bzip2, xz or zstd (or nothing),
 * and hashes both sides of that, while the caller uses what is there. */

struct feed;

enum { FEED_DIGEST_BYTES = 65 }; /* 64 hex digits and a NUL */

/* feed_open - in  fd  read from where it stands to its end; stays the caller's
 *                 max_bytes  more plain bytes than that are an error; 0: any number
 *             err ERR_SYS no thread */
int feed_open(int fd, uint64_t max_bytes, struct feed **f_r, struct err *e) MUST_USE;

/* feed_read - the next bytes, good until the next call. 1 and len_r > 0; 0 at the end; -1 ERR_INPUT damaged or too
 * large, ERR_SYS */
int feed_read(struct feed *f, const void **data_r, size_t *len_r, struct err *e) MUST_USE;

/* feed_finish - read the rest, and say the SHA-256 of the stream and of its plain bytes, in hex. */
int feed_finish(struct feed *f, char packed_r[FEED_DIGEST_BYTES], char plain_r[FEED_DIGEST_BYTES],
		struct err *e) MUST_USE;

void feed_close(struct feed **f); /* also half-way; takes NULL, leaves NULL */

#endif
