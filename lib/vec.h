#ifndef LIB_VEC_H
#define LIB_VEC_H

#include <stddef.h>

/* A vector of owned strings, always NULL-terminated once anything was added, so that v.items is an argv or
 * an environ. items is NULL while empty: use vec_argv() where a pointer is needed. */
struct vec {
	char **items;
	size_t len;
	size_t cap;
};

#define VEC_INIT                                                                                                       \
	{                                                                                                              \
		0                                                                                                      \
	}
#define _cleanup_vec_ __attribute__((cleanup(vec_release)))

void vec_release(struct vec *v);
void vec_add(struct vec *v, const char *s); /* copies */
void vec_addf(struct vec *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void vec_take(struct vec *v, char *s);                       /* takes ownership */
void vec_add_all(struct vec *v, const char *const *strings); /* NULL-terminated; copies */
char **vec_argv(struct vec *v);                              /* NULL-terminated, borrowed, never NULL */
int vec_has(const struct vec *v, const char *s);

/* Environment as "NAME=value" items. */
void vec_setenv(struct vec *v, const char *name, const char *value); /* replaces or adds */
const char *vec_getenv(const struct vec *v, const char *name);       /* borrowed, NULL if not set */

#endif
