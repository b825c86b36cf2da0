#ifndef RUNNER_PUBLISH_MINISIGN_H
#define RUNNER_PUBLISH_MINISIGN_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/secret.h"

/* minisign's formats: what is signed here `minisign -V` verifies, and the other way round. Signatures are Ed25519 of
 * the BLAKE2b-512 hash ("ED"); the older "Ed", of the bytes themselves, is verified too.
 * src  https://jedisct1.github.io/minisign/, "signature format", "public key format", "secret key format" */

enum { MINISIGN_ID = 8, MINISIGN_SECRET = MINISIGN_ID + 64, MINISIGN_MAX_COMMENT = 8000, MINISIGN_MAX_FILE = 20000 };

struct minisign_public {
	unsigned char id[MINISIGN_ID]; /* random: tells keys apart, proves nothing */
	unsigned char key[32];
};

struct minisign_signature {
	unsigned char id[MINISIGN_ID];
	unsigned char sig[64], global[64]; /* of the data; of sig and the comment */
	int prehashed;
	char comment[MINISIGN_MAX_COMMENT + 1]; /* trusted only after minisign_verify */
};

/* A new key: the text of its file, as `minisign -G -W` would write it. */
void minisign_generate(struct secret *text_r);
/* minisign_secret_parse - out: MINISIGN_SECRET bytes, the id first.
 *  err ERR_INPUT not a key, damaged, or protected by a password. The text holds nothing of the key */
int minisign_secret_parse(const struct secret *text, struct secret *key_r, struct err *e) MUST_USE;
void minisign_public_of(const struct secret *key, struct minisign_public *pub_r);

/* The file's two lines; the second one alone is what `minisign -P` takes. Callers free. */
char *minisign_public_text(const struct minisign_public *pub);
char *minisign_public_line(const struct minisign_public *pub);
/* Either form. err ERR_INPUT */
int minisign_public_parse(const char *text, size_t len, struct minisign_public *pub_r, struct err *e) MUST_USE;
/* As minisign shows it: upper-case hex digits, without leading zeros. */
void minisign_id_text(const unsigned char id[MINISIGN_ID], char text_r[17]);

/* minisign_sign - the signature file's text; caller frees. The same input gives the same text.
 *  in  comment  one line, at most MINISIGN_MAX_COMMENT bytes */
char *minisign_sign(const struct secret *key, const void *data, size_t len, const char *comment);
/* err ERR_INPUT "is not a signature: why" */
int minisign_signature_parse(const char *text, size_t len, struct minisign_signature *s_r, struct err *e) MUST_USE;
/* err ERR_DENIED "was signed by key …, not by …", "does not fit what was signed", "has a changed comment" */
int minisign_verify(const struct minisign_public *pub, const struct minisign_signature *s, const void *data, size_t len,
		    struct err *e) MUST_USE;

#endif
