#ifndef RUNNER_PUBLISH_REMOTE_H
#define RUNNER_PUBLISH_REMOTE_H

#include "lib/err.h"

/* Where a deployment repository is. */

enum remote_kind {
	REMOTE_PATH,  /* a bare repository on this box: /srv/x.git, ../x.git, file:///srv/x.git */
	REMOTE_SSH,   /* ssh://[user@]host[:port]/path or [user@]host:path */
	REMOTE_HTTPS, /* https://[user@]host[:port]/path, with a token */
};

struct remote {
	enum remote_kind kind;
	char *url;  /* as git wants it: a path without file://, https without the user */
	char *user; /* "git" where none is named */
	char *host; /* lower case; NULL for a path */
	int port;   /* 22 or 443 where none is named; 0 for a path */
};

/* remote_parse - pure. err ERR_INPUT a scheme that cannot be pushed to, no host, a bad port, something that ssh or git
 * would take for an option */
int remote_parse(const char *text, struct remote *r, struct err *e) MUST_USE;
void remote_release(struct remote *r);
#define _cleanup_remote_ __attribute__((cleanup(remote_release)))

#endif
