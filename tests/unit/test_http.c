/* The HTTP server and the webhook over real sockets: the server runs in a process of its own, the tests are its
 * clients and speak bytes. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "lib/fs.h"
#include "lib/secret.h"
#include "runner/web/github_hook.h"

static struct {
	char *dir, *db;
	int port;
	pid_t server;
} t;

/* --- the server --- */

static void echo(const struct http_request *r, struct http_answer *a, void *arg)
{
	const char *agent = http_header(r, "x-agent"), *q = http_query(r, "q");

	(void)arg;
	http_answer_json(a, 200,
			 json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:I}", "method", r->method, "path", r->path, "one",
				   r->param[0], "agent", agent, "q", q, "bytes", (json_int_t)r->body_len));
	vec_add(&a->headers, "X-Extra");
	vec_add(&a->headers, "yes");
}

static void raw(const struct http_request *r, struct http_answer *a, void *arg)
{
	(void)arg;
	a->status = 200;
	a->type = "application/octet-stream";
	buf_add(&a->body, r->body, r->body_len);
}

static void no_answer(const struct http_request *r, struct http_answer *a, void *arg)
{
	(void)r, (void)a, (void)arg;
}

static struct github_hooks *hooks; /* the server's */

static int hook_begin(const struct http_request *r, struct http_answer *a, void *arg, void **state_r)
{
	struct github_take *take = NULL;
	struct err e;
	char repo[200];
	int got;

	(void)arg;
	if (r->param[0]) snprintf(repo, sizeof(repo), "%s/%s", r->param[0], r->param[1]);
	got = github_take_begin(hooks, r->param[0] ? repo : NULL, http_header(r, "X-Hub-Signature-256"), a, &take, &e);
	*state_r = take;
	return got != 0;
}

static int hook_part(void *state, const void *data, size_t len)
{
	return github_take_part(state, data, len);
}

static void hook_end(void *state)
{
	struct github_take *take = state;

	github_take_free(&take);
}

static void hook(const struct http_request *r, struct http_answer *a, void *arg)
{
	struct github_delivery d = {.event = http_header(r, "X-GitHub-Event"),
				    .delivery = http_header(r, "X-GitHub-Delivery"),
				    .body = r->body,
				    .len = r->body_len};
	struct err e;
	int stored;

	(void)arg;
	(void)!github_hook(r->state, &d, 1000, a, &stored, &e);
}

/* A stream whose path says what it does: "/stream/words/N" says N words, one a poke, and ends; "/stream/flood" has
 * always more to say. */
struct talker {
	int64_t left;
	int floods;
};

static struct http *server;

static int talk_on(void *state, struct buf *out)
{
	struct talker *k = state;

	if (k->floods) {
		for (int i = 0; i < 1000; i++) buf_addf(out, "data: %0100d\n\n", i);
		return 0;
	}
	buf_addf(out, "data: %lld\n\n", (long long)k->left);
	return --k->left <= 0;
}

static void end_talk(void *state)
{
	free(state);
}

static const struct stream_source talker = {talk_on, end_talk};

static void open_stream(const struct http_request *r, struct http_answer *a, void *arg)
{
	struct talker *k = xcalloc(1, sizeof(*k));

	(void)arg;
	k->floods = !strcmp(r->param[0], "flood");
	k->left = strtoll(r->param[0], NULL, 10);
	a->status = 200;
	a->type = "text/event-stream";
	a->stream = &talker;
	a->stream_state = k;
}

static const struct http_upload upload = {hook_begin, hook_part, hook_end};

static const struct http_route routes[] = {
	{"GET", "/echo", echo, NULL},
	{"POST", "/echo", echo, NULL},
	{"GET", "/one/:id/end", echo, NULL},
	{"GET", "/rest/*", echo, NULL},
	{"PUT", "/raw", raw, NULL},
	{"GET", "/empty", no_answer, NULL},
	{"GET", "/stream/:what", open_stream, NULL},
	{"POST", "/hook/github", hook, &upload},
	{"POST", "/hook/github/:owner/:name", hook, &upload},
};

static void stop(int sig, void *arg)
{
	(void)sig;
	loop_stop(arg);
}

static void poke(void *arg)
{
	http_poke(server);
	loop_timer(arg, 20, poke, arg);
}

static void serve(int report)
{
	struct loop *l = loop_new();
	struct store *s;
	struct http *h;
	struct err e;
	int port;

	if (store_open(t.db, &s, &e) || loop_signal(l, SIGTERM, stop, l, &e) ||
	    http_start(l, "127.0.0.1", 0, routes, ARRAY_LEN(routes), s, &h, &e)) {
		fprintf(stderr, "%s\n", e.text);
		exit(1);
	}
	server = h;
	poke(l);
	hooks = github_hooks_new(s, t.dir);
	port = http_port(h);
	if (write(report, &port, sizeof(port)) != sizeof(port)) exit(1);
	close(report);
	if (loop_run(l, &e)) exit(1);
	http_stop(&h);
	github_hooks_free(&hooks);
	store_close(&s);
	loop_free(&l);
	free(t.dir);
	free(t.db);
	exit(0);
}

static void set_secret(const char *name, const char *secret)
{
	struct store *s;
	struct err e;
	int64_t id;
	char *path;

	assert_int_equal(store_open(t.db, &s, &e), 0);
	assert_int_equal(store_repo_add(s, name, "/srv/x.git", 1, &id, &e), 0);
	store_close(&s);
	path = xasprintf("%s/%lld", t.dir, (long long)id);
	assert_int_equal(mkdir(path, 0700), 0);
	free(path);
	path = xasprintf("%s/%lld/hook-secret", t.dir, (long long)id);
	assert_int_equal(fs_write_file(path, secret, strlen(secret), 0600, &e), 0);
	free(path);
}

static int start(void **state)
{
	struct store *s;
	struct err e;
	int p[2];

	(void)state;
	if (fs_temp_dir("/tmp", "test_http.", &t.dir, &e)) return -1;
	t.db = xasprintf("%s/slipway.db", t.dir);
	if (store_open(t.db, &s, &e)) return -1;
	store_close(&s);
	if (pipe(p)) return -1;
	t.server = fork();
	if (t.server == 0) {
		close(p[0]);
		serve(p[1]);
	}
	close(p[1]);
	if (read(p[0], &t.port, sizeof(t.port)) != sizeof(t.port)) return -1;
	close(p[0]);
	return 0;
}

static int finish(void **state)
{
	struct err e;
	int ws;

	(void)state;
	kill(t.server, SIGTERM);
	if (waitpid(t.server, &ws, 0) != t.server || !WIFEXITED(ws) || WEXITSTATUS(ws)) return -1;
	if (fs_remove_tree(t.dir, &e)) return -1;
	free(t.dir);
	free(t.db);
	return 0;
}

/* --- a client --- */

static int dial(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)t.port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* Sends all, reads until the server closes. What comes back before all is sent is read too. */
static void talk(const void *data, size_t len, struct buf *reply)
{
	int fd = dial();
	const char *p = data;
	int64_t end = clock_mono_ms() + 20000;

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	for (;;) {
		struct pollfd pf = {fd, (short)(POLLIN | (len ? POLLOUT : 0)), 0};
		char in[65536];
		ssize_t n;

		if (clock_mono_ms() > end) fail_msg("no answer: '%.300s'", buf_str(reply));
		poll(&pf, 1, 1000);
		if (pf.revents & POLLOUT && len) {
			n = send(fd, p, len, MSG_NOSIGNAL);
			if (n > 0) {
				p += n;
				len -= (size_t)n;
			} else if (errno != EAGAIN) {
				len = 0;
			}
		}
		if (!(pf.revents & (POLLIN | POLLHUP | POLLERR))) continue;
		n = recv(fd, in, sizeof(in), 0);
		if (n > 0)
			buf_add(reply, in, (size_t)n);
		else if (n == 0 || errno != EAGAIN)
			break;
	}
	close(fd);
}

struct reply {
	int status;
	struct buf raw;
	const char *body;
};

static void reply_release(struct reply *r)
{
	buf_release(&r->raw);
}

static void ask(const void *data, size_t len, struct reply *r)
{
	*r = (struct reply){.raw = BUF_INIT(64 << 20)};
	talk(data, len, &r->raw);
	if (r->raw.len < 12 || memcmp(r->raw.data, "HTTP/1.1 ", 9)) fail_msg("no HTTP: '%s'", buf_str(&r->raw));
	r->status = (int)strtol(r->raw.data + 9, NULL, 10);
	r->body = strstr(r->raw.data, "\r\n\r\n");
	assert_non_null(r->body);
	r->body += 4;
}

static void ask_text(const char *text, struct reply *r)
{
	ask(text, strlen(text), r);
}

static void expect(const char *request, int status, const char *part)
{
	struct reply r;

	ask_text(request, &r);
	if (r.status != status || !strstr(r.raw.data, part))
		fail_msg("%s gave %s, wanted %d and '%s'", request, r.raw.data, status, part);
	reply_release(&r);
}

#define HEAD(line) line " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"

/* --- the server's own answers --- */

static void test_routes(void **state)
{
	(void)state;
	expect(HEAD("GET /echo?q=a%20b") "X-Agent: me\r\n\r\n", 200,
	       "{\"agent\":\"me\",\"bytes\":0,\"method\":\"GET\",\"path\":\"/echo\",\"q\":\"a b\"}\n");
	expect(HEAD("GET /one/7/end") "\r\n", 200, "\"one\":\"7\"");
	expect(HEAD("GET /rest/a/b") "\r\n", 200, "\"one\":\"a/b\"");
	expect(HEAD("GET /rest/") "\r\n", 200, "\"one\":\"\"");
	expect(HEAD("GET /echo") "\r\n", 200, "X-Extra: yes\r\n");
	expect(HEAD("GET /echo") "\r\n", 200, "Content-Type: application/json\r\n");
	expect(HEAD("GET /echo") "\r\n", 200, "X-Content-Type-Options: nosniff\r\n");
	expect(HEAD("POST /echo") "Content-Length: 3\r\n\r\nabc", 200, "\"bytes\":3");
	expect(HEAD("GET /empty") "\r\n", 500, "");
}

static void test_head_has_no_body(void **state)
{
	struct reply r;

	(void)state;
	ask_text(HEAD("HEAD /echo") "\r\n", &r);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "");
	reply_release(&r);
}

static void test_unknown_paths_and_methods(void **state)
{
	static const char none[] = "{\"error\":{\"kind\":\"missing\",\"message\":\"no such path\"}}\n";

	(void)state;
	expect(HEAD("GET /") "\r\n", 404, none);
	expect(HEAD("GET /echo/") "\r\n", 404, none);
	expect(HEAD("GET /one//end") "\r\n", 404, none);
	expect(HEAD("GET /one/7/end/more") "\r\n", 404, none);
	expect(HEAD("GET /one/7") "\r\n", 404, none);
	expect(HEAD("POST /nowhere") "Content-Length: 0\r\n\r\n", 404, none);
	expect(HEAD("DELETE /echo") "\r\n", 405, "Allow: GET, POST\r\n");
	expect(HEAD("GET /hook/github") "\r\n", 405,
	       "{\"error\":{\"kind\":\"input\",\"message\":\"this path has no such method\"}}");
	expect(HEAD("GET /hook/github") "\r\n", 405, "Allow: POST\r\n");
}

static void test_body_comes_back_as_it_was(void **state)
{
	const size_t len = 3 << 20;
	struct buf request = BUF_INIT(64 << 20);
	struct reply r;

	(void)state;
	buf_addf(&request, HEAD("PUT /raw") "Content-Length: %zu\r\n\r\n", len);
	for (size_t i = 0; i < len; i++) buf_addch(&request, (char)(i * 7 + i / 255));
	ask(request.data, request.len, &r);
	assert_int_equal(r.status, 200);
	assert_int_equal(r.raw.len - (size_t)(r.body - r.raw.data), len);
	assert_memory_equal(r.body, request.data + request.len - len, len);
	reply_release(&r);
	buf_release(&request);
}

static void test_bodies_in_chunks(void **state)
{
	(void)state;
	expect(HEAD("POST /echo") "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200,
	       "\"bytes\":5");
}

static void test_announced_large_body_is_refused_unread(void **state)
{
	static const char too_large[] =
		"{\"error\":{\"kind\":\"input\",\"message\":\"the body is larger than 25 MB\"}}";

	(void)state;
	expect(HEAD("POST /echo") "Content-Length: 26214401\r\n\r\n", 413, too_large);
	expect(HEAD("POST /echo") "Content-Length: 9223372036854775807\r\n\r\n", 413, too_large);
	expect(HEAD("POST /echo") "Content-Length: 26214401\r\nExpect: 100-continue\r\n\r\n", 413, too_large);
}

/* A peer that does not wait for the answer still gets to read it. */
static void test_announced_large_body_that_is_sent_anyway(void **state)
{
	const size_t len = HTTP_MAX_BODY + 1;
	struct buf request = BUF_INIT(64 << 20);
	struct reply r;

	(void)state;
	for (int i = 0; i < 20; i++) {
		buf_clear(&request);
		buf_addf(&request, HEAD("POST /echo") "Content-Length: %zu\r\n\r\n", len);
		memset(buf_reserve(&request, len), 'x', len);
		request.len += len;
		request.data[request.len] = '\0';
		ask(request.data, request.len, &r);
		assert_int_equal(r.status, 413);
		reply_release(&r);
	}
	buf_release(&request);
}

static void test_largest_body(void **state)
{
	struct buf request = BUF_INIT(64 << 20);
	struct reply r;

	(void)state;
	buf_addf(&request, HEAD("POST /echo") "Content-Length: %d\r\n\r\n", HTTP_MAX_BODY);
	memset(buf_reserve(&request, HTTP_MAX_BODY), 'x', HTTP_MAX_BODY);
	request.len += HTTP_MAX_BODY;
	request.data[request.len] = '\0';
	ask(request.data, request.len, &r);
	assert_int_equal(r.status, 200);
	assert_non_null(strstr(r.body, "\"bytes\":26214400"));
	reply_release(&r);
	buf_release(&request);
}

static void test_large_body_in_chunks_is_refused(void **state)
{
	struct buf request = BUF_INIT(64 << 20);
	struct reply r;

	(void)state;
	buf_adds(&request, HEAD("POST /echo") "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 26; i++) {
		buf_adds(&request, "100000\r\n");
		memset(buf_reserve(&request, 1 << 20), 'x', 1 << 20);
		request.len += 1 << 20;
		request.data[request.len] = '\0';
		buf_adds(&request, "\r\n");
	}
	buf_adds(&request, "0\r\n\r\n");
	ask(request.data, request.len, &r);
	assert_int_equal(r.status, 413);
	reply_release(&r);
	buf_release(&request);
}

/* Eight peers send the largest body but for its last byte: a ninth is asked to come later, and when the others have
 * gone there is room again. */
static void test_bodies_have_a_common_ceiling(void **state)
{
	const size_t part = HTTP_MAX_BODY - 1;
	char *filler = xmalloc(part), head[200];
	int fds[8];
	int64_t end;
	struct reply r;

	(void)state;
	memset(filler, 'x', part);
	snprintf(head, sizeof(head), HEAD("POST /echo") "Content-Length: %d\r\n\r\n", HTTP_MAX_BODY);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = dial();
		assert_int_equal(send(fds[i], head, strlen(head), MSG_NOSIGNAL), strlen(head));
		for (size_t at = 0; at < part;) {
			ssize_t n = send(fds[i], filler + at, part - at, MSG_NOSIGNAL);

			assert_true(n > 0);
			at += (size_t)n;
		}
	}
	/* the last bytes sent may still be on their way */
	for (end = clock_mono_ms() + 10000;;) {
		snprintf(head, sizeof(head), HEAD("POST /echo") "Content-Length: %d\r\n\r\n", HTTP_MAX_BODY);
		ask_text(head, &r);
		if (r.status == 503 || clock_mono_ms() > end) break;
		reply_release(&r);
	}
	assert_int_equal(r.status, 503);
	assert_non_null(strstr(r.raw.data, "Retry-After: 5"));
	reply_release(&r);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) close(fds[i]);
	for (end = clock_mono_ms() + 10000;;) {
		ask_text(HEAD("POST /echo") "Content-Length: 3\r\n\r\nabc", &r);
		if (r.status == 200 || clock_mono_ms() > end) break;
		reply_release(&r);
	}
	assert_int_equal(r.status, 200);
	reply_release(&r);
	free(filler);
}

static void test_garbage_does_not_end_the_server(void **state)
{
	static const char *const garbage[] = {"\x16\x03\x01\x02",
					      "GET\r\n\r\n",
					      "GET / HTTP/1.1\r\n\r\n",
					      "\r\n\r\n\r\n",
					      HEAD("POST /echo") "Content-Length: -1\r\n\r\n",
					      HEAD("POST /echo") "Content-Length: abc\r\n\r\n",
					      HEAD("POST /echo") "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
					      HEAD("GET /%00%ff%zz") "\r\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		int fd = dial();

		assert_int_equal(send(fd, garbage[i], strlen(garbage[i]), MSG_NOSIGNAL), strlen(garbage[i]));
		close(fd);
	}
	expect(HEAD("GET /echo") "\r\n", 200, "/echo");
}

static void test_addresses_that_cannot_be_served(void **state)
{
	struct loop *l = loop_new();
	struct http *h;
	struct err e;

	(void)state;
	assert_int_equal(http_start(l, "127.0.0.1", t.port, routes, 1, NULL, &h, &e), -1);
	assert_int_equal(e.kind, ERR_BUSY);
	assert_non_null(strstr(e.text, "cannot bind"));
	assert_int_equal(http_start(l, "127.0.0.1", 65536, routes, 1, NULL, &h, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_int_equal(http_start(l, "not an address", 0, routes, 1, NULL, &h, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_int_equal(http_start(l, "127.0.0.1", 0, routes, 1, NULL, &h, &e), 0);
	assert_int_equal(strncmp(http_address(h), "127.0.0.1:", 10), 0);
	assert_int_equal(strtol(http_address(h) + 10, NULL, 10), http_port(h));
	http_stop(&h);
	assert_null(h);
	loop_free(&l);
}

/* --- the webhook --- */

#define PUSH(repo)                                                                                                     \
	"{\"ref\":\"refs/heads/main\",\"before\":null,\"after\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\","         \
	"\"repository\":{\"full_name\":\"" repo "\"}}"

static void sign(const char *secret, const char *body, size_t len, char hex_r[65])
{
	crypto_auth_hmacsha256_state st;
	unsigned char mac[32];

	crypto_auth_hmacsha256_init(&st, (const unsigned char *)secret, strlen(secret));
	crypto_auth_hmacsha256_update(&st, (const unsigned char *)body, len);
	crypto_auth_hmacsha256_final(&st, mac);
	sodium_bin2hex(hex_r, 65, mac, sizeof(mac));
}

/* secret NULL: no signature at all; event, delivery NULL: no such header */
static void deliver_to(const char *path, const char *secret, const char *event, const char *delivery, const char *body,
		       int status, const char *part)
{
	struct buf request = BUF_INIT(64 << 20);
	char hex[65];

	buf_addf(&request, "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n", path,
		 strlen(body));
	if (secret) {
		sign(secret, body, strlen(body), hex);
		buf_addf(&request, "X-Hub-Signature-256: sha256=%s\r\n", hex);
	}
	if (event) buf_addf(&request, "X-GitHub-Event: %s\r\n", event);
	if (delivery) buf_addf(&request, "X-GitHub-Delivery: %s\r\n", delivery);
	buf_addf(&request, "\r\n%s", body);
	expect(buf_str(&request), status, part);
	buf_release(&request);
}

#define deliver(...) deliver_to("/hook/github", __VA_ARGS__)

static size_t events_stored(void)
{
	struct event_row r;
	struct store *s;
	struct err e;
	int64_t last = 0;
	size_t n = 0;

	assert_int_equal(store_open(t.db, &s, &e), 0);
	for (; !store_event_next_new(s, last, &r, &e); n++) {
		last = r.id;
		event_row_release(&r);
	}
	store_close(&s);
	return n;
}

static const char denied[] = "{\"error\":{\"kind\":\"denied\",\"message\":\"the signature X-Hub-Signature-256 is "
			     "missing or wrong\"}}\n";

static void test_deliveries(void **state)
{
	(void)state;
	deliver("s", "push", "d0", PUSH("me/site"), 401, denied); /* no repositories at all */
	set_secret("me/site", "one secret\n");
	set_secret("me/two", "another");
	deliver(NULL, "push", "d1", PUSH("me/site"), 401, denied);
	deliver("wrong", "push", "d1", PUSH("me/site"), 401, denied);
	deliver("", "push", "d1", PUSH("me/site"), 401, denied);
	deliver("one secret\n", "push", "d1", PUSH("me/site"), 401, denied);
	deliver("another", "push", "d1", PUSH("me/site"), 401, denied); /* signed, but by another repository */
	deliver("wrong", "push", NULL, "{", 401, denied);               /* unsigned: not looked at */
	deliver("one secret", "push", "d1", PUSH("no/one"), 404, "no repository 'no/one'");
	deliver("one secret", "push", "d1", "{", 400, "\"kind\":\"input\",\"message\":\"delivery:1:");
	deliver("one secret", "push", "d1", "{}", 400, "'repository.full_name' is missing");
	deliver("one secret", NULL, "d1", PUSH("me/site"), 400, "X-GitHub-Event is missing");
	deliver("one secret", "push", NULL, PUSH("me/site"), 400, "X-GitHub-Delivery is missing");
	deliver("one secret", "watch", "d1", PUSH("me/site"), 202, "{\"ignored\":\"watch\"}");
	assert_int_equal(events_stored(), 0);
	deliver("one secret", "push", "d1", PUSH("me/site"), 202, "{\"duplicate\":false,\"event\":1}");
	assert_int_equal(events_stored(), 1);
	deliver("one secret", "push", "d1", PUSH("me/site"), 202, "{\"duplicate\":true,\"event\":1}");
	assert_int_equal(events_stored(), 1);
	deliver("another", "push", "d1", PUSH("me/two"), 202, "\"duplicate\":false");
	deliver("one secret", "ping", "d2", PUSH("me/site"), 200, "\"duplicate\":false");
	assert_int_equal(events_stored(), 3);
}

static void test_deliveries_to_a_repositorys_own_address(void **state)
{
	static const char site[] = "/hook/github/me/site";
	size_t before = events_stored();

	(void)state;
	deliver_to(site, "wrong", "push", "e1", PUSH("me/site"), 401, denied);
	deliver_to(site, "another", "push", "e1", PUSH("me/two"), 401, denied);
	deliver_to(site, "one secret", "push", "e1", PUSH("me/two"), 401, denied);
	deliver_to("/hook/github/no/one", "one secret", "push", "e1", PUSH("no/one"), 401, denied);
	deliver_to("/hook/github/me", "one secret", "push", "e1", PUSH("me/site"), 404, "no such path");
	assert_int_equal(events_stored(), before);
	deliver_to(site, "one secret", "push", "e1", PUSH("me/site"), 202, "\"duplicate\":false");
	deliver("one secret", "push", "e1", PUSH("me/site"), 202, "\"duplicate\":true");
	assert_int_equal(events_stored(), before + 1);
}

static void test_a_secret_that_changes_is_read_again(void **state)
{
	_cleanup_free_ char *path = xasprintf("%s/1/hook-secret", t.dir);
	struct err e;

	(void)state;
	deliver("one secret", "ping", "f1", PUSH("me/site"), 200, "\"duplicate\":false");
	assert_int_equal(fs_write_file(path, "two secret", 10, 0600, &e), 0);
	deliver("one secret", "ping", "f2", PUSH("me/site"), 401, denied);
	deliver("two secret", "ping", "f2", PUSH("me/site"), 200, "\"duplicate\":false");
	assert_int_equal(unlink(path), 0);
	deliver("two secret", "ping", "f3", PUSH("me/site"), 401, denied);
	assert_int_equal(fs_write_file(path, "one secret\n", 11, 0600, &e), 0);
	deliver("one secret", "ping", "f3", PUSH("me/site"), 200, "\"duplicate\":false");
}

/* Not a byte of the body is sent: the answer comes all the same. */
static void test_a_delivery_without_a_signature_is_refused_unread(void **state)
{
	(void)state;
	expect(HEAD("POST /hook/github") "Content-Length: 24000000\r\n\r\n", 401, "missing or wrong");
	expect(HEAD("POST /hook/github") "Content-Length: 24000000\r\nX-Hub-Signature-256: sha256=0\r\n\r\n", 401,
	       "missing or wrong");
	expect(HEAD("POST /hook/github/me/site") "Content-Length: 24000000\r\n\r\n", 401, "missing or wrong");
}

#define SIGNATURE "sha256=0000000000000000000000000000000000000000000000000000000000000000"

/* One that is large and slow keeps only other large ones away, and those not from a repository's own address. */
static void test_one_large_unknown_body_at_a_time(void **state)
{
	static const char head[] = "X-Hub-Signature-256: " SIGNATURE "\r\nContent-Length: 3000000\r\n\r\n";
	struct buf slow = BUF_INIT(8 << 20), whole = BUF_INIT(8 << 20), own = BUF_INIT(8 << 20);
	struct reply r;
	int64_t end = clock_mono_ms() + 20000;
	int fd = dial();

	(void)state;
	buf_adds(&slow, "POST /hook/github HTTP/1.1\r\nHost: x\r\n");
	buf_adds(&whole, HEAD("POST /hook/github"));
	buf_adds(&own, HEAD("POST /hook/github/me/site"));
	for (int i = 0; i < 3; i++) {
		struct buf *b = i == 0 ? &slow : i == 1 ? &whole : &own;
		size_t n = i == 0 ? 2000000 : 3000000;

		buf_adds(b, head);
		memset(buf_reserve(b, n), 'x', n);
		b->len += n;
		b->data[b->len] = '\0';
	}
	for (size_t at = 0; at < slow.len;) {
		ssize_t n = send(fd, slow.data + at, slow.len - at, MSG_NOSIGNAL);

		assert_true(n > 0);
		at += (size_t)n;
	}
	do { /* the slow one's bytes may still be on their way */
		ask(whole.data, whole.len, &r);
		if (r.status == 503) break;
		assert_int_equal(r.status, 401);
		reply_release(&r);
	} while (clock_mono_ms() < end);
	assert_int_equal(r.status, 503);
	reply_release(&r);
	ask(own.data, own.len, &r);
	assert_int_equal(r.status, 401);
	reply_release(&r);
	deliver("one secret", "ping", "g1", PUSH("me/site"), 200, "\"duplicate\":false");
	close(fd);
	do {
		ask(whole.data, whole.len, &r);
		if (r.status == 401) break;
		reply_release(&r);
	} while (clock_mono_ms() < end);
	assert_int_equal(r.status, 401);
	reply_release(&r);
	buf_release(&slow);
	buf_release(&whole);
	buf_release(&own);
}

static void test_large_delivery_is_refused_before_its_signature(void **state)
{
	size_t before = events_stored();

	(void)state;
	expect(HEAD("POST /hook/github") "Content-Length: 26214401\r\n\r\n", 413, "larger than 25 MB");
	assert_int_equal(events_stored(), before);
}

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *path, *first, *second;
	} fit[] = {{"/a/:x/b/:y", "/a/1/b/2", "1", "2"},
		   {"/:x", "/a", "a", NULL},
		   {"/", "/", NULL, NULL},
		   {"/f/*", "/f/a/b", "a/b", NULL},
		   {"/:x/*", "/a/", "a", ""}};
	static const char *const unfit[][2] = {{"/a", "/a/"},         {"/a/:x", "/a/"}, {"/a/:x", "/a/b/c"},
					       {"/a/:x/b", "/a/x/c"}, {"/a", "/b"},     {"/a/*", "/a"},
					       {"/a/:x/b", "/a/x"},   {"/aa", "/a"}};
	const char *param[HTTP_MAX_PARAMS];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fit); i++) {
		char *copy = xstrdup(fit[i].path);

		assert_int_equal(http_route_match(fit[i].pattern, copy, param), 1);
		if (fit[i].first) assert_string_equal(param[0], fit[i].first);
		if (fit[i].second) assert_string_equal(param[1], fit[i].second);
		if (!fit[i].first) assert_null(param[0]);
		free(copy);
	}
	for (size_t i = 0; i < ARRAY_LEN(unfit); i++) {
		char *copy = xstrdup(unfit[i][1]);

		if (http_route_match(unfit[i][0], copy, param)) fail_msg("'%s' fits '%s'", unfit[i][1], unfit[i][0]);
		free(copy);
	}
}

/* --- streams --- */

static int open_stream_of(const char *what)
{
	_cleanup_free_ char *text = xasprintf("GET /stream/%s HTTP/1.1\r\nHost: x\r\n\r\n", what);
	int fd = dial();

	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
	return fd;
}

static void test_a_stream_says_what_is_new_and_ends(void **state)
{
	struct reply r;

	(void)state;
	ask_text(HEAD("GET /stream/3") "\r\n", &r);
	assert_int_equal(r.status, 200);
	if (!strstr(r.raw.data, "Content-Type: text/event-stream\r\n")) fail_msg("%s", r.raw.data);
	if (!strstr(r.raw.data, "data: 3\n\n") || !strstr(r.raw.data, "data: 2\n\n") ||
	    !strstr(r.raw.data, "data: 1\n\n") || strstr(r.raw.data, "data: 0"))
		fail_msg("%s", r.raw.data);
	reply_release(&r);
	ask_text(HEAD("HEAD /stream/3") "\r\n", &r);
	assert_int_equal(r.status, 200);
	assert_string_equal(r.body, "");
	reply_release(&r);
}

/* One that reads nothing holds up nobody, and what it is sent is bounded by its socket. */
static void test_a_peer_that_reads_nothing_is_in_nobodys_way(void **state)
{
	int slow = open_stream_of("flood"), gone = open_stream_of("flood");

	(void)state;
	close(gone);
	for (int i = 0; i < 20; i++) test_a_stream_says_what_is_new_and_ends(state);
	expect(HEAD("GET /echo") "\r\n", 200, "\"bytes\":0");
	close(slow);
}

static void test_streams_are_limited(void **state)
{
	int fd[STREAM_MOST];
	int64_t end = clock_mono_ms() + 20000;
	struct reply r;
	int status;

	(void)state;
	for (size_t i = 0; i < STREAM_MOST; i++) fd[i] = open_stream_of("100000000");
	for (size_t i = 0; i < STREAM_MOST; i++) {
		char byte;

		assert_int_equal(recv(fd[i], &byte, 1, 0), 1);
	}
	expect(HEAD("GET /stream/3") "\r\n", 503, "too many streams at once");
	expect(HEAD("GET /echo") "\r\n", 200, "\"bytes\":0");
	for (size_t i = 0; i < STREAM_MOST; i++) close(fd[i]);
	do {
		if (clock_mono_ms() > end) fail_msg("the places of peers that are gone are not free");
		ask_text(HEAD("GET /stream/3") "\r\n", &r);
		status = r.status;
		reply_release(&r);
	} while (status != 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_stream_says_what_is_new_and_ends),
		cmocka_unit_test(test_a_peer_that_reads_nothing_is_in_nobodys_way),
		cmocka_unit_test(test_streams_are_limited),
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_head_has_no_body),
		cmocka_unit_test(test_unknown_paths_and_methods),
		cmocka_unit_test(test_body_comes_back_as_it_was),
		cmocka_unit_test(test_bodies_in_chunks),
		cmocka_unit_test(test_announced_large_body_is_refused_unread),
		cmocka_unit_test(test_announced_large_body_that_is_sent_anyway),
		cmocka_unit_test(test_largest_body),
		cmocka_unit_test(test_large_body_in_chunks_is_refused),
		cmocka_unit_test(test_bodies_have_a_common_ceiling),
		cmocka_unit_test(test_garbage_does_not_end_the_server),
		cmocka_unit_test(test_addresses_that_cannot_be_served),
		cmocka_unit_test(test_deliveries),
		cmocka_unit_test(test_deliveries_to_a_repositorys_own_address),
		cmocka_unit_test(test_a_secret_that_changes_is_read_again),
		cmocka_unit_test(test_a_delivery_without_a_signature_is_refused_unread),
		cmocka_unit_test(test_one_large_unknown_body_at_a_time),
		cmocka_unit_test(test_large_delivery_is_refused_before_its_signature),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, start, finish);
}
