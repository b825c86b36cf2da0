/* A vector of owned strings: argv, environ, lists. */
#include "lib/vec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/err.h"

void vec_release(struct vec *v)
{
	for (size_t i = 0; i < v->len; i++) free(v->items[i]);
	free(v->items);
	*v = (struct vec)VEC_INIT;
}

void vec_take(struct vec *v, char *s)
{
	if (v->len + 2 > v->cap) {
		v->cap = v->cap ? v->cap * 2 : 8;
		v->items = xrealloc(v->items, v->cap * sizeof(*v->items));
	}
	v->items[v->len++] = s;
	v->items[v->len] = NULL;
}

void vec_add(struct vec *v, const char *s)
{
	vec_take(v, xstrdup(s));
}

void vec_addf(struct vec *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vec_take(v, xvasprintf(fmt, ap));
	va_end(ap);
}

void vec_add_all(struct vec *v, const char *const *strings)
{
	for (; *strings; strings++) vec_add(v, *strings);
}

char **vec_argv(struct vec *v)
{
	static char *none[] = {NULL};

	return v->items ? v->items : none;
}

int vec_has(const struct vec *v, const char *s)
{
	for (size_t i = 0; i < v->len; i++)
		if (!strcmp(v->items[i], s)) return 1;
	return 0;
}

static size_t find_env(const struct vec *v, const char *name)
{
	size_t n = strlen(name), i;

	for (i = 0; i < v->len; i++)
		if (!strncmp(v->items[i], name, n) && v->items[i][n] == '=') break;
	return i;
}

void vec_setenv(struct vec *v, const char *name, const char *value)
{
	size_t i = find_env(v, name);
	char *item = xasprintf("%s=%s", name, value);

	if (i == v->len) {
		vec_take(v, item);
		return;
	}
	free(v->items[i]);
	v->items[i] = item;
}

const char *vec_getenv(const struct vec *v, const char *name)
{
	size_t i = find_env(v, name);

	return i == v->len ? NULL : v->items[i] + strlen(name) + 1;
}
