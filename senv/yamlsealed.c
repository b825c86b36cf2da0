/* Sealed values of a YAML file: finding them, and putting others in their places. */
#include "senv/yamlsealed.h"

#include <stdlib.h>
#include <string.h>

#include "senv/yamltree.h"

/* The scalars that are chunks, value by value, in the order of the tree. */
struct place {
	struct ynode *chunk;
	const char *text; /* what comes there; borrowed */
};
struct walk {
	const char *file;
	struct yaml_sealed_list *list;
	struct place *places;
	size_t nplaces;
};

static void add_place(struct walk *w, struct ynode *chunk)
{
	w->places = xrealloc(w->places, (w->nplaces + 1) * sizeof(*w->places));
	w->places[w->nplaces++] = (struct place){.chunk = chunk};
	vec_add(&w->list->items[w->list->len - 1].chunks, chunk->text);
}

static void take_sealed(struct walk *w, const char *name, struct ynode *secure)
{
	struct yaml_sealed_list *l = w->list;

	l->items = xrealloc(l->items, (l->len + 1) * sizeof(*l->items));
	l->items[l->len++] = (struct yaml_sealed){.name = name ? xstrdup(name) : NULL, .line = secure->line};
	if (secure->type == YSCALAR) add_place(w, secure);
	for (size_t i = 0; i < secure->nkids; i++)
		if (secure->type == YSEQ && secure->kids[i]->type == YSCALAR) add_place(w, secure->kids[i]);
}

static int walk(struct walk *w, const char *name, struct ynode *n, struct err *e)
{
	long secure = n->type == YMAP ? ynode_find(n, "secure") : -1;

	if (secure == -2) return err_set(e, ERR_INPUT, "%s:%zu:%zu: 'secure' is there twice", w->file, n->line, n->col);
	if (secure >= 0) take_sealed(w, name, n->kids[secure]);
	for (size_t i = 0; i < n->nkids; i++) {
		int keyed = n->type == YMAP && i % 2 && n->kids[i - 1]->type == YSCALAR;

		if ((long)i != secure && walk(w, keyed ? n->kids[i - 1]->text : NULL, n->kids[i], e)) return -1;
	}
	return 0;
}

static void walk_release(struct walk *w)
{
	free(w->places);
}
#define _cleanup_walk_ __attribute__((cleanup(walk_release)))

void yaml_sealed_list_release(struct yaml_sealed_list *l)
{
	for (size_t i = 0; i < l->len; i++) {
		free(l->items[i].name);
		vec_release(&l->items[i].chunks);
	}
	free(l->items);
	*l = (struct yaml_sealed_list){0};
}

int yamlsealed_find(const char *file, const void *data, size_t len, struct yaml_sealed_list *list_r, struct err *e)
{
	_cleanup_ynode_ struct ynode *root = NULL;
	_cleanup_sealed_ struct yaml_sealed_list list = {0};
	_cleanup_walk_ struct walk w = {.file = file, .list = &list};

	if (yamltree_parse(file, data, len, &root, e)) return -1;
	if (root && walk(&w, NULL, root, e)) return -1;
	*list_r = list;
	list = (struct yaml_sealed_list){0};
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->chunk->start < y->chunk->start ? -1 : x->chunk->start > y->chunk->start;
}

/* Without what libyaml counts to a scalar behind its last character. */
static size_t end_of(const char *data, const struct ynode *chunk)
{
	size_t end = chunk->end;

	while (end > chunk->start && strchr(" \t\r\n", data[end - 1])) end--;
	return end;
}

/* The new bytes, and in the tree what they should mean. */
static int write_places(const struct walk *w, const char *data, size_t len, struct buf *out, struct err *e)
{
	size_t at = 0;

	for (size_t i = 0; i < w->nplaces; i++) {
		struct ynode *c = w->places[i].chunk;
		const char *quote = c->plain ? "" : c->block_scalar || data[c->start] != '\'' ? "\"" : "'";

		if (c->anchor || c->tag)
			return err_set(e, ERR_INPUT, "%s:%zu:%zu: a sealed value with an anchor or a tag", w->file,
				       c->line, c->col);
		buf_add(out, data + at, c->start - at);
		buf_addf(out, "%s%s%s", quote, w->places[i].text, quote);
		at = end_of(data, c);
		free(c->text);
		c->text = xstrdup(w->places[i].text);
		c->len = strlen(c->text);
	}
	buf_add(out, data + at, len - at);
	return buf_check(out, w->file, e);
}

static int means(const char *file, const struct buf *text, const struct ynode *want, struct err *e)
{
	_cleanup_buf_ struct buf a = BUF_INIT(YAMLTREE_MAX_BYTES * 8), b = BUF_INIT(YAMLTREE_MAX_BYTES * 8);
	_cleanup_ynode_ struct ynode *got = NULL;

	if (yamltree_parse(file, buf_str(text), text->len, &got, e)) return -1;
	ynode_canonical(want, &a);
	ynode_canonical(got, &b);
	if (!a.overflow && !b.overflow && a.len == b.len && !memcmp(buf_str(&a), buf_str(&b), a.len)) return 0;
	return err_set(e, ERR_INPUT, "'%s' is written in a way that is not safe to edit", file);
}

int yamlsealed_replace(const char *file, const void *data, size_t len, const struct yaml_sealed_list *list,
		       struct buf *out, struct err *e)
{
	_cleanup_ynode_ struct ynode *root = NULL;
	_cleanup_sealed_ struct yaml_sealed_list found = {0};
	_cleanup_walk_ struct walk w = {.file = file, .list = &found};
	_cleanup_buf_ struct buf made = BUF_INIT(YAMLTREE_MAX_BYTES);
	size_t n = 0;

	if (yamltree_parse(file, data, len, &root, e) || (root && walk(&w, NULL, root, e))) return -1;
	if (found.len != list->len) die("%zu sealed values for %zu", list->len, found.len);
	for (size_t i = 0; i < list->len; i++) {
		if (list->items[i].chunks.len != found.items[i].chunks.len) die("another number of chunks");
		for (size_t k = 0; k < list->items[i].chunks.len; k++)
			w.places[n++].text = list->items[i].chunks.items[k];
	}
	if (n) qsort(w.places, n, sizeof(*w.places), by_place);
	if (write_places(&w, data, len, &made, e)) return -1;
	if (n && means(file, &made, root, e)) return -1;
	buf_add(out, buf_str(&made), made.len);
	return buf_check(out, file, e);
}
