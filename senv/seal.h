#ifndef SENV_SEAL_H
#define SENV_SEAL_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "lib/vec.h"

/* Values sealed to a repository's X25519 public key and cut into chunks; the format is senv-format(7). */

enum {
	SEAL_KEY_BYTES = 32,
	SEAL_MAX_NAME = 255,
	SEAL_MAX_VALUE = 16 << 20, /* bytes of one value */
	SEAL_MAX_CHUNKS = 1 << 20, /* of one value */
	SEAL_DEFAULT_CHUNK = 1024, /* base64 text that still reads well in a YAML file */
};

/* A variable's name: [A-Za-z_][A-Za-z0-9_]*, at most SEAL_MAX_NAME. err ERR_INPUT */
int seal_check_name(const char *name, struct err *e) MUST_USE;

/* Bytes of the value that fit in one chunk of at most text_bytes of base64; 0: not even one. */
size_t seal_payload_bytes(const char *name, size_t text_bytes);

struct seal_params {
	const unsigned char *pub; /* recipient's public key, SEAL_KEY_BYTES */
	const char *scope;        /* repository "owner/name"; NULL or "": any */
	const char *name;         /* the variable's */
	size_t payload_bytes;     /* of the value in one chunk, from 1 */
};

/* seal_make - seal and chunk.
 *  out  chunks_r  base64 text, in order; at least one, also for an empty value
 *  err  ERR_INPUT bad name, payload_bytes 0, value or number of chunks too large */
int seal_make(const struct seal_params *p, const void *value, size_t len, struct vec *chunks_r, struct err *e) MUST_USE;

/* seal_value - seal_make for chunks of at most chunk_bytes of base64 text.
 *  err  ERR_INPUT as there; chunk_bytes too small */
int seal_value(const unsigned char pub[SEAL_KEY_BYTES], const char *scope, const char *name, const void *value,
	       size_t len, size_t chunk_bytes, struct vec *chunks_r, struct err *e) MUST_USE;

/* seal_open - open all chunks of one value; nothing is handed out until the whole verifies.
 *  in   scope  whose chunks are accepted: this repository's and unscoped ones; NULL: unscoped ones only
 *       name   expected name; NULL: whatever the chunks say, as long as they agree
 *       chunks in any order, white space inside allowed
 *  out  name_r (may be NULL) caller frees; value_r
 *  err  ERR_DENIED (key, changed bytes, name, repository) / ERR_INPUT (missing, twice, mixed, cut, no base64),
 *       naming what is wrong: "chunk 2 of 5 of 'DEPLOY_KEY' is missing", … */
int seal_open(const struct secret *key, const char *scope, const char *name, const struct vec *chunks, char **name_r,
	      struct secret *value_r, struct err *e) MUST_USE;

/* seal_again - the same value to another key: opened and checked as by seal_open, but for its repository, which stays
 * what it was, as do the name and the pieces: chunk i of chunks_r has the length of chunk i of chunks.
 *  out  name_r (may be NULL) caller frees */
int seal_again(const struct secret *key, const unsigned char pub[SEAL_KEY_BYTES], const char *name,
	       const struct vec *chunks, char **name_r, struct vec *chunks_r, struct err *e) MUST_USE;

#endif
