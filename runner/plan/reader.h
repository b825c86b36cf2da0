#ifndef RUNNER_PLAN_READER_H
#define RUNNER_PLAN_READER_H

#include "runner/plan/config.h"

/* Inside the reader: the key table's shape, and what reader.c and reader_env.c call of each other. */

enum scope { /* where a key may stand; bits, in the order of reader.c's scope_names */
	     SCOPE_ROOT = 1 << 0,
	     SCOPE_ROW = 1 << 1,  /* a row of matrix.include */
	     SCOPE_RULE = 1 << 2, /* a row of matrix.exclude or .allow_failures */
	     SCOPE_MATRIX = 1 << 3,
	     SCOPE_BRANCHES = 1 << 4,
	     SCOPE_LIMITS = 1 << 5,
	     SCOPE_WHEN = 1 << 6,
	     SCOPE_CHECK = 1 << 7,
	     SCOPE_HTTP = 1 << 8,
	     SCOPE_PUBLISH = 1 << 9,
};

struct reader {
	struct plan_problems *problems;
	int regex_budget;
	int has_matrix;
};

typedef void read_fn(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to);

struct key {
	unsigned scopes;
	const char *name, *type;
	read_fn *read; /* NULL: a later version's */
	size_t offset;
	unsigned bit; /* of settings.set */
	const char *help;
};

struct yaml_place node_place(const struct yaml_node *n);

/* read_map - each pair to its key's reader. in: the key the map stands under, NULL at the top; set: may be NULL */
void read_map(struct reader *r, const struct yaml_node *in, const struct yaml_node *map, enum scope scope, void *to,
	      unsigned *set);

/* env_read - the file's `env` in all its forms; env_read_row - one row, of whatever form. */
void env_read(struct reader *r, const struct yaml_node *v, struct config *c);
void env_read_row(struct reader *r, const struct yaml_node *v, struct env_row *row);

/* path_fill - put the values for {backend}, {arch} and {branch}; NULL and *why_r: an unknown or unclosed one, or
 * one that is used and NULL. Caller frees. */
char *path_fill(const char *path, const char *backend, const char *arch, const char *branch, const char **why_r);

#endif
