/* Rules against jobs: matrix.exclude, .allow_failures, and conditions. Up to 200 rules meet 2000 jobs, so what they are
 * compared by is numbered first.
 *  src  travis-ci/travis-yml: matrix (excluded?), configs/allow_failures */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

/* --- env rows as numbers --- */

static size_t add_rows(struct env_row **list, size_t n, struct matrix_rows *rows)
{
	for (size_t i = 0; i < rows->len; i++)
		if (rows->items[i].has_env) list[n++] = &rows->items[i].env;
	return n;
}

static int by_canon(const void *a, const void *b)
{
	return strcmp((*(struct env_row *const *)a)->canon, (*(struct env_row *const *)b)->canon);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sorted_maps(const json_t *maps, struct vec *v)
{
	for (size_t i = 0; i < json_array_size(maps); i++) vec_take(v, json_text(json_array_get(maps, i)));
}

/* Travis compares lists of mappings: in their order, each in any order, without those of env.global. */
static char *maps_canon(const json_t *maps, const struct vec *global)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	for (size_t i = 0; i < json_array_size(maps); i++) {
		_cleanup_free_ char *text = json_text(json_array_get(maps, i));

		if (global->len && bsearch(&text, global->items, global->len, sizeof(char *), by_text)) continue;
		buf_addf(&b, "%s\n", text);
	}
	return buf_steal(&b);
}

static void make_canons(struct config *c, struct env_row **rows, size_t n)
{
	_cleanup_vec_ struct vec global = VEC_INIT;

	if (c->dialect == PLAN_TRAVIS)
		sorted_maps(c->global.maps, &global);
	else
		env_vars(c->global.vars, c->global.len, &global);
	if (global.len) qsort(global.items, global.len, sizeof(char *), by_text);
	for (size_t i = 0; i < n; i++)
		rows[i]->canon = c->dialect == PLAN_TRAVIS ? maps_canon(rows[i]->maps, &global)
							   : env_canon(rows[i]->vars, rows[i]->len, &global);
}

void rules_prepare(struct config *c)
{
	struct matrix_rows *all[] = {&c->include, &c->exclude, &c->allow_failures};
	size_t n = 0, most = c->nenv + c->include.len + c->exclude.len + c->allow_failures.len;
	struct env_row **rows = xcalloc(most + 1, sizeof(struct env_row *));

	for (size_t i = 0; i < c->nenv; i++) rows[n++] = &c->env[i];
	for (size_t i = 0; i < ARRAY_LEN(all); i++) n = add_rows(rows, n, all[i]);
	make_canons(c, rows, n);
	if (n) qsort(rows, n, sizeof(struct env_row *), by_canon);
	/* An empty row is like none: 0. */
	for (size_t i = 0; i < n; i++)
		rows[i]->id = !*rows[i]->canon                                   ? 0
			      : i && !strcmp(rows[i - 1]->canon, rows[i]->canon) ? rows[i - 1]->id
										 : (int)i + 1;
	free(rows);
}

/* --- conditions --- */

struct asked {
	struct expansion *x;
	const struct cell *cell;
	struct vec kept; /* values handed out */
};

static const char *attribute(void *arg, enum condition_attribute which)
{
	const struct asked *a = arg;
	const struct plan_context *cx = a->x->cx;

	switch (which) {
	case ASKS_TYPE: return cx->kind == EVENT_PULL_REQUEST ? "pull_request" : "push";
	case ASKS_BRANCH: return cx->branch;
	case ASKS_TAG: return cx->tag;
	case ASKS_REPO: return cx->repo;
	case ASKS_SENDER: return cx->sender;
	case ASKS_COMMIT_MESSAGE: return cx->message;
	case ASKS_HEAD_REPO: return cx->head_repo;
	case ASKS_HEAD_BRANCH: return cx->head_branch;
	case ASKS_FORK: return cx->from_fork ? "true" : "false";
	case ASKS_STAGE: return a->cell ? a->cell->stage : NULL;
	case ASKS_OS:
	case ASKS_DIST:
	case ASKS_GROUP:
	case ASKS_SUDO:
	case ASKS_LANGUAGE: return cell_get(a->x->c, a->cell, condition_attributes[which]);
	case ASKS_DRAFT:
	case ASKS_COUNT: break;
	}
	return NULL;
}

static const char *env_value(void *arg, const char *name)
{
	struct asked *a = arg;
	const struct axes *axes = &a->x->c->axes;
	const json_t *own = a->cell && a->cell->env ? a->cell->env->maps : NULL, *global = a->x->c->global.maps;
	char *value = env_lookup(own, name);
	size_t n = strlen(name);

	a->x->budget -= (int64_t)(json_array_size(own) + json_array_size(global));
	if (!value) value = env_lookup(global, name);
	/* An axis is exported under its name in capitals. */
	for (size_t i = 0; !value && a->cell && a->x->c->dialect == PLAN_CI && i < axes->len; i++)
		if (axis_is_exported_as(axes->items[i].name, name) && a->cell->values[i])
			value = xstrdup(a->cell->values[i]);
	for (size_t i = 0; !value && a->x->cx->settings && a->x->cx->settings[i]; i++)
		if (!strncmp(a->x->cx->settings[i], name, n) && a->x->cx->settings[i][n] == '=')
			value = xstrdup(a->x->cx->settings[i] + n + 1);
	if (value) vec_take(&a->kept, value);
	return value;
}

int cell_if(struct expansion *x, const struct condition *cond, const struct cell *cell, struct yaml_place at)
{
	struct asked asked = {.x = x, .cell = cell};
	struct condition_data d = {attribute, env_value, &asked, &x->budget};
	int yes;

	if (!cond) return 1;
	if (x->budget < 0) return 0; /* it was told */
	yes = condition_holds(cond, &d);
	vec_release(&asked.kept);
	if (yes >= 0) return yes;
	problem_add(x->problems, at, x->c->dialect == PLAN_TRAVIS, "the condition %s",
		    x->budget < 0 ? "takes too long: all of the file's together are too large"
				  : "makes a regular expression of values that is none");
	return 0;
}

/* --- matching --- */

struct rule {
	const struct matrix_row *row;
	enum rule_kind kind;
	int common_fits; /* what it says of keys that all jobs have */
	struct {
		size_t axis;
		const char *value; /* the axis's own copy, which most jobs point to; NULL: it has none */
	} wants[AXES_MAX];
	size_t nwants;
};

static int axis_number(const struct axes *axes, const char *name)
{
	for (size_t i = 0; i < axes->len; i++)
		if (!strcmp(axes->items[i].name, name)) return (int)i;
	return -1;
}

static int is_apart(const char *key)
{
	return !strcmp(key, "if") || !strcmp(key, "stage") || !strcmp(key, "branch");
}

static void rule_init(const struct config *c, const struct matrix_row *row, enum rule_kind kind, struct rule *rule)
{
	*rule = (struct rule){.row = row, .kind = kind, .common_fits = 1};
	for (size_t i = 0; i < row->attrs.len; i++) {
		const struct attr *attr = &row->attrs.items[i];
		int axis = axis_number(&c->axes, attr->key);
		const struct vec *values = axis < 0 ? NULL : &c->axes.items[axis].values;

		if (is_apart(attr->key)) continue;
		if (axis < 0) {
			const char *common = cell_get(c, NULL, attr->key);

			rule->common_fits &= common && !strcmp(common, attr->value);
			continue;
		}
		rule->wants[rule->nwants].axis = (size_t)axis;
		for (size_t k = 0; k < values->len && !rule->wants[rule->nwants].value; k++)
			if (!strcmp(values->items[k], attr->value)) rule->wants[rule->nwants].value = values->items[k];
		rule->nwants++;
	}
}

static int is_value(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* Included rows may say anything of any key. */
static int row_fits(const struct config *c, const struct rule *rule, const struct cell *cell)
{
	for (size_t i = 0; i < rule->row->attrs.len; i++) {
		const struct attr *attr = &rule->row->attrs.items[i];

		if (!is_apart(attr->key) && !is_value(cell_get(c, cell, attr->key), attr->value)) return 0;
	}
	return 1;
}

static int axes_fit(const struct rule *rule, const struct cell *cell)
{
	for (size_t i = 0; i < rule->nwants; i++)
		if (!rule->wants[i].value || !is_value(cell->values[rule->wants[i].axis], rule->wants[i].value))
			return 0;
	return 1;
}

static int stage_fits(const struct rule *rule, const struct cell *cell)
{
	const char *has = cell->stage ? cell->stage : cell->row ? cell->row->stage : NULL;

	return !rule->row->stage || !strcasecmp(rule->row->stage, has ? has : "test");
}

static int env_fits(const struct config *c, const struct rule *rule, const struct cell *cell)
{
	if (rule->row->no_env && (c->global.maps || (cell->row ? cell->row->has_env : c->nenv > 0))) return 0;
	return !rule->row->has_env || rule->row->env.id == (cell->env ? cell->env->id : 0);
}

static int branch_fits(const struct expansion *x, const struct rule *rule)
{
	const char *branch = attrs_get(&rule->row->attrs, "branch");

	return !branch || (rule->kind == RULE_ALLOW && is_value(branch, x->cx->branch));
}

static int rule_matches(struct expansion *x, const struct rule *rule, const struct cell *cell)
{
	const struct matrix_row *row = rule->row;

	if (cell->row ? !row_fits(x->c, rule, cell) : !rule->common_fits || !axes_fit(rule, cell)) return 0;
	if (!stage_fits(rule, cell) || !env_fits(x->c, rule, cell)) return 0;
	return cell_if(x, row->own.only_if, cell, row->own.if_at);
}

/* An empty rule marks no job, but in .travis.yml excludes them all. */
static int says_something(const struct config *c, const struct rule *rule)
{
	const struct matrix_row *row = rule->row;

	if (row->broken) return 0;
	if (row->attrs.len || row->has_env || row->no_env || row->stage || row->own.only_if) return 1;
	return c->dialect == PLAN_TRAVIS && rule->kind == RULE_EXCLUDE;
}

/* --- what a rule did --- */

enum { LABELS_SHOWN = 5 };

static char *rule_text(const struct matrix_row *row)
{
	struct buf b = BUF_INIT(4096);
	_cleanup_free_ char *env = row->has_env ? env_label(row->env.vars, row->env.len) : NULL;

	for (size_t i = 0; i < row->attrs.len; i++)
		buf_addf(&b, "%s%s %.80s", b.len ? ", " : "", row->attrs.items[i].key, row->attrs.items[i].value);
	if (env) buf_addf(&b, "%senv %.200s", b.len ? ", " : "", env);
	if (row->own.only_if) buf_addf(&b, "%sif", b.len ? ", " : "");
	return buf_steal(&b);
}

/* The key that keeps a rule from a job; NULL and more than one: many do. */
static int misses(struct expansion *x, const struct rule *rule, const struct cell *cell, const char **key_r,
		  const char **has_r)
{
	int n = 0;

	for (size_t i = 0; i < rule->row->attrs.len; i++) {
		const struct attr *attr = &rule->row->attrs.items[i];
		const char *has = cell_get(x->c, cell, attr->key);

		if (is_apart(attr->key) || is_value(has, attr->value)) continue;
		*key_r = attr->key;
		*has_r = has;
		n++;
	}
	if (!stage_fits(rule, cell) && ++n) *key_r = "stage";
	if (!env_fits(x->c, rule, cell) && ++n) *key_r = "env";
	return n;
}

static void tell_miss(struct expansion *x, const struct rule *rule, const struct cells *cs, const char *what)
{
	_cleanup_free_ char *text = rule_text(rule->row), *label = NULL;
	const char *key = NULL, *has = NULL, *best_key = NULL, *best_has = NULL;
	const struct cell *best = NULL;
	int least = 1000;

	for (size_t i = 0; i < cs->len; i++) {
		int n = misses(x, rule, &cs->items[i], &key, &has);

		if (n >= least) continue;
		least = n;
		best = &cs->items[i];
		best_key = key;
		best_has = strcmp(key ? key : "", "env") != 0 ? has : NULL;
	}
	if (best) label = cell_label(x->c, best);
	if (!best || least > 1)
		problem_add(x->cx->why, rule->row->at, 1, "%s: matched no job: none has %s", what, text);
	else if (!least)
		problem_add(x->cx->why, rule->row->at, 1, "%s: matched no job: its condition does not hold", what);
	else
		problem_add(x->cx->why, rule->row->at, 1,
			    "%s: matched no job: none has %s; '%s' is nearest and has %s%s%s%s", what, text, label,
			    best_has ? "" : "another ", best_key, best_has ? " " : "", best_has ? best_has : "");
}

static void tell(struct expansion *x, const struct rule *rule, const struct cells *cs, const char *matched, size_t n)
{
	const char *what = rule->kind == RULE_EXCLUDE ? "exclude" : "allow_failures";
	struct buf b = BUF_INIT(4096);
	size_t shown = 0;

	if (!n) {
		tell_miss(x, rule, cs, what);
		return;
	}
	for (size_t i = 0; i < cs->len && shown < LABELS_SHOWN; i++)
		if (matched[i]) {
			_cleanup_free_ char *label = cell_label(x->c, &cs->items[i]);

			buf_addf(&b, "%s'%s'", shown++ ? ", " : "", label);
		}
	problem_add(x->cx->why, rule->row->at, 1, "%s: matched %zu job%s: %s%s", what, n, n == 1 ? "" : "s",
		    buf_str(&b), n > shown ? ", …" : "");
	buf_release(&b);
}

void rules_apply(struct expansion *x, enum rule_kind kind, const struct cells *cs, char *hits)
{
	const struct matrix_rows *rows = kind == RULE_EXCLUDE ? &x->c->exclude : &x->c->allow_failures;
	_cleanup_free_ char *matched = xcalloc(cs->len + 1, 1);

	for (size_t k = 0; k < rows->len; k++) {
		struct rule rule;
		size_t n = 0;

		rule_init(x->c, &rows->items[k], kind, &rule);
		if (!says_something(x->c, &rule)) continue;
		for (size_t i = 0; i < cs->len; i++) {
			matched[i] = branch_fits(x, &rule) && rule_matches(x, &rule, &cs->items[i]);
			hits[i] |= matched[i];
			n += (size_t)matched[i];
		}
		if (x->cx->why) tell(x, &rule, cs, matched, n);
		if (!n && !rule.row->own.only_if)
			problem_add(x->problems, rule.row->at, 1,
				    kind == RULE_EXCLUDE ? "this rule excludes nothing" : "this rule matches no job");
	}
}
