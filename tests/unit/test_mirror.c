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

static int fetch(const char *dir, const char *url, const char *ref, const char *commit, const char *keep, struct err *e)
{
	return mirror_fetch(&(struct mirror_want){dir, url, ref, commit, keep}, e);
}

static int fetch_merge(const char *dir, const char *url, const char *ref, const char *head, const char *keep,
		       char **commit_r, struct err *e)
{
	free_p(commit_r);
	return mirror_fetch_merge(&(struct mirror_want){dir, url, ref, head, keep}, commit_r, e);
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
	assert_done(fetch(mirror, repo, "refs/heads/main", two, "events/1", &e), e);
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
	assert_done(fetch(mirror, repo, "refs/heads/main", two, "events/1", &e), e);
	want = xasprintf("commit %s is not in '%s' (any more)", nowhere, repo);
	assert_refused(fetch(mirror, repo, "refs/heads/main", nowhere, "events/2", &e), e, ERR_MISSING, want);
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
	assert_done(fetch_merge(mirror, repo, "refs/pull/7/merge", head, "events/1", &got, &e), e);
	assert_string_equal(got, merge);
	assert_done(mirror_file(mirror, got, "other", &file, &e), e);
	assert_done(mirror_file(mirror, got, "new", &file, &e), e);
	assert_string_equal(buf_str(&file), "one\ntwo\n");

	want = xasprintf("'refs/pull/7/merge' is no merge of %s (yet): conflicts, or pushed over", one);
	assert_refused(fetch_merge(mirror, repo, "refs/pull/7/merge", one, "events/2", &got, &e), e, ERR_MISSING, want);
	sh(repo,
	   "cd $R; git checkout -q topic; git merge -q -m 'main into topic' main; git update-ref "
	   "refs/pull/7/merge HEAD",
	   NULL);
	free(want);
	want = xasprintf("'refs/pull/7/merge' is no merge of %s (yet): conflicts, or pushed over", head);
	assert_refused(fetch_merge(mirror, repo, "refs/pull/7/merge", head, "events/3", &got, &e), e, ERR_MISSING,
		       want);
	free_p(&got);
	free(head);
	head = commit_of(repo, "git -C $R rev-parse topic");
	sh(repo, "git -C $R update-ref refs/pull/7/merge topic", NULL); /* a fast-forward */
	assert_done(fetch_merge(mirror, repo, "refs/pull/7/merge", head, "events/3", &got, &e), e);
	assert_string_equal(got, head);
	assert_int_equal(fetch_merge(mirror, repo, "refs/pull/8/merge", head, "events/4", &got, &e), -1);
	assert_int_equal(e.kind, ERR_MISSING);
	assert_non_null(strstr(e.text, "there is no 'refs/pull/8/merge' in '"));
}

/* What a fetch that was cut off leaves when it unpacks: the commit and its tree, and not the file in it. */
static void test_a_commit_without_its_files_is_fetched_again(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first);
	_cleanup_buf_ struct buf file = BUF_INIT(100);
	struct err e;

	(void)state;
	sh(dir,
	   "git init -q --bare $R/mirror; for o in HEAD HEAD^{tree} HEAD:sub; do git -C $R/src cat-file $(git -C "
	   "$R/src "
	   "cat-file -t $o) $(git -C $R/src rev-parse $o) | git --git-dir=$R/mirror hash-object -w --stdin --literally "
	   "-t $(git -C $R/src cat-file -t $o); done",
	   NULL);
	assert_int_equal(mirror_file(mirror, one, "sub/f", &file, &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE); /* not: there is no such file */
	assert_done(fetch(mirror, repo, "refs/heads/main", one, "events/1", &e), e);
	assert_done(mirror_file(mirror, one, "sub/f", &file, &e), e);
	assert_string_equal(buf_str(&file), "one\n");
}

static void test_names_that_are_in_each_others_way(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first), *two = NULL, *tagged = NULL;
	struct err e;

	(void)state;
	sh(repo, "cd $R; git branch a; git tag v/1/x", NULL);
	assert_done(fetch(mirror, repo, "refs/heads/a", one, "events/1", &e), e);
	assert_done(fetch(mirror, repo, "refs/tags/v/1/x", one, "events/2", &e), e);
	two = commit_of(repo,
			"cd $R; git branch -D a >/dev/null; git tag -d v/1/x >/dev/null; echo 2 >sub/f; git commit "
			"-qam 2; git branch a/b; git tag -m t v; git rev-parse HEAD");
	assert_done(fetch(mirror, repo, "refs/heads/a/b", two, "events/3", &e), e);
	sh(mirror, "git --git-dir=$R update-ref -d refs/slipway/events/3", NULL);
	assert_done(fetch(mirror, repo, "refs/tags/v", two, "events/4", &e), e);
	tagged = commit_of(mirror, "git --git-dir=$R rev-parse 'refs/tags/v^{commit}'");
	assert_string_equal(tagged, two);
}

/* An object that was there is gone: seen when it is read, mended from the source, and what others had is kept. */
static void test_a_damaged_mirror_is_made_anew(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first), *two = NULL, *kept = NULL;
	_cleanup_buf_ struct buf file = BUF_INIT(100);
	struct mirror_want want = {mirror, repo, "refs/heads/main", NULL, "events/2"};
	struct err e;

	(void)state;
	two = commit_of(repo, "cd $R; git checkout -qb other; echo 2 >sub/f; git commit -qam 2; git rev-parse HEAD");
	want.commit = one;
	assert_done(fetch(mirror, repo, "refs/heads/main", one, "events/1", &e), e);
	assert_done(fetch(mirror, repo, "refs/heads/other", two, "events/7", &e), e);
	assert_int_equal(mirror_mend(&want, &e), 0); /* nothing is wrong with it */
	sh(mirror,
	   "cd $R; mkdir t; mv objects/pack/*.pack t/; rm -f objects/pack/*; for p in t/*; do git --git-dir=$R "
	   "unpack-objects -q <$p; done; o=$(git -C $R/../src rev-parse main:sub/f); rm -f "
	   "objects/${o%${o#??}}/${o#??}",
	   NULL);
	assert_int_equal(mirror_file(mirror, one, "sub/f", &file, &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_int_equal(mirror_mend(&want, &e), 1);
	assert_done(mirror_file(mirror, one, "sub/f", &file, &e), e);
	kept = commit_of(mirror, "git --git-dir=$R rev-parse refs/slipway/events/7");
	assert_string_equal(kept, two);
	buf_clear(&file);
	assert_done(mirror_file(mirror, two, "sub/f", &file, &e), e);
	sh(mirror, "test -d $R.broken; test ! -e $R.new", NULL);

	sh(mirror, "printf 'nonsense' >$R/HEAD; printf x >$R/config", NULL); /* no repository at all any more */
	assert_int_equal(fetch(mirror, repo, "refs/heads/main", one, "events/3", &e), 1);
	buf_clear(&file);
	assert_done(mirror_file(mirror, one, "sub/f", &file, &e), e);
}

static void test_what_a_killed_git_leaves_is_in_nobodys_way(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first), *half = xasprintf("%s/objects/pack/tmp_pack_x", mirror);
	struct err e;

	(void)state;
	sh(mirror,
	   "git init -q --bare $R; mkdir -p $R/refs/slipway/events; touch $R/refs/slipway/events/1.lock "
	   "$R/objects/pack/tmp_pack_x",
	   NULL);
	assert_int_equal(fetch(mirror, repo, "refs/heads/main", one, "events/1", &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_false(fs_exists(half));
	assert_done(fetch(mirror, repo, "refs/heads/main", one, "events/1", &e), e);
}

static void test_refs_of_old_events_are_dropped(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *repo = xasprintf("%s/src", dir), *mirror = xasprintf("%s/mirror", dir);
	_cleanup_free_ char *one = commit_of(repo, first);
	_cleanup_buf_ struct buf out = BUF_INIT(1000);
	const int64_t ids[] = {6, 4};
	struct err e;

	(void)state;
	for (int i = 1; i <= 6; i++) {
		_cleanup_free_ char *keep = xasprintf("events/%d", i);

		assert_done(fetch(mirror, repo, "refs/heads/main", one, keep, &e), e);
		if (i == 4) assert_done(mirror_prune(mirror, ids, 2, &e), e); /* few enough */
	}
	assert_done(mirror_prune(mirror, ids, 2, &e), e);
	sh(mirror, "git --git-dir=$R for-each-ref --format='%(refname)' | tr '\n' ' '", &out);
	assert_string_equal(buf_str(&out), "refs/slipway/events/4 refs/slipway/events/6 ");
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
	assert_done(fetch(mirror, repo, "refs/heads/main", one, "events/1", &e), e);
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
	assert_int_equal(
		fetch(mirror, repo, "refs/heads/main", "0123456789012345678901234567890123456789", "events/1", &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_non_null(strstr(e.text, "cannot fetch 'refs/heads/main': 'git' exited with 128"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetches_and_reads_a_file_at_a_commit),
		cmocka_unit_test(test_a_commit_pushed_over_is_still_had_or_named_missing),
		cmocka_unit_test(test_a_pull_request_is_what_its_ref_merges),
		cmocka_unit_test(test_a_commit_without_its_files_is_fetched_again),
		cmocka_unit_test(test_names_that_are_in_each_others_way),
		cmocka_unit_test(test_a_damaged_mirror_is_made_anew),
		cmocka_unit_test(test_what_a_killed_git_leaves_is_in_nobodys_way),
		cmocka_unit_test(test_refs_of_old_events_are_dropped),
		cmocka_unit_test(test_git_sees_no_repository_of_a_hook_around_us),
		cmocka_unit_test(test_a_source_that_is_not_there_may_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
