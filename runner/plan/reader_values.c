/* One value each: text that was checked → its place in the config. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/plan/imageref.h"
#include "runner/plan/reader.h"

struct yaml_place node_place(const struct yaml_node *n)
{
	return (struct yaml_place){n->line, n->col};
}

/* --- values --- */

/* The text of a value, NULL (and a problem) where it is none. */
const char *text_of(struct reader *r, const struct yaml_node *key, const struct yaml_node *v)
{
	if (v->kind == YAML_TEXT && !yaml_is_null(v)) return v->text;
	wrong(r, node_place(v), "'%s' must be text, not %s", key->text,
	      v->kind == YAML_TEXT ? "empty" : yaml_kind_name(v->kind));
	return NULL;
}

int reject(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *why)
{
	if (why) wrong(r, node_place(v), "'%s' in '%s' %s", v->text, key->text, why);
	return why != NULL;
}

void text_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *(*bad)(const char *),
	     char **to)
{
	const char *s = text_of(r, key, v);

	if (!s || reject(r, key, v, bad ? bad(s) : NULL)) return;
	free(*to);
	*to = xstrdup(s);
}

static const char *bad_if_empty(const char *s)
{
	return *s ? NULL : "must not be empty";
}

#define TEXT_READER(name, bad)                                                                                         \
	void name(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)                  \
	{                                                                                                              \
		text_to(r, key, v, bad, to);                                                                           \
	}
TEXT_READER(read_name, bad_name)
TEXT_READER(read_job_name, bad_job_name)
TEXT_READER(read_file, bad_glob)
TEXT_READER(read_repo, bad_repo)
TEXT_READER(read_branch, bad_branch)
TEXT_READER(read_http_path, bad_http_path)
TEXT_READER(read_header, bad_header)
TEXT_READER(read_sha256, bad_sha256)
TEXT_READER(read_one_line, bad_line)
TEXT_READER(read_author, plan_bad_author)
TEXT_READER(read_text, bad_if_empty)

/* A tag that is left out is the one that moves most. */
void read_image(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	_cleanup_imageref_ struct imageref ref = {0};
	char **image = to;
	struct err e;

	text_to(r, key, v, bad_image, image);
	if (!*image || imageref_parse(*image, &ref, &e) || ref.kind != IMAGEREF_DOCKER || ref.tag || ref.digest) return;
	problem_add(r->problems, node_place(v), 1,
		    "the image '%s' has no tag: that is ':latest', which changes at any time", *image);
}

/* A list of texts; one text is a list of one, nothing is an empty one. */
void list_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *(*bad)(const char *),
	     struct vec *to)
{
	const struct yaml_node *one = v;
	size_t n = v->kind == YAML_LIST ? v->len : !yaml_is_null(v);

	vec_release(to);
	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = v->kind == YAML_LIST ? v->items[i] : one;
		const char *s = text_of(r, key, item);

		if (s && !reject(r, key, item, bad(s))) vec_add(to, s);
	}
}

#define LIST_READER(name, bad)                                                                                         \
	void name(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)                  \
	{                                                                                                              \
		list_to(r, key, v, bad, to);                                                                           \
	}
LIST_READER(read_globs, bad_glob)
LIST_READER(read_names, bad_name)

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void read_packages(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct vec *list = to;
	size_t kept = 0;

	list_to(r, key, v, bad_package, list);
	if (!list->len) return;
	qsort(list->items, list->len, sizeof(char *), by_text);
	for (size_t i = 0; i < list->len; i++) {
		if (kept && !strcmp(list->items[kept - 1], list->items[i]))
			free(list->items[i]);
		else
			list->items[kept++] = list->items[i];
	}
	list->len = kept;
	list->items[kept] = NULL;
}

/* --- axes --- */

struct axis *axis_find(const struct axes *axes, const char *name)
{
	for (size_t i = 0; i < axes->len; i++)
		if (!strcmp(axes->items[i].name, name)) return &axes->items[i];
	return NULL;
}

struct axis *axis_add(struct axes *axes, const char *name, struct yaml_place at)
{
	axes->items = xrealloc(axes->items, (axes->len + 1) * sizeof(*axes->items));
	axes->items[axes->len] = (struct axis){.name = xstrdup(name), .at = at};
	return &axes->items[axes->len++];
}

static const char *bad_on_axis(const struct yaml_node *key, const char *s)
{
	return strcmp(key->text, "arch") ? bad_axis_value(s) : bad_arch(s);
}

/* A value that stands twice would make the same jobs twice. */
void axis_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct axis *axis)
{
	struct vec *values = &axis->values;

	axis->at = node_place(v);
	list_to(r, key, v, strcmp(key->text, "arch") ? bad_axis_value : bad_arch, values);
	if (values->len > PLAN_MAX_JOBS) {
		wrong(r, node_place(v), "'%s' has %zu values; at most %d are taken", key->text, values->len,
		      (int)PLAN_MAX_JOBS);
		vec_release(values);
	}
	for (size_t i = 0; i < values->len; i++)
		for (size_t j = 0; j < i; j++)
			if (!strcmp(values->items[i], values->items[j])) {
				wrong(r, node_place(v), "'%s' stands twice in '%s'", values->items[i], key->text);
				return;
			}
}

void read_axis(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct config *c = to;

	axis_to(r, key, v, axis_find(&c->axes, key->text));
}

/* In an included row or a rule. */
void read_row_axis(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct matrix_row *row = to;
	const char *s = text_of(r, key, v);

	if (s && !reject(r, key, v, bad_on_axis(key, s))) attrs_set(&row->attrs, key->text, s);
}

void read_when_axis(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct when *when = to;

	list_to(r, key, v, strcmp(key->text, "arch") ? bad_axis_value : bad_arch,
		&axis_add(&when->axes, key->text, node_place(v))->values);
}

/* --- numbers --- */

void read_duration(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_duration(s, to));
}

void read_size(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_size(s, to));
}

void read_cpus(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_cpus(s, to));
}

static void read_int(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, int least, int most,
		     int *to)
{
	const char *s = text_of(r, key, v);

	if (s && bad_count(s, least, most, to))
		wrong(r, node_place(v), "'%s' in '%s' must be a whole number from %d to %d", s, key->text, least, most);
}

void read_pids(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_int(r, key, v, 2, 1000000, to);
}

void read_status(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_int(r, key, v, 100, 599, to);
}

void read_port(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_int(r, key, v, 1, 65535, to);
}

void read_keep(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_int(r, key, v, 0, 1000000, to);
}

void read_depth(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (!s) return;
	if (!strcmp(s, "all") || !strcmp(s, "false"))
		*(int *)to = DEPTH_ALL;
	else
		read_int(r, key, v, 1, 1000000, to);
}

void read_delay(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_delay(s, to));
}

void read_loss(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_loss(s, to));
}

void read_rate(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_rate(s, to));
}

/* One word of a list; its index. -1: a problem was added. */
int read_choice(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *const *words,
		size_t n)
{
	const char *s = text_of(r, key, v), *meant;
	char all[200] = "";

	if (!s) return -1;
	for (size_t i = 0; i < n; i++) {
		size_t used = strlen(all);

		if (!strcmp(s, words[i])) return (int)i;
		snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", words[i]);
	}
	meant = nearest(s, words, n);
	if (meant)
		wrong(r, node_place(v), "'%s' in '%s', did you mean '%s'?", s, key->text, meant);
	else
		wrong(r, node_place(v), "'%s' in '%s' must be one of %s", s, key->text, all);
	return -1;
}

void read_network(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"off", "install", "on"};
	int i = read_choice(r, key, v, words, ARRAY_LEN(words));

	if (i >= 0) *(enum plan_network *)to = (enum plan_network)i;
}

void read_yes_no(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
	int i = read_choice(r, key, v, words, ARRAY_LEN(words));

	if (i >= 0) *(int *)to = i & 1;
}

void read_mode(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"0644", "0755", "644", "755"};
	int i = read_choice(r, key, v, words, ARRAY_LEN(words));

	if (i >= 0) *(int *)to = i & 1 ? 0755 : 0644;
}

static const char *const packings[] = {"bzip2", "xz", "zstd", "none"}; /* enum plan_packing */

const char *plan_packing_name(enum plan_packing p)
{
	return packings[p];
}

void read_packing(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	int i = read_choice(r, key, v, packings, ARRAY_LEN(packings));

	if (i >= 0) *(int *)to = i;
}

void read_boot(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"unix", "qemu", "solo5-spt", "solo5-hvt", "command"};
	int i = read_choice(r, key, v, words, ARRAY_LEN(words));

	if (i >= 0) *(enum plan_boot *)to = (enum plan_boot)(i + 1);
}

/* --- phases --- */

static void command_add(struct phase *phase, const struct yaml_node *v, size_t len)
{
	size_t n = phase->commands.len;

	phase->places = xrealloc(phase->places, (n + 1) * sizeof(*phase->places));
	phase->places[n] = node_place(v);
	vec_take(&phase->commands, xstrndup(v->text, len));
}

static void read_commands(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct phase *phase)
{
	size_t n;

	if (v->kind == YAML_LIST) {
		for (size_t i = 0; i < v->len; i++) read_commands(r, key, v->items[i], phase);
		return;
	}
	if (v->kind == YAML_MAP) {
		wrong(r, node_place(v), "a command in '%s' must be text: put one that holds ': ' in quotes", key->text);
		return;
	}
	if (yaml_is_null(v)) return;
	for (n = strlen(v->text); n && strchr(" \t\n", v->text[n - 1]);) n--;
	if (n) command_add(phase, v, n);
}

void read_phase(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct phase *phase = to;
	const struct yaml_node *one = v->kind == YAML_LIST && v->len == 1 ? v->items[0] : v;

	phase->skipped = one->kind == YAML_TEXT && (!strcmp(one->text, "skip") || !strcmp(one->text, "ignore"));
	vec_release(&phase->commands);
	free_p(&phase->places);
	if (!phase->skipped) read_commands(r, key, v, phase);
}

/* --- patterns --- */

static void pattern_to(struct reader *r, const struct yaml_node *at, const char *text, struct patterns *to)
{
	struct pattern p;
	const char *why = pattern_make(text, &r->regex_budget, &p);

	if (why) {
		wrong(r, node_place(at), "branch '%s' %s", text, why);
		return;
	}
	why = pattern_never(&p);
	if (why) problem_add(r->problems, node_place(at), 1, "branch '%s' %s", text, why);
	to->items = xrealloc(to->items, (to->len + 1) * sizeof(*to->items));
	to->items[to->len++] = p;
}

/* A text may name several, with commas between them. */
void read_patterns(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s;

	if (yaml_is_null(v)) return;
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len; i++) {
		s = text_of(r, key, v->items[i]);
		if (s) pattern_to(r, v->items[i], s, to);
	}
	if (v->kind == YAML_LIST || !(s = text_of(r, key, v))) return;
	if (*s == '/') {
		pattern_to(r, v, s, to);
		return;
	}
	while (*s) {
		size_t skip = strspn(s, " ,"), n = strcspn(s + skip, ","), len = n;
		_cleanup_free_ char *one = NULL;

		s += skip;
		while (len && s[len - 1] == ' ') len--;
		one = xstrndup(s, len);
		if (*one) pattern_to(r, v, one, to);
		s += n;
	}
}

void read_branches(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct config *c = to;

	if (v->kind == YAML_MAP)
		read_map(r, key, v, SCOPE_BRANCHES, to, NULL);
	else
		read_patterns(r, key, v, &c->only);
}
