/* libyaml's events → a tree with places, for input that nobody vouches for: size, depth, nodes and anchors are
 * bounded before they cost anything, and recursion is at most YAML_MAX_DEPTH deep. */
#include "lib/yaml.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct anchor {
	char *name;
	struct yaml_node *node; /* NULL while it is being read: an alias to it would be a loop */
};

struct parse {
	yaml_parser_t parser;
	struct yaml_doc *doc;
	enum yaml_mode mode;
	size_t cap_nodes, total, total_bytes;
	struct anchor anchors[YAML_MAX_ANCHORS];
	size_t nanchors;
	struct yaml_place *at;
	struct err *e;
};

const char *yaml_kind_name(enum yaml_kind kind)
{
	switch (kind) {
	case YAML_TEXT: return "text";
	case YAML_LIST: return "a list";
	case YAML_MAP: return "a mapping";
	}
	die("unknown YAML kind %d", (int)kind);
}

static void node_free(struct yaml_node *n)
{
	free(n->text);
	free(n->items);
	free(n->pairs);
	free(n);
}

void yaml_doc_release(struct yaml_doc *doc)
{
	for (size_t i = 0; i < doc->nnodes; i++) node_free(doc->nodes[i]);
	free(doc->nodes);
	free(doc->repeats);
	free(doc->pardons);
	*doc = (struct yaml_doc){0};
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
	if (!map || map->kind != YAML_MAP) return NULL;
	for (size_t i = 0; i < map->len; i++)
		if (!map->pairs[i].repeated && !strcmp(map->pairs[i].key->text, key)) return map->pairs[i].value;
	return NULL;
}

int yaml_is_null(const struct yaml_node *n)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};

	if (n->kind != YAML_TEXT || n->quoted) return 0;
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(n->text, words[i])) return 1;
	return 0;
}

/* --- what is refused before libyaml sees it --- */

/* Length of the UTF-8 character at p, 0 if it is none; *code_r is its number. */
static size_t utf8_char(const unsigned char *p, size_t left, uint32_t *code_r)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	uint32_t c = n == 1 ? p[0] : n ? (uint32_t)p[0] & (0x7fu >> n) : 0;

	if (!n || n > left || (p[0] >= 0x80 && p[0] < 0xc2)) return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
	*code_r = c;
	return n;
}

/* The characters YAML calls printable, and line breaks. */
static int allowed(uint32_t c)
{
	return c == '\t' || c == '\n' || c == '\r' || (c >= 0x20 && c < 0x7f) || c == 0x85 ||
	       (c >= 0xa0 && c < 0xfffe && c != 0xfeff) || c >= 0x10000;
}

/* libyaml compares every %TAG with all before it, before it reports any: more than a few are not meant well. */
enum { MAX_DIRECTIVES = 16 };

static int check_bytes(const unsigned char *p, size_t len, struct yaml_place *at, struct err *e)
{
	int line = 1, col = 1, directives = 0;
	uint32_t c = 0;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_char(p + i, len - i, &c);
		*at = (struct yaml_place){line, col};
		if (!n) return err_set(e, ERR_INPUT, "byte 0x%02x is not UTF-8", p[i]);
		if (!c) return err_set(e, ERR_INPUT, "NUL character");
		if (!allowed(c)) return err_set(e, ERR_INPUT, "control character U+%04X", (unsigned)c);
		if (c == '%' && col == 1 && ++directives > MAX_DIRECTIVES)
			return err_set(e, ERR_INPUT, "more than %d lines begin with '%%'", MAX_DIRECTIVES);
		col++;
		if (c == '\n' || (c == '\r' && !(i + 1 < len && p[i + 1] == '\n'))) {
			line++;
			col = 1;
		}
	}
	return 0;
}

/* --- events → nodes --- */

static int fail(struct parse *p, yaml_mark_t mark, const char *why)
{
	*p->at = (struct yaml_place){(int)mark.line + 1, (int)mark.column + 1};
	return err_set(p->e, ERR_INPUT, "%s", why);
}

static int fail_syntax(struct parse *p)
{
	yaml_parser_t *y = &p->parser;

	if (y->error == YAML_MEMORY_ERROR) die("out of memory (YAML)");
	*p->at = (struct yaml_place){(int)y->problem_mark.line + 1, (int)y->problem_mark.column + 1};
	if (y->problem && strstr(y->problem, "cannot start any token") && y->buffer.pointer < y->buffer.last &&
	    *y->buffer.pointer == '\t')
		return err_set(p->e, ERR_INPUT, "not YAML: a tab stands where only spaces may");
	if (y->context && y->context_mark.line != y->problem_mark.line)
		return err_set(p->e, ERR_INPUT, "not YAML: %s, %s that begins in line %d", y->problem, y->context,
			       (int)y->context_mark.line + 1);
	return err_set(p->e, ERR_INPUT, "not YAML: %s", y->problem ? y->problem : "cannot be read");
}

static int next(struct parse *p, yaml_event_t *ev)
{
	return yaml_parser_parse(&p->parser, ev) ? 0 : fail_syntax(p);
}

static int count(struct parse *p, yaml_mark_t mark, size_t weight, size_t bytes)
{
	p->total += weight;
	p->total_bytes += bytes;
	if (p->total <= YAML_MAX_NODES && p->total_bytes <= YAML_MAX_TEXT) return 0;
	(void)fail(p, mark, "");
	if (p->total <= YAML_MAX_NODES)
		return err_set(p->e, ERR_INPUT, "more than %d bytes of text, aliases counted as copies",
			       (int)YAML_MAX_TEXT);
	return err_set(p->e, ERR_INPUT, "more than %d values, aliases counted as copies", (int)YAML_MAX_NODES);
}

__attribute__((format(printf, 3, 4))) static void pardon(struct parse *p, yaml_mark_t mark, const char *fmt, ...)
{
	struct yaml_doc *d = p->doc;
	struct yaml_pardon *it;
	va_list ap;

	if (d->npardons == YAML_MAX_PARDONS) return;
	if (!d->pardons) d->pardons = xcalloc(YAML_MAX_PARDONS, sizeof(*d->pardons));
	it = &d->pardons[d->npardons++];
	it->at = (struct yaml_place){(int)mark.line + 1, (int)mark.column + 1};
	va_start(ap, fmt);
	vsnprintf(it->text, sizeof(it->text), fmt, ap);
	va_end(ap);
}

static struct yaml_node *node_new(struct parse *p, enum yaml_kind kind, yaml_mark_t mark)
{
	struct yaml_doc *d = p->doc;
	struct yaml_node *n = xcalloc(1, sizeof(*n));

	*n = (struct yaml_node){.kind = kind, .line = (int)mark.line + 1, .col = (int)mark.column + 1, .weight = 1};
	n->height = 1;
	if (d->nnodes == p->cap_nodes) {
		p->cap_nodes = p->cap_nodes ? p->cap_nodes * 2 : 64;
		d->nodes = xrealloc(d->nodes, p->cap_nodes * sizeof(struct yaml_node *));
	}
	d->nodes[d->nnodes++] = n;
	return n;
}

static int anchor_begin(struct parse *p, const yaml_char_t *name, yaml_mark_t mark, size_t *slot_r)
{
	if (p->nanchors == YAML_MAX_ANCHORS) return fail(p, mark, "too many anchors");
	*slot_r = p->nanchors++;
	p->anchors[*slot_r] = (struct anchor){.name = xstrdup((const char *)name)};
	return 0;
}

static int alias(struct parse *p, const yaml_event_t *ev, int depth, struct yaml_node **n_r)
{
	const char *name = (const char *)ev->data.alias.anchor;

	for (size_t i = p->nanchors; i-- > 0;) {
		struct yaml_node *n = p->anchors[i].node;

		if (strcmp(p->anchors[i].name, name)) continue;
		if (!n) return fail(p, ev->start_mark, "an alias stands inside what it names");
		if (depth + n->height > YAML_MAX_DEPTH) return fail(p, ev->start_mark, "nested too deep by aliases");
		if (count(p, ev->start_mark, n->weight, n->bytes)) return -1;
		*n_r = n;
		return 0;
	}
	if (p->mode == YAML_LENIENT) {
		pardon(p, ev->start_mark, "unknown alias '*%.40s': read as nothing", name);
		*n_r = node_new(p, YAML_TEXT, ev->start_mark);
		(*n_r)->text = xstrdup("");
		return count(p, ev->start_mark, 1, 0);
	}
	(void)fail(p, ev->start_mark, "");
	return err_set(p->e, ERR_INPUT, "unknown alias '*%.60s'", name);
}

static int read_node(struct parse *p, const yaml_event_t *ev, int depth, struct yaml_node **n_r);

static int scalar(struct parse *p, const yaml_event_t *ev, struct yaml_node **n_r)
{
	const char *value = (const char *)ev->data.scalar.value, *tag = (const char *)ev->data.scalar.tag;
	struct yaml_node *n = node_new(p, YAML_TEXT, ev->start_mark);

	n->text = xstrndup(value, ev->data.scalar.length);
	n->bytes = ev->data.scalar.length;
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || (tag && !strcmp(tag, YAML_STR_TAG));
	if (strlen(n->text) != ev->data.scalar.length) return fail(p, ev->start_mark, "NUL character in a text");
	*n_r = n;
	return 0;
}

static void adopt(struct yaml_node *parent, const struct yaml_node *child)
{
	parent->weight += child->weight;
	parent->bytes += child->bytes;
	if (child->height >= parent->height) parent->height = child->height + 1;
}

/* Reads the next event, and the node that it begins; *n_r is NULL at the end of the collection. */
static int read_next(struct parse *p, int depth, yaml_event_type_t end, struct yaml_node **n_r)
{
	yaml_event_t ev;
	int rc = 0;

	*n_r = NULL;
	if (next(p, &ev)) return -1;
	if (ev.type != end) rc = read_node(p, &ev, depth, n_r);
	yaml_event_delete(&ev);
	return rc;
}

static int read_list(struct parse *p, int depth, struct yaml_node *list)
{
	struct yaml_node *item;
	size_t cap = 0;

	for (;;) {
		if (read_next(p, depth + 1, YAML_SEQUENCE_END_EVENT, &item)) return -1;
		if (!item) return 0;
		if (list->len == cap) {
			cap = cap ? cap * 2 : 4;
			list->items = xrealloc(list->items, cap * sizeof(struct yaml_node *));
		}
		list->items[list->len++] = item;
		adopt(list, item);
	}
}

static void pair_add(struct yaml_node *map, size_t *cap, struct yaml_pair pair)
{
	if (map->len == *cap) {
		*cap = *cap ? *cap * 2 : 4;
		map->pairs = xrealloc(map->pairs, *cap * sizeof(*map->pairs));
	}
	map->pairs[map->len++] = pair;
	adopt(map, pair.key);
	adopt(map, pair.value);
}

static int merge_one(struct parse *p, struct yaml_node *map, size_t *cap, const struct yaml_node *key,
		     const struct yaml_node *from)
{
	yaml_mark_t at = {.line = (size_t)key->line - 1, .column = (size_t)key->col - 1};

	if (from->kind != YAML_MAP && p->mode == YAML_LENIENT) {
		pardon(p, at, "'<<' takes a mapping, or a list of them: left out");
		return 0;
	}
	if (from->kind != YAML_MAP) return fail(p, at, "'<<' takes a mapping, or a list of them");
	if (count(p, at, from->weight, from->bytes)) return -1;
	for (size_t i = 0; i < from->len; i++)
		if (!from->pairs[i].repeated)
			pair_add(map, cap, (struct yaml_pair){from->pairs[i].key, from->pairs[i].value, 0, 1});
	return 0;
}

/* Takes the "<<" pairs out and puts what they name behind the others. */
static int merge(struct parse *p, struct yaml_node *map, size_t *cap)
{
	size_t own = map->len, kept = 0, n = 0;
	struct yaml_pair *sources = NULL;
	int rc = 0;

	for (size_t i = 0; i < own; i++) {
		const struct yaml_node *k = map->pairs[i].key;

		if (k->quoted || strcmp(k->text, "<<")) {
			map->pairs[kept++] = map->pairs[i];
			continue;
		}
		sources = xrealloc(sources, (n + 1) * sizeof(*sources));
		sources[n++] = map->pairs[i];
	}
	map->len = kept;
	for (size_t i = 0; i < n && !rc; i++) {
		const struct yaml_node *v = sources[i].value;

		if (v->kind != YAML_LIST) rc = merge_one(p, map, cap, sources[i].key, v);
		for (size_t j = 0; v->kind == YAML_LIST && j < v->len && !rc; j++)
			rc = merge_one(p, map, cap, sources[i].key, v->items[j]);
	}
	free(sources);
	return rc;
}

static int by_key(const void *a, const void *b)
{
	const struct yaml_pair *x = *(struct yaml_pair *const *)a, *y = *(struct yaml_pair *const *)b;
	int c = strcmp(x->key->text, y->key->text);

	return c ? c : x < y ? -1 : x > y;
}

static void repeat_add(struct yaml_doc *d, const struct yaml_node *first, const struct yaml_node *again)
{
	if (!(d->nrepeats & (d->nrepeats - 1)))
		d->repeats = xrealloc(d->repeats, (d->nrepeats ? d->nrepeats * 2 : 1) * sizeof(*d->repeats));
	d->repeats[d->nrepeats++] =
		(struct yaml_repeat){{again->line, again->col}, {first->line, first->col}, again->text};
}

/* Marks what does not count: of a key's own pairs all but the last, of its merged ones all but the first, and all
 * merged ones where it has a pair of its own. Sorted, because a mapping may have very many keys. */
static void settle_repeats(struct yaml_doc *d, struct yaml_node *map)
{
	struct yaml_pair **sorted = xcalloc(map->len, sizeof(struct yaml_pair *));

	for (size_t i = 0; i < map->len; i++) sorted[i] = &map->pairs[i];
	qsort(sorted, map->len, sizeof(struct yaml_pair *), by_key);
	for (size_t i = 1; i < map->len; i++) {
		struct yaml_pair *a = sorted[i - 1], *b = sorted[i];

		if (strcmp(a->key->text, b->key->text)) continue;
		if (b->merged) {
			b->repeated = 1;
			sorted[i] = a; /* stays the one to compare with */
		} else {
			a->repeated = 1;
			repeat_add(d, a->key, b->key);
		}
	}
	free(sorted);
}

static int read_map(struct parse *p, int depth, struct yaml_node *map)
{
	struct yaml_node *key, *value;
	size_t cap = 0;

	for (;;) {
		if (read_next(p, depth + 1, YAML_MAPPING_END_EVENT, &key)) return -1;
		if (!key) break;
		if (key->kind != YAML_TEXT)
			return fail(p, (yaml_mark_t){.line = (size_t)key->line - 1, .column = (size_t)key->col - 1},
				    "a key must be text");
		if (read_next(p, depth + 1, YAML_NO_EVENT, &value)) return -1;
		pair_add(map, &cap, (struct yaml_pair){key, value, 0, 0});
	}
	if (merge(p, map, &cap)) return -1;
	settle_repeats(p->doc, map);
	return 0;
}

static int read_collection(struct parse *p, const yaml_event_t *ev, int depth, struct yaml_node **n_r)
{
	int is_map = ev->type == YAML_MAPPING_START_EVENT;
	struct yaml_node *n;

	if (depth >= YAML_MAX_DEPTH) return fail(p, ev->start_mark, "nested too deep");
	n = node_new(p, is_map ? YAML_MAP : YAML_LIST, ev->start_mark);
	*n_r = n;
	return is_map ? read_map(p, depth, n) : read_list(p, depth, n);
}

static int read_node(struct parse *p, const yaml_event_t *ev, int depth, struct yaml_node **n_r)
{
	const yaml_char_t *anchor = NULL;
	size_t slot = 0;
	int rc;

	if (ev->type == YAML_ALIAS_EVENT) return alias(p, ev, depth, n_r);
	if (count(p, ev->start_mark, 1, ev->type == YAML_SCALAR_EVENT ? ev->data.scalar.length : 0)) return -1;
	if (ev->type == YAML_SCALAR_EVENT) anchor = ev->data.scalar.anchor;
	if (ev->type == YAML_SEQUENCE_START_EVENT) anchor = ev->data.sequence_start.anchor;
	if (ev->type == YAML_MAPPING_START_EVENT) anchor = ev->data.mapping_start.anchor;
	if (anchor && anchor_begin(p, anchor, ev->start_mark, &slot)) return -1;
	rc = ev->type == YAML_SCALAR_EVENT ? scalar(p, ev, n_r) : read_collection(p, ev, depth, n_r);
	if (anchor && !rc) p->anchors[slot].node = *n_r;
	return rc;
}

static int read_stream(struct parse *p)
{
	struct yaml_node *end;
	yaml_event_t ev;
	int done = 0, rc = 0, documents = 0;

	while (!done && !rc) {
		if (next(p, &ev)) return -1;
		done = ev.type == YAML_STREAM_END_EVENT;
		if (ev.type == YAML_DOCUMENT_START_EVENT) {
			if (++documents > 1 && p->mode == YAML_LENIENT) {
				pardon(p, ev.start_mark, "a second document begins here: left out");
				done = 1;
			} else if (documents > 1)
				rc = fail(p, ev.start_mark, "a second document begins here; only one is read");
			else
				rc = read_next(p, 0, YAML_DOCUMENT_END_EVENT, &p->doc->root);
			if (!rc && !done) rc = read_next(p, 0, YAML_DOCUMENT_END_EVENT, &end);
		}
		yaml_event_delete(&ev);
	}
	return rc;
}

int yaml_parse(const void *data, size_t len, enum yaml_mode mode, struct yaml_doc *doc_r, struct yaml_place *at_r,
	       struct err *e)
{
	_cleanup_yaml_ struct yaml_doc doc = {0};
	struct parse *p;
	const unsigned char *bytes = data;
	int rc;

	if (len > YAML_MAX_BYTES) {
		*at_r = (struct yaml_place){1, 1};
		return err_set(e, ERR_INPUT, "larger than %d bytes", (int)YAML_MAX_BYTES);
	}
	if (len >= 3 && !memcmp(bytes, "\xef\xbb\xbf", 3)) {
		bytes += 3;
		len -= 3;
	}
	if (check_bytes(bytes, len, at_r, e)) return -1;
	p = xcalloc(1, sizeof(*p));
	p->doc = &doc;
	p->mode = mode;
	p->at = at_r;
	p->e = e;
	if (!yaml_parser_initialize(&p->parser)) die("out of memory (YAML)");
	yaml_parser_set_encoding(&p->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p->parser, len ? bytes : (const unsigned char *)"", len);
	rc = read_stream(p);
	yaml_parser_delete(&p->parser);
	for (size_t i = 0; i < p->nanchors; i++) free(p->anchors[i].name);
	free(p);
	if (rc) return -1;
	*doc_r = doc;
	doc = (struct yaml_doc){0};
	return 0;
}
