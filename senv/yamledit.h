#ifndef SENV_YAMLEDIT_H
#define SENV_YAMLEDIT_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/vec.h"

/* A sealed value into a .ci.yml or .travis.yml, without touching a byte of anything else. */

/* yamledit_add - put a sealed value where every job gets it, in place of one of the same name:
 *
 *      env:
 *        global:
 *          - NAME:
 *              secure:
 *                - "chunk"
 *
 *  (`secure: "chunk"` for a single one). Where env or env.global is written otherwise (a map, a flow list, a single
 *  string, rows without `global`), as that form wants it: rows without `global` become env.matrix, a map of variables
 *  gets one more.
 *  in   file   its name, for messages
 *  out  out    the whole new file; it was read again, and means what the old one meant plus the value
 *  err  ERR_INPUT "FILE:LINE:COL: why": no YAML; an alias or merge key where env would be; the name there twice or
 *       set in the clear; a way of writing that cannot be edited safely. out untouched */
int yamledit_add(const char *file, const void *data, size_t len, const char *name, const struct vec *chunks,
		 struct buf *out, struct err *e) MUST_USE;

#endif
