/* One HTTP request. libcurl keeps copies of what it sends (headers, a buffer of the body): its memory is wiped when
 * freed, and the body is handed over piece by piece from where the caller keeps it. */
#include "lib/fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void wiping_free(void *p)
{
	if (p) explicit_bzero(p, malloc_usable_size(p));
	free(p);
}

static void *wiping_realloc(void *p, size_t size)
{
	size_t had = p ? malloc_usable_size(p) : 0;
	void *bigger = malloc(size);

	if (!bigger || !p) return bigger;
	memcpy(bigger, p, had < size ? had : size);
	wiping_free(p);
	return bigger;
}

static void start(void)
{
	static int started;

	if (!started && curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, wiping_free, wiping_realloc, strdup, calloc))
		die("libcurl cannot start");
	started = 1;
}

void fetch_answer_release(struct fetch_answer *a)
{
	buf_release(&a->body);
	free_p(&a->location);
}

static void curlu_free_p(CURLU **u)
{
	curl_url_cleanup(*u);
}
#define _cleanup_curlu_ __attribute__((cleanup(curlu_free_p)))

static void curl_string_free_p(char **s)
{
	curl_free(*s);
}
#define _cleanup_curl_string_ __attribute__((cleanup(curl_string_free_p)))

static int is_loopback(const char *host)
{
	struct in_addr four;
	struct in6_addr six;
	char text[INET6_ADDRSTRLEN] = "";
	size_t len = strlen(host);

	if (!strcasecmp(host, "localhost")) return 1; /* libcurl never asks a name server for it */
	if (inet_pton(AF_INET, host, &four) == 1) return ntohl(four.s_addr) >> 24 == 127;
	if (len > 2 && len < sizeof(text) && host[0] == '[') memcpy(text, host + 1, len - 2);
	return inet_pton(AF_INET6, text, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}

/* What is judged here is what libcurl then uses: the same parsed URL. */
static int parse_url(const char *url, CURLU **url_r, int *loopback_r, struct err *e)
{
	_cleanup_curlu_ CURLU *u = curl_url();
	_cleanup_curl_string_ char *scheme = NULL, *host = NULL, *user = NULL;

	if (!u) die("libcurl has no memory");
	if (curl_url_set(u, CURLUPART_URL, url, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0))
		return err_set(e, ERR_INPUT, "'%.300s' is no URL", url);
	if (!curl_url_get(u, CURLUPART_USER, &user, 0)) {
		/* Whatever stands there may be a password. */
		return err_set(e, ERR_INPUT, "the URL for '%.300s' has a user name in it", host);
	}
	*loopback_r = is_loopback(host);
	if (strcmp(scheme, "https") && !(*loopback_r && !strcmp(scheme, "http")))
		return err_set(e, ERR_INPUT, "'%.300s' is not safe: want https, or http on this machine", url);
	*url_r = steal(u);
	return 0;
}

int fetch_check_url(const char *url, struct err *e)
{
	_cleanup_curlu_ CURLU *u = NULL;
	int loopback;

	start();
	return parse_url(url, &u, &loopback, e);
}

struct transfer {
	CURL *easy;
	CURLU *url;
	struct curl_slist *headers;
	const struct fetch *f;
	size_t sent;
	struct fetch_answer *answer;
	char why[CURL_ERROR_SIZE];
};

static void transfer_release(struct transfer *t)
{
	for (struct curl_slist *h = t->headers; h; h = h->next) explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(t->headers);
	curl_easy_cleanup(t->easy);
	curl_url_cleanup(t->url);
}

static size_t give_body(char *to, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t left = t->f->body_len - t->sent, len = size * n < left ? size * n : left;

	if (len) memcpy(to, (const char *)t->f->body + t->sent, len);
	t->sent += len;
	return len;
}

/* A connection that was kept too long makes libcurl start again from the beginning. */
static int rewind_body(void *arg, curl_off_t offset, int origin)
{
	struct transfer *t = arg;

	if (origin != SEEK_SET || offset < 0 || (size_t)offset > t->f->body_len) return CURL_SEEKFUNC_FAIL;
	t->sent = (size_t)offset;
	return CURL_SEEKFUNC_OK;
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	buf_add(&t->answer->body, data, size * n);
	return t->answer->body.overflow ? 0 : size * n;
}

static void add_header(struct transfer *t, const char *line)
{
	struct curl_slist *more = curl_slist_append(t->headers, line);

	if (!more) die("libcurl has no memory");
	t->headers = more;
}

static void set_up(struct transfer *t, int loopback)
{
	const struct fetch *f = t->f;
	const char *certificates = getenv("SSL_CERT_FILE");

	for (const char *const *h = f->headers; h && *h; h++) add_header(t, *h);
	if (f->secret) add_header(t, (const char *)f->secret->data);
	curl_easy_setopt(t->easy, CURLOPT_CURLU, t->url);
	curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)f->timeout_ms);
	curl_easy_setopt(t->easy, CURLOPT_USERAGENT, "slipway/" SLIPWAY_VERSION);
	curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->why);
	curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, f->method);
	curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
	if (loopback) curl_easy_setopt(t->easy, CURLOPT_NOPROXY, "*");
	if (certificates && *certificates) curl_easy_setopt(t->easy, CURLOPT_CAINFO, certificates);
	if (f->body) {
		add_header(t, "Expect:");
		curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)f->body_len);
		curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, give_body);
		curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
		curl_easy_setopt(t->easy, CURLOPT_SEEKFUNCTION, rewind_body);
		curl_easy_setopt(t->easy, CURLOPT_SEEKDATA, t);
	}
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
}

int fetch(const struct fetch *f, struct fetch_answer *answer_r, struct err *e)
{
	__attribute__((cleanup(transfer_release))) struct transfer t = {.f = f, .answer = answer_r};
	const char *location = NULL;
	int loopback;
	CURLcode rc;
	long status;

	start();
	if (parse_url(f->url, &t.url, &loopback, e)) return -1;
	t.easy = curl_easy_init();
	if (!t.easy) die("libcurl has no memory");
	set_up(&t, loopback);
	rc = curl_easy_perform(t.easy);
	if (answer_r->body.overflow)
		return err_set(e, ERR_REMOTE, "the answer of '%.300s' is larger than %zu bytes", f->url,
			       answer_r->body.max);
	if (rc)
		return err_set(e, ERR_REMOTE, "cannot reach '%.300s': %s", f->url,
			       t.why[0] ? t.why : curl_easy_strerror(rc));
	curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
	answer_r->status = (int)status;
	curl_easy_getinfo(t.easy, CURLINFO_REDIRECT_URL, &location);
	if (location) answer_r->location = xstrdup(location);
	return 0;
}
