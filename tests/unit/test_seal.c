/* Sealing: open(seal(x)) = x, and every tampering is refused by its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "senv/chunk.h"
#include "senv/cli.h"
#include "senv/keys.h"
#include "senv/seal.h"

static struct secret key = SECRET_INIT;
static unsigned char pub[SEAL_KEY_BYTES];

static unsigned rnd(unsigned below)
{
	return randombytes_uniform(below);
}

static void identity(const unsigned char *value, size_t len, size_t payload, const char *scope)
{
	struct seal_params p = {.pub = pub, .scope = scope, .name = "DEPLOY_KEY", .payload_bytes = payload};
	struct vec chunks = VEC_INIT;
	struct secret got = SECRET_INIT;
	char *name = NULL;
	struct err e = {0};

	if (seal_make(&p, value, len, &chunks, &e)) fail_msg("%s", e.text);
	assert_int_equal(chunks.len, len ? (len + payload - 1) / payload : 1);
	for (size_t i = chunks.len; i > 1; i--) { /* in any order */
		size_t j = rnd((unsigned)i);
		char *t = chunks.items[i - 1];

		chunks.items[i - 1] = chunks.items[j];
		chunks.items[j] = t;
	}
	if (seal_open(&key, scope, rnd(2) ? NULL : "DEPLOY_KEY", &chunks, &name, &got, &e)) fail_msg("%s", e.text);
	assert_string_equal(name, "DEPLOY_KEY");
	assert_int_equal(got.len, len);
	assert_memory_equal(got.data, value, len);
	free(name);
	secret_release(&got);
	vec_release(&chunks);
}

static void test_open_seal_is_identity(void **state)
{
	(void)state;
	static unsigned char value[1 << 20];

	randombytes_buf(value, sizeof(value));
	for (size_t payload = 1; payload <= 512; payload++)
		identity(value, rnd(3 * (unsigned)payload + 2), payload, NULL);
	for (int i = 0; i < 60; i++) identity(value, rnd(5000), 50 + rnd(6000), "me/site");
	for (int i = 0; i < 10; i++) identity(value, rnd(sizeof(value)), 4000 + rnd(100000), "me/site");
	identity(value, 0, 1, NULL);
	identity(value, 1, 1, NULL);
	identity(value, sizeof(value), 16384, NULL);
	identity(value, sizeof(value), sizeof(value), NULL);
}

static void test_text_of_a_chunk_never_passes_its_limit(void **state)
{
	(void)state;
	unsigned char value[3000];
	struct vec chunks = VEC_INIT;
	struct secret got = SECRET_INIT;
	struct err e;

	randombytes_buf(value, sizeof(value));
	for (size_t limit = 212; limit < 700; limit++) {
		size_t longest = 0;

		assert_int_equal(seal_value(pub, NULL, "KEY", value, sizeof(value), limit, &chunks, &e), 0);
		for (size_t i = 0; i < chunks.len; i++)
			if (strlen(chunks.items[i]) > longest) longest = strlen(chunks.items[i]);
		assert_true(longest <= limit);
		assert_true(longest + 4 > limit);
		assert_int_equal(seal_open(&key, NULL, "KEY", &chunks, NULL, &got, &e), 0);
		assert_memory_equal(got.data, value, sizeof(value));
	}
	assert_int_equal(seal_value(pub, NULL, "KEY", value, 1, 207, &chunks, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_string_equal(e.text, "cannot seal 'KEY': chunks of 207 bytes are too small, the least is 208");
	assert_int_equal(seal_value(pub, NULL, "KEY", value, 1, 208, &chunks, &e), 0);
	secret_release(&got);
	vec_release(&chunks);
}

static void test_every_preset_is_identity_and_fits(void **state)
{
	(void)state;
	static const char *const ci[] = {"travis", "github", "gitlab", "woodpecker", "drone", "sourcehut"};
	static unsigned char value[1 << 20];
	struct err e;
	size_t text;

	randombytes_buf(value, sizeof(value));
	for (size_t i = 0; i < sizeof(ci) / sizeof(ci[0]); i++) {
		size_t most = strcmp(ci[i], "travis") ? sizeof(value) : 30000;

		assert_int_equal(cli_preset(ci[i], strlen("SENV_DEPLOY_KEY_999"), &text, &e), 0);
		identity(value, 0, seal_payload_bytes("DEPLOY_KEY", text), "me/site");
		identity(value, rnd((unsigned)most), seal_payload_bytes("DEPLOY_KEY", text), "me/site");
		identity(value, most, seal_payload_bytes("DEPLOY_KEY", text), NULL);
	}
	assert_int_equal(cli_preset("jenkins", 10, &text, &e), -1);
	assert_string_equal(e.text, "no limits known for 'jenkins'; known are travis github gitlab woodpecker drone "
				    "sourcehut");
}

static void test_bad_names_and_sizes_are_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "1A", "A-B", "A B", "\303\251", "A=B"};
	struct vec chunks = VEC_INIT;
	struct err e;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(seal_value(pub, NULL, bad[i], "x", 1, 1024, &chunks, &e), -1);
		assert_int_equal(e.kind, ERR_INPUT);
		assert_non_null(strstr(e.text, "bad name '"));
	}
	assert_int_equal(seal_make(&(struct seal_params){.pub = pub, .name = "A", .payload_bytes = 1}, "",
				   SEAL_MAX_VALUE + 1ul, &chunks, &e),
			 -1);
	assert_string_equal(e.text, "cannot seal 'A': it is larger than 16777216 bytes");
	assert_int_equal(seal_make(&(struct seal_params){.pub = pub, .name = "A"}, "", 0, &chunks, &e), -1);
	assert_string_equal(e.text, "cannot seal 'A': a chunk must hold at least one byte");
	assert_int_equal(chunks.len, 0);
}

static void test_white_space_inside_is_allowed(void **state)
{
	(void)state;
	struct vec chunks = VEC_INIT, spaced = VEC_INIT;
	struct secret got = SECRET_INIT;
	struct err e;

	assert_int_equal(seal_value(pub, NULL, "KEY", "value", 5, 1024, &chunks, &e), 0);
	vec_addf(&spaced, " %.30s\n%.5s\r\n\t%s\n", chunks.items[0], chunks.items[0] + 30, chunks.items[0] + 35);
	assert_int_equal(seal_open(&key, NULL, NULL, &spaced, NULL, &got, &e), 0);
	assert_string_equal((char *)got.data, "value");
	secret_release(&got);
	vec_release(&chunks);
	vec_release(&spaced);
}

/* A chunk with any header, as a liar would make it. */
static char *forge(struct chunk c, const char *payload)
{
	unsigned char plain[512], box[512 + crypto_box_SEALBYTES];
	size_t len;
	char *text = xmalloc(1024);

	c.payload = (const unsigned char *)payload;
	c.payload_len = strlen(payload);
	len = CHUNK_FIXED_BYTES + c.name_len + c.payload_len;
	assert_true(len <= sizeof(plain));
	chunk_write(&c, plain);
	crypto_box_seal(box, plain, len, pub);
	sodium_bin2base64(text, 1024, box, len + crypto_box_SEALBYTES, sodium_base64_VARIANT_ORIGINAL);
	return text;
}

static struct chunk header(const char *whole, uint32_t index, uint32_t total)
{
	struct chunk c = {.name = "KEY", .name_len = 3, .index = index, .total = total, .value_len = strlen(whole)};

	crypto_generichash(c.hash, sizeof(c.hash), (const unsigned char *)whole, strlen(whole), NULL, 0);
	return c;
}

/* Five chunks of "one two three four five!" under KEY, scope me/site, then one thing done to them. */
enum tamper {
	T_NONE,
	T_MISSING,
	T_MISSING_LAST,
	T_TWICE,
	T_TWICE_INSTEAD,
	T_OTHER_FILE,
	T_OTHER_NAME,
	T_OTHER_REPO,
	T_OTHER_KEY,
	T_ONE_OTHER_KEY,
	T_CUT,
	T_CUT_QUARTET,
	T_SHORT,
	T_EMPTY,
	T_BIT,
	T_STRAY,
	T_PADDING,
	T_NOTHING,
	T_RAW_BOX,
};

static void replace(struct vec *v, size_t i, char *text)
{
	free(v->items[i]);
	v->items[i] = text;
}

static void tamper(enum tamper what, struct vec *v)
{
	static const char value[] = "one two three four five!";
	struct seal_params p = {.pub = pub, .scope = "me/site", .name = "KEY", .payload_bytes = 5};
	unsigned char other[SEAL_KEY_BYTES], box[200 + crypto_box_SEALBYTES], zeros[200] = {0};
	struct secret other_key = SECRET_INIT;
	struct vec more = VEC_INIT;
	struct err e;
	char *s;

	assert_int_equal(key_generate(&other_key, other, &e), 0);
	secret_release(&other_key);
	if (what == T_OTHER_KEY) p.pub = other;
	assert_int_equal(seal_make(&p, value, strlen(value), v, &e), 0);
	if (what == T_ONE_OTHER_KEY) p.pub = other;
	if (what == T_OTHER_NAME) p.name = "KEZ";
	if (what == T_OTHER_REPO) p.scope = "me/other";
	assert_int_equal(seal_make(&p, value, strlen(value), &more, &e), 0);
	s = v->items[2];
	switch (what) {
	case T_NONE: break;
	case T_OTHER_KEY: break;
	case T_MISSING:
		replace(v, 2, v->items[4]);
		v->items[--v->len] = NULL;
		break;
	case T_MISSING_LAST:
		free(v->items[--v->len]);
		v->items[v->len] = NULL;
		break;
	case T_TWICE: vec_add(v, s); break;
	case T_TWICE_INSTEAD: replace(v, 2, xstrdup(v->items[3])); break;
	case T_OTHER_FILE:
	case T_OTHER_NAME:
	case T_OTHER_REPO:
	case T_ONE_OTHER_KEY: replace(v, 2, xstrdup(more.items[2])); break;
	case T_CUT: s[strlen(s) - 3] = '\0'; break;
	case T_CUT_QUARTET: s[strlen(s) - 4] = '\0'; break;
	case T_SHORT: s[100] = '\0'; break;
	case T_EMPTY: s[0] = '\0'; break;
	case T_BIT: s[80] = s[80] == 'A' ? 'B' : 'A'; break;
	case T_STRAY: s[80] = '*'; break;
	case T_PADDING: s[80] = '='; break;
	case T_NOTHING: vec_release(v); break;
	case T_RAW_BOX:
		crypto_box_seal(box, zeros, sizeof(zeros), pub);
		s = xmalloc(1024);
		sodium_bin2base64(s, 1024, box, sizeof(box), sodium_base64_VARIANT_ORIGINAL);
		replace(v, 2, s);
		break;
	}
	vec_release(&more);
}

static void test_each_tampering_is_refused_by_name(void **state)
{
	(void)state;
	static const struct {
		enum tamper what;
		const char *scope, *name;
		enum err_kind kind;
		const char *text;
	} cases[] = {
		{T_NONE, "me/site", "KEY", ERR_NONE, ""},
		{T_NONE, "me/site", NULL, ERR_NONE, ""},
		{T_NONE, "me/fork", "KEY", ERR_DENIED,
		 "chunk 1 of 'KEY' is sealed for another repository than 'me/fork'"},
		{T_NONE, NULL, "KEY", ERR_DENIED, "chunk 1 of 'KEY' is sealed for one repository, and none was named"},
		{T_NONE, "me/site", "TOKEN", ERR_DENIED, "chunk 1 of 'TOKEN' was sealed as 'KEY'"},
		{T_MISSING, "me/site", "KEY", ERR_INPUT, "chunk 3 of 5 of 'KEY' is missing"},
		{T_MISSING_LAST, "me/site", NULL, ERR_INPUT, "chunk 5 of 5 of 'KEY' is missing"},
		{T_TWICE, "me/site", "KEY", ERR_INPUT, "chunk 3 of 5 of 'KEY' is there twice"},
		{T_TWICE_INSTEAD, "me/site", "KEY", ERR_INPUT, "chunk 4 of 5 of 'KEY' is there twice"},
		{T_OTHER_FILE, "me/site", "KEY", ERR_INPUT, "chunk 3 of 'KEY' is from another sealing than chunk 1"},
		{T_OTHER_NAME, "me/site", "KEY", ERR_DENIED, "chunk 3 of 'KEY' was sealed as 'KEZ'"},
		{T_OTHER_NAME, "me/site", NULL, ERR_DENIED, "chunk 3 of 'KEY' was sealed as 'KEZ'"},
		{T_OTHER_REPO, "me/site", "KEY", ERR_DENIED,
		 "chunk 3 of 'KEY' is sealed for another repository than 'me/site'"},
		{T_OTHER_KEY, "me/site", "KEY", ERR_DENIED,
		 "chunk 1 of 'KEY' does not open: sealed to another key, or changed"},
		{T_ONE_OTHER_KEY, "me/site", "KEY", ERR_DENIED,
		 "chunk 3 of 'KEY' does not open though others do: it was changed"},
		{T_CUT, "me/site", "KEY", ERR_INPUT, "chunk 3 of 'KEY': cut, its base64 is not complete"},
		{T_CUT_QUARTET, "me/site", "KEY", ERR_DENIED,
		 "chunk 3 of 'KEY' does not open though others do: it was changed"},
		{T_SHORT, "me/site", "KEY", ERR_INPUT, "chunk 3 of 'KEY': cut, too short"},
		{T_EMPTY, "me/site", NULL, ERR_INPUT, "chunk 3: cut, too short"},
		{T_BIT, "me/site", "KEY", ERR_DENIED,
		 "chunk 3 of 'KEY' does not open though others do: it was changed"},
		{T_STRAY, "me/site", "KEY", ERR_INPUT, "chunk 3 of 'KEY': character 81 is no base64"},
		{T_PADDING, "me/site", "KEY", ERR_INPUT, "chunk 3 of 'KEY': cut, its base64 is not complete"},
		{T_NOTHING, "me/site", "KEY", ERR_INPUT, "no chunks of 'KEY'"},
		{T_RAW_BOX, "me/site", "KEY", ERR_INPUT, "chunk 3 of 'KEY': no senv chunk, though it opens"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vec chunks = VEC_INIT;
		struct secret got = SECRET_INIT;
		struct err e = {0};

		tamper(cases[i].what, &chunks);
		assert_int_equal(seal_open(&key, cases[i].scope, cases[i].name, &chunks, NULL, &got, &e),
				 cases[i].kind ? -1 : 0);
		assert_string_equal(e.text, cases[i].text);
		assert_int_equal(e.kind, cases[i].kind);
		if (cases[i].kind)
			assert_null(got.data);
		else
			assert_string_equal((char *)got.data, "one two three four five!");
		secret_release(&got);
		vec_release(&chunks);
	}
}

static void refuse_forged(char *first, char *second, enum err_kind kind, const char *text)
{
	struct vec chunks = VEC_INIT;
	struct secret got = SECRET_INIT;
	struct err e = {0};

	vec_take(&chunks, first);
	if (second) vec_take(&chunks, second);
	assert_int_equal(seal_open(&key, NULL, "KEY", &chunks, NULL, &got, &e), -1);
	assert_string_equal(e.text, text);
	assert_int_equal(e.kind, kind);
	assert_null(got.data);
	vec_release(&chunks);
}

static void test_lying_headers_are_refused(void **state)
{
	(void)state;
	struct chunk a = header("abcd", 0, 2), b = header("abcd", 1, 2), c;

	c = b, c.total = 3;
	refuse_forged(forge(a, "ab"), forge(c, "cd"), ERR_INPUT,
		      "chunk 2 of 'KEY' contradicts chunk 1 about the whole");
	c = b, c.value_len = 5;
	refuse_forged(forge(a, "ab"), forge(c, "cd"), ERR_INPUT,
		      "chunk 2 of 'KEY' contradicts chunk 1 about the whole");
	c = b, c.hash[0] ^= 1;
	refuse_forged(forge(a, "ab"), forge(c, "cd"), ERR_INPUT,
		      "chunk 2 of 'KEY' contradicts chunk 1 about the whole");
	refuse_forged(forge(a, "ab"), forge(b, "cde"), ERR_DENIED, "'KEY' has 5 bytes in its chunks, 4 were sealed");
	refuse_forged(forge(a, "ab"), forge(b, "cx"), ERR_DENIED, "'KEY' is not what was sealed: its hash differs");
	c = a, c.total = 1000000;
	refuse_forged(forge(c, "ab"), NULL, ERR_INPUT, "chunk 2 of 1000000 of 'KEY' is missing");
	c = a, c.total = 0;
	refuse_forged(forge(c, "ab"), NULL, ERR_INPUT, "chunk 1 of 'KEY': impossible count");
	c = a, c.total = SEAL_MAX_CHUNKS + 1;
	refuse_forged(forge(c, "ab"), NULL, ERR_INPUT, "chunk 1 of 'KEY': impossible count");
	c = a, c.index = 2;
	refuse_forged(forge(c, "ab"), NULL, ERR_INPUT, "chunk 1 of 'KEY': its index is past its count");
	c = a, c.value_len = ~0ull;
	refuse_forged(forge(c, "ab"), NULL, ERR_INPUT, "chunk 1 of 'KEY': impossible length");
	c = a, c.name = "K=Y";
	refuse_forged(forge(c, "ab"), NULL, ERR_INPUT, "chunk 1 of 'KEY': impossible name");
	c = a, c.name_len = 0;
	refuse_forged(forge(c, "ab"), NULL, ERR_INPUT, "chunk 1 of 'KEY': impossible name");
}

/* Every single bit of a chunk's base64 text. */
static void test_every_changed_bit_is_refused(void **state)
{
	(void)state;
	struct vec chunks = VEC_INIT;
	struct secret got = SECRET_INIT;
	struct err e;
	size_t len;

	assert_int_equal(seal_value(pub, NULL, "KEY", "value", 5, 1024, &chunks, &e), 0);
	len = strlen(chunks.items[0]);
	for (size_t i = 0; i < len; i++)
		for (int bit = 0; bit < 7; bit++) {
			chunks.items[0][i] ^= (char)(1 << bit);
			assert_int_equal(seal_open(&key, NULL, "KEY", &chunks, NULL, &got, &e), -1);
			assert_null(got.data);
			chunks.items[0][i] ^= (char)(1 << bit);
		}
	assert_int_equal(seal_open(&key, NULL, "KEY", &chunks, NULL, &got, &e), 0);
	secret_release(&got);
	vec_release(&chunks);
}

static void test_sealed_again_keeps_all_but_the_key(void **state)
{
	(void)state;
	struct seal_params p = {.pub = pub, .scope = "me/site", .name = "KEY", .payload_bytes = 7};
	unsigned char next[SEAL_KEY_BYTES];
	struct secret next_key = SECRET_INIT, got = SECRET_INIT;
	struct vec old = VEC_INIT, again = VEC_INIT;
	struct err e;
	char *name = NULL, *last;

	assert_int_equal(key_generate(&next_key, next, &e), 0);
	assert_int_equal(seal_make(&p, "one two three", 13, &old, &e), 0);
	last = old.items[0]; /* out of order, and the last one is shorter */
	old.items[0] = old.items[1];
	old.items[1] = last;
	assert_int_equal(seal_again(&key, next, NULL, &old, &name, &again, &e), 0);
	assert_string_equal(name, "KEY");
	assert_int_equal(again.len, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(strlen(again.items[i]), strlen(old.items[i]));
		assert_string_not_equal(again.items[i], old.items[i]);
	}
	assert_int_equal(seal_open(&next_key, "me/site", "KEY", &again, NULL, &got, &e), 0);
	assert_string_equal((char *)got.data, "one two three");
	assert_int_equal(seal_open(&next_key, "me/fork", "KEY", &again, NULL, &got, &e), -1);
	assert_string_equal(e.text, "chunk 1 of 'KEY' is sealed for another repository than 'me/fork'");
	assert_int_equal(seal_open(&key, "me/site", "KEY", &again, NULL, &got, &e), -1);
	assert_string_equal(e.text, "chunk 1 of 'KEY' does not open: sealed to another key, or changed");
	free(old.items[--old.len]);
	old.items[old.len] = NULL;
	assert_int_equal(seal_again(&key, next, "KEY", &old, NULL, &again, &e), -1);
	assert_string_equal(e.text, "chunk 1 of 2 of 'KEY' is missing");
	assert_int_equal(seal_again(&key, next, "TOKEN", &old, NULL, &again, &e), -1);
	assert_string_equal(e.text, "chunk 1 of 'TOKEN' was sealed as 'KEY'");
	assert_int_equal(again.len, 2);
	free(name);
	secret_release(&next_key);
	secret_release(&got);
	vec_release(&old);
	vec_release(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_seal_is_identity),
		cmocka_unit_test(test_text_of_a_chunk_never_passes_its_limit),
		cmocka_unit_test(test_every_preset_is_identity_and_fits),
		cmocka_unit_test(test_bad_names_and_sizes_are_refused),
		cmocka_unit_test(test_white_space_inside_is_allowed),
		cmocka_unit_test(test_each_tampering_is_refused_by_name),
		cmocka_unit_test(test_lying_headers_are_refused),
		cmocka_unit_test(test_every_changed_bit_is_refused),
		cmocka_unit_test(test_sealed_again_keeps_all_but_the_key),
	};
	struct err e;
	int failed;

	secret_setup();
	if (key_generate(&key, pub, &e)) return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	secret_release(&key);
	return failed;
}
