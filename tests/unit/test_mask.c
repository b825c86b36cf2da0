/* The masker against a naive reference, and the forms that secrets leak in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/secret.h"
#include "senv/forms.h"
#include "senv/mask.h"

static unsigned long seed = 1;

static unsigned rnd(unsigned below)
{
	seed = seed * 6364136223846793005ul + 1442695040888963407ul;
	return (unsigned)(seed >> 33) % below;
}

/* Masks all of `in` at once; the caller releases out. */
static void mask_text(const char *const *secrets, const char *in, struct buf *out)
{
	struct mask *m = mask_new();

	for (; *secrets; secrets++) assert_int_equal(mask_add(m, *secrets, strlen(*secrets)), 0);
	mask_feed(m, in, strlen(in), out);
	mask_end(m, out);
	mask_free(&m);
}

static void check(const char *secret, const char *in, const char *want)
{
	struct buf out = BUF_INIT(1 << 20);
	const char *secrets[] = {secret, NULL};

	mask_text(secrets, in, &out);
	assert_string_equal(buf_str(&out), want);
	buf_release(&out);
}

static void test_each_form_is_masked(void **state)
{
	(void)state;
	static const struct {
		const char *secret, *in, *want;
	} cases[] = {
		{"hunter22", "pass hunter22, hunter2", "pass [secure], hunter2"},
		{"hunter22", "hunter22hunter22", "[secure][secure]"},
		/* base64 of "hunter22", "?hunter22?", "??hunter22??" and of nothing after it */
		{"hunter22", "<aHVudGVyMjI=>", "<[secure]>"},
		{"hunter22", "x:P2h1bnRlcjIyPw==", "x:P2[secure]Pw=="},
		{"hunter22", "x:Pz9odW50ZXIyMj8/", "x:Pz9[secure]j8/"},
		{"a?b>c~d", "YT9iPmN+ZA==", "[secure]"},
		{"a?b>c~d", "YT9iPmN-ZA==", "[secure]"},
		{"a?b>c~d", "YT9iPmN-ZA ", "[secure]A "},
		{"hunter22", "68756e7465723232 68756E7465723232", "[secure] [secure]"},
		{"p@ss w/d", "p%40ss%20w%2Fd p%40ss+w%2fd p%40ss%20w/d p@ss%20w/d",
		 "[secure] [secure] [secure] [secure]"},
		{"a\"b\\c/d", "{\"k\":\"a\\\"b\\\\c/d\"} a\\\"b\\\\c\\/d", "{\"k\":\"[secure]\"} [secure]"},
		{"caf\303\251<&>", "caf\\u00e9<&> caf\303\251\\u003c\\u0026\\u003e caf\\u00E9<&>",
		 "[secure] [secure] [secure]"},
		{"emoji\360\237\230\200", "emoji\\ud83d\\ude00", "[secure]"},
		{"it's a $ecret", "'it'\\''s a $ecret' 'it'\"'\"'s a $ecret' \"it's a \\$ecret\" it\\'s\\ a\\ \\$ecret",
		 "'[secure]' '[secure]' \"[secure]\" [secure]"},
		{"tab\there\n", "tab\there $'tab\\there\\n' tab\\there", "[secure] $'[secure]' [secure]"},
		{"token1\n", "token1 dG9rZW4xCg== dG9rZW4x", "[secure] [secure] [secure]"},
		/* lines of 8 and more bytes, and the whole */
		{"first line\nshort\nsecond line\n", "x first line y second line z short",
		 "x [secure] y [secure] z short"},
		{"first line\nshort\nsecond line\n", "first line\nshort\nsecond line\n", "[secure]"},
		{"first line\r\nsecond line\r\n", "first line|second line|", "[secure]|[secure]|"},
		/* strings of JSON, keys not */
		{"{\"key_id\": \"abcd1234\", \"list\": [\"w\\u00e9rd\\n!\"], \"n\": \"abc\"}",
		 "key_id abcd1234 w\303\251rd\n! abc w\\u00e9rd\\n!", "key_id [secure] [secure] abc [secure]"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check(cases[i].secret, cases[i].in, cases[i].want);
}

static void test_wrapped_base64_of_a_key_is_masked(void **state)
{
	(void)state;
	/* base64(1) of 100 bytes "k" + digits, as it wraps */
	static const char secret[] =
		"k0123456789012345678901234567890123456789012345678901234567890123456789012345678901"
		"23456789012345678";
	static const char in[] = "azAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1\n"
				 "Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3OA==\n";

	assert_int_equal(strlen(secret), 100);
	check(secret, in, "[secure]\n[secure]\n");
}

static void test_overlapping_secrets_leak_no_tail(void **state)
{
	(void)state;
	static const char *const secrets[] = {"abcd", "abcdef", "cdefgh", NULL};
	struct buf out = BUF_INIT(1 << 20);

	mask_text(secrets, "abcd abcdef abcdefgh xcdefgh abcdeX", &out);
	assert_string_equal(buf_str(&out), "[secure] [secure] [secure] x[secure] [secure]eX");
	buf_release(&out);
}

static void test_short_values_are_reported(void **state)
{
	(void)state;
	struct mask *m = mask_new();
	struct buf out = BUF_INIT(100);

	assert_int_equal(mask_add(m, "abc", 3), 1);
	assert_int_equal(mask_add(m, "", 0), 1);
	mask_feed(m, "abc", 3, &out);
	mask_end(m, &out);
	assert_string_equal(buf_str(&out), "abc");
	buf_release(&out);
	mask_free(&m);
}

static void test_patterns_have_a_ceiling(void **state)
{
	(void)state;
	struct mask *m = mask_new();
	size_t len = 4 << 20;
	char *value = xmalloc(len);

	for (size_t i = 0; i < len; i++) value[i] = (char)(' ' + rnd(90));
	assert_int_equal(mask_add(m, value, len), 1);
	free(value);
	mask_free(&m);
}

struct naive {
	char patterns[1000][64];
	size_t len[1000], n;
};

static void naive_add(const unsigned char *form, size_t len, void *arg)
{
	struct naive *n = arg;

	assert_true(n->n < 1000 && len <= 64);
	memcpy(n->patterns[n->n], form, len);
	n->len[n->n++] = len;
}

/* All occurrences, marked one by one; then one "[secure]" for each group that overlaps. */
static void naive_mask(const struct naive *n, const char *in, size_t len, struct buf *out)
{
	char covered[512] = {0}, joined[512] = {0}; /* joined[i]: one occurrence covers i - 1 and i */

	for (size_t i = 0; i < len; i++)
		for (size_t p = 0; p < n->n; p++) {
			if (n->len[p] > len - i || memcmp(in + i, n->patterns[p], n->len[p])) continue;
			memset(covered + i, 1, n->len[p]);
			memset(joined + i + 1, 1, n->len[p] - 1);
		}
	for (size_t i = 0; i < len; i++) {
		if (!covered[i])
			buf_addch(out, in[i]);
		else if (!joined[i])
			buf_adds(out, "[secure]");
	}
}

static void feed_in_pieces(struct mask *m, const char *in, size_t len, size_t longest, struct buf *out)
{
	size_t fed = 0;

	while (fed < len) {
		size_t n = 1 + rnd(rnd(4) ? 7 : 200);

		if (n > len - fed) n = len - fed;
		mask_feed(m, in + fed, n, out);
		fed += n;
		/* Held back: never more than the longest pattern; "[secure]" is longer than what it stands for here. */
		assert_true(out->len + longest + 1 > fed / 16);
	}
	mask_end(m, out);
}

static void test_equals_a_naive_reference_on_random_splits(void **state)
{
	(void)state;
	static const char *const alphabets[] = {"ab", "abc\n", "ab612", "aW1YJh"};
	struct buf got = BUF_INIT(1 << 16), want = BUF_INIT(1 << 16);

	for (int round = 0; round < 4000; round++) {
		const char *alphabet = alphabets[round % 4];
		struct mask *m = mask_new();
		struct naive *naive = xcalloc(1, sizeof(*naive));
		char text[400];
		size_t len = rnd(sizeof(text));

		for (unsigned s = 1 + rnd(3); s; s--) {
			char secret[10];
			size_t n = 4 + rnd(7);

			for (size_t i = 0; i < n; i++) secret[i] = alphabet[rnd((unsigned)strlen(alphabet))];
			assert_int_equal(mask_add(m, secret, n), 0);
			forms_of(secret, n, naive_add, naive);
		}
		for (size_t i = 0; i < len; i++) text[i] = alphabet[rnd((unsigned)strlen(alphabet))];
		feed_in_pieces(m, text, len, 64, &got);
		naive_mask(naive, text, len, &want);
		assert_string_equal(buf_str(&got), buf_str(&want));
		/* The same masker again, from the start. */
		buf_clear(&got);
		mask_feed(m, text, len, &got);
		mask_end(m, &got);
		assert_string_equal(buf_str(&got), buf_str(&want));
		buf_clear(&got);
		buf_clear(&want);
		mask_free(&m);
		free_p(&naive);
	}
	buf_release(&got);
	buf_release(&want);
}

static void test_holds_back_no_more_than_the_longest_pattern(void **state)
{
	(void)state;
	struct mask *m = mask_new();
	struct buf out = BUF_INIT(1 << 20);

	assert_int_equal(mask_add(m, "aaaaaaaaaaaaaaab", 16), 0);
	for (size_t i = 1; i <= 1000; i++) {
		mask_feed(m, "a", 1, &out);
		assert_true(out.len + 15 >= i);
	}
	mask_feed(m, "b", 1, &out);
	assert_int_equal(out.len, 985); /* "[secure]" itself waits until nothing that starts earlier can follow */
	mask_feed(m, "\n", 1, &out);
	mask_end(m, &out);
	assert_int_equal(out.len, 985 + 8 + 1);
	buf_release(&out);
	mask_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_form_is_masked),
		cmocka_unit_test(test_wrapped_base64_of_a_key_is_masked),
		cmocka_unit_test(test_overlapping_secrets_leak_no_tail),
		cmocka_unit_test(test_short_values_are_reported),
		cmocka_unit_test(test_patterns_have_a_ceiling),
		cmocka_unit_test(test_equals_a_naive_reference_on_random_splits),
		cmocka_unit_test(test_holds_back_no_more_than_the_longest_pattern),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
