/* The store: rows, transitions, races between two handles, what a broken disk or file does. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "runner/store/db.h"
#include "runner/store/store.h"

static char commit_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static char commit_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

struct fixture {
	char *dir, *path;
	struct store *s, *other; /* two handles, as two processes have */
	struct err e;
};

#define ok(call) assert_ok((call), &f->e, #call, __LINE__)
static void assert_ok(int got, const struct err *e, const char *call, int line)
{
	if (got) fail_msg("line %d: %s = %d: %s", line, call, got, got < 0 ? e->text : "");
}

#define fails(call, wanted, part) assert_fails((call), &f->e, wanted, part, #call, __LINE__)
static void assert_fails(int got, const struct err *e, enum err_kind wanted, const char *part, const char *call,
			 int line)
{
	if (got != -1) fail_msg("line %d: %s = %d, not -1", line, call, got);
	if (e->kind != wanted || !strstr(e->text, part))
		fail_msg("line %d: %s: %s '%s', wanted %s '%s'", line, call, err_kind_name(e->kind), e->text,
			 err_kind_name(wanted), part);
}

/* Runs fn in a child, which must abort and say `part`. */
static void assert_dies(void (*fn)(struct fixture *f), struct fixture *f, const char *part)
{
	struct buf said = BUF_INIT(65536);
	struct err e;
	int p[2], ws;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(p[1], 2);
		fn(f);
		_exit(0);
	}
	close(p[1]);
	assert_int_equal(fs_read_fd(p[0], "child", &said, &e), 0);
	close(p[0]);
	assert_int_equal(waitpid(pid, &ws, 0), pid);
	assert_true(WIFSIGNALED(ws));
	assert_int_equal(WTERMSIG(ws), SIGABRT);
	if (!strstr(buf_str(&said), part)) fail_msg("it said '%s', not '%s'", buf_str(&said), part);
	buf_release(&said);
}

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	int64_t id;

	if (fs_temp_dir("/tmp", "test_store.", &f->dir, &f->e)) return -1;
	f->path = xasprintf("%s/slipway.db", f->dir);
	ok(store_open(f->path, &f->s, &f->e));
	ok(store_open(f->path, &f->other, &f->e));
	ok(store_repo_add(f->s, "me/site", "/srv/site.git", 1000, &id, &f->e));
	assert_int_equal(id, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	store_close(&f->s);
	store_close(&f->other);
	ok(fs_remove_tree(f->dir, &f->e));
	free(f->dir);
	free(f->path);
	free(f);
	return 0;
}

static struct event push_of(const char *delivery, char *commit)
{
	static char repo[] = "me/site", ref[] = "refs/heads/main", branch[] = "main", message[] = "m";

	return (struct event){.kind = EVENT_PUSH,
			      .source = EVENT_FROM_GITHUB,
			      .delivery = (char *)(uintptr_t)delivery,
			      .repo = repo,
			      .ref = ref,
			      .branch = branch,
			      .commit = commit,
			      .message = message};
}

static int64_t add_event(struct fixture *f, const char *delivery, char *commit)
{
	struct event ev = push_of(delivery, commit);
	int64_t id;

	ok(store_event_add(f->s, &ev, 2000, &id, &f->e));
	return id;
}

static const struct job_new two_jobs[] = {
	{.name = "unix amd64", .backend = "unix", .arch = "amd64", .spec = "{\"a\":1}"},
	{.name = "xen amd64", .backend = "xen", .arch = "amd64", .spec = "{}", .allow_failure = 1},
};

static int64_t add_build(struct fixture *f, const char *delivery, char *commit, size_t njobs)
{
	int64_t id;

	ok(store_build_add(f->s, add_event(f, delivery, commit), two_jobs, njobs, NULL, 3000, &id, &f->e));
	return id;
}

static enum build_state build_state_of(struct fixture *f, int64_t id)
{
	struct build_row b;
	enum build_state st;

	ok(store_build_get(f->other, id, &b, &f->e));
	st = b.state;
	build_row_release(&b);
	return st;
}

static enum job_state job_state_of(struct fixture *f, int64_t id)
{
	struct job_row j;
	enum job_state st;

	ok(store_job_get(f->other, id, &j, &f->e));
	st = j.state;
	job_row_release(&j);
	return st;
}

static int64_t claim(struct fixture *f, int wanted_attempt)
{
	struct job_row j;
	int64_t id;

	ok(store_job_claim(f->s, 4000, &j, &f->e));
	assert_int_equal(j.state, JOB_RUNNING);
	assert_int_equal(j.attempt, wanted_attempt);
	id = j.id;
	job_row_release(&j);
	return id;
}

static const struct job_end passed = {.state = JOB_PASSED, .exit_code = 0, .log_bytes = 7, .log_hash = "ab"};

/* --- repositories --- */

static void test_repositories(void **state)
{
	struct fixture *f = *state;
	struct repo r, *list;
	size_t n;
	int64_t id;

	ok(store_repo_add(f->s, "a/a", "git@host:a/a.git", 1001, &id, &f->e));
	ok(store_repo_find(f->other, "me/site", &r, &f->e));
	assert_int_equal(r.id, 1);
	assert_string_equal(r.url, "/srv/site.git");
	assert_int_equal(r.created_ms, 1000);
	repo_release(&r);
	ok(store_repo_get(f->other, id, &r, &f->e));
	assert_string_equal(r.name, "a/a");
	repo_release(&r);
	ok(store_repo_list(f->other, &list, &n, &f->e));
	assert_int_equal(n, 2);
	assert_string_equal(list[0].name, "a/a");
	repos_free(&list, n);
	fails(store_repo_find(f->s, "no/one", &r, &f->e), ERR_MISSING, "no repository 'no/one'");
	fails(store_repo_get(f->s, 99, &r, &f->e), ERR_MISSING, "no repository 99");
	fails(store_repo_add(f->s, "me/site", "/x", 1, &id, &f->e), ERR_INPUT, "'me/site' is there already");
	fails(store_repo_add(f->s, "site", "/x", 1, &id, &f->e), ERR_INPUT, "bad repository name 'site'");
}

static void test_repository_urls(void **state)
{
	static const char *const good[] = {"/srv/a b.git",  "https://h/x", "ssh://git@h:22/x",
					   "git@h:x/y.git", "file:///x",   "http://127.0.0.1:1/x"};
	static const char *const bad[] = {"",
					  "srv/x",
					  "-x",
					  "ext::sh -c x",
					  "ssh://-oProxyCommand=x/y",
					  "--upload-pack=x",
					  "/a\nb",
					  "git@-x:y",
					  "ftp://h/x",
					  "https://",
					  "h::x",
					  "a@b::c"};
	struct fixture *f = *state;
	int64_t id;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char name[16];

		snprintf(name, sizeof(name), "u/%zu", i);
		ok(store_repo_add(f->s, name, good[i], 1, &id, &f->e));
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		fails(store_repo_add(f->s, "u/bad", bad[i], 1, &id, &f->e), ERR_INPUT, "bad repository URL");
}

/* --- events --- */

static void test_event_round_trip(void **state)
{
	static char text[] = "x", tag[] = "v1", before[] = "cccccccccccccccccccccccccccccccccccccccc";
	struct fixture *f = *state;
	struct event ev = push_of("d1", commit_a);
	struct event_row r;
	int64_t id;

	ev.kind = EVENT_PULL_REQUEST;
	ev.tag = tag;
	ev.before = before;
	ev.sender = ev.pr_action = ev.head_repo = ev.head_branch = ev.head_commit = text;
	ev.pr_number = 7;
	ev.from_fork = ev.deleted = 1;
	ok(store_event_add(f->s, &ev, 2000, &id, &f->e));
	ok(store_event_get(f->other, id, &r, &f->e));
	assert_int_equal(r.repo_id, 1);
	assert_int_equal(r.state, EVENT_NEW);
	assert_int_equal(r.received_ms, 2000);
	assert_int_equal(r.ev.kind, EVENT_PULL_REQUEST);
	assert_int_equal(r.ev.source, EVENT_FROM_GITHUB);
	assert_string_equal(r.ev.delivery, "d1");
	assert_string_equal(r.ev.repo, "me/site");
	assert_string_equal(r.ev.ref, "refs/heads/main");
	assert_string_equal(r.ev.branch, "main");
	assert_string_equal(r.ev.tag, "v1");
	assert_string_equal(r.ev.before, before);
	assert_string_equal(r.ev.commit, commit_a);
	assert_string_equal(r.ev.message, "m");
	assert_string_equal(r.ev.sender, "x");
	assert_string_equal(r.ev.pr_action, "x");
	assert_string_equal(r.ev.head_repo, "x");
	assert_string_equal(r.ev.head_branch, "x");
	assert_string_equal(r.ev.head_commit, "x");
	assert_int_equal(r.ev.pr_number, 7);
	assert_int_equal(r.ev.from_fork, 1);
	assert_int_equal(r.ev.deleted, 1);
	event_row_release(&r);
}

static void test_same_delivery_is_one_event(void **state)
{
	struct fixture *f = *state;
	struct event ev = push_of("d1", commit_a);
	int64_t first = add_event(f, "d1", commit_a), again = 0, elsewhere = 0, repo;

	assert_int_equal(store_event_add(f->other, &ev, 9999, &again, &f->e), 1);
	assert_int_equal(again, first);
	ev.source = EVENT_FROM_HOOK;
	ok(store_event_add(f->other, &ev, 9999, &elsewhere, &f->e));
	assert_int_not_equal(elsewhere, first);
	/* another repository's delivery of the same id takes nothing away from this one */
	ok(store_repo_add(f->s, "me/two", "/two", 1, &repo, &f->e));
	ev = push_of("d1", commit_a);
	ev.repo = (char[]){"me/two"};
	ok(store_event_add(f->s, &ev, 9999, &elsewhere, &f->e));
}

static void test_event_of_unknown_repository(void **state)
{
	struct fixture *f = *state;
	struct event ev = push_of("d1", commit_a);
	struct event_row r;
	int64_t id;

	ev.repo = (char[]){"no/one"};
	fails(store_event_add(f->s, &ev, 1, &id, &f->e), ERR_MISSING, "no repository 'no/one'");
	assert_int_equal(store_event_next_new(f->s, 0, &r, &f->e), 1);
}

static void test_new_events_come_in_order(void **state)
{
	struct fixture *f = *state;
	int64_t a = add_event(f, "d1", commit_a), b = add_event(f, "d2", commit_b);
	struct event_row r;

	ok(store_event_next_new(f->s, 0, &r, &f->e));
	assert_int_equal(r.id, a);
	event_row_release(&r);
	ok(store_event_begin(f->s, a, 0, &f->e));
	ok(store_event_begin(f->other, a, 0, &f->e));
	ok(store_event_next_new(f->s, 0, &r, &f->e));
	assert_int_equal(r.attempts, 2);
	event_row_release(&r);
	ok(store_event_next_new(f->s, a, &r, &f->e));
	assert_int_equal(r.id, b);
	event_row_release(&r);
	assert_int_equal(store_event_next_new(f->s, b, &r, &f->e), 1);
	ok(store_event_close(f->s, a, EVENT_SKIPPED, "why not", &f->e));
	ok(store_event_next_new(f->s, 0, &r, &f->e));
	assert_int_equal(r.id, b);
	event_row_release(&r);
	ok(store_event_get(f->s, a, &r, &f->e));
	assert_int_equal(r.state, EVENT_SKIPPED);
	assert_string_equal(r.reason, "why not");
	event_row_release(&r);
	fails(store_event_close(f->other, a, EVENT_REJECTED, "x", &f->e), ERR_DENIED, "has moved on: it is skipped");
	fails(store_event_begin(f->other, a, 0, &f->e), ERR_DENIED, "has moved on: it is skipped");
	fails(store_event_begin(f->other, 99, 0, &f->e), ERR_MISSING, "no event 99");
}

static void test_message_found_later(void **state)
{
	struct fixture *f = *state;
	struct event ev = push_of("d1", commit_a);
	struct event_row r;
	int64_t id;

	ev.message = NULL;
	ok(store_event_add(f->s, &ev, 1, &id, &f->e));
	ok(store_event_describe(f->s, id, "first", &f->e));
	ok(store_event_describe(f->s, id, "second", &f->e));
	ok(store_event_get(f->other, id, &r, &f->e));
	assert_string_equal(r.ev.message, "first");
	event_row_release(&r);
}

static void test_last_commit_of_a_ref(void **state)
{
	struct fixture *f = *state;
	struct event gone = push_of("d3", NULL);
	char *commit = NULL;
	int64_t id;

	assert_int_equal(store_event_last_commit(f->s, 1, "refs/heads/main", &commit, &f->e), 1);
	add_event(f, "d1", commit_a);
	add_event(f, "d2", commit_b);
	ok(store_event_last_commit(f->other, 1, "refs/heads/main", &commit, &f->e));
	assert_string_equal(commit, commit_b);
	free_p(&commit);
	assert_int_equal(store_event_last_commit(f->s, 1, "refs/heads/other", &commit, &f->e), 1);
	assert_int_equal(store_event_last_commit(f->s, 2, "refs/heads/main", &commit, &f->e), 1);
	gone.deleted = 1;
	ok(store_event_add(f->s, &gone, 1, &id, &f->e));
	assert_int_equal(store_event_last_commit(f->s, 1, "refs/heads/main", &commit, &f->e), 1);
}

/* --- builds --- */

static void test_build_and_its_jobs(void **state)
{
	struct fixture *f = *state;
	int64_t id = add_build(f, "d1", commit_a, 2);
	struct build_row b;
	struct event_row ev;
	struct job_row *jobs;
	size_t n;

	ok(store_build_get(f->other, id, &b, &f->e));
	assert_int_equal(b.number, 1);
	assert_string_equal(b.repo, "me/site");
	assert_string_equal(b.ref, "refs/heads/main");
	assert_string_equal(b.branch, "main");
	assert_string_equal(b.commit, commit_a);
	assert_string_equal(b.message, "m");
	assert_int_equal(b.state, BUILD_QUEUED);
	assert_int_equal(b.created_ms, 3000);
	assert_int_equal(b.event_received_ms, 2000);
	ok(store_event_get(f->other, b.event_id, &ev, &f->e));
	assert_int_equal(ev.state, EVENT_BUILT);
	assert_int_equal(ev.build_id, id);
	event_row_release(&ev);
	build_row_release(&b);
	ok(store_build_jobs(f->other, id, &jobs, &n, &f->e));
	assert_int_equal(n, 2);
	assert_int_equal(jobs[0].number, 1);
	assert_string_equal(jobs[0].name, "unix amd64");
	assert_string_equal(jobs[0].backend, "unix");
	assert_string_equal(jobs[0].arch, "amd64");
	assert_string_equal(jobs[0].spec, "{\"a\":1}");
	assert_int_equal(jobs[0].state, JOB_QUEUED);
	assert_int_equal(jobs[0].attempt, 0);
	assert_int_equal(jobs[0].max_attempts, 3);
	assert_int_equal(jobs[0].exit_code, -1);
	assert_int_equal(jobs[0].queued_ms, 3000);
	assert_int_equal(jobs[1].allow_failure, 1);
	assert_null(jobs[1].reason);
	job_rows_free(&jobs, n);
	assert_int_equal(add_build(f, "d2", commit_b, 1), id + 1);
}

static void test_queued_build_of_same_commit_folds(void **state)
{
	struct fixture *f = *state;
	int64_t first = add_build(f, "d1", commit_a, 1), id = 0, other = 0;
	struct event fork = push_of("d5", commit_a);
	struct event_row ev;
	int64_t event = add_event(f, "d2", commit_a);

	assert_int_equal(store_build_add(f->other, event, two_jobs, 1, NULL, 3000, &id, &f->e), 1);
	assert_int_equal(id, first);
	ok(store_event_get(f->s, event, &ev, &f->e));
	assert_int_equal(ev.state, EVENT_BUILT);
	assert_int_equal(ev.build_id, first);
	event_row_release(&ev);
	fork.from_fork = 1;
	ok(store_event_add(f->s, &fork, 1, &event, &f->e));
	ok(store_build_add(f->s, event, two_jobs, 1, NULL, 3000, &other, &f->e));
	assert_int_not_equal(other, first);
	claim(f, 1);
	ok(store_build_add(f->s, add_event(f, "d3", commit_a), two_jobs, 1, NULL, 3000, &id, &f->e));
	assert_int_not_equal(id, first);
}

static int64_t due(struct fixture *f, int64_t now_ms, int64_t away_repo)
{
	const int64_t away[STORE_MOST_AWAY] = {0, 0, 0, away_repo};
	struct event_row r;
	int64_t id;

	if (store_event_next_due(f->s, now_ms, away, &r, &f->e)) return 0;
	id = r.id;
	event_row_release(&r);
	return id;
}

static void test_an_event_that_failed_is_due_later(void **state)
{
	struct fixture *f = *state;
	int64_t a = add_event(f, "a", commit_a), b = add_event(f, "b", commit_b), other;
	struct event ev = push_of("c", commit_a);
	static char name[] = "me/other";
	struct event_row r, *rows;
	size_t n;

	ok(store_repo_add(f->s, name, "/srv/other.git", 1, &other, &f->e));
	assert_int_equal(due(f, 1000, 0), a);
	assert_int_equal(due(f, 1000, 1), 0); /* its repository is away */
	ev.repo = name;
	ok(store_event_add(f->s, &ev, 1, &other, &f->e));
	assert_int_equal(due(f, 1000, 1), other);
	ok(store_event_begin(f->s, a, 5000, &f->e));
	assert_int_equal(due(f, 4999, 0), b);
	assert_int_equal(due(f, 5000, 0), a);
	ok(store_event_retry(f->s, a, 0, "no network", 9000, &f->e));
	ok(store_event_retry(f->s, a, 1, "not there", 9000, &f->e));
	assert_int_equal(due(f, 8999, 0), b);
	assert_int_equal(due(f, 9000, 0), a);
	ok(store_event_get(f->s, a, &r, &f->e));
	assert_int_equal(r.attempts, 1);
	assert_int_equal(r.failures, 2);
	assert_int_equal(r.refusals, 1);
	assert_int_equal(r.next_try_ms, 9000);
	assert_string_equal(r.reason, "not there");
	assert_int_equal(r.state, EVENT_NEW);
	event_row_release(&r);
	ok(store_event_list(f->s, 1, 10, &rows, &n, &f->e));
	assert_int_equal(n, 2);
	assert_int_equal(rows[0].id, b);
	event_rows_free(&rows, n);
	ok(store_event_list(f->s, 0, 1, &rows, &n, &f->e));
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].id, other);
	event_rows_free(&rows, n);
	ok(store_event_close(f->s, a, EVENT_REJECTED, "gone", &f->e));
	fails(store_event_retry(f->s, a, 0, "x", 1, &f->e), ERR_DENIED, "has moved on: it is rejected");
	assert_int_equal(due(f, 9000, 0), b);
}

static void test_events_whose_commits_are_needed(void **state)
{
	struct fixture *f = *state;
	int64_t *ids, waiting;
	size_t n;

	for (int i = 0; i < 4; i++) {
		char delivery[32], commit[41];

		snprintf(delivery, sizeof(delivery), "d%d", i);
		snprintf(commit, sizeof(commit), "%040d", i);
		add_build(f, delivery, commit, 1);
		if (i == 0) continue; /* the oldest one is not finished */
		ok(store_job_cancel(f->s, i + 1, "x", 1, &f->e));
	}
	waiting = add_event(f, "w", commit_a);
	ok(store_event_used(f->s, 1, 1, &ids, &n, &f->e));
	assert_int_equal(n, 3);
	assert_int_equal(ids[0], 1);
	assert_int_equal(ids[1], 4);
	assert_int_equal(ids[2], waiting);
	free(ids);
	ok(store_event_used(f->s, 2, 9, &ids, &n, &f->e)); /* another repository's are not told */
	assert_int_equal(n, 0);
	free(ids);
}

static void test_build_that_cannot_be_planned(void **state)
{
	struct fixture *f = *state;
	int64_t event = add_event(f, "d1", commit_a), id;
	struct build_row b;
	struct job_row j;

	ok(store_build_add(f->s, event, NULL, 0, ".ci.yml:1:1: no", 3000, &id, &f->e));
	ok(store_build_get(f->s, id, &b, &f->e));
	assert_int_equal(b.state, BUILD_ERRORED);
	assert_string_equal(b.reason, ".ci.yml:1:1: no");
	assert_int_equal(b.finished_ms, 3000);
	build_row_release(&b);
	assert_int_equal(store_job_claim(f->s, 1, &j, &f->e), 1);
	fails(store_build_add(f->s, event, two_jobs, 1, NULL, 1, &id, &f->e), ERR_DENIED, "has moved on: it is built");
	fails(store_build_add(f->s, 99, two_jobs, 1, NULL, 1, &id, &f->e), ERR_MISSING, "no event 99");
}

/* A job that cannot be stored takes its build and its event's change with it. */
static void test_build_is_stored_whole_or_not_at_all(void **state)
{
	struct fixture *f = *state;
	struct job_new bad[] = {two_jobs[0], {.name = NULL, .spec = "{}"}};
	int64_t event = add_event(f, "d1", commit_a), id;
	struct build_row *list;
	struct event_row ev;
	size_t n;

	fails(store_build_add(f->s, event, bad, 2, NULL, 1, &id, &f->e), ERR_SYS, "INSERT INTO jobs");
	ok(store_build_list(f->other, 0, 10, &list, &n, &f->e));
	assert_int_equal(n, 0);
	build_rows_free(&list, n);
	ok(store_event_get(f->other, event, &ev, &f->e));
	assert_int_equal(ev.state, EVENT_NEW);
	event_row_release(&ev);
	assert_int_equal(add_build(f, "d2", commit_b, 1), 1);
}

static void test_list_is_newest_first(void **state)
{
	struct fixture *f = *state;
	struct build_row *list;
	size_t n;

	add_build(f, "d1", commit_a, 1);
	add_build(f, "d2", commit_b, 1);
	ok(store_build_list(f->s, 1, 10, &list, &n, &f->e));
	assert_int_equal(n, 2);
	assert_int_equal(list[0].number, 2);
	build_rows_free(&list, n);
	ok(store_build_list(f->s, 0, 1, &list, &n, &f->e));
	assert_int_equal(n, 1);
	build_rows_free(&list, n);
	ok(store_build_list(f->s, 2, 10, &list, &n, &f->e));
	assert_int_equal(n, 0);
	build_rows_free(&list, n);
}

/* --- publications --- */

static void publish(struct fixture *f, const char *delivery, const struct publication_new *p)
{
	int64_t id;

	add_build(f, delivery, commit_a, 1);
	id = claim(f, 1);
	ok(store_job_publishing(f->s, id, 1, &f->e));
	ok(store_job_published(f->s, id, 1, p, 4002, &f->e));
	fails(store_job_published(f->s, id, 2, p, 4002, &f->e), ERR_DENIED, "");
}

/* Only the newest of each path is told, and a number that was seen says where to go on. */
static void test_publications_of_each_path(void **state)
{
	struct fixture *f = *state;
	const struct publication_new one = {"git@host:x.git", "main", "unix", commit_a, commit_a, 1},
				     two = {"git@host:x.git", "main", "xen", commit_a, commit_a, 1},
				     three = {"git@host:x.git", "main", "unix", commit_b, commit_b, 2};
	struct publication *rows;
	int64_t last;
	size_t n;

	ok(store_publication_last(f->s, &last, &f->e));
	assert_int_equal(last, 0);
	publish(f, "p1", &one);
	publish(f, "p2", &two);
	publish(f, "p3", &three);
	ok(store_publication_last(f->other, &last, &f->e));
	assert_int_equal(last, 3);
	ok(store_publications_newest(f->other, 1, 0, &rows, &n, &f->e));
	assert_int_equal(n, 2);
	assert_string_equal(rows[0].path, "xen");
	assert_string_equal(rows[1].path, "unix");
	assert_string_equal(rows[1].commit, commit_b);
	assert_string_equal(rows[1].deployment_commit, commit_b);
	assert_string_equal(rows[1].deployment, "git@host:x.git");
	assert_int_equal(rows[1].sequence, 2);
	assert_int_equal(rows[1].at_ms, 4002);
	publications_free(&rows, n);
	ok(store_publications_newest(f->other, 1, 2, &rows, &n, &f->e));
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].id, 3);
	publications_free(&rows, n);
	ok(store_publications_newest(f->other, 2, 0, &rows, &n, &f->e));
	assert_int_equal(n, 0);
	publications_free(&rows, n);
}

/* What a repository has published goes with it, and does not hold it. */
static void test_a_repository_that_published_is_removed(void **state)
{
	struct fixture *f = *state;
	const struct publication_new one = {"git@host:x.git", "main", "unix", commit_a, commit_a, 1};
	struct job_row *live;
	struct repo repo;
	int64_t last;
	size_t n;

	publish(f, "p1", &one);
	fails(store_repo_remove(f->s, 1, 0, &f->e), ERR_BUSY, "1 of its jobs have not ended");
	ok(store_job_live(f->s, &live, &n, &f->e));
	assert_int_equal(n, 1);
	ok(store_job_finish(f->s, live[0].id, 1, &passed, 4003, &f->e));
	job_rows_free(&live, n);
	ok(store_repo_remove(f->s, 1, 0, &f->e));
	fails(store_repo_get(f->other, 1, &repo, &f->e), ERR_MISSING, "");
	ok(store_publication_last(f->other, &last, &f->e));
	assert_int_equal(last, 0);
}

/* --- jobs --- */

static void test_a_job_from_queue_to_publish(void **state)
{
	struct fixture *f = *state;
	int64_t build = add_build(f, "d1", commit_a, 1), id = claim(f, 1);
	const struct publication_new publication = {"git@host:x.git", "main", "unix", commit_a, commit_b, 3};
	struct job_row j, *live;
	size_t n;

	assert_int_equal(build_state_of(f, build), BUILD_RUNNING);
	assert_int_equal(store_job_claim(f->other, 1, &j, &f->e), 1);
	ok(store_job_step(f->s, id, 1, "image", &f->e));
	ok(store_job_script(f->s, id, 1, "sha256:1", 1, &f->e));
	ok(store_job_first_log(f->s, id, 1, 4001, &f->e));
	ok(store_job_publishing(f->s, id, 1, &f->e));
	ok(store_job_live(f->other, &live, &n, &f->e));
	assert_int_equal(n, 1);
	assert_int_equal(live[0].state, JOB_PUBLISHING);
	assert_string_equal(live[0].step, "script");
	job_rows_free(&live, n);
	ok(store_job_published(f->s, id, 1, &publication, 4002, &f->e));
	ok(store_job_finish(f->s, id, 1, &passed, 4003, &f->e));
	ok(store_job_get(f->other, id, &j, &f->e));
	assert_int_equal(j.state, JOB_PASSED);
	assert_null(j.step);
	assert_null(j.reason);
	assert_int_equal(j.exit_code, 0);
	assert_int_equal(j.emulated, 1);
	assert_string_equal(j.image_digest, "sha256:1");
	assert_string_equal(j.publish_commit, commit_b);
	assert_int_equal(j.started_ms, 4000);
	assert_int_equal(j.first_log_ms, 4001);
	assert_int_equal(j.published_ms, 4002);
	assert_int_equal(j.finished_ms, 4003);
	assert_int_equal(j.log_bytes, 7);
	assert_string_equal(j.log_hash, "ab");
	job_row_release(&j);
	assert_int_equal(build_state_of(f, build), BUILD_PASSED);
}

static void test_build_ends_with_its_last_job(void **state)
{
	static const struct job_end failed = {.state = JOB_FAILED, .reason = "exited with 1", .exit_code = 1};
	struct fixture *f = *state;
	int64_t build = add_build(f, "d1", commit_a, 2), a = claim(f, 1), b = claim(f, 1);
	struct build_row row;

	ok(store_job_finish(f->s, b, 1, &failed, 5000, &f->e)); /* allowed to fail */
	assert_int_equal(build_state_of(f, build), BUILD_RUNNING);
	ok(store_job_finish(f->other, a, 1, &passed, 5001, &f->e));
	ok(store_build_get(f->s, build, &row, &f->e));
	assert_int_equal(row.state, BUILD_PASSED);
	assert_int_equal(row.started_ms, 4000);
	assert_int_equal(row.finished_ms, 5001);
	build_row_release(&row);
}

static void test_lost_job_is_tried_three_times(void **state)
{
	struct fixture *f = *state;
	int64_t build = add_build(f, "d1", commit_a, 1), id = 0;
	struct job_row j;

	for (int attempt = 1; attempt <= 3; attempt++) {
		assert_int_equal(build_state_of(f, build), attempt == 1 ? BUILD_QUEUED : BUILD_RUNNING);
		id = claim(f, attempt);
		ok(store_job_script(f->s, id, attempt, "sha256:1", 0, &f->e));
		ok(store_job_lost(f->other, id, attempt, "leader gone", 5000 + attempt, &f->e));
		assert_int_equal(job_state_of(f, id), attempt < 3 ? JOB_QUEUED : JOB_ERRORED);
	}
	ok(store_job_get(f->s, id, &j, &f->e));
	assert_string_equal(j.reason, "lost 3 times, the last time: leader gone");
	assert_int_equal(j.finished_ms, 5003);
	job_row_release(&j);
	assert_int_equal(build_state_of(f, build), BUILD_ERRORED);
	ok(store_job_lost(f->s, id, 3, "again", 1, &f->e)); /* a final row stays */
	assert_int_equal(job_state_of(f, id), JOB_ERRORED);
}

static void test_new_attempt_starts_clean(void **state)
{
	struct fixture *f = *state;
	struct job_row j;
	int64_t id;

	add_build(f, "d1", commit_a, 1);
	id = claim(f, 1);
	ok(store_job_script(f->s, id, 1, "sha256:1", 1, &f->e));
	ok(store_job_first_log(f->s, id, 1, 4001, &f->e));
	ok(store_job_lost(f->s, id, 1, "leader gone", 5000, &f->e));
	ok(store_job_get(f->s, id, &j, &f->e));
	assert_string_equal(j.reason, "leader gone");
	assert_int_equal(j.queued_ms, 5000);
	job_row_release(&j);
	ok(store_job_claim(f->s, 6000, &j, &f->e));
	assert_null(j.reason);
	assert_null(j.image_digest);
	assert_int_equal(j.emulated, 0);
	assert_int_equal(j.first_log_ms, 0);
	assert_int_equal(j.started_ms, 6000);
	job_row_release(&j);
}

static void test_leader_that_was_given_up_is_denied(void **state)
{
	static const struct job_end canceled = {.state = JOB_CANCELED};
	struct fixture *f = *state;
	int64_t id;

	add_build(f, "d1", commit_a, 1);
	id = claim(f, 1);
	ok(store_job_lost(f->other, id, 1, "x", 1, &f->e));
	fails(store_job_step(f->s, id, 1, "script", &f->e), ERR_DENIED, "has moved on: it is queued");
	fails(store_job_finish(f->s, id, 1, &passed, 1, &f->e), ERR_DENIED, "has moved on: it is queued");
	fails(store_job_finish(f->s, id, 1, &canceled, 1, &f->e), ERR_DENIED, "has moved on: it is queued");
	claim(f, 2);
	fails(store_job_publishing(f->s, id, 1, &f->e), ERR_DENIED, "attempt 2, not attempt 1");
	fails(store_job_finish(f->s, id, 1, &passed, 1, &f->e), ERR_DENIED, "attempt 2, not attempt 1");
	ok(store_job_lost(f->s, id, 1, "x", 1, &f->e));
	assert_int_equal(job_state_of(f, id), JOB_RUNNING);
	ok(store_job_finish(f->s, id, 2, &passed, 1, &f->e));
	fails(store_job_finish(f->other, id, 2, &passed, 1, &f->e), ERR_DENIED, "has moved on: it is passed");
	fails(store_job_script(f->other, id, 2, "x", 0, &f->e), ERR_DENIED, "has moved on: it is passed");
	fails(store_job_step(f->s, 99, 1, "x", &f->e), ERR_MISSING, "no job 99");
}

static void test_cancel(void **state)
{
	static const struct job_end canceled = {.state = JOB_CANCELED, .exit_code = -1};
	struct fixture *f = *state;
	int64_t build = add_build(f, "d1", commit_a, 2), running = claim(f, 1), queued = running + 1;
	struct job_row j;

	ok(store_job_cancel(f->other, queued, "by me", 5000, &f->e));
	assert_int_equal(job_state_of(f, queued), JOB_CANCELED);
	assert_int_equal(store_job_cancel(f->other, running, "by you", 5000, &f->e), 1);
	assert_int_equal(store_job_cancel(f->other, running, "by her", 5000, &f->e), 1);
	assert_int_equal(job_state_of(f, running), JOB_RUNNING);
	fails(store_job_publishing(f->s, running, 1, &f->e), ERR_DENIED, "is being canceled: by you");
	ok(store_job_finish(f->s, running, 1, &canceled, 5001, &f->e));
	ok(store_job_get(f->s, running, &j, &f->e));
	assert_int_equal(j.state, JOB_CANCELED);
	assert_string_equal(j.reason, "by you");
	job_row_release(&j);
	assert_int_equal(build_state_of(f, build), BUILD_CANCELED);
	fails(store_job_cancel(f->s, running, "x", 1, &f->e), ERR_DENIED, "has ended: it is canceled");
	fails(store_job_cancel(f->s, 99, "x", 1, &f->e), ERR_MISSING, "no job 99");
}

static void test_cancel_outlives_the_leader(void **state)
{
	struct fixture *f = *state;
	int64_t build = add_build(f, "d1", commit_a, 1), id = claim(f, 1);

	assert_int_equal(store_job_cancel(f->other, id, "by me", 5000, &f->e), 1);
	ok(store_job_lost(f->s, id, 1, "leader gone", 5001, &f->e));
	assert_int_equal(job_state_of(f, id), JOB_CANCELED);
	assert_int_equal(build_state_of(f, build), BUILD_CANCELED);
}

static void test_publish_is_not_canceled(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	add_build(f, "d1", commit_a, 1);
	id = claim(f, 1);
	ok(store_job_publishing(f->s, id, 1, &f->e));
	fails(store_job_cancel(f->other, id, "by me", 5000, &f->e), ERR_BUSY, "is being published");
	ok(store_job_lost(f->other, id, 1, "leader gone", 5001, &f->e));
	assert_int_equal(job_state_of(f, id), JOB_QUEUED);
}

static void test_queue_of_jobs_that_may_fail_canceled(void **state)
{
	struct fixture *f = *state;
	int64_t build;

	ok(store_build_add(f->s, add_event(f, "d1", commit_a), &two_jobs[1], 1, NULL, 1, &build, &f->e));
	ok(store_job_cancel(f->s, 1, "by me", 5000, &f->e));
	assert_int_equal(build_state_of(f, build), BUILD_PASSED);
}

static void fail_while_publishing(struct fixture *f)
{
	static const struct job_end failed = {.state = JOB_FAILED};
	struct store *s;

	if (!store_open(f->path, &s, &f->e)) (void)!store_job_finish(s, 1, 1, &failed, 1, &f->e);
}

static void publish_twice(struct fixture *f)
{
	struct store *s;

	if (!store_open(f->path, &s, &f->e)) (void)!store_job_publishing(s, 1, 1, &f->e);
}

static void finish_as_running(struct fixture *f)
{
	static const struct job_end running = {.state = JOB_RUNNING};
	struct store *s;

	if (!store_open(f->path, &s, &f->e)) (void)!store_job_finish(s, 1, 1, &running, 1, &f->e);
}

static void close_as_new(struct fixture *f)
{
	struct store *s;

	if (!store_open(f->path, &s, &f->e)) (void)!store_event_close(s, 1, EVENT_NEW, "x", &f->e);
}

static void test_moves_outside_the_table_die(void **state)
{
	struct fixture *f = *state;

	add_build(f, "d1", commit_a, 1);
	assert_int_equal(claim(f, 1), 1);
	ok(store_job_publishing(f->s, 1, 1, &f->e));
	assert_dies(fail_while_publishing, f, "job 1: to 'failed' is not in the table");
	assert_dies(publish_twice, f, "job 1: 'publishing' to 'publishing' is not in the table");
	assert_dies(finish_as_running, f, "job 1 ended as 'running'");
	assert_dies(close_as_new, f, "closed as 'new'");
	assert_int_equal(job_state_of(f, 1), JOB_PUBLISHING);
}

/* Every state a job can be in × every end a leader can report: the table decides, and nothing else. */
static void reach(struct fixture *f, int64_t id, enum job_state st)
{
	struct job_end end = {.state = st, .reason = "x"};

	if (st == JOB_QUEUED) return;
	assert_int_equal(claim(f, 1), id);
	if (st == JOB_RUNNING) return;
	if (st == JOB_PUBLISHING)
		ok(store_job_publishing(f->s, id, 1, &f->e));
	else
		ok(store_job_finish(f->s, id, 1, &end, 1, &f->e));
}

static void test_every_end_from_every_state(void **state)
{
	struct fixture *f = *state;
	int64_t id = 0;

	for (int from = JOB_QUEUED; from <= JOB_CANCELED; from++)
		for (int to = JOB_PASSED; to <= JOB_CANCELED; to++) {
			struct job_end end = {.state = (enum job_state)to, .reason = "y"};
			char delivery[32];
			int allowed, attempt = from == JOB_QUEUED ? 0 : 1;

			if (from == JOB_PUBLISHING && (to == JOB_FAILED || to == JOB_CANCELED)) continue; /* dies */
			snprintf(delivery, sizeof(delivery), "%d-%d", from, to);
			add_build(f, delivery, commit_a, 1);
			reach(f, ++id, (enum job_state)from);
			allowed = from == JOB_RUNNING || from == JOB_PUBLISHING;
			if (allowed) {
				ok(store_job_finish(f->other, id, attempt, &end, 1, &f->e));
				assert_int_equal(job_state_of(f, id), to);
			} else {
				fails(store_job_finish(f->other, id, attempt, &end, 1, &f->e), ERR_DENIED,
				      "has moved on");
				assert_int_equal(job_state_of(f, id), from);
			}
			if (from == JOB_QUEUED) ok(store_job_cancel(f->s, id, "tidy", 1, &f->e));
		}
}

/* --- the file --- */

static void test_change_counter(void **state)
{
	struct fixture *f = *state;
	int64_t a, b, c;

	ok(store_changes(f->s, &a, &f->e));
	ok(store_changes(f->s, &b, &f->e));
	assert_int_equal(a, b);
	add_event(f, "d1", commit_a); /* our own */
	ok(store_changes(f->s, &b, &f->e));
	assert_int_not_equal(a, b);
	ok(store_event_begin(f->other, 1, 0, &f->e)); /* another's */
	ok(store_changes(f->s, &c, &f->e));
	assert_int_not_equal(b, c);
}

static void test_files_are_private(void **state)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	struct fixture *f = *state;
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		char *path = xasprintf("%s%s", f->path, suffixes[i]);

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		free(path);
	}
}

/* --- stages --- */

static const struct job_new staged[] = {
	{.name = "one", .spec = "{}", .stage = 1},
	{.name = "one, may fail", .spec = "{}", .stage = 1, .allow_failure = 1},
	{.name = "two", .spec = "{}", .stage = 2},
	{.name = "elsewhere", .spec = "{}", .stage = 2, .skip_reason = "no"},
	{.name = "three", .spec = "{}", .stage = 3},
};

/* The job that was claimed, by its number in the build; 0: none may start. */
static int claim_next(struct fixture *f, struct job_row *r)
{
	int got = store_job_claim(f->s, 5000, r, &f->e);

	assert_true(got >= 0);
	return got ? 0 : r->number;
}

static void end_as(struct fixture *f, struct job_row *r, enum job_state state)
{
	struct job_end end = {.state = state, .reason = state == JOB_PASSED ? NULL : "why", .exit_code = 0};

	ok(store_job_finish(f->s, r->id, r->attempt, &end, 6000, &f->e));
	job_row_release(r);
}

static void job_is(struct fixture *f, int64_t build, size_t i, enum job_state state, const char *reason)
{
	struct job_row *rows;
	size_t n;

	ok(store_build_jobs(f->other, build, &rows, &n, &f->e));
	assert_true(i < n);
	assert_string_equal(job_state_name(rows[i].state), job_state_name(state));
	if (reason) assert_string_equal(rows[i].reason, reason);
	job_rows_free(&rows, n);
}

static int64_t add_staged(struct fixture *f, const char *delivery, char *commit)
{
	int64_t id;

	ok(store_build_add(f->s, add_event(f, delivery, commit), staged, ARRAY_LEN(staged), NULL, 3000, &id, &f->e));
	return id;
}

static void test_a_stage_waits_for_the_one_before(void **state)
{
	struct fixture *f = *state;
	struct job_row one, may_fail, r;
	int64_t build = add_staged(f, "d1", commit_a);

	assert_int_equal(claim_next(f, &one), 1);
	assert_int_equal(claim_next(f, &may_fail), 2);
	assert_int_equal(claim_next(f, &r), 0);
	end_as(f, &one, JOB_PASSED);
	assert_int_equal(claim_next(f, &r), 0);
	end_as(f, &may_fail, JOB_FAILED);
	assert_int_equal(claim_next(f, &r), 3);
	end_as(f, &r, JOB_PASSED);
	job_is(f, build, 3, JOB_SKIPPED, "no");
	assert_int_equal(claim_next(f, &r), 5);
	assert_int_equal(build_state_of(f, build), BUILD_RUNNING);
	end_as(f, &r, JOB_PASSED);
	assert_int_equal(build_state_of(f, build), BUILD_PASSED);
}

static void test_a_stage_that_fails_ends_the_build(void **state)
{
	struct fixture *f = *state;
	struct job_row one, may_fail, r;
	int64_t build = add_staged(f, "d1", commit_a);

	assert_int_equal(claim_next(f, &one), 1);
	assert_int_equal(claim_next(f, &may_fail), 2);
	end_as(f, &one, JOB_FAILED);
	job_is(f, build, 2, JOB_CANCELED, "an earlier stage did not pass");
	job_is(f, build, 4, JOB_CANCELED, "an earlier stage did not pass");
	assert_int_equal(claim_next(f, &r), 0);
	assert_int_equal(build_state_of(f, build), BUILD_RUNNING);
	end_as(f, &may_fail, JOB_PASSED);
	/* not "canceled": that is only what became of the stages behind it */
	assert_int_equal(build_state_of(f, build), BUILD_FAILED);
}

static void test_a_build_does_not_wait_for_what_is_not_awaited(void **state)
{
	static const struct job_new jobs[] = {
		{.name = "required", .spec = "{}"},
		{.name = "slow", .spec = "{}", .allow_failure = 1, .not_awaited = 1},
	};
	struct fixture *f = *state;
	struct job_row required, slow;
	int64_t build;

	ok(store_build_add(f->s, add_event(f, "d1", commit_a), jobs, 2, NULL, 3000, &build, &f->e));
	assert_int_equal(claim_next(f, &required), 1);
	assert_int_equal(claim_next(f, &slow), 2);
	end_as(f, &required, JOB_PASSED);
	assert_int_equal(build_state_of(f, build), BUILD_PASSED);
	end_as(f, &slow, JOB_ERRORED);
	assert_int_equal(build_state_of(f, build), BUILD_PASSED);
	job_is(f, build, 1, JOB_ERRORED, "why");
}

/* The step that makes the jobs' table anew keeps the rows, and no id is ever used twice, also not one that is gone. */
static void test_jobs_live_through_their_new_table(void **state)
{
	struct fixture *f = *state;
	struct job_row *rows;
	int64_t build = add_build(f, "d1", commit_a, 2), second;
	size_t n;
	struct db *db;

	store_close(&f->s);
	store_close(&f->other);
	ok(db_open(f->path, &db, &f->e));
	ok(db_script(db,
		     "DELETE FROM jobs WHERE id = 2; DROP TABLE publications; DROP TABLE notices; DROP TABLE "
		     "build_images; PRAGMA user_version = 3",
		     &f->e));
	db_close(&db);
	ok(store_open(f->path, &f->s, &f->e));
	ok(store_open(f->path, &f->other, &f->e));
	ok(store_build_jobs(f->s, build, &rows, &n, &f->e));
	assert_int_equal(n, 1);
	assert_int_equal(rows[0].id, 1);
	assert_string_equal(rows[0].name, "unix amd64");
	assert_string_equal(rows[0].spec, "{\"a\":1}");
	assert_int_equal(rows[0].state, JOB_QUEUED);
	job_rows_free(&rows, n);
	second = add_build(f, "d2", commit_b, 1);
	ok(store_build_jobs(f->s, second, &rows, &n, &f->e));
	assert_int_equal(rows[0].id, 3);
	job_rows_free(&rows, n);
}

static void test_newer_schema_is_refused(void **state)
{
	struct fixture *f = *state;
	struct store *s = NULL;
	struct db *db;

	store_close(&f->s);
	store_close(&f->other);
	ok(db_open(f->path, &db, &f->e));
	ok(db_script(db, "PRAGMA user_version = 99", &f->e));
	db_close(&db);
	fails(store_open(f->path, &s, &f->e), ERR_INPUT, "has schema 99, this runner knows up to 7");
	assert_null(s);
}

static void test_other_files_are_refused(void **state)
{
	struct fixture *f = *state;
	char *foreign = xasprintf("%s/foreign.db", f->dir), *text = xasprintf("%s/text", f->dir);
	char *far = xasprintf("%s/no/x.db", f->dir);
	struct store *s = NULL;
	struct db *db;
	char noise[8192];

	ok(db_open(foreign, &db, &f->e));
	ok(db_script(db, "CREATE TABLE t (x)", &f->e));
	db_close(&db);
	fails(store_open(foreign, &s, &f->e), ERR_INPUT, "is a database, but no store");
	memset(noise, 'x', sizeof(noise));
	ok(fs_write_file(text, noise, sizeof(noise), 0644, &f->e));
	fails(store_open(text, &s, &f->e), ERR_SYS, "file is not a database");
	fails(store_open(f->dir, &s, &f->e), ERR_INPUT, "is not a file");
	fails(store_open(far, &s, &f->e), ERR_MISSING, "cannot open store");
	free(foreign);
	free(text);
	free(far);
}

/* The file may not grow: what did not fit leaves nothing, what was there stays, and with room it goes on. */
static void test_full_disk_leaves_nothing_half_done(void **state)
{
	struct fixture *f = *state;
	struct event ev = push_of("big", commit_a);
	struct rlimit was, tight;
	struct event_row r;
	int64_t id, before = add_event(f, "small", commit_a);
	char *wal = xasprintf("%s-wal", f->path);
	struct stat st;

	ev.message = xmalloc(200000);
	memset(ev.message, 'm', 199999);
	ev.message[199999] = '\0';
	assert_int_equal(stat(wal, &st), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	tight = was;
	tight.rlim_cur = (rlim_t)st.st_size + 50000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	assert_int_equal(store_event_add(f->s, &ev, 1, &id, &f->e), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(f->e.kind, ERR_SYS);
	assert_non_null(strstr(f->e.text, "disk I/O error"));
	ok(store_event_next_new(f->other, 0, &r, &f->e));
	assert_int_equal(r.id, before);
	event_row_release(&r);
	assert_int_equal(store_event_next_new(f->other, before, &r, &f->e), 1);
	ok(store_event_add(f->s, &ev, 1, &id, &f->e));
	ok(store_event_get(f->other, id, &r, &f->e));
	assert_int_equal(strlen(r.ev.message), 199999);
	event_row_release(&r);
	free(ev.message);
	free(wal);
}

/* A mount namespace of our own, with ourselves as its root. -1: the kernel does not let us have one. */
static int own_mounts(void)
{
	_cleanup_free_ char *uid = xasprintf("0 %d 1", (int)getuid()), *gid = xasprintf("0 %d 1", (int)getgid());
	const char *const maps[][2] = {
		{"/proc/self/setgroups", "deny"}, {"/proc/self/uid_map", uid}, {"/proc/self/gid_map", gid}};

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS)) return -1;
	for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
		_cleanup_close_ int fd = open(maps[i][0], O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, maps[i][1], strlen(maps[i][1])) < 0) return -1;
	}
	return 0;
}

/* Exit 77: no tmpfs to be had. */
static void fill_disk(struct fixture *f)
{
	struct event ev = push_of("", commit_a);
	_cleanup_free_ char *path = xasprintf("%s/slipway.db", f->dir);
	struct store *s;
	struct err e;
	char delivery[32], *text = xmalloc(20000);
	int64_t id, stored = 0, last;
	struct event_row r;

	if (own_mounts() || mount("none", f->dir, "tmpfs", 0, "size=1m")) _exit(77);
	if (store_open(path, &s, &e) || store_repo_add(s, "me/site", "/x", 1, &id, &e)) _exit(1);
	memset(text, 'm', 19999);
	text[19999] = '\0';
	ev.message = text;
	ev.delivery = delivery;
	for (;; stored++) {
		snprintf(delivery, sizeof(delivery), "d%lld", (long long)stored);
		if (store_event_add(s, &ev, 1, &id, &e)) break;
	}
	if (e.kind != ERR_SYS || e.sys_errno != ENOSPC || !strstr(e.text, "full") || !store_is_passing(&e)) _exit(2);
	for (last = 0; !store_event_next_new(s, last, &r, &e); last = id) {
		id = r.id;
		stored--;
		event_row_release(&r);
	}
	store_close(&s);
	if (stored) _exit(3);
	if (store_open(path, &s, &e)) _exit(4); /* the full disk does not stop reading */
	if (store_event_get(s, last, &r, &e)) _exit(5);
	_exit(0);
}

static void test_full_file_system(void **state)
{
	struct fixture *f = *state;
	pid_t pid = fork();
	int ws;

	if (pid == 0) fill_disk(f);
	assert_int_equal(waitpid(pid, &ws, 0), pid);
	assert_true(WIFEXITED(ws));
	if (WEXITSTATUS(ws) == 77) skip();
	assert_int_equal(WEXITSTATUS(ws), 0);
}

static void test_a_lock_held_for_too_long(void **state)
{
	struct fixture *f = *state;
	struct db *db, *holder;
	struct db_tx tx = DB_TX_INIT;

	ok(db_open(f->path, &holder, &f->e));
	ok(db_open(f->path, &db, &f->e));
	db_patience(db, 1);
	ok(db_begin(holder, &tx, &f->e));
	fails(db_script(db, "UPDATE repos SET url = '/y'", &f->e), ERR_BUSY, "locked by another process");
	assert_true(store_is_passing(&f->e));
	db_rollback(&tx);
	ok(db_script(db, "UPDATE repos SET url = '/y'", &f->e));
	db_close(&holder);
	db_close(&db);
}

/* What an earlier call left as errno is no word on this failure. */
static void test_damage_is_not_passing(void **state)
{
	struct fixture *f = *state;
	struct db *db;
	int fd;

	store_close(&f->s);
	store_close(&f->other);
	fd = open(f->path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "no database at all", 18, 0), 18);
	close(fd);
	fails(db_open(f->path, &db, &f->e), ERR_SYS, "not a database");
	assert_int_equal(f->e.sys_errno, 0);
	assert_false(store_is_passing(&f->e));
	err_set(&f->e, ERR_MISSING, "no event 7");
	assert_false(store_is_passing(&f->e));
}

/* --- several processes --- */

static void run_children(int n, void (*fn)(struct fixture *f, int i), struct fixture *f)
{
	pid_t pids[16];

	for (int i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			fn(f, i);
			_exit(0);
		}
	}
	for (int i = 0; i < n; i++) {
		int ws;

		assert_int_equal(waitpid(pids[i], &ws, 0), pids[i]);
		assert_true(WIFEXITED(ws));
		assert_int_equal(WEXITSTATUS(ws), 0);
	}
}

static void claim_all(struct fixture *f, int i)
{
	struct store *s;
	struct job_row j;
	struct err e;
	int got;

	(void)i;
	if (store_open(f->path, &s, &e)) _exit(1);
	while (!(got = store_job_claim(s, 1, &j, &e))) {
		if (j.attempt != 1 || store_job_finish(s, j.id, 1, &passed, 2, &e)) _exit(2);
		job_row_release(&j);
	}
	store_close(&s);
	_exit(got == 1 ? 0 : 3);
}

static void test_a_job_is_claimed_once(void **state)
{
	struct fixture *f = *state;
	struct build_row *builds;
	size_t n;

	for (int i = 0; i < 60; i++) {
		char delivery[32], commit[41];

		snprintf(delivery, sizeof(delivery), "d%d", i);
		snprintf(commit, sizeof(commit), "%040d", i);
		add_build(f, delivery, commit, 2);
	}
	store_close(&f->s);
	store_close(&f->other);
	run_children(4, claim_all, f);
	ok(store_open(f->path, &f->s, &f->e));
	ok(store_build_list(f->s, 0, 100, &builds, &n, &f->e));
	assert_int_equal(n, 60);
	for (size_t i = 0; i < n; i++) assert_int_equal(builds[i].state, BUILD_PASSED);
	build_rows_free(&builds, n);
}

static void open_and_add(struct fixture *f, int i)
{
	for (int round = 0; round < 10; round++) {
		_cleanup_free_ char *path = xasprintf("%s/fresh%d.db", f->dir, round), *name = xasprintf("u/%d", i);
		struct store *s;
		struct err e;
		int64_t id;

		if (store_open(path, &s, &e) || store_repo_add(s, name, "/x", 1, &id, &e)) {
			fprintf(stderr, "%s\n", e.text);
			_exit(1);
		}
		store_close(&s);
	}
}

static void test_new_file_opened_by_many(void **state)
{
	struct fixture *f = *state;

	store_close(&f->s);
	store_close(&f->other);
	run_children(6, open_and_add, f);
	for (int round = 0; round < 10; round++) {
		_cleanup_free_ char *path = xasprintf("%s/fresh%d.db", f->dir, round);
		struct repo *list;
		size_t n;

		ok(store_open(path, &f->s, &f->e));
		ok(store_repo_list(f->s, &list, &n, &f->e));
		assert_int_equal(n, 6);
		repos_free(&list, n);
		store_close(&f->s);
	}
}

/* --- notices --- */

/* One build that ends so, with a notice for each end; "wsswu": their states' first letters, always first. */
static void assert_notices(struct fixture *f, const char *delivery, char *commit, enum job_state end, const char *due)
{
	static const unsigned ends[] = {END_ANY, END_SUCCESS, END_FAILURE, END_CHANGE};
	const struct job_end ended = {.state = end, .reason = end == JOB_PASSED ? NULL : "because", .exit_code = 1};
	int64_t event = add_event(f, delivery, commit), build;
	struct notice_new notices[ARRAY_LEN(ends)];
	struct notice_row *rows;
	char ids[ARRAY_LEN(ends)][80], got[20] = "";
	size_t n;

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		snprintf(ids[i], sizeof(ids[i]), "%s-%zu", delivery, i);
		notices[i] = (struct notice_new){NOTICE_WEBHOOK, "https://x", ends[i], ids[i]};
	}
	/* What was planned before it was cut off is not there twice. */
	ok(store_notices_plan(f->s, event, notices, 2, &f->e));
	ok(store_notices_plan(f->s, event, notices, ARRAY_LEN(ends), &f->e));
	ok(store_build_add(f->s, event, two_jobs, 1, NULL, 3000, &build, &f->e));
	if (end == JOB_CANCELED)
		ok(store_job_cancel(f->s, build, "by hand", 4500, &f->e));
	else
		ok(store_job_finish(f->s, claim(f, 1), 1, &ended, 4500, &f->e));
	ok(store_notice_list(f->other, 0, ARRAY_LEN(ends), &rows, &n, &f->e));
	assert_int_equal(n, ARRAY_LEN(ends));
	for (size_t i = 0; i < n; i++) got[n - 1 - i] = rows[i].state == NOTICE_DUE ? 'd' : '-';
	assert_int_equal(rows[0].build_id, build);
	notice_rows_free(&rows, n);
	assert_string_equal(got, due);
}

static void test_notices_by_how_a_build_ended(void **state)
{
	struct fixture *f = *state;

	assert_notices(f, "n1", commit_a, JOB_PASSED, "dd-d");
	assert_notices(f, "n2", commit_b, JOB_PASSED, "dd--");
	assert_notices(f, "n3", commit_a, JOB_ERRORED, "d-dd");
	assert_notices(f, "n4", commit_b, JOB_FAILED, "d-d-");
	assert_notices(f, "n5", commit_a, JOB_CANCELED, "d---");
	assert_notices(f, "n6", commit_b, JOB_PASSED, "dd-d");
}

static void test_a_notice_is_tried_and_closed(void **state)
{
	struct fixture *f = *state;
	const int64_t none[STORE_MOST_AWAY] = {0}, ours[STORE_MOST_AWAY] = {1};
	struct notice_row row;
	int64_t id;

	assert_notices(f, "n1", commit_a, JOB_PASSED, "dd-d");
	assert_int_equal(store_notice_next_due(f->s, 4499, none, &row, &f->e), 1);
	assert_int_equal(store_notice_next_due(f->s, 4500, ours, &row, &f->e), 1);
	ok(store_notice_next_due(f->s, 4500, none, &row, &f->e));
	assert_string_equal(row.delivery, "n1-0");
	id = row.id;
	notice_row_release(&row);
	ok(store_notice_begin(f->s, id, 9000, &f->e));
	ok(store_notice_next_due(f->s, 4500, none, &row, &f->e));
	assert_int_not_equal(row.id, id);
	notice_row_release(&row);
	ok(store_notice_retry(f->s, id, "no answer", 8000, &f->e));
	ok(store_notice_get(f->other, id, &row, &f->e));
	assert_int_equal(row.attempts, 1);
	assert_int_equal(row.next_try_ms, 8000);
	assert_string_equal(row.reason, "no answer");
	notice_row_release(&row);
	ok(store_notice_close(f->s, id, NOTICE_SENT, NULL, 9000, &f->e));
	fails(store_notice_begin(f->s, id, 1, &f->e), ERR_DENIED, "has moved on");
	fails(store_notice_get(f->s, 99, &row, &f->e), ERR_MISSING, "no notice 99");
}

static void assert_known(struct fixture *f, const char *ref, size_t wanted)
{
	static const unsigned ends[] = {END_ANY, END_SUCCESS, END_FAILURE, END_CHANGE};
	struct notice_row *rows;
	size_t n;

	ok(store_notices_known(f->other, 1, ref, &rows, &n, &f->e));
	assert_int_equal(n, wanted);
	for (size_t i = 0; i < n; i++) assert_int_equal(rows[i].ends, ends[i]);
	notice_rows_free(&rows, n);
}

static void test_notices_of_a_file_that_says_nothing(void **state)
{
	struct fixture *f = *state;
	int64_t event, build;

	assert_known(f, "refs/heads/main", 0);
	assert_notices(f, "n1", commit_a, JOB_PASSED, "dd-d");
	assert_known(f, "refs/heads/main", 4);
	assert_known(f, "refs/heads/other", 0);
	event = add_event(f, "n2", commit_b);
	ok(store_build_add(f->s, event, NULL, 0, "no file", 5000, &build, &f->e));
	assert_known(f, "refs/heads/main", 4);
	event = add_event(f, "n3", commit_b);
	ok(store_build_add(f->s, event, two_jobs, 1, NULL, 6000, &build, &f->e));
	assert_known(f, "refs/heads/main", 0);
}

static void test_old_notices_are_forgotten(void **state)
{
	struct fixture *f = *state;
	struct notice_row row;
	int n = -1;

	assert_notices(f, "n1", commit_a, JOB_PASSED, "dd-d");
	ok(store_notice_close(f->s, 3, NOTICE_SENT, NULL, 9000, &f->e));
	ok(store_notices_forget(f->s, 100000, &n, &f->e));
	assert_int_equal(n, 0); /* who is told if the next file cannot be read */
	assert_notices(f, "n2", commit_b, JOB_PASSED, "dd--");
	ok(store_notices_forget(f->s, 4500, &n, &f->e));
	assert_int_equal(n, 0);
	ok(store_notices_forget(f->s, 9000, &n, &f->e));
	assert_int_equal(n, 1);
	ok(store_notice_get(f->s, 3, &row, &f->e)); /* sent at 9000 */
	notice_row_release(&row);
	ok(store_notices_forget(f->s, 9001, &n, &f->e));
	assert_int_equal(n, 1);
	fails(store_notice_get(f->s, 3, &row, &f->e), ERR_MISSING, "no notice 3");
	ok(store_notice_get(f->s, 4, &row, &f->e)); /* still due */
	notice_row_release(&row);
}

#define with_store(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_repositories),
		with_store(test_repository_urls),
		with_store(test_event_round_trip),
		with_store(test_same_delivery_is_one_event),
		with_store(test_event_of_unknown_repository),
		with_store(test_new_events_come_in_order),
		with_store(test_message_found_later),
		with_store(test_last_commit_of_a_ref),
		with_store(test_build_and_its_jobs),
		with_store(test_queued_build_of_same_commit_folds),
		with_store(test_an_event_that_failed_is_due_later),
		with_store(test_events_whose_commits_are_needed),
		with_store(test_build_that_cannot_be_planned),
		with_store(test_build_is_stored_whole_or_not_at_all),
		with_store(test_list_is_newest_first),
		with_store(test_publications_of_each_path),
		with_store(test_a_repository_that_published_is_removed),
		with_store(test_a_job_from_queue_to_publish),
		with_store(test_build_ends_with_its_last_job),
		with_store(test_lost_job_is_tried_three_times),
		with_store(test_new_attempt_starts_clean),
		with_store(test_leader_that_was_given_up_is_denied),
		with_store(test_cancel),
		with_store(test_cancel_outlives_the_leader),
		with_store(test_publish_is_not_canceled),
		with_store(test_queue_of_jobs_that_may_fail_canceled),
		with_store(test_moves_outside_the_table_die),
		with_store(test_every_end_from_every_state),
		with_store(test_change_counter),
		with_store(test_files_are_private),
		with_store(test_a_stage_waits_for_the_one_before),
		with_store(test_a_stage_that_fails_ends_the_build),
		with_store(test_a_build_does_not_wait_for_what_is_not_awaited),
		with_store(test_jobs_live_through_their_new_table),
		with_store(test_notices_by_how_a_build_ended),
		with_store(test_a_notice_is_tried_and_closed),
		with_store(test_notices_of_a_file_that_says_nothing),
		with_store(test_old_notices_are_forgotten),
		with_store(test_newer_schema_is_refused),
		with_store(test_other_files_are_refused),
		with_store(test_full_disk_leaves_nothing_half_done),
		with_store(test_full_file_system),
		with_store(test_a_lock_held_for_too_long),
		with_store(test_damage_is_not_passing),
		with_store(test_a_job_is_claimed_once),
		with_store(test_new_file_opened_by_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
