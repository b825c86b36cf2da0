/* travis-senv's format, by its own vectors where they are at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "lib/vec.h"
#include "senv/travis.h"

static struct vec env = VEC_INIT;

static const char *get(const char *name, void *arg)
{
	(void)arg;
	return vec_getenv(&env, name);
}

static void set_env(const char *lines)
{
	vec_release(&env);
	while (*lines) {
		size_t n = strcspn(lines, "\n");

		vec_take(&env, xstrndup(lines, n));
		lines += n + (lines[n] == '\n');
	}
}

static void both_ways(const unsigned char *input, size_t len, const char *prefix, long chunk, const char *output)
{
	struct secret value = SECRET_INIT, text = SECRET_INIT, again = SECRET_INIT;
	struct err e;

	secret_set(&value, input, len);
	if (travis_lines(prefix, &value, chunk, &text, &e)) fail_msg("%s", e.text);
	assert_string_equal((char *)text.data, output);
	set_env(output);
	if (travis_value(prefix, get, NULL, &again, &e)) fail_msg("%s", e.text);
	assert_int_equal(again.len, len);
	assert_memory_equal(again.data, input, len);
	secret_release(&value);
	secret_release(&text);
	secret_release(&again);
}

static void test_worked_examples(void **state)
{
	(void)state;
	unsigned char counting[61];

	for (size_t i = 0; i < sizeof(counting); i++) counting[i] = (unsigned char)i;
	both_ways((const unsigned char *)"hello\n", 6, "default", 80,
		  "XSECRET_default_0=aGVsbG8K\nXSECRET_default_num=1\n");
	both_ways(counting, 0, "default", 80, "XSECRET_default_0=\nXSECRET_default_num=1\n");
	both_ways(counting, 60, "p", 80,
		  "XSECRET_p_0=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7\n"
		  "XSECRET_p_1=\nXSECRET_p_num=2\n");
	both_ways(counting, 61, "p", 80,
		  "XSECRET_p_0=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7\n"
		  "XSECRET_p_1=PA==\nXSECRET_p_num=2\n");
}

static void test_its_own_vectors(void **state)
{
	(void)state;
	const char *shared = getenv("SLIPWAY_SHARED");
	char *path = xasprintf("%s/travis-corpus/senv-vectors.json", shared ? shared : "../shared");
	struct buf text = BUF_INIT(1 << 20);
	json_t *vectors = NULL, *v;
	struct err e;
	size_t i;

	if (fs_read_file(path, &text, &e)) {
		print_message("skip: no file '%s' ($SLIPWAY_SHARED)\n", path);
		free(path);
		skip();
	}
	assert_int_equal(json_parse(path, text.data, text.len, &vectors, &e), 0);
	assert_true(json_array_size(vectors) > 10);
	json_array_foreach(vectors, i, v)
	{
		const char *hex = json_string_or(v, "input_hex", "");
		unsigned char *input = xmalloc(strlen(hex) / 2 + 1);
		size_t len;

		assert_int_equal(sodium_hex2bin(input, strlen(hex) / 2, hex, strlen(hex), NULL, &len, NULL), 0);
		both_ways(input, len, json_string_or(v, "prefix", NULL), json_int_or(v, "chunk_size", 0),
			  json_string_or(v, "output", NULL));
		free(input);
	}
	json_decref(vectors);
	buf_release(&text);
	free(path);
}

static void test_counts_as_ocaml_reads_them(void **state)
{
	(void)state;
	static const struct {
		const char *num, *value;
	} cases[] = {{"2", "hello\n"},   {"0x2", "hello\n"}, {"0b1_0", "hello\n"},
		     {"0o2", "hello\n"}, {"2_", "hello\n"},  {"1", "hel"},
		     {"0", ""},          {"-1", ""}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct secret got = SECRET_INIT;
		struct err e;
		char *lines = xasprintf("XSECRET_p_0=aGVs\nXSECRET_p_1=bG8K\nXSECRET_p_num=%s\n", cases[i].num);

		set_env(lines);
		assert_int_equal(travis_value("p", get, NULL, &got, &e), 0);
		assert_string_equal((char *)got.data, cases[i].value);
		secret_release(&got);
		free(lines);
	}
}

static void test_faults_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *lines;
		enum err_kind kind;
		const char *text;
	} cases[] = {
		{"", ERR_MISSING, "XSECRET_p_num not set in environment"},
		{"XSECRET_p_num=2\nXSECRET_p_0=aGVs\n", ERR_MISSING, "XSECRET_p_1 not set in environment"},
		{"XSECRET_p_num=two\n", ERR_INPUT, "XSECRET_p_num is no number"},
		{"XSECRET_p_num=\n", ERR_INPUT, "XSECRET_p_num is no number"},
		{"XSECRET_p_num=99999999\n", ERR_INPUT, "XSECRET_p_num is larger than 65536"},
		{"XSECRET_p_num=1\nXSECRET_p_0=aGVsbG8\n", ERR_INPUT,
		 "the chunks of XSECRET_p are no complete base64: one is cut or changed"},
		{"XSECRET_p_num=1\nXSECRET_p_0=aG*s\n", ERR_INPUT,
		 "the chunks of XSECRET_p are no complete base64: one is cut or changed"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct secret got = SECRET_INIT;
		struct err e;

		set_env(cases[i].lines);
		assert_int_equal(travis_value("p", get, NULL, &got, &e), -1);
		assert_string_equal(e.text, cases[i].text);
		assert_int_equal(e.kind, cases[i].kind);
		assert_null(got.data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_worked_examples),
		cmocka_unit_test(test_its_own_vectors),
		cmocka_unit_test(test_counts_as_ocaml_reads_them),
		cmocka_unit_test(test_faults_are_refused),
	};
	int failed;

	secret_setup();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	vec_release(&env);
	return failed;
}
