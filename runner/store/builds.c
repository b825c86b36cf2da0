/* Builds in the store: made from an event and a plan, finished with their last job. */
#include <stdint.h>
#include <stdlib.h>

#include "runner/store/builds.h"
#include "runner/store/states.h"
#include "runner/store/store_db.h"

void build_row_release(struct build_row *r)
{
	char **strings[] = {&r->repo, &r->ref, &r->branch, &r->commit, &r->message, &r->reason};

	for (size_t i = 0; i < ARRAY_LEN(strings); i++) free(*strings[i]);
	*r = (struct build_row){0};
}

void build_rows_free(struct build_row **rows, size_t n)
{
	for (size_t i = 0; i < n; i++) build_row_release(&(*rows)[i]);
	free_p(rows);
}

/* --- a new build --- */

static int insert_jobs(struct store *s, int64_t build_id, const struct job_new *jobs, size_t njobs, int64_t now_ms,
		       struct err *e)
{
	for (size_t i = 0; i < njobs; i++) {
		const struct job_new *j = &jobs[i];
		enum job_state state = j->skip_reason ? JOB_SKIPPED : JOB_QUEUED;

		if (db_run(s->db,
			   "INSERT INTO jobs (build_id, number, name, backend, arch, spec, allow_failure, queued_ms, "
			   "stage, "
			   "awaited, state, reason, finished_ms) "
			   "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
			   DB_ARGS(db_int(build_id), db_int((int64_t)i + 1), db_text(j->name), db_text(j->backend),
				   db_text(j->arch), db_text(j->spec), db_int(!!j->allow_failure), db_int(now_ms),
				   db_int(j->stage), db_int(!j->not_awaited), db_text(job_state_name(state)),
				   db_text(j->skip_reason), db_int(j->skip_reason ? now_ms : 0)),
			   NULL, e))
			return -1;
	}
	return 0;
}

/* The number is taken from the repository's row, so that two writers cannot take the same on any database. */
static int insert_build(struct store *s, const struct event_row *ev, int errored, const char *reason, int64_t now_ms,
			int64_t *id_r, struct err *e)
{
	int64_t number;

	if (db_number(s->db, "UPDATE repos SET last_build = last_build + 1 WHERE id = $1 RETURNING last_build",
		      DB_ARGS(db_int(ev->repo_id)), &number, e))
		return -1;
	return db_number(s->db,
			 "INSERT INTO builds (repo_id, event_id, number, state, reason, created_ms, finished_ms) "
			 "VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
			 DB_ARGS(db_int(ev->repo_id), db_int(ev->id), db_int(number),
				 db_text(build_state_name(errored ? BUILD_ERRORED : BUILD_QUEUED)), db_text(reason),
				 db_int(now_ms), db_int(errored ? now_ms : 0)),
			 id_r, e);
}

/* 0: there is one to fold into; 1: there is not. Trust is part of it: what a fork may see is not what a push may. */
static int find_queued(struct store *s, const struct event *ev, int64_t repo_id, int64_t *id_r, struct err *e)
{
	return db_number(s->db,
			 "SELECT b.id FROM builds b JOIN events e ON e.id = b.event_id WHERE b.repo_id = $1 AND "
			 "b.state = 'queued' AND e.ref = $2 AND e.commit_id = $3 AND e.kind = $4 AND e.from_fork = $5 "
			 "ORDER BY b.id DESC LIMIT 1",
			 DB_ARGS(db_int(repo_id), db_text(ev->ref), db_text(ev->commit),
				 db_text(event_kind_name(ev->kind)), db_int(ev->from_fork)),
			 id_r, e);
}

/* A push is told of twice where a poll and its own event cross each other. 0: there is a build for it; 1: there is
 * not. A poll knows no order, so any build of the commit will do; a push may come back to a commit, so it is the one
 * that a poll saw only if that was the last that happened to the ref. */
static int find_twin(struct store *s, const struct event_row *ev, int64_t *id_r, struct err *e)
{
	static const char of_poll[] = "SELECT build_id FROM events WHERE repo_id = $1 AND ref = $2 AND id <> $3 AND "
				      "commit_id = $4 AND kind = "
				      "'push' AND state = 'built' ORDER BY id DESC LIMIT 1";
	static const char of_push[] =
		"SELECT build_id FROM (SELECT build_id, source, commit_id, state FROM events WHERE repo_id = $1 AND "
		"ref = $2 AND kind = 'push' AND id < $3 ORDER BY id DESC LIMIT 1) AS previous "
		"WHERE source = 'poll' AND commit_id = $4 AND state = 'built'";
	int polled = ev->ev.source == EVENT_FROM_POLL;

	if (ev->ev.kind != EVENT_PUSH || ev->ev.source == EVENT_FROM_PERSON) return 1;
	return db_number(s->db, polled ? of_poll : of_push,
			 DB_ARGS(db_int(ev->repo_id), db_text(ev->ev.ref), db_int(ev->id), db_text(ev->ev.commit)),
			 id_r, e);
}

/* The event's end: it became the build, or there was one. */
static int close_event(struct store *s, const struct event_row *ev, int64_t build_id, int is_twin, struct err *e)
{
	int changed;
	int64_t number;
	_cleanup_free_ char *reason = NULL;

	if (is_twin && ev->ev.source == EVENT_FROM_POLL) {
		if (db_number(s->db, "SELECT number FROM builds WHERE id = $1", DB_ARGS(db_int(build_id)), &number, e))
			return -1;
		reason = xasprintf("its commit has build %lld already", (long long)number);
	}
	if (db_run(s->db, "UPDATE events SET state = $1, build_id = $2, reason = $3 WHERE id = $4 AND state = 'new'",
		   DB_ARGS(db_text(event_state_name(reason ? EVENT_SKIPPED : EVENT_BUILT)), db_int(build_id),
			   db_text(reason), db_int(ev->id)),
		   &changed, e))
		return -1;
	return changed ? 0 : err_set(e, ERR_DENIED, "event %lld has moved on", (long long)ev->id);
}

static int add_build(struct store *s, const struct event_row *ev, const struct job_new *jobs, size_t njobs,
		     const char *reason, int64_t now_ms, int64_t *build_id_r, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int got, twin = 0;

	if (db_begin(s->db, &tx, e)) return -1;
	got = njobs ? find_queued(s, &ev->ev, ev->repo_id, build_id_r, e) : 1;
	if (got == 1) {
		got = find_twin(s, ev, build_id_r, e);
		twin = got == 0;
	}
	if (got < 0) return -1;
	if (got == 1 && (insert_build(s, ev, njobs == 0, reason, now_ms, build_id_r, e) ||
			 insert_jobs(s, *build_id_r, jobs, njobs, now_ms, e)))
		return -1;
	if (close_event(s, ev, *build_id_r, twin, e) || db_commit(&tx, e)) return -1;
	return got == 0;
}

int store_build_add(struct store *s, int64_t event_id, const struct job_new *jobs, size_t njobs, const char *reason,
		    int64_t now_ms, int64_t *build_id_r, struct err *e)
{
	struct event_row ev;
	int64_t id;
	int got;

	if (!njobs && !reason) die("event %lld: a build without jobs or a reason", (long long)event_id);
	if (store_event_get(s, event_id, &ev, e)) return -1;
	if (ev.state != EVENT_NEW)
		got = err_set(e, ERR_DENIED, "event %lld has moved on: it is %s", (long long)event_id,
			      event_state_name(ev.state));
	else
		got = add_build(s, &ev, jobs, njobs, reason, now_ms, &id, e);
	event_row_release(&ev);
	if (got >= 0) *build_id_r = id;
	return got;
}

/* --- moving on, within the caller's transaction --- */

int builds_start(struct store *s, int64_t build_id, int64_t now_ms, struct err *e)
{
	return db_run(s->db, "UPDATE builds SET state = 'running', started_ms = $1 WHERE id = $2 AND state = 'queued'",
		      DB_ARGS(db_int(now_ms), db_int(build_id)), NULL, e);
}

static int any_trouble(const struct build_tally *t)
{
	return t->canceled || t->errored || t->failed;
}

/* The first stage that did not pass decides: the later ones were canceled because of it. */
static int tally(struct store *s, int64_t build_id, struct build_tally *t, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	enum job_state state;
	int64_t troubled = INT64_MAX;
	int got;

	if (db_query(s->db, "SELECT state, allow_failure, stage, awaited FROM jobs WHERE build_id = $1 ORDER BY stage",
		     DB_ARGS(db_int(build_id)), &rows, e))
		return -1;
	while (!(got = db_next(&rows, e))) {
		int64_t stage = db_col_int(&rows, 2);

		if (job_state_parse(db_col_text(&rows, 0), &state))
			return store_bad_word("job state", db_col_text(&rows, 0), e);
		if (job_state_is_final(state) ? stage > troubled : !db_col_int(&rows, 3)) continue;
		build_tally_add(t, state, (int)db_col_int(&rows, 1));
		if (any_trouble(t) && stage < troubled) troubled = stage;
	}
	return got < 0 ? -1 : 0;
}

static int state_of(struct store *s, int64_t build_id, enum build_state *state_r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, "SELECT state FROM builds WHERE id = $1", DB_ARGS(db_int(build_id)), &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no build %lld", (long long)build_id);
	if (got < 0) return -1;
	if (build_state_parse(db_col_text(&rows, 0), state_r))
		return store_bad_word("build state", db_col_text(&rows, 0), e);
	return 0;
}

int builds_settle(struct store *s, int64_t build_id, int64_t now_ms, struct err *e)
{
	struct build_tally t = {0};
	enum build_state from, to;

	if (tally(s, build_id, &t, e) || state_of(s, build_id, &from, e)) return -1;
	/* Jobs that were not waited for end after their build. */
	if (t.unfinished || build_state_is_final(from)) return 0;
	to = build_tally_state(&t);
	if (!build_state_may(from, to))
		die("build %lld: '%s' to '%s' is not in the table", (long long)build_id, build_state_name(from),
		    build_state_name(to));
	if (db_run(s->db, "UPDATE builds SET state = $1, finished_ms = $2 WHERE id = $3",
		   DB_ARGS(db_text(build_state_name(to)), db_int(now_ms), db_int(build_id)), NULL, e))
		return -1;
	return notices_settle(s, build_id, to, now_ms, e);
}

/* --- reading --- */

#define BUILD_COLUMNS                                                                                                  \
	"SELECT b.id, b.repo_id, b.event_id, b.number, r.name, e.ref, e.branch, e.commit_id, e.message, e.kind, "      \
	"b.state, b.reason, b.created_ms, b.started_ms, b.finished_ms, e.received_ms "                                 \
	"FROM builds b JOIN repos r ON r.id = b.repo_id JOIN events e ON e.id = b.event_id "

static int read_build(struct db_rows *rows, struct build_row *r, struct err *e)
{
	enum event_kind kind;
	enum build_state state;

	if (event_kind_parse(db_col_text(rows, 9), &kind)) return store_bad_word("event kind", db_col_text(rows, 9), e);
	if (build_state_parse(db_col_text(rows, 10), &state))
		return store_bad_word("build state", db_col_text(rows, 10), e);
	*r = (struct build_row){
		.id = db_col_int(rows, 0),
		.repo_id = db_col_int(rows, 1),
		.event_id = db_col_int(rows, 2),
		.number = (int)db_col_int(rows, 3),
		.repo = db_col_dup(rows, 4),
		.ref = db_col_dup(rows, 5),
		.branch = db_col_dup(rows, 6),
		.commit = db_col_dup(rows, 7),
		.message = db_col_dup(rows, 8),
		.kind = kind,
		.state = state,
		.reason = db_col_dup(rows, 11),
		.created_ms = db_col_int(rows, 12),
		.started_ms = db_col_int(rows, 13),
		.finished_ms = db_col_int(rows, 14),
		.event_received_ms = db_col_int(rows, 15),
	};
	return 0;
}

int store_build_get(struct store *s, int64_t id, struct build_row *r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, BUILD_COLUMNS "WHERE b.id = $1", DB_ARGS(db_int(id)), &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no build %lld", (long long)id);
	return got ? got : read_build(&rows, r, e);
}

int store_build_list(struct store *s, int64_t repo_id, size_t limit, struct build_row **rows_r, size_t *n_r,
		     struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	struct build_row *list = NULL;
	size_t n = 0;
	int got;

	got = repo_id ? db_query(s->db, BUILD_COLUMNS "WHERE b.repo_id = $1 ORDER BY b.id DESC LIMIT $2",
				 DB_ARGS(db_int(repo_id), db_int((int64_t)limit)), &rows, e)
		      : db_query(s->db, BUILD_COLUMNS "ORDER BY b.id DESC LIMIT $1", DB_ARGS(db_int((int64_t)limit)),
				 &rows, e);
	if (got) return -1;
	while (!(got = db_next(&rows, e))) {
		list = store_array(list, n, sizeof(*list));
		if ((got = read_build(&rows, &list[n], e))) break;
		n++;
	}
	if (got < 0) {
		build_rows_free(&list, n);
		return -1;
	}
	*rows_r = list;
	*n_r = n;
	return 0;
}
