#ifndef RUNNER_PUBLISH_WIRE_H
#define RUNNER_PUBLISH_WIRE_H

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/secret.h"
#include "runner/publish/publish.h"
#include "runner/publish/remote.h"

/* How a deployment repository is reached: by the git program, with our settings alone, under time limits, and over one
 * ssh connection for all that is done. Keys and tokens are never in a file, an argument or the environment. */

struct wire;

struct wire_opts { /* all borrowed until close */
	const struct remote *remote;
	const char *work;         /* a folder of our own */
	const char *git_dir;      /* of the clone, absolute */
	const char *known_hosts;  /* OpenSSH's form; made when it is not there */
	const struct secret *key; /* ssh: as deploykey_prepare leaves it; https: a token; NULL: none */
	int stall_s;              /* what says and moves nothing for so long is given up */
	publish_say_fn *say;
	void *arg;
};

int wire_open(const struct wire_opts *o, struct wire **w_r, struct err *e) MUST_USE;
void wire_close(struct wire **w);
const char *wire_label(const struct wire *w); /* the remote, for messages: "host:port" or the path */

/* wire_connect - be connected, where a connection is kept (ssh).
 *  err  ERR_DENIED the host key has changed, the key was refused; ERR_BUSY it may work later; ERR_INPUT; ERR_SYS */
int wire_connect(struct wire *w, struct err *e) MUST_USE;

struct wire_said {
	struct buf out;   /* standard output */
	struct buf lines; /* standard error without the counters and the remote's words */
	struct buf words; /* the remote's words: "a; b" */
};
void wire_said_init(struct wire_said *s);
void wire_said_release(struct wire_said *s);
#define _cleanup_wire_said_ __attribute__((cleanup(wire_said_release)))

/* wire_git - run `git ARGS` on the clone.
 *  in   what     for messages: "fetch from"
 *       aloud    the remote's words go to the log
 *  err  as wire_connect; ERR_REMOTE git's own words: it would be no better later */
int wire_git(struct wire *w, const char *what, const char *const *args, int aloud, struct wire_said *said,
	     struct err *e) MUST_USE;

#endif
