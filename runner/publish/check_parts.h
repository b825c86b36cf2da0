#ifndef RUNNER_PUBLISH_CHECK_PARTS_H
#define RUNNER_PUBLISH_CHECK_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "runner/publish/check.h"

/* The parts of boot proof, shared by check*.c only. */

enum {
	CHECK_DEFAULT_MS = 60000,
	CHECK_ALIVE_MS = 2000, /* nothing was asked for: it must run this long */
	CHECK_AFTER_MS = 300,  /* all that was asked for came: it must not fall over right behind it */
	CHECK_PORT = 8080,
};

/* --- console: what the image says, passed on, and `expect` found across any split --- */
struct console {
	int fd;             /* to read from, non-blocking; -1 at its end */
	const char *expect; /* NULL: none */
	int seen;
	uint64_t bytes;
	struct buf window; /* the newest bytes, shorter than expect */
	check_say_fn *say;
	void *arg;
};

/* console_open - a pipe. out: the end that the image writes to; CLOEXEC, the caller's */
int console_open(struct console *k, const char *expect, check_say_fn *say, void *arg, int *write_r,
		 struct err *e) MUST_USE;
void console_feed(struct console *k, const char *data, size_t len);
void console_read(struct console *k); /* all that is there now */
void console_release(struct console *k);
void console_line(struct console *k, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* a line of ours */

/* --- probe: one HTTP check over connections that somebody else makes --- */
struct probe;

struct probe *probe_new(const struct plan_check *c);
void probe_free(struct probe **p);
int probe_idle(const struct probe *p);                         /* 1: wants a connection */
void probe_start(struct probe *p, int fd, int64_t timeout_ms); /* takes fd */
/* probe_wait - until something happens on the connection, on one of fds (-1: none) or the time is over.
 *  out  0: go on; 1: the check is passed; -1: answered, but not as it must: err ERR_REMOTE
 * A connection that fails, and 503, are no answer yet: probe_last() says so, and it is idle again. */
int probe_wait(struct probe *p, const int *fds, size_t nfds, int64_t timeout_ms, struct err *e) MUST_USE;
const char *probe_last(const struct probe *p); /* "" */

/* --- the kinds --- */
int check_box(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg,
	      struct err *e) MUST_USE;
int check_qemu(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg,
	       struct err *e) MUST_USE;

/* What was waited for and did not come, as an error: "did not say 'ready' within 60 s". */
int check_late(const struct plan_check *c, const struct console *k, int answered, const char *last, int64_t after_ms,
	       struct err *e) MUST_USE;
/* Likewise for an image that ended: "exited with 1 before it said 'ready'". */
int check_ended(const struct plan_check *c, const struct console *k, int answered, const char *how,
		struct err *e) MUST_USE;

#endif
