#ifndef LIB_FETCH_H
#define LIB_FETCH_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/secret.h"

/* One HTTP request, by libcurl: https with a verified certificate, or http to this very machine. Redirects are not
 * followed. $SSL_CERT_FILE names other certificates to trust than the system's. */

struct fetch {
	const char *method; /* "GET", "PUT", … */
	const char *url;
	const char *const *headers;  /* "Name: value", NULL-terminated; NULL: none */
	const struct secret *secret; /* one more header, with a token; NULL: none */
	const void *body;            /* NULL: none. Borrowed, and read where it stands */
	size_t body_len;
	int timeout_ms;
};

struct fetch_answer {
	int status;      /* of HTTP, whatever it is */
	struct buf body; /* its ceiling is the caller's */
	char *location;  /* where a redirect leads; NULL: nowhere */
};
void fetch_answer_release(struct fetch_answer *a);
#define _cleanup_fetch_ __attribute__((cleanup(fetch_answer_release)))

/* fetch_check_url - https, or http with a loopback host; no user name in it. err ERR_INPUT */
int fetch_check_url(const char *url, struct err *e) MUST_USE;

/* fetch - ask and wait for the whole answer.
 *  out  answer_r  empty before
 *  err  ERR_INPUT as fetch_check_url; ERR_REMOTE no connection, no valid certificate, cut, over timeout_ms, a body
 *       over the ceiling: "cannot reach 'URL': why". Headers and body are in no message. */
int fetch(const struct fetch *f, struct fetch_answer *answer_r, struct err *e) MUST_USE;

#endif
