/* A repository's rows, all of them or none. */
#include "runner/store/db.h"
#include "runner/store/store.h"
#include "runner/store/store_db.h"

static int count(struct store *s, const char *sql, int64_t repo_id, int64_t *n_r, struct err *e)
{
	return db_number(s->db, sql, DB_ARGS(db_int(repo_id)), n_r, e) ? -1 : 0;
}

static int check_finished(struct store *s, int64_t id, int events_too, struct err *e)
{
	int64_t jobs, builds, events = 0;

	if (count(s,
		  "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running', 'publishing') AND build_id IN "
		  "(SELECT id FROM builds WHERE repo_id = $1)",
		  id, &jobs, e) ||
	    count(s, "SELECT count(*) FROM builds WHERE state IN ('queued', 'running') AND repo_id = $1", id, &builds,
		  e) ||
	    (events_too &&
	     count(s, "SELECT count(*) FROM events WHERE state = 'new' AND repo_id = $1", id, &events, e)))
		return -1;
	if (jobs || builds) return err_set(e, ERR_BUSY, "%lld of its jobs have not ended", (long long)jobs);
	return events ? err_set(e, ERR_BUSY, "%lld of its pushes are still to be built", (long long)events) : 0;
}

static int delete_rows(struct store *s, int64_t id, struct err *e)
{
#define OF_BUILDS " WHERE build_id IN (SELECT id FROM builds WHERE repo_id = $1)"
	static const char *const deletes[] = {
		"DELETE FROM notices WHERE event_id IN (SELECT id FROM events WHERE repo_id = $1)",
		"DELETE FROM build_images" OF_BUILDS,
		"DELETE FROM publications WHERE repo_id = $1",
		"DELETE FROM jobs" OF_BUILDS,
		"DELETE FROM builds WHERE repo_id = $1",
		"DELETE FROM events WHERE repo_id = $1",
		"DELETE FROM repos WHERE id = $1",
	};
	int64_t dangling;

	for (size_t i = 0; i < ARRAY_LEN(deletes); i++)
		if (db_run(s->db, deletes[i], DB_ARGS(db_int(id)), NULL, e)) return -1;
	if (db_number(s->db, "SELECT count(*) FROM pragma_foreign_key_check", DB_NONE, &dangling, e)) return -1;
	return dangling ? err_set(e, ERR_SYS, "store: %lld rows would be left without theirs", (long long)dangling) : 0;
}

static int remove_all(struct store *s, int64_t id, int with_events, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;

	if (db_begin(s->db, &tx, e) || check_finished(s, id, !with_events, e) || delete_rows(s, id, e)) return -1;
	return db_commit(&tx, e);
}

/* Events and builds name each other; checked row by row each deletion would look through a whole table. They are
 * checked once, at the end. */
int store_repo_remove(struct store *s, int64_t id, int with_events, struct err *e)
{
	struct err late;
	int rc;

	if (db_script(s->db, "PRAGMA foreign_keys = OFF", e)) return -1;
	rc = remove_all(s, id, with_events, e);
	if (db_script(s->db, "PRAGMA foreign_keys = ON", rc ? &late : e)) return -1;
	return rc;
}
