/* runner/store/mirror: a real git repository, its mirror, files at a commit. */
#include "tests/unit/unit.h"

#include "lib/buf.h"
#include "lib/child.h"
#include "runner/store/mirror.h"
#include "runner/trigger/git.h"

/* Runs a shell script with $R, the source repository; what it prints goes to out. */
static void sh(const char *repo, const char *script, struct buf *out)
{
	_cleanup_free_ char *all = xasprintf("set -e; R='%s'; export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a "
					     "GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b; %s",
					     repo, script);
	struct child_opts o = {.argv = (const char *const[]){"/bin/sh", "-c", all, NULL}};
	struct err e;

	assert_done(child_check(&o, NULL, 60000, out, &e), e);
}

static char *commit_of(const char *repo, const char *script)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1000);

	sh(repo, script, &out);
	assert_int_equal(out.len, 41);
	return xstrndup(out.data, 40);
}

static const char first[] =
	"git init -q -b main $R; cd $R; mkdir sub; echo one >sub/f; git add .; git commit -qm 'first "
	"message'; git rev-parse HEAD";

static void test_fetches_and_reads_a_file_at_a_commit(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first), *two = NULL, *message = NULL, *want = NULL;
	_cleanup_buf_ struct buf file = BUF_INIT(4), small = BUF_INIT(3);
	struct err e;

	(void)state;
	two = commit_of(repo, "cd $R; echo two >sub/f; git commit -qam second; git rev-parse HEAD");
	assert_done(mirror_fetch(mirror, repo, "refs/heads/main", two, "events/1", &e), e);
	assert_done(mirror_file(mirror, one, "sub/f", &file, &e), e); /* an ancestor came along */
	assert_string_equal(buf_str(&file), "one\n");
	buf_clear(&file);
	assert_done(mirror_file(mirror, two, "sub/f", &file, &e), e);
	assert_string_equal(buf_str(&file), "two\n");
	assert_refused(mirror_file(mirror, two, "sub/f", &small, &e), e, ERR_INPUT, "'sub/f' is larger than 3 bytes");
	want = xasprintf("there is no file 'sub' at commit %s", two);
	assert_refused(mirror_file(mirror, two, "sub", &file, &e), e, ERR_MISSING, want);
	assert_done(git_message(mirror, one, &message, &e), e);
	assert_string_equal(message, "first message");
}

static void test_a_commit_pushed_over_is_still_had_or_named_missing(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first), *two = NULL, *want = NULL;
	static const char nowhere[] = "0123456789012345678901234567890123456789";
	struct err e;

	(void)state;
	two = commit_of(repo, "cd $R; git commit -q --amend -m other; git rev-parse HEAD");
	assert_string_not_equal(one, two);
	assert_done(mirror_fetch(mirror, repo, "refs/heads/main", two, "events/1", &e), e);
	want = xasprintf("commit %s is not in '%s' (any more)", nowhere, repo);
	assert_refused(mirror_fetch(mirror, repo, "refs/heads/main", nowhere, "events/2", &e), e, ERR_MISSING, want);
}

static void test_a_pull_request_is_what_its_ref_merges(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first), *head = NULL, *merge = NULL, *got = NULL, *want = NULL;
	_cleanup_buf_ struct buf file = BUF_INIT(100);
	struct err e;

	(void)state;
	head = commit_of(repo, "cd $R; git checkout -qb topic; echo two >new; git add .; git commit -qm topic; "
			       "git rev-parse HEAD");
	merge = commit_of(repo, "cd $R; git checkout -q main; echo one >other; git add .; git commit -qm main; "
				"git checkout -q --detach; git merge -q -m merge topic; "
				"git update-ref refs/pull/7/merge HEAD; git rev-parse HEAD");
	assert_done(mirror_fetch_merge(mirror, repo, "refs/pull/7/merge", head, "events/1", &got, &e), e);
	assert_string_equal(got, merge);
	assert_done(mirror_file(mirror, got, "other", &file, &e), e);
	assert_done(mirror_file(mirror, got, "new", &file, &e), e);
	assert_string_equal(buf_str(&file), "one\ntwo\n");

	want = xasprintf("'refs/pull/7/merge' is no merge of %s (yet): conflicts, or pushed over", one);
	assert_refused(mirror_fetch_merge(mirror, repo, "refs/pull/7/merge", one, "events/2", &got, &e), e, ERR_BUSY,
		       want);
	sh(repo,
	   "cd $R; git checkout -q topic; git merge -q -m 'main into topic' main; git update-ref "
	   "refs/pull/7/merge HEAD",
	   NULL);
	free(want);
	want = xasprintf("'refs/pull/7/merge' is no merge of %s (yet): conflicts, or pushed over", head);
	assert_refused(mirror_fetch_merge(mirror, repo, "refs/pull/7/merge", head, "events/3", &got, &e), e, ERR_BUSY,
		       want);
	free_p(&got);
	free(head);
	head = commit_of(repo, "git -C $R rev-parse topic");
	sh(repo, "git -C $R update-ref refs/pull/7/merge topic", NULL); /* a fast-forward */
	assert_done(mirror_fetch_merge(mirror, repo, "refs/pull/7/merge", head, "events/3", &got, &e), e);
	assert_string_equal(got, head);
	assert_int_equal(mirror_fetch_merge(mirror, repo, "refs/pull/8/merge", head, "events/4", &merge, &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
}

static void test_git_sees_no_repository_of_a_hook_around_us(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first), *elsewhere = xasprintf("%s/elsewhere", dir);
	struct err e;

	(void)state;
	setenv("GIT_DIR", elsewhere, 1);
	setenv("GIT_OBJECT_DIRECTORY", elsewhere, 1);
	assert_done(mirror_fetch(mirror, repo, "refs/heads/main", one, "events/1", &e), e);
	unsetenv("GIT_DIR");
	unsetenv("GIT_OBJECT_DIRECTORY");
	assert_false(fs_exists(elsewhere));
}

static void test_a_source_that_is_not_there_may_come_back(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	struct err e;

	(void)state;
	assert_int_equal(mirror_fetch(mirror, repo, "refs/heads/main", "0123456789012345678901234567890123456789",
				      "events/1", &e),
			 -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_non_null(strstr(e.text, "cannot fetch 'refs/heads/main': 'git' exited with 128"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetches_and_reads_a_file_at_a_commit),
		cmocka_unit_test(test_a_commit_pushed_over_is_still_had_or_named_missing),
		cmocka_unit_test(test_a_pull_request_is_what_its_ref_merges),
		cmocka_unit_test(test_git_sees_no_repository_of_a_hook_around_us),
		cmocka_unit_test(test_a_source_that_is_not_there_may_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
