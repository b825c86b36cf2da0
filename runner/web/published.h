#ifndef RUNNER_WEB_PUBLISHED_H
#define RUNNER_WEB_PUBLISHED_H

#include "runner/store/store.h"
#include "runner/web/http.h"

/* GET /api/v1/repos/:owner/:name/stream: a server-sent event for each publication of a repository's jobs,
 *
 *   id: 7
 *   event: published
 *   data: {"at_ms", "branch", "commit", "deployment", "deployment_commit", "path", "repository", "sequence"}
 *
 * first the newest of each path, or what came after the Last-Event-ID that the peer names. Only for who has the
 * repository's token (Authorization: Bearer …, `runner repo stream`); who has not learns nothing, not even whether
 * there is such a repository. */
struct published;

struct published *published_new(struct store *s, const char *repos_dir); /* holds <id>/stream-token; copied */
void published_free(struct published **p);
void published_stream(struct published *p, const struct http_request *r, struct http_answer *a);
/* 1: there is more than at the last call. */
int published_is_news(struct published *p);

#endif
