/* The YAML editor: what it adds, that it touches nothing else, and what it refuses. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/fs.h"
#include "lib/secret.h"
#include "senv/keys.h"
#include "senv/seal.h"
#include "senv/yamledit.h"
#include "senv/yamlsealed.h"

static void edit(const char *in, size_t nchunks, struct buf *out, struct err *e, int *result)
{
	struct vec chunks = VEC_INIT;

	for (size_t i = 0; i < nchunks; i++) vec_addf(&chunks, "AA%c=", (int)('A' + i));
	*result = yamledit_add("f.yml", in, strlen(in), "KEY", &chunks, out, e);
	vec_release(&chunks);
}

#define ONE "secure: \"AAA=\"\n"
#define NEW_ENV "env:\n  global:\n    - KEY:\n        secure: \"AAA=\"\n"

static const struct {
	const char *in, *out;
} one_chunk[] = {
	/* no env */
	{"", NEW_ENV},
	{"# only\n", "# only\n" NEW_ENV},
	{"script: make\n", "script: make\n" NEW_ENV},
	{"script: make", "script: make\nenv:\n  global:\n    - KEY:\n        secure: \"AAA=\""},
	{"---\nscript: make\n# end\n", "---\nscript: make\n# end\n" NEW_ENV},
	{"script: |\n  make\n\n", "script: |\n  make\n\n" NEW_ENV},
	{"script: |+\n  make\n\n", "script: |+\n  make\n\n" NEW_ENV},
	{"script: |\n  make", NEW_ENV "script: |\n  make"},
	{"# top\nscript: make\n...\n", "# top\nscript: make\n" NEW_ENV "...\n"},
	{"\357\273\277script: make\n", "\357\273\277script: make\n" NEW_ENV},
	{"{script: make}\n", "{script: make, env: {global: [{KEY: {secure: \"AAA=\"}}]}}\n"},
	{"{}\n", "{env: {global: [{KEY: {secure: \"AAA=\"}}]}}\n"},
	/* env without anything */
	{"env:\nscript: make\n", NEW_ENV "script: make\n"},
	{"env: # none\nscript: make\n", "env: # none\n  global:\n    - KEY:\n        secure: \"AAA=\"\nscript: make\n"},
	{"env: {}\n", "env: {global: [{KEY: {secure: \"AAA=\"}}]}\n"},
	{"env:\n  global:\n", NEW_ENV},
	/* env.global as a list */
	{"env:\n  global:\n    - SITE=_site\nscript: x\n",
	 "env:\n  global:\n    - SITE=_site\n    - KEY:\n        secure: \"AAA=\"\nscript: x\n"},
	{"env:\n  global:\n  - A=1 # one\n  # after\n\n  matrix:\n  - B=1\n",
	 "env:\n  global:\n  - A=1 # one\n  - KEY:\n      secure: \"AAA=\"\n  # after\n\n  matrix:\n  - B=1\n"},
	{"env:\n    matrix: [A=1]\n    global:\n        - B=2\n        - |\n          C=3\n\nscript: x\n",
	 "env:\n    matrix: [A=1]\n    global:\n        - B=2\n        - |\n          C=3\n\n        - KEY:\n          "
	 "  "
	 "secure: \"AAA=\"\nscript: x\n"},
	{"env:\n  global: [A=1, B=2]\n", "env:\n  global: [A=1, B=2, {KEY: {secure: \"AAA=\"}}]\n"},
	{"env:\n  global: []\n", "env:\n  global: [{KEY: {secure: \"AAA=\"}}]\n"},
	{"env:\n  global: [\n    A=1, # a, comma\n    B=2,  # and one\n  ]\n",
	 "env:\n  global: [\n    A=1, # a, comma\n    B=2,  # and one\n  {KEY: {secure: \"AAA=\"}}]\n"},
	{"env:\n  global: [A=1 # a, comma\n  ]\n", "env:\n  global: [A=1, {KEY: {secure: \"AAA=\"}} # a, comma\n  ]\n"},
	{"env: {global: [A=1], matrix: [B=1]}\n", "env: {global: [A=1, {KEY: {secure: \"AAA=\"}}], matrix: [B=1]}\n"},
	/* rows without global */
	{"env:\n  matrix:\n    - A=1\n    - A=2\nscript: x\n",
	 "env:\n  matrix:\n    - A=1\n    - A=2\n  global:\n    - KEY:\n        secure: \"AAA=\"\nscript: x\n"},
	{"env: {jobs: [A=1]}\n", "env: {jobs: [A=1], global: [{KEY: {secure: \"AAA=\"}}]}\n"},
	{"env: A=1 # one\nscript: x\n",
	 "env:\n  matrix: A=1 # one\n  global:\n    - KEY:\n        secure: \"AAA=\"\nscript: x\n"},
	{"env: [A=1, A=2]\n", "env:\n  matrix: [A=1, A=2]\n  global:\n    - KEY:\n        secure: \"AAA=\"\n"},
	{"env:\n  - A=1\n  # two\n  - A=2\n",
	 "env:\n  matrix:\n  - A=1\n  # two\n  - A=2\n  global:\n    - KEY:\n        secure: \"AAA=\"\n"},
	{"env:\n- A=1\n\n- A=2\nscript: x\n",
	 "env:\n  matrix:\n  - A=1\n\n  - A=2\n  global:\n    - KEY:\n        secure: \"AAA=\"\nscript: x\n"},
	{"env: >\n  A=1\n  B=2\nscript: x\n",
	 "env:\n  matrix: >\n    A=1\n    B=2\n  global:\n    - KEY:\n        secure: \"AAA=\"\nscript: x\n"},
	/* global as one string, or as a map */
	{"env:\n  global: A=1\n", "env:\n  global:\n    - A=1\n    - KEY:\n        secure: \"AAA=\"\n"},
	{"env:\n  global:\n    A: 1\n    B: 2\n",
	 "env:\n  global:\n    A: 1\n    B: 2\n    KEY:\n      secure: \"AAA=\"\n"},
	{"env:\n  global: {A: 1}\n", "env:\n  global: {A: 1, KEY: {secure: \"AAA=\"}}\n"},
	{"env:\n  A: 1\n", "env:\n  A: 1\n  KEY:\n    secure: \"AAA=\"\n"},
	{"env: {A: 1}\n", "env: {A: 1, KEY: {secure: \"AAA=\"}}\n"},
	/* replaced whole */
	{"env:\n  global:\n    - KEY:\n        secure:\n          - \"old1\"\n          - \"old2\" # x\n    - B=2\n",
	 "env:\n  global:\n    - KEY:\n        secure: \"AAA=\" # x\n    - B=2\n"},
	{"env:\n  global:\n    - A=1\n    - KEY: {secure: [a, b]} # x\n    - B=2\n",
	 "env:\n  global:\n    - A=1\n    - KEY:\n        secure: \"AAA=\" # x\n    - B=2\n"},
	{"env:\n  global: [{KEY: {secure: a}}, B=2]\n", "env:\n  global: [{KEY: {secure: \"AAA=\"}}, B=2]\n"},
	{"env:\n  global:\n    KEY:\n      secure: |\n        old\n        old\n\n    B: 2\n",
	 "env:\n  global:\n    KEY:\n      secure: \"AAA=\"\n\n    B: 2\n"},
	{"env:\n  global:\n    - secure: \"bare\"\n",
	 "env:\n  global:\n    - secure: \"bare\"\n    - KEY:\n        " ONE},
	/* line ends */
	{"env:\r\n  global:\r\n    - A=1\r\nscript: x\r\n",
	 "env:\r\n  global:\r\n    - A=1\r\n    - KEY:\r\n        secure: \"AAA=\"\r\nscript: x\r\n"},
	{"script: x\r\nenv:\r\n  global:\r\n    - A=1",
	 "script: x\r\nenv:\r\n  global:\r\n    - A=1\r\n    - KEY:\r\n        secure: \"AAA=\""},
	/* characters of several bytes before the place */
	{"# \303\251\342\202\254\360\237\230\200\nenv:\n  global: [\"\303\251\"]\n",
	 "# \303\251\342\202\254\360\237\230\200\nenv:\n  global: [\"\303\251\", {KEY: {secure: \"AAA=\"}}]\n"},
};

static void test_each_form_is_edited_as_it_wants(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(one_chunk) / sizeof(one_chunk[0]); i++) {
		struct buf out = BUF_INIT(1 << 20);
		struct err e;
		int result;

		edit(one_chunk[i].in, 1, &out, &e, &result);
		if (result) fail_msg("%s: %s", one_chunk[i].in, e.text);
		assert_string_equal(buf_str(&out), one_chunk[i].out);
		buf_release(&out);
	}
}

static void test_several_chunks_are_a_list(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1 << 20);
	struct err e;
	int result;

	edit("env:\n  global:\n    - SITE=_site\n", 2, &out, &e, &result);
	assert_int_equal(result, 0);
	assert_string_equal(buf_str(&out),
			    "env:\n  global:\n    - SITE=_site\n    - KEY:\n        secure:\n          - "
			    "\"AAA=\"\n          - \"AAB=\"\n");
	buf_clear(&out);
	edit("env: {global: [A=1]}", 2, &out, &e, &result);
	assert_int_equal(result, 0);
	assert_string_equal(buf_str(&out), "env: {global: [A=1, {KEY: {secure: [\"AAA=\", \"AAB=\"]}}]}");
	buf_release(&out);
}

static void test_what_is_not_safe_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *in, *text;
	} cases[] = {
		{"- a\n- b\n", "f.yml:1:1: cannot add 'KEY': the file is no map of keys"},
		{"just text\n", "f.yml:1:1: cannot add 'KEY': the file is no map of keys"},
		{"env:\n  - A=1\nenv: x\n", "f.yml:1:1: cannot add 'KEY': 'env' is there twice"},
		{"x: &x [A=1]\nenv: *x\n", "f.yml:2:6: cannot add 'KEY': env is an alias"},
		{"x: &x [A=1]\nenv:\n  global: *x\n", "f.yml:3:11: cannot add 'KEY': env.global is an alias"},
		{"x: &x {global: [A=1]}\nenv:\n  <<: *x\n", "f.yml:3:3: cannot add 'KEY': env has a merge key"},
		{"x: &x {env: [A=1]}\n<<: *x\n",
		 "f.yml:1:1: cannot add 'KEY': a merge key may bring an env of its own"},
		{"env:\n  global:\n    - A=1 KEY=2\n",
		 "f.yml:3:7: cannot add 'KEY': that name is set in the clear here"},
		{"env:\n  global:\n    - KEY: 2\n", "f.yml:3:7: cannot add 'KEY': that name is set in the clear here"},
		{"env: {KEY: 2}\n", "f.yml:1:7: cannot add 'KEY': that name is set in the clear here"},
		{"env:\n  global:\n    - KEY: {secure: a}\n    - KEY: {secure: b}\n",
		 "f.yml:4:7: cannot add 'KEY': that name is there twice"},
		{"env: [A=1\nscript: x\n",
		 "f.yml:2:7: while parsing a flow sequence, did not find expected ',' or ']'"},
		{"a: 1\n---\nb: 2\n", "f.yml:2:1: a second document begins here, only one is supported"},
		{"a: b: c\n", "f.yml:1:5: mapping values are not allowed in this context"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf out = BUF_INIT(1 << 20);
		struct err e = {0};
		int result;

		edit(cases[i].in, 1, &out, &e, &result);
		assert_string_equal(e.text, cases[i].text);
		assert_int_equal(result, -1);
		assert_int_equal(e.kind, ERR_INPUT);
		assert_int_equal(out.len, 0);
		buf_release(&out);
	}
}

static void test_finds_what_it_added(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(one_chunk) / sizeof(one_chunk[0]); i++) {
		struct yaml_sealed_list l;
		struct err e;
		int hits = 0;

		assert_int_equal(yamlsealed_find("f.yml", one_chunk[i].out, strlen(one_chunk[i].out), &l, &e), 0);
		for (size_t k = 0; k < l.len; k++)
			if (l.items[k].name && !strcmp(l.items[k].name, "KEY") && l.items[k].chunks.len == 1 &&
			    !strcmp(l.items[k].chunks.items[0], "AAA="))
				hits++;
		assert_int_equal(hits, 1);
		yaml_sealed_list_release(&l);
	}
}

static void test_replacing_twice_changes_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(one_chunk) / sizeof(one_chunk[0]); i++) {
		struct buf three = BUF_INIT(1 << 20), back = BUF_INIT(1 << 20);
		struct err e;
		int result;

		edit(one_chunk[i].out, 3, &three, &e, &result);
		if (result) fail_msg("%s: %s", one_chunk[i].out, e.text);
		edit(buf_str(&three), 1, &back, &e, &result);
		assert_int_equal(result, 0);
		assert_string_equal(buf_str(&back), one_chunk[i].out);
		buf_release(&three);
		buf_release(&back);
	}
}

struct lines {
	const char **at; /* start of each; one more than n: the end */
	size_t n;
};

static struct lines lines_of(const char *s)
{
	struct lines l = {.at = xmalloc((strlen(s) + 2) * sizeof(char *))};

	while (*s) {
		l.at[l.n++] = s;
		s += strcspn(s, "\n");
		s += *s == '\n';
	}
	l.at[l.n] = s;
	return l;
}

/* A last line may have no end, which is no part of it. */
static int same_line(const struct lines *a, size_t i, const struct lines *b, size_t j)
{
	size_t n = strcspn(a->at[i], "\n"), m = strcspn(b->at[j], "\n");

	if (!a->at[i][n] && m && b->at[j][m - 1] == '\r') m--;

	return n == m && !memcmp(a->at[i], b->at[j], n);
}

/* Which lines of `in` a diff to `out` would show as changed or gone (longest common subsequence). */
static unsigned char *lines_lost(const struct lines *a, const struct lines *b)
{
	size_t width = b->n + 1, i, j;
	unsigned *best = xcalloc((a->n + 1) * width, sizeof(*best));
	unsigned char *lost = xcalloc(a->n + 1, 1);

	for (i = a->n; i-- > 0;)
		for (j = b->n; j-- > 0;) {
			unsigned down = best[(i + 1) * width + j], right = best[i * width + j + 1];

			best[i * width + j] = same_line(a, i, b, j) ? best[(i + 1) * width + j + 1] + 1
					      : down > right        ? down
								    : right;
		}
	for (i = j = 0; i < a->n;)
		if (j < b->n && same_line(a, i, b, j))
			i++, j++;
		else if (j < b->n && best[i * width + j + 1] >= best[(i + 1) * width + j])
			j++;
		else
			lost[i++] = 1;
	free(best);
	return lost;
}

/* The lines of a top-level `env`: from the key to the next one. */
static void env_lines(const struct lines *l, size_t *from_r, size_t *to_r)
{
	size_t i = 0;

	while (i < l->n && strncmp(l->at[i], "env:", 4) != 0) i++;
	*from_r = i;
	for (i++; i < l->n && strchr(" \t-#\r\n", l->at[i][0]); i++) {}
	*to_r = i;
}

/* The same line, two columns deeper. */
static int is_moved(const struct lines *a, size_t i, const struct lines *b)
{
	size_t n = strcspn(a->at[i], "\n");

	for (size_t j = 0; j < b->n; j++)
		if (strcspn(b->at[j], "\n") == n + 2 && !memcmp(b->at[j], "  ", 2) &&
		    !memcmp(b->at[j] + 2, a->at[i], n))
			return 1;
	return 0;
}

enum kind { ADDED, SPLIT, MOVED };

/* A diff shows lines of the file itself only where they have to change: rows at the column of `env` itself, which must
 * stand deeper to become env.matrix, and a value on the line of its key, or in brackets. */
static enum kind check_diff(const char *name, const char *in, const char *out)
{
	struct lines a = lines_of(in), b = lines_of(out);
	unsigned char *lost = lines_lost(&a, &b);
	size_t from, to, split = 0, moved = 0;

	env_lines(&a, &from, &to);
	for (size_t i = 0; i < a.n; i++) {
		if (!lost[i]) continue;
		if (i < from || i >= to) fail_msg("%s:%zu: changed, and is not of env", name, i + 1);
		if (is_moved(&a, i, &b) && a.at[i][0] == '-')
			moved++;
		else if (is_moved(&a, i, &b) && moved)
			moved++;
		else
			split++;
	}
	if (split > 1 || (split && moved)) fail_msg("%s: %zu lines changed, %zu moved", name, split, moved);
	free(lost);
	free(a.at);
	free(b.at);
	return moved ? MOVED : split ? SPLIT : ADDED;
}

static const char added_value[] = "-----BEGIN KEY-----\nfor one repository only\n-----END KEY-----\n";

/* What stands in the file under NAME opens to the value. */
static void check_opens(const struct secret *key, const char *file, const struct buf *text)
{
	_cleanup_sealed_ struct yaml_sealed_list l = {0};
	struct err e;
	int opened = 0;

	if (yamlsealed_find(file, buf_str(text), text->len, &l, &e)) fail_msg("%s", e.text);
	for (size_t i = 0; i < l.len; i++) {
		_cleanup_secret_ struct secret got = SECRET_INIT;

		if (!l.items[i].name || strcmp(l.items[i].name, "DEPLOY_KEY_OF_TEST")) continue;
		if (seal_open(key, "me/site", "DEPLOY_KEY_OF_TEST", &l.items[i].chunks, NULL, &got, &e))
			fail_msg("%s: %s", file, e.text);
		assert_string_equal((char *)got.data, added_value);
		opened++;
	}
	assert_int_equal(opened, 1);
}

struct tally {
	int kind[3], refused;
};

static void one_real_file(const char *name, const struct buf *in, const struct secret *key, const struct vec *chunks,
			  struct tally *t)
{
	struct buf out = BUF_INIT(1 << 20);
	struct err e;

	if (yamledit_add(name, in->data, in->len, "DEPLOY_KEY_OF_TEST", chunks, &out, &e)) {
		print_message("refused: %s\n", e.text);
		assert_int_equal(out.len, 0);
		t->refused++;
		return;
	}
	check_opens(key, name, &out);
	t->kind[check_diff(name, buf_str(in), buf_str(&out))]++;
	buf_release(&out);
}

static void test_real_files_change_only_where_they_must_and_open(void **state)
{
	(void)state;
	const char *shared = getenv("SLIPWAY_SHARED");
	char *dir_name = xasprintf("%s/travis-corpus/real", shared ? shared : "../shared");
	DIR *dir = opendir(dir_name);
	struct secret key = SECRET_INIT;
	struct vec chunks = VEC_INIT;
	unsigned char pub[SEAL_KEY_BYTES];
	struct tally t = {0};
	struct err e;

	if (!dir) {
		print_message("skip: no folder '%s' ($SLIPWAY_SHARED)\n", dir_name);
		free(dir_name);
		skip();
	}
	assert_int_equal(key_generate(&key, pub, &e), 0);
	assert_int_equal(
		seal_value(pub, "me/site", "DEPLOY_KEY_OF_TEST", added_value, strlen(added_value), 260, &chunks, &e),
		0);
	assert_true(chunks.len > 1);
	for (struct dirent *d; (d = readdir(dir));) {
		char *path = xasprintf("%s/%s", dir_name, d->d_name);
		struct buf in = BUF_INIT(1 << 20);

		if (d->d_name[0] != '.' && !fs_read_file(path, &in, &e) && in.data && !memchr(in.data, 0, in.len))
			one_real_file(d->d_name, &in, &key, &chunks, &t);
		free(path);
		buf_release(&in);
	}
	closedir(dir);
	free(dir_name);
	print_message("%d with lines added only, %d with one line split, %d with rows moved deeper, %d refused\n",
		      t.kind[ADDED], t.kind[SPLIT], t.kind[MOVED], t.refused);
	assert_true(t.kind[ADDED] + t.kind[SPLIT] + t.kind[MOVED] > 20 * t.refused);
	secret_release(&key);
	vec_release(&chunks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_form_is_edited_as_it_wants),
		cmocka_unit_test(test_several_chunks_are_a_list),
		cmocka_unit_test(test_what_is_not_safe_is_refused),
		cmocka_unit_test(test_finds_what_it_added),
		cmocka_unit_test(test_replacing_twice_changes_nothing_else),
		cmocka_unit_test(test_real_files_change_only_where_they_must_and_open),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
