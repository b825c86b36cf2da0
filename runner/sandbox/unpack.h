#ifndef RUNNER_SANDBOX_UNPACK_H
#define RUNNER_SANDBOX_UNPACK_H

#include <stdint.h>

#include "lib/err.h"

struct unpack_opts {
	int fd;
	const char *packed, *plain; /* SHA-256 in hex that the stream and its plain bytes must have; NULL: any */
	uint64_t max_bytes;         /* of what is unpacked; 0: no limit */
	int whiteouts;              /* it is a layer of an image: names with .wh. take away */
	uint64_t *bytes_r;          /* out: of all that was unpacked; may be NULL */
	int upper_fd;               /* the working folder is an overlay, and this is its upper folder; -1: it is none */
};

/* unpack_tar - unpack the tar archive (plain, gzip, bzip2, xz, zstd) that o->fd is open on into the working folder,
 * which should be the process's root folder: numeric owners, modes, times, user.* attributes and file capabilities;
 * no devices, nothing below /dev.
 *  err  ERR_INPUT not an archive, too large, another digest, or one that names what cannot be; ERR_SYS disk full, …
 *  src  image-spec 1.0, layer.md */
int unpack_tar(const struct unpack_opts *o, struct err *e) MUST_USE;

/* The internal command `runner unpack`: [--layer] [--packed HEX] [--plain HEX] [--max BYTES] [--lowers N], or --remove.
 * With N layers below, the working folder also has empty folders `merged` and `work`, and l/0 (top) … l/N-1. */
int unpack_main(int argc, char **argv, struct err *e) MUST_USE;

#endif
