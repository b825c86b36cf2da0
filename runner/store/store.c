/* Opening the store, and its repositories. */
#include "runner/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runner/store/schema.h"
#include "runner/store/store_db.h"

int store_open(const char *path, struct store **s_r, struct err *e)
{
	struct store *s = xcalloc(1, sizeof(*s));

	if (db_open(path, &s->db, e) || schema_migrate(s->db, path, e)) {
		store_close(&s);
		return -1;
	}
	*s_r = s;
	return 0;
}

void store_close(struct store **sp)
{
	if (!*sp) return;
	db_close(&(*sp)->db);
	free_p(sp);
}

int store_is_passing(const struct err *e)
{
	return e->kind == ERR_BUSY || (e->kind == ERR_SYS && (e->sys_errno == ENOSPC || e->sys_errno == EDQUOT));
}

int store_changes(struct store *s, int64_t *version_r, struct err *e)
{
	return db_version(s->db, version_r, e);
}

int store_bad_word(const char *what, const char *word, struct err *e)
{
	return err_set(e, ERR_SYS, "store: unknown %s '%s'", what, word ? word : "NULL");
}

void *store_array(void *rows, size_t n, size_t row_bytes)
{
	return n & (n - 1) ? rows : xrealloc(rows, (n ? 2 * n : 1) * row_bytes);
}

/* --- repositories --- */

void repo_release(struct repo *r)
{
	free(r->name);
	free(r->url);
	*r = (struct repo){0};
}

/* A path, or a transport that runs no command of the URL's choice (git's "ext::", a leading '-'). */
static int url_ok(const char *url)
{
	static const char *const schemes[] = {"ssh://", "https://", "http://", "git://", "file://"};
	size_t len = strlen(url), host;

	if (!len || len > 2000) return 0;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)url[i] <= ' ' && url[i] != ' ') return 0;
	if (url[0] == '/') return 1;
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		size_t n = strlen(schemes[i]);

		if (!strncmp(url, schemes[i], n)) return len > n && url[n] != '-';
	}
	host = strcspn(url, ":/"); /* user@host:path */
	return url[0] != '-' && url[host] == ':' && url[host + 1] && url[host + 1] != ':' && memchr(url, '@', host) &&
	       !memchr(url, ' ', host) && !strstr(url, "@-");
}

static int check_url(const char *url, struct err *e)
{
	return url_ok(url)
		       ? 0
		       : err_set(e, ERR_INPUT,
				 "bad repository URL '%s': it is /a/path, https://…, ssh://… or user@host:path", url);
}

int store_repo_set_url(struct store *s, const char *name, const char *url, struct err *e)
{
	int changed;

	if (check_url(url, e) || db_run(s->db, "UPDATE repos SET url = $1 WHERE name = $2",
					DB_ARGS(db_text(url), db_text(name)), &changed, e))
		return -1;
	return changed ? 0 : err_set(e, ERR_MISSING, "no repository '%s'", name);
}

int store_repo_add(struct store *s, const char *name, const char *url, int64_t now_ms, int64_t *id_r, struct err *e)
{
	_cleanup_tx_ struct db_tx tx = DB_TX_INIT;
	int got;

	if (!event_repo_ok(name))
		return err_set(e, ERR_INPUT,
			       "bad repository name '%s': it is owner/name in letters, digits, '.', '_', '-'", name);
	if (check_url(url, e)) return -1;
	if (db_begin(s->db, &tx, e)) return -1;
	got = db_number(s->db,
			"INSERT INTO repos (name, url, created_ms) VALUES ($1, $2, $3) "
			"ON CONFLICT (name) DO NOTHING RETURNING id",
			DB_ARGS(db_text(name), db_text(url), db_int(now_ms)), id_r, e);
	if (got < 0) return -1;
	if (got == 1) return err_set(e, ERR_INPUT, "repository '%s' is there already", name);
	return db_commit(&tx, e);
}

#define REPO_COLUMNS "SELECT id, name, url, created_ms FROM repos "

static void read_repo(struct db_rows *rows, struct repo *r)
{
	*r = (struct repo){
		.id = db_col_int(rows, 0),
		.name = db_col_dup(rows, 1),
		.url = db_col_dup(rows, 2),
		.created_ms = db_col_int(rows, 3),
	};
}

int store_repo_find(struct store *s, const char *name, struct repo *r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, REPO_COLUMNS "WHERE name = $1", DB_ARGS(db_text(name)), &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no repository '%s'", name);
	if (got == 0) read_repo(&rows, r);
	return got;
}

int store_repo_get(struct store *s, int64_t id, struct repo *r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	int got;

	if (db_query(s->db, REPO_COLUMNS "WHERE id = $1", DB_ARGS(db_int(id)), &rows, e)) return -1;
	got = db_next(&rows, e);
	if (got == 1) return err_set(e, ERR_MISSING, "no repository %lld", (long long)id);
	if (got == 0) read_repo(&rows, r);
	return got;
}

void repos_free(struct repo **rows, size_t n)
{
	for (size_t i = 0; i < n; i++) repo_release(&(*rows)[i]);
	free_p(rows);
}

int store_repo_list(struct store *s, struct repo **rows_r, size_t *n_r, struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	struct repo *list = NULL;
	size_t n = 0;
	int got;

	if (db_query(s->db, REPO_COLUMNS "ORDER BY name", DB_NONE, &rows, e)) return -1;
	while (!(got = db_next(&rows, e))) {
		list = store_array(list, n, sizeof(*list));
		read_repo(&rows, &list[n++]);
	}
	if (got < 0) {
		repos_free(&list, n);
		return -1;
	}
	*rows_r = list;
	*n_r = n;
	return 0;
}
