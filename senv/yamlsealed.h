#ifndef SENV_YAMLSEALED_H
#define SENV_YAMLSEALED_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/vec.h"

/* The sealed values of a YAML file: all under a key `secure`, wherever they stand. */

struct yaml_sealed {
	char *name;        /* the key above `secure`; NULL: none, only the chunks know it */
	struct vec chunks; /* as written */
	size_t line;       /* of `secure`, from 1 */
};
struct yaml_sealed_list {
	struct yaml_sealed *items;
	size_t len;
};
void yaml_sealed_list_release(struct yaml_sealed_list *l);
#define _cleanup_sealed_ __attribute__((cleanup(yaml_sealed_list_release)))

/* yamlsealed_find - list_r: caller releases. err ERR_INPUT "FILE:LINE:COL: why" */
int yamlsealed_find(const char *file, const void *data, size_t len, struct yaml_sealed_list *list_r,
		    struct err *e) MUST_USE;

/* yamlsealed_replace - each chunk by another, where it stands; not another byte changes.
 *  in   list  what yamlsealed_find gave for these very bytes, with other texts in its chunks
 *  out  out   the whole new file, read again and compared
 *  err  ERR_INPUT an anchor or a tag at a chunk; out untouched */
int yamlsealed_replace(const char *file, const void *data, size_t len, const struct yaml_sealed_list *list,
		       struct buf *out, struct err *e) MUST_USE;

#endif
