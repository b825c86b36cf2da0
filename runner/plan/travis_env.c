/* `env` as `.travis.yml` has it: forms that stand for one another, text that is nearly shell. A row is kept twice: as
 * variables that a shell can be given, and as the list of mappings that Travis made of it, which is what rules are
 * compared with.
 *  src  travis-ci/travis-yml: env, env_vars; svenfuchs/sh_vars: how a text is split */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/travis.h"

enum { MAX_NESTING = 32 };

/* --- text → names and values --- */

static const char *quoted(const char *p, int depth);

/* Behind what belongs together at p: quotes, $( ), ${ }, an escaped character, any other. NULL: never closed. */
static const char *piece(const char *p, int depth)
{
	char close = '\0';

	if (*p == '"' || *p == '\'' || *p == '`') return quoted(p, depth);
	if (*p == '\\' && p[1]) return p + 2;
	if (*p == '$' && p[1] == '(') close = ')';
	if (*p == '$' && p[1] == '{') close = '}';
	if (!close || depth > MAX_NESTING) return close ? NULL : p + 1;
	for (p += 2; *p && *p != close;) {
		p = piece(p, depth + 1);
		if (!p) return NULL;
	}
	return *p ? p + 1 : p;
}

/* In double quotes all is text up to the first backslash that does not stand before a quote; from there on quotes
 * within count too. */
static const char *quoted(const char *p, int depth)
{
	char quote = *p++;
	int raw = 1;

	if (quote != '"') {
		p = strchr(p, quote);
		return p ? p + 1 : NULL;
	}
	if (depth > MAX_NESTING) return NULL;
	while (p && *p && *p != '"') {
		if (raw && *p == '\\' && p[1] == '"')
			p += 2;
		else if (raw && *p != '\\')
			p++;
		else
			p = piece(p, depth + 1);
		raw &= p && *p != '\\';
		if (p && *p == '\\' && p[1] == '"') raw = 1;
	}
	return p && *p ? p + 1 : NULL;
}

/* "A=1" with all of it in quotes. */
static char *unquoted(const char *p, const char *end)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	for (; p < end; p++) {
		if (*p == '\\' && p + 1 < end && (p[1] == '"' || p[1] == '\\')) p++;
		buf_addch(&b, *p);
	}
	return buf_steal(&b);
}

/* One name and value at *at. 1: it is there; 0: no more; -1: not to be split */
static int next_pair(const char **at, char **name_r, char **value_r)
{
	const char *p = *at + strspn(*at, " \t\r\n"), *end;
	size_t n = strcspn(p, "= \t\r\n");

	if (!*p) return 0;
	if (*p == '"') {
		_cleanup_free_ char *all = NULL;
		const char *eq;

		end = quoted(p, 0);
		if (!end || (*end && !strchr(" \t\r\n", *end))) return -1;
		all = unquoted(p + 1, end - 1);
		eq = strchr(all, '=');
		*name_r = eq ? xstrndup(all, (size_t)(eq - all)) : xstrdup(all);
		*value_r = xstrdup(eq ? eq + 1 : "");
		*at = end;
		return 1;
	}
	if (!n) return -1;
	end = p + n;
	while (p[n] == '=' && end && *(end == p + n ? ++end : end) && !strchr(" \t\r\n", *end)) end = piece(end, 0);
	if (!end) return -1;
	*name_r = xstrndup(p, n);
	*value_r = p[n] == '=' ? xstrndup(p + n + 1, (size_t)(end - (p + n + 1))) : xstrdup("");
	*at = end;
	return 1;
}

/* --- rows --- */

static void put(json_t *map, const char *name, json_t *value)
{
	if (json_object_set_new(map, name, value)) die("cannot make JSON for '%.40s'", name);
}

static void keep(struct env_row *row, json_t *map, int keep_empty)
{
	if (!json_object_size(map) && !keep_empty) {
		json_decref(map);
		return;
	}
	if (!row->maps) row->maps = json_array();
	if (json_array_append_new(row->maps, map)) die("cannot make a JSON list");
}

/* One variable more in the row; 0: it has too many already. */
static int has_room(struct reader *r, const struct yaml_node *v, struct env_row *row)
{
	if (row->shown++ < ENV_MAX_VARS) return 1;
	problem_add(r->problems, node_place(v), 1, "more than %d variables in one row: left out", (int)ENV_MAX_VARS);
	return 0;
}

/* What a shell is given: the value verbatim where it is one word to a shell. */
static void variable(struct reader *r, const struct yaml_node *v, const char *name, const char *value,
		     struct env_row *row)
{
	char *text = bad_name(name) ? NULL : env_assignment(name, value);

	if (text)
		env_row_add(row)->text = text;
	else
		problem_add(r->problems, node_place(v), 1, "'%.80s' in 'env' is no variable: left out", name);
}

static void text_map(struct reader *r, const struct yaml_node *v, const char *text, struct env_row *row, int keep_empty)
{
	const char *at = text;
	json_t *map = json_object();
	size_t before = row->len;
	char *name, *value;
	int rc;

	while ((rc = next_pair(&at, &name, &value)) > 0) {
		int room = has_room(r, v, row);

		if (room) put(map, name, json_string(value));
		if (room) variable(r, v, name, value, row);
		free(name);
		free(value);
		if (!room) break;
	}
	row->invalid = rc < 0;
	if (rc < 0) {
		problem_add(r->problems, node_place(v), 1, "'%.80s' in 'env' is no variable: left out", text);
		while (row->len > before) plan_env_release(&row->vars[--row->len]);
		json_object_clear(map);
	}
	keep(row, map, keep_empty);
}

/* What a sealed value shows: its text, or a list of them. */
static json_t *sealed_shown(const struct yaml_node *v)
{
	json_t *list;

	if (v->kind == YAML_TEXT) return json_string(v->text);
	list = json_array();
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len; i++)
		if (v->items[i]->kind == YAML_TEXT && json_array_append_new(list, json_string(v->items[i]->text)))
			die("cannot make a JSON list");
	return list;
}

/* Any value as JSON. */
static json_t *shown(const struct yaml_node *v)
{
	json_t *o;

	if (v->kind == YAML_TEXT) {
		_cleanup_free_ char *text = travis_text(v);

		return json_string(text);
	}
	o = v->kind == YAML_LIST ? json_array() : json_object();
	for (size_t i = 0; i < v->len; i++)
		if (v->kind == YAML_LIST ? json_array_append_new(o, shown(v->items[i]))
					 : json_object_set_new(o, v->pairs[i].key->text, shown(v->pairs[i].value)))
			die("cannot make JSON");
	return o;
}

static void map_value(struct reader *r, const struct yaml_pair *pair, json_t *map, struct env_row *row)
{
	const struct yaml_node *v = pair->value, *secure = yaml_get(v, "secure");
	_cleanup_free_ char *text = NULL;

	if (!has_room(r, v, row)) return;
	if (secure) {
		json_t *o = json_object();

		put(o, "secure", sealed_shown(secure));
		put(map, pair->key->text, o);
		env_sealed(r, pair->key->text, secure, row);
		return;
	}
	if (v->kind != YAML_TEXT) {
		problem_add(r->problems, node_place(v), 1, "the value of '%.80s' must be text, not %s: left out",
			    pair->key->text, yaml_kind_name(v->kind));
		put(map, pair->key->text, shown(v));
		return;
	}
	text = travis_text(v);
	put(map, pair->key->text, yaml_is_null(v) ? json_null() : json_string(text));
	variable(r, pair->key, pair->key->text, text, row);
}

/* `env` within a row has no groups. */
static int misplaced(struct reader *r, const struct yaml_node *key)
{
	static const char *const words[] = {"global", "jobs", "matrix"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strncmp(key->text, words[i], strlen(words[i]))) {
			problem_add(r->problems, node_place(key), 1, "'%.40s' has no place here: left out", key->text);
			return 1;
		}
	return 0;
}

static void item(struct reader *r, const struct yaml_node *v, struct env_row *row, int keep_empty)
{
	json_t *map;

	if (v->kind == YAML_TEXT) {
		_cleanup_free_ char *text = travis_text(v);

		if (!yaml_is_null(v)) text_map(r, v, text, row, keep_empty);
		return;
	}
	if (v->kind == YAML_LIST) {
		for (size_t i = 0; i < v->len; i++) item(r, v->items[i], row, keep_empty);
		return;
	}
	map = json_object();
	for (size_t i = 0; i < v->len; i++) {
		if (v->pairs[i].repeated || misplaced(r, v->pairs[i].key)) continue;
		if (!strcmp(v->pairs[i].key->text, "secure")) {
			if (!has_room(r, v, row)) break;
			put(map, "secure", sealed_shown(v->pairs[i].value));
			env_sealed(r, NULL, v->pairs[i].value, row);
		} else {
			map_value(r, &v->pairs[i], map, row);
		}
	}
	keep(row, map, keep_empty);
}

void travis_env_row(struct reader *r, const struct yaml_node *v, struct env_row *row, int keep_empty)
{
	item(r, v, row, keep_empty);
}

static void axis_row(struct reader *r, const struct yaml_node *v, struct config *c)
{
	struct env_row row = {0};

	travis_env_row(r, v, &row, 0);
	env_axis_add(c, row);
}

static void axis(struct reader *r, const struct yaml_node *v, struct config *c)
{
	if (v->kind != YAML_LIST && !yaml_is_null(v)) axis_row(r, v, c);
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len && c->nenv <= EXPAND_MAX_CELLS; i++)
		axis_row(r, v->items[i], c);
}

/* Rows of which none could be read make one job, not many without variables. */
static void one_of_none(struct config *c)
{
	for (size_t i = 0; i < c->nenv; i++)
		if (!c->env[i].invalid || c->env[i].maps) return;
	while (c->nenv > 1) env_row_release(&c->env[--c->nenv]);
}

static int is_global(const char *key)
{
	return !strcmp(key, "global");
}

static int is_axis(const char *key)
{
	return !strcmp(key, "jobs") || !strcmp(key, "matrix");
}

/* What stands beside `global` and is no list of rows is one row of its own. */
static void others(struct reader *r, const struct yaml_node *v, struct config *c)
{
	struct env_row row = {0};
	json_t *map = json_object();

	for (size_t i = 0; i < v->len; i++) {
		const char *key = v->pairs[i].key->text;

		if (!v->pairs[i].repeated && !is_global(key) && !is_axis(key)) map_value(r, &v->pairs[i], map, &row);
	}
	keep(&row, map, 0);
	if (row.maps) env_axis_add(c, row);
}

void travis_env_read(struct reader *r, const struct yaml_node *v, struct config *c)
{
	int had_axis = 0, grouped = 0;

	for (size_t i = 0; v->kind == YAML_MAP && i < v->len; i++)
		grouped |= is_global(v->pairs[i].key->text) || is_axis(v->pairs[i].key->text);
	if (!grouped) {
		axis(r, v, c);
		one_of_none(c);
		return;
	}
	for (size_t i = 0; i < v->len; i++) {
		const struct yaml_pair *pair = &v->pairs[i];

		if (pair->repeated) continue;
		if (is_global(pair->key->text) && !yaml_is_null(pair->value))
			travis_env_row(r, pair->value, &c->global, 1);
		if (is_axis(pair->key->text)) {
			had_axis = 1;
			axis(r, pair->value, c);
		}
	}
	if (!had_axis) others(r, v, c);
	one_of_none(c);
}
