/* runner/store: what polling a repository's refs adds, and that a push and a poll of it make one build. */
#include "tests/unit/unit.h"

#include "lib/vec.h"
#include "runner/store/db.h"
#include "runner/store/store.h"

static char commit_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
static char commit_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
static const char main_ref[] = "refs/heads/main";

struct fixture {
	char *dir;
	struct store *s;
	struct repo repo;
	int64_t now_ms;
	struct err e;
};

static int setup(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	_cleanup_free_ char *db = NULL;
	int64_t id;

	f->dir = unit_temp();
	f->now_ms = 1000;
	db = xasprintf("%s/slipway.db", f->dir);
	assert_done(store_open(db, &f->s, &f->e), f->e);
	assert_done(store_repo_add(f->s, "me/site", "/srv/site.git", 1000, &id, &f->e), f->e);
	assert_done(store_repo_get(f->s, id, &f->repo, &f->e), f->e);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	repo_release(&f->repo);
	store_close(&f->s);
	unit_temp_remove(&f->dir);
	free(f);
	return 0;
}

/* One head polled: what was found, "known", "baseline" or "new", and the event. */
static const char *poll_head(struct fixture *f, const char *ref, const char *commit, int64_t *id_r)
{
	static const char *const words[] = {[POLL_KNOWN] = "known", [POLL_BASELINE] = "baseline", [POLL_NEW] = "new"};
	struct poll_head h = {.ref = ref, .commit = commit};

	assert_done(store_poll(f->s, &f->repo, &h, 1, f->now_ms++, &f->e), f->e);
	assert_int_equal(h.found == POLL_KNOWN, h.event_id == 0);
	if (id_r) *id_r = h.event_id;
	return words[h.found];
}

/* The first look, at nothing. */
static void look_once(struct fixture *f)
{
	assert_done(store_poll(f->s, &f->repo, NULL, 0, f->now_ms++, &f->e), f->e);
}

static int64_t tell(struct fixture *f, enum event_source source, const char *ref, char *commit)
{
	static char repo[] = "me/site", message[] = "m";
	_cleanup_free_ char *delivery = xasprintf("d%lld", (long long)f->now_ms);
	struct event ev = {.kind = EVENT_PUSH,
			   .source = source,
			   .delivery = delivery,
			   .repo = repo,
			   .ref = (char *)(uintptr_t)ref,
			   .commit = commit,
			   .deleted = !commit,
			   .message = message};
	int64_t id;

	assert_done(store_event_add(f->s, &ev, f->now_ms++, &id, &f->e), f->e);
	return id;
}

/* 0: a build of its own; 1: another's. */
static int build(struct fixture *f, int64_t event_id, int64_t *build_r)
{
	const struct job_new job = {.name = "one", .spec = "{}"};
	int got = store_build_add(f->s, event_id, &job, 1, NULL, f->now_ms++, build_r, &f->e);

	if (got < 0) fail_msg("%s", f->e.text);
	return got;
}

static void start_jobs(struct fixture *f)
{
	struct job_row row;

	while (!store_job_claim(f->s, f->now_ms++, &row, &f->e)) job_row_release(&row);
}

static void expect_event(struct fixture *f, int64_t id, enum event_state state, const char *reason)
{
	__attribute__((cleanup(event_row_release))) struct event_row r = {0};

	assert_done(store_event_get(f->s, id, &r, &f->e), f->e);
	assert_string_equal(event_state_name(r.state), event_state_name(state));
	assert_string_equal(r.reason ? r.reason : "none", reason ? reason : "none");
}

static void test_the_first_look_notes_and_builds_nothing(void **state)
{
	struct fixture *f = *state;
	struct poll_head heads[40];
	char refs[40][32];
	struct event_row row;

	for (int i = 0; i < 40; i++) {
		snprintf(refs[i], sizeof(refs[i]), "refs/heads/b%d", i);
		heads[i] = (struct poll_head){.ref = refs[i], .commit = commit_a};
	}
	assert_done(store_poll(f->s, &f->repo, heads, 40, 5, &f->e), f->e);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(heads[i].found, POLL_BASELINE);
		expect_event(f, heads[i].event_id, EVENT_SKIPPED,
			     "it was there when the repository was first looked at; `runner trigger` builds it all the "
			     "same");
	}
	assert_int_equal(store_event_next_new(f->s, 0, &row, &f->e), 1);
	assert_done(store_poll(f->s, &f->repo, heads, 40, 6, &f->e), f->e);
	for (int i = 0; i < 40; i++) assert_int_equal(heads[i].found, POLL_KNOWN);
}

/* A repository that pushes told of before it was first looked at: those refs are followed, the others noted. */
static void test_the_first_look_finds_what_was_missed_on_known_refs(void **state)
{
	struct fixture *f = *state;
	struct poll_head heads[] = {{.ref = main_ref, .commit = commit_b},
				    {.ref = "refs/heads/told", .commit = commit_a},
				    {.ref = "refs/heads/old", .commit = commit_a}};

	tell(f, EVENT_FROM_GITHUB, main_ref, commit_a);
	tell(f, EVENT_FROM_GITHUB, "refs/heads/told", commit_a);
	assert_done(store_poll(f->s, &f->repo, heads, ARRAY_LEN(heads), 5, &f->e), f->e);
	assert_int_equal(heads[0].found, POLL_NEW);
	assert_int_equal(heads[1].found, POLL_KNOWN);
	assert_int_equal(heads[2].found, POLL_BASELINE);
}

static void test_a_missed_push_is_one_event(void **state)
{
	struct fixture *f = *state;
	__attribute__((cleanup(event_row_release))) struct event_row r = {0};
	int64_t id;

	look_once(f); /* it was empty */
	assert_string_equal(poll_head(f, "refs/tags/v1", commit_a, &id), "new");
	assert_string_equal(poll_head(f, "refs/tags/v1", commit_a, NULL), "known");
	assert_done(store_event_get(f->s, id, &r, &f->e), f->e);
	assert_string_equal(event_source_name(r.ev.source), "poll");
	assert_string_equal(r.ev.tag, "v1");
	assert_string_equal(r.ev.branch, "v1");
	assert_string_equal(r.ev.commit, commit_a);
	assert_null(r.ev.before);
	assert_null(r.ev.message);
	assert_int_equal(r.state, EVENT_NEW);

	assert_string_equal(poll_head(f, "refs/tags/v1", commit_b, NULL), "new");
	/* Back again: that commit of that ref was polled. */
	assert_string_equal(poll_head(f, "refs/tags/v1", commit_a, NULL), "known");
}

static void test_what_an_event_told_of_is_known(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	look_once(f);
	id = tell(f, EVENT_FROM_GITHUB, main_ref, commit_a);
	assert_string_equal(poll_head(f, main_ref, commit_a, NULL), "known");
	assert_done(store_event_close(f->s, id, EVENT_SKIPPED, "why not", &f->e), f->e);
	assert_string_equal(poll_head(f, main_ref, commit_a, NULL), "known");
	tell(f, EVENT_FROM_GITHUB, main_ref, NULL); /* deleted, and made again unheard */
	assert_string_equal(poll_head(f, main_ref, commit_a, NULL), "new");
}

static void test_a_rejected_event_gets_one_more_chance(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	look_once(f);
	id = tell(f, EVENT_FROM_GITHUB, main_ref, commit_a);
	assert_done(store_event_close(f->s, id, EVENT_REJECTED, "no network", &f->e), f->e);
	assert_string_equal(poll_head(f, main_ref, commit_a, &id), "new");
	assert_done(store_event_close(f->s, id, EVENT_REJECTED, "no network", &f->e), f->e);
	assert_string_equal(poll_head(f, main_ref, commit_a, NULL), "known");
}

static void test_a_repository_that_is_gone(void **state)
{
	struct fixture *f = *state;
	struct repo gone = {.id = 99, .name = f->repo.name};

	assert_refused(store_poll(f->s, &gone, NULL, 0, 1, &f->e), f->e, ERR_MISSING, "no repository 'me/site'");
}

/* The poll was first, its build runs or has ended: the push is of it. */
static void test_a_push_that_comes_after_its_poll_is_not_built_again(void **state)
{
	struct fixture *f = *state;
	int64_t polled, pushed, one, two;

	look_once(f);
	assert_string_equal(poll_head(f, main_ref, commit_a, &polled), "new");
	assert_int_equal(build(f, polled, &one), 0);
	start_jobs(f);
	pushed = tell(f, EVENT_FROM_HOOK, main_ref, commit_a);
	assert_int_equal(build(f, pushed, &two), 1);
	assert_int_equal(two, one);
	expect_event(f, pushed, EVENT_BUILT, NULL);
}

/* The push was first, but something else was told of later: the poll finds the commit built. */
static void test_a_poll_of_a_commit_that_was_built_is_skipped(void **state)
{
	struct fixture *f = *state;
	int64_t polled, one, two, other;

	look_once(f);
	assert_int_equal(build(f, tell(f, EVENT_FROM_GITHUB, main_ref, commit_a), &one), 0);
	start_jobs(f);
	assert_int_equal(build(f, tell(f, EVENT_FROM_GITHUB, main_ref, commit_b), &other), 0);
	start_jobs(f);
	assert_string_equal(poll_head(f, main_ref, commit_a, &polled), "new");
	assert_int_equal(build(f, polled, &two), 1);
	assert_int_equal(two, one);
	expect_event(f, polled, EVENT_SKIPPED, "its commit has build 1 already");
	/* Another branch at that commit is another build. */
	assert_string_equal(poll_head(f, "refs/heads/other", commit_a, &polled), "new");
	assert_int_equal(build(f, polled, &two), 0);
}

/* A push back to a commit that was polled once is a push. */
static void test_a_push_back_is_built(void **state)
{
	struct fixture *f = *state;
	int64_t polled, build_id;

	look_once(f);
	assert_string_equal(poll_head(f, main_ref, commit_a, &polled), "new");
	assert_int_equal(build(f, polled, &build_id), 0);
	start_jobs(f);
	assert_int_equal(build(f, tell(f, EVENT_FROM_HOOK, main_ref, commit_b), &build_id), 0);
	start_jobs(f);
	assert_int_equal(build(f, tell(f, EVENT_FROM_HOOK, main_ref, commit_a), &build_id), 0);
	start_jobs(f);
	/* And so is what a person asks for. */
	assert_int_equal(build(f, tell(f, EVENT_FROM_PERSON, main_ref, commit_a), &build_id), 0);
}

static void test_a_push_after_the_first_look_is_built(void **state)
{
	struct fixture *f = *state;
	int64_t build_id;

	assert_string_equal(poll_head(f, main_ref, commit_a, NULL), "baseline");
	assert_int_equal(build(f, tell(f, EVENT_FROM_HOOK, main_ref, commit_a), &build_id), 0);
}

/* A .ci.yml that is wrong is told once, too. */
static void test_an_errored_build_is_a_build(void **state)
{
	struct fixture *f = *state;
	int64_t polled, one, two;

	look_once(f);
	assert_string_equal(poll_head(f, main_ref, commit_a, &polled), "new");
	assert_int_equal(store_build_add(f->s, polled, NULL, 0, "wrong", 1, &one, &f->e), 0);
	assert_int_equal(
		store_build_add(f->s, tell(f, EVENT_FROM_HOOK, main_ref, commit_a), NULL, 0, "wrong", 1, &two, &f->e),
		1);
	assert_int_equal(two, one);
}

/* What schema 1 did not have. */
static void drop_later_tables(struct fixture *f, struct db *db)
{
	_cleanup_vec_ struct vec drops = VEC_INIT;
	struct db_rows rows = DB_ROWS_INIT;

	assert_done(db_query(db,
			     "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('repos', 'events', "
			     "'builds', 'jobs') AND name NOT LIKE 'sqlite_%'",
			     DB_NONE, &rows, &f->e),
		    f->e);
	while (!db_next(&rows, &f->e)) vec_addf(&drops, "DROP TABLE %s", db_col_text(&rows, 0));
	db_rows_done(&rows);
	for (size_t i = 0; i < drops.len; i++) assert_done(db_script(db, drops.items[i], &f->e), f->e);
}

static void test_a_store_of_schema_1_is_brought_up(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = xasprintf("%s/slipway.db", f->dir);
	struct db *db;

	tell(f, EVENT_FROM_HOOK, main_ref, commit_a);
	store_close(&f->s);
	assert_done(db_open(path, &db, &f->e), f->e);
	assert_done(db_script(db,
			      "ALTER TABLE repos DROP COLUMN polled_ms; ALTER TABLE events DROP COLUMN failures; ALTER "
			      "TABLE events DROP COLUMN refusals; ALTER TABLE events DROP COLUMN next_try_ms; PRAGMA "
			      "user_version = 1",
			      &f->e),
		    f->e);
	drop_later_tables(f, db);
	db_close(&db);
	assert_done(store_open(path, &f->s, &f->e), f->e);
	assert_string_equal(poll_head(f, main_ref, commit_a, NULL), "known");
	assert_string_equal(poll_head(f, "refs/heads/other", commit_a, NULL), "new");
}

#define with_store(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_store(test_the_first_look_notes_and_builds_nothing),
		with_store(test_the_first_look_finds_what_was_missed_on_known_refs),
		with_store(test_a_missed_push_is_one_event),
		with_store(test_what_an_event_told_of_is_known),
		with_store(test_a_rejected_event_gets_one_more_chance),
		with_store(test_a_repository_that_is_gone),
		with_store(test_a_push_that_comes_after_its_poll_is_not_built_again),
		with_store(test_a_poll_of_a_commit_that_was_built_is_skipped),
		with_store(test_a_push_back_is_built),
		with_store(test_a_push_after_the_first_look_is_built),
		with_store(test_an_errored_build_is_a_build),
		with_store(test_a_store_of_schema_1_is_brought_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
