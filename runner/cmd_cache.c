/* `runner cache`: the folders that are kept from build to build, as they lie on this box. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "runner/cmd.h"
#include "runner/place.h"
#include "runner/store/caches.h"

struct options {
	const char *state, *repo, *key;
	int json;
};

static int fail(const struct err *e)
{
	return cmd_fail("cache", e->text);
}

static json_t *as_json(const char *repo, const struct cache_item *it)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "repo", repo, "tier", it->tier, "key",
			 it->key, "disk_bytes", (json_int_t)it->disk_bytes, "files", (json_int_t)it->head.files,
			 "bytes", (json_int_t)it->head.bytes, "saved_ms", (json_int_t)it->head.saved_ms, "used_ms",
			 (json_int_t)it->used_ms, "job", json_any_text(it->head.job), "label",
			 json_any_text(it->head.label));
}

static int list_repo(const struct home *h, const struct repo *r, json_t *all, int json, struct err *e)
{
	_cleanup_free_ char *dir = home_repo(h, r->id, "cache");
	struct cache_item *items = NULL;
	size_t n = 0;

	if (caches_list(dir, &items, &n, e)) return -1;
	for (size_t i = 0; i < n; i++) {
		const struct cache_item *it = &items[i];

		json_array_append_new(all, as_json(r->name, it));
		if (!json)
			printf("%-24s  %-8s  %.12s  %7lld kB  job %-6s  %s\n", r->name, it->tier, it->key,
			       (long long)(it->disk_bytes / 1000), it->head.job, it->head.label);
	}
	cache_items_free(&items, n);
	return 0;
}

static int list(const struct options *o)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	_cleanup_json_ json_t *all = json_array();
	__attribute__((cleanup(repo_release))) struct repo one = {0};
	struct repo *repos = NULL;
	struct err e;
	size_t n = 0;
	int failed = 0;

	if (place_open(o->state, &p, &e) || (o->repo && store_repo_find(p.store, o->repo, &one, &e)) ||
	    store_repo_list(p.store, &repos, &n, &e))
		return fail(&e);
	for (size_t i = 0; i < n && !failed; i++)
		if (!o->repo || repos[i].id == one.id) failed = list_repo(&p.home, &repos[i], all, o->json, &e);
	repos_free(&repos, n);
	if (failed) return fail(&e);
	if (o->json) {
		_cleanup_free_ char *text = json_text(all);

		printf("%s\n", text);
	}
	return 0;
}

/* A job that reads one has it open, and goes on. */
static int empty(const struct options *o, const char *name)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	_cleanup_free_ char *dir = NULL;
	struct cache_item *items = NULL;
	size_t n = 0, removed = 0, matched = 0;
	struct err e;
	int failed = 0;

	if (place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e)) return fail(&e);
	dir = home_repo(&p.home, r.id, "cache");
	if (caches_list(dir, &items, &n, &e)) return fail(&e);
	for (size_t i = 0; i < n && !failed; i++) {
		if (o->key && strncmp(items[i].key, o->key, strlen(o->key)) != 0) continue;
		matched++;
		failed = cache_item_remove(&items[i], &e);
		removed += !failed;
	}
	cache_items_free(&items, n);
	if (failed) return fail(&e);
	if (o->key && !matched) {
		err_set(&e, ERR_MISSING, "no cache of '%s' has a key that begins with '%s'", name, o->key);
		return fail(&e);
	}
	printf("%zu caches removed\n", removed);
	return 0;
}

int cmd_cache(int argc, char **argv)
{
	static const struct option known[] = {{"state", required_argument, NULL, 's'},
					      {"repo", required_argument, NULL, 'r'},
					      {"key", required_argument, NULL, 'k'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	struct options o = {0};
	char **arg;
	int c, n;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 's': o.state = optarg; break;
		case 'r': o.repo = optarg; break;
		case 'k': o.key = optarg; break;
		case 'j': o.json = 1; break;
		default: return cmd_usage("cache");
		}
	arg = argv + optind;
	n = argc - optind;
	if (n == 1 && !strcmp(arg[0], "list") && !o.key) return list(&o);
	if (n == 2 && !strcmp(arg[0], "rm") && !o.repo && !o.json) return empty(&o, arg[1]);
	return cmd_usage("cache");
}
