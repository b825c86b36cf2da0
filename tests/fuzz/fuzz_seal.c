/* The chunk reader: any text as chunks (one a line), any bytes as an opened header, and sealed chunks changed by the
 * input. What opens must be what was sealed. */
#include <sodium.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "senv/chunk.h"
#include "senv/keys.h"
#include "senv/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char value[] = "one two three four five six";

/* The input says which chunk, and what becomes of it. */
static void change(struct vec *v, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i + 3 <= size && i < 12 && v->len; i += 3) {
		char *chunk = v->items[data[i] % v->len];
		size_t len = strlen(chunk);

		switch (data[i + 1] % 4) {
		case 0:
			if (len) chunk[data[i + 2] % len] = (char)(data[i + 2] | 1);
			break;
		case 1: chunk[len > data[i + 2] ? len - data[i + 2] : 0] = '\0'; break;
		case 2: vec_add(v, chunk); break;
		case 3:
			free(chunk);
			v->items[data[i] % v->len] = v->items[v->len - 1];
			v->items[--v->len] = NULL;
			break;
		}
	}
}

static char *boxed(const unsigned char *pub, const uint8_t *data, size_t size)
{
	size_t room = sodium_base64_ENCODED_LEN(size + crypto_box_SEALBYTES, sodium_base64_VARIANT_ORIGINAL);
	unsigned char *box = xmalloc(size + crypto_box_SEALBYTES);
	char *text = xmalloc(room);

	crypto_box_seal(box, data, size, pub);
	sodium_bin2base64(text, room, box, size + crypto_box_SEALBYTES, sodium_base64_VARIANT_ORIGINAL);
	free(box);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct secret key = SECRET_INIT;
	static unsigned char pub[SEAL_KEY_BYTES];
	struct seal_params p = {.pub = pub, .name = "KEY", .payload_bytes = 7};
	struct vec texts = VEC_INIT, sealed = VEC_INIT, forged = VEC_INIT;
	struct secret got = SECRET_INIT;
	struct chunk c;
	struct err e;

	if (!key.data) {
		secret_setup();
		if (key_generate(&key, pub, &e)) abort();
	}
	if (!chunk_parse(data, size, &c, &e) && c.payload_len + c.name_len + CHUNK_FIXED_BYTES != size) abort();

	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t n = end ? (size_t)(end - data) - at : size - at;

		vec_take(&texts, xstrndup((const char *)data + at, n));
		at += n + 1;
	}
	if (!seal_open(&key, "a/b", NULL, &texts, NULL, &got, &e)) abort(); /* nobody guesses a sealed box */

	if (seal_make(&p, value, strlen(value), &sealed, &e)) abort();
	change(&sealed, data, size);
	if (!seal_open(&key, NULL, "KEY", &sealed, NULL, &got, &e) &&
	    (got.len != strlen(value) || memcmp(got.data, value, got.len)))
		abort();

	/* A liar's chunk, made with the public key, alone and twice. */
	vec_take(&forged, boxed(pub, data, size));
	if (!seal_open(&key, NULL, NULL, &forged, NULL, &got, &e) && (got.len > size || got.len != c.value_len))
		abort();
	vec_add(&forged, forged.items[0]);
	if (!seal_open(&key, NULL, NULL, &forged, NULL, &got, &e)) abort();

	secret_release(&got);
	vec_release(&texts);
	vec_release(&sealed);
	vec_release(&forged);
	return 0;
}
