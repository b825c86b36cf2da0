/* runner trigger: build the head of a branch now, because a person says so. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/place.h"
#include "runner/trigger/git.h"

static const char *commit_of(const struct vec *heads, const char *ref)
{
	for (size_t i = 0; i + 1 < heads->len; i += 2)
		if (!strcmp(heads->items[i], ref)) return heads->items[i + 1];
	return NULL;
}

/* ref NULL: what the repository's HEAD names */
static int find_head(const struct repo *r, const char *ref, struct event *ev, struct err *e)
{
	_cleanup_vec_ struct vec heads = VEC_INIT;
	_cleanup_free_ char *by_default = NULL;
	const char *commit;

	if (ref && !event_ref_ok(ref)) return err_set(e, ERR_INPUT, "bad name '%s'", ref);
	if (git_ls_remote(r->url, &heads, &by_default, e)) return -1;
	if (!ref) ref = by_default;
	if (!ref) return err_set(e, ERR_INPUT, "'%s' has no default branch: say which by --branch", r->url);
	commit = commit_of(&heads, ref);
	if (!commit) return err_set(e, ERR_MISSING, "no '%s' in '%s'", ref, r->url);
	event_set_ref(ev, ref);
	ev->commit = xstrdup(commit);
	return 0;
}

static int trigger(const char *state, const char *name, const char *ref)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	__attribute__((cleanup(event_release))) struct event ev = {.kind = EVENT_PUSH, .source = EVENT_FROM_PERSON};
	struct err e;
	int64_t id;

	if (place_open(state, &p, &e) || store_repo_find(p.store, name, &r, &e) || find_head(&r, ref, &ev, &e))
		return cmd_fail("trigger", e.text);
	ev.repo = xstrdup(name);
	ev.delivery = event_new_delivery();
	ev.sender = event_text(getenv("USER"), EVENT_NAME_MAX);
	if (store_event_add(p.store, &ev, clock_unix_ms(), &id, &e) < 0) return cmd_fail("trigger", e.text);
	home_wake(&p.home);
	printf("event %lld: %s %s at %s\n", (long long)id, name, ev.ref, ev.commit);
	return 0;
}

int cmd_trigger(int argc, char **argv)
{
	static const struct option known[] = {{"state", required_argument, NULL, 's'},
					      {"branch", required_argument, NULL, 'b'},
					      {"tag", required_argument, NULL, 't'},
					      {0}};
	_cleanup_free_ char *ref = NULL;
	const char *state = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 's': state = optarg; break;
		case 'b':
		case 't':
			free_p(&ref);
			ref = xasprintf("refs/%s/%s", c == 'b' ? "heads" : "tags", optarg);
			break;
		default: return cmd_usage("trigger");
		}
	return argc - optind == 1 ? trigger(state, argv[optind], ref) : cmd_usage("trigger");
}
