/* `env` in all the forms that people write it in: text, list, mapping, {global, matrix}, and sealed values in each. */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/reader.h"

struct plan_env *env_row_add(struct env_row *row)
{
	row->vars = xrealloc(row->vars, (row->len + 1) * sizeof(*row->vars));
	row->vars[row->len] = (struct plan_env){0};
	return &row->vars[row->len++];
}

static int row_full(struct reader *r, const struct yaml_node *at, const struct env_row *row)
{
	if (row->len < ENV_MAX_VARS) return 0;
	if (row->len == ENV_MAX_VARS) wrong(r, node_place(at), "more than %d variables in one row", (int)ENV_MAX_VARS);
	return 1;
}

/* Base64 without its white space; NULL and a problem where it is none. */
static char *chunk_of(struct reader *r, const struct yaml_node *v)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_";
	struct buf b = BUF_INIT(YAML_MAX_BYTES);
	const char *s = v->kind == YAML_TEXT ? v->text : "";

	for (; *s; s++)
		if (!strchr(" \t\r\n", *s)) buf_addch(&b, *s);
	s = buf_str(&b);
	if (*s && !s[strspn(s, set)]) return buf_steal(&b);
	buf_release(&b);
	wrong(r, node_place(v), "'secure' must be sealed text in base64, as senv writes it");
	return NULL;
}

void env_sealed(struct reader *r, const char *name, const struct yaml_node *v, struct env_row *row)
{
	size_t n = v->kind == YAML_LIST ? v->len : 1;
	struct plan_env *env = env_row_add(row);

	if (name) env->secret_name = xstrdup(name);
	if (!n) wrong(r, node_place(v), "'secure' is an empty list");
	for (size_t i = 0; i < n; i++) {
		char *chunk = chunk_of(r, v->kind == YAML_LIST ? v->items[i] : v);

		if (chunk) vec_take(&env->chunks, chunk);
	}
}

static void variable(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct env_row *row)
{
	const char *why = bad_name(key->text);
	char *text;

	if (why) {
		wrong(r, node_place(key), "'%s' in 'env' %s", key->text, why);
		return;
	}
	if (v->kind == YAML_MAP && v->len == 1 && !strcmp(v->pairs[0].key->text, "secure")) {
		env_sealed(r, key->text, v->pairs[0].value, row);
		return;
	}
	if (v->kind != YAML_TEXT) {
		wrong(r, node_place(v), "the value of '%s' must be text or {secure: …}, not %s", key->text,
		      yaml_kind_name(v->kind));
		return;
	}
	text = env_assignment(key->text, yaml_is_null(v) ? "" : v->text);
	if (!text)
		wrong(r, node_place(v), "the value of '%s' cannot be read by a shell", key->text);
	else
		env_row_add(row)->text = text;
}

static void text_row(struct reader *r, const struct yaml_node *v, struct env_row *row)
{
	const char *why = env_text_bad(v->text);

	if (why)
		wrong(r, node_place(v), "'%.80s' in 'env' is no variable: %s", v->text, why);
	else if (v->text[strspn(v->text, " \t\n")])
		env_row_add(row)->text = xstrdup(v->text);
}

static void read_row(struct reader *r, const struct yaml_node *v, struct env_row *row, int nested)
{
	if (yaml_is_null(v) || row_full(r, v, row)) return;
	if (v->kind == YAML_TEXT) {
		text_row(r, v, row);
		return;
	}
	if (v->kind == YAML_LIST && nested) {
		wrong(r, node_place(v), "a list in a list in 'env'");
		return;
	}
	for (size_t i = 0; i < v->len && !row_full(r, v, row); i++) {
		if (v->kind == YAML_LIST)
			read_row(r, v->items[i], row, 1);
		else if (v->pairs[i].repeated)
			continue;
		else if (!strcmp(v->pairs[i].key->text, "secure"))
			env_sealed(r, NULL, v->pairs[i].value, row);
		else
			variable(r, v->pairs[i].key, v->pairs[i].value, row);
	}
}

void env_read_row(struct reader *r, const struct yaml_node *v, struct env_row *row)
{
	read_row(r, v, row, 0);
	row->maps = env_maps(row->vars, row->len);
}

void env_axis_add(struct config *c, struct env_row row)
{
	c->env = xrealloc(c->env, (c->nenv + 1) * sizeof(*c->env));
	c->env[c->nenv++] = row;
}

static int all_sealed(const struct env_row *row)
{
	for (size_t i = 0; i < row->len; i++)
		if (row->vars[i].text) return 0;
	return row->len > 0;
}

static void axis_row(struct reader *r, const struct yaml_node *v, struct config *c)
{
	struct env_row row = {0};

	env_read_row(r, v, &row);
	if (!row.len) {
		env_row_release(&row);
		return;
	}
	if (all_sealed(&row))
		problem_add(
			r->problems, node_place(v), 1,
			"a sealed value here makes a job of its own: to have it in all jobs, put it under env.global");
	env_axis_add(c, row);
}

/* Each item of a list is a row of the axis; anything else is the only row. */
static void axis(struct reader *r, const struct yaml_node *v, struct config *c)
{
	if (v->kind != YAML_LIST) axis_row(r, v, c);
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len && c->nenv <= EXPAND_MAX_CELLS; i++)
		axis_row(r, v->items[i], c);
}

void env_read(struct reader *r, const struct yaml_node *v, struct config *c)
{
	int had_axis = 0;

	if (!yaml_get(v, "global") && !yaml_get(v, "matrix") && !yaml_get(v, "jobs")) {
		axis(r, v, c);
		return;
	}
	for (size_t i = 0; i < v->len; i++) {
		const struct yaml_node *key = v->pairs[i].key, *value = v->pairs[i].value;

		if (v->pairs[i].repeated) continue;
		if (!strcmp(key->text, "global")) {
			env_read_row(r, value, &c->global);
		} else if (!strcmp(key->text, "matrix") || !strcmp(key->text, "jobs")) {
			if (had_axis++)
				wrong(r, node_place(key),
				      "'matrix' and 'jobs' in 'env' are the same key: write one of them");
			axis(r, value, c);
		} else {
			wrong(r, node_place(key),
			      "'%s' beside 'global' and 'matrix' in 'env': put it under one of them", key->text);
		}
	}
}

/* What {name} stands for in a path: 1 and *value_r (NULL: this job does not have it), 0: no such name. */
static int filling(const struct config *c, const struct cell *cell, const char *branch, const char *name,
		   const char **value_r)
{
	*value_r = NULL;
	if (!strcmp(name, "branch")) *value_r = branch;
	if (!strcmp(name, "branch")) return 1;
	for (size_t i = 0; i < c->axes.len; i++)
		if (!strcmp(c->axes.items[i].name, name)) {
			*value_r = cell ? cell->values[i] : "x";
			return 1;
		}
	return 0;
}

char *path_fill(const char *path, const struct config *c, const struct cell *cell, const char *branch,
		const char **why_r)
{
	struct buf b = BUF_INIT(8192);

	*why_r = NULL;
	for (const char *p = path; !*why_r && *p;) {
		size_t n = *p == '{' ? strcspn(p, "}") : 0;
		_cleanup_free_ char *name = n ? xstrndup(p + 1, n - 1) : NULL;
		const char *value;

		if (*p != '{' && *p != '}') {
			buf_addch(&b, *p++);
			continue;
		}
		if (!name || !p[n] || !filling(c, cell, branch, name, &value))
			*why_r = "may only hold {backend}, {arch}, {branch} and further axes";
		else if (!value)
			*why_r = "uses an axis that this job does not have";
		else
			buf_adds(&b, value);
		p += n + 1;
	}
	if (b.overflow) *why_r = "is too long";
	if (!*why_r) return buf_steal(&b);
	buf_release(&b);
	return NULL;
}
