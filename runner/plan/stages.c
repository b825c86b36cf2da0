/* Stages: which one each job belongs to, which there are and in what order.
 *  src  travis-ci/travis-yml: configs/stages; names are the same in any case */
#include <string.h>
#include <strings.h>

#include "runner/plan/config.h"

static int number_of(const struct vec *stages, const char *name)
{
	for (size_t i = 0; i < stages->len; i++)
		if (!strcasecmp(stages->items[i], name)) return (int)i + 1;
	return 0;
}

/* "test", as the file spells it. */
static const char *default_name(const struct config *c)
{
	for (size_t i = 0; i < c->nstages; i++)
		if (!strcasecmp(c->stages[i].name, "test")) return c->stages[i].name;
	for (size_t i = 0; i < c->include.len; i++)
		if (c->include.items[i].stage && !strcasecmp(c->include.items[i].stage, "test"))
			return c->include.items[i].stage;
	return "test";
}

static int any_stage(const struct config *c, const struct cells *cs)
{
	if (c->nstages || attrs_get(&c->attrs, "stage")) return 1;
	for (size_t i = 0; i < cs->len; i++)
		if (cs->items[i].row && cs->items[i].row->stage) return 1;
	return 0;
}

const char *row_stage(const struct config *c, const struct matrix_row *row)
{
	for (const struct matrix_row *r = row; r >= c->include.items; r--)
		if (r->stage) return r->stage;
	return NULL;
}

static void assign(struct expansion *x, struct cells *cs)
{
	const char *common = attrs_get(&x->c->attrs, "stage"), *last = default_name(x->c);

	for (size_t i = 0; i < cs->len; i++) {
		struct cell *cell = &cs->items[i];
		const char *own = cell->row ? row_stage(x->c, cell->row) : NULL;

		last = own ? own : common ? common : last;
		cell->stage = last;
	}
}

static const struct stage *declared(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->nstages; i++)
		if (!strcasecmp(c->stages[i].name, name)) return &c->stages[i];
	return NULL;
}

/* A stage's condition is asked of its jobs: it is built if it holds for one of them. */
static int stage_is_built(struct expansion *x, const struct stage *stage, const struct cells *cs)
{
	int holds = 0;

	if (stage->broken) return 0;
	for (size_t i = 0; i < cs->len && !holds; i++)
		if (!strcasecmp(cs->items[i].stage, stage->name))
			holds = cell_if(x, stage->only_if, &cs->items[i], stage->at);
	return holds;
}

static void filter(struct expansion *x, struct cells *cs)
{
	char left_out[STAGES_MAX] = {0};
	size_t kept = 0;

	for (size_t i = 0; i < x->c->nstages; i++) {
		const struct stage *stage = &x->c->stages[i];

		if (!stage->only_if && !stage->broken) continue;
		left_out[i] = !stage_is_built(x, stage, cs);
		if (left_out[i] && x->cx->why)
			problem_add(x->cx->why, stage->at, 1, "stage '%s': its condition does not hold", stage->name);
	}
	for (size_t i = 0; i < cs->len; i++) {
		const struct stage *stage = declared(x->c, cs->items[i].stage);

		if (!stage || !left_out[stage - x->c->stages]) cs->items[kept++] = cs->items[i];
	}
	cs->len = kept;
}

void stages_settle(struct expansion *x, struct cells *cs)
{
	if (!any_stage(x->c, cs)) return;
	assign(x, cs);
	filter(x, cs);
	for (size_t i = 0; i < x->c->nstages; i++)
		for (size_t k = 0; k < cs->len; k++)
			if (!strcasecmp(cs->items[k].stage, x->c->stages[i].name)) {
				if (!number_of(&x->stages, cs->items[k].stage))
					vec_add(&x->stages, x->c->stages[i].name);
				break;
			}
	for (size_t k = 0; k < cs->len; k++) {
		if (!number_of(&x->stages, cs->items[k].stage)) vec_add(&x->stages, cs->items[k].stage);
		cs->items[k].stage_number = number_of(&x->stages, cs->items[k].stage);
	}
}
