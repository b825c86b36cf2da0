/* Which jobs a config makes: the product of the axes, the first of which varies slowest and env last, then the included
 * rows, less the excluded ones; by stage, and in a stage those that may fail come last.
 *  src  Travis's order of work: expand, include, exclude, drop what a language does not have, drop doubles, if, stages,
 *       allow_failures, reorder; the base job of a matrix that has only one falls away where rows are included; an
 *       included row takes the first value of each axis that it does not name. */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

static size_t at_least_one(size_t n)
{
	return n ? n : 1;
}

/* How many combinations there are; more than EXPAND_MAX_CELLS may be counted short of all. */
static size_t combinations(const struct config *c)
{
	size_t n = at_least_one(c->nenv);

	for (size_t i = 0; i < c->axes.len && n <= EXPAND_MAX_CELLS; i++)
		n *= at_least_one(c->axes.items[i].values.len);
	return n;
}

static struct cell *cell_add(const struct config *c, struct cells *cs)
{
	struct cell *cell = &cs->items[cs->len];

	*cell = (struct cell){.values = &cs->values[cs->len * c->axes.len]};
	cs->len++;
	return cell;
}

static void product(const struct config *c, size_t n, struct cells *cs)
{
	for (size_t i = 0; i < n; i++) {
		struct cell *cell = cell_add(c, cs);
		size_t rest = i;

		cell->env = c->nenv ? &c->env[rest % c->nenv] : NULL;
		/* Travis: who says nothing has the first row, as included rows have. */
		if (c->dialect == PLAN_TRAVIS && cell->env && !cell->env->maps && !cell->env->invalid)
			cell->env = c->env;
		rest /= at_least_one(c->nenv);
		for (size_t a = c->axes.len; a-- > 0;) {
			const struct vec *values = &c->axes.items[a].values;

			if (values->len) cell->values[a] = values->items[rest % values->len];
			rest /= at_least_one(values->len);
		}
	}
}

/* The axis's own copy of a value, so that equal values are the same pointer. */
static const char *own_copy(const struct axis *axis, const char *value)
{
	for (size_t i = 0; i < axis->values.len; i++)
		if (!strcmp(axis->values.items[i], value)) return axis->values.items[i];
	return value;
}

static void include(const struct config *c, struct cells *cs)
{
	for (size_t i = 0; i < c->include.len; i++) {
		const struct matrix_row *row = &c->include.items[i];
		struct cell *cell = cell_add(c, cs);

		for (size_t a = 0; a < c->axes.len; a++) {
			const struct axis *axis = &c->axes.items[a];
			const char *value = attrs_get(&row->attrs, axis->name);

			cell->values[a] = value              ? own_copy(axis, value)
					  : axis->values.len ? axis->values.items[0]
							     : NULL;
		}
		cell->env = row->has_env ? &row->env : c->nenv ? &c->env[0] : NULL;
		cell->row = row;
	}
}

static void keep(struct cells *cs, const char *gone)
{
	size_t kept = 0;

	for (size_t i = 0; i < cs->len; i++)
		if (!gone[i]) cs->items[kept++] = cs->items[i];
	cs->len = kept;
}

static void exclude(struct expansion *x, struct cells *cs)
{
	_cleanup_free_ char *gone = xcalloc(cs->len + 1, 1);
	size_t before = cs->len;

	rules_apply(x, RULE_EXCLUDE, cs, gone);
	keep(cs, gone);
	if (before && !cs->len)
		problem_add(x->problems, x->c->exclude.items[0].at, x->c->dialect == PLAN_TRAVIS,
			    "all jobs are excluded");
}

/* --- doubles, which Travis drops --- */

struct sortable {
	const struct config *c;
	const struct cell *cell;
	size_t i;
};

static int text_order(const char *a, const char *b)
{
	if (a == b) return 0;
	return !a ? -1 : !b ? 1 : strcmp(a, b);
}

static int env_id(const struct cell *cell)
{
	return cell->env ? cell->env->id : 0;
}

/* By axis values and env. */
static int compare_cells(const struct config *c, const struct cell *a, const struct cell *b)
{
	for (size_t i = 0; i < c->axes.len; i++) {
		int order = text_order(a->values[i], b->values[i]);

		if (order) return order;
	}
	return (env_id(a) > env_id(b)) - (env_id(a) < env_id(b));
}

static int by_cell(const void *a, const void *b)
{
	const struct sortable *x = a, *y = b;
	int order = compare_cells(x->c, x->cell, y->cell);

	return order ? order : (x->i > y->i) - (x->i < y->i);
}

static int same_keys(const struct config *c, const struct attrs *keys, const struct cell *a, const struct cell *b)
{
	for (size_t i = 0; i < keys->len; i++)
		if (text_order(cell_get(c, a, keys->items[i].key), cell_get(c, b, keys->items[i].key)) != 0) return 0;
	return 1;
}

static const char *stage_of(const struct config *c, const struct cell *cell)
{
	return cell->row ? row_stage(c, cell->row) : NULL;
}

static int is_double(const struct config *c, const struct cell *a, const struct cell *b)
{
	if (text_order(stage_of(c, a), stage_of(c, b)) != 0) return 0;
	return (!a->row || same_keys(c, &a->row->attrs, a, b)) && (!b->row || same_keys(c, &b->row->attrs, a, b));
}

static void drop_doubles(const struct config *c, struct cells *cs)
{
	struct sortable *s = xcalloc(cs->len + 1, sizeof(*s));
	_cleanup_free_ char *gone = xcalloc(cs->len + 1, 1);

	for (size_t i = 0; i < cs->len; i++) s[i] = (struct sortable){c, &cs->items[i], i};
	if (cs->len) qsort(s, cs->len, sizeof(*s), by_cell);
	for (size_t i = 1, first = 0; i < cs->len; i++) {
		if (compare_cells(c, s[first].cell, s[i].cell)) first = i;
		for (size_t k = first; k < i && !gone[s[i].i]; k++)
			if (!gone[s[k].i] && is_double(c, s[k].cell, s[i].cell)) gone[s[i].i] = 1;
	}
	keep(cs, gone);
	free(s);
}

/* --- if, order --- */

static void filter(struct expansion *x, struct cells *cs)
{
	const struct settings *all = &x->c->settings;
	_cleanup_free_ char *gone = xcalloc(cs->len + 1, 1);

	for (size_t i = 0; i < cs->len; i++) {
		const struct cell *cell = &cs->items[i];
		int own = cell->row && (cell->row->own.only_if || cell->row->broken);
		const struct settings *s = own ? &cell->row->own : all;

		gone[i] = (own ? cell->row->broken : x->c->broken_if) || !cell_if(x, s->only_if, cell, s->if_at);
	}
	keep(cs, gone);
}

static void allow_failures(struct expansion *x, struct cells *cs)
{
	_cleanup_free_ char *hits = xcalloc(cs->len + 1, 1);

	rules_apply(x, RULE_ALLOW, cs, hits);
	for (size_t i = 0; i < cs->len; i++)
		cs->items[i].allow_failure = hits[i] || (cs->items[i].row && cs->items[i].row->allow_failure);
}

static void reorder(struct cells *cs)
{
	struct cell *ordered = xcalloc(cs->len + 1, sizeof(*ordered));
	size_t n = 0;
	int stages = 0;

	for (size_t i = 0; i < cs->len; i++)
		if (cs->items[i].stage_number > stages) stages = cs->items[i].stage_number;
	for (int at = 0; at <= 2 * stages + 1; at++)
		for (size_t i = 0; i < cs->len; i++)
			if (cs->items[i].stage_number * 2 + cs->items[i].allow_failure == at)
				ordered[n++] = cs->items[i];
	free(cs->items);
	cs->items = ordered;
}

static void told_included(struct expansion *x, const struct cells *cs)
{
	for (size_t i = 0; i < x->c->include.len && x->cx->why; i++) {
		const struct matrix_row *row = &x->c->include.items[i];
		_cleanup_free_ char *label = NULL;
		size_t number = 0;

		for (size_t k = 0; k < cs->len && !number; k++)
			if (cs->items[k].row == row) number = k + 1;
		if (number) label = cell_label(x->c, &cs->items[number - 1]);
		if (number)
			problem_add(x->cx->why, row->at, 1, "include: makes job %zu, '%s'", number, label);
		else
			problem_add(
				x->cx->why, row->at, 1,
				"include: makes no job: it is excluded, its condition does not hold, or there is one "
				"just like it");
	}
}

void cells_release(struct cells *cs)
{
	free(cs->items);
	free(cs->values);
	*cs = (struct cells){0};
}

void expand(struct expansion *x, struct cells *cells_r)
{
	static const struct yaml_place top = {1, 1};
	struct config *c = x->c;
	size_t n = combinations(c);
	struct cells cs = {0};

	*cells_r = cs;
	if (n > EXPAND_MAX_CELLS) {
		problem_add(x->problems, top, 0, "the matrix has more than %d combinations; at most %d jobs are built",
			    (int)EXPAND_MAX_CELLS, (int)PLAN_MAX_JOBS);
		return;
	}
	rules_prepare(c);
	cs.items = xcalloc(n + c->include.len, sizeof(*cs.items));
	cs.values = xcalloc((n + c->include.len) * c->axes.len + 1, sizeof(char *));
	if (n > 1 || !c->include.len) product(c, n, &cs);
	include(c, &cs);
	exclude(x, &cs);
	for (size_t i = 0; i < cs.len && c->dialect == PLAN_TRAVIS; i++) travis_drop_unsupported(c, &cs.items[i]);
	if (c->dialect == PLAN_TRAVIS) drop_doubles(c, &cs);
	filter(x, &cs);
	stages_settle(x, &cs);
	allow_failures(x, &cs);
	reorder(&cs);
	told_included(x, &cs);
	if (cs.len > PLAN_MAX_JOBS) {
		problem_add(x->problems, top, 0, "the matrix has %zu jobs; at most %d are built", cs.len,
			    (int)PLAN_MAX_JOBS);
		cells_release(&cs);
	}
	*cells_r = cs;
}
