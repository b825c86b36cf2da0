#ifndef RUNNER_WEB_GITHUB_HOOK_H
#define RUNNER_WEB_GITHUB_HOOK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "runner/store/store.h"
#include "runner/web/http.h"

/* POST /hook/github, without the HTTP around it. Nothing is parsed before a signature fits.
 *
 *   401  no repository's secret made this signature, or not that of the repository it speaks of
 *   400  a header is missing, not JSON, something missing in it
 *   404  a signature fits, but there is no such repository
 *   503  it could not be stored: the sender should come again
 *   202  {"event": 7, "duplicate": false}: committed and on disk; or {"ignored": "watch"}: no kind that builds
 *   200  {"event": 8, "duplicate": false}: a ping
 */
struct github_delivery {
	const char *event, *delivery, *signature; /* the headers; NULL where there is none */
	const void *body;
	size_t len;
};

/* github_hook - one delivery.
 *  in   repos_dir  holds <id>/hook-secret
 *  out  a          the answer, always
 *       stored_r   1: there is a new event in the store
 *  err  what the store said, for our own log: the peer is told 503 and no more */
int github_hook(struct store *s, const char *repos_dir, const struct github_delivery *d, int64_t now_ms,
		struct http_answer *a, int *stored_r, struct err *e) MUST_USE;

/* The secret in <repos_dir>/<id>/hook-secret, white space at its end not part of it. */
int github_hook_secret(const char *repos_dir, int64_t repo_id, struct secret *secret_r, struct err *e) MUST_USE;

#endif
