/* The YAML editor. Each change is made twice: to the bytes, as a few splices, and to the tree, as what it should mean.
 * The new bytes are parsed and must mean exactly the changed tree, so an unforeseen way of writing ends in a refusal
 * and never in a broken file. Where bytes can be cut in several ways, the least is tried first. */
#include "senv/yamledit.h"

#include <stdlib.h>
#include <string.h>

#include "senv/yamltree.h"

struct splice {
	size_t at, del;
	char *text;
};

struct editor {
	const char *file;
	const char *data;
	size_t len;
	const char *name;
	const struct vec *chunks;
	const char *eol;
	int variant; /* which way of cutting; none_left is set when there is no such one */
	int none_left;
	struct splice *splices;
	size_t nsplices;
};

static void drop_splices(struct editor *ed)
{
	for (size_t i = 0; i < ed->nsplices; i++) free(ed->splices[i].text);
	free(ed->splices);
	ed->splices = NULL;
	ed->nsplices = 0;
}

/* Takes text. Splices are made in order of place. */
static void splice(struct editor *ed, size_t at, size_t del, char *text)
{
	ed->splices = xrealloc(ed->splices, (ed->nsplices + 1) * sizeof(*ed->splices));
	ed->splices[ed->nsplices++] = (struct splice){at, del, text};
}

static int refuse(const struct editor *ed, const struct ynode *n, struct err *e, const char *why)
{
	return err_set(e, ERR_INPUT, "%s:%zu:%zu: cannot add '%s': %s", ed->file, n->line, n->col, ed->name, why);
}

/* ---- text ---- */

static void spaces(struct buf *b, size_t n)
{
	while (n--) buf_addch(b, ' ');
}

static void new_line(const struct editor *ed, struct buf *b, size_t col)
{
	buf_adds(b, ed->eol);
	spaces(b, col);
}

/* "NAME:" at column col (from 0), the rest below it; no line end at the end. */
static void entry_text(const struct editor *ed, struct buf *b, size_t col)
{
	buf_addf(b, "%s:", ed->name);
	new_line(ed, b, col + 2);
	buf_adds(b, "secure:");
	if (ed->chunks->len == 1) {
		buf_addf(b, " \"%s\"", ed->chunks->items[0]);
		return;
	}
	for (size_t i = 0; i < ed->chunks->len; i++) {
		new_line(ed, b, col + 4);
		buf_addf(b, "- \"%s\"", ed->chunks->items[i]);
	}
}

static void item_text(const struct editor *ed, struct buf *b, size_t col)
{
	buf_adds(b, "- ");
	entry_text(ed, b, col + 2);
}

static void global_text(const struct editor *ed, struct buf *b, size_t col)
{
	buf_adds(b, "global:");
	new_line(ed, b, col + 2);
	item_text(ed, b, col + 2);
}

static void env_text(const struct editor *ed, struct buf *b, size_t col)
{
	buf_adds(b, "env:");
	new_line(ed, b, col + 2);
	global_text(ed, b, col + 2);
}

typedef void text_fn(const struct editor *ed, struct buf *b, size_t col);

static void entry_flow(const struct editor *ed, struct buf *b)
{
	buf_addf(b, "%s: {secure: ", ed->name);
	if (ed->chunks->len > 1) buf_addch(b, '[');
	for (size_t i = 0; i < ed->chunks->len; i++) buf_addf(b, "%s\"%s\"", i ? ", " : "", ed->chunks->items[i]);
	buf_adds(b, ed->chunks->len > 1 ? "]}" : "}");
}

/* ---- the same as trees ---- */

static struct ynode *sealed_tree(const struct editor *ed)
{
	struct ynode *map = ynode_new(YMAP), *list = ynode_new(YSEQ);

	ynode_add(map, ynode_scalar("secure", 1));
	for (size_t i = 0; i < ed->chunks->len; i++) ynode_add(list, ynode_scalar(ed->chunks->items[i], 0));
	if (list->nkids == 1) {
		ynode_add(map, list->kids[0]);
		list->nkids = 0;
		yamltree_free(&list);
	} else {
		ynode_add(map, list);
	}
	return map;
}

static struct ynode *one_key(const char *key, struct ynode *value)
{
	struct ynode *map = ynode_new(YMAP);

	ynode_add(map, ynode_scalar(key, 1));
	ynode_add(map, value);
	return map;
}

static struct ynode *entry_tree(const struct editor *ed)
{
	return one_key(ed->name, sealed_tree(ed));
}

static struct ynode *global_tree(const struct editor *ed)
{
	struct ynode *list = ynode_new(YSEQ);

	ynode_add(list, entry_tree(ed));
	return list;
}

/* ---- places ---- */

static size_t line_start(const struct editor *ed, size_t at)
{
	while (at && ed->data[at - 1] != '\n') at--;
	return at;
}

static size_t next_line(const struct editor *ed, size_t at)
{
	const char *end = at < ed->len ? memchr(ed->data + at, '\n', ed->len - at) : NULL;

	return end ? (size_t)(end - ed->data) + 1 : ed->len;
}

/* Start of the line after a block node's last one. */
static size_t after_node(const struct editor *ed, const struct ynode *n)
{
	size_t at;

	while (!n->flow && n->nkids) n = n->kids[n->nkids - 1];
	if (!n->block_scalar) return next_line(ed, n->end);
	/* libyaml ends a block scalar after the indentation of what follows it */
	at = n->end;
	while (at && ed->data[at - 1] == ' ') at--;
	return !at || ed->data[at - 1] == '\n' ? at : next_line(ed, at);
}

/* Whole lines at the start of a line, or at the end of a file whose last line has no end: then neither gets one. */
static void splice_lines(struct editor *ed, size_t at, size_t col, text_fn *text)
{
	struct buf b = BUF_INIT(YAMLTREE_MAX_BYTES);
	int open_end = at == ed->len && at && ed->data[at - 1] != '\n';

	if (open_end) buf_adds(&b, ed->eol);
	spaces(&b, col);
	text(ed, &b, col);
	if (!open_end) buf_adds(&b, ed->eol);
	splice(ed, at, 0, buf_steal(&b));
}

/* Adds to a list or map in brackets. */
static void splice_flow(struct editor *ed, const struct ynode *c, const char *before, const char *after)
{
	struct buf b = BUF_INIT(YAMLTREE_MAX_BYTES);
	size_t close = c->end - 1, at = close;
	int comma = 0;

	if (c->nkids) {
		size_t i = c->kids[c->nkids - 1]->end;

		for (; i < close && !comma; i++) {
			if (ed->data[i] == '#') i = next_line(ed, i) - 1;
			comma = ed->data[i] == ',';
		}
		if (!comma) {
			at = c->kids[c->nkids - 1]->end;
			buf_adds(&b, ", ");
		}
	}
	buf_adds(&b, before);
	entry_flow(ed, &b);
	buf_adds(&b, after);
	splice(ed, at, 0, buf_steal(&b));
}

/* ---- the forms ---- */

/* `key: value` on one line becomes `key:`, and below it at column col `head` and the value. */
static void push_down(struct editor *ed, const struct ynode *value, size_t col, const char *head)
{
	struct buf b = BUF_INIT(4096);
	size_t from = value->start, end = after_node(ed, value);

	while (from && (ed->data[from - 1] == ' ' || ed->data[from - 1] == '\t')) from--;
	new_line(ed, &b, col);
	buf_adds(&b, head);
	splice(ed, from, value->start - from, buf_steal(&b));
	/* A value of several lines may have to stand deeper now. */
	for (size_t at = next_line(ed, value->start); ed->variant && at < end; at = next_line(ed, at))
		if (ed->data[at] != '\n' && ed->data[at] != '\r') splice(ed, at, 0, xstrdup("  "));
}

static int on_line_of(const struct editor *ed, const struct ynode *key, const struct ynode *value)
{
	return !memchr(ed->data + key->end, '\n', value->start - key->end);
}

/* env: A=1, or a list of rows: they become env.matrix. */
static void rows_to_matrix(struct editor *ed, const struct ynode *key, const struct ynode *rows)
{
	size_t col = key->col - 1 + 2;

	if (on_line_of(ed, key, rows)) {
		push_down(ed, rows, col, "matrix: ");
	} else {
		struct buf b = BUF_INIT(4096);
		size_t end = after_node(ed, rows);

		/* A list may stand at its key's column, so deep enough rows stay as they are. */
		if (!ed->variant && rows->col - 1 > key->col - 1) col = rows->col - 1;
		spaces(&b, col);
		buf_addf(&b, "matrix:%s", ed->eol);
		splice(ed, next_line(ed, key->end), 0, buf_steal(&b));
		for (size_t at = next_line(ed, key->end); ed->variant && at < end; at = next_line(ed, at))
			if (ed->data[at] != '\n' && ed->data[at] != '\r') splice(ed, at, 0, xstrdup("  "));
	}
	splice_lines(ed, after_node(ed, rows), col, global_text);
	ed->none_left = ed->variant == 1;
}

static int has_word(const struct ynode *n, const char *name)
{
	size_t len = strlen(name);

	for (const char *s = n->text; (s = strstr(s, name)); s += len)
		if ((s == n->text || strchr(" \t\n", s[-1])) && s[len] == '=') return 1;
	return 0;
}

/* An entry of this name in a map: replaced whole. Returns 1 when there was one. */
static int replace_in(struct editor *ed, struct ynode *map, int flow, int *times, struct err *e)
{
	long i = ynode_find(map, ed->name);
	struct buf b = BUF_INIT(YAMLTREE_MAX_BYTES);
	struct ynode *key, *value;
	size_t end;

	if (i == -1) return 0;
	if (i == -2) return refuse(ed, map, e, "that name is there twice");
	key = map->kids[i - 1];
	value = map->kids[i];
	if (value->type != YMAP || ynode_find(value, "secure") < 0)
		return refuse(ed, key, e, "that name is set in the clear here");
	if ((*times)++) return refuse(ed, key, e, "that name is there twice");
	end = value->end;
	while (end > key->end && strchr(" \t\r\n", ed->data[end - 1])) end--;
	if (flow || map->flow)
		entry_flow(ed, &b);
	else
		entry_text(ed, &b, key->col - 1);
	splice(ed, key->start, end - key->start, buf_steal(&b));
	yamltree_free(&map->kids[i]);
	map->kids[i] = sealed_tree(ed);
	return 1;
}

static int add_to_list(struct editor *ed, struct ynode *list, struct err *e)
{
	int times = 0;

	for (size_t i = 0; i < list->nkids; i++) {
		struct ynode *item = list->kids[i];

		if (item->type == YSCALAR && has_word(item, ed->name))
			return refuse(ed, item, e, "that name is set in the clear here");
		if (item->type == YMAP && replace_in(ed, item, list->flow, &times, e) < 0) return -1;
	}
	if (times) return 0;
	if (list->flow)
		splice_flow(ed, list, "{", "}");
	else
		splice_lines(ed, after_node(ed, list), list->col - 1, item_text);
	ynode_add(list, entry_tree(ed));
	return 0;
}

static int add_to_map(struct editor *ed, struct ynode *map, struct err *e)
{
	int times = 0;

	if (replace_in(ed, map, 0, &times, e) < 0) return -1;
	if (times) return 0;
	if (map->flow)
		splice_flow(ed, map, "", "");
	else
		splice_lines(ed, after_node(ed, map), map->col - 1, entry_text);
	ynode_add(map, ynode_scalar(ed->name, 1));
	ynode_add(map, sealed_tree(ed));
	return 0;
}

/* A value that is nothing, or "~": its bytes go, and lines come below its key. */
static void fill_null(struct editor *ed, const struct ynode *key, const struct ynode *value, int flow, text_fn *text,
		      const char *open, const char *close)
{
	struct buf b = BUF_INIT(YAMLTREE_MAX_BYTES);

	if (!flow) {
		if (value->len) splice(ed, value->start, value->end - value->start, xstrdup(""));
		splice_lines(ed, next_line(ed, value->end), key->col - 1 + 2, text);
		return;
	}
	buf_addf(&b, " %s", open);
	entry_flow(ed, &b);
	buf_adds(&b, close);
	splice(ed, value->start, value->end - value->start, buf_steal(&b));
}

static int add_to_global(struct editor *ed, struct ynode *map, long i, struct err *e)
{
	struct ynode *key = map->kids[i - 1], *value = map->kids[i], *list;

	if (value->type == YALIAS) return refuse(ed, value, e, "env.global is an alias");
	if (value->type == YSEQ) return add_to_list(ed, value, e);
	if (value->type == YMAP && ynode_find(value, "<<") != -1)
		return refuse(ed, value, e, "env.global has a merge key");
	if (value->type == YMAP) return add_to_map(ed, value, e);
	if (ynode_is_null(value)) {
		fill_null(ed, key, value, map->flow, item_text, "[{", "}]");
		yamltree_free(&map->kids[i]);
		map->kids[i] = global_tree(ed);
		return 0;
	}
	if (has_word(value, ed->name)) return refuse(ed, value, e, "that name is set in the clear here");
	if (map->flow || !on_line_of(ed, key, value)) return refuse(ed, value, e, "env.global is no list; make it one");
	push_down(ed, value, key->col - 1 + 2, "- ");
	splice_lines(ed, after_node(ed, value), key->col - 1 + 2, item_text);
	ed->none_left = ed->variant == 1;
	list = ynode_new(YSEQ);
	ynode_add(list, value);
	ynode_add(list, entry_tree(ed));
	map->kids[i] = list;
	return 0;
}

static int add_to_env_map(struct editor *ed, struct ynode *env, struct err *e)
{
	long global = ynode_find(env, "global");

	if (ynode_find(env, "<<") != -1) return refuse(ed, env, e, "env has a merge key");
	if (global == -2) return refuse(ed, env, e, "env.global is there twice");
	if (global >= 0) return add_to_global(ed, env, global, e);
	/* A map without these is one row of variables, the same for all jobs. */
	if (env->nkids && ynode_find(env, "matrix") == -1 && ynode_find(env, "jobs") == -1)
		return add_to_map(ed, env, e);
	if (env->flow)
		splice_flow(ed, env, "global: [{", "}]");
	else
		splice_lines(ed, after_node(ed, env), env->col - 1, global_text);
	ynode_add(env, ynode_scalar("global", 1));
	ynode_add(env, global_tree(ed));
	return 0;
}

static int add_to_env(struct editor *ed, struct ynode *root, long i, struct err *e)
{
	struct ynode *key = root->kids[i - 1], *env = root->kids[i], *map;

	if (env->type == YALIAS) return refuse(ed, env, e, "env is an alias");
	if (env->type == YMAP) return add_to_env_map(ed, env, e);
	if (ynode_is_null(env)) {
		fill_null(ed, key, env, root->flow, global_text, "{global: [{", "}]}");
		yamltree_free(&root->kids[i]);
		root->kids[i] = one_key("global", global_tree(ed));
		return 0;
	}
	if (root->flow) return refuse(ed, env, e, "env has no global part");
	rows_to_matrix(ed, key, env);
	map = one_key("matrix", env);
	ynode_add(map, ynode_scalar("global", 1));
	ynode_add(map, global_tree(ed));
	root->kids[i] = map;
	return 0;
}

/* No env at all: at the end of the file; where that does not do, after the last key, or before the first. */
static void add_env(struct editor *ed, struct ynode *root)
{
	size_t col = root->nkids ? root->col - 1 : 0;

	if (root->flow) {
		splice_flow(ed, root, "env: {global: [{", "}]}");
	} else {
		size_t at = !ed->variant || !root->nkids ? ed->len
			    : ed->variant == 1           ? after_node(ed, root)
							 : line_start(ed, root->start);

		splice_lines(ed, at, col, env_text);
		ed->none_left = !root->nkids || ed->variant == 2;
	}
	ynode_add(root, ynode_scalar("env", 1));
	ynode_add(root, one_key("global", global_tree(ed)));
}

/* Splices for the bytes; *root_p is changed to what they should mean. */
static int plan_change(struct editor *ed, struct ynode **root_p, struct err *e)
{
	struct ynode *root = *root_p;
	long env;

	ed->none_left = 1;
	if (!root || ynode_is_null(root)) {
		yamltree_free(root_p);
		*root_p = ynode_new(YMAP);
		add_env(ed, *root_p);
		return 0;
	}
	if (root->type != YMAP) return refuse(ed, root, e, "the file is no map of keys");
	env = ynode_find(root, "env");
	if (env == -2) return refuse(ed, root, e, "'env' is there twice");
	if (env >= 0) return add_to_env(ed, root, env, e);
	if (ynode_find(root, "<<") != -1) return refuse(ed, root, e, "a merge key may bring an env of its own");
	add_env(ed, root);
	return 0;
}

static void apply(const struct editor *ed, struct buf *out)
{
	size_t at = 0;

	for (size_t i = 0; i < ed->nsplices; i++) {
		buf_add(out, ed->data + at, ed->splices[i].at - at);
		buf_adds(out, ed->splices[i].text);
		at = ed->splices[i].at + ed->splices[i].del;
	}
	buf_add(out, ed->data + at, ed->len - at);
}

/* A new env at the beginning is not where the tree has it: keys are compared without their order. */
static int same_meaning(const struct ynode *want, const struct ynode *got)
{
	_cleanup_buf_ struct buf a = BUF_INIT(YAMLTREE_MAX_BYTES * 8), b = BUF_INIT(YAMLTREE_MAX_BYTES * 8);

	if (!got || want->type != YMAP || got->type != YMAP || want->nkids != got->nkids) return 0;
	for (size_t i = 0; i + 1 < want->nkids; i += 2) {
		const struct ynode *key = want->kids[i];
		long at = key->type == YSCALAR && !strcmp(key->text, "env") ? ynode_find(got, "env") : -1;

		if (at >= 0) {
			buf_clear(&a);
			buf_clear(&b);
			ynode_canonical(want->kids[i + 1], &a);
			ynode_canonical(got->kids[at], &b);
			if (a.overflow || b.overflow || a.len != b.len || memcmp(buf_str(&a), buf_str(&b), a.len))
				return 0;
		}
	}
	buf_clear(&a);
	buf_clear(&b);
	for (size_t i = 0; i + 1 < want->nkids; i += 2)
		if (!ynode_is(want->kids[i], "env")) {
			ynode_canonical(want->kids[i], &a);
			ynode_canonical(want->kids[i + 1], &a);
		}
	for (size_t i = 0; i + 1 < got->nkids; i += 2)
		if (!ynode_is(got->kids[i], "env")) {
			ynode_canonical(got->kids[i], &b);
			ynode_canonical(got->kids[i + 1], &b);
		}
	return !a.overflow && !b.overflow && a.len == b.len && !memcmp(buf_str(&a), buf_str(&b), a.len);
}

/* One way of cutting. Returns 1 when the result does not mean what it should. */
static int attempt(struct editor *ed, struct buf *made, struct err *e)
{
	_cleanup_ynode_ struct ynode *want = NULL, *got = NULL;
	struct err why;

	drop_splices(ed);
	buf_clear(made);
	if (yamltree_parse(ed->file, ed->data, ed->len, &want, e) || plan_change(ed, &want, e)) return -1;
	apply(ed, made);
	if (buf_check(made, ed->file, e)) return -1;
	if (yamltree_parse(ed->file, buf_str(made), made->len, &got, &why)) return 1;
	return !same_meaning(want, got);
}

int yamledit_add(const char *file, const void *data, size_t len, const char *name, const struct vec *chunks,
		 struct buf *out, struct err *e)
{
	__attribute__((cleanup(drop_splices))) struct editor ed = {
		.file = file, .data = data, .len = len, .name = name, .chunks = chunks, .eol = "\n"};
	_cleanup_buf_ struct buf made = BUF_INIT(YAMLTREE_MAX_BYTES);
	const char *lf = len ? memchr(data, '\n', len) : NULL;
	int wrong;

	if (lf && lf > ed.data && lf[-1] == '\r') ed.eol = "\r\n";
	do {
		wrong = attempt(&ed, &made, e);
		if (wrong < 0) return -1;
		ed.variant++;
	} while (wrong && !ed.none_left);
	if (wrong)
		return err_set(e, ERR_INPUT,
			       "cannot add '%s' to '%s': its env is written in a way that is not safe to edit", name,
			       file);
	buf_add(out, buf_str(&made), made.len);
	return buf_check(out, file, e);
}
