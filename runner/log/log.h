#ifndef RUNNER_LOG_LOG_H
#define RUNNER_LOG_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "senv/mask.h"

/* A job's log: masked bytes go to <dir>/log as they come, and to a side index <dir>/log.idx one record per write:
 * two little-endian 64-bit numbers, Unix milliseconds and the offset the bytes start at. */

struct log;

/* log_open - creates both files anew. mask: taken over (freed by log_close); may be NULL. max_bytes: past it the
 * log ends with one line that says so, and log_full() is true. */
int log_open(const char *dir, struct mask *mask, int64_t max_bytes, struct log **l_r, struct err *e) MUST_USE;
/* log_write - a failed write is remembered: every later call and log_close fail with it. */
int log_write(struct log *l, const void *data, size_t len, struct err *e) MUST_USE;
/* A line of our own; "\n" is added. A failure shows in log_close. */
void log_line(struct log *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int log_full(const struct log *l);
int64_t log_bytes(const struct log *l); /* written so far */
/* log_close - flush the masker, sync. out: length and BLAKE2b-256 of the whole as 64 hex digits. Frees *l always. */
int log_close(struct log **l, int64_t *bytes_r, char hash_r[65], struct err *e) MUST_USE;

#endif
