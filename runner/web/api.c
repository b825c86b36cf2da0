/* The daemon's routes: each handler turns a request into a question to the store and its answer into JSON. */
#include "runner/web/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/plan/plan.h"
#include "runner/report/report.h"
#include "runner/web/github_hook.h"
#include "runner/web/http.h"
#include "runner/web/published.h"
#include "senv/keys.h"

struct api {
	struct http *http;
	struct store *store;
	struct github_hooks *hooks;
	struct published *published;
	char *repos_dir;
	void (*stored)(void *arg);
	void *stored_arg;
};

static void unavailable(struct http_answer *a, const char *what, const struct err *e)
{
	fprintf(stderr, "%s: %s\n", what, e->text);
	http_answer_error(a, 503, ERR_SYS, "the store cannot be used now; try again later");
}

static int begin_github(const struct http_request *r, struct http_answer *a, void *arg, void **state_r)
{
	struct api *api = arg;
	_cleanup_free_ char *repo = r->param[0] ? xasprintf("%s/%s", r->param[0], r->param[1]) : NULL;
	struct github_take *t = NULL;
	struct err e;
	int got = github_take_begin(api->hooks, repo, http_header(r, "X-Hub-Signature-256"), a, &t, &e);

	if (got < 0) fprintf(stderr, "webhook: %s\n", e.text);
	*state_r = t;
	return got != 0;
}

static int part_of_github(void *state, const void *data, size_t len)
{
	return github_take_part(state, data, len);
}

static void end_github(void *state)
{
	struct github_take *t = state;

	github_take_free(&t);
}

static void post_github(const struct http_request *r, struct http_answer *a, void *arg)
{
	struct api *api = arg;
	struct github_delivery d = {.event = http_header(r, "X-GitHub-Event"),
				    .delivery = http_header(r, "X-GitHub-Delivery"),
				    .body = r->body,
				    .len = r->body_len};
	int stored = 0;
	struct err e;

	if (github_hook(r->state, &d, clock_unix_ms(), a, &stored, &e)) fprintf(stderr, "webhook: %s\n", e.text);
	if (stored) api->stored(api->stored_arg);
}

static void get_health(const struct http_request *r, struct http_answer *a, void *arg)
{
	struct api *api = arg;
	int64_t version;
	struct err e;

	(void)r;
	if (store_changes(api->store, &version, &e))
		unavailable(a, "health", &e);
	else
		http_answer_json(a, 200, json_pack("{s:b}", "ok", 1));
}

static void get_build(const struct http_request *r, struct http_answer *a, void *arg)
{
	__attribute__((cleanup(build_row_release))) struct build_row b = {0};
	struct api *api = arg;
	struct job_row *jobs = NULL;
	size_t n = 0;
	int64_t id;
	struct err e;

	if (num_parse(r->param[0], 1, INT64_MAX, &id)) {
		http_answer_error(a, 404, ERR_MISSING, "'%s' is no build's id", r->param[0]);
	} else if (store_build_get(api->store, id, &b, &e) || store_build_jobs(api->store, id, &jobs, &n, &e)) {
		if (e.kind == ERR_MISSING)
			http_answer_error(a, 404, ERR_MISSING, "there is no build %lld", (long long)id);
		else
			unavailable(a, "build", &e);
	} else {
		http_answer_json(a, 200, report_build_json(&b, jobs, n));
	}
	job_rows_free(&jobs, n);
}

static int public_key(struct api *api, const char *name, char **text_r, struct err *e)
{
	__attribute__((cleanup(repo_release))) struct repo repo = {0};
	_cleanup_free_ char *path = NULL;

	if (store_repo_find(api->store, name, &repo, e)) return -1;
	path = xasprintf("%s/%lld/key", api->repos_dir, (long long)repo.id);
	return key_read_public(path, text_r, e);
}

static void get_key(const struct http_request *r, struct http_answer *a, void *arg)
{
	_cleanup_free_ char *name = xasprintf("%s/%s", r->param[0], r->param[1]), *text = NULL;
	struct err e;

	if (public_key(arg, name, &text, &e)) {
		if (e.kind == ERR_MISSING)
			http_answer_error(a, 404, ERR_MISSING, "there is no repository '%s'", name);
		else
			unavailable(a, "key", &e);
		return;
	}
	a->status = 200;
	a->type = "text/plain; charset=utf-8";
	buf_addf(&a->body, "%s\n", text);
}

static void get_stream(const struct http_request *r, struct http_answer *a, void *arg)
{
	struct api *api = arg;

	published_stream(api->published, r, a);
}

static void get_schema(const struct http_request *r, struct http_answer *a, void *arg)
{
	(void)r;
	(void)arg;
	http_answer_json(a, 200, plan_schema());
}

static const struct http_upload github_upload = {begin_github, part_of_github, end_github};

static const struct http_route routes[] = {
	{"POST", "/hook/github", post_github, &github_upload},
	{"POST", "/hook/github/:owner/:name", post_github, &github_upload},
	{"GET", "/healthz", get_health, NULL},
	{"GET", "/ci.schema.json", get_schema, NULL},
	{"GET", "/api/v1/builds/:id", get_build, NULL},
	{"GET", "/builds/:id", get_build, NULL}, /* what CI_BUILD_URL names */
	{"GET", "/api/v1/repos/:owner/:name/key", get_key, NULL},
	{"GET", "/api/v1/repos/:owner/:name/stream", get_stream, NULL},
};

int api_open(struct loop *loop, const char *repos_dir, struct store *store, const char *host, int port,
	     void (*stored)(void *arg), void *arg, struct api **api_r, struct err *e)
{
	struct api *a = xcalloc(1, sizeof(*a));

	a->store = store;
	a->repos_dir = xstrdup(repos_dir);
	a->hooks = github_hooks_new(store, repos_dir);
	a->published = published_new(store, repos_dir);
	a->stored = stored;
	a->stored_arg = arg;
	if (http_start(loop, host, port, routes, ARRAY_LEN(routes), a, &a->http, e)) {
		api_close(&a);
		return -1;
	}
	*api_r = a;
	return 0;
}

const char *api_address(const struct api *a)
{
	return http_address(a->http);
}

void api_look(struct api *a)
{
	if (published_is_news(a->published)) http_poke(a->http);
}

void api_close(struct api **ap)
{
	struct api *a = *ap;

	if (!a) return;
	http_stop(&a->http);
	published_free(&a->published);
	github_hooks_free(&a->hooks);
	free(a->repos_dir);
	free(a);
	*ap = NULL;
}
