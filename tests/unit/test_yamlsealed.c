/* Sealed values of a YAML file: found and replaced wherever they stand, and nothing else touched. */
#include "tests/unit/unit.h"

#include "senv/yamlsealed.h"

/* Each chunk X becomes X+X, in the order of the list. */
static void doubled(struct yaml_sealed_list *l)
{
	for (size_t i = 0; i < l->len; i++)
		for (size_t k = 0; k < l->items[i].chunks.len; k++) {
			char *old = l->items[i].chunks.items[k];

			l->items[i].chunks.items[k] =
				xasprintf("%.*s%.*s", (int)strcspn(old, "\n "), old, (int)strcspn(old, "\n "), old);
			free(old);
		}
}

static const struct {
	const char *in, *out;
} cases[] = {
	{"env:\n  global:\n    - KEY:\n        secure: \"AA\" # mine\n    - B=1\n",
	 "env:\n  global:\n    - KEY:\n        secure: \"AAAA\" # mine\n    - B=1\n"},
	{"env:\n  - KEY:\n      secure:\n        - \"AA\" # one\n        # two\n        - 'BB'\n        - CC",
	 "env:\n  - KEY:\n      secure:\n        - \"AAAA\" # one\n        # two\n        - 'BBBB'\n        - CCCC"},
	/* outside env, without a name, deep inside, in brackets, twice on a line */
	{"deploy:\n  api_key: {secure: AA}\nenv:\n- secure: BB\nx: [[{y: {z: {secure: \"CC\"}}}]]\n",
	 "deploy:\n  api_key: {secure: AAAA}\nenv:\n- secure: BBBB\nx: [[{y: {z: {secure: \"CCCC\"}}}]]\n"},
	{"a: [{k: {secure: [AA, \"BB\"]}}, {l: {secure: CC}}]\r\nb: 1\r\n",
	 "a: [{k: {secure: [AAAA, \"BBBB\"]}}, {l: {secure: CCCC}}]\r\nb: 1\r\n"},
	/* a `secure` whose other keys come before it */
	{"k: {a: {secure: AA}, secure: BB}\n", "k: {a: {secure: AAAA}, secure: BBBB}\n"},
	/* text over several lines becomes one */
	{"k:\n  secure: |\n    AA\n    AA\n\nb: 2\n", "k:\n  secure: \"AAAA\"\n\nb: 2\n"},
	{"k:\n  secure: \"AA\n    AA\"\nb: 2\n", "k:\n  secure: \"AAAA\"\nb: 2\n"},
	{"# \303\251\n\"\303\251\": {secure: AA} # \303\251\n",
	 "# \303\251\n\"\303\251\": {secure: AAAA} # \303\251\n"},
	{"script: make\n", "script: make\n"},
	{"", ""},
};

static void test_replaces_each_where_it_stands(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_sealed_ struct yaml_sealed_list l = {0};
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
		const char *in = cases[i].in;
		struct err e;

		assert_done(yamlsealed_find("f.yml", in, strlen(in), &l, &e), e);
		doubled(&l);
		assert_done(yamlsealed_replace("f.yml", in, strlen(in), &l, &out, &e), e);
		assert_string_equal(buf_str(&out), cases[i].out);
	}
}

static void test_finds_names_lines_and_chunks(void **state)
{
	(void)state;
	static const char in[] =
		"env:\n  global:\n    - KEY:\n        secure:\n          - AA\n          - BB\n    - secure: CC\n"
		"deploy:\n  password:\n    secure: DD\n";
	_cleanup_sealed_ struct yaml_sealed_list l = {0};
	struct err e;

	assert_done(yamlsealed_find("f.yml", in, strlen(in), &l, &e), e);
	assert_int_equal(l.len, 3);
	assert_string_equal(l.items[0].name, "KEY");
	assert_int_equal(l.items[0].line, 5);
	assert_int_equal(l.items[0].chunks.len, 2);
	assert_string_equal(l.items[0].chunks.items[1], "BB");
	assert_null(l.items[1].name);
	assert_int_equal(l.items[1].line, 7);
	assert_string_equal(l.items[2].name, "password");
}

static void test_refuses_what_it_cannot_keep(void **state)
{
	(void)state;
	static const struct {
		const char *in, *text;
	} bad[] = {
		{"k: {secure: &a AA}\nl: *a\n", "f.yml:1:13: a sealed value with an anchor or a tag"},
		{"k:\n  secure: !!str AA\n", "f.yml:2:11: a sealed value with an anchor or a tag"},
	};
	_cleanup_sealed_ struct yaml_sealed_list none = {0};
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_sealed_ struct yaml_sealed_list l = {0};
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20);

		assert_done(yamlsealed_find("f.yml", bad[i].in, strlen(bad[i].in), &l, &e), e);
		assert_refused(yamlsealed_replace("f.yml", bad[i].in, strlen(bad[i].in), &l, &out, &e), e, ERR_INPUT,
			       bad[i].text);
		assert_int_equal(out.len, 0);
	}
	assert_refused(yamlsealed_find("f.yml", "k: {secure: a, secure: b}\n", 26, &none, &e), e, ERR_INPUT,
		       "f.yml:1:4: 'secure' is there twice");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaces_each_where_it_stands),
		cmocka_unit_test(test_finds_names_lines_and_chunks),
		cmocka_unit_test(test_refuses_what_it_cannot_keep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
