#ifndef RUNNER_PUBLISH_COMPRESS_H
#define RUNNER_PUBLISH_COMPRESS_H

#include <stdint.h>

#include "lib/err.h"

/* compress_bz2 - file `from` → new file `to` (mode 0600), bzip2 level 9, blocks in parallel on all cores; any
 * bunzip2 reads it and the same input always gives the same bytes. */
int compress_bz2(const char *from, const char *to, uint64_t *bytes_r, struct err *e) MUST_USE;

#endif
