/* Rows of env: assignments as the shell reads them. Only their extent is found here; what a value comes to is the
 * shell's business, so quotes, $… and `…` are skipped over, never evaluated. */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

enum { MAX_NESTING = 32 };

static const char *span(const char *p, char end, int depth, const char **why);

static const char *refuse(const char **why, const char *text)
{
	*why = text;
	return NULL;
}

/* p is behind the opening quote; returns what is behind the closing one. */
static const char *span_single(const char *p, const char **why)
{
	p = strchr(p, '\'');
	return p ? p + 1 : refuse(why, "a ' is never closed");
}

static const char *span_dollar(const char *p, int depth, const char **why)
{
	if (p[1] == '(') return span(p + 2, ')', depth + 1, why);
	if (p[1] == '{') return span(p + 2, '}', depth + 1, why);
	return p + 1;
}

static const char *unclosed(char end, const char **why)
{
	switch (end) {
	case '"': return refuse(why, "a \" is never closed");
	case ')': return refuse(why, "a $( is never closed");
	case '}': return refuse(why, "a ${ is never closed");
	default: return refuse(why, "a ` is never closed");
	}
}

/* Goes to `end` and behind it; end NUL: to the end of an unquoted word, a blank or the end of the text. */
static const char *span(const char *p, char end, int depth, const char **why)
{
	if (depth > MAX_NESTING) return refuse(why, "nested too deep");
	while (p && *p && (end || !strchr(" \t\n", *p))) {
		if (end && *p == end) return p + 1;
		if (*p == '\\') {
			if (!p[1]) return refuse(why, "ends in a backslash");
			p += 2;
		} else if (*p == '\'' && end != '"') {
			p = span_single(p + 1, why);
		} else if (*p == '"') {
			p = span(p + 1, '"', depth + 1, why);
		} else if (*p == '`') {
			p = span(p + 1, '`', depth + 1, why);
		} else if (*p == '$') {
			p = span_dollar(p, depth, why);
		} else if (*p == '(' && end == ')') {
			p = span(p + 1, ')', depth + 1, why);
		} else if (!end && strchr(";&|<>()", *p)) {
			return refuse(why, "one of ; & | < > ( ) stands outside quotes");
		} else {
			p++;
		}
	}
	return p && end ? unclosed(end, why) : p;
}

int env_text_next(const char **at, struct env_var *v_r, const char **why_r)
{
	const char *p = *at + strspn(*at, " \t\n"), *end;
	size_t n = strcspn(p, "= \t\n");
	char name[256];

	if (!*p) return 0;
	if (p[n] != '=') {
		*why_r = "every word must be NAME=value";
		return -1;
	}
	memcpy(name, p, n < sizeof(name) ? n : sizeof(name) - 1);
	name[n < sizeof(name) ? n : sizeof(name) - 1] = '\0';
	if (bad_name(name)) {
		*why_r = "what stands before '=' must be a variable's name";
		return -1;
	}
	end = span(p + n + 1, '\0', 0, why_r);
	if (!end) return -1;
	*v_r = (struct env_var){p, p + n + 1, n, (size_t)(end - (p + n + 1))};
	*at = end;
	return 1;
}

const char *env_text_bad(const char *text)
{
	const char *why = NULL;
	struct env_var v;
	int rc, n = 0;

	while ((rc = env_text_next(&text, &v, &why)) > 0)
		if (++n > ENV_MAX_VARS) return "more than 200 variables in one row";
	return rc < 0 ? why : NULL;
}

static int is_one(const char *text)
{
	const char *why = NULL;
	struct env_var v;

	return env_text_next(&text, &v, &why) == 1 && !*text;
}

char *env_assignment(const char *name, const char *value)
{
	_cleanup_free_ char *text = xasprintf("%s=%s", name, value);
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	if (is_one(text)) return steal(text);
	buf_addf(&b, "%s=\"", name);
	for (const char *p = value; *p; p++) {
		if (*p == '"' || *p == '\\') buf_addch(&b, '\\');
		buf_addch(&b, *p);
	}
	buf_addch(&b, '"');
	free(text);
	text = buf_steal(&b);
	return is_one(text) ? steal(text) : NULL;
}

struct line {
	char *text;
	size_t name_len; /* all of it, for a sealed value without a name: no other replaces it */
	size_t seq;
};

struct lines {
	struct line *items;
	size_t len, cap;
};

static void line_add(struct lines *l, char *text, size_t name_len)
{
	if (l->len == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->items = xrealloc(l->items, l->cap * sizeof(*l->items));
	}
	l->items[l->len] = (struct line){text, name_len, l->len};
	l->len++;
}

static int same_name(const struct line *a, const struct line *b)
{
	return a->name_len == b->name_len && !memcmp(a->text, b->text, a->name_len);
}

static int by_name(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int c = strncmp(x->text, y->text, x->name_len < y->name_len ? x->name_len : y->name_len);

	if (c) return c;
	if (x->name_len != y->name_len) return x->name_len < y->name_len ? -1 : 1;
	return x->seq < y->seq ? -1 : 1;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_lines(struct lines *l, const struct plan_env *env)
{
	const char *at = env->text, *why = NULL;
	struct env_var v;

	if (!env->text) {
		struct buf b = BUF_INIT(SIZE_MAX / 2);

		buf_addf(&b, "%s=[secure", env->secret_name ? env->secret_name : "");
		for (size_t i = 0; i < env->chunks.len; i++) buf_addf(&b, " %s", env->chunks.items[i]);
		buf_addch(&b, ']');
		line_add(l, xstrdup(buf_str(&b)), env->secret_name ? strlen(env->secret_name) : b.len);
		buf_release(&b);
		return;
	}
	while (env_text_next(&at, &v, &why) > 0)
		line_add(l, xstrndup(v.name, v.name_len + 1 + v.value_len), v.name_len);
}

void env_vars(const struct plan_env *env, size_t n, struct vec *sorted_r)
{
	struct lines l = {0};

	for (size_t i = 0; i < n; i++) add_lines(&l, &env[i]);
	if (l.len) qsort(l.items, l.len, sizeof(*l.items), by_name);
	for (size_t i = 0; i < l.len; i++) {
		if (i + 1 < l.len && same_name(&l.items[i], &l.items[i + 1]))
			free(l.items[i].text);
		else
			vec_take(sorted_r, l.items[i].text);
	}
	free(l.items);
	if (sorted_r->len) qsort(sorted_r->items, sorted_r->len, sizeof(char *), by_text);
}

char *env_canon(const struct plan_env *env, size_t n, const struct vec *less)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);
	_cleanup_vec_ struct vec v = VEC_INIT;

	env_vars(env, n, &v);
	for (size_t i = 0; i < v.len; i++) {
		if (less->len && bsearch(&v.items[i], less->items, less->len, sizeof(char *), by_text)) continue;
		buf_adds(&b, v.items[i]);
		buf_addch(&b, '\n');
	}
	return buf_steal(&b);
}

/* --- rows as lists of mappings --- */

static void map_add(json_t *list, const char *name, json_t *value)
{
	json_t *o = json_object();

	if (json_object_set_new(o, name, value) || json_array_append_new(list, o)) die("cannot make a JSON list");
}

static json_t *sealed_map(const struct plan_env *env)
{
	json_t *list = json_array(), *one;

	for (size_t i = 0; i < env->chunks.len; i++)
		if (json_array_append_new(list, json_string(env->chunks.items[i]))) die("cannot make a JSON list");
	if (json_array_size(list) != 1) return list;
	one = json_incref(json_array_get(list, 0));
	json_decref(list);
	return one;
}

json_t *env_maps(const struct plan_env *env, size_t n)
{
	json_t *list = json_array();
	const char *why = NULL;
	struct env_var v;

	for (size_t i = 0; i < n; i++) {
		const char *at = env[i].text;

		if (!at && env[i].secret_name)
			map_add(list, env[i].secret_name, json_pack("{so}", "secure", sealed_map(&env[i])));
		else if (!at)
			map_add(list, "secure", sealed_map(&env[i]));
		while (at && env_text_next(&at, &v, &why) > 0) {
			_cleanup_free_ char *name = xstrndup(v.name, v.name_len);

			map_add(list, name, json_stringn(v.value, v.value_len));
		}
	}
	return list;
}

char *env_lookup(const json_t *maps, const char *name)
{
	for (size_t i = json_array_size(maps); i-- > 0;) {
		const char *s = json_string_value(json_object_get(json_array_get(maps, i), name));
		size_t n = s ? strlen(s) : 0;

		if (n >= 2 && (*s == '"' || *s == '\'') && s[n - 1] == *s) return xstrndup(s + 1, n - 2);
		if (s) return xstrdup(s);
	}
	return NULL;
}

char *env_label(const struct plan_env *env, size_t n)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	for (size_t i = 0; i < n; i++) {
		if (b.len) buf_addch(&b, ' ');
		if (env[i].text)
			buf_adds(&b, env[i].text);
		else if (env[i].secret_name)
			buf_addf(&b, "%s=[secure]", env[i].secret_name);
		else
			buf_adds(&b, "[secure]");
	}
	return buf_steal(&b);
}

void plan_env_release(struct plan_env *v)
{
	free(v->text);
	free(v->secret_name);
	vec_release(&v->chunks);
	*v = (struct plan_env){0};
}

int axis_is_exported_as(const char *axis, const char *name)
{
	_cleanup_free_ char *exported = axis_export(axis);

	return !strcmp(exported, name);
}

char *axis_export(const char *axis)
{
	char *s = xstrdup(axis);

	for (char *p = s; *p; p++) {
		if (*p >= 'a' && *p <= 'z') *p = (char)(*p - 32);
		if (*p == '-') *p = '_';
	}
	return s;
}
