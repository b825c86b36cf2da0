/* travis-senv's format. Its off-by-one (a last, empty piece when the text is a multiple of the piece) is kept: other
 * readers count on the same lines. */
#include "senv/travis.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int travis_lines(const char *prefix, const struct secret *value, long chunk, struct secret *text_r, struct err *e)
{
	_cleanup_secret_ struct secret b64 = SECRET_INIT, text = SECRET_INIT;
	size_t size = sodium_base64_ENCODED_LEN(value->len, sodium_base64_VARIANT_ORIGINAL), pieces, at = 0;
	size_t around = strlen("XSECRET__=\n") + strlen(prefix) + 20;

	if (chunk < 1) return err_set(e, ERR_INPUT, "bad chunk size %ld: want 1 or more", chunk);
	pieces = (size - 1) / (size_t)chunk + 1;
	if (pieces > TRAVIS_MAX_CHUNKS)
		return err_set(e, ERR_INPUT, "more than %d chunks, take a larger chunk size", TRAVIS_MAX_CHUNKS);
	secret_alloc(&b64, size);
	sodium_bin2base64((char *)b64.data, size, value->data, value->len, sodium_base64_VARIANT_ORIGINAL);
	secret_alloc(&text, size + (pieces + 1) * around);
	for (size_t i = 0; i < pieces; i++)
		at += (size_t)snprintf((char *)text.data + at, text.len - at, "XSECRET_%s_%zu=%.*s\n", prefix, i,
				       (int)chunk, (char *)b64.data + i * (size_t)chunk);
	at += (size_t)snprintf((char *)text.data + at, text.len - at, "XSECRET_%s_num=%zu\n", prefix, pieces);
	secret_set(text_r, text.data, at);
	return 0;
}

/* OCaml's int_of_string: a sign, 0x 0o 0b, '_' between digits. */
static int ocaml_int(const char *s, long *n_r)
{
	char digits[40];
	size_t n = 0;
	int base = 10, negative = *s == '-';
	char *end;

	s += negative;
	if (*s == '0' && s[1] && strchr("xXoObBuU", s[1])) {
		base = strchr("xX", s[1]) ? 16 : strchr("oO", s[1]) ? 8 : strchr("bB", s[1]) ? 2 : 10;
		s += 2;
	}
	if (!*s || *s == '_') return -1;
	for (; *s; s++) {
		if (*s == '_') continue;
		if (n == sizeof(digits) - 1 || !strchr("0123456789abcdefABCDEF", *s)) return -1;
		digits[n++] = *s;
	}
	digits[n] = '\0';
	errno = 0;
	*n_r = strtol(digits, &end, base);
	if (*end || errno) return -1;
	if (negative) *n_r = -*n_r;
	return 0;
}

static int decode(const char *prefix, const struct secret *b64, struct secret *value_r, struct err *e)
{
	_cleanup_secret_ struct secret raw = SECRET_INIT;
	const char *end;
	size_t got = 0;

	secret_alloc(&raw, b64->len / 4 * 3 + 3);
	if (sodium_base642bin(raw.data, raw.len, (char *)b64->data, b64->len, NULL, &got, &end,
			      sodium_base64_VARIANT_ORIGINAL) ||
	    end != (char *)b64->data + b64->len)
		return err_set(e, ERR_INPUT, "the chunks of XSECRET_%s are no complete base64: one is cut or changed",
			       prefix);
	secret_set(value_r, raw.data, got);
	return 0;
}

int travis_value(const char *prefix, travis_get_fn *get, void *arg, struct secret *value_r, struct err *e)
{
	_cleanup_secret_ struct secret b64 = SECRET_INIT;
	_cleanup_free_ char *num_name = xasprintf("XSECRET_%s_num", prefix);
	const char *num = get(num_name, arg);
	long n;

	if (!num) return err_set(e, ERR_MISSING, "%s not set in environment", num_name);
	if (ocaml_int(num, &n)) return err_set(e, ERR_INPUT, "%s is no number", num_name);
	if (n > TRAVIS_MAX_CHUNKS) return err_set(e, ERR_INPUT, "%s is larger than %d", num_name, TRAVIS_MAX_CHUNKS);
	for (int pass = 0; pass < 2; pass++) {
		size_t len = 0;

		for (long i = 0; i < n; i++) {
			_cleanup_free_ char *name = xasprintf("XSECRET_%s_%ld", prefix, i);
			const char *piece = get(name, arg);

			if (!piece) return err_set(e, ERR_MISSING, "%s not set in environment", name);
			if (pass) memcpy(b64.data + len, piece, strlen(piece));
			len += strlen(piece);
		}
		if (!pass) secret_alloc(&b64, len);
	}
	return decode(prefix, &b64, value_r, e);
}
