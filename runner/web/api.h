#ifndef RUNNER_WEB_API_H
#define RUNNER_WEB_API_H

#include "lib/loop.h"
#include "runner/store/store.h"

/* The daemon's HTTP interface:
 *   POST /hook/github/:owner/:name              a webhook delivery of this repository (github_hook.h)
 *   POST /hook/github                           the same of any
 *   GET  /healthz                               200 {"ok": true} while the store can be read
 *   GET  /api/v1/builds/:id                     a build with its jobs
 *   GET  /api/v1/repos/:owner/:name/key         the public key that senv seals to, as text
 *   GET  /api/v1/repos/:owner/:name/stream      its publications, as they come (published.h)
 * Nothing here changes state but a signed delivery. */
struct api;

/* api_open - listen and serve from the loop.
 *  in   port    0: any free one
 *       repos_dir  holds <id>/key and <id>/hook-secret; copied
 *       store   borrowed, must outlive it
 *       stored  called after a new event was committed */
int api_open(struct loop *loop, const char *repos_dir, struct store *store, const char *host, int port,
	     void (*stored)(void *arg), void *arg, struct api **api_r, struct err *e) MUST_USE;
const char *api_address(const struct api *a); /* "127.0.0.1:8700" */
/* The store may have changed: streams are told what is new. */
void api_look(struct api *a);
void api_close(struct api **a);

#endif
