/* The HTTP check of boot proof: libcurl over connections into a box, which only the sandbox can make. */
#include <curl/curl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

enum { MAX_BODY = 8 << 20, MAX_FDS = 4 };

struct probe {
	const struct plan_check *c;
	CURLM *multi;
	CURL *easy; /* the request under way, or NULL */
	int fd;     /* its connection, until libcurl takes it */
	struct buf body;
	struct buf last;
	char why[CURL_ERROR_SIZE];
};

struct probe *probe_new(const struct plan_check *c)
{
	struct probe *p = xcalloc(1, sizeof(*p));

	if (curl_global_init(CURL_GLOBAL_DEFAULT)) die("libcurl cannot start");
	p->c = c;
	p->fd = -1;
	p->multi = curl_multi_init();
	if (!p->multi) die("libcurl has no memory");
	buf_init(&p->body, MAX_BODY);
	buf_init(&p->last, 400);
	return p;
}

static void end_request(struct probe *p)
{
	if (p->easy) {
		curl_multi_remove_handle(p->multi, p->easy);
		curl_easy_cleanup(p->easy);
	}
	p->easy = NULL;
	close_p(&p->fd);
}

void probe_free(struct probe **pp)
{
	struct probe *p = *pp;

	if (!p) return;
	end_request(p);
	curl_multi_cleanup(p->multi);
	curl_global_cleanup();
	buf_release(&p->body);
	buf_release(&p->last);
	free(p);
	*pp = NULL;
}

int probe_idle(const struct probe *p)
{
	return !p->easy;
}

const char *probe_last(const struct probe *p)
{
	return buf_str(&p->last);
}

static curl_socket_t give_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct probe *p = arg;
	int fd = p->fd;

	(void)purpose;
	(void)address;
	p->fd = -1;
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int is_connected(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	(void)arg;
	(void)fd;
	(void)purpose;
	return CURL_SOCKOPT_ALREADY_CONNECTED;
}

/* What is past the ceiling is read and dropped. */
static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct probe *p = arg;

	buf_add(&p->body, data, size * n);
	return size * n;
}

void probe_start(struct probe *p, int fd, int64_t timeout_ms)
{
	_cleanup_free_ char *url = xasprintf("http://127.0.0.1:%d%s", CHECK_PORT, p->c->http_path);

	p->fd = fd;
	p->easy = curl_easy_init();
	if (!p->easy) die("libcurl has no memory");
	buf_clear(&p->body);
	p->why[0] = '\0';
	curl_easy_setopt(p->easy, CURLOPT_URL, url);
	curl_easy_setopt(p->easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(p->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(p->easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
	curl_easy_setopt(p->easy, CURLOPT_USERAGENT, "slipway-check");
	curl_easy_setopt(p->easy, CURLOPT_ERRORBUFFER, p->why);
	curl_easy_setopt(p->easy, CURLOPT_OPENSOCKETFUNCTION, give_socket);
	curl_easy_setopt(p->easy, CURLOPT_OPENSOCKETDATA, p);
	curl_easy_setopt(p->easy, CURLOPT_SOCKOPTFUNCTION, is_connected);
	curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(p->easy, CURLOPT_WRITEDATA, p);
	if (curl_multi_add_handle(p->multi, p->easy)) die("libcurl takes no request");
}

/* The request under way has ended. */
static int verdict(struct probe *p, CURLcode rc, struct err *e)
{
	const char *path = p->c->http_path, *want = p->c->http_contains;
	long status = 0, expected = p->c->http_status ? p->c->http_status : 200;

	curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
	end_request(p);
	buf_clear(&p->last);
	if (rc) {
		buf_addf(&p->last, "%s", p->why[0] ? p->why : curl_easy_strerror(rc));
		return 0;
	}
	if (status == 503 && expected != 503) {
		buf_addf(&p->last, "answered 503");
		return 0;
	}
	if (status != expected)
		return err_set(e, ERR_REMOTE, "GET %s answered %ld, expected %ld", path, status, expected);
	if (want && *want && !memmem(buf_str(&p->body), p->body.len, want, strlen(want)))
		return err_set(e, ERR_REMOTE, "GET %s answered without '%s' in its body", path, want);
	return 1;
}

int probe_wait(struct probe *p, const int *fds, size_t nfds, int64_t timeout_ms, struct err *e)
{
	struct curl_waitfd wait[MAX_FDS];
	unsigned n = 0;
	int running, left;
	CURLMsg *m;

	for (size_t i = 0; i < nfds && n < MAX_FDS; i++)
		if (fds[i] >= 0) wait[n++] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
	if (curl_multi_poll(p->multi, wait, n, (int)timeout_ms, NULL)) die("libcurl cannot poll");
	if (!p->easy) return 0;
	if (curl_multi_perform(p->multi, &running)) die("libcurl cannot go on");
	while ((m = curl_multi_info_read(p->multi, &left)))
		if (m->msg == CURLMSG_DONE) return verdict(p, m->data.result, e);
	return 0;
}
