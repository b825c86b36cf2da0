#ifndef LIB_YAML_H
#define LIB_YAML_H

#include <stddef.h>

#include "lib/err.h"

/* YAML → a tree whose every key and value knows its place. One document; scalars stay text, whatever they look
 * like. Aliases share the node of their anchor (its place is the anchor's), and count against the node limit as if
 * they were copies, so that walking the tree is bounded whatever the input. Merge keys ("<<") are resolved.
 *  src  YAML 1.1 as libyaml reads it; yaml.org/type/merge */

enum {
	YAML_MAX_BYTES = 1 << 20,
	YAML_MAX_TEXT = 4 << 20, /* bytes of text, aliases counted as copies */
	YAML_MAX_NODES = 50000,
	YAML_MAX_DEPTH = 64,
	YAML_MAX_ANCHORS = 256
};

enum yaml_mode {
	YAML_STRICT,
	YAML_LENIENT, /* an unknown alias is null, of several documents the first counts; both are listed */
};

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
	enum yaml_kind kind;
	int line, col; /* from 1; columns in characters */
	char *text;    /* YAML_TEXT: UTF-8, no NUL inside; otherwise NULL */
	int quoted;    /* written in quotes, as a block, or tagged !!str: never null */
	size_t len;    /* of items or pairs */
	struct yaml_node **items;
	struct yaml_pair *pairs; /* in file order, then merged ones */
	size_t weight;           /* nodes below and including this one, aliases counted out */
	size_t bytes;            /* of text, likewise */
	int height;
};

struct yaml_pair {
	const struct yaml_node *key; /* always YAML_TEXT */
	const struct yaml_node *value;
	int repeated; /* the same key stands again later, and that one counts */
	int merged;   /* came by a merge key */
};

struct yaml_place {
	int line, col;
};

struct yaml_repeat { /* a key that stands twice in its mapping */
	struct yaml_place at, first;
	const char *key; /* borrowed from the tree */
};

enum { YAML_MAX_PARDONS = 50 };
struct yaml_pardon { /* what is an error unless lenient */
	struct yaml_place at;
	char text[80];
};

struct yaml_doc {
	struct yaml_node *root; /* NULL: an empty document */
	struct yaml_repeat *repeats;
	size_t nrepeats;
	struct yaml_pardon *pardons;
	size_t npardons;          /* at most YAML_MAX_PARDONS */
	struct yaml_node **nodes; /* all of them, for release */
	size_t nnodes;
};

/* yaml_parse - read one document.
 *  in   data,len  any bytes at all
 *  out  doc_r     caller owns, yaml_doc_release()
 *       at_r      the place of the error, set only on failure
 *  err  ERR_INPUT too large, too deep, too many nodes, too much text, not UTF-8, a NUL or control character, not YAML;
 * the text has no place in it */
int yaml_parse(const void *data, size_t len, enum yaml_mode mode, struct yaml_doc *doc_r, struct yaml_place *at_r,
	       struct err *e) MUST_USE;
void yaml_doc_release(struct yaml_doc *doc);
#define _cleanup_yaml_ __attribute__((cleanup(yaml_doc_release)))

/* yaml_get - the value of a key (the last one, where it is repeated); NULL: not a map, or no such key. Borrowed. */
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);

/* yaml_is_null - nothing, "~" or "null", not in quotes. */
int yaml_is_null(const struct yaml_node *n);

/* "text", "a list", "a mapping", for messages. */
const char *yaml_kind_name(enum yaml_kind kind);

#endif
