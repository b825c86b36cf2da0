#ifndef RUNNER_WEB_API_H
#define RUNNER_WEB_API_H

#include "lib/loop.h"
#include "runner/home.h"
#include "runner/store/store.h"
#include "runner/web/http.h"

/* The routes of the daemon: POST /hook/github, GET /healthz, GET /api/v1/builds/<id>, GET /api/v1/repos/<owner>/<name>/key.
 *  in   stored  called after an event was committed
 *  out  http_r  to be closed by http_close() */
int api_open(struct loop *loop, const struct home *home, struct store *store, const char *host, int port,
             void (*stored)(void *arg), void *arg, struct http **http_r, struct err *e) MUST_USE;

#endif
