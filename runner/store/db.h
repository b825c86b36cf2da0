#ifndef RUNNER_STORE_DB_H
#define RUNNER_STORE_DB_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* The one way to the database: every result is checked, every error names its SQL. Statements are prepared once
 * and kept. Parameters are written $1, $2, … in the order of their first use (SQLite numbers them so, PostgreSQL
 * goes by the number).
 *  err  ERR_BUSY another process held the lock for too long; ERR_SYS the disk (sys_errno set where known, ENOSPC when
 *       it is full), a damaged file */

struct db;

struct db_arg {
	int64_t number;
	const char *text;
	int is_number;
};
static inline struct db_arg db_int(int64_t n)
{
	return (struct db_arg){n, NULL, 1};
}
static inline struct db_arg db_text(const char *s) /* NULL: SQL's NULL; borrowed until the call returns */
{
	return (struct db_arg){0, s, 0};
}

struct db_args {
	const struct db_arg *args;
	size_t n;
};
#define DB_NONE ((struct db_args){NULL, 0})
#define DB_ARGS(...)                                                                                                   \
	((struct db_args){(const struct db_arg[]){__VA_ARGS__}, ARRAY_LEN(((const struct db_arg[]){__VA_ARGS__}))})

/* db_open - open or create (mode 0600, whatever the umask); WAL, synchronous=FULL, foreign keys on. */
int db_open(const char *path, struct db **db_r, struct err *e) MUST_USE;
void db_close(struct db **db);

/* How long a statement waits for another process's lock before it is ERR_BUSY; 15 s unless told. */
void db_patience(struct db *db, int ms);

/* db_lazy - whether what is committed from here on may be gone again after a power cut (never after a crash of ours,
 * and never half of it): it is for others to see, and the next commit that is not lazy has it on the disk too. */
int db_lazy(struct db *db, int lazy, struct err *e) MUST_USE;

/* A number that changes with every commit, ours or another process's. */
int db_version(struct db *db, int64_t *version_r, struct err *e) MUST_USE;

/* Several statements without parameters or rows: the schema. */
int db_script(struct db *db, const char *sql, struct err *e) MUST_USE;

/* --- rows --- */
struct db_rows {
	void *stmt;
	int cached;
};
#define DB_ROWS_INIT                                                                                                   \
	{                                                                                                              \
		NULL, 0                                                                                                \
	}
#define _cleanup_rows_ __attribute__((cleanup(db_rows_done)))
int db_query(struct db *db, const char *sql, struct db_args args, struct db_rows *rows_r, struct err *e) MUST_USE;
/* 0: a row, its columns are valid until the next call; 1: no more */
int db_next(struct db_rows *rows, struct err *e) MUST_USE;
void db_rows_done(struct db_rows *rows);
int64_t db_col_int(struct db_rows *rows, int column);
const char *db_col_text(struct db_rows *rows, int column); /* borrowed; NULL for SQL's NULL */
char *db_col_dup(struct db_rows *rows, int column);        /* the caller's; NULL for SQL's NULL */

/* db_run - a statement that hands out no rows. changed_r may be NULL. */
int db_run(struct db *db, const char *sql, struct db_args args, int *changed_r, struct err *e) MUST_USE;
/* db_number - the first column of the first row; 1: there is no row. Runs to its end, so fit for RETURNING. */
int db_number(struct db *db, const char *sql, struct db_args args, int64_t *n_r, struct err *e) MUST_USE;

/* --- transactions: the write lock is taken at once; what is not committed is rolled back at the scope's end --- */
struct db_tx {
	struct db *db; /* NULL: none is open */
};
#define DB_TX_INIT                                                                                                     \
	{                                                                                                              \
		NULL                                                                                                   \
	}
#define _cleanup_tx_ __attribute__((cleanup(db_rollback)))
int db_begin(struct db *db, struct db_tx *tx, struct err *e) MUST_USE;
int db_commit(struct db_tx *tx, struct err *e) MUST_USE;
void db_rollback(struct db_tx *tx);

#endif
