/* Notices in the store.
 *
 *	waiting → due → sent | given up        waiting → unwanted
 */
#include <stdlib.h>
#include <string.h>

#include "runner/store/builds.h"
#include "runner/store/states.h"
#include "runner/store/store_db.h"

static const char *const kinds[] = {
	[NOTICE_WEBHOOK] = "webhook", [NOTICE_EMAIL] = "email", [NOTICE_COMMAND] = "command"};
static const char *const states[] = {
	[NOTICE_WAITING] = "waiting",   [NOTICE_DUE] = "due",           [NOTICE_SENT] = "sent",
	[NOTICE_UNWANTED] = "unwanted", [NOTICE_GIVEN_UP] = "given up",
};
static const struct {
	const char *name;
	enum notice_end end;
} ends[] = {{"success", END_SUCCESS}, {"failure", END_FAILURE}, {"change", END_CHANGE}, {"always", END_ANY}};

const char *notice_kind_name(enum notice_kind k)
{
	return kinds[k];
}

const char *notice_state_name(enum notice_state st)
{
	return states[st];
}

static int find_word(const char *const *words, size_t n, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i], word)) return (int)i;
	return -1;
}

int notice_kind_parse(const char *name, enum notice_kind *kind_r)
{
	int i = find_word(kinds, ARRAY_LEN(kinds), name);

	if (i >= 0) *kind_r = (enum notice_kind)i;
	return i < 0 ? -1 : 0;
}

int notice_end_parse(const char *name, enum notice_end *end_r)
{
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		if (!strcmp(ends[i].name, name)) {
			*end_r = ends[i].end;
			return 0;
		}
	return -1;
}

void notice_row_release(struct notice_row *r)
{
	free(r->target);
	free(r->delivery);
	free(r->reason);
	*r = (struct notice_row){0};
}

void notice_rows_free(struct notice_row **rows, size_t n)
{
	for (size_t i = 0; i < n; i++) notice_row_release(&(*rows)[i]);
	free_p(rows);
}

int store_notices_plan(struct store *s, int64_t event_id, const struct notice_new *notices, size_t n, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;

	if (db_begin(s->db, &tx, e) || db_run(s->db, "DELETE FROM notices WHERE event_id = $1 AND state = 'waiting'",
					      DB_ARGS(db_int(event_id)), NULL, e))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (db_run(s->db,
			   "INSERT INTO notices (event_id, delivery, kind, target, ends) VALUES ($1, $2, $3, $4, $5)",
			   DB_ARGS(db_int(event_id), db_text(notices[i].delivery),
				   db_text(notice_kind_name(notices[i].kind)), db_text(notices[i].target),
				   db_int(notices[i].ends)),
			   NULL, e))
			return -1;
	return db_commit(&tx, e);
}

/* --- a build has ended --- */

static int outcome(const char *state)
{
	return !strcmp(state, "passed") ? END_SUCCESS : END_FAILURE;
}

/* Did the build before this one, of the same ref, end otherwise? The first one is a change. */
static int is_change(struct store *s, int64_t build_id, int end, int *change_r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db,
		     "SELECT p.state FROM builds p JOIN events pe ON pe.id = p.event_id, builds b JOIN events be ON "
		     "be.id = b.event_id WHERE b.id = $1 AND p.repo_id = b.repo_id AND p.id < b.id AND pe.ref = be.ref "
		     "AND p.state IN ('passed', 'failed', 'errored') ORDER BY p.id DESC LIMIT 1",
		     DB_ARGS(db_int(build_id)), &rows, e))
		return -1;
	got = db_next(&rows, e);
	if (got < 0) return -1;
	*change_r = got || outcome(db_col_text(&rows, 0)) != end;
	return 0;
}

int notices_settle(struct store *s, int64_t build_id, enum build_state state, int64_t now_ms, struct err *e)
{
	int end = state == BUILD_CANCELED ? 0 : outcome(build_state_name(state)), change = 0;
	int64_t waiting;

	if (db_number(s->db,
		      "SELECT count(*) FROM notices WHERE state = 'waiting' AND event_id = (SELECT event_id FROM "
		      "builds WHERE id = $1)",
		      DB_ARGS(db_int(build_id)), &waiting, e))
		return -1;
	if (!waiting) return 0;
	if (end && is_change(s, build_id, end, &change, e)) return -1;
	return db_run(s->db,
		      "UPDATE notices SET build_id = $1, state = CASE WHEN ends & $2 <> 0 THEN 'due' ELSE 'unwanted' "
		      "END, due_ms = $3, next_try_ms = $3 WHERE state = 'waiting' AND event_id = (SELECT event_id FROM "
		      "builds WHERE id = $1)",
		      DB_ARGS(db_int(build_id), db_int(END_ANY | end | (change ? END_CHANGE : 0)), db_int(now_ms)),
		      NULL, e);
}

/* --- reading --- */

#define NOTICE_COLUMNS                                                                                                 \
	"SELECT n.id, COALESCE(n.build_id, 0), e.repo_id, n.kind, n.state, n.target, n.delivery, n.reason, "           \
	"n.attempts, n.next_try_ms, n.due_ms, n.done_ms, n.ends FROM notices n JOIN events e ON e.id = n.event_id "

static int read_notice(struct db_rows *rows, struct notice_row *r, struct err *e)
{
	enum notice_kind kind;
	int state = find_word(states, ARRAY_LEN(states), db_col_text(rows, 4));

	if (notice_kind_parse(db_col_text(rows, 3), &kind))
		return store_bad_word("notice kind", db_col_text(rows, 3), e);
	if (state < 0) return store_bad_word("notice state", db_col_text(rows, 4), e);
	*r = (struct notice_row){
		.id = db_col_int(rows, 0),
		.build_id = db_col_int(rows, 1),
		.repo_id = db_col_int(rows, 2),
		.kind = kind,
		.state = (enum notice_state)state,
		.target = db_col_dup(rows, 5),
		.delivery = db_col_dup(rows, 6),
		.reason = db_col_dup(rows, 7),
		.attempts = (int)db_col_int(rows, 8),
		.next_try_ms = db_col_int(rows, 9),
		.due_ms = db_col_int(rows, 10),
		.done_ms = db_col_int(rows, 11),
		.ends = (unsigned)db_col_int(rows, 12),
	};
	return 0;
}

static int read_first(struct store *s, const char *sql, struct db_args args, struct notice_row *r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, sql, args, &rows, e)) return -1;
	got = db_next(&rows, e);
	return got ? got : read_notice(&rows, r, e);
}

int store_notice_get(struct store *s, int64_t id, struct notice_row *r, struct err *e)
{
	int got = read_first(s, NOTICE_COLUMNS "WHERE n.id = $1", DB_ARGS(db_int(id)), r, e);

	return got == 1 ? err_set(e, ERR_MISSING, "no notice %lld", (long long)id) : got;
}

int store_notice_next_due(struct store *s, int64_t now_ms, const int64_t away[STORE_MOST_AWAY], struct notice_row *r,
			  struct err *e)
{
	_Static_assert(STORE_MOST_AWAY == 8, "as many as there are parameters");
	return read_first(s,
			  NOTICE_COLUMNS
			  "WHERE n.state = 'due' AND n.next_try_ms <= $1 AND e.repo_id NOT IN ($2, $3, $4, $5, $6, $7, "
			  "$8, $9) ORDER BY n.next_try_ms, n.id LIMIT 1",
			  DB_ARGS(db_int(now_ms), db_int(away[0]), db_int(away[1]), db_int(away[2]), db_int(away[3]),
				  db_int(away[4]), db_int(away[5]), db_int(away[6]), db_int(away[7])),
			  r, e);
}

static int read_all(struct store *s, const char *sql, struct db_args args, struct notice_row **rows_r, size_t *n_r,
		    struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	struct notice_row *list = NULL;
	size_t n = 0;
	int got;

	if (db_query(s->db, sql, args, &rows, e)) return -1;
	while (!(got = db_next(&rows, e))) {
		list = store_array(list, n, sizeof(*list));
		if ((got = read_notice(&rows, &list[n], e))) break;
		n++;
	}
	if (got < 0) {
		notice_rows_free(&list, n);
		return -1;
	}
	*rows_r = list;
	*n_r = n;
	return 0;
}

int store_notice_list(struct store *s, int64_t repo_id, size_t limit, struct notice_row **rows_r, size_t *n_r,
		      struct err *e)
{
	return read_all(s,
			NOTICE_COLUMNS
			"WHERE n.state <> 'waiting' AND ($1 = 0 OR e.repo_id = $1) ORDER BY n.id DESC LIMIT $2",
			DB_ARGS(db_int(repo_id), db_int((int64_t)limit)), rows_r, n_r, e);
}

int store_notices_known(struct store *s, int64_t repo_id, const char *ref, struct notice_row **rows_r, size_t *n_r,
			struct err *e)
{
	return read_all(s,
			NOTICE_COLUMNS
			"WHERE n.event_id = (SELECT b.event_id FROM builds b JOIN events be ON be.id = b.event_id "
			"WHERE b.repo_id = $1 AND be.ref = $2 AND be.from_fork = 0 AND EXISTS (SELECT 1 FROM jobs j "
			"WHERE j.build_id = b.id) ORDER BY b.id DESC LIMIT 1) ORDER BY n.id",
			DB_ARGS(db_int(repo_id), db_text(ref)), rows_r, n_r, e);
}

/* --- forgetting --- */

int store_notices_forget(struct store *s, int64_t before_ms, int *forgotten_r, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;

	if (db_begin(s->db, &tx, e) ||
	    db_run(s->db,
		   "DELETE FROM notices WHERE state IN ('sent', 'unwanted', 'given up') AND due_ms < $1 AND done_ms < "
		   "$1 "
		   "AND event_id NOT IN (SELECT max(b.event_id) FROM builds b JOIN events e ON e.id = b.event_id WHERE "
		   "EXISTS (SELECT 1 FROM jobs j WHERE j.build_id = b.id) GROUP BY b.repo_id, e.ref)",
		   DB_ARGS(db_int(before_ms)), forgotten_r, e))
		return -1;
	return db_commit(&tx, e);
}

/* --- delivering --- */

/* Of one that is due; another process may have been quicker. */
static int change(struct store *s, int64_t id, const char *sql, struct db_args args, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int changed;

	if (db_begin(s->db, &tx, e) || db_run(s->db, sql, args, &changed, e)) return -1;
	if (!changed) return err_set(e, ERR_DENIED, "notice %lld has moved on", (long long)id);
	return db_commit(&tx, e);
}

int store_notice_begin(struct store *s, int64_t id, int64_t next_try_ms, struct err *e)
{
	return change(s, id,
		      "UPDATE notices SET attempts = attempts + 1, next_try_ms = $1 WHERE id = $2 AND state = 'due'",
		      DB_ARGS(db_int(next_try_ms), db_int(id)), e);
}

int store_notice_retry(struct store *s, int64_t id, const char *reason, int64_t next_try_ms, struct err *e)
{
	return change(s, id, "UPDATE notices SET reason = $1, next_try_ms = $2 WHERE id = $3 AND state = 'due'",
		      DB_ARGS(db_text(reason), db_int(next_try_ms), db_int(id)), e);
}

int store_notice_close(struct store *s, int64_t id, enum notice_state to, const char *reason, int64_t now_ms,
		       struct err *e)
{
	if (to != NOTICE_SENT && to != NOTICE_GIVEN_UP) die("a notice is not closed as '%s'", notice_state_name(to));
	return change(s, id, "UPDATE notices SET state = $1, reason = $2, done_ms = $3 WHERE id = $4 AND state = 'due'",
		      DB_ARGS(db_text(notice_state_name(to)), db_text(reason), db_int(now_ms), db_int(id)), e);
}
