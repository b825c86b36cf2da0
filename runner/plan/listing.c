/* A job the way Travis's tools list theirs, and the lookups that this and rules go by. */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/travis.h"

const char *cell_get(const struct config *c, const struct cell *cell, const char *key)
{
	const char *own = cell && cell->row ? attrs_get(&cell->row->attrs, key) : NULL;

	for (size_t i = 0; cell && i < c->axes.len; i++)
		if (!strcmp(c->axes.items[i].name, key)) return cell->values[i];
	return own ? own : attrs_get(&c->attrs, key);
}

char *cell_label(const struct config *c, const struct cell *cell)
{
	_cleanup_free_ char *env = cell->env ? env_label(cell->env->vars, cell->env->len) : NULL;
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	if (cell->row && cell->row->name) return xstrdup(cell->row->name);
	for (size_t i = 0; i < c->axes.len; i++)
		if (cell->values[i]) buf_addf(&b, "%s%s", b.len ? " " : "", cell->values[i]);
	if (env && *env) buf_addf(&b, "%s%s", b.len ? " " : "", env);
	if (!b.len) buf_adds(&b, "default");
	return buf_steal(&b);
}

static const struct travis_key *axis_key(const char *name)
{
	for (size_t i = 0; i < travis_keys_len && travis_keys[i].kind == TRAVIS_AXIS; i++)
		if (!strcmp(travis_keys[i].name, name)) return &travis_keys[i];
	return NULL;
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

void travis_drop_unsupported(const struct config *c, struct cell *cell)
{
	const char *language = or_empty(cell_get(c, cell, "language")), *os = or_empty(cell_get(c, cell, "os"));

	for (size_t i = 0; i < c->axes.len; i++)
		if (!travis_supports(axis_key(c->axes.items[i].name), language, os)) cell->values[i] = NULL;
}

static void put(json_t *o, const char *key, json_t *value)
{
	if (json_object_set_new(o, key, value)) die("cannot make JSON for '%s'", key);
}

static void put_text(json_t *o, const char *key, const char *s)
{
	if (s && *s) put(o, key, json_string(s));
}

static int has_map(const json_t *list, const json_t *map)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_equal(json_array_get(list, i), map)) return 1;
	return 0;
}

/* Each mapping once; the objects are shared, not copied. */
static void add_maps(json_t *list, const json_t *maps, int once)
{
	for (size_t i = 0; i < json_array_size(maps); i++) {
		json_t *map = json_array_get(maps, i);

		if ((!once || !has_map(list, map)) && json_array_append(list, map)) die("cannot make a JSON list");
	}
}

static json_t *env_listing(const struct config *c, const struct cell *cell)
{
	json_t *env = json_array();
	int once = c->dialect == PLAN_TRAVIS;

	add_maps(env, c->global.maps, 0);
	if (cell->env && cell->env->invalid && !cell->env->maps && (cell->row ? !cell->row->has_env : c->nenv == 1) &&
	    json_array_append_new(env, json_object()))
		die("cannot make a JSON list");
	if (cell->env) add_maps(env, cell->env->maps, once && json_array_size(env) <= ENV_MAX_VARS);
	return env;
}

static void travis_values(const struct config *c, const struct cell *cell, json_t *o)
{
	const char *language = or_empty(cell_get(c, cell, "language")), *os = or_empty(cell_get(c, cell, "os"));
	const char *dist = cell_get(c, cell, "dist"), *sudo = cell_get(c, cell, "sudo");

	for (size_t i = 0; i < travis_keys_len && travis_keys[i].kind == TRAVIS_AXIS; i++)
		if (travis_supports(&travis_keys[i], language, os))
			put_text(o, travis_keys[i].name, cell_get(c, cell, travis_keys[i].name));
	put_text(o, "language", language);
	put_text(o, "dist", dist ? dist : strncmp(os, "linux", 5) != 0 ? NULL : "focal");
	if (sudo) put(o, "sudo", json_boolean(!strcmp(sudo, "true")));
}

json_t *job_listing(const struct config *c, const struct cell *cell, const struct job_spec *j)
{
	json_t *o = json_object(), *withheld = json_array();

	if (c->dialect == PLAN_TRAVIS) {
		travis_values(c, cell, o);
		put_text(o, "name", cell_get(c, cell, "name"));
	} else {
		put_text(o, "name", j->name);
		for (size_t i = 0; i < c->axes.len; i++) put_text(o, c->axes.items[i].name, cell->values[i]);
	}
	put_text(o, "stage", cell->stage);
	put(o, "env", env_listing(c, cell));
	put(o, "allow_failure", json_boolean(cell->allow_failure));
	for (size_t i = 0; i < j->withheld.len; i++)
		if (json_array_append_new(withheld, json_string(j->withheld.items[i]))) die("cannot make a JSON list");
	if (json_array_size(withheld)) put(o, "withheld", json_incref(withheld));
	json_decref(withheld);
	return o;
}
