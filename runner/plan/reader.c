/* The tree of a file → typed config. One table row per key says where it may stand, how it is read and where it goes;
 * whatever is wrong is added to the problems with its place, and reading goes on. */
#include "runner/plan/reader.h"

#include <stdlib.h>
#include <string.h>

const char *const scope_names[] = {"",       "matrix.include", "matrix.exclude", "matrix",        "branches", "limits",
				   "when",   "check",          "check.http",     "check.network", "publish",  "git",
				   "stages", "notify",         "cache",          "cache.key"};

static const struct key *find_key(const char *name, enum scope scope)
{
	for (size_t i = 0; i < ci_keys_len; i++)
		if (ci_keys[i].scopes & scope && !strcmp(ci_keys[i].name, name)) return &ci_keys[i];
	return NULL;
}

/* A key that matrix.axes names: at the top the axis itself, elsewhere one value of it. */
static const struct key *axis_key(const struct reader *r, const char *name, enum scope scope)
{
	static const struct key as[] = {{SCOPE_ROOT, "", "list", read_axis, 0, 0, "", 0, 0},
					{SCOPE_ROW | SCOPE_RULE, "", "text", read_row_axis, 0, 0, "", 0, 0},
					{SCOPE_WHEN, "", "list", read_when_axis, 0, 0, "", 0, 0}};

	for (size_t i = 0; i < ARRAY_LEN(as); i++)
		if (as[i].scopes & scope && axis_find(&r->c->axes, name)) return &as[i];
	return NULL;
}

static void unknown_key(struct reader *r, const struct yaml_node *in, const struct yaml_node *key, enum scope scope)
{
	const char *known[256 + AXES_MAX], *meant;
	size_t n = 0;

	for (size_t i = 0; i < ci_keys_len && n < 256; i++)
		if (ci_keys[i].scopes & scope) known[n++] = ci_keys[i].name;
	for (size_t i = 0; i < r->c->axes.len && scope & (SCOPE_ROOT | SCOPE_ROW | SCOPE_RULE | SCOPE_WHEN); i++)
		known[n++] = r->c->axes.items[i].name;
	meant = nearest(key->text, known, n);
	wrong(r, node_place(key), "unknown key '%s'%s%s%s%s%s%s%s", key->text, in ? " in '" : "", in ? in->text : "",
	      in ? "'" : "", meant ? ", did you mean '" : "", meant ? meant : "", meant ? "'" : "", meant ? "?" : "");
}

/* Honest about what is read and then not done. */
static void say_later(struct reader *r, const struct key *k, const struct yaml_node *at)
{
	if (k->later == PLAN_KEY_READ)
		problem_add(r->problems, node_place(at), 1, "'%s' is read but not carried out by this version yet",
			    k->name);
	else if (k->later)
		wrong(r, node_place(at), "'%s' is not supported yet by this version", k->name);
}

void read_map(struct reader *r, const struct yaml_node *in, const struct yaml_node *map, enum scope scope, void *to,
	      unsigned *set)
{
	if (map->kind != YAML_MAP) {
		wrong(r, node_place(map), "%s%s%s must be a mapping of keys, not %s", in ? "'" : "",
		      in ? in->text : "the file", in ? "'" : "",
		      yaml_is_null(map) ? "empty" : yaml_kind_name(map->kind));
		return;
	}
	for (size_t i = 0; i < map->len; i++) {
		const struct yaml_pair *pair = &map->pairs[i];
		const struct key *k = find_key(pair->key->text, scope);

		if (pair->repeated) continue;
		if (!k) k = axis_key(r, pair->key->text, scope);
		if (!k) {
			unknown_key(r, in, pair->key, scope);
			continue;
		}
		say_later(r, k, pair->key);
		if (!k->read) continue;
		if (set) *set |= k->bit;
		k->read(r, pair->key, pair->value, (char *)to + k->offset);
	}
}

/* --- axes: which there are must be known before anything that may name one is read --- */

static int axis_name_fits(struct reader *r, const struct yaml_node *v)
{
	const char *why = v->kind == YAML_TEXT ? bad_axis_name(v->text) : "must be text";

	if (!why && find_key(v->text, SCOPE_ROOT | SCOPE_ROW | SCOPE_RULE | SCOPE_WHEN))
		why = "is a key of its own: take another name for the axis";
	if (!why && axis_find(&r->c->axes, v->text)) why = "stands twice";
	if (!why && r->c->axes.len >= AXES_MAX) why = "is one axis too many: there may be 40";
	if (why) wrong(r, node_place(v), "'%.80s' in 'axes' %s", v->kind == YAML_TEXT ? v->text : "…", why);
	return !why;
}

static void declare_axes(struct reader *r, const struct yaml_node *root, const struct yaml_node *axes)
{
	if (axes->kind == YAML_MAP) {
		for (size_t i = 0; i < axes->len; i++)
			if (!axes->pairs[i].repeated && axis_name_fits(r, axes->pairs[i].key))
				axis_add(&r->c->axes, axes->pairs[i].key->text, node_place(axes->pairs[i].key));
		return;
	}
	for (size_t i = 0; i < (axes->kind == YAML_LIST ? axes->len : !yaml_is_null(axes)); i++) {
		const struct yaml_node *name = axes->kind == YAML_LIST ? axes->items[i] : axes;

		if (!axis_name_fits(r, name)) continue;
		if (!yaml_get(root, name->text))
			wrong(r, node_place(name), "the axis '%s' has no values: write them under the key '%s'",
			      name->text, name->text);
		axis_add(&r->c->axes, name->text, node_place(name));
	}
}

static void find_axes(struct reader *r, const struct yaml_node *root)
{
	static const char *const names[] = {"matrix", "jobs"};

	axis_add(&r->c->axes, "backend", (struct yaml_place){1, 1});
	axis_add(&r->c->axes, "arch", (struct yaml_place){1, 1});
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const struct yaml_node *matrix = yaml_get(root, names[i]), *axes = yaml_get(matrix, "axes");

		if (axes) declare_axes(r, root, axes);
	}
}

void config_read(const struct yaml_node *root, enum plan_dialect dialect, struct config *c,
		 struct plan_problems *problems)
{
	struct reader r = {.problems = problems, .dialect = dialect, .c = c, .regex_budget = PATTERN_BUDGET};

	c->dialect = dialect;
	if (dialect == PLAN_TRAVIS) {
		travis_read(&r, root, c);
		return;
	}
	if (!root) {
		problem_add(problems, (struct yaml_place){1, 1}, 0, "the file is empty");
		return;
	}
	find_axes(&r, root);
	read_map(&r, NULL, root, SCOPE_ROOT, c, &c->settings.set);
}

size_t plan_keys(struct plan_key *keys_r, size_t most)
{
	size_t n = 0;

	for (size_t i = 0; i < ci_keys_len; i++)
		for (unsigned s = 0; 1u << s <= SCOPE_LAST; s++) {
			const struct key *k = &ci_keys[i];

			if (k->scopes >> s & 1 && n++ < most)
				keys_r[n - 1] = (struct plan_key){scope_names[s], k->name, k->type, k->help, k->later};
		}
	return n;
}
