/* Which jobs a config makes: the product of the axes backend, arch and env (the first varies slowest), then the
 * included rows, less the excluded ones; jobs that may fail come last.
 *  src  Travis's order of work: expand, include, exclude, allow_failures, reorder; the base job of a matrix that
 *       has only one falls away where rows are included; an included row takes the first value of each axis that it
 *       does not name. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/config.h"

struct cells {
	struct cell *items;
	size_t len;
};

static void cell_add(struct cells *cs, struct cell c)
{
	cs->items = xrealloc(cs->items, (cs->len + 1) * sizeof(*cs->items));
	cs->items[cs->len++] = c;
}

static size_t at_least_one(size_t n)
{
	return n ? n : 1;
}

static struct cell cell_at(const struct config *c, size_t backend, size_t arch, size_t env)
{
	return (struct cell){
		.backend = c->backends.len ? c->backends.items[backend] : NULL,
		.arch = c->archs.len ? c->archs.items[arch] : NULL,
		.env = c->nenv ? &c->env[env] : NULL,
	};
}

static void product(const struct config *c, struct cells *cs)
{
	size_t nb = at_least_one(c->backends.len), na = at_least_one(c->archs.len), ne = at_least_one(c->nenv);

	if (nb * na * ne == 1 && c->include.len) return;
	for (size_t b = 0; b < nb; b++)
		for (size_t a = 0; a < na; a++)
			for (size_t v = 0; v < ne; v++) cell_add(cs, cell_at(c, b, a, v));
}

static void include(const struct config *c, struct cells *cs)
{
	for (size_t i = 0; i < c->include.len; i++) {
		const struct matrix_row *row = &c->include.items[i];
		struct cell cell = cell_at(c, 0, 0, 0);

		if (row->backend) cell.backend = row->backend;
		if (row->arch) cell.arch = row->arch;
		if (row->has_env) cell.env = &row->env;
		cell.row = row;
		cell_add(cs, cell);
	}
}

/* Rows are compared without what env.global says: the rule may repeat it or not. */
static void make_canons(struct config *c)
{
	struct matrix_rows *all[] = {&c->include, &c->exclude, &c->allow_failures};
	_cleanup_vec_ struct vec global = VEC_INIT;

	env_vars(c->global.vars, c->global.len, &global);
	for (size_t i = 0; i < c->nenv; i++) c->env[i].canon = env_canon(c->env[i].vars, c->env[i].len, &global);
	for (size_t k = 0; k < ARRAY_LEN(all); k++)
		for (size_t i = 0; i < all[k]->len; i++) {
			struct env_row *row = &all[k]->items[i].env;

			row->canon = env_canon(row->vars, row->len, &global);
		}
}

static int same(const char *rule, const char *cell)
{
	return !rule || (cell && !strcmp(rule, cell));
}

static int rule_matches(const struct matrix_row *rule, const struct cell *cell)
{
	if (!rule->backend && !rule->arch && !rule->has_env) return 0;
	return same(rule->backend, cell->backend) && same(rule->arch, cell->arch) &&
	       (!rule->has_env || !strcmp(rule->env.canon, cell->env ? cell->env->canon : ""));
}

static void exclude(const struct config *c, struct cells *cs, struct plan_problems *problems)
{
	char *gone = xcalloc(cs->len, 1);
	size_t kept = 0;

	for (size_t k = 0; k < c->exclude.len; k++) {
		size_t hits = 0;

		for (size_t i = 0; i < cs->len; i++)
			if (rule_matches(&c->exclude.items[k], &cs->items[i])) {
				gone[i] = 1;
				hits++;
			}
		if (!hits) problem_add(problems, c->exclude.items[k].at, 1, "this rule excludes nothing");
	}
	for (size_t i = 0; i < cs->len; i++)
		if (!gone[i]) cs->items[kept++] = cs->items[i];
	if (cs->len && !kept && c->exclude.len)
		problem_add(problems, c->exclude.items[0].at, 0, "all jobs are excluded");
	cs->len = kept;
	free(gone);
}

static void allow_failures(const struct config *c, struct cells *cs, struct plan_problems *problems)
{
	struct cells ordered = {0};

	for (size_t k = 0; k < c->allow_failures.len; k++) {
		size_t hits = 0;

		for (size_t i = 0; i < cs->len; i++)
			if (rule_matches(&c->allow_failures.items[k], &cs->items[i])) {
				cs->items[i].allow_failure = 1;
				hits++;
			}
		if (!hits) problem_add(problems, c->allow_failures.items[k].at, 1, "this rule matches no job");
	}
	for (int allowed = 0; allowed <= 1; allowed++)
		for (size_t i = 0; i < cs->len; i++)
			if (cs->items[i].allow_failure == allowed) cell_add(&ordered, cs->items[i]);
	free(cs->items);
	*cs = ordered;
}

void expand(struct config *c, struct cell **cells_r, size_t *n_r, struct plan_problems *problems)
{
	static const struct yaml_place top = {1, 1};
	struct cells cs = {0};
	size_t n = at_least_one(c->backends.len) * at_least_one(c->archs.len) * at_least_one(c->nenv);

	*cells_r = NULL;
	*n_r = 0;
	if (n > EXPAND_MAX_CELLS) {
		problem_add(problems, top, 0, "the matrix has %zu combinations; at most %d are looked at, and %d built",
			    n, (int)EXPAND_MAX_CELLS, (int)PLAN_MAX_JOBS);
		return;
	}
	make_canons(c);
	product(c, &cs);
	include(c, &cs);
	exclude(c, &cs, problems);
	allow_failures(c, &cs, problems);
	if (cs.len > PLAN_MAX_JOBS) {
		problem_add(problems, top, 0, "the matrix has %zu jobs; at most %d are built", cs.len,
			    (int)PLAN_MAX_JOBS);
		free(cs.items);
		return;
	}
	*cells_r = cs.items;
	*n_r = cs.len;
}
