#ifndef RUNNER_PUBLISH_COMPRESS_H
#define RUNNER_PUBLISH_COMPRESS_H

#include <stdint.h>

#include "lib/err.h"

/* compress_bz2 - file `from` → new file `to` (mode 0600), bzip2 level 9, blocks in parallel on all cores; any
 * bunzip2 reads it and the same input always gives the same bytes. */
int compress_bz2(const char *from, const char *to, uint64_t *bytes_r, struct err *e) MUST_USE;

/* compress_name - the packed file's name: "www" → "www.bz2"; NULL: `packing` (NULL: "bzip2") is none that we know */
char *compress_name(const char *packing, const char *name);
/* compress_file - as compress_bz2, by the packing's own program: lbzip2 where it is installed and else our libbz2, xz,
 * zstd; "none" copies. The bytes depend on the input and the program's version, not on the machine's cores.
 *  out  by_r  what did it; static
 *  err  ERR_MISSING the program is not installed */
int compress_file(const char *packing, const char *from, const char *to, uint64_t *bytes_r, const char **by_r,
		  struct err *e) MUST_USE;

#endif
