/* Keys and signatures in minisign's formats. Numbers are little-endian; each part is a line of base64 after a comment
 * line. */
#include "runner/publish/minisign.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

enum {
	B64 = sodium_base64_VARIANT_ORIGINAL,
	PUBLIC_BYTES = 2 + MINISIGN_ID + 32,
	SIG_BYTES = 2 + MINISIGN_ID + 64,
	/* a secret key's record */
	AT_KDF = 2,
	AT_CHECK_KIND = 4,
	AT_SALT = 6,
	AT_ID = AT_SALT + 32 + 8 + 8,                /* salt, operations, memory: all zero without a password */
	SECRET_BYTES = AT_ID + MINISIGN_SECRET + 32, /* a checksum at its end, which only a password makes */
};

static const char untrusted[] = "untrusted comment: ";
static const char trusted[] = "trusted comment: ";

static char *base64(const void *data, size_t len)
{
	size_t size = sodium_base64_ENCODED_LEN(len, B64);
	char *text = xmalloc(size);

	return sodium_bin2base64(text, size, data, len, B64);
}

/* The next line, without its end; *at behind it. 0: there is none. */
static int next_line(const char **at, const char *end, const char **line_r, size_t *len_r)
{
	const char *nl;

	if (*at >= end) return 0;
	nl = memchr(*at, '\n', (size_t)(end - *at));
	*line_r = *at;
	*len_r = (size_t)((nl ? nl : end) - *at);
	*at = nl ? nl + 1 : end;
	if (*len_r && (*line_r)[*len_r - 1] == '\r') --*len_r;
	return 1;
}

static int decode(const char *line, size_t len, unsigned char *out, size_t want)
{
	size_t got = 0;

	return sodium_base642bin(out, want, line, len, NULL, &got, NULL, B64) || got != want ? -1 : 0;
}

static int starts(const char *line, size_t len, const char *with)
{
	return len >= strlen(with) && !memcmp(line, with, strlen(with));
}

void minisign_id_text(const unsigned char id[MINISIGN_ID], char text_r[17])
{
	unsigned long long n = 0;

	for (size_t i = MINISIGN_ID; i-- > 0;) n = n << 8 | id[i];
	snprintf(text_r, 17, "%llX", n);
}

/* --- keys --- */

/* A key without a password has no checksum. But the seed makes the public half, which stands behind it. */
static int is_whole(const unsigned char *key)
{
	unsigned char pub[32];
	_cleanup_secret_ struct secret made = SECRET_INIT;

	secret_alloc(&made, crypto_sign_SECRETKEYBYTES);
	crypto_sign_seed_keypair(pub, made.data, key);
	return !sodium_memcmp(made.data, key, crypto_sign_SECRETKEYBYTES);
}

void minisign_generate(struct secret *text_r)
{
	static const char head[] = "untrusted comment: minisign secret key of a Slipway runner\n";
	_cleanup_secret_ struct secret record = SECRET_INIT;
	size_t size = sodium_base64_ENCODED_LEN(SECRET_BYTES, B64); /* its NUL becomes the newline */
	unsigned char pub[32];

	secret_alloc(&record, SECRET_BYTES);
	memcpy(record.data, "Ed\0\0B2", 6);
	randombytes_buf(record.data + AT_ID, MINISIGN_ID);
	crypto_sign_keypair(pub, record.data + AT_ID + MINISIGN_ID);
	secret_alloc(text_r, strlen(head) + size);
	memcpy(text_r->data, head, strlen(head));
	sodium_bin2base64((char *)text_r->data + strlen(head), size, record.data, SECRET_BYTES, B64);
	text_r->data[text_r->len - 1] = '\n';
}

int minisign_secret_parse(const struct secret *text, struct secret *key_r, struct err *e)
{
	static const unsigned char no_password[2] = {0, 0};
	_cleanup_secret_ struct secret record = SECRET_INIT;
	const char *at = text->len ? (const char *)text->data : "", *end = at + text->len, *line;
	size_t len;

	secret_alloc(&record, SECRET_BYTES);
	if (!next_line(&at, end, &line, &len) || !starts(line, len, untrusted) || !next_line(&at, end, &line, &len) ||
	    decode(line, len, record.data, SECRET_BYTES) || memcmp(record.data, "Ed", 2) != 0 ||
	    memcmp(record.data + AT_CHECK_KIND, "B2", 2) != 0)
		return err_set(e, ERR_INPUT, "not a minisign secret key");
	if (memcmp(record.data + AT_KDF, no_password, 2) != 0)
		return err_set(e, ERR_INPUT, "the key has a password: make one without (`minisign -G -W`)");
	if (!is_whole(record.data + AT_ID + MINISIGN_ID))
		return err_set(e, ERR_INPUT, "the key is damaged: its halves do not fit");
	secret_set(key_r, record.data + AT_ID, MINISIGN_SECRET);
	return 0;
}

void minisign_public_of(const struct secret *key, struct minisign_public *pub_r)
{
	if (key->len != MINISIGN_SECRET) die("a signing key of %zu bytes", key->len);
	memcpy(pub_r->id, key->data, MINISIGN_ID);
	crypto_sign_ed25519_sk_to_pk(pub_r->key, key->data + MINISIGN_ID);
}

char *minisign_public_line(const struct minisign_public *pub)
{
	unsigned char record[PUBLIC_BYTES] = {'E', 'd'};

	memcpy(record + 2, pub->id, MINISIGN_ID);
	memcpy(record + 2 + MINISIGN_ID, pub->key, 32);
	return base64(record, sizeof(record));
}

char *minisign_public_text(const struct minisign_public *pub)
{
	_cleanup_free_ char *line = minisign_public_line(pub);
	char id[17];

	minisign_id_text(pub->id, id);
	return xasprintf("untrusted comment: minisign public key %s\n%s\n", id, line);
}

int minisign_public_parse(const char *text, size_t len, struct minisign_public *pub_r, struct err *e)
{
	const char *at = text, *end = text + len, *line;
	unsigned char record[PUBLIC_BYTES];
	size_t n = 0;

	if (next_line(&at, end, &line, &n) && starts(line, n, untrusted) && !next_line(&at, end, &line, &n)) n = 0;
	if (!n || decode(line, n, record, sizeof(record)) || memcmp(record, "Ed", 2) != 0)
		return err_set(e, ERR_INPUT, "not a minisign public key");
	memcpy(pub_r->id, record + 2, MINISIGN_ID);
	memcpy(pub_r->key, record + 2 + MINISIGN_ID, 32);
	return 0;
}

/* --- signatures --- */

static void hash_of(const void *data, size_t len, unsigned char hash_r[64])
{
	crypto_generichash(hash_r, 64, data, len, NULL, 0);
}

char *minisign_sign(const struct secret *key, const void *data, size_t len, const char *comment)
{
	unsigned char hash[64], record[SIG_BYTES] = {'E', 'D'}, global[64];
	unsigned char *sig = record + 2 + MINISIGN_ID;
	_cleanup_free_ unsigned char *both = NULL;
	_cleanup_free_ char *first = NULL, *second = NULL;
	size_t n = strlen(comment);

	if (key->len != MINISIGN_SECRET || n > MINISIGN_MAX_COMMENT || strpbrk(comment, "\r\n"))
		die("a signature that minisign could not read");
	memcpy(record + 2, key->data, MINISIGN_ID);
	hash_of(data, len, hash);
	crypto_sign_detached(sig, NULL, hash, sizeof(hash), key->data + MINISIGN_ID);
	both = xmalloc(64 + n);
	memcpy(both, sig, 64);
	memcpy(both + 64, comment, n);
	crypto_sign_detached(global, NULL, both, 64 + n, key->data + MINISIGN_ID);
	first = base64(record, sizeof(record));
	second = base64(global, sizeof(global));
	return xasprintf("%ssignature by a Slipway runner\n%s\n%s%s\n%s\n", untrusted, first, trusted, comment, second);
}

int minisign_signature_parse(const char *text, size_t len, struct minisign_signature *s_r, struct err *e)
{
	const char *at = text, *end = text + len, *line;
	unsigned char record[SIG_BYTES];
	size_t n;

	if (!next_line(&at, end, &line, &n) || !starts(line, n, untrusted))
		return err_set(e, ERR_INPUT, "is not a signature: no untrusted comment");
	if (!next_line(&at, end, &line, &n) || decode(line, n, record, sizeof(record)))
		return err_set(e, ERR_INPUT, "is not a signature: its second line is none");
	if (record[0] != 'E' || (record[1] != 'D' && record[1] != 'd'))
		return err_set(e, ERR_INPUT, "is not a signature: of an unknown kind");
	if (!next_line(&at, end, &line, &n) || !starts(line, n, trusted))
		return err_set(e, ERR_INPUT, "is not a signature: no trusted comment");
	line += strlen(trusted);
	n -= strlen(trusted);
	if (n > MINISIGN_MAX_COMMENT || memchr(line, '\0', n))
		return err_set(e, ERR_INPUT, "is not a signature: its comment is too long or holds a NUL");
	memcpy(s_r->comment, line, n);
	s_r->comment[n] = '\0';
	if (!next_line(&at, end, &line, &n) || decode(line, n, s_r->global, 64))
		return err_set(e, ERR_INPUT, "is not a signature: its fourth line is none");
	s_r->prehashed = record[1] == 'D';
	memcpy(s_r->id, record + 2, MINISIGN_ID);
	memcpy(s_r->sig, record + 2 + MINISIGN_ID, 64);
	return 0;
}

int minisign_verify(const struct minisign_public *pub, const struct minisign_signature *s, const void *data, size_t len,
		    struct err *e)
{
	size_t n = strlen(s->comment);
	_cleanup_free_ unsigned char *both = xmalloc(64 + n);
	unsigned char hash[64];
	char theirs[17], ours[17];

	if (memcmp(pub->id, s->id, MINISIGN_ID) != 0) {
		minisign_id_text(s->id, theirs);
		minisign_id_text(pub->id, ours);
		return err_set(e, ERR_DENIED, "was signed by key %s, not by %s", theirs, ours);
	}
	hash_of(data, len, hash);
	if (crypto_sign_verify_detached(s->sig, s->prehashed ? hash : data, s->prehashed ? sizeof(hash) : len,
					pub->key))
		return err_set(e, ERR_DENIED, "does not fit what was signed");
	memcpy(both, s->sig, 64);
	memcpy(both + 64, s->comment, n);
	if (crypto_sign_verify_detached(s->global, both, 64 + n, pub->key))
		return err_set(e, ERR_DENIED, "has a changed comment");
	return 0;
}
