/* Events in the store. */
#include <stdlib.h>
#include <string.h>

#include "runner/store/states.h"
#include "runner/store/store_db.h"

void event_row_release(struct event_row *r)
{
	event_release(&r->ev);
	free(r->reason);
	*r = (struct event_row){0};
}

static int insert_event(struct store *s, const struct event *ev, int64_t repo_id, int64_t now_ms, int64_t *id_r,
			struct err *e)
{
	return db_number(
		s->db,
		"INSERT INTO events (repo_id, kind, source, delivery, ref, branch, tag, before_id, commit_id, message, "
		"sender, "
		"deleted, pr_number, from_fork, pr_action, head_repo, head_branch, head_commit, received_ms) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19) "
		"ON CONFLICT (repo_id, source, delivery) DO NOTHING RETURNING id",
		DB_ARGS(db_int(repo_id), db_text(event_kind_name(ev->kind)), db_text(event_source_name(ev->source)),
			db_text(ev->delivery), db_text(ev->ref), db_text(ev->branch), db_text(ev->tag),
			db_text(ev->before), db_text(ev->commit), db_text(ev->message), db_text(ev->sender),
			db_int(ev->deleted), db_int(ev->pr_number), db_int(ev->from_fork), db_text(ev->pr_action),
			db_text(ev->head_repo), db_text(ev->head_branch), db_text(ev->head_commit), db_int(now_ms)),
		id_r, e);
}

int store_event_add(struct store *s, const struct event *ev, int64_t now_ms, int64_t *id_r, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int64_t repo_id, id;
	int got;

	if (!ev->delivery || !ev->repo) die("event without a delivery or a repository");
	if (db_begin(s->db, &tx, e)) return -1;
	got = db_number(s->db, "SELECT id FROM repos WHERE name = $1", DB_ARGS(db_text(ev->repo)), &repo_id, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no repository '%s'", ev->repo);
	if (got < 0) return -1;
	got = insert_event(s, ev, repo_id, now_ms, &id, e);
	if (got < 0) return -1;
	if (got == 1) {
		if (db_number(s->db, "SELECT id FROM events WHERE repo_id = $1 AND source = $2 AND delivery = $3",
			      DB_ARGS(db_int(repo_id), db_text(event_source_name(ev->source)), db_text(ev->delivery)),
			      &id, e))
			return -1;
		db_rollback(&tx);
		*id_r = id;
		return 1;
	}
	if (db_commit(&tx, e)) return -1;
	*id_r = id;
	return 0;
}

#define EVENT_COLUMNS                                                                                                  \
	"SELECT e.id, e.repo_id, r.name, e.kind, e.source, e.delivery, e.ref, e.branch, e.tag, e.before_id, "          \
	"e.commit_id, e.message, e.sender, e.deleted, e.pr_number, e.from_fork, e.pr_action, e.head_repo, "            \
	"e.head_branch, e.head_commit, e.state, e.attempts, e.build_id, e.reason, e.received_ms, e.failures, "         \
	"e.refusals, e.next_try_ms "                                                                                   \
	"FROM events e JOIN repos r ON r.id = e.repo_id "

static int read_event(struct db_rows *rows, struct event_row *r, struct err *e)
{
	enum event_state state;
	enum event_kind kind;
	enum event_source source;

	if (event_kind_parse(db_col_text(rows, 3), &kind)) return store_bad_word("event kind", db_col_text(rows, 3), e);
	if (event_source_parse(db_col_text(rows, 4), &source))
		return store_bad_word("event source", db_col_text(rows, 4), e);
	if (event_state_parse(db_col_text(rows, 20), &state))
		return store_bad_word("event state", db_col_text(rows, 20), e);
	*r = (struct event_row){
		.id = db_col_int(rows, 0),
		.repo_id = db_col_int(rows, 1),
		.ev = {.kind = kind,
		       .source = source,
		       .repo = db_col_dup(rows, 2),
		       .delivery = db_col_dup(rows, 5),
		       .ref = db_col_dup(rows, 6),
		       .branch = db_col_dup(rows, 7),
		       .tag = db_col_dup(rows, 8),
		       .before = db_col_dup(rows, 9),
		       .commit = db_col_dup(rows, 10),
		       .message = db_col_dup(rows, 11),
		       .sender = db_col_dup(rows, 12),
		       .deleted = (int)db_col_int(rows, 13),
		       .pr_number = (int)db_col_int(rows, 14),
		       .from_fork = (int)db_col_int(rows, 15),
		       .pr_action = db_col_dup(rows, 16),
		       .head_repo = db_col_dup(rows, 17),
		       .head_branch = db_col_dup(rows, 18),
		       .head_commit = db_col_dup(rows, 19)},
		.state = state,
		.attempts = (int)db_col_int(rows, 21),
		.build_id = db_col_int(rows, 22),
		.reason = db_col_dup(rows, 23),
		.received_ms = db_col_int(rows, 24),
		.failures = (int)db_col_int(rows, 25),
		.refusals = (int)db_col_int(rows, 26),
		.next_try_ms = db_col_int(rows, 27),
	};
	return 0;
}

int store_event_get(struct store *s, int64_t id, struct event_row *r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, EVENT_COLUMNS "WHERE e.id = $1", DB_ARGS(db_int(id)), &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no event %lld", (long long)id);
	return got ? got : read_event(&rows, r, e);
}

int store_event_next_new(struct store *s, int64_t after, struct event_row *r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, EVENT_COLUMNS "WHERE e.state = 'new' AND e.id > $1 ORDER BY e.id LIMIT 1",
		     DB_ARGS(db_int(after)), &rows, e))
		return -1;
	got = db_next(&rows, e);
	return got ? got : read_event(&rows, r, e);
}

int store_event_next_due(struct store *s, int64_t now_ms, const int64_t away[STORE_MOST_AWAY], struct event_row *r,
			 struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db,
		     EVENT_COLUMNS "WHERE e.state = 'new' AND e.next_try_ms <= $1 AND e.repo_id NOT IN "
				   "($2, $3, $4, $5, $6, $7, $8, $9) ORDER BY e.id LIMIT 1",
		     DB_ARGS(db_int(now_ms), db_int(away[0]), db_int(away[1]), db_int(away[2]), db_int(away[3]),
			     db_int(away[4]), db_int(away[5]), db_int(away[6]), db_int(away[7])),
		     &rows, e))
		return -1;
	got = db_next(&rows, e);
	return got ? got : read_event(&rows, r, e);
}

void event_rows_free(struct event_row **rows, size_t n)
{
	for (size_t i = 0; i < n; i++) event_row_release(&(*rows)[i]);
	free_p(rows);
}

int store_event_list(struct store *s, int64_t repo_id, size_t limit, struct event_row **rows_r, size_t *n_r,
		     struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	struct event_row *list = NULL;
	size_t n = 0;
	int got;

	if (db_query(s->db, EVENT_COLUMNS "WHERE $1 IN (0, e.repo_id) ORDER BY e.id DESC LIMIT $2",
		     DB_ARGS(db_int(repo_id), db_int((int64_t)limit)), &rows, e))
		return -1;
	while (!(got = db_next(&rows, e))) {
		list = store_array(list, n, sizeof(*list));
		got = read_event(&rows, &list[n], e);
		if (got) break;
		n++;
	}
	if (got < 0) {
		event_rows_free(&list, n);
		return -1;
	}
	*rows_r = list;
	*n_r = n;
	return 0;
}

/* Why an UPDATE of an event in EVENT_NEW touched nothing. */
static int explain_event(struct store *s, int64_t id, struct err *e)
{
	struct event_row r;

	if (store_event_get(s, id, &r, e)) return -1;
	err_set(e, ERR_DENIED, "event %lld has moved on: it is %s", (long long)id, event_state_name(r.state));
	event_row_release(&r);
	return -1;
}

int store_event_begin(struct store *s, int64_t id, int64_t not_before_ms, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int changed;

	if (db_begin(s->db, &tx, e)) return -1;
	if (db_run(s->db, "UPDATE events SET attempts = attempts + 1, next_try_ms = $1 WHERE id = $2 AND state = 'new'",
		   DB_ARGS(db_int(not_before_ms), db_int(id)), &changed, e))
		return -1;
	return changed ? db_commit(&tx, e) : explain_event(s, id, e);
}

int store_event_retry(struct store *s, int64_t id, int refused, const char *reason, int64_t next_try_ms, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int changed;

	if (db_begin(s->db, &tx, e)) return -1;
	if (db_run(s->db,
		   "UPDATE events SET failures = failures + 1, refusals = refusals + $1, reason = $2, next_try_ms = $3 "
		   "WHERE id = $4 AND state = 'new'",
		   DB_ARGS(db_int(!!refused), db_text(reason), db_int(next_try_ms), db_int(id)), &changed, e))
		return -1;
	return changed ? db_commit(&tx, e) : explain_event(s, id, e);
}

int store_event_close(struct store *s, int64_t id, enum event_state to, const char *reason, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int changed;

	if (!event_state_may(EVENT_NEW, to) || to == EVENT_BUILT)
		die("event %lld closed as '%s'", (long long)id, event_state_name(to));
	if (db_begin(s->db, &tx, e)) return -1;
	if (db_run(s->db, "UPDATE events SET state = $1, reason = $2 WHERE id = $3 AND state = 'new'",
		   DB_ARGS(db_text(event_state_name(to)), db_text(reason), db_int(id)), &changed, e))
		return -1;
	return changed ? db_commit(&tx, e) : explain_event(s, id, e);
}

int store_event_describe(struct store *s, int64_t id, const char *message, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;

	if (db_begin(s->db, &tx, e)) return -1;
	if (db_run(s->db, "UPDATE events SET message = $1 WHERE id = $2 AND message IS NULL",
		   DB_ARGS(db_text(message), db_int(id)), NULL, e))
		return -1;
	return db_commit(&tx, e);
}

int store_event_resolve(struct store *s, int64_t id, const char *commit, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int changed;

	if (db_begin(s->db, &tx, e)) return -1;
	if (db_run(s->db, "UPDATE events SET commit_id = $1 WHERE id = $2 AND state = 'new'",
		   DB_ARGS(db_text(commit), db_int(id)), &changed, e))
		return -1;
	return changed ? db_commit(&tx, e) : explain_event(s, id, e);
}

int store_event_used(struct store *s, int64_t repo_id, int newest, int64_t **ids_r, size_t *n_r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int64_t *ids = NULL;
	size_t n = 0;
	int got;

	if (db_query(s->db,
		     "SELECT id FROM events WHERE repo_id = $1 AND state = 'new' UNION "
		     "SELECT event_id FROM builds WHERE repo_id = $1 AND state IN ('queued', 'running') UNION "
		     "SELECT event_id FROM (SELECT event_id FROM builds WHERE repo_id = $1 ORDER BY id DESC LIMIT $2) "
		     "AS b",
		     DB_ARGS(db_int(repo_id), db_int(newest)), &rows, e))
		return -1;
	while (!(got = db_next(&rows, e))) {
		ids = store_array(ids, n, sizeof(*ids));
		ids[n++] = db_col_int(&rows, 0);
	}
	if (got < 0) {
		free(ids);
		return -1;
	}
	*ids_r = ids;
	*n_r = n;
	return 0;
}

int store_event_last_commit(struct store *s, int64_t repo_id, const char *ref, char **commit_r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db,
		     "SELECT commit_id FROM events WHERE repo_id = $1 AND ref = $2 AND kind <> 'ping' "
		     "ORDER BY id DESC LIMIT 1",
		     DB_ARGS(db_int(repo_id), db_text(ref)), &rows, e))
		return -1;
	got = db_next(&rows, e);
	if (got) return got;
	if (!db_col_text(&rows, 0)) return 1; /* the ref was deleted */
	*commit_r = db_col_dup(&rows, 0);
	return 0;
}

/* --- polls --- */

static const char baseline_reason[] =
	"it was there when the repository was first looked at; `runner trigger` builds it all the same";

/* The newest event of the ref. 1: there is none. known_r: it told of this commit, and was not given up. */
static int last_told(struct store *s, int64_t repo_id, const struct poll_head *h, char **before_r, int *known_r,
		     struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	const char *commit;
	int got;

	if (db_query(s->db,
		     "SELECT commit_id, state FROM events WHERE repo_id = $1 AND ref = $2 AND kind <> 'ping' "
		     "ORDER BY id DESC LIMIT 1",
		     DB_ARGS(db_int(repo_id), db_text(h->ref)), &rows, e))
		return -1;
	got = db_next(&rows, e);
	if (got) return got;
	commit = db_col_text(&rows, 0);
	*known_r = commit && !strcmp(commit, h->commit) &&
		   strcmp(db_col_text(&rows, 1), event_state_name(EVENT_REJECTED)) != 0;
	*before_r = commit ? xstrdup(commit) : NULL;
	return 0;
}

static int poll_one(struct store *s, const struct repo *r, int first, struct poll_head *h, int64_t now_ms,
		    struct err *e)
{
	__attribute__((cleanup(event_release))) struct event ev = {.kind = EVENT_PUSH, .source = EVENT_FROM_POLL};
	int known = 0, got;

	h->found = POLL_KNOWN;
	h->event_id = 0;
	got = last_told(s, r->id, h, &ev.before, &known, e);
	if (got < 0 || known) return got;
	event_set_ref(&ev, h->ref);
	ev.commit = xstrdup(h->commit);
	ev.delivery = xasprintf("%s@%s", h->ref, h->commit);
	if (got == 1 && first) h->found = POLL_BASELINE;
	got = insert_event(s, &ev, r->id, now_ms, &h->event_id, e);
	if (got < 0) return -1;
	if (got == 1) {
		h->found = POLL_KNOWN;
		h->event_id = 0;
		return 0;
	}
	if (h->found != POLL_BASELINE) {
		h->found = POLL_NEW;
		return 0;
	}
	return db_run(s->db, "UPDATE events SET state = $1, reason = $2 WHERE id = $3",
		      DB_ARGS(db_text(event_state_name(EVENT_SKIPPED)), db_text(baseline_reason), db_int(h->event_id)),
		      NULL, e);
}

int store_poll(struct store *s, const struct repo *r, struct poll_head *heads, size_t n, int64_t now_ms, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int64_t polled;
	int got;

	if (db_begin(s->db, &tx, e)) return -1;
	got = db_number(s->db, "SELECT polled_ms FROM repos WHERE id = $1", DB_ARGS(db_int(r->id)), &polled, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no repository '%s'", r->name);
	if (got) return -1;
	for (size_t i = 0; i < n; i++)
		if (poll_one(s, r, polled == 0, &heads[i], now_ms, e)) return -1;
	if (db_run(s->db, "UPDATE repos SET polled_ms = $1 WHERE id = $2", DB_ARGS(db_int(now_ms), db_int(r->id)), NULL,
		   e))
		return -1;
	return db_commit(&tx, e);
}
