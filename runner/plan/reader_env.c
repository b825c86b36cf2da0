/* `env` in all the forms that people write it in: text, list, mapping, {global, matrix}, and sealed values in each. */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/reader.h"

static struct plan_env *row_add(struct env_row *row)
{
	row->vars = xrealloc(row->vars, (row->len + 1) * sizeof(*row->vars));
	row->vars[row->len] = (struct plan_env){0};
	return &row->vars[row->len++];
}

static int row_full(struct reader *r, const struct yaml_node *at, const struct env_row *row)
{
	if (row->len < ENV_MAX_VARS) return 0;
	if (row->len == ENV_MAX_VARS)
		problem_add(r->problems, node_place(at), 0, "more than %d variables in one row", (int)ENV_MAX_VARS);
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
	problem_add(r->problems, node_place(v), 0, "'secure' must be sealed text in base64, as senv writes it");
	return NULL;
}

static void sealed(struct reader *r, const char *name, const struct yaml_node *v, struct env_row *row)
{
	size_t n = v->kind == YAML_LIST ? v->len : 1;
	struct plan_env *env = row_add(row);

	if (name) env->secret_name = xstrdup(name);
	if (!n) problem_add(r->problems, node_place(v), 0, "'secure' is an empty list");
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
		problem_add(r->problems, node_place(key), 0, "'%s' in 'env' %s", key->text, why);
		return;
	}
	if (v->kind == YAML_MAP && v->len == 1 && !strcmp(v->pairs[0].key->text, "secure")) {
		sealed(r, key->text, v->pairs[0].value, row);
		return;
	}
	if (v->kind != YAML_TEXT) {
		problem_add(r->problems, node_place(v), 0, "the value of '%s' must be text or {secure: …}, not %s",
			    key->text, yaml_kind_name(v->kind));
		return;
	}
	text = env_assignment(key->text, yaml_is_null(v) ? "" : v->text);
	if (!text)
		problem_add(r->problems, node_place(v), 0, "the value of '%s' cannot be read by a shell", key->text);
	else
		row_add(row)->text = text;
}

static void text_row(struct reader *r, const struct yaml_node *v, struct env_row *row)
{
	const char *why = env_text_bad(v->text);

	if (why)
		problem_add(r->problems, node_place(v), 0, "'%.80s' in 'env' is no variable: %s", v->text, why);
	else if (v->text[strspn(v->text, " \t\n")])
		row_add(row)->text = xstrdup(v->text);
}

static void read_row(struct reader *r, const struct yaml_node *v, struct env_row *row, int nested)
{
	if (yaml_is_null(v) || row_full(r, v, row)) return;
	if (v->kind == YAML_TEXT) {
		text_row(r, v, row);
		return;
	}
	if (v->kind == YAML_LIST && nested) {
		problem_add(r->problems, node_place(v), 0, "a list in a list in 'env'");
		return;
	}
	for (size_t i = 0; i < v->len && !row_full(r, v, row); i++) {
		if (v->kind == YAML_LIST)
			read_row(r, v->items[i], row, 1);
		else if (v->pairs[i].repeated)
			continue;
		else if (!strcmp(v->pairs[i].key->text, "secure"))
			sealed(r, NULL, v->pairs[i].value, row);
		else
			variable(r, v->pairs[i].key, v->pairs[i].value, row);
	}
}

void env_read_row(struct reader *r, const struct yaml_node *v, struct env_row *row)
{
	read_row(r, v, row, 0);
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

	read_row(r, v, &row, 0);
	if (!row.len) return;
	if (all_sealed(&row))
		problem_add(
			r->problems, node_place(v), 1,
			"a sealed value here makes a job of its own: to have it in all jobs, put it under env.global");
	c->env = xrealloc(c->env, (c->nenv + 1) * sizeof(*c->env));
	c->env[c->nenv++] = row;
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
			read_row(r, value, &c->global, 0);
		} else if (!strcmp(key->text, "matrix") || !strcmp(key->text, "jobs")) {
			if (had_axis++)
				problem_add(r->problems, node_place(key), 0,
					    "'matrix' and 'jobs' in 'env' are the same key: write one of them");
			axis(r, value, c);
		} else {
			problem_add(r->problems, node_place(key), 0,
				    "'%s' beside 'global' and 'matrix' in 'env': put it under one of them", key->text);
		}
	}
}

char *path_fill(const char *path, const char *backend, const char *arch, const char *branch, const char **why_r)
{
	const struct {
		const char *name, *value;
	} known[] = {{"{backend}", backend}, {"{arch}", arch}, {"{branch}", branch}};
	struct buf b = BUF_INIT(8192);

	for (const char *p = path; *p;) {
		size_t i = 0;

		if (*p != '{' && *p != '}') {
			buf_addch(&b, *p++);
			continue;
		}
		while (i < ARRAY_LEN(known) && strncmp(p, known[i].name, strlen(known[i].name)) != 0) i++;
		if (i == ARRAY_LEN(known) || !known[i].value) {
			*why_r = i == ARRAY_LEN(known) ? "may only hold {backend}, {arch} and {branch}"
						       : "uses an axis that this job does not have";
			buf_release(&b);
			return NULL;
		}
		buf_adds(&b, known[i].value);
		p += strlen(known[i].name);
	}
	if (b.overflow) {
		*why_r = "is too long";
		buf_release(&b);
		return NULL;
	}
	return buf_steal(&b);
}
