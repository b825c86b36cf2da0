#ifndef SENV_KEYS_H
#define SENV_KEYS_H

#include "lib/err.h"
#include "lib/secret.h"
#include "senv/seal.h"

/* Key files and key texts. A secret key file holds one line "senv-secret-key-1:<base64 of 32 bytes>" (mode 0600), or,
 * protected by a passphrase, "senv-locked-key-1:<base64>" (senv-format(7)); a public key is written
 * "senv-public-key-1:<base64 of 32 bytes>". */

int key_generate(struct secret *key_r, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e) MUST_USE;
/* Refuses to replace an existing file (ERR_INPUT). */
int key_write(const char *path, const struct secret *key, struct err *e) MUST_USE;
/* err ERR_DENIED when it is protected by a passphrase */
int key_read(const char *path, struct secret *key_r, struct err *e) MUST_USE;
int key_parse(const char *text, size_t len, struct secret *key_r, struct err *e) MUST_USE;
void key_public(const struct secret *key, unsigned char pub_r[SEAL_KEY_BYTES]);
/* The public half of a key file, as text; caller frees. err as key_read() */
int key_read_public(const char *path, char **text_r, struct err *e) MUST_USE;
char *key_public_text(const unsigned char pub[SEAL_KEY_BYTES]); /* caller frees */
/* "SHA256:" and the base64 of the hash of the 32 bytes, as ssh-keygen writes such; caller frees. */
char *key_fingerprint(const unsigned char pub[SEAL_KEY_BYTES]);
int key_public_parse(const char *text, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e) MUST_USE;

/* The text of a secret key, with its newline. */
void key_text(const struct secret *key, struct secret *text_r);

/* With a passphrase: argon2id and secretbox. key_unlock takes locked text and unlocked text alike. */
int key_is_locked(const char *text, size_t len);
int key_lock(const struct secret *key, const struct secret *passphrase, struct secret *text_r, struct err *e) MUST_USE;
/* err ERR_DENIED "wrong passphrase" */
int key_unlock(const char *text, size_t len, const struct secret *passphrase, struct secret *key_r,
	       struct err *e) MUST_USE;

/* Writes a key's text as key_write does. */
int key_write_text(const char *path, const struct secret *text, struct err *e) MUST_USE;

#endif
