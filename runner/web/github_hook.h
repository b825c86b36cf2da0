#ifndef RUNNER_WEB_GITHUB_HOOK_H
#define RUNNER_WEB_GITHUB_HOOK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "runner/store/store.h"
#include "runner/web/http.h"

/* POST /hook/github and /hook/github/:owner/:name, without the HTTP around it. Nothing is parsed before a signature
 * fits.
 *
 *   401  no repository's secret made this signature, or not that of the repository it speaks of. Without a header that
 *        could be one, before the body is read
 *   400  a header is missing, not JSON, something missing in it
 *   404  a signature fits, but there is no such repository
 *   503  it could not be stored, or too much is coming at once: the sender should come again
 *   202  {"event": 7, "duplicate": false}: committed and on disk; or {"ignored": "watch"}: no kind that builds
 *   200  {"event": 8, "duplicate": false}: a ping
 *
 * The first address has to try every repository's secret, the second knows whose it is. A body is hashed as it comes,
 * so that a large one that nobody signed holds up no other request, and the first address takes one large body at a
 * time. */

enum { GITHUB_HOOK_LARGE = 1 << 20 };

struct github_hooks;
struct github_hooks *github_hooks_new(struct store *s, const char *repos_dir); /* holds <id>/hook-secret; copied */
void github_hooks_free(struct github_hooks **h);

/* One delivery that is being taken. */
struct github_take;

/* github_take_begin - its headers are there.
 *  in   repo       NULL: any; else the only one that may have signed it, "owner/name"
 *       signature  the header, NULL where there is none; copied
 *  ret  1: refused, *a is the answer
 *  err  what the store said, for our own log; *a is the answer */
int github_take_begin(struct github_hooks *h, const char *repo, const char *signature, struct http_answer *a,
		      struct github_take **t_r, struct err *e) MUST_USE;
int github_take_part(struct github_take *t, const void *data, size_t len); /* 1: another large one is coming */
void github_take_free(struct github_take **t);

struct github_delivery {
	const char *event, *delivery; /* the headers; NULL where there is none */
	const void *body;             /* the parts, in one */
	size_t len;
};

/* github_hook - the delivery is whole.
 *  out  a          the answer, always
 *       stored_r   1: there is a new event in the store
 *  err  what the store said, for our own log: the peer is told 503 and no more */
int github_hook(struct github_take *t, const struct github_delivery *d, int64_t now_ms, struct http_answer *a,
		int *stored_r, struct err *e) MUST_USE;

#endif
