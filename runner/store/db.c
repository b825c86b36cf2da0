/* The thin SQLite module. No other file includes sqlite3.h. */
#include "runner/store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"

enum { BUSY_MS = 15000, MAX_STATEMENTS = 128 };

struct db {
	sqlite3 *handle;
	char *path;
	sqlite3_stmt *statements[MAX_STATEMENTS];
	size_t nstatements;
	int64_t waits_since_mono_ms;
	int patience_ms;
};

/* SQLite's own waiting goes up to steps of 100 ms; a transaction here takes a sync, so look again soon. */
static int wait_for_lock(void *arg, int tries)
{
	struct db *db = arg;

	if (tries == 0) db->waits_since_mono_ms = clock_mono_ms();
	if (clock_mono_ms() - db->waits_since_mono_ms > db->patience_ms) return 0;
	usleep(tries < 20 ? 200 : 2000);
	return 1;
}

/* SQLite keeps the errno of the last failed open or I/O call, long after it: it tells of this failure only where the
 * failure is of that kind. */
static int errno_of(struct db *db, int primary)
{
	if (primary == SQLITE_FULL) return ENOSPC;
	return primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN ? sqlite3_system_errno(db->handle) : 0;
}

static int fail(struct db *db, int rc, const char *sql, struct err *e)
{
	int primary = rc & 0xff, system = errno_of(db, primary);
	const char *why = sqlite3_errmsg(db->handle);

	if (primary == SQLITE_NOMEM) die("out of memory in SQLite");
	if (primary == SQLITE_MISUSE || primary == SQLITE_RANGE) die("SQLite misused: '%s'", sql);
	if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED || primary == SQLITE_PROTOCOL)
		return err_set(e, ERR_BUSY, "'%s' is locked by another process: %s [%s]", db->path, why, sql);
	err_set(e, ERR_SYS, "store '%s': %s%s%s [%s]", db->path, why, system ? ": " : "",
		system ? strerror(system) : "", sql);
	e->sys_errno = system;
	return -1;
}

/* The -wal and -shm files take their mode from the file itself. It is made by hand because SQLite would go by the
 * umask, and its name is synced because SQLite only does that for the names it makes. A file that is there is never
 * opened here: closing it would drop the POSIX locks of another handle of this process. */
static int make_file(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	_cleanup_free_ char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	struct stat st;

	if (fd < 0 && errno != EEXIST) return err_sys(e, "cannot create '%s'", path);
	if (fd < 0) {
		if (stat(path, &st)) return err_sys(e, "cannot look at '%s'", path);
		if (!S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "'%s' is not a file", path);
		if ((st.st_mode & 077) && chmod(path, 0600)) return err_sys(e, "cannot set mode of '%s'", path);
		return 0;
	}
	if (slash) slash[slash == dir] = '\0';
	close_p(&fd);
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd)) return err_sys(e, "cannot sync folder of '%s'", path);
	return 0;
}

static int open_handle(struct db *db, struct err *e)
{
	static const char *const set_up[] = {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
					     "PRAGMA foreign_keys = ON"};
	_cleanup_free_ char *lock_path = xasprintf("%s.open", db->path);
	_cleanup_close_ int lock = -1;
	int rc;

	/* The change to WAL does not wait for others as every other statement does. */
	if (fs_lock(lock_path, 1, &lock, e)) return -1;
	if (make_file(db->path, e)) return -1;
	rc = sqlite3_open_v2(db->path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX,
			     NULL);
	if (!db->handle) die("out of memory in SQLite");
	if (rc) return fail(db, rc, "open", e);
	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_busy_handler(db->handle, wait_for_lock, db);
	for (size_t i = 0; i < ARRAY_LEN(set_up); i++)
		if (db_script(db, set_up[i], e)) return -1;
	return 0;
}

int db_open(const char *path, struct db **db_r, struct err *e)
{
	struct db *db = xcalloc(1, sizeof(*db));
	char real[PATH_MAX];

	db->patience_ms = BUSY_MS;
	/* SQLite refuses links anywhere in the path; only the file itself must not be one. */
	if (strrchr(path, '/')) {
		_cleanup_free_ char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path) + 1);

		if (!realpath(dir, real)) {
			free(db);
			return err_sys(e, "cannot open store '%s'", path);
		}
		db->path = xasprintf("%s/%s", strcmp(real, "/") ? real : "", strrchr(path, '/') + 1);
	} else {
		db->path = xstrdup(path);
	}
	if (open_handle(db, e)) {
		db_close(&db);
		return -1;
	}
	*db_r = db;
	return 0;
}

void db_patience(struct db *db, int ms)
{
	db->patience_ms = ms;
}

void db_close(struct db **dbp)
{
	struct db *db = *dbp;

	if (!db) return;
	for (size_t i = 0; i < db->nstatements; i++) sqlite3_finalize(db->statements[i]);
	if (db->handle && sqlite3_close(db->handle) == SQLITE_BUSY) die("store '%s' closed with rows open", db->path);
	free(db->path);
	free(db);
	*dbp = NULL;
}

int db_lazy(struct db *db, int lazy, struct err *e)
{
	return db_script(db, lazy ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL", e);
}

int db_version(struct db *db, int64_t *version_r, struct err *e)
{
	int64_t others;

	if (db_number(db, "PRAGMA data_version", DB_NONE, &others, e)) return -1;
	*version_r = (others << 32) + (sqlite3_total_changes64(db->handle) & 0xffffffff);
	return 0;
}

int db_script(struct db *db, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return rc ? fail(db, rc, sql, e) : 0;
}

static int prepare(struct db *db, const char *sql, struct db_rows *rows, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int rc, busy = 0;

	for (size_t i = 0; i < db->nstatements; i++) {
		if (strcmp(sqlite3_sql(db->statements[i]), sql)) continue;
		busy = sqlite3_stmt_busy(db->statements[i]);
		if (busy) break;
		*rows = (struct db_rows){db->statements[i], 1};
		return 0;
	}
	rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL);
	if (rc) return fail(db, rc, sql, e);
	*rows = (struct db_rows){st, !busy && db->nstatements < MAX_STATEMENTS};
	if (rows->cached) db->statements[db->nstatements++] = st;
	return 0;
}

int db_query(struct db *db, const char *sql, struct db_args args, struct db_rows *rows_r, struct err *e)
{
	sqlite3_stmt *st;

	if (prepare(db, sql, rows_r, e)) return -1;
	st = rows_r->stmt;
	if (sqlite3_bind_parameter_count(st) != (int)args.n) die("%zu arguments for '%s'", args.n, sql);
	for (size_t i = 0; i < args.n; i++) {
		const struct db_arg *a = &args.args[i];
		int rc = a->is_number ? sqlite3_bind_int64(st, (int)i + 1, a->number)
				      : sqlite3_bind_text(st, (int)i + 1, a->text, -1, SQLITE_TRANSIENT);

		if (rc) {
			fail(db, rc, sql, e);
			db_rows_done(rows_r);
			return -1;
		}
	}
	return 0;
}

int db_next(struct db_rows *rows, struct err *e)
{
	sqlite3_stmt *st = rows->stmt;
	int rc = sqlite3_step(st);
	struct db db = {.handle = sqlite3_db_handle(st)};

	if (rc == SQLITE_ROW) return 0;
	if (rc == SQLITE_DONE) return 1;
	db.path = (char *)(uintptr_t)sqlite3_db_filename(db.handle, "main");
	return fail(&db, rc, sqlite3_sql(st), e);
}

void db_rows_done(struct db_rows *rows)
{
	sqlite3_stmt *st = rows->stmt;

	if (!st) return;
	if (rows->cached) {
		sqlite3_reset(st); /* says again what db_next() said */
		sqlite3_clear_bindings(st);
	} else {
		sqlite3_finalize(st);
	}
	rows->stmt = NULL;
}

int64_t db_col_int(struct db_rows *rows, int column)
{
	return sqlite3_column_int64(rows->stmt, column);
}

const char *db_col_text(struct db_rows *rows, int column)
{
	return (const char *)sqlite3_column_text(rows->stmt, column);
}

char *db_col_dup(struct db_rows *rows, int column)
{
	const char *s = db_col_text(rows, column);

	return s ? xstrdup(s) : NULL;
}

int db_run(struct db *db, const char *sql, struct db_args args, int *changed_r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(db, sql, args, &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got < 0) return -1;
	if (got == 0) die("rows from '%s'", sql);
	if (changed_r) *changed_r = sqlite3_changes(db->handle);
	return 0;
}

int db_number(struct db *db, const char *sql, struct db_args args, int64_t *n_r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got, more;
	int64_t n;

	if (db_query(db, sql, args, &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got) return got;
	n = db_col_int(&rows, 0);
	while (!(more = db_next(&rows, e))) {}
	if (more < 0) return -1;
	*n_r = n;
	return 0;
}

int db_begin(struct db *db, struct db_tx *tx, struct err *e)
{
	if (db_run(db, "BEGIN IMMEDIATE", DB_NONE, NULL, e)) return -1;
	tx->db = db;
	return 0;
}

int db_commit(struct db_tx *tx, struct err *e)
{
	if (db_run(tx->db, "COMMIT", DB_NONE, NULL, e)) return -1; /* the scope's end rolls back */
	tx->db = NULL;
	return 0;
}

void db_rollback(struct db_tx *tx)
{
	struct err ignored;

	/* A full disk or a failed read may have ended the transaction already. */
	if (tx->db && !sqlite3_get_autocommit(tx->db->handle) && db_run(tx->db, "ROLLBACK", DB_NONE, NULL, &ignored))
		die("cannot roll back: %s", ignored.text);
	tx->db = NULL;
}
