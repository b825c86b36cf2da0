/* The schema as a list of steps; a released step is never changed, only followed by another. States and kinds are
 * words, so that a row reads well in any SQL shell. Times are Unix milliseconds, 0 = not yet. */
#include "runner/store/schema.h"

#include <stdio.h>

static const char *const steps[] = {
	"CREATE TABLE repos (\n"
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
	"  name TEXT NOT NULL UNIQUE,\n"
	"  url TEXT NOT NULL,\n"
	"  last_build INTEGER NOT NULL DEFAULT 0,\n"
	"  created_ms INTEGER NOT NULL\n"
	") STRICT;\n"

	"CREATE TABLE events (\n"
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
	"  repo_id INTEGER NOT NULL REFERENCES repos (id),\n"
	"  kind TEXT NOT NULL CHECK (kind IN ('push', 'pull_request', 'ping')),\n"
	"  source TEXT NOT NULL,\n"
	"  delivery TEXT NOT NULL,\n"
	"  ref TEXT, branch TEXT, tag TEXT, before_id TEXT, commit_id TEXT, message TEXT, sender TEXT,\n"
	"  deleted INTEGER NOT NULL DEFAULT 0,\n"
	"  pr_number INTEGER NOT NULL DEFAULT 0,\n"
	"  from_fork INTEGER NOT NULL DEFAULT 0,\n"
	"  pr_action TEXT, head_repo TEXT, head_branch TEXT, head_commit TEXT,\n"
	"  state TEXT NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'built', 'skipped', 'rejected')),\n"
	"  attempts INTEGER NOT NULL DEFAULT 0,\n"
	"  build_id INTEGER REFERENCES builds (id),\n"
	"  reason TEXT,\n"
	"  received_ms INTEGER NOT NULL,\n"
	"  UNIQUE (repo_id, source, delivery)\n"
	") STRICT;\n"
	"CREATE INDEX events_new ON events (id) WHERE state = 'new';\n"
	"CREATE INDEX events_of_ref ON events (repo_id, ref, id);\n"

	"CREATE TABLE builds (\n"
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
	"  repo_id INTEGER NOT NULL REFERENCES repos (id),\n"
	"  event_id INTEGER NOT NULL REFERENCES events (id),\n"
	"  number INTEGER NOT NULL,\n"
	"  state TEXT NOT NULL\n"
	"    CHECK (state IN ('queued', 'running', 'passed', 'failed', 'errored', 'canceled')),\n"
	"  reason TEXT,\n"
	"  created_ms INTEGER NOT NULL,\n"
	"  started_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  finished_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  UNIQUE (repo_id, number)\n"
	") STRICT;\n"
	"CREATE INDEX builds_queued ON builds (repo_id) WHERE state = 'queued';\n"
	"CREATE INDEX builds_of_repo ON builds (repo_id, id);\n"

	"CREATE TABLE jobs (\n"
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
	"  build_id INTEGER NOT NULL REFERENCES builds (id),\n"
	"  number INTEGER NOT NULL,\n"
	"  name TEXT NOT NULL, backend TEXT, arch TEXT,\n"
	"  spec TEXT NOT NULL,\n"
	"  allow_failure INTEGER NOT NULL,\n"
	"  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN\n"
	"    ('queued', 'running', 'publishing', 'passed', 'failed', 'errored', 'canceled')),\n"
	"  attempt INTEGER NOT NULL DEFAULT 0,\n"
	"  max_attempts INTEGER NOT NULL DEFAULT 3,\n"
	"  cancel_reason TEXT,\n"
	"  step TEXT, reason TEXT,\n"
	"  exit_code INTEGER NOT NULL DEFAULT -1,\n"
	"  emulated INTEGER NOT NULL DEFAULT 0,\n"
	"  image_digest TEXT, publish_commit TEXT,\n"
	"  queued_ms INTEGER NOT NULL,\n"
	"  started_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  first_log_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  published_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  finished_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  log_bytes INTEGER NOT NULL DEFAULT 0,\n"
	"  log_hash TEXT,\n"
	"  UNIQUE (build_id, number)\n"
	") STRICT;\n"
	"CREATE INDEX jobs_unfinished ON jobs (state, id) WHERE state IN ('queued', 'running', 'publishing');\n",

	"ALTER TABLE repos ADD COLUMN polled_ms INTEGER NOT NULL DEFAULT 0;\n",

	"ALTER TABLE events ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;\n"
	"ALTER TABLE events ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;\n"
	"ALTER TABLE events ADD COLUMN next_try_ms INTEGER NOT NULL DEFAULT 0;\n",

	/* Stages, jobs that a build does not wait for, and a state more. Its number lives on: ids are never used twice.
	 */
	"CREATE TABLE jobs_with_stages (\n"
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
	"  build_id INTEGER NOT NULL REFERENCES builds (id),\n"
	"  number INTEGER NOT NULL,\n"
	"  name TEXT NOT NULL, backend TEXT, arch TEXT,\n"
	"  spec TEXT NOT NULL,\n"
	"  stage INTEGER NOT NULL DEFAULT 0,\n"
	"  allow_failure INTEGER NOT NULL,\n"
	"  awaited INTEGER NOT NULL DEFAULT 1,\n"
	"  state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN\n"
	"    ('queued', 'running', 'publishing', 'passed', 'failed', 'errored', 'canceled', 'skipped')),\n"
	"  attempt INTEGER NOT NULL DEFAULT 0,\n"
	"  max_attempts INTEGER NOT NULL DEFAULT 3,\n"
	"  cancel_reason TEXT,\n"
	"  step TEXT, reason TEXT,\n"
	"  exit_code INTEGER NOT NULL DEFAULT -1,\n"
	"  emulated INTEGER NOT NULL DEFAULT 0,\n"
	"  image_digest TEXT, publish_commit TEXT,\n"
	"  queued_ms INTEGER NOT NULL,\n"
	"  started_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  first_log_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  published_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  finished_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  log_bytes INTEGER NOT NULL DEFAULT 0,\n"
	"  log_hash TEXT,\n"
	"  UNIQUE (build_id, number)\n"
	") STRICT;\n"
	"INSERT INTO jobs_with_stages (id, build_id, number, name, backend, arch, spec, allow_failure, state, "
	"attempt,\n"
	"  max_attempts, cancel_reason, step, reason, exit_code, emulated, image_digest, publish_commit, queued_ms,\n"
	"  started_ms, first_log_ms, published_ms, finished_ms, log_bytes, log_hash)\n"
	"  SELECT id, build_id, number, name, backend, arch, spec, allow_failure, state, attempt, max_attempts,\n"
	"    cancel_reason, step, reason, exit_code, emulated, image_digest, publish_commit, queued_ms, started_ms,\n"
	"    first_log_ms, published_ms, finished_ms, log_bytes, log_hash FROM jobs;\n"
	"DELETE FROM sqlite_sequence WHERE name = 'jobs_with_stages';\n"
	"INSERT INTO sqlite_sequence (name, seq)\n"
	"  SELECT 'jobs_with_stages', seq FROM sqlite_sequence WHERE name = 'jobs';\n"
	"DROP TABLE jobs;\n"
	"ALTER TABLE jobs_with_stages RENAME TO jobs;\n"
	"CREATE INDEX jobs_unfinished ON jobs (state, id) WHERE state IN ('queued', 'running', 'publishing');\n",

	/* The digest that all jobs of a build share. */
	"CREATE TABLE build_images (\n"
	"  build_id INTEGER NOT NULL REFERENCES builds (id),\n"
	"  name TEXT NOT NULL, reference TEXT NOT NULL, digest TEXT,\n"
	"  PRIMARY KEY (build_id, name)\n"
	") STRICT;\n",

	"CREATE TABLE notices (\n"
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
	"  event_id INTEGER NOT NULL REFERENCES events (id),\n"
	"  build_id INTEGER REFERENCES builds (id),\n"
	"  delivery TEXT NOT NULL UNIQUE,\n"
	"  kind TEXT NOT NULL CHECK (kind IN ('webhook', 'email', 'command')),\n"
	"  target TEXT NOT NULL,\n"
	"  ends INTEGER NOT NULL,\n"
	"  state TEXT NOT NULL DEFAULT 'waiting'\n"
	"    CHECK (state IN ('waiting', 'due', 'sent', 'unwanted', 'given up')),\n"
	"  attempts INTEGER NOT NULL DEFAULT 0,\n"
	"  next_try_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  reason TEXT,\n"
	"  due_ms INTEGER NOT NULL DEFAULT 0,\n"
	"  done_ms INTEGER NOT NULL DEFAULT 0\n"
	") STRICT;\n"
	"CREATE INDEX notices_of_event ON notices (event_id);\n"
	"CREATE INDEX notices_due ON notices (next_try_ms) WHERE state = 'due';\n",

	/* What came into which deployment repository, in its order: what streams tell. */
	"CREATE TABLE publications (\n"
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,\n"
	"  repo_id INTEGER NOT NULL REFERENCES repos (id),\n"
	"  job_id INTEGER NOT NULL REFERENCES jobs (id),\n"
	"  deployment TEXT NOT NULL, branch TEXT NOT NULL, path TEXT NOT NULL,\n"
	"  commit_id TEXT NOT NULL, deployment_commit TEXT NOT NULL,\n"
	"  sequence INTEGER NOT NULL,\n"
	"  at_ms INTEGER NOT NULL\n"
	") STRICT;\n"
	"CREATE INDEX publications_of_path ON publications (repo_id, deployment, branch, path, id);\n",
};

static int version_of(struct db *db, int64_t *version_r, struct err *e)
{
	if (db_number(db, "PRAGMA user_version", DB_NONE, version_r, e) == 0) return 0;
	return -1;
}

/* Another process may have taken the step between our look and our lock: looked at again under the lock. */
static int take_step(struct db *db, const char *path, int64_t from, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	char set[64];
	int64_t now, tables;

	if (db_begin(db, &tx, e) || version_of(db, &now, e)) return -1;
	if (now != from) return 0;
	/* A step and its version come in one transaction: tables without a version are somebody else's. */
	if (from == 0 && db_number(db, "SELECT count(*) FROM sqlite_master", DB_NONE, &tables, e)) return -1;
	if (from == 0 && tables) return err_set(e, ERR_INPUT, "'%s' is a database, but no store", path);
	if (db_script(db, steps[from], e)) return -1;
	snprintf(set, sizeof(set), "PRAGMA user_version = %lld", (long long)from + 1);
	if (db_script(db, set, e)) return -1;
	return db_commit(&tx, e);
}

int schema_migrate(struct db *db, const char *path, struct err *e)
{
	int64_t version;

	for (;;) {
		if (version_of(db, &version, e)) return -1;
		if (version < 0 || version > (int64_t)ARRAY_LEN(steps))
			return err_set(e, ERR_INPUT,
				       "store '%s' has schema %lld, this runner knows up to %zu: use a newer runner",
				       path, (long long)version, ARRAY_LEN(steps));
		if (version == (int64_t)ARRAY_LEN(steps)) return 0;
		if (take_step(db, path, version, e))
			return err_wrap(e, "cannot bring the store to schema %lld", (long long)version + 1);
	}
}
