/* libyaml's events to a tree with places. libyaml counts characters, the editor cuts bytes: places are converted here,
 * once. */
#include "senv/yamltree.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct builder {
	yaml_parser_t parser;
	const char *file;
	const unsigned char *data;
	size_t len;
	uint32_t *offsets; /* of each character, and of the end */
	size_t nchars;
};

static void builder_release(struct builder *b)
{
	yaml_parser_delete(&b->parser);
	free(b->offsets);
}

static size_t byte_at(const struct builder *b, size_t character)
{
	return b->offsets[character < b->nchars ? character : b->nchars];
}

static void count_characters(struct builder *b, size_t start)
{
	b->offsets = xmalloc((b->len + 1) * sizeof(*b->offsets));
	for (size_t i = start; i < b->len; i++)
		if (b->data[i] >> 6 != 2) b->offsets[b->nchars++] = (uint32_t)i;
	b->offsets[b->nchars] = (uint32_t)b->len;
}

void yamltree_free(struct ynode **np)
{
	struct ynode *n = *np;

	if (!n) return;
	for (size_t i = 0; i < n->nkids; i++) yamltree_free(&n->kids[i]);
	free(n->kids);
	free(n->anchor);
	free(n->tag);
	free(n->text);
	free(n);
	*np = NULL;
}

struct ynode *ynode_new(enum ytype type)
{
	struct ynode *n = xcalloc(1, sizeof(*n));

	n->type = type;
	return n;
}

struct ynode *ynode_scalar(const char *text, int plain)
{
	struct ynode *n = ynode_new(YSCALAR);

	n->text = xstrdup(text);
	n->len = strlen(text);
	n->plain = plain;
	return n;
}

void ynode_add(struct ynode *parent, struct ynode *kid)
{
	if (parent->nkids == parent->cap) {
		parent->cap = parent->cap ? parent->cap * 2 : 4;
		parent->kids = xrealloc(parent->kids, parent->cap * sizeof(struct ynode *));
	}
	parent->kids[parent->nkids++] = kid;
}

static int parse_error(const struct builder *b, struct err *e)
{
	const yaml_parser_t *p = &b->parser;
	yaml_mark_t at = p->problem_mark;

	if (p->error == YAML_MEMORY_ERROR) die("out of memory");
	if (p->error == YAML_READER_ERROR)
		return err_set(e, ERR_INPUT, "%s:%zu:1: %s", b->file, p->mark.line + 1, p->problem);
	return err_set(e, ERR_INPUT, "%s:%zu:%zu: %s%s%s", b->file, at.line + 1, at.column + 1,
		       p->context ? p->context : "", p->context ? ", " : "", p->problem ? p->problem : "no YAML");
}

static int next(struct builder *b, yaml_event_t *ev, struct err *e)
{
	return yaml_parser_parse(&b->parser, ev) ? 0 : parse_error(b, e);
}

static char *copy(const yaml_char_t *s)
{
	return s ? xstrdup((const char *)s) : NULL;
}

static struct ynode *node_of(const struct builder *b, const yaml_event_t *ev)
{
	struct ynode *n = ynode_new(YSCALAR);

	n->start = byte_at(b, ev->start_mark.index);
	n->end = byte_at(b, ev->end_mark.index);
	n->line = ev->start_mark.line + 1;
	n->col = ev->start_mark.column + 1;
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		n->len = ev->data.scalar.length; /* it may hold NULs */
		n->text = xmalloc(n->len + 1);
		memcpy(n->text, ev->data.scalar.value, n->len);
		n->text[n->len] = '\0';
		n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
		n->block_scalar = ev->data.scalar.style == YAML_LITERAL_SCALAR_STYLE ||
				  ev->data.scalar.style == YAML_FOLDED_SCALAR_STYLE;
		n->anchor = copy(ev->data.scalar.anchor);
		n->tag = copy(ev->data.scalar.tag);
		break;
	case YAML_SEQUENCE_START_EVENT:
		n->type = YSEQ;
		n->flow = ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
		n->anchor = copy(ev->data.sequence_start.anchor);
		n->tag = copy(ev->data.sequence_start.tag);
		break;
	case YAML_MAPPING_START_EVENT:
		n->type = YMAP;
		n->flow = ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE;
		n->anchor = copy(ev->data.mapping_start.anchor);
		n->tag = copy(ev->data.mapping_start.tag);
		break;
	case YAML_ALIAS_EVENT:
		n->type = YALIAS;
		n->text = copy(ev->data.alias.anchor);
		n->len = strlen(n->text);
		break;
	default: die("libyaml event %d where a node begins", (int)ev->type);
	}
	return n;
}

/* The node that `ev` begins; reads on to its end. Deletes ev. */
static int build_node(struct builder *b, yaml_event_t *ev, int depth, struct ynode **node_r, struct err *e)
{
	_cleanup_ynode_ struct ynode *n = node_of(b, ev);

	yaml_event_delete(ev);
	if (depth > YAMLTREE_MAX_DEPTH)
		return err_set(e, ERR_INPUT, "%s:%zu:%zu: nested more than %d deep", b->file, n->line, n->col,
			       YAMLTREE_MAX_DEPTH);
	while (n->type == YSEQ || n->type == YMAP) {
		yaml_event_t kid;
		struct ynode *k;

		if (next(b, &kid, e)) return -1;
		if (kid.type == YAML_SEQUENCE_END_EVENT || kid.type == YAML_MAPPING_END_EVENT) {
			if (n->flow)
				n->end = byte_at(b, kid.end_mark.index);
			else if (n->nkids)
				n->end = n->kids[n->nkids - 1]->end;
			yaml_event_delete(&kid);
			break;
		}
		if (build_node(b, &kid, depth + 1, &k, e)) return -1;
		ynode_add(n, k);
	}
	*node_r = steal(n);
	return 0;
}

static int build_document(struct builder *b, struct ynode **root_r, struct err *e)
{
	_cleanup_ynode_ struct ynode *root = NULL;

	for (;;) {
		yaml_event_t ev;
		yaml_event_type_t type;

		if (next(b, &ev, e)) return -1;
		type = ev.type;
		if (type == YAML_SCALAR_EVENT || type == YAML_ALIAS_EVENT || type == YAML_SEQUENCE_START_EVENT ||
		    type == YAML_MAPPING_START_EVENT) {
			if (build_node(b, &ev, 0, &root, e)) return -1;
			continue;
		}
		if (type == YAML_DOCUMENT_START_EVENT && root) {
			err_set(e, ERR_INPUT, "%s:%zu:1: a second document begins here, only one is supported", b->file,
				ev.start_mark.line + 1);
			yaml_event_delete(&ev);
			return -1;
		}
		yaml_event_delete(&ev);
		if (type == YAML_STREAM_END_EVENT) break;
	}
	*root_r = steal(root);
	return 0;
}

int yamltree_parse(const char *file, const void *data, size_t len, struct ynode **root_r, struct err *e)
{
	__attribute__((cleanup(builder_release))) struct builder b = {.file = file, .data = data, .len = len};
	size_t bom;

	if (len > YAMLTREE_MAX_BYTES)
		return err_set(e, ERR_INPUT, "'%s' is larger than %d bytes", file, YAMLTREE_MAX_BYTES);
	if (!yaml_parser_initialize(&b.parser)) die("out of memory");
	/* Given, not guessed: with UTF-16 the places would be wrong. */
	yaml_parser_set_encoding(&b.parser, YAML_UTF8_ENCODING);
	/* libyaml would take a byte order mark for the first column. */
	bom = len >= 3 && !memcmp(data, "\357\273\277", 3) ? 3 : 0;
	yaml_parser_set_input_string(&b.parser, b.data + bom, len - bom);
	count_characters(&b, bom);
	return build_document(&b, root_r, e);
}

int ynode_is(const struct ynode *n, const char *text)
{
	return n->type == YSCALAR && n->len == strlen(text) && !memcmp(n->text, text, n->len);
}

int ynode_is_null(const struct ynode *n)
{
	return n->type == YSCALAR && n->plain && !n->tag && (!n->len || ynode_is(n, "~") || ynode_is(n, "null"));
}

long ynode_find(const struct ynode *map, const char *key)
{
	long at = -1;

	for (size_t i = 0; i + 1 < map->nkids; i += 2) {
		if (!ynode_is(map->kids[i], key)) continue;
		if (at != -1) return -2;
		at = (long)i + 1;
	}
	return at;
}

void ynode_canonical(const struct ynode *n, struct buf *out)
{
	if (!n) return;
	if (n->anchor) buf_addf(out, "&%s ", n->anchor);
	if (n->tag) buf_addf(out, "!<%s> ", n->tag);
	switch (n->type) {
	case YALIAS: buf_addf(out, "*%s\n", n->text); return;
	case YSCALAR:
		buf_addf(out, "%c%zu:", n->plain ? 'p' : 'q', n->len);
		buf_add(out, n->text, n->len);
		buf_addch(out, '\n');
		return;
	case YSEQ: buf_adds(out, "[\n"); break;
	case YMAP: buf_adds(out, "{\n"); break;
	}
	for (size_t i = 0; i < n->nkids; i++) ynode_canonical(n->kids[i], out);
	buf_adds(out, n->type == YSEQ ? "]\n" : "}\n");
}
