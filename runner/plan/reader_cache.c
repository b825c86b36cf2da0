/* `cache` of both files. In .ci.yml: folders, or a mapping with them and with what the cache is of. In .travis.yml also
 * the names of tools, which stand for the folders they keep their downloads in.
 *  src  docs.travis-ci.com/user/caching; the tools' own manuals for the folders */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/reader.h"

enum { CACHE_MAX_PATHS = 50, CACHE_MAX_FILES = 20 };

void cache_rule_release(struct cache_rule *c)
{
	vec_release(&c->paths);
	vec_release(&c->files);
	free_p(&c->key);
}

static const char *bad_key(const char *s)
{
	if (!*s) return "must not be empty";
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) return "must hold no control character";
	return strlen(s) > 256 ? "must be at most 256 characters long" : NULL;
}

static const char *bad_key_file(const char *s)
{
	if (strpbrk(s, "*?[")) return "must be the name of one file: patterns are not looked for";
	return bad_glob(s);
}

static void cut(struct reader *r, const struct yaml_node *key, struct vec *list, size_t most, const char *what)
{
	if (list->len <= most) return;
	wrong(r, node_place(key), "'%s' has %zu %s: there may be %zu", key->text, list->len, what, most);
	while (list->len > most) free(list->items[--list->len]);
	list->items[most] = NULL;
}

void read_cache_paths(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct cache_rule *c = to;

	list_to(r, key, v, bad_cache, &c->paths);
	cut(r, key, &c->paths, CACHE_MAX_PATHS, "folders");
}

void read_cache_files(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct cache_rule *c = to;

	list_to(r, key, v, bad_key_file, &c->files);
	cut(r, key, &c->files, CACHE_MAX_FILES, "files");
}

void read_cache_text(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct cache_rule *c = to;

	text_to(r, key, v, bad_key, &c->key);
}

void read_cache_key(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (v->kind == YAML_MAP)
		read_map(r, key, v, SCOPE_CACHE_KEY, to, NULL);
	else
		read_cache_text(r, key, v, to);
}

void read_cache(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (v->kind != YAML_MAP) {
		read_cache_paths(r, key, v, to);
		return;
	}
	read_map(r, key, v, SCOPE_CACHE, to, NULL);
	if (!yaml_get(v, "paths"))
		wrong(r, node_place(key), "'%s' has no 'paths': say which folders are kept", key->text);
}

/* --- .travis.yml --- */

static const struct {
	const char *tool, *folders; /* with blanks between them */
} tools[] = {
	{"apt", "/var/cache/apt/archives"},
	{"bundler", "vendor/bundle ~/.bundle"},
	{"cargo", "~/.cargo ~/.rustup target"},
	{"ccache", "~/.ccache ~/.cache/ccache"},
	{"cocoapods", "Pods"},
	{"npm", "~/.npm node_modules"},
	{"packages", "~/R/Library"},
	{"pip", "~/.cache/pip"},
	{"shards", "~/.cache/shards"},
	{"yarn", "~/.cache/yarn ~/.yarn-cache"},
};

static void add_once(struct vec *list, char *s)
{
	if (vec_has(list, s))
		free(s);
	else
		vec_take(list, s);
}

static int add_tool(const char *name, struct vec *paths)
{
	for (size_t i = 0; i < ARRAY_LEN(tools); i++) {
		if (strcmp(tools[i].tool, name) != 0) continue;
		for (const char *p = tools[i].folders; *p; p += strcspn(p, " "), p += *p == ' ')
			add_once(paths, xstrndup(p, strcspn(p, " ")));
		return 1;
	}
	return 0;
}

/* Where Travis's machines had what a box has elsewhere. */
static char *moved(const char *s)
{
	static const struct {
		const char *was, *is;
	} places[] = {{"$HOME/", "~/"},
		      {"${HOME}/", "~/"},
		      {"/home/travis/", "~/"},
		      {"$TRAVIS_BUILD_DIR/", ""},
		      {"${TRAVIS_BUILD_DIR}/", ""}};

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (!strncmp(s, places[i].was, strlen(places[i].was)))
			return xasprintf("%s%s", places[i].is, s + strlen(places[i].was));
	return xstrdup(s);
}

static void add_directories(struct reader *r, const struct yaml_node *v, struct vec *paths)
{
	size_t n = v->kind == YAML_LIST ? v->len : !yaml_is_null(v);

	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = v->kind == YAML_LIST ? v->items[i] : v;
		_cleanup_free_ char *path = item->kind == YAML_TEXT ? moved(item->text) : NULL;
		const char *why = path ? bad_cache(path) : "must be text";

		if (path && strchr(path, '$')) why = "must hold no variable but $HOME and $TRAVIS_BUILD_DIR";
		if (why)
			wrong(r, node_place(item), "the folder '%.200s' is not kept: it %s", path ? path : "…", why);
		else
			add_once(paths, steal(path));
	}
}

static int is_off(const struct yaml_node *v)
{
	static const char *const words[] = {"false", "no", "off", "False", "FALSE"};

	for (size_t i = 0; i < ARRAY_LEN(words) && v->kind == YAML_TEXT; i++)
		if (!strcmp(v->text, words[i])) return 1;
	return yaml_is_null(v);
}

static void add_travis(struct reader *r, const struct yaml_node *v, struct vec *paths);

static void add_travis_map(struct reader *r, const struct yaml_node *v, struct vec *paths)
{
	static const char *const settings[] = {"timeout", "edge", "branch"};

	for (size_t i = 0; i < v->len; i++) {
		const struct yaml_node *key = v->pairs[i].key;
		int known = 0;

		if (v->pairs[i].repeated) continue;
		for (size_t k = 0; k < ARRAY_LEN(settings); k++) known |= !strcmp(key->text, settings[k]);
		if (!strcmp(key->text, "directories") || !strcmp(key->text, "directory"))
			add_directories(r, v->pairs[i].value, paths);
		else if (!known && !is_off(v->pairs[i].value))
			add_travis(r, key, paths);
	}
}

static void add_travis(struct reader *r, const struct yaml_node *v, struct vec *paths)
{
	switch (v->kind) {
	case YAML_LIST:
		for (size_t i = 0; i < v->len; i++)
			if (v->items[i]->kind != YAML_LIST) add_travis(r, v->items[i], paths);
		return;
	case YAML_MAP: add_travis_map(r, v, paths); return;
	case YAML_TEXT:
		if (is_off(v) || !strcmp(v->text, "true") || add_tool(v->text, paths)) return;
		wrong(r, node_place(v), "nothing is known of the cache '%.100s': name its folders under 'directories'",
		      v->text);
		return;
	}
}

void read_travis_cache(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct cache_rule *c = to;

	cache_rule_release(c);
	add_travis(r, v, &c->paths);
	cut(r, key, &c->paths, CACHE_MAX_PATHS, "folders");
}
