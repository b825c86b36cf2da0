#ifndef RUNNER_WEB_HTTP_H
#define RUNNER_WEB_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/json.h"
#include "lib/loop.h"
#include "lib/vec.h"
#include "runner/web/stream.h"

/* The HTTP server: libmicrohttpd driven by our loop, no threads. A handler sees a whole request and gives a whole
 * answer; it must not block. What a peer can cost is bounded: connections, bodies, all bodies together, idle time
 * and the time a body may take. */

enum {
	HTTP_MAX_BODY = 25 << 20, /* GitHub's own limit for a delivery */
	HTTP_MAX_BODIES = 8 * HTTP_MAX_BODY,
	HTTP_MAX_CONNECTIONS = 256,
	HTTP_MAX_PARAMS = 4,
	HTTP_IDLE_S = 20,
	HTTP_BODY_MS = 60000,
};

struct http;

struct http_request {
	const char *method;
	const char *path;
	const char *param[HTTP_MAX_PARAMS]; /* what the pattern's ':' parts and its final '*' stand for */
	const void *body;                   /* never NULL */
	size_t body_len;
	void *connection; /* for the getters */
	void *state;      /* what http_upload's begin made */
};
/* Borrowed, NULL where there is none. A header that is there more than once: the first. */
const char *http_header(const struct http_request *r, const char *name);
const char *http_query(const struct http_request *r, const char *name);

struct http_answer {
	int status;         /* 0 is answered with 500 */
	const char *type;   /* Content-Type; NULL: application/json */
	struct vec headers; /* more of them: name, value, name, value, … */
	struct buf body;
	const struct stream_source *stream; /* in the place of the body: it goes on with what this one says */
	void *stream_state;                 /* the answer's */
};

void http_answer_json(struct http_answer *a, int status, json_t *j); /* takes the reference */
/* {"error": {"kind": "input", "message": "…"}} */
void http_answer_error(struct http_answer *a, int status, enum err_kind kind, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void http_answer_release(struct http_answer *a);

typedef void http_handler(const struct http_request *r, struct http_answer *a, void *arg);

/* For a route that has to see a body while it comes: what is done with a part is spread over the loop's turns. */
struct http_upload {
	/* The headers are there. 0: go on, *state_r is this request's; 1: refused with *a, and the body is not read */
	int (*begin)(const struct http_request *r, struct http_answer *a, void *arg, void **state_r);
	int (*part)(void *state, const void *data, size_t len); /* 1: no room for such a body now, 503 */
	void (*end)(void *state);                               /* in any case, after the handler */
};

/* pattern: "/builds/:id/log", or "/files/" and a final '*' for any rest. The first that matches is taken. GET routes
 * answer HEAD too. */
struct http_route {
	const char *method;
	const char *pattern;
	http_handler *fn;
	const struct http_upload *upload; /* NULL: fn alone, with the whole body */
};

/* http_start - listen on host:port and serve from the loop. Paths that no route has get 404, other methods 405.
 *  in   port    0: any free one
 *       routes  kept, not copied
 *  err  ERR_INPUT no such address; ERR_BUSY the port is taken; ERR_SYS */
int http_start(struct loop *l, const char *host, int port, const struct http_route *routes, size_t nroutes, void *arg,
	       struct http **h_r, struct err *e) MUST_USE;
const char *http_address(const struct http *h); /* "127.0.0.1:8080", "[::1]:8080" */
int http_port(const struct http *h);
/* There may be something new for the streams. */
void http_poke(struct http *h);
void http_stop(struct http **h);

/* route_match - 1: path fits pattern, and param_r points into copy, which is path's own buffer and is cut up. */
int http_route_match(const char *pattern, char *copy, const char *param_r[HTTP_MAX_PARAMS]);

#endif
