#ifndef SENV_SEAL_H
#define SENV_SEAL_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "lib/vec.h"

/* Values sealed to a repository's X25519 public key and cut into chunks; the format is senv-format(7). */

enum { SEAL_KEY_BYTES = 32 };

/* seal_value - seal and chunk.
 *  in   pub         recipient's public key
 *       scope       repository "owner/name"; NULL or "": any
 *       name        variable's name ([A-Za-z_][A-Za-z0-9_]*)
 *       chunk_bytes most bytes of base64 text in one chunk
 *  out  chunks_r    base64 text, in order
 *  err  ERR_INPUT bad name, chunk_bytes too small */
int seal_value(const unsigned char pub[SEAL_KEY_BYTES], const char *scope, const char *name, const void *value,
	       size_t len, size_t chunk_bytes, struct vec *chunks_r, struct err *e) MUST_USE;

/* seal_open - open all chunks of one value; nothing is handed out until the whole verifies.
 *  in   scope  whose chunks are accepted: this repository's and unscoped ones
 *       name   expected name; NULL: whatever the chunks say, as long as they agree
 *  out  name_r (may be NULL) caller frees; value_r
 *  err  ERR_DENIED / ERR_INPUT naming what is wrong: "chunk 2 of 5 of 'DEPLOY_KEY' is missing", … */
int seal_open(const struct secret *key, const char *scope, const char *name, const struct vec *chunks, char **name_r,
	      struct secret *value_r, struct err *e) MUST_USE;

#endif
