/* The HTTP server. libmicrohttpd brings its own epoll descriptor, which our loop watches; all of it runs in the
 * loop's thread. A request goes through
 *
 *   begin (headers are there): no route → 404, 405; too large → 413; no room → 503; what the route's upload says
 *   take_body (any number of times)
 *   answer (body is whole): the handler
 */
#include "runner/web/http.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/trigger/event.h"

struct http {
	struct MHD_Daemon *daemon;
	struct loop *loop;
	int epoll_fd;
	uint64_t timer;
	char *address;
	int port;
	const struct http_route *routes;
	size_t nroutes;
	void *arg;
	size_t bodies; /* bytes of all bodies that are being taken */
	struct streams *streams;
};

struct exchange {
	struct http *http;
	const struct http_route *route;
	char *path_copy; /* param points into it */
	struct http_request request;
	struct buf body;
	size_t skipped; /* bytes of a body that is too large */
	int64_t begun_mono_ms;
	int is_upload; /* its begin was called, and end is to be */
	int refused;   /* status to answer with once the peer is done sending */
};

const char *http_header(const struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *http_query(const struct http_request *r, const char *name)
{
	return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

/* --- answers --- */

static void answer_init(struct http_answer *a)
{
	*a = (struct http_answer){.body = BUF_INIT((size_t)1 << 30)};
}

static void drop_stream(struct http_answer *a)
{
	if (a->stream) a->stream->release(a->stream_state);
	a->stream = NULL;
}

void http_answer_release(struct http_answer *a)
{
	vec_release(&a->headers);
	buf_release(&a->body);
	drop_stream(a);
}

void http_answer_json(struct http_answer *a, int status, json_t *j)
{
	_cleanup_free_ char *text = json_text(j);

	json_decref(j);
	a->status = status;
	a->type = NULL;
	if (!a->body.max) a->body.max = (size_t)1 << 30;
	buf_clear(&a->body);
	buf_adds(&a->body, text);
	buf_addch(&a->body, '\n');
}

void http_answer_error(struct http_answer *a, int status, enum err_kind kind, const char *fmt, ...)
{
	char text[1000];
	_cleanup_free_ char *message = NULL;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	message = event_text(text, sizeof(text)); /* it may name a peer's bytes */
	http_answer_json(a, status,
			 json_pack("{s:{s:s, s:s}}", "error", "kind", err_kind_name(kind), "message", message));
}

static enum MHD_Result send_answer(struct http *h, struct MHD_Connection *c, struct http_answer *a)
{
	size_t len = a->body.len;
	int status = a->status ? a->status : 500;
	struct MHD_Response *resp;
	enum MHD_Result sent;

	if (a->stream)
		resp = streams_open(h->streams, c, a->stream, a->stream_state);
	else
		resp = MHD_create_response_from_buffer(len, len ? buf_steal(&a->body) : NULL,
						       len ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	if (!resp) die("out of memory for an answer");
	a->stream = NULL;
	MHD_add_response_header(resp, "Content-Type", a->type ? a->type : "application/json");
	MHD_add_response_header(resp, "X-Content-Type-Options", "nosniff");
	if (!a->type) MHD_add_response_header(resp, "Cache-Control", "no-store");
	for (size_t i = 0; i + 1 < a->headers.len; i += 2)
		MHD_add_response_header(resp, a->headers.items[i], a->headers.items[i + 1]);
	sent = MHD_queue_response(c, (unsigned)status, resp);
	MHD_destroy_response(resp);
	http_answer_release(a);
	return sent;
}

static enum MHD_Result refuse(struct http *h, struct MHD_Connection *c, int status, enum err_kind kind,
			      const char *text, const char *allow)
{
	struct http_answer a;

	answer_init(&a);
	http_answer_error(&a, status, kind, "%s", text);
	if (allow) {
		vec_add(&a.headers, "Allow");
		vec_add(&a.headers, allow);
	}
	if (status == 503) {
		vec_add(&a.headers, "Retry-After");
		vec_add(&a.headers, "5");
	}
	return send_answer(h, c, &a);
}

/* --- routes --- */

int http_route_match(const char *pattern, char *copy, const char *param_r[HTTP_MAX_PARAMS])
{
	size_t n = 0;

	for (size_t i = 0; i < HTTP_MAX_PARAMS; i++) param_r[i] = NULL;
	while (*pattern) {
		int rest = *pattern == '*' && !pattern[1], part = *pattern == ':';

		if ((rest || part) && n < HTTP_MAX_PARAMS)
			param_r[n++] = copy;
		else if (rest || part)
			die("too many parts in a route");
		if (rest) return 1;
		if (part) {
			pattern += strcspn(pattern, "/");
			if (*copy == '/' || !*copy) return 0;
			copy += strcspn(copy, "/");
			if (*pattern != *copy) return 0;
			if (!*pattern) return 1;
			pattern++;
			*copy++ = '\0';
			continue;
		}
		if (*pattern++ != *copy++) return 0;
	}
	return !*copy;
}

static int method_fits(const char *route, const char *asked)
{
	return !strcmp(route, asked) || (!strcmp(route, "GET") && !strcmp(asked, "HEAD"));
}

/* The route, or NULL and the methods that the path has ("" for none). */
static const struct http_route *find_route(struct http *h, struct exchange *x, struct buf *allow)
{
	for (size_t i = 0; i < h->nroutes; i++) {
		const struct http_route *r = &h->routes[i];

		free_p(&x->path_copy);
		x->path_copy = xstrdup(x->request.path);
		if (!http_route_match(r->pattern, x->path_copy, x->request.param)) continue;
		if (method_fits(r->method, x->request.method)) return r;
		buf_addf(allow, "%s%s", allow->len ? ", " : "", r->method);
	}
	return NULL;
}

/* --- one request --- */

static void exchange_free(struct exchange *x)
{
	if (x->is_upload) x->route->upload->end(x->request.state);
	x->http->bodies -= x->body.len;
	buf_release(&x->body);
	free(x->path_copy);
	free(x);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **exchange, enum MHD_RequestTerminationCode why)
{
	(void)cls, (void)c, (void)why;
	if (*exchange) exchange_free(*exchange);
	*exchange = NULL;
}

/* The announced length, -1 where there is none. The library refuses what is no number before it comes here. */
static int64_t announced(const struct exchange *x)
{
	const char *text = http_header(&x->request, "Content-Length");

	return text ? strtoll(text, NULL, 10) : -1;
}

static enum MHD_Result begin_upload(struct exchange *x, struct MHD_Connection *c)
{
	struct http_answer a;

	answer_init(&a);
	if (x->route->upload->begin(&x->request, &a, x->http->arg, &x->request.state))
		return send_answer(x->http, c, &a);
	x->is_upload = 1;
	http_answer_release(&a);
	return MHD_YES;
}

static enum MHD_Result begin(struct http *h, struct MHD_Connection *c, const char *url, const char *method,
			     void **exchange)
{
	_cleanup_buf_ struct buf allow = BUF_INIT(200);
	struct exchange *x = xcalloc(1, sizeof(*x));
	int64_t length;

	*exchange = x;
	x->http = h;
	x->request = (struct http_request){.method = method, .path = url, .connection = c};
	x->body = (struct buf)BUF_INIT(HTTP_MAX_BODY);
	x->begun_mono_ms = clock_mono_ms();
	x->route = find_route(h, x, &allow);
	if (!x->route && allow.len)
		return refuse(h, c, 405, ERR_INPUT, "this path has no such method", buf_str(&allow));
	if (!x->route) return refuse(h, c, 404, ERR_MISSING, "no such path", NULL);
	length = announced(x);
	if (length > HTTP_MAX_BODY) return refuse(h, c, 413, ERR_INPUT, "the body is larger than 25 MB", NULL);
	if (length > 0 && h->bodies + (size_t)length > HTTP_MAX_BODIES)
		return refuse(h, c, 503, ERR_BUSY, "too many large requests at once", NULL);
	return x->route->upload ? begin_upload(x, c) : MHD_YES;
}

/* A body that turns out too large (no length was announced) is read on for a while, since an answer can only be sent
 * after it; a peer that goes on is cut off. */
static enum MHD_Result take_body(struct exchange *x, const char *data, size_t *len)
{
	size_t n = *len;

	*len = 0;
	if (clock_mono_ms() - x->begun_mono_ms > HTTP_BODY_MS) return MHD_NO;
	if (!x->refused && x->http->bodies + n > HTTP_MAX_BODIES) x->refused = 503;
	if (!x->refused && x->body.len + n > HTTP_MAX_BODY) x->refused = 413;
	if (!x->refused && x->is_upload && x->route->upload->part(x->request.state, data, n)) x->refused = 503;
	if (x->refused) {
		x->skipped += n;
		return x->skipped > HTTP_MAX_BODY ? MHD_NO : MHD_YES;
	}
	buf_add(&x->body, data, n);
	x->http->bodies += n;
	return MHD_YES;
}

static enum MHD_Result answer(struct exchange *x, struct MHD_Connection *c)
{
	struct http_answer a;

	if (x->refused == 413) return refuse(x->http, c, 413, ERR_INPUT, "the body is larger than 25 MB", NULL);
	if (x->refused) return refuse(x->http, c, 503, ERR_BUSY, "too many large requests at once", NULL);
	answer_init(&a);
	x->request.body = buf_str(&x->body);
	x->request.body_len = x->body.len;
	x->route->fn(&x->request, &a, x->http->arg);
	if (a.stream && !strcmp(x->request.method, "HEAD")) drop_stream(&a); /* the library would send its end */
	if (a.stream && streams_full(x->http->streams)) {
		http_answer_release(&a);
		return refuse(x->http, c, 503, ERR_BUSY, "too many streams at once", NULL);
	}
	return send_answer(x->http, c, &a);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *data, size_t *len, void **exchange)
{
	(void)version;
	if (!*exchange) return begin(cls, c, url, method, exchange);
	if (*len) return take_body(*exchange, data, len);
	return answer(*exchange, c);
}

/* --- the loop's side --- */

static void turn(struct http *h);

static void on_timer(void *arg)
{
	struct http *h = arg;

	h->timer = 0;
	turn(h);
}

static void on_streams(void *arg)
{
	turn(arg);
}

static void on_epoll(int fd, short revents, void *arg)
{
	(void)fd, (void)revents;
	turn(arg);
}

/* One turn of the library, and when to give it the next one if nothing comes in. */
static void turn(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(h->daemon);
	loop_timer_cancel(h->loop, h->timer);
	h->timer = MHD_get_timeout(h->daemon, &ms) == MHD_YES ? loop_timer(h->loop, (int64_t)ms, on_timer, h) : 0;
}

/* --- start and stop --- */

static int listen_on(const struct addrinfo *ai, struct err *e)
{
	_cleanup_close_ int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
	int on = 1, got;

	if (fd < 0) return err_sys(e, "cannot make a socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen)) {
		int why = errno;

		err_sys(e, "cannot bind");
		if (why == EADDRINUSE) e->kind = ERR_BUSY;
		return -1;
	}
	if (listen(fd, 128)) return err_sys(e, "cannot listen");
	got = fd;
	fd = -1;
	return got;
}

static int find_address(struct http *h, int fd, struct err *e)
{
	struct sockaddr_storage addr = {0};
	socklen_t len = sizeof(addr);
	char host[100], port[20];
	int rc;

	if (getsockname(fd, (struct sockaddr *)&addr, &len)) return err_sys(e, "cannot read the socket's address");
	rc = getnameinfo((struct sockaddr *)&addr, len, host, sizeof(host), port, sizeof(port),
			 NI_NUMERICHOST | NI_NUMERICSERV);
	if (rc) return err_set(e, ERR_SYS, "cannot read the socket's address: %s", gai_strerror(rc));
	h->address = xasprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	h->port = (int)strtol(port, NULL, 10);
	return 0;
}

static int open_socket(struct http *h, const char *host, int port, int *fd_r, struct err *e)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
	_cleanup_close_ int fd = -1;
	struct addrinfo *list;
	char service[20];
	int rc;

	if (port < 0 || port > 65535) return err_set(e, ERR_INPUT, "there is no port %d", port);
	snprintf(service, sizeof(service), "%d", port);
	rc = getaddrinfo(host, service, &hints, &list);
	if (rc) return err_set(e, ERR_INPUT, "no address '%s': %s", host, gai_strerror(rc));
	fd = listen_on(list, e);
	freeaddrinfo(list);
	if (fd < 0) return err_wrap(e, "cannot serve on '%s' port %d", host, port);
	if (find_address(h, fd, e)) return -1;
	*fd_r = fd;
	fd = -1;
	return 0;
}

static void no_log(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
static void no_log(void *cls, const char *fmt, va_list ap)
{
	(void)cls, (void)fmt, (void)ap; /* what strangers send is no news */
}

static int start_daemon(struct http *h, int *listen_fd, struct err *e)
{
	const union MHD_DaemonInfo *info;

	h->daemon =
		MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
				 on_request, h, MHD_OPTION_EXTERNAL_LOGGER, no_log, NULL, MHD_OPTION_LISTEN_SOCKET,
				 *listen_fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_CONNECTION_LIMIT,
				 (unsigned)HTTP_MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S,
				 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)64 << 10, MHD_OPTION_END);
	if (!h->daemon) return err_set(e, ERR_SYS, "cannot start the HTTP server on '%s'", h->address);
	*listen_fd = -1; /* the library's now */
	info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	h->epoll_fd = info ? info->epoll_fd : -1;
	if (h->epoll_fd < 0) die("libmicrohttpd without epoll");
	return 0;
}

int http_start(struct loop *l, const char *host, int port, const struct http_route *routes, size_t nroutes, void *arg,
	       struct http **h_r, struct err *e)
{
	struct http *h = xcalloc(1, sizeof(*h));
	_cleanup_close_ int fd = -1;

	*h = (struct http){.loop = l, .routes = routes, .nroutes = nroutes, .arg = arg, .epoll_fd = -1};
	if (open_socket(h, host, port, &fd, e) || start_daemon(h, &fd, e)) {
		free(h->address);
		free(h);
		return -1;
	}
	loop_fd(l, h->epoll_fd, POLLIN, on_epoll, h);
	h->streams = streams_new(l, on_streams, h);
	*h_r = h;
	return 0;
}

const char *http_address(const struct http *h)
{
	return h->address;
}

int http_port(const struct http *h)
{
	return h->port;
}

void http_poke(struct http *h)
{
	streams_poke(h->streams);
}

void http_stop(struct http **hp)
{
	struct http *h = *hp;

	if (!h) return;
	streams_end(h->streams);
	loop_timer_cancel(h->loop, h->timer);
	loop_fd_remove(h->loop, h->epoll_fd);
	MHD_stop_daemon(h->daemon);
	streams_free(&h->streams);
	free(h->address);
	free(h);
	*hp = NULL;
}
