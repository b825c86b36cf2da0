/* Jobs in the store. A job's row is changed only where it still is in the state and attempt that the change starts
 * from, so any number of processes may try: the one whose UPDATE finds the row wins, the others are told ERR_DENIED.
 * A change that the state table does not know is a bug, not a race, and ends the process. */
#include <stdlib.h>

#include "runner/store/builds.h"
#include "runner/store/states.h"
#include "runner/store/store_db.h"

void job_row_release(struct job_row *r)
{
	char **strings[] = {&r->name, &r->backend, &r->arch,         &r->spec,           &r->cancel_reason,
			    &r->step, &r->reason,  &r->image_digest, &r->publish_commit, &r->log_hash};

	for (size_t i = 0; i < ARRAY_LEN(strings); i++) free(*strings[i]);
	*r = (struct job_row){0};
}

void job_rows_free(struct job_row **rows, size_t n)
{
	for (size_t i = 0; i < n; i++) job_row_release(&(*rows)[i]);
	free_p(rows);
}

/* --- reading --- */

#define JOB_COLUMNS                                                                                                    \
	"SELECT id, build_id, number, name, backend, arch, spec, allow_failure, state, attempt, max_attempts, "        \
	"cancel_reason, step, reason, exit_code, emulated, image_digest, publish_commit, queued_ms, started_ms, "      \
	"first_log_ms, published_ms, finished_ms, log_bytes, log_hash FROM jobs "

static int read_job(struct db_rows *rows, struct job_row *r, struct err *e)
{
	enum job_state state;

	if (job_state_parse(db_col_text(rows, 8), &state)) return store_bad_word("job state", db_col_text(rows, 8), e);
	*r = (struct job_row){
		.id = db_col_int(rows, 0),
		.build_id = db_col_int(rows, 1),
		.number = (int)db_col_int(rows, 2),
		.name = db_col_dup(rows, 3),
		.backend = db_col_dup(rows, 4),
		.arch = db_col_dup(rows, 5),
		.spec = db_col_dup(rows, 6),
		.allow_failure = (int)db_col_int(rows, 7),
		.state = state,
		.attempt = (int)db_col_int(rows, 9),
		.max_attempts = (int)db_col_int(rows, 10),
		.cancel_reason = db_col_dup(rows, 11),
		.step = db_col_dup(rows, 12),
		.reason = db_col_dup(rows, 13),
		.exit_code = (int)db_col_int(rows, 14),
		.emulated = (int)db_col_int(rows, 15),
		.image_digest = db_col_dup(rows, 16),
		.publish_commit = db_col_dup(rows, 17),
		.queued_ms = db_col_int(rows, 18),
		.started_ms = db_col_int(rows, 19),
		.first_log_ms = db_col_int(rows, 20),
		.published_ms = db_col_int(rows, 21),
		.finished_ms = db_col_int(rows, 22),
		.log_bytes = db_col_int(rows, 23),
		.log_hash = db_col_dup(rows, 24),
	};
	return 0;
}

int store_job_get(struct store *s, int64_t id, struct job_row *r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, JOB_COLUMNS "WHERE id = $1", DB_ARGS(db_int(id)), &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no job %lld", (long long)id);
	return got ? got : read_job(&rows, r, e);
}

static int job_list(struct store *s, const char *sql, struct db_args args, struct job_row **rows_r, size_t *n_r,
		    struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	struct job_row *list = NULL;
	size_t n = 0;
	int got;

	if (db_query(s->db, sql, args, &rows, e)) return -1;
	while (!(got = db_next(&rows, e))) {
		list = store_array(list, n, sizeof(*list));
		if ((got = read_job(&rows, &list[n], e))) break;
		n++;
	}
	if (got < 0) {
		job_rows_free(&list, n);
		return -1;
	}
	*rows_r = list;
	*n_r = n;
	return 0;
}

int store_build_jobs(struct store *s, int64_t build_id, struct job_row **rows_r, size_t *n_r, struct err *e)
{
	return job_list(s, JOB_COLUMNS "WHERE build_id = $1 ORDER BY number", DB_ARGS(db_int(build_id)), rows_r, n_r,
			e);
}

int store_job_live(struct store *s, struct job_row **rows_r, size_t *n_r, struct err *e)
{
	return job_list(s, JOB_COLUMNS "WHERE state IN ('running', 'publishing') ORDER BY id", DB_NONE, rows_r, n_r, e);
}

/* --- claiming --- */

/* Queued, and its stage has come: later stages of a build that did not pass are canceled, so that only what is
 * unfinished is to be asked for. */
#define CLAIMABLE                                                                                                      \
	"SELECT id FROM jobs AS j WHERE state = 'queued' AND NOT EXISTS (SELECT 1 FROM jobs AS earlier WHERE "         \
	"earlier.build_id = j.build_id AND earlier.stage < j.stage AND earlier.state IN ('queued', 'running', "        \
	"'publishing')) ORDER BY id LIMIT 1"

int store_job_claim(struct store *s, int64_t now_ms, struct job_row *r, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	struct job_row claimed;
	int64_t id;
	int got;

	if (!job_state_may(JOB_QUEUED, JOB_RUNNING)) die("a job cannot be claimed");
	/* Looked for without the lock first: an idle daemon asks often. */
	got = db_number(s->db, CLAIMABLE, DB_NONE, &id, e);
	if (got) return got;
	if (db_begin(s->db, &tx, e)) return -1;
	got = db_number(s->db,
			"UPDATE jobs SET state = 'running', attempt = attempt + 1, started_ms = $1, step = NULL, "
			"reason = NULL, exit_code = -1, emulated = 0, image_digest = NULL, publish_commit = NULL, "
			"first_log_ms = 0, published_ms = 0, log_bytes = 0, log_hash = NULL WHERE state = 'queued' AND "
			"id = (" CLAIMABLE ") RETURNING id",
			DB_ARGS(db_int(now_ms)), &id, e);
	if (got) return got;
	if (store_job_get(s, id, &claimed, e)) return -1;
	if (builds_start(s, claimed.build_id, now_ms, e) || db_commit(&tx, e)) {
		job_row_release(&claimed);
		return -1;
	}
	*r = claimed;
	return 0;
}

int store_job_hold(struct store *s, const char *why, int *waiting_r, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int64_t queued = 0, other = 0;

	/* Asked without the lock first: a daemon that waits asks often. */
	if (db_number(s->db, "SELECT count(*) FROM jobs WHERE state = 'queued'", DB_NONE, &queued, e) ||
	    db_number(s->db,
		      "SELECT count(*) FROM jobs WHERE state = 'queued' AND COALESCE(step, '') <> COALESCE($1, '')",
		      DB_ARGS(db_text(why)), &other, e))
		return -1;
	*waiting_r = (int)queued;
	if (!other) return 0;
	if (db_begin(s->db, &tx, e) ||
	    db_run(s->db, "UPDATE jobs SET step = $1 WHERE state = 'queued'", DB_ARGS(db_text(why)), NULL, e))
		return -1;
	return db_commit(&tx, e);
}

/* --- what a leader reports --- */

static int is_live(enum job_state st)
{
	return st == JOB_RUNNING || st == JOB_PUBLISHING;
}

/* Why an UPDATE to `to` touched nothing (to < 0: it changes no state). Within its transaction, so the row is as the
 * UPDATE saw it. */
static int explain(struct store *s, int64_t id, int attempt, int to, struct err *e)
{
	struct job_row r;

	if (store_job_get(s, id, &r, e)) return -1;
	if (r.attempt != attempt || !is_live(r.state))
		err_set(e, ERR_DENIED, "job %lld has moved on: it is %s, attempt %d, not attempt %d", (long long)id,
			job_state_name(r.state), r.attempt, attempt);
	else if (r.cancel_reason)
		err_set(e, ERR_DENIED, "job %lld is being canceled: %s", (long long)id, r.cancel_reason);
	else
		die("job %lld: '%s' to '%s' is not in the table", (long long)id, job_state_name(r.state),
		    to < 0 ? "the same" : job_state_name((enum job_state)to));
	job_row_release(&r);
	return -1;
}

/* One UPDATE that changes no state, while a leader has the job. */
static int report(struct store *s, int64_t id, int attempt, const char *sql, struct db_args args, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int changed;

	if (db_begin(s->db, &tx, e) || db_run(s->db, sql, args, &changed, e)) return -1;
	return changed ? db_commit(&tx, e) : explain(s, id, attempt, -1, e);
}

/* What is for people who watch, and means nothing after a power cut: the job is run again then. */
static int mention(struct store *s, int64_t id, int attempt, const char *sql, struct db_args args, struct err *e)
{
	struct err late;
	int failed = db_lazy(s->db, 1, e) || report(s, id, attempt, sql, args, e);

	if (!db_lazy(s->db, 0, &late)) return failed ? -1 : 0;
	if (!failed) *e = late;
	return -1;
}

#define WHERE_LIVE " AND state IN ('running', 'publishing')"

int store_job_step(struct store *s, int64_t id, int attempt, const char *step, struct err *e)
{
	return mention(s, id, attempt, "UPDATE jobs SET step = $1 WHERE id = $2 AND attempt = $3" WHERE_LIVE,
		       DB_ARGS(db_text(step), db_int(id), db_int(attempt)), e);
}

int store_job_script(struct store *s, int64_t id, int attempt, const char *digest, int emulated, struct err *e)
{
	return mention(s, id, attempt,
		       "UPDATE jobs SET step = 'script', image_digest = $1, emulated = $2 WHERE id = $3 AND attempt = "
		       "$4" WHERE_LIVE,
		       DB_ARGS(db_text(digest), db_int(!!emulated), db_int(id), db_int(attempt)), e);
}

int store_build_image_pin(struct store *s, int64_t build_id, const char *name, const char *reference,
			  const char *digest, struct err *e)
{
	return db_run(s->db,
		      "INSERT INTO build_images (build_id, name, reference, digest) VALUES ($1, $2, $3, $4) "
		      "ON CONFLICT (build_id, name) DO NOTHING",
		      DB_ARGS(db_int(build_id), db_text(name), db_text(reference), db_text(digest)), NULL, e);
}

int store_build_image_get(struct store *s, int64_t build_id, const char *name, char **reference_r, char **digest_r,
			  struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, "SELECT reference, digest FROM build_images WHERE build_id = $1 AND name = $2",
		     DB_ARGS(db_int(build_id), db_text(name)), &rows, e))
		return -1;
	got = db_next(&rows, e);
	if (got) return got;
	*reference_r = db_col_dup(&rows, 0);
	*digest_r = db_col_dup(&rows, 1);
	return 0;
}

int store_job_first_log(struct store *s, int64_t id, int attempt, int64_t now_ms, struct err *e)
{
	return mention(s, id, attempt, "UPDATE jobs SET first_log_ms = $1 WHERE id = $2 AND attempt = $3" WHERE_LIVE,
		       DB_ARGS(db_int(now_ms), db_int(id), db_int(attempt)), e);
}

int store_job_published(struct store *s, int64_t id, int attempt, const struct publication_new *p, int64_t now_ms,
			struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int changed;

	if (db_begin(s->db, &tx, e) ||
	    db_run(s->db,
		   "UPDATE jobs SET publish_commit = $1, published_ms = $2 WHERE id = $3 AND attempt = $4" WHERE_LIVE,
		   DB_ARGS(db_text(p->deployment_commit), db_int(now_ms), db_int(id), db_int(attempt)), &changed, e))
		return -1;
	if (!changed) return explain(s, id, attempt, -1, e);
	if (db_run(s->db,
		   "INSERT INTO publications (repo_id, job_id, deployment, branch, path, commit_id, deployment_commit, "
		   "sequence, at_ms) SELECT b.repo_id, j.id, $1, $2, $3, $4, $5, $6, $7 FROM jobs j JOIN builds b ON "
		   "b.id = j.build_id WHERE j.id = $8",
		   DB_ARGS(db_text(p->deployment), db_text(p->branch), db_text(p->path), db_text(p->commit),
			   db_text(p->deployment_commit), db_int(p->sequence), db_int(now_ms), db_int(id)),
		   NULL, e))
		return -1;
	return db_commit(&tx, e);
}

int store_job_publishing(struct store *s, int64_t id, int attempt, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	_cleanup_free_ char *before = job_states_before(JOB_PUBLISHING);
	_cleanup_free_ char *sql = xasprintf("UPDATE jobs SET state = 'publishing' WHERE id = $1 AND attempt = $2 AND "
					     "cancel_reason IS NULL AND state IN %s",
					     before);
	int changed;

	if (db_begin(s->db, &tx, e) || db_run(s->db, sql, DB_ARGS(db_int(id), db_int(attempt)), &changed, e)) return -1;
	return changed ? db_commit(&tx, e) : explain(s, id, attempt, JOB_PUBLISHING, e);
}

/* --- ends --- */

/* A required job did not pass: what was to come after its stage never will. */
static int cancel_later_stages(struct store *s, int64_t id, int64_t build_id, int64_t now_ms, struct err *e)
{
	return db_run(
		s->db,
		"UPDATE jobs SET state = 'canceled', reason = 'an earlier stage did not pass', step = NULL, "
		"finished_ms = $1 WHERE build_id = $2 AND state = 'queued' AND stage > (SELECT stage FROM jobs WHERE "
		"id = $3 AND allow_failure = 0)",
		DB_ARGS(db_int(now_ms), db_int(build_id), db_int(id)), NULL, e);
}

/* Within the caller's transaction. 1: the row is not in a state from which `end` is reached. */
static int end_job(struct store *s, int64_t id, int attempt, const struct job_end *end, int64_t now_ms, struct err *e)
{
	_cleanup_free_ char *before = job_states_before(end->state);
	_cleanup_free_ char *sql = xasprintf(
		"UPDATE jobs SET state = $1, reason = $2, exit_code = $3, log_bytes = $4, log_hash = $5, "
		"finished_ms = $6, step = NULL WHERE id = $7 AND attempt = $8 AND state IN %s RETURNING build_id",
		before);
	int64_t build_id;
	int got;

	if (!job_state_is_final(end->state)) die("job %lld ended as '%s'", (long long)id, job_state_name(end->state));
	got = db_number(s->db, sql,
			DB_ARGS(db_text(job_state_name(end->state)), db_text(end->reason), db_int(end->exit_code),
				db_int(end->log_bytes), db_text(end->log_hash), db_int(now_ms), db_int(id),
				db_int(attempt)),
			&build_id, e);
	if (!got && end->state != JOB_PASSED) got = cancel_later_stages(s, id, build_id, now_ms, e);
	return got ? got : builds_settle(s, build_id, now_ms, e);
}

int store_job_finish(struct store *s, int64_t id, int attempt, const struct job_end *end, int64_t now_ms, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	_cleanup_free_ char *asked = NULL;
	struct job_end last = *end;
	struct job_row row;
	int live, got;

	if (db_begin(s->db, &tx, e) || store_job_get(s, id, &row, e)) return -1;
	/* A leader that was given up finds the job queued again, from where "canceled" would be allowed. */
	live = is_live(row.state) && row.attempt == attempt;
	asked = steal(row.cancel_reason);
	job_row_release(&row);
	if (!live) return explain(s, id, attempt, (int)end->state, e);
	if (end->state == JOB_CANCELED && !end->reason) last.reason = asked;
	got = end_job(s, id, attempt, &last, now_ms, e);
	if (got < 0) return -1;
	if (got == 1) die("job %lld: to '%s' is not in the table", (long long)id, job_state_name(end->state));
	return db_commit(&tx, e);
}

static int requeue(struct store *s, int64_t id, int attempt, const char *reason, int64_t now_ms, struct err *e)
{
	_cleanup_free_ char *before = job_states_before(JOB_QUEUED);
	_cleanup_free_ char *sql =
		xasprintf("UPDATE jobs SET state = 'queued', reason = $1, step = NULL, queued_ms = $2 "
			  "WHERE id = $3 AND attempt = $4 AND state IN %s",
			  before);
	int changed;

	if (db_run(s->db, sql, DB_ARGS(db_text(reason), db_int(now_ms), db_int(id), db_int(attempt)), &changed, e))
		return -1;
	if (!changed) die("job %lld: a live job cannot be queued again", (long long)id);
	return 0;
}

int store_job_lost(struct store *s, int64_t id, int attempt, const char *reason, int64_t now_ms, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	_cleanup_free_ char *text = NULL;
	struct job_row row;
	struct job_end end = {.exit_code = -1};
	int got = 0;

	if (db_begin(s->db, &tx, e) || store_job_get(s, id, &row, e)) return -1;
	if (row.attempt != attempt || !is_live(row.state)) {
		job_row_release(&row);
		return 0;
	}
	if (row.cancel_reason && row.state == JOB_RUNNING) {
		text = xstrdup(row.cancel_reason);
		end.state = JOB_CANCELED;
	} else if (attempt >= row.max_attempts) {
		text = xasprintf("lost %d times, the last time: %s", attempt, reason);
		end.state = JOB_ERRORED;
	}
	job_row_release(&row);
	end.reason = text;
	got = text ? end_job(s, id, attempt, &end, now_ms, e) : requeue(s, id, attempt, reason, now_ms, e);
	if (got < 0) return -1;
	if (got == 1) die("job %lld: a live job cannot become '%s'", (long long)id, job_state_name(end.state));
	return db_commit(&tx, e);
}

int store_job_cancel(struct store *s, int64_t id, const char *reason, int64_t now_ms, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	struct job_row row;
	struct job_end end = {.state = JOB_CANCELED, .reason = reason, .exit_code = -1};
	enum job_state state;
	int attempt;

	if (!reason) die("job %lld canceled without a reason", (long long)id);
	if (db_begin(s->db, &tx, e) || store_job_get(s, id, &row, e)) return -1;
	state = row.state;
	attempt = row.attempt;
	job_row_release(&row);
	if (job_state_is_final(state))
		return err_set(e, ERR_DENIED, "the job has ended: it is %s", job_state_name(state));
	if (state == JOB_PUBLISHING)
		return err_set(e, ERR_BUSY, "the job is being published, which is not stopped half way");
	if (state == JOB_QUEUED) {
		int got = end_job(s, id, attempt, &end, now_ms, e);

		if (got == 1) die("job %lld: a queued job cannot be canceled", (long long)id);
		return got ? -1 : db_commit(&tx, e);
	}
	if (db_run(s->db, "UPDATE jobs SET cancel_reason = $1 WHERE id = $2 AND cancel_reason IS NULL",
		   DB_ARGS(db_text(reason), db_int(id)), NULL, e))
		return -1;
	return db_commit(&tx, e) ? -1 : 1;
}
