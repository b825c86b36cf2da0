/* Events: names, skip tokens, what is taken from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/err.h"
#include "runner/trigger/event.h"

static void test_names_parse_back(void **state)
{
	enum event_kind kind;
	enum event_source source;

	(void)state;
	for (int k = EVENT_PUSH; k <= EVENT_PING; k++) {
		assert_int_equal(event_kind_parse(event_kind_name((enum event_kind)k), &kind), 0);
		assert_int_equal(kind, k);
	}
	for (int s = EVENT_FROM_GITHUB; s <= EVENT_FROM_POLL; s++) {
		assert_int_equal(event_source_parse(event_source_name((enum event_source)s), &source), 0);
		assert_int_equal(source, s);
	}
	assert_int_equal(event_kind_parse("Push", &kind), -1);
	assert_int_equal(event_source_parse("", &source), -1);
}

static void test_messages_that_skip(void **state)
{
	static const char *const skip[] = {
		"[ci skip]",        "[skip ci]",        "[ci:skip]",       "fix [CI SKIP] typo", "[Skip \t CI]",
		"[skip\nci]",       "[travis skip]",    "[skip travis]",   "[travis ci skip]",   "[skip travis ci]",
		"[travis-ci skip]", "[skip travis-ci]", "[travisci skip]", "[skip travisci]",    "a\n\nb [skip ci]\n",
		"[ [ci skip]",      "[x] [ci skip]",    "[[skip ci]]",
	};
	static const char *const build[] = {
		"",
		"skip ci",
		"[skip]",
		"[ci]",
		"[ci skip",
		"ci skip]",
		"[ci  skip]",
		"[skipci]",
		"[ci skipped]",
		"[skip ci ]",
		"[ skip ci]",
		"[skip-ci]",
		"(ci skip)",
		"[ci skip tests]",
		"[ciskip]",
		"[skip cia]",
		"[no skip ci]",
		"[ci\nskip]",
		"[skip travi]",
		"[ci:skip:it]",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(skip); i++)
		if (!event_message_skips(skip[i])) fail_msg("'%s' does not skip", skip[i]);
	for (size_t i = 0; i < ARRAY_LEN(build); i++)
		if (event_message_skips(build[i])) fail_msg("'%s' skips", build[i]);
	assert_false(event_message_skips(NULL));
}

static char commit[] = "0123456789abcdef0123456789abcdef01234567";

static void test_skip_reasons(void **state)
{
	static char opened[] = "opened", closed[] = "closed", skip[] = "x [skip ci]", tag[] = "v1";
	static const struct {
		struct event ev;
		const char *reason;
	} cases[] = {
		{{.kind = EVENT_PUSH, .commit = commit}, NULL},
		{{.kind = EVENT_PUSH, .commit = commit, .message = skip}, "skipped through commit message"},
		{{.kind = EVENT_PUSH, .commit = commit, .message = skip, .source = EVENT_FROM_PERSON}, NULL},
		{{.kind = EVENT_PUSH, .deleted = 1}, "branch deleted"},
		{{.kind = EVENT_PUSH, .deleted = 1, .tag = tag}, "tag deleted"},
		{{.kind = EVENT_PUSH}, "missing commit"},
		{{.kind = EVENT_PULL_REQUEST, .commit = commit, .pr_action = opened}, NULL},
		{{.kind = EVENT_PULL_REQUEST, .commit = commit, .pr_action = opened, .message = skip}, NULL},
		{{.kind = EVENT_PULL_REQUEST, .commit = commit, .pr_action = closed},
		 "nothing to build for this action"},
		{{.kind = EVENT_PULL_REQUEST, .commit = commit}, "nothing to build for this action"},
		{{.kind = EVENT_PING}, "a ping: the webhook works"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *got = event_skip_reason(&cases[i].ev);

		if (!cases[i].reason)
			assert_null(got);
		else
			assert_string_equal(got, cases[i].reason);
	}
}

static void test_repository_names(void **state)
{
	static const char *const good[] = {"a/b", "me/site", "o-1/n.x_y", "a/.github", "_/_"};
	static const char *const bad[] = {"",     "a",     "a/",    "/b",   "a/b/c",       "a/..", "./b",     "-a/b",
					  "a/-b", "a b/c", "a/b\n", "a/b;", "a/b\xc3\xa4", "a//b", "../../x", "a/b/"};
	char longest[202];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!event_repo_ok(good[i])) fail_msg("'%s' is refused", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (event_repo_ok(bad[i])) fail_msg("'%s' is taken", bad[i]);
	assert_false(event_repo_ok(NULL));
	memset(longest, 'a', sizeof(longest));
	longest[100] = '/';
	longest[201] = '\0';
	assert_true(event_repo_ok(longest));
	longest[100] = 'a';
	longest[101] = '/';
	assert_false(event_repo_ok(longest));
}

static void test_commits(void **state)
{
	(void)state;
	assert_true(event_commit_ok(commit));
	assert_false(event_commit_ok("0123456789ABCDEF0123456789abcdef01234567"));
	assert_false(event_commit_ok("0123456789abcdef0123456789abcdef0123456"));
	assert_false(event_commit_ok("0123456789abcdef0123456789abcdef012345678"));
	assert_false(event_commit_ok("HEAD"));
	assert_false(event_commit_ok(NULL));
	assert_true(event_commit_is_zero("0000000000000000000000000000000000000000"));
	assert_false(event_commit_is_zero(commit));
	assert_false(event_commit_is_zero("000000000000000000000000000000000000000"));
}

/* Cases from git-check-ref-format(1). */
static void test_refs(void **state)
{
	static const char *const good[] = {"refs/heads/main",   "refs/tags/v1.0",      "refs/pull/7/merge",
					   "refs/heads/a/b@c",  "refs/heads/\xc3\xa4", "refs/heads/\xf0\x9f\x90\xab",
					   "refs/heads/-x",     "refs/heads/x{y",      "refs/heads/@",
					   "refs/heads/a.lockx"};
	static const char *const bad[] = {
		"",
		"main",
		"HEAD",
		"refs/",
		"refs/heads/",
		"refs//heads/x",
		"refs/heads/.x",
		"refs/heads/x.lock",
		"refs/heads/x..y",
		"refs/heads/x.lock/y",
		"refs/heads/x y",
		"refs/heads/x~1",
		"refs/heads/x^",
		"refs/heads/a:b",
		"refs/heads/x?",
		"refs/heads/*",
		"refs/heads/[x",
		"refs/heads/a\\b",
		"refs/heads/x@{1}",
		"refs/heads/x.",
		"refs/heads/x\n",
		"refs/heads/\x7f",
		"refs/heads/\xff",
		"refs/heads/\xc0\xaf",
		"refs/heads/\xed\xa0\x80",
		"refs/heads/\xc3",
		"refs/heads/\xf4\x90\x80\x80",
	};
	char longest[502];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (!event_ref_ok(good[i])) fail_msg("'%s' is refused", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (event_ref_ok(bad[i])) fail_msg("'%s' is taken", bad[i]);
	assert_false(event_ref_ok(NULL));
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "refs/heads/", 11);
	longest[500] = '\0';
	assert_true(event_ref_ok(longest));
	longest[500] = 'a';
	longest[501] = '\0';
	assert_false(event_ref_ok(longest));
}

static void test_ref_gives_branch_and_tag(void **state)
{
	struct event ev = {0};

	(void)state;
	event_set_ref(&ev, "refs/heads/a/b");
	assert_string_equal(ev.branch, "a/b");
	assert_null(ev.tag);
	event_set_ref(&ev, "refs/tags/v1");
	assert_string_equal(ev.ref, "refs/tags/v1");
	assert_string_equal(ev.branch, "v1");
	assert_string_equal(ev.tag, "v1");
	event_set_ref(&ev, "refs/pull/7/merge");
	assert_null(ev.branch);
	assert_null(ev.tag);
	event_release(&ev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_parse_back),
		cmocka_unit_test(test_messages_that_skip),
		cmocka_unit_test(test_skip_reasons),
		cmocka_unit_test(test_repository_names),
		cmocka_unit_test(test_commits),
		cmocka_unit_test(test_refs),
		cmocka_unit_test(test_ref_gives_branch_and_tag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
