#ifndef SENV_YAMLTREE_H
#define SENV_YAMLTREE_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"

/* A YAML file as a tree that knows where each node stands in the bytes: what an editor that keeps everything else
 * needs. One document, UTF-8. */

enum ytype { YSCALAR, YSEQ, YMAP, YALIAS };
enum { YAMLTREE_MAX_BYTES = 4 << 20, YAMLTREE_MAX_DEPTH = 100 };

struct ynode {
	enum ytype type;
	size_t start, end; /* bytes of the file; a block list or map ends where its last scalar does */
	size_t line, col;  /* of start, from 1 */
	int flow;          /* a list or map in [] or {} */
	int plain;         /* a scalar without quotes */
	int block_scalar;  /* | or > */
	char *anchor, *tag;
	char *text; /* scalar's value or alias's name */
	size_t len;
	struct ynode **kids; /* list: items; map: key, value, key, value, … */
	size_t nkids, cap;
};

/* yamltree_parse - out: root_r, NULL for a file without content; caller frees with yamltree_free.
 *  in   file  its name, for messages
 *  err  ERR_INPUT "FILE:LINE:COL: why" */
int yamltree_parse(const char *file, const void *data, size_t len, struct ynode **root_r, struct err *e) MUST_USE;
void yamltree_free(struct ynode **n);
#define _cleanup_ynode_ __attribute__((cleanup(yamltree_free)))

struct ynode *ynode_scalar(const char *text, int plain);
struct ynode *ynode_new(enum ytype type);
void ynode_add(struct ynode *parent, struct ynode *kid); /* takes ownership */

int ynode_is(const struct ynode *n, const char *text); /* a scalar of this text */
int ynode_is_null(const struct ynode *n);              /* nothing, "~" or "null" without quotes */

/* A map's value of this key: index into kids, -1 none, -2 more than one. */
long ynode_find(const struct ynode *map, const char *key);

/* What the tree means, as bytes: equal for equal content, whatever style and place. */
void ynode_canonical(const struct ynode *n, struct buf *out);

#endif
