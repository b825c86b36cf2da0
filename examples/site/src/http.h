#ifndef SITE_HTTP_H
#define SITE_HTTP_H

#include <stddef.h>

/* HTTP/1.x for a packed site: no sockets, no allocation, no C library but memcpy and its kin, so that a process and a
 * unikernel share it. A request is a pure function's input; its bytes are believed in nothing.
 *  src  RFC 9110, RFC 9112 */

enum {
	HTTP_LINE_MAX = 4096, /* request line */
	HTTP_HEAD_MAX = 8192, /* request line and fields: a connection's buffer need not be larger */
	HTTP_ANSWER_MAX = 2048,
};

struct http_answer {
	int status;
	int close;       /* the connection ends after this answer */
	size_t consumed; /* bytes of the input that the request was */
	size_t head_len, body_len;
	const unsigned char *body; /* in the packed site, or a constant */
	char head[HTTP_ANSWER_MAX];
};

/* http_next - the answer to the first request of `in`.
 *  in   date      for the Date field; NULL: none (there is no clock)
 *       closing   the answer shall be the connection's last
 *  out  answer_r  borrows nothing of `in`
 *  ret  1: answered; 0: the request is not whole yet, and `in` is shorter than HTTP_HEAD_MAX */
int http_next(const char *in, size_t len, const char *date, int closing, struct http_answer *answer_r);

#endif
