/* GitHub's deliveries, from signature to row. */
#include "runner/web/github_hook.h"

#include <stdlib.h>
#include <string.h>

#include "runner/trigger/github.h"

enum { MAX_SECRET = 4096 };

int github_hook_secret(const char *repos_dir, int64_t repo_id, struct secret *secret_r, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%lld/hook-secret", repos_dir, (long long)repo_id);

	if (secret_read_file(path, MAX_SECRET, secret_r, e)) return -1;
	while (secret_r->len && strchr(" \t\r\n", secret_r->data[secret_r->len - 1]))
		secret_r->data[--secret_r->len] = '\0';
	return 0;
}

/* The repositories whose secret made the signature (several may share one). All are tried, whichever fits. A
 * repository without a readable secret has none that fits. */
struct signers {
	struct repo *repos;
	char *fits;
	size_t n, nfits;
};

static void signers_release(struct signers *g)
{
	repos_free(&g->repos, g->n);
	free(g->fits);
}

static int find_signers(struct store *s, const char *repos_dir, const struct github_delivery *d, struct signers *g,
			struct err *e)
{
	if (store_repo_list(s, &g->repos, &g->n, e)) return -1;
	g->fits = xcalloc(g->n + 1, 1);
	for (size_t i = 0; i < g->n; i++) {
		_cleanup_secret_ struct secret secret = SECRET_INIT;
		struct err ignored;

		if (github_hook_secret(repos_dir, g->repos[i].id, &secret, &ignored)) continue;
		g->fits[i] = (char)github_signature_ok(&secret, d->body, d->len, d->signature);
		g->nfits += (size_t)g->fits[i];
	}
	return 0;
}

/* 1: this repository's own secret made it; 0: another's did; -1: there is no such repository */
static int is_signed_by(const struct signers *g, const char *repo)
{
	for (size_t i = 0; i < g->n; i++)
		if (!strcmp(g->repos[i].name, repo)) return g->fits[i];
	return -1;
}

static void answer_refused(struct http_answer *a)
{
	http_answer_error(a, 401, ERR_DENIED, "the signature X-Hub-Signature-256 is missing or wrong");
}

static int store_event(struct store *s, const struct event *ev, int64_t now_ms, struct http_answer *a, int *stored_r,
		       struct err *e)
{
	int64_t id;
	int got = store_event_add(s, ev, now_ms, &id, e);

	if (got < 0 && e->kind == ERR_MISSING) { /* removed since the signature was checked */
		http_answer_error(a, 404, e->kind, "%s", e->text);
		return 0;
	}
	if (got < 0) {
		http_answer_error(a, 503, e->kind, "the event could not be stored");
		return -1;
	}
	*stored_r = got == 0;
	http_answer_json(a, ev->kind == EVENT_PING ? 200 : 202,
			 json_pack("{s:I, s:b}", "event", (json_int_t)id, "duplicate", got));
	return 0;
}

static int take_event(struct store *s, const struct signers *g, const struct event *ev, int64_t now_ms,
		      struct http_answer *a, int *stored_r, struct err *e)
{
	if (!ev->repo) { /* the ping of an organisation's webhook */
		http_answer_json(a, 200, json_pack("{s:s}", "ignored", "ping"));
		return 0;
	}
	switch (is_signed_by(g, ev->repo)) {
	case 1: return store_event(s, ev, now_ms, a, stored_r, e);
	case 0: answer_refused(a); return 0;
	default: http_answer_error(a, 404, ERR_MISSING, "no repository '%s'", ev->repo); return 0;
	}
}

int github_hook(struct store *s, const char *repos_dir, const struct github_delivery *d, int64_t now_ms,
		struct http_answer *a, int *stored_r, struct err *e)
{
	__attribute__((cleanup(signers_release))) struct signers g = {0};
	struct event ev = {0};
	struct err why;
	int got;

	*stored_r = 0;
	if (find_signers(s, repos_dir, d, &g, e)) {
		http_answer_error(a, 503, e->kind, "the repositories could not be read");
		return -1;
	}
	if (!g.nfits) {
		answer_refused(a);
		return 0;
	}
	got = github_parse(d->event, d->delivery, d->body, d->len, &ev, &why);
	if (got < 0) {
		http_answer_error(a, 400, why.kind, "%s", why.text);
		return 0;
	}
	if (got == 1) {
		http_answer_json(a, 202, json_pack("{s:s}", "ignored", d->event));
		return 0;
	}
	got = take_event(s, &g, &ev, now_ms, a, stored_r, e);
	event_release(&ev);
	return got;
}
