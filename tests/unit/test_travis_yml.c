/* `.travis.yml`: what is mended and how, which jobs it makes, what they are by default. */
#include "tests/unit/unit.h"

#include "lib/buf.h"
#include "runner/plan/plan.h"

static const struct plan_context push = {.dialect = PLAN_TRAVIS, .kind = EVENT_PUSH, .branch = "master"};

static int make(const char *yaml, const struct plan_context *cx, struct plan *plan, char **text, struct err *e)
{
	struct plan_problems problems;
	int rc = plan_make("t", yaml, strlen(yaml), cx, plan, &problems, e);

	*text = plan_problems_text(&problems, "t", 1);
	plan_problems_release(&problems);
	return rc;
}

/* "os=linux language=c A=1", a job a line; what all jobs have is left out, what may fail has a ? behind it. */
static char *listing(const struct plan *p)
{
	struct buf b = BUF_INIT(1 << 20);

	for (size_t i = 0; i < p->njobs; i++) {
		json_t *o = json_array_get(p->listing, i), *v, *env = json_object_get(o, "env");
		const char *key;
		size_t k, before;

		if (i) buf_adds(&b, "; ");
		before = b.len;
		json_object_foreach(o, key, v)
		{
			const char *s = json_string_value(v);

			if (!s || !strcmp(key, "dist") || (!strcmp(key, "os") && !strcmp(s, "linux"))) continue;
			buf_addf(&b, "%s%s=%s", b.len > before ? " " : "", key, s);
		}
		json_array_foreach(env, k, v)
		{
			_cleanup_free_ char *text = json_text(v);

			buf_addf(&b, " %s", text);
		}
		if (json_is_true(json_object_get(o, "allow_failure"))) buf_adds(&b, " ?");
	}
	return buf_steal(&b);
}

static const struct {
	const char *yaml, *jobs;
} cases[] = {
	/* defaults */
	{"", "language=ruby"},
	{"os: osx\n", "os=osx language=objective-c"},
	{"script: x\n", "language=ruby"},
	/* names and values are mended */
	{"Language: C\n", "language=c"},
	{"langauge: pyhton\npython: 3.10\n", "python=3.10 language=python"},
	{"language: C++\nCompilers: gcc\n", "compiler=gcc language=cpp"},
	{"language: java scala\n", "language=java"},
	{"language: klingon\n", "language=klingon"},
	{"language: [c, ruby]\n", "language=c"},
	{"language: node\nnode: [ 8, 010 ]\n", "node_js=8 language=node_js"},
	{"language: c\nos: [ubuntu, mac, amiga]\n", "language=c; os=osx language=c"},
	{"language: c\narch: [x86_64, power]\n", "arch=amd64 language=c; arch=ppc64le language=c"},
	/* keys of other languages and systems make no jobs */
	{"language: c\npython: [2.7, 3.6]\n", "language=c"},
	{"language: c\nos: [linux, osx]\narch: [amd64, arm64]\nosx_image: [a, b]\n",
	 "arch=amd64 language=c; arch=arm64 language=c; os=osx osx_image=a language=c; os=osx osx_image=b language=c"},
	{"language: scala\nscala: [2.12]\njdk: [a, b]\n",
	 "jdk=a scala=2.12 language=scala; jdk=b scala=2.12 language=scala"},
	/* env */
	{"language: c\nenv: A=1 B=2\n", "language=c {\"A\":\"1\",\"B\":\"2\"}"},
	{"language: c\nenv: [A=1, {B: yes, C: 010, D: On, E: ~}]\n",
	 "language=c {\"A\":\"1\"}; language=c {\"B\":\"yes\",\"C\":\"8\",\"D\":\"true\",\"E\":null}"},
	{"language: c\nenv: {global: [A=1, B=2], matrix: [A=1, C=3]}\n",
	 "language=c {\"A\":\"1\"} {\"B\":\"2\"}; language=c {\"A\":\"1\"} {\"B\":\"2\"} {\"C\":\"3\"}"},
	{"language: c\nenv: {global: A=1, B: 2}\n", "language=c {\"A\":\"1\"} {\"B\":\"2\"}"},
	{"language: c\nenv: {global: 'A=\"open', jobs: ['B=\"open', C=3]}\n",
	 "language=c {}; language=c {} {\"C\":\"3\"}"},
	{"language: c\nenv: ['A=\"open', 'B=\"open']\n", "language=c {}"},
	{"language: c\nenv: [bare, 'A=\"x y\" B=''p q''r C=$(echo \")\") D=`a b` E=a;b \"F=1\"']\n",
	 "language=c {\"bare\":\"\"}; language=c {\"A\":\"\\\"x y\\\"\",\"B\":\"'p q'r\",\"C\":\"$(echo "
	 "\\\")\\\")\",\"D\":\"`a "
	 "b`\",\"E\":\"a;b\",\"F\":\"1\"}"},
	{"language: c\nenv: [{secure: 'a b'}, {A: {secure: x}}]\n",
	 "language=c {\"secure\":\"a b\"}; language=c {\"A\":{\"secure\":\"x\"}}"},
	{"language: c\nenv: [A=1, A=1, ~]\n", "language=c {\"A\":\"1\"}"},
	/* include: a lone job of the matrix falls away; what a row does not say is the first of each axis */
	{"language: c\nmatrix: {include: [{env: A=1, name: n}, {compiler: clang}]}\n",
	 "language=c name=n {\"A\":\"1\"}; compiler=clang language=c"},
	{"language: c\ncompiler: [gcc, clang]\nenv: X=1\njobs: [{env: Y=1}, {os: osx}]\n",
	 "compiler=gcc language=c {\"X\":\"1\"}; compiler=clang language=c {\"X\":\"1\"}; compiler=gcc language=c "
	 "{\"Y\":\"1\"}; os=osx compiler=gcc language=c {\"X\":\"1\"}"},
	{"language: c\nmatrix: {env: A=1, script: x}\n", "language=c {\"A\":\"1\"}"},
	{"language: c\nmatrix:\n  include:\n  - language: python\n    python: 3.6\n  - text\n",
	 "python=3.6 language=python"},
	/* doubles are dropped; a row that says something else is none */
	{"language: c\nenv: [A=1, A=2]\nmatrix: {include: [{env: A=2}, {env: A=2, script: y}]}\n",
	 "language=c {\"A\":\"1\"}; language=c {\"A\":\"2\"}; language=c {\"A\":\"2\"}"},
	{"language: c\nscript: [y]\nenv: [A=1, A=2]\nmatrix: {include: [{env: A=2, script: y}]}\n",
	 "language=c {\"A\":\"1\"}; language=c {\"A\":\"2\"}"},
	/* exclude: all keys, any key; env as mappings, without global ones */
	{"language: c\ndist: trusty\nenv: {global: G=1, jobs: [A=1 B=2, A=1]}\njobs: {exclude: [{dist: trusty, env: "
	 "B=2 "
	 "A=1}]}\n",
	 "language=c {\"G\":\"1\"} {\"A\":\"1\"}"},
	{"language: c\nsudo: required\nos: [linux, osx]\njobs: {exclude: [{os: osx, sudo: true}]}\n", "language=c"},
	{"language: c\nenv: [A=1, ~]\njobs: {exclude: [{env: }]}\n", "language=c {\"A\":\"1\"}"},
	{"language: c\nenv: [~, A=1]\njobs: {exclude: [{env: }]}\n", "language=c; language=c {\"A\":\"1\"}"},
	{"language: c\njobs: {exclude: [{}]}\n", ""},
	{"language: c\nenv: [A=1, A=2]\njobs: {exclude: [{if: 'env(A) = 1'}, {if: 'broken ='}]}\n",
	 "language=c {\"A\":\"2\"}"},
	/* allow_failures */
	{"language: c\nenv: [A=1, A=2]\nmatrix: {allowed_failures: [{env: A=1}, {}]}\n",
	 "language=c {\"A\":\"2\"}; language=c {\"A\":\"1\"} ?"},
	{"language: c\nmatrix: {allow_failures: [{branch: master}]}\n", "language=c ?"},
	{"language: c\nmatrix: {allow_failures: [{branch: other}]}\n", "language=c"},
	{"language: c\nmatrix: {include: [{name: a, allow_failure: true}, {name: b}]}\n",
	 "language=c name=b; language=c name=a ?"},
	/* if, stages */
	{"language: c\nif: branch = other\n", ""},
	{"language: c\nif: branch =\n", ""},
	{"language: c\njobs: {include: [{name: a, if: branch = master}, {name: b, if: no_such = x}]}\n",
	 "language=c name=a"},
	{"language: c\nstages: [b, {name: a, if: type = api}]\njobs: {include: [{stage: a}, {stage: B, name: x}, "
	 "{name: "
	 "y}]}\n",
	 "language=c name=x stage=B; language=c name=y stage=B"},
	{"language: c\nstage: only\nenv: [A=1]\n", "language=c stage=only {\"A\":\"1\"}"},
	/* what YAML takes and Travis did too */
	{"language: c\nscript: *nothing\nlanguage: ruby\n", "language=ruby"},
	{"base: &b {env: A=1}\nlanguage: c\njobs: {include: [{<<: *b, name: n}]}\n", "language=c name=n {\"A\":\"1\"}"},
};

static void test_jobs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text = NULL, *got = NULL;
		struct plan plan = {0};
		struct err e;

		assert_done(make(cases[i].yaml, &push, &plan, &text, &e), e);
		got = listing(&plan);
		if (strcmp(got, cases[i].jobs) != 0)
			fail_msg("%s--- wanted\n%s\n--- got\n%s\n--- said\n%s", cases[i].yaml, cases[i].jobs, got,
				 text);
		plan_release(&plan);
	}
}

static void test_what_is_mended_is_told(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct plan plan = {0};
	struct err e;

	(void)state;
	assert_done(make("langauge: pyhton\nos: amiga\nzebra: 1\n_mine: 1\nenv: ['1A=x', {B: [1]}]\nscript: {a: b}\n"
			 "cache: pip\nlanguage: c\nenv: A=1\nmatrix: [x]\nnotifications: off\n",
			 &push, &plan, &text, &e),
		    e);
	assert_string_equal(text,
			    "t:1:1: warning: 'langauge' is read as 'language'\n"
			    "t:1:11: warning: 'pyhton' in 'language' is read as 'python'\n"
			    "t:2:5: warning: 'amiga' in 'os' is not known\n"
			    "t:3:1: warning: unknown key 'zebra'\n"
			    "t:6:9: warning: a command in 'script' must be text: put one that holds ': ' in quotes\n"
			    "t:9:1: warning: the key 'env' stands here again; it was in line 5\n"
			    "t:10:1: warning: 'matrix' is read as 'jobs'\n"
			    "t:10:10: warning: a row of the matrix must be a mapping, not text: left out\n"
			    "t:11:1: warning: 'notifications' is not carried out\n");
	plan_release(&plan);
}

static void test_cache(void **state)
{
	static const struct {
		const char *yaml, *folders, *problems;
	} caches[] = {
		{"cache: pip", "~/.cache/pip", ""},
		{"cache: [bundler, {directories: [x, $HOME/.opam, '${TRAVIS_BUILD_DIR}/y', /home/travis/.z]}]",
		 "vendor/bundle ~/.bundle x ~/.opam y ~/.z", ""},
		{"cache:\n  apt: true\n  npm: false\n  timeout: 1000\n  directories:\n  - a\n  - a\n",
		 "/var/cache/apt/archives a", ""},
		{"cache: false", "", ""},
		{"cache: {directories: [$CARGO_HOME/x, ../up, /proc/x]}", "",
		 "t:1:23: warning: the folder '$CARGO_HOME/x' is not kept: it must hold no variable but $HOME and "
		 "$TRAVIS_BUILD_DIR\n"
		 "t:1:38: warning: the folder '../up' is not kept: it must be below the source folder: no '..'\n"
		 "t:1:45: warning: the folder '/proc/x' is not kept: it must be below the source folder, ~/ or a "
		 "folder of "
		 "the image's own\n"},
		{"cache: zebra", "",
		 "t:1:8: warning: nothing is known of the cache 'zebra': name its folders under 'directories'\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(caches); i++) {
		_cleanup_free_ char *yaml = xasprintf("%s\nlanguage: c\n", caches[i].yaml), *text = NULL;
		_cleanup_buf_ struct buf got = BUF_INIT(1000);
		struct plan plan = {0};
		struct err e;

		assert_done(make(yaml, &push, &plan, &text, &e), e);
		for (size_t k = 0; k < plan.jobs[0].cache.len; k++)
			buf_addf(&got, "%s%s", k ? " " : "", plan.jobs[0].cache.items[k]);
		assert_string_equal(buf_str(&got), caches[i].folders);
		assert_string_equal(text, caches[i].problems);
		plan_release(&plan);
	}
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *yaml, *why;
	} bad[] = {
		{"- a\n", "t:1:1: the file must be a mapping of keys, not a list"},
		{"text\n", "t:1:1: the file must be a mapping of keys, not text"},
		{"a: [\n", "t:2:1: not YAML: did not find expected node content"},
		{"a: &a [*a]\n", "t:1:8: an alias stands inside what it names"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_free_ char *text = NULL;
		struct plan plan = {0};
		struct err e;

		assert_int_equal(make(bad[i].yaml, &push, &plan, &text, &e), -1);
		assert_int_equal(e.kind, ERR_INPUT);
		assert_string_equal(e.text, bad[i].why);
	}
}

static void test_branches(void **state)
{
	static const struct {
		const char *yaml, *branch;
		int built;
	} all[] = {
		{"", "master", 1},
		{"", "gh-pages", 0},
		{"", "my_GH_pages", 0},
		{"branches: gh-pages\n", "gh-pages", 1},
		{"branches: {only: [gh-pages, master]}\n", "gh-pages", 1},
		{"branches: {only: [x]}\n", "master", 0},
		{"branches: {except: /^v/}\n", "v1", 0},
		{"branches: {only: '/(?=x)/'}\n", "master", 1}, /* cannot be read: a warning, and left out */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		_cleanup_free_ char *text = NULL;
		struct plan_context cx = push;
		struct plan plan = {0};
		struct err e;

		cx.branch = all[i].branch;
		assert_done(make(all[i].yaml, &cx, &plan, &text, &e), e);
		if ((plan.njobs > 0) != all[i].built) fail_msg("%s on %s: %s", all[i].yaml, all[i].branch, text);
		assert_int_equal(plan.left_out, !all[i].built);
		plan_release(&plan);
		cx.any_branch = 1;
		free_p(&text);
		assert_done(make(all[i].yaml, &cx, &plan, &text, &e), e);
		assert_int_equal(plan.njobs, 1);
		plan_release(&plan);
	}
}

static void test_what_a_job_is(void **state)
{
	_cleanup_free_ char *text = NULL;
	const struct job_spec *j;
	struct plan plan = {0};
	struct err e;

	(void)state;
	assert_done(make("language: c\ncompiler: clang\naddons: {apt: {packages: [zsh, make], sources: [x]}}\n"
			 "env: {global: {A: x y}, jobs: ['B=a;b C=\"1\"']}\nbefore-script: [a, [b, c]]\ninstall: true\n"
			 "script: false\nafter_failure: skip\n",
			 &push, &plan, &text, &e),
		    e);
	j = &plan.jobs[0];
	assert_int_equal(j->dialect, PLAN_TRAVIS);
	assert_string_equal(j->image, "debian:bookworm");
	assert_int_equal(j->network, NETWORK_ON);
	for (size_t i = 1; i < j->packages.len; i++)
		assert_true(strcmp(j->packages.items[i - 1], j->packages.items[i]) < 0);
	assert_true(vec_has(&j->packages, "build-essential") && vec_has(&j->packages, "clang"));
	assert_true(vec_has(&j->packages, "zsh") && vec_has(&j->packages, "git"));
	assert_int_equal(j->phases[PHASE_BEFORE_SCRIPT].len, 3);
	assert_string_equal(j->phases[PHASE_INSTALL].items[0], "true");
	assert_string_equal(j->phases[PHASE_SCRIPT].items[0], "false");
	assert_true(j->phase_skipped[PHASE_AFTER_FAILURE]);
	assert_int_equal(j->nenv, 3);
	assert_string_equal(j->env[0].text, "A=\"x y\"");
	assert_string_equal(j->env[1].text, "B=\"a;b\"");
	assert_string_equal(j->env[2].text, "C=\"1\"");
	assert_string_equal(j->name, "linux clang B=\"a;b\" C=\"1\"");
	plan_release(&plan);
}

static void test_which_of_the_two_a_file_is(void **state)
{
	static const struct {
		const char *name, *yaml;
		enum plan_dialect dialect;
	} all[] = {
		{".travis.yml", "image: x\n", PLAN_TRAVIS},
		{"a/b.travis.yml", "image: x\n", PLAN_TRAVIS},
		{".ci.yml", "language: c\n", PLAN_CI},
		{"a/b.ci.yml", "language: c\n", PLAN_CI},
		{"some.yml", "language: c\nscript: x\n", PLAN_TRAVIS},
		{"some.yml", "script: x\nimage: x\n", PLAN_CI},
		{"some.yml", "script: x\nbackend: [a]\n", PLAN_CI},
		{"some.yml", "", PLAN_TRAVIS},
		{"some.yml", "a: [\n", PLAN_CI},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		assert_int_equal(plan_dialect_of(all[i].name, all[i].yaml, strlen(all[i].yaml)), all[i].dialect);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jobs),
		cmocka_unit_test(test_what_is_mended_is_told),
		cmocka_unit_test(test_cache),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_branches),
		cmocka_unit_test(test_what_a_job_is),
		cmocka_unit_test(test_which_of_the_two_a_file_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
