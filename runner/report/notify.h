#ifndef RUNNER_REPORT_NOTIFY_H
#define RUNNER_REPORT_NOTIFY_H

#include <sys/socket.h>

#include "lib/buf.h"
#include "lib/json.h"
#include "lib/secret.h"
#include "runner/store/store.h"

/* How people and programs are told of a build's end. Targets come from a repository's file: what they may reach is
 * decided here, where they are reached. */

/* What is told; {"delivery", "event": "build", "url", "build": {…}}. url NULL: this box has no public address */
json_t *notify_json(const struct build_row *b, const struct job_row *jobs, size_t njobs, const char *delivery,
		    const char *url);
/* A whole mail, header and text, to this one address; nothing in it ends a header line early.
 *  in   from  NULL: the mail program says */
char *notify_mail(const struct build_row *b, const struct job_row *jobs, size_t njobs, const char *delivery,
		  const char *url, const char *to, const char *from, int64_t now_ms);

struct webhook {
	const char *url, *delivery;
	const void *body;
	size_t len;
	const struct secret *secret; /* it is signed with */
	int anywhere;                /* the box's owner allows this address, wherever it leads */
};
/* webhook_send - POST, once. No redirect is followed and no proxy asked.
 *  err  ERR_DENIED it leads to an address that is not public; ERR_INPUT the receiver says no for good (4xx);
 *       ERR_REMOTE anything else: try again later */
int webhook_send(const struct webhook *w, struct err *e) MUST_USE;

/* address_is_public - of the internet at large: not loopback, private, link-local, shared, for documentation,
 * multicast, nor IPv4 in IPv6's clothes. src  the IANA special-purpose address registries, RFC 6890 */
int address_is_public(const struct sockaddr *sa);

#endif
