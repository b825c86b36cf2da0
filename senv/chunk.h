#ifndef SENV_CHUNK_H
#define SENV_CHUNK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* The header that stands before the payload inside each sealed chunk: fixed layout, little-endian.
 *   0  4  "senv"             16  8  bytes of the whole value     72  32  BLAKE2b-256 of the whole value
 *   4  1  version, 1         24 16  file id, random             104   n  name
 *   5  1  n, length of name  40 32  BLAKE2b-256 of the repository's name, or all zero: any
 *   6  2  zero                8  4  index, from 0                12   4  total, from 1
 * src: senv-format(7) */
enum { CHUNK_FIXED_BYTES = 104, CHUNK_ID_BYTES = 16, CHUNK_HASH_BYTES = 32 };

struct chunk {
	const char *name; /* borrowed, not NUL-terminated in what chunk_parse gives */
	size_t name_len;
	uint32_t index, total;
	uint64_t value_len;
	unsigned char id[CHUNK_ID_BYTES];
	unsigned char scope[CHUNK_HASH_BYTES];
	unsigned char hash[CHUNK_HASH_BYTES];
	const unsigned char *payload; /* borrowed */
	size_t payload_len;
};

/* Writes header and payload, CHUNK_FIXED_BYTES + name_len + payload_len bytes. */
void chunk_write(const struct chunk *c, unsigned char *out);

/* chunk_parse - the opened bytes of one chunk. Borrows from data.
 *  err  ERR_INPUT "no senv chunk", "version 2, …", "impossible …": the caller names the chunk */
int chunk_parse(const unsigned char *data, size_t len, struct chunk *c, struct err *e) MUST_USE;

#endif
