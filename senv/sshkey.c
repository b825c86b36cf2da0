/* An ed25519 key pair as OpenSSH writes it. All that holds the private half is guarded memory. */
#include "senv/sshkey.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>

enum { MAX_COMMENT = 200, MAX_BYTES = 1024, LINE = 70 };

static const char type[] = "ssh-ed25519";

/* Bytes in the format's own encoding: numbers of 32 bits, big-endian; a string has its length before it. */
struct wire {
	unsigned char *data;
	size_t len;
};

static void put(struct wire *w, const void *data, size_t len)
{
	if (len > MAX_BYTES - w->len) die("an ssh key of over %d bytes", MAX_BYTES);
	memcpy(w->data + w->len, data, len);
	w->len += len;
}

static void put_u32(struct wire *w, uint32_t n)
{
	unsigned char be[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
			       (unsigned char)n};

	put(w, be, sizeof(be));
}

static void put_string(struct wire *w, const void *data, size_t len)
{
	put_u32(w, (uint32_t)len);
	put(w, data, len);
}

static void put_public(struct wire *w, const unsigned char *pk)
{
	put_string(w, type, strlen(type));
	put_string(w, pk, crypto_sign_PUBLICKEYBYTES);
}

/* The part that a passphrase would encrypt. */
static void put_private(struct wire *w, const unsigned char *pk, const unsigned char *sk, const char *comment)
{
	uint32_t check = randombytes_random();

	put_u32(w, check);
	put_u32(w, check);
	put_public(w, pk);
	put_string(w, sk, crypto_sign_SECRETKEYBYTES);
	put_string(w, comment, strlen(comment));
	for (unsigned char pad = 1; w->len % 8; pad++) put(w, &pad, 1);
}

static void put_file(struct wire *w, const unsigned char *pk, const struct wire *inner)
{
	static const char magic[] = "openssh-key-v1"; /* with its NUL */
	unsigned char blob[4 + sizeof(type) - 1 + 4 + crypto_sign_PUBLICKEYBYTES];
	struct wire public = {.data = blob};

	put_public(&public, pk);
	put(w, magic, sizeof(magic));
	put_string(w, "none", 4); /* cipher */
	put_string(w, "none", 4); /* key derivation */
	put_string(w, "", 0);     /* its options */
	put_u32(w, 1);
	put_string(w, public.data, public.len);
	put_string(w, inner->data, inner->len);
}

static void pem_text(const struct wire *file, struct secret *text_r)
{
	static const char head[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n",
			  tail[] = "-----END OPENSSH PRIVATE KEY-----\n";
	_cleanup_secret_ struct secret b64 = SECRET_INIT;
	size_t size = sodium_base64_ENCODED_LEN(file->len, sodium_base64_VARIANT_ORIGINAL), len = size - 1, at = 0;

	secret_alloc(&b64, size);
	sodium_bin2base64((char *)b64.data, size, file->data, file->len, sodium_base64_VARIANT_ORIGINAL);
	secret_alloc(text_r, strlen(head) + len + (len + LINE - 1) / LINE + strlen(tail));
	memcpy(text_r->data, head, strlen(head));
	at += strlen(head);
	for (size_t i = 0; i < len; i += LINE) {
		size_t n = len - i < LINE ? len - i : LINE;

		memcpy(text_r->data + at, b64.data + i, n);
		at += n;
		text_r->data[at++] = '\n';
	}
	memcpy(text_r->data + at, tail, strlen(tail));
}

static char *public_text(const unsigned char *pk, const char *comment)
{
	unsigned char blob[4 + sizeof(type) - 1 + 4 + crypto_sign_PUBLICKEYBYTES];
	char b64[sodium_base64_ENCODED_LEN(sizeof(blob), sodium_base64_VARIANT_ORIGINAL)];
	struct wire public = {.data = blob};

	put_public(&public, pk);
	sodium_bin2base64(b64, sizeof(b64), public.data, public.len, sodium_base64_VARIANT_ORIGINAL);
	return xasprintf("%s %s %s", type, b64, comment);
}

int sshkey_make(const char *comment, struct secret *private_r, char **public_r, struct err *e)
{
	_cleanup_secret_ struct secret sk = SECRET_INIT, inner_bytes = SECRET_INIT, file_bytes = SECRET_INIT;
	unsigned char pk[crypto_sign_PUBLICKEYBYTES];
	struct wire inner, file;
	size_t len = strlen(comment);

	if (len > MAX_COMMENT) return err_set(e, ERR_INPUT, "the key's comment is longer than %d bytes", MAX_COMMENT);
	for (size_t i = 0; i < len; i++)
		if (comment[i] < ' ' || comment[i] > '~')
			return err_set(e, ERR_INPUT, "the key's comment must be printable ASCII");
	secret_alloc(&sk, crypto_sign_SECRETKEYBYTES);
	secret_alloc(&inner_bytes, MAX_BYTES);
	secret_alloc(&file_bytes, MAX_BYTES);
	if (crypto_sign_keypair(pk, sk.data)) return err_set(e, ERR_SYS, "cannot make an ed25519 key pair");
	inner = (struct wire){.data = inner_bytes.data};
	file = (struct wire){.data = file_bytes.data};
	put_private(&inner, pk, sk.data, comment);
	put_file(&file, pk, &inner);
	pem_text(&file, private_r);
	*public_r = public_text(pk, comment);
	return 0;
}
