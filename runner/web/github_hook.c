/* GitHub's deliveries, from signature to row. */
#include "runner/web/github_hook.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runner/trigger/github.h"

enum { MAX_SECRET = 4096 };

/* --- the secrets, read again when their file is another --- */

struct hook_secret {
	int64_t repo_id;
	struct stat at;
	struct secret secret; /* empty: unreadable, fits nothing */
};

struct github_hooks {
	struct store *store;
	char *repos_dir;
	struct hook_secret *secrets;
	size_t n;
	const struct github_take *large; /* the one that may be; only compared */
};

struct github_hooks *github_hooks_new(struct store *s, const char *repos_dir)
{
	struct github_hooks *h = xcalloc(1, sizeof(*h));

	h->store = s;
	h->repos_dir = xstrdup(repos_dir);
	return h;
}

void github_hooks_free(struct github_hooks **hp)
{
	struct github_hooks *h = *hp;

	if (!h) return;
	for (size_t i = 0; i < h->n; i++) secret_release(&h->secrets[i].secret);
	free(h->secrets);
	free(h->repos_dir);
	free_p(hp);
}

static int is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct hook_secret *find_secret(struct github_hooks *h, int64_t repo_id)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->secrets[i].repo_id == repo_id) return &h->secrets[i];
	h->secrets = xrealloc(h->secrets, (h->n + 1) * sizeof(*h->secrets));
	h->secrets[h->n] = (struct hook_secret){.repo_id = repo_id};
	return &h->secrets[h->n++];
}

/* White space at its end is not part of it. */
static const struct secret *secret_of(struct github_hooks *h, int64_t repo_id)
{
	_cleanup_free_ char *path = xasprintf("%s/%lld/hook-secret", h->repos_dir, (long long)repo_id);
	struct hook_secret *known = find_secret(h, repo_id);
	struct secret *s = &known->secret;
	struct stat now = {0};
	struct err ignored;

	if (!stat(path, &now) && is_same_file(&now, &known->at)) return s;
	secret_release(s);
	known->at = now;
	if (secret_read_file(path, MAX_SECRET, s, &ignored)) {
		secret_release(s);
		known->at = (struct stat){0};
	}
	while (s->len && strchr(" \t\r\n", s->data[s->len - 1])) s->data[--s->len] = '\0';
	return s;
}

/* --- a delivery that comes --- */

/* The repositories whose secret may have made the signature (several may share one), and their hashes so far. */
struct github_take {
	struct github_hooks *hooks;
	char *only; /* NULL: any */
	char *signature;
	struct repo *repos;
	size_t n, bytes;
	struct github_hmac *hashes; /* n, in memory for secrets */
	char *fits;
};

void github_take_free(struct github_take **tp)
{
	struct github_take *t = *tp;

	if (!t) return;
	if (t->hooks->large == t) t->hooks->large = NULL;
	repos_free(&t->repos, t->n);
	sodium_free(t->hashes);
	free(t->only);
	free(t->signature);
	free(t->fits);
	free_p(tp);
}

static void answer_refused(struct http_answer *a)
{
	http_answer_error(a, 401, ERR_DENIED, "the signature X-Hub-Signature-256 is missing or wrong");
}

/* One that is not there has no secret that fits. */
static int list_candidates(struct github_take *t, struct err *e)
{
	struct repo one = {0};

	if (!t->only) return store_repo_list(t->hooks->store, &t->repos, &t->n, e);
	if (store_repo_find(t->hooks->store, t->only, &one, e)) return e->kind == ERR_MISSING ? 0 : -1;
	t->repos = xcalloc(1, sizeof(one));
	t->repos[t->n++] = one;
	return 0;
}

int github_take_begin(struct github_hooks *h, const char *repo, const char *signature, struct http_answer *a,
		      struct github_take **t_r, struct err *e)
{
	struct github_take *t;

	if (!github_signature_shaped(signature)) {
		answer_refused(a);
		return 1;
	}
	t = xcalloc(1, sizeof(*t));
	t->hooks = h;
	t->only = repo ? xstrdup(repo) : NULL;
	t->signature = xstrdup(signature);
	if (list_candidates(t, e)) {
		http_answer_error(a, 503, e->kind, "the repositories could not be read");
		github_take_free(&t);
		return -1;
	}
	if (!t->n) {
		answer_refused(a);
		github_take_free(&t);
		return 1;
	}
	t->fits = xcalloc(t->n, 1);
	t->hashes = sodium_allocarray(t->n, sizeof(*t->hashes));
	if (!t->hashes) die("out of memory for a delivery's hashes");
	for (size_t i = 0; i < t->n; i++) github_hmac_start(&t->hashes[i], secret_of(h, t->repos[i].id));
	*t_r = t;
	return 0;
}

int github_take_part(struct github_take *t, const void *data, size_t len)
{
	t->bytes += len;
	if (!t->only && t->bytes > GITHUB_HOOK_LARGE) {
		if (t->hooks->large && t->hooks->large != t) return 1;
		t->hooks->large = t;
	}
	for (size_t i = 0; i < t->n; i++) github_hmac_add(&t->hashes[i], data, len);
	return 0;
}

/* All are compared, whichever fits. */
static int count_signers(struct github_take *t)
{
	int n = 0;

	for (size_t i = 0; i < t->n; i++) {
		t->fits[i] = (char)github_hmac_fits(&t->hashes[i], t->signature);
		n += t->fits[i];
	}
	return n;
}

/* 1: this repository's own secret made it; 0: another's did; -1: there is no such repository */
static int is_signed_by(const struct github_take *t, const char *repo)
{
	for (size_t i = 0; i < t->n; i++)
		if (!strcmp(t->repos[i].name, repo)) return t->fits[i];
	return t->only ? 0 : -1;
}

/* --- a delivery that is whole --- */

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

static int take_event(const struct github_take *t, const struct event *ev, int64_t now_ms, struct http_answer *a,
		      int *stored_r, struct err *e)
{
	if (!ev->repo) { /* the ping of an organisation's webhook */
		http_answer_json(a, 200, json_pack("{s:s}", "ignored", "ping"));
		return 0;
	}
	switch (is_signed_by(t, ev->repo)) {
	case 1: return store_event(t->hooks->store, ev, now_ms, a, stored_r, e);
	case 0: answer_refused(a); return 0;
	default: http_answer_error(a, 404, ERR_MISSING, "no repository '%s'", ev->repo); return 0;
	}
}

int github_hook(struct github_take *t, const struct github_delivery *d, int64_t now_ms, struct http_answer *a,
		int *stored_r, struct err *e)
{
	struct event ev = {0};
	struct err why;
	int got;

	*stored_r = 0;
	if (!count_signers(t)) {
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
	got = take_event(t, &ev, now_ms, a, stored_r, e);
	event_release(&ev);
	return got;
}
