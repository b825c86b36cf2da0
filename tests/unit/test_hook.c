/* git's post-receive lines, and the questions that triggers put to a real git. */
#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "runner/trigger/git.h"
#include "runner/trigger/hook.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ZERO "0000000000000000000000000000000000000000"

/* Every line is right. */
static void parse(const char *text, struct event **evs, size_t *n)
{
	_cleanup_vec_ struct vec bad = VEC_INIT;

	hook_parse("me/site", "p", text, strlen(text), evs, n, &bad);
	assert_int_equal(bad.len, 0);
}

static void test_lines_become_events(void **state)
{
	struct event *evs;
	size_t n;

	(void)state;
	parse(A " " B " refs/heads/main\n" ZERO " " B " refs/tags/v1\n" A " " B " refs/notes/x\n" A " " ZERO
		" refs/heads/gone\n" ZERO " " A " refs/heads/last",
	      &evs, &n);
	assert_int_equal(n, 4);
	assert_int_equal(evs[0].kind, EVENT_PUSH);
	assert_int_equal(evs[0].source, EVENT_FROM_HOOK);
	assert_string_equal(evs[0].repo, "me/site");
	assert_string_equal(evs[0].delivery, "p-1");
	assert_string_equal(evs[0].ref, "refs/heads/main");
	assert_string_equal(evs[0].branch, "main");
	assert_string_equal(evs[0].before, A);
	assert_string_equal(evs[0].commit, B);
	assert_int_equal(evs[0].deleted, 0);
	assert_string_equal(evs[1].tag, "v1");
	assert_true(event_commit_is_zero(evs[1].before));
	assert_string_equal(evs[2].delivery, "p-4"); /* the line's number: the same whatever is left out */
	assert_string_equal(evs[2].branch, "gone");
	assert_int_equal(evs[2].deleted, 1);
	assert_null(evs[2].commit);
	assert_string_equal(evs[3].branch, "last");
	hook_events_free(&evs, n);
	assert_null(evs);
}

static void test_no_lines(void **state)
{
	struct event *evs;
	size_t n;

	(void)state;
	parse("", &evs, &n);
	assert_int_equal(n, 0);
	hook_events_free(&evs, n);
}

static void test_lines_that_are_wrong(void **state)
{
	static const char good[] = A " " B " refs/heads/x\n";
	static const struct {
		const char *line, *why;
	} cases[] = {
		{"\n", "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{"x\n", "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{A " " B "\n", "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{A " " B " \n", "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{A " HEADHEADHEADHEADHEADHEADHEADHEADHEADHEAD refs/heads/x\n",
		 "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{A "0 " B " refs/heads/x\n", "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{A " " B "\trefs/heads/x\n", "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{A A " " B B " refs/heads/x\n", "line 2: not 'OLD NEW REF' with SHA-1 names"},
		{A " " B " main\n", "line 2: bad ref name 'main'"},
		{A " " B " refs/heads/x y\n", "line 2: bad ref name 'refs/heads/x y'"},
		{A " " B " refs/heads/x\r\n", "line 2: bad ref name 'refs/heads/x'"},
		{A " " B " refs/heads/caf\xe9\n", "line 2: bad ref name 'refs/heads/caf\xef\xbf\xbd'"},
	};
	static const char last[] = A " " B " refs/heads/last\n", nul[] = A " " B " refs/heads/x\0y\n";
	struct vec bad = VEC_INIT;
	struct event *evs = NULL;
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text = xasprintf("%s%s%s", good, cases[i].line, last);

		hook_parse("me/site", "p", text, strlen(text), &evs, &n, &bad);
		assert_int_equal(bad.len, 1);
		assert_string_equal(bad.items[0], cases[i].why);
		assert_int_equal(n, 2); /* it costs none of the others, nor their numbers */
		assert_string_equal(evs[0].branch, "x");
		assert_string_equal(evs[1].branch, "last");
		assert_string_equal(evs[1].delivery, "p-3");
		hook_events_free(&evs, n);
		vec_release(&bad);
	}
	hook_parse("me/site", "p", nul, sizeof(nul) - 1, &evs, &n, &bad);
	assert_int_equal(n, 0);
	assert_string_equal(bad.items[0], "line 1: a NUL byte");
	vec_release(&bad);
}

/* --- a real repository --- */

static void git_with(const char *dir, const char *const *args)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
	struct child_opts o = {.cwd = dir};
	struct err e;

	vec_add(&argv, "git");
	vec_add_all(&argv, args);
	git_environment(&env);
	vec_setenv(&env, "HOME", dir);
	vec_setenv(&env, "GIT_CONFIG_NOSYSTEM", "1");
	vec_setenv(&env, "GIT_AUTHOR_NAME", "a");
	vec_setenv(&env, "GIT_AUTHOR_EMAIL", "a@x");
	vec_setenv(&env, "GIT_COMMITTER_NAME", "a");
	vec_setenv(&env, "GIT_COMMITTER_EMAIL", "a@x");
	o.argv = (const char *const *)vec_argv(&argv);
	o.env = (const char *const *)vec_argv(&env);
	assert_done(child_check(&o, NULL, 60000, NULL, &e), e);
}
#define git(dir, ...) git_with(dir, (const char *const[]){__VA_ARGS__, NULL})

struct repository {
	char *dir, *git_dir;
	struct vec heads;
	char *head;
};

static void open_repository(struct repository *r)
{
	struct err e;

	*r = (struct repository){.dir = unit_temp()};
	r->git_dir = xasprintf("%s/.git", r->dir);
	git(r->dir, "init", "-q", "-b", "trunk");
	git(r->dir, "commit", "-q", "--allow-empty", "-m", "one\n\ntw\xc3\xb6 \x1b[31m\n\n\n");
	git(r->dir, "tag", "-a", "-m", "t", "v1");
	git(r->dir, "tag", "light");
	git(r->dir, "branch", "topic");
	assert_done(git_ls_remote(r->dir, &r->heads, &r->head, &e), e);
}

static void close_repository(struct repository *r)
{
	unit_temp_remove(&r->dir);
	free(r->git_dir);
	free(r->head);
	vec_release(&r->heads);
}

static void test_ls_remote(void **state)
{
	static const char *const names[] = {"refs/heads/topic", "refs/heads/trunk", "refs/tags/light", "refs/tags/v1"};
	struct repository r;
	struct vec none = VEC_INIT;
	struct err e;
	char *head;

	(void)state;
	open_repository(&r);
	assert_string_equal(r.head, "refs/heads/trunk");
	assert_int_equal(r.heads.len, 8);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(r.heads.items[2 * i], names[i]);
		assert_string_equal(r.heads.items[2 * i + 1],
				    r.heads.items[1]); /* all at one commit, v1 by its tag object */
	}
	assert_int_equal(git_ls_remote("/nowhere.git", &none, &head, &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_non_null(strstr(e.text, "cannot list '/nowhere.git': 'git' exited with 128"));
	assert_int_equal(git_ls_remote("ext::sh -c true", &none, &head, &e), -1);
	assert_non_null(strstr(e.text, "transport 'ext' not allowed"));
	close_repository(&r);
}

static void test_describe(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	struct repository r;
	struct event ev = {0};
	struct err e;

	(void)state;
	open_repository(&r);
	/* a hook's environment does not lead git astray */
	setenv("GIT_DIR", "/nowhere", 1);
	setenv("GIT_INDEX_FILE", "/nowhere", 1);
	ev.commit = xstrdup(r.heads.items[1]);
	assert_done(hook_describe(r.git_dir, &ev, &e), e);
	assert_string_equal(ev.commit, r.heads.items[1]);
	assert_string_equal(ev.message, "one\n\ntw\xc3\xb6 [31m");
	unsetenv("GIT_DIR");
	unsetenv("GIT_INDEX_FILE");
	event_release(&ev);

	{ /* a tag object leads to its commit */
		const char *const argv[] = {"git", "rev-parse", "v1", NULL};
		const struct child_opts o = {.argv = argv, .cwd = r.dir};

		assert_done(child_check(&o, NULL, 60000, &out, &e), e);
	}
	ev.commit = xstrndup(buf_str(&out), 40);
	assert_string_not_equal(ev.commit, r.heads.items[1]);
	assert_done(hook_describe(r.git_dir, &ev, &e), e);
	assert_string_equal(ev.commit, r.heads.items[1]);
	event_release(&ev);

	assert_done(hook_describe(r.git_dir, &ev, &e), e); /* deleted: nothing to ask */
	assert_null(ev.commit);
	ev.commit = xstrdup(B); /* git has never seen it */
	assert_int_equal(hook_describe(r.git_dir, &ev, &e), 1);
	assert_null(ev.commit);
	ev.commit = xstrdup(A);
	assert_int_equal(hook_describe("/nowhere.git", &ev, &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_string_equal(ev.commit, A);
	event_release(&ev);
	close_repository(&r);
}

static void test_environment_of_git(void **state)
{
	_cleanup_vec_ struct vec env = VEC_INIT, asked = VEC_INIT;

	(void)state;
	setenv("GIT_DIR", "/elsewhere", 1);
	setenv("GIT_CONFIG_COUNT", "1", 1);
	setenv("LC_ALL", "de_DE.UTF-8", 1);
	unsetenv("GIT_SSH_COMMAND");
	git_environment(&env);
	assert_null(vec_getenv(&env, "GIT_DIR"));
	assert_null(vec_getenv(&env, "GIT_CONFIG_COUNT"));
	assert_string_equal(vec_getenv(&env, "PATH"), getenv("PATH"));
	assert_string_equal(vec_getenv(&env, "LC_ALL"), "C");
	assert_string_equal(vec_getenv(&env, "GIT_TERMINAL_PROMPT"), "0");
	assert_int_equal(strncmp(vec_getenv(&env, "GIT_SSH_COMMAND"), "ssh -oBatchMode=yes ", 20), 0);
	setenv("GIT_SSH_COMMAND", "ssh -i key", 1); /* a person's own way to a server is kept */
	git_environment(&asked);
	assert_string_equal(vec_getenv(&asked, "GIT_SSH_COMMAND"), "ssh -i key");
	unsetenv("GIT_SSH_COMMAND");
	unsetenv("GIT_CONFIG_COUNT");
	unsetenv("GIT_DIR");
	unsetenv("LC_ALL");
}

static void test_texts_are_made_fit(void **state)
{
	static const struct {
		const char *in;
		size_t max;
		const char *out;
	} cases[] = {
		{"", 10, ""},
		{"a\tb\nc \n\n", 10, "a\tb\nc"},
		{"a\r\nb\x1b[1m\x7f", 20, "a\nb[1m"},
		{"a\xff"
		 "b",
		 10,
		 "a\xef\xbf\xbd"
		 "b"},
		{"\xc3", 10, "\xef\xbf\xbd"},
		{"\xc3\xa4\xc3\xa4", 3, "\xc3\xa4"},
		{"\xff\xff", 5, "\xef\xbf\xbd"},
		{"abcdef", 3, "abc"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *out = event_text(cases[i].in, cases[i].max);

		assert_string_equal(out, cases[i].out);
		free(out);
	}
	assert_null(event_text(NULL, 10));
}

static void test_new_deliveries_differ(void **state)
{
	char *a = event_new_delivery(), *b = event_new_delivery();

	(void)state;
	assert_int_equal(strlen(a), 24);
	assert_string_not_equal(a, b);
	free(a);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_become_events),
		cmocka_unit_test(test_no_lines),
		cmocka_unit_test(test_lines_that_are_wrong),
		cmocka_unit_test(test_ls_remote),
		cmocka_unit_test(test_describe),
		cmocka_unit_test(test_environment_of_git),
		cmocka_unit_test(test_texts_are_made_fit),
		cmocka_unit_test(test_new_deliveries_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
