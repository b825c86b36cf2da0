/* A webhook of ours: one signed POST. The address comes from a file of the repository's, so it could name whatever this
 * box can reach and others cannot. It is looked at where it is certain, at the connection that is about to be made: a
 * name may lead elsewhere each time it is asked for. */
#include <curl/curl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "runner/report/notify.h"

enum { CONNECT_S = 10, ALL_S = 30, ANSWER_MAX = 1 << 20 };

struct sending {
	int anywhere, refused;
	size_t answered;
};

/* A service that listens on all of this box's addresses may be kept from the world by a filter that lets us in. */
static int is_our_own(const struct sockaddr *sa)
{
	struct ifaddrs *all, *i;
	int found = 0;

	if (getifaddrs(&all)) return 1;
	for (i = all; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != sa->sa_family) continue;
		if (sa->sa_family == AF_INET)
			found = !memcmp(&((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr,
					&((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		else if (sa->sa_family == AF_INET6)
			found = !memcmp(&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr,
					&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	}
	freeifaddrs(all);
	return found;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct sending *s = arg;

	(void)purpose;
	if (!s->anywhere && (!address_is_public(&to->addr) || is_our_own(&to->addr))) {
		s->refused = 1;
		return CURL_SOCKET_BAD;
	}
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* What is answered is of no interest; that it is endless is no reason to listen for ever. */
static size_t on_answer(char *data, size_t one, size_t n, void *arg)
{
	struct sending *s = arg;

	(void)data;
	(void)one;
	s->answered += n;
	return s->answered > ANSWER_MAX ? 0 : n;
}

static struct curl_slist *headers_of(const struct webhook *w)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	char hex[2 * sizeof(mac) + 1];
	crypto_auth_hmacsha256_state st;
	_cleanup_free_ char *delivery = xasprintf("X-Slipway-Delivery: %s", w->delivery), *signature = NULL;
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");

	crypto_auth_hmacsha256_init(&st, w->secret->data, w->secret->len);
	crypto_auth_hmacsha256_update(&st, w->body, w->len);
	crypto_auth_hmacsha256_final(&st, mac);
	sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
	signature = xasprintf("X-Slipway-Signature-256: sha256=%s", hex);
	list = curl_slist_append(list, "X-Slipway-Event: build");
	list = curl_slist_append(list, delivery);
	list = curl_slist_append(list, signature);
	list = curl_slist_append(list, "Expect:");
	if (!list) die("libcurl has no memory");
	return list;
}

static void set_up(CURL *c, const struct webhook *w, struct sending *s, struct curl_slist *headers, char *why)
{
	curl_easy_setopt(c, CURLOPT_URL, w->url);
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(c, CURLOPT_PROXY, "");
	curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)ALL_S);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "slipway/" SLIPWAY_VERSION);
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_POST, 1L);
	curl_easy_setopt(c, CURLOPT_POSTFIELDS, w->body);
	curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)w->len);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, s);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, s);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, why);
}

/* A receiver that is asked too often, or not ready, says so with a 4xx too. */
static int judge(long status, struct err *e)
{
	if (status >= 200 && status < 300) return 0;
	if (status >= 400 && status < 500 && status != 408 && status != 425 && status != 429)
		return err_set(e, ERR_INPUT, "it answered %ld", status);
	return err_set(e, ERR_REMOTE, "it answered %ld", status);
}

int webhook_send(const struct webhook *w, struct err *e)
{
	struct sending s = {.anywhere = w->anywhere};
	struct curl_slist *headers;
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURLcode rc;
	CURL *c;

	if (curl_global_init(CURL_GLOBAL_DEFAULT)) die("libcurl cannot start");
	c = curl_easy_init();
	if (!c) die("libcurl has no memory");
	headers = headers_of(w);
	set_up(c, w, &s, headers, why);
	rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(c);
	curl_global_cleanup();
	if (status && (!rc || rc == CURLE_WRITE_ERROR)) return judge(status, e);
	if (s.refused)
		return err_set(e, ERR_DENIED, "it leads to an address that is not public, or to this box itself");
	return err_set(e, ERR_REMOTE, "%s", *why ? why : curl_easy_strerror(rc));
}
