/* `.travis.yml` → config: what Travis mended is mended here, with a warning, and the rest is read by the same readers
 * as `.ci.yml`. Every key of a row and of the top is also kept as one text: rules compare any key at all.
 *  src  travis-ci/travis-yml: change, matrix */
#include "runner/plan/travis.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"

enum { VALUE_MAX_BYTES = 1024 }; /* on an axis */

/* --- values --- */

static int digit_in(char ch, int base)
{
	int d = ch >= '0' && ch <= '9'   ? ch - '0'
		: ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
		: ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
					 : 99;

	return d < base ? d : -1;
}

/* A whole number the way YAML 1.1 writes them: 010, 0x1f, 0b11, 1_000, +5. NULL: it is none. Caller frees. */
static char *whole_number(const char *s)
{
	const char *p = s + (*s == '-' || *s == '+');
	int base = 10;
	int64_t n = 0;

	if (*p == '0' && p[1]) {
		base = p[1] == 'x' ? 16 : p[1] == 'b' ? 2 : 8;
		p += base == 8 ? 1 : 2;
	}
	if (digit_in(*p, base) < 0) return NULL;
	for (; *p; p++) {
		if (*p == '_' || (*p == ',' && base == 10)) continue;
		if (digit_in(*p, base) < 0 || n > INT64_MAX / 16 - 16) return NULL;
		n = n * base + digit_in(*p, base);
	}
	return xasprintf("%s%lld", *s == '-' ? "-" : "", (long long)n);
}

char *travis_text(const struct yaml_node *v)
{
	static const char *const words[] = {"true",  "True",  "TRUE",  "Yes", "YES", "On",  "ON",
					    "false", "False", "FALSE", "No",  "NO",  "Off", "OFF"};
	char *number;

	if (v->quoted) return xstrdup(v->text);
	if (yaml_is_null(v)) return xstrdup("");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(v->text, words[i])) return xstrdup(i < ARRAY_LEN(words) / 2 ? "true" : "false");
	number = whole_number(v->text);
	return number ? number : xstrdup(v->text);
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(const struct yaml_pair *const *)a)->key->text,
		      (*(const struct yaml_pair *const *)b)->key->text);
}

static void add_any(struct buf *b, const struct yaml_node *v);

static void add_map(struct buf *b, const struct yaml_node *v)
{
	const struct yaml_pair **sorted = xcalloc(v->len, sizeof(struct yaml_pair *));
	size_t n = 0;

	for (size_t i = 0; i < v->len; i++)
		if (!v->pairs[i].repeated) sorted[n++] = &v->pairs[i];
	if (n) qsort(sorted, n, sizeof(*sorted), by_key);
	buf_addch(b, '{');
	for (size_t i = 0; i < n; i++) {
		buf_addf(b, "%s:", sorted[i]->key->text);
		add_any(b, sorted[i]->value);
		buf_addch(b, ',');
	}
	buf_addch(b, '}');
	free(sorted);
}

/* Any value as one text; equal ones have equal texts. */
static void add_any(struct buf *b, const struct yaml_node *v)
{
	if (v->kind == YAML_TEXT) {
		_cleanup_free_ char *text = travis_text(v);

		buf_addf(b, "%zu\"%s", strlen(text), text);
	} else if (v->kind == YAML_MAP) {
		add_map(b, v);
	} else {
		buf_addch(b, '[');
		for (size_t i = 0; i < v->len; i++) {
			add_any(b, v->items[i]);
			buf_addch(b, ',');
		}
		buf_addch(b, ']');
	}
}

static void add_flat(struct buf *b, const struct yaml_node *v)
{
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len; i++) add_flat(b, v->items[i]);
	if (v->kind == YAML_LIST || yaml_is_null(v)) return;
	add_any(b, v);
	buf_addch(b, ',');
}

static int is_false(const char *s)
{
	static const char *const words[] = {"false", "no", "off", "disabled", "not_required", "disable"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcasecmp(s, words[i])) return 1;
	return 0;
}

/* Where one text is wanted and a list stands, its first counts. */
static const struct yaml_node *first_of(const struct yaml_node *v)
{
	while (v->kind == YAML_LIST && v->len) v = v->items[0];
	return v;
}

static char *word_of(struct reader *r, const struct travis_key *k, const struct yaml_node *v)
{
	_cleanup_free_ char *text = travis_text(v);
	char *word;
	int known;

	if (k->kind != TRAVIS_WORD && strcmp(k->name, "os") != 0 && strcmp(k->name, "arch") != 0) return steal(text);
	word = travis_word(k->name, text, &known);
	if (!known)
		problem_add(r->problems, node_place(v), 1, "'%.60s' in '%s' is not known", text, k->name);
	else if (strcmp(word, text) != 0 && strcasecmp(word, text) != 0)
		problem_add(r->problems, node_place(v), 1, "'%.60s' in '%s' is read as '%s'", text, k->name, word);
	if (!known && !strcmp(k->name, "os")) {
		free(word);
		word = xstrdup("linux");
	}
	return word;
}

/* The value of a key as the text that rules compare. Caller frees. */
static char *attr_text(struct reader *r, const struct travis_key *k, const struct yaml_node *v)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);
	const struct yaml_node *one = first_of(v);

	if (k && k->kind == TRAVIS_LIST) {
		add_flat(&b, v);
	} else if (k && k->kind != TRAVIS_ANY && one->kind == YAML_TEXT) {
		_cleanup_free_ char *word = word_of(r, k, one);

		buf_adds(&b, k->kind == TRAVIS_YES ? is_false(word) ? "false" : "true" : word);
	} else {
		add_any(&b, v);
	}
	return buf_steal(&b);
}

/* --- keys --- */

struct pair {
	const struct travis_key *k; /* NULL: unknown */
	const struct yaml_pair *p;
};

/* The pairs that count, with what their keys mean. */
static size_t pairs_of(struct reader *r, const struct yaml_node *map, int where, struct pair **pairs_r)
{
	struct pair *pairs = xcalloc(map->len, sizeof(*pairs));
	size_t n = 0;

	for (size_t i = 0; i < map->len; i++) {
		const struct yaml_node *key = map->pairs[i].key;
		const struct travis_key *k;

		if (map->pairs[i].repeated) continue;
		k = travis_key_find(key->text, where);
		if (!k && !strchr("_.", *key->text))
			problem_add(r->problems, node_place(key), 1, "unknown key '%s'", key->text);
		if (k && strcmp(k->name, key->text) != 0)
			problem_add(r->problems, node_place(key), 1, "'%s' is read as '%s'", key->text, k->name);
		pairs[n++] = (struct pair){k, &map->pairs[i]};
	}
	*pairs_r = pairs;
	return n;
}

static const struct yaml_node *find(const struct pair *pairs, size_t n, const char *name)
{
	const struct yaml_node *found = NULL;

	int own = 0;

	/* One that goes by another of its names replaces one under its own. */
	for (size_t i = 0; i < n; i++) {
		if (!pairs[i].k || strcmp(pairs[i].k->name, name) != 0 || (found && !own)) continue;
		found = pairs[i].p->value;
		own = !strcmp(pairs[i].p->key->text, name);
	}
	return found && !yaml_is_null(found) ? found : NULL;
}

static int has_key(const struct pair *pairs, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (pairs[i].k && !strcmp(pairs[i].k->name, name)) return 1;
	return 0;
}

static void unused_key(struct reader *r, const struct travis_key *k, const struct yaml_node *at)
{
	static const char *const silent[] = {
		"language", "dist",  "sudo",       "group",          "os",    "arch",         "name",
		"version",  "stage", "conditions", "filter_secrets", "if",    "branch",       "jobs",
		"stages",   "env",   "addons",     "branches",       "trace", "allow_failure"};

	if (k->kind == TRAVIS_AXIS || k->read) return;
	for (size_t i = 0; i < ARRAY_LEN(silent); i++)
		if (!strcmp(silent[i], k->name)) return;
	problem_add(r->problems, node_place(at), 1, "'%s' is not carried out", k->name);
}

/* --- settings: what is carried out of what stands at the top or in a row --- */

static void say_unused(struct reader *r, const struct yaml_node *map, const char *const *used, const char *in)
{
	for (size_t i = 0; map && map->kind == YAML_MAP && i < map->len; i++) {
		const char *const *u = used;

		while (*u && strcmp(*u, map->pairs[i].key->text) != 0) u++;
		if (!*u && !map->pairs[i].repeated)
			problem_add(r->problems, node_place(map->pairs[i].key), 1, "'%s' in '%s' is not carried out",
				    map->pairs[i].key->text, in);
	}
}

static void read_addons(struct reader *r, const struct yaml_node *addons, struct settings *s)
{
	static const char *const of_addons[] = {"apt", "apt_packages", NULL}, *const of_apt[] = {"packages", "update",
												 NULL};
	static char word[] = "packages";
	static const struct yaml_node name = {.kind = YAML_TEXT, .text = word};
	const struct yaml_node *apt = yaml_get(addons, "apt"), *list = yaml_get(addons, "apt_packages");

	say_unused(r, addons, of_addons, "addons");
	say_unused(r, apt, of_apt, "apt");
	if (apt && apt->kind == YAML_MAP) apt = yaml_get(apt, "packages");
	if (!apt || yaml_is_null(apt)) apt = list;
	if (!apt || yaml_is_null(apt)) return;
	read_packages(r, &name, apt, &s->packages);
	s->set |= SET_PACKAGES;
}

static void read_settings(struct reader *r, const struct pair *pairs, size_t n, struct settings *s)
{
	for (size_t i = 0; i < n; i++) {
		const struct travis_key *k = pairs[i].k;
		const struct yaml_node *v = pairs[i].p->value;

		if (!k) continue;
		unused_key(r, k, pairs[i].p->key);
		if (!k->read || yaml_is_null(v)) continue;
		k->read(r, pairs[i].p->key, v, (char *)s + k->offset);
		s->set |= k->bit;
	}
	if (find(pairs, n, "addons")) read_addons(r, find(pairs, n, "addons"), s);
}

static void read_attrs(struct reader *r, const struct pair *pairs, size_t n, int where, struct attrs *attrs)
{
	static const char *const dropped[] = {"jobs",   "stages",        "notifications", "version",
					      "import", "allow_failure", "env",           "if"};

	for (size_t i = 0; i < n; i++) {
		const struct travis_key *k = pairs[i].k;
		_cleanup_free_ char *value = NULL;
		size_t d = 0;

		if (yaml_is_null(pairs[i].p->value)) continue;
		while (k && d < ARRAY_LEN(dropped) && strcmp(dropped[d], k->name) != 0) d++;
		if (k && d < ARRAY_LEN(dropped)) continue;
		if (k && k->kind == TRAVIS_AXIS && where == TRAVIS_ROOT) continue;
		if (attrs->len == ATTRS_MAX) {
			problem_add(r->problems, node_place(pairs[i].p->key), 1, "more than %d keys: left out",
				    (int)ATTRS_MAX);
			break;
		}
		value = attr_text(r, k, pairs[i].p->value);
		if (k && k->kind == TRAVIS_AXIS && strlen(value) > VALUE_MAX_BYTES) continue;
		attrs_set(attrs, k ? k->name : pairs[i].p->key->text, value);
	}
	attrs_sort(attrs);
}

/* --- rows --- */

static void read_condition(struct reader *r, const struct yaml_node *v, struct settings *s, int *broken)
{
	if (!v) return;
	s->if_at = node_place(v);
	*broken = condition_to(r, first_of(v), &s->only_if) != 0;
}

static void read_row(struct reader *r, const struct yaml_node *v, struct matrix_rows *rows, int is_rule)
{
	struct matrix_row *row;
	struct pair *pairs;
	const struct yaml_node *it;
	size_t n;

	if (rows->len == EXPAND_MAX_RULES) {
		problem_add(r->problems, node_place(v), 1, "more than %d rows: left out", (int)EXPAND_MAX_RULES);
		return;
	}
	row = row_add(rows, v);
	n = pairs_of(r, v, TRAVIS_ROW, &pairs);
	read_attrs(r, pairs, n, TRAVIS_ROW, &row->attrs);
	if (!is_rule) read_settings(r, pairs, n, &row->own);
	read_condition(r, find(pairs, n, "if"), &row->own, &row->broken);
	it = find(pairs, n, "env");
	if (it) {
		row->has_env = 1;
		travis_env_row(r, it, &row->env, 0);
	}
	row->no_env = !it && is_rule && has_key(pairs, n, "env");
	if (attrs_get(&row->attrs, "name")) row->name = xstrdup(attrs_get(&row->attrs, "name"));
	if (attrs_get(&row->attrs, "stage")) row->stage = xstrdup(attrs_get(&row->attrs, "stage"));
	it = find(pairs, n, "allow_failure");
	if (it && first_of(it)->kind == YAML_TEXT) row->allow_failure = !is_false(first_of(it)->text);
	free(pairs);
}

static void read_each(struct reader *r, const struct yaml_node *v, struct matrix_rows *rows, int is_rule)
{
	if (v->kind == YAML_MAP) read_row(r, v, rows, is_rule);
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len; i++) read_each(r, v->items[i], rows, is_rule);
	if (v->kind == YAML_TEXT && !yaml_is_null(v))
		problem_add(r->problems, node_place(v), 1, "a row of the matrix must be a mapping, not text: left out");
}

static const char *jobs_key(const char *key)
{
	static const char *const names[] = {"include", "exclude", "allow_failures", "fast_finish"};
	const char *meant;

	if (!strcmp(key, "allowed_failures")) return "allow_failures";
	if (!strcmp(key, "fast_failure")) return "fast_finish";
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(key, names[i])) return names[i];
	meant = strlen(key) > 3 ? nearest(key, names, ARRAY_LEN(names)) : NULL;
	return meant ? meant : "";
}

/* A list under `jobs`, or a mapping of none of its keys, is what is included. */
static void read_jobs(struct reader *r, const struct yaml_node *v, struct config *c)
{
	size_t known = 0;

	for (size_t i = 0; v->kind == YAML_MAP && i < v->len; i++) {
		const struct yaml_pair *pair = &v->pairs[i];
		const char *key = jobs_key(pair->key->text);

		known += *key != '\0';
		if (pair->repeated) continue;
		if (!strcmp(key, "include")) read_each(r, pair->value, &c->include, 0);
		if (!strcmp(key, "exclude")) read_each(r, pair->value, &c->exclude, 1);
		if (!strcmp(key, "allow_failures")) read_each(r, pair->value, &c->allow_failures, 1);
		if (!strcmp(key, "fast_finish") && pair->value->kind == YAML_TEXT)
			c->fast_finish = !is_false(pair->value->text);
	}
	if (!known) read_each(r, v, &c->include, 0);
}

/* --- the top --- */

static void add_words(struct buf *b, struct reader *r, const struct travis_key *os, const struct yaml_node *v)
{
	for (size_t i = 0; v && i < (v->kind == YAML_LIST ? v->len : 1); i++) {
		const struct yaml_node *item = v->kind == YAML_LIST ? v->items[i] : v;
		_cleanup_free_ char *word = NULL;

		if (item->kind != YAML_TEXT || yaml_is_null(item)) continue;
		word = word_of(r, os, item);
		buf_addf(b, "%s%s", b->len ? " " : "", word);
	}
}

static char *axis_value(struct reader *r, const struct travis_key *k, const struct yaml_node *v)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	if (v->kind == YAML_TEXT) return word_of(r, k, v);
	add_any(&b, v);
	return buf_steal(&b);
}

static void read_axis_values(struct reader *r, const struct travis_key *k, const struct yaml_node *v, struct config *c)
{
	struct axis *axis = axis_add(&c->axes, k->name, node_place(v));
	const struct yaml_node *one =
		v->kind == YAML_LIST && v->len == 1 && v->items[0]->kind == YAML_LIST ? v->items[0] : v;

	for (size_t i = 0; i < (one->kind == YAML_LIST ? one->len : 1) && axis->values.len <= EXPAND_MAX_CELLS; i++) {
		const struct yaml_node *item = one->kind == YAML_LIST ? one->items[i] : one;
		_cleanup_free_ char *value = yaml_is_null(item) ? NULL : axis_value(r, k, first_of(item));

		if (value && strlen(value) > VALUE_MAX_BYTES)
			problem_add(r->problems, node_place(item), 1, "longer than %d bytes: left out",
				    (int)VALUE_MAX_BYTES);
		else if (value)
			vec_add(&axis->values, value);
	}
}

/* A key of another language makes no jobs; but where no language is written, rules know it. */
static void other_language(struct reader *r, const struct travis_key *k, const struct yaml_node *v, struct config *c)
{
	_cleanup_free_ char *value = v->kind == YAML_TEXT ? word_of(r, k, v) : NULL;

	if (value && strlen(value) <= VALUE_MAX_BYTES && c->attrs.len < ATTRS_MAX) attrs_set(&c->attrs, k->name, value);
}

static void read_axes_of(struct reader *r, const struct pair *pairs, size_t n, const char *systems, struct config *c)
{
	for (size_t i = 0; i < travis_keys_len && travis_keys[i].kind == TRAVIS_AXIS; i++) {
		const struct travis_key *k = &travis_keys[i];
		const struct yaml_node *v = find(pairs, n, k->name);

		if (!v) continue;
		if (!travis_supports(k, r->language, systems)) {
			if (!find(pairs, n, "language")) other_language(r, k, first_of(v), c);
			continue;
		}
		read_axis_values(r, k, v, c);
		if (!c->axes.items[c->axes.len - 1].values.len) {
			free(c->axes.items[--c->axes.len].name);
			vec_release(&c->axes.items[c->axes.len].values);
		}
	}
}

static void read_stage_list(struct reader *r, const struct yaml_node *v, struct config *c)
{
	size_t n = !v ? 0 : v->kind == YAML_LIST ? v->len : 1;

	for (size_t i = 0; i < n && c->nstages < STAGES_MAX; i++) {
		const struct yaml_node *item = v->kind == YAML_LIST ? v->items[i] : v;
		const struct yaml_node *name = item->kind == YAML_MAP ? yaml_get(item, "name") : item, *cond;
		struct stage stage = {.at = node_place(item)};

		if (!name || name->kind != YAML_TEXT || yaml_is_null(name)) continue;
		stage.name = xstrdup(name->text);
		cond = yaml_get(item, "if");
		if (cond && !yaml_is_null(cond)) stage.broken = condition_to(r, cond, &stage.only_if) != 0;
		c->stages = xrealloc(c->stages, (c->nstages + 1) * sizeof(*c->stages));
		c->stages[c->nstages++] = stage;
	}
}

static void set_defaults(const char *language, const char *systems, struct config *c)
{
	if (!axis_find(&c->axes, "os")) {
		struct axis first;

		vec_add(&axis_add(&c->axes, "os", (struct yaml_place){1, 1})->values, systems);
		first = c->axes.items[c->axes.len - 1]; /* the one that varies slowest */
		memmove(&c->axes.items[1], c->axes.items, (c->axes.len - 1) * sizeof(*c->axes.items));
		c->axes.items[0] = first;
	}
	if (!attrs_get(&c->attrs, "language")) attrs_set(&c->attrs, "language", language);
	attrs_sort(&c->attrs);
}

static void read_top(struct reader *r, const struct pair *pairs, size_t n, struct config *c)
{
	static const struct travis_key os = {.name = "os", .kind = TRAVIS_AXIS};
	_cleanup_buf_ struct buf systems = BUF_INIT(1 << 16);
	_cleanup_free_ char *language = NULL;
	const struct yaml_node *v = find(pairs, n, "language");

	v = v ? first_of(v) : NULL;
	if (v && v->kind == YAML_TEXT && !yaml_is_null(v)) {
		static const struct travis_key key = {.name = "language", .kind = TRAVIS_WORD};

		language = word_of(r, &key, v);
	}
	add_words(&systems, r, &os, find(pairs, n, "os"));
	if (!language) language = xstrdup(!strcmp(buf_str(&systems), "osx") ? "objective-c" : "ruby");
	if (!systems.len) buf_adds(&systems, strcmp(language, "objective-c") ? "linux" : "osx");
	r->language = language;
	read_attrs(r, pairs, n, TRAVIS_ROOT, &c->attrs);
	read_axes_of(r, pairs, n, buf_str(&systems), c);
	set_defaults(language, buf_str(&systems), c);
	read_settings(r, pairs, n, &c->settings);
	read_condition(r, find(pairs, n, "if"), &c->settings, &c->broken_if);
	if (find(pairs, n, "env")) travis_env_read(r, find(pairs, n, "env"), c);
	if (find(pairs, n, "jobs")) read_jobs(r, find(pairs, n, "jobs"), c);
	read_stage_list(r, find(pairs, n, "stages"), c);
}

void travis_read(struct reader *r, const struct yaml_node *root, struct config *c)
{
	static const struct yaml_node nothing = {.kind = YAML_MAP, .line = 1, .col = 1};
	const struct yaml_node *top = root && !yaml_is_null(root) ? root : &nothing, *branches;
	static char word[] = "branches";
	static const struct yaml_node name = {.kind = YAML_TEXT, .text = word};
	struct pair *pairs;
	size_t n;

	if (top->kind != YAML_MAP) {
		problem_add(r->problems, node_place(top), 0, "the file must be a mapping of keys, not %s",
			    yaml_kind_name(top->kind));
		return;
	}
	n = pairs_of(r, top, TRAVIS_ROOT, &pairs);
	read_top(r, pairs, n, c);
	branches = find(pairs, n, "branches");
	if (branches) read_branches(r, &name, branches, c);
	free(pairs);
}
