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
#include "senv/yamledit.h"

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

		assert_int_equal(yamledit_find("f.yml", one_chunk[i].out, strlen(one_chunk[i].out), &l, &e), 0);
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

/* Every line of `in` is in `out`, in order: nothing was lost or reformatted. Lines may have been moved deeper. */
static int keeps_lines(const char *in, const char *out)
{
	while (*in) {
		size_t n = strcspn(in, "\n");
		const char *hit = NULL;

		while (n && (*in == ' ' || *in == '\t')) in++, n--;
		for (const char *o = out; *o && !hit; o = *o ? strchrnul(o, '\n') + (*strchrnul(o, '\n') != '\0') : o) {
			const char *s = o + strspn(o, " \t");

			if (!strncmp(s, in, n) && (s[n] == '\n' || !s[n])) hit = s;
		}
		if (!hit) return 0;
		out = strchrnul(hit, '\n');
		out += *out != '\0';
		in += n;
		in += *in != '\0';
	}
	return 1;
}

static void test_real_configurations(void **state)
{
	(void)state;
	const char *shared = getenv("SLIPWAY_SHARED");
	char *dir_name = xasprintf("%s/travis-corpus/real", shared ? shared : "../shared");
	DIR *dir = opendir(dir_name);
	int edited = 0, refused = 0, moved = 0;

	if (!dir) {
		print_message("skip: no folder '%s' ($SLIPWAY_SHARED)\n", dir_name);
		free(dir_name);
		skip();
	}
	for (struct dirent *d; (d = readdir(dir));) {
		char *path = xasprintf("%s/%s", dir_name, d->d_name);
		struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);
		struct err e;
		int result;

		if (d->d_name[0] != '.' && !fs_read_file(path, &in, &e) && in.data && !memchr(in.data, 0, in.len)) {
			edit(buf_str(&in), 2, &out, &e, &result);
			if (result) {
				print_message("%s: %s\n", d->d_name, e.text);
				refused++;
			} else {
				edited++;
				moved += !keeps_lines(buf_str(&in), buf_str(&out));
			}
		}
		free(path);
		buf_release(&in);
		buf_release(&out);
	}
	closedir(dir);
	free(dir_name);
	print_message("%d edited (%d with a line split in two), %d refused\n", edited, moved, refused);
	assert_true(edited > 20 * refused);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_form_is_edited_as_it_wants),
		cmocka_unit_test(test_several_chunks_are_a_list),
		cmocka_unit_test(test_what_is_not_safe_is_refused),
		cmocka_unit_test(test_finds_what_it_added),
		cmocka_unit_test(test_replacing_twice_changes_nothing_else),
		cmocka_unit_test(test_real_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
