/* Publications in the store: what jobs put into deployment repositories, numbered as they came. A number is never used
 * twice, so one that was seen says where to go on. */
#include <stdlib.h>

#include "runner/store/builds.h"
#include "runner/store/states.h"
#include "runner/store/store_db.h"

void publication_release(struct publication *p)
{
	free(p->deployment);
	free(p->branch);
	free(p->path);
	free(p->commit);
	free(p->deployment_commit);
	*p = (struct publication){0};
}

void publications_free(struct publication **rows, size_t n)
{
	for (size_t i = 0; i < n; i++) publication_release(&(*rows)[i]);
	free_p(rows);
}

int store_publication_last(struct store *s, int64_t *id_r, struct err *e)
{
	return db_number(s->db, "SELECT coalesce(max(id), 0) FROM publications", DB_NONE, id_r, e);
}

#define COLUMNS "p.id, p.job_id, p.deployment, p.branch, p.path, p.commit_id, p.deployment_commit, p.sequence, p.at_ms"

static void fill(struct db_rows *row, struct publication *p)
{
	p->id = db_col_int(row, 0);
	p->job_id = db_col_int(row, 1);
	p->deployment = db_col_dup(row, 2);
	p->branch = db_col_dup(row, 3);
	p->path = db_col_dup(row, 4);
	p->commit = db_col_dup(row, 5);
	p->deployment_commit = db_col_dup(row, 6);
	p->sequence = db_col_int(row, 7);
	p->at_ms = db_col_int(row, 8);
}

int store_publications_newest(struct store *s, int64_t repo_id, int64_t after, struct publication **rows_r, size_t *n_r,
			      struct err *e)
{
	_cleanup_rows_ struct db_rows rows = DB_ROWS_INIT;
	struct publication *list = NULL;
	size_t n = 0;
	int rc;

	if (db_query(s->db,
		     "SELECT " COLUMNS " FROM publications p WHERE p.repo_id = $1 AND p.id > $2 AND p.id = (SELECT "
		     "max(q.id) FROM publications q WHERE q.repo_id = p.repo_id AND q.deployment = p.deployment AND "
		     "q.branch = p.branch AND q.path = p.path) ORDER BY p.id",
		     DB_ARGS(db_int(repo_id), db_int(after)), &rows, e))
		return -1;
	while (!(rc = db_next(&rows, e))) {
		list = store_array(list, n, sizeof(*list));
		fill(&rows, &list[n++]);
	}
	if (rc < 0) {
		publications_free(&list, n);
		return -1;
	}
	*rows_r = list;
	*n_r = n;
	return 0;
}
