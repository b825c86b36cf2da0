/* The HTTP checks of boot proof: libcurl over sockets of the image's network, which only the sandbox can make. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

enum { MAX_BODY = 8 << 20, MAX_FDS = 4, MAX_CONNECT_MS = 10000 };

struct probe {
	const struct plan_check *c;
	CURLM *multi;
	CURL *easy; /* the request under way, or NULL */
	int fd;     /* its socket, until libcurl takes it */
	size_t at;  /* which page */
	struct buf body;
	crypto_hash_sha256_state hash; /* of the body so far */
	struct buf last;
	struct buf what;
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
	buf_init(&p->what, 2000);
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
	buf_release(&p->what);
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

const char *probe_what(struct probe *p)
{
	buf_clear(&p->what);
	if (p->at < p->c->nhttp)
		buf_addf(&p->what, "did not answer GET %s", p->c->http[p->at].path);
	else
		buf_adds(&p->what, "did not accept a connection");
	return buf_str(&p->what);
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

/* What is past the ceiling is read and dropped; the hash is of all. */
static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct probe *p = arg;

	buf_add(&p->body, data, size * n);
	crypto_hash_sha256_update(&p->hash, (const unsigned char *)data, size * n);
	return size * n;
}

static const struct plan_http *page(const struct probe *p)
{
	return p->at < p->c->nhttp ? &p->c->http[p->at] : NULL;
}

void probe_start(struct probe *p, int fd, const struct sockaddr_in *to, int64_t timeout_ms)
{
	_cleanup_free_ char *url = NULL;
	char address[INET_ADDRSTRLEN];

	if (!inet_ntop(AF_INET, &to->sin_addr, address, sizeof(address))) die("inet_ntop");
	url = xasprintf("http://%s:%d%s", address, ntohs(to->sin_port), page(p) ? page(p)->path : "/");
	p->fd = fd;
	p->easy = curl_easy_init();
	if (!p->easy) die("libcurl has no memory");
	buf_clear(&p->body);
	crypto_hash_sha256_init(&p->hash);
	p->why[0] = '\0';
	curl_easy_setopt(p->easy, CURLOPT_URL, url);
	curl_easy_setopt(p->easy, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(p->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(p->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(p->easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(p->easy, CURLOPT_CONNECT_ONLY, page(p) ? 0L : 1L);
	curl_easy_setopt(p->easy, CURLOPT_TIMEOUT_MS, (long)(timeout_ms > 1 ? timeout_ms : 1));
	curl_easy_setopt(p->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)MAX_CONNECT_MS);
	curl_easy_setopt(p->easy, CURLOPT_USERAGENT, "slipway-check");
	curl_easy_setopt(p->easy, CURLOPT_ERRORBUFFER, p->why);
	curl_easy_setopt(p->easy, CURLOPT_OPENSOCKETFUNCTION, give_socket);
	curl_easy_setopt(p->easy, CURLOPT_OPENSOCKETDATA, p);
	curl_easy_setopt(p->easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(p->easy, CURLOPT_WRITEDATA, p);
	if (curl_multi_add_handle(p->multi, p->easy)) die("libcurl takes no request");
}

/* 1: the answer has that header, with that in its value */
static int has_header(CURL *easy, const char *wanted)
{
	size_t n = strcspn(wanted, ":");
	_cleanup_free_ char *name = xstrndup(wanted, n);
	const char *value = wanted + n + (wanted[n] == ':');
	struct curl_header *h;

	value += strspn(value, " ");
	for (size_t i = 0; !curl_easy_header(easy, name, i, CURLH_HEADER, -1, &h); i++)
		if (strstr(h->value, value)) return 1;
	return 0;
}

static int has_hash(struct probe *p, const char *wanted, char *hex, size_t hex_size)
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256_final(&p->hash, hash);
	sodium_bin2hex(hex, hex_size, hash, sizeof(hash));
	return !strcmp(hex, wanted);
}

/* A whole answer: is it the one that was asked for? */
static int judge(struct probe *p, const struct plan_http *h, long status, struct err *e)
{
	char hex[2 * crypto_hash_sha256_BYTES + 1];

	if (status != (h->status ? h->status : 200))
		return err_set(e, ERR_REMOTE, "GET %s answered %ld, expected %d", h->path, status,
			       h->status ? h->status : 200);
	if (h->header && !has_header(p->easy, h->header))
		return err_set(e, ERR_REMOTE, "GET %s answered without the header '%s'", h->path, h->header);
	if (h->contains && *h->contains && !memmem(buf_str(&p->body), p->body.len, h->contains, strlen(h->contains)))
		return err_set(e, ERR_REMOTE, "GET %s answered without '%s' in its body", h->path, h->contains);
	if (h->sha256 && !has_hash(p, h->sha256, hex, sizeof(hex)))
		return err_set(e, ERR_REMOTE, "GET %s answered a body with the sha256 %s, expected %s", h->path, hex,
			       h->sha256);
	return 0;
}

/* The request under way has ended. */
static int verdict(struct probe *p, CURLcode rc, struct err *e)
{
	const struct plan_http *h = page(p);
	long status = 0;
	int failed = 0;

	buf_clear(&p->last);
	curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
	if (rc == CURLE_COULDNT_CONNECT)
		buf_adds(&p->last, "nothing listens there");
	else if (rc)
		buf_addf(&p->last, "%s", p->why[0] ? p->why : curl_easy_strerror(rc));
	else if (h && status == 503 && h->status != 503)
		buf_addf(&p->last, "answered 503");
	else
		failed = h ? judge(p, h, status, e) : 0;
	end_request(p);
	if (failed) return -1;
	if (p->last.len) return 0;
	p->at++;
	return p->at >= p->c->nhttp;
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
