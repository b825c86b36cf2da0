/* The stream of publications. Each peer has the number of the last one it was told; what is newer is asked of the store
 * when the peer can take it, so a peer that was away or slow is told the newest of each path once. */
#include "runner/web/published.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "lib/num.h"
#include "lib/secret.h"

enum { MAX_TOKEN = 200, HASH_BYTES = 32 };

struct published {
	struct store *store;
	char *repos_dir;
	int64_t last; /* publication that was seen */
};

struct watcher {
	struct published *all;
	int64_t repo_id, told;
	char *repo;
	unsigned char token[HASH_BYTES]; /* of the one it came with */
	int greeted;
};

static void hash_of(const void *token, size_t len, unsigned char hash[HASH_BYTES])
{
	crypto_generichash(hash, HASH_BYTES, token, len, NULL, 0);
}

/* One that is taken away or changed also ends what it had opened. */
static int is_token_of(struct published *p, int64_t repo_id, const unsigned char hash[HASH_BYTES])
{
	_cleanup_secret_ struct secret token = SECRET_INIT;
	_cleanup_free_ char *path = xasprintf("%s/%lld/stream-token", p->repos_dir, (long long)repo_id);
	unsigned char right[HASH_BYTES];
	struct err ignored;

	if (secret_read_file(path, MAX_TOKEN, &token, &ignored)) return 0;
	while (token.len && strchr(" \t\r\n", token.data[token.len - 1])) token.len--;
	if (!token.len) return 0;
	hash_of(token.data, token.len, right);
	return !sodium_memcmp(right, hash, HASH_BYTES);
}

static void add_event(const struct watcher *w, const struct publication *p, struct buf *out)
{
	_cleanup_json_ json_t *j =
		json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:I, s:I}", "repository", w->repo, "deployment",
			  json_any_text(p->deployment), "branch", json_any_text(p->branch), "path",
			  json_any_text(p->path), "commit", p->commit, "deployment_commit", p->deployment_commit,
			  "sequence", (json_int_t)p->sequence, "at_ms", (json_int_t)p->at_ms);
	_cleanup_free_ char *text = json_text(j); /* one line: SSE's data ends with it */

	buf_addf(out, "id: %lld\nevent: published\ndata: %s\n\n", (long long)p->id, text);
}

static int next_of(void *state, struct buf *out)
{
	struct watcher *w = state;
	struct publication *rows;
	struct err e;
	size_t n;

	if (!is_token_of(w->all, w->repo_id, w->token)) return 1;
	if (!w->greeted) buf_adds(out, "retry: 2000\n\n");
	w->greeted = 1;
	if (store_publications_newest(w->all->store, w->repo_id, w->told, &rows, &n, &e)) {
		fprintf(stderr, "stream: %s\n", e.text);
		return 1; /* it comes again */
	}
	for (size_t i = 0; i < n; i++) {
		add_event(w, &rows[i], out);
		w->told = rows[i].id;
	}
	publications_free(&rows, n);
	return 0;
}

static void release_watcher(void *state)
{
	struct watcher *w = state;

	free(w->repo);
	free(w);
}

static const struct stream_source source = {next_of, release_watcher};

/* A number from another store's life would hide what is new. */
static int64_t told_before(struct published *p, const struct http_request *r)
{
	const char *text = http_header(r, "Last-Event-ID");
	int64_t id, last;
	struct err e;

	if (!text || num_parse(text, 0, INT64_MAX, &id) || store_publication_last(p->store, &last, &e) || id > last)
		return 0;
	return id;
}

void published_stream(struct published *p, const struct http_request *r, struct http_answer *a)
{
	_cleanup_free_ char *name = xasprintf("%s/%s", r->param[0], r->param[1]);
	__attribute__((cleanup(repo_release))) struct repo repo = {0};
	const char *given = http_header(r, "Authorization");
	unsigned char hash[HASH_BYTES];
	struct watcher *w;
	struct err e;
	int found;

	given = given && !strncasecmp(given, "Bearer ", 7) ? given + 7 : "";
	hash_of(given, strlen(given), hash);
	found = !store_repo_find(p->store, name, &repo, &e);
	if (!found && e.kind != ERR_MISSING && e.kind != ERR_INPUT) {
		fprintf(stderr, "stream: %s\n", e.text);
		http_answer_error(a, 503, ERR_SYS, "the store cannot be used now; try again later");
		return;
	}
	if (!found || !is_token_of(p, repo.id, hash)) {
		vec_add(&a->headers, "WWW-Authenticate");
		vec_add(&a->headers, "Bearer");
		http_answer_error(a, 401, ERR_DENIED, "this asks for a repository's stream token");
		return;
	}
	w = xcalloc(1, sizeof(*w));
	*w = (struct watcher){.all = p, .repo_id = repo.id, .told = told_before(p, r)};
	w->repo = steal(repo.name);
	memcpy(w->token, hash, sizeof(hash));
	a->status = 200;
	a->type = "text/event-stream";
	vec_add(&a->headers, "Cache-Control");
	vec_add(&a->headers, "no-store");
	vec_add(&a->headers, "X-Accel-Buffering"); /* a reverse proxy passes it on as it comes */
	vec_add(&a->headers, "no");
	a->stream = &source;
	a->stream_state = w;
}

int published_is_news(struct published *p)
{
	int64_t last;
	struct err e;

	if (store_publication_last(p->store, &last, &e) || last == p->last) return 0;
	p->last = last;
	return 1;
}

struct published *published_new(struct store *s, const char *repos_dir)
{
	struct published *p = xcalloc(1, sizeof(*p));

	p->store = s;
	p->repos_dir = xstrdup(repos_dir);
	return p;
}

void published_free(struct published **pp)
{
	if (!*pp) return;
	free((*pp)->repos_dir);
	free_p(pp);
}
