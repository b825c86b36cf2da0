#ifndef RUNNER_PUBLISH_CHECK_PARTS_H
#define RUNNER_PUBLISH_CHECK_PARTS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/err.h"
#include "lib/loop.h"
#include "runner/publish/check.h"
#include "runner/sandbox/sandbox.h"

/* The parts of boot proof, shared by check*.c only. */

enum {
	CHECK_DEFAULT_MS = 60000,
	CHECK_ALIVE_MS = 2000, /* nothing was asked for: it must run this long */
	CHECK_AFTER_MS = 300,  /* all that was asked for came: it must not fall over right behind it */
	CHECK_PORT = 8080,
};

/* --- console: what the image says, passed on and kept, and `expect` found across any split --- */
struct console {
	int fd;             /* to read from, non-blocking; -1 at its end */
	int keep_fd;        /* gets all of it too; 0: none */
	const char *expect; /* NULL: none */
	int seen;
	uint64_t bytes;
	struct buf window; /* the newest bytes, shorter than expect */
	int quiet;         /* say nothing of it, only remember its end: a script is speaking */
	struct buf tail;
	int mid_line; /* what was said last did not end its line */
	check_say_fn *say;
	void *arg;
};

/* console_open - a pipe. out: the end that the image writes to; CLOEXEC, the caller's */
int console_open(struct console *k, const char *expect, check_say_fn *say, void *arg, int *write_r,
		 struct err *e) MUST_USE;
void console_feed(struct console *k, const char *data, size_t len);
void console_read(struct console *k);                              /* all that is there now */
void console_say(struct console *k, const char *data, size_t len); /* somebody else's words, as they are */
void console_release(struct console *k);
void console_line(struct console *k, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* a line of ours */

/* --- trial: one image under way, whatever runs it --- */
struct trial {
	const struct plan_check *c;
	const struct check_env *env;
	struct console console;
	int out;             /* the console's other end, until the image has it */
	struct sandbox *box; /* with the image's network; NULL: it has none */
	pid_t machine;       /* a machine that runs beside the box; 0: the image runs in the box */
	int machine_fd;      /* readable when it has ended */
	int running, oom;
	struct child_status status;
	struct probe *probe;
	int answered;
	int script_passed;
	struct sockaddr_in address; /* where it serves */
	int64_t began, deadline, next_try, wait_ms;
};

/* How long it may take to be ready, and the script again. */
int64_t trial_limit(const struct trial *t);
/* 1: something connects to it: pages, or a script */
int trial_serves(const struct plan_check *c);
/* 1: it is to end by itself, with 0 */
int trial_judges(const struct plan_check *c);
int trial_end_fd(const struct trial *t); /* readable when the image has ended; -1 when it did */
int trial_reap(struct trial *t, struct err *e) MUST_USE;
/* How it ended, in words; caller frees. */
char *trial_how(const struct trial *t);
/* trial_connect - a new connection to what it serves, under way. */
int trial_connect(struct trial *t, int *fd_r, struct err *e) MUST_USE;
/* trial_box - the box, with the line to it as bad as was asked for where this kernel can; tap_r: NULL or the machine's
 * device. Says on the console where it cannot. */
int trial_box(struct trial *t, int *tap_r, struct err *e) MUST_USE;

/* check.args, cut at its blanks, behind what is in argv */
void trial_add_args(const struct trial *t, struct vec *argv);

/* check_box.c, check_machine.c: start it. On success t->running is set and t->out closed. */
int box_boot(struct trial *t, struct err *e) MUST_USE;
int machine_boot(struct trial *t, struct err *e) MUST_USE;
char *machine_how(const struct trial *t);
int machine_quit_well(const struct trial *t);

/* check_can.c: programs of machines */
#define MACHINE_QEMU "qemu-system-x86_64"
#define MACHINE_ELFTOOL "solo5-elftool" /* reads the manifests of a tender's images */
int machine_is(const struct plan_check *c);
int machine_is_solo5(const struct plan_check *c);
const char *machine_program(const struct plan_check *c);

/* --- probe: the HTTP checks, one after the other; without any, that a connection is accepted --- */
struct probe;

struct probe *probe_new(const struct plan_check *c);
void probe_free(struct probe **p);
int probe_idle(const struct probe *p); /* 1: wants a socket */
/* probe_start - takes fd, a socket that is to be connected to that address */
void probe_start(struct probe *p, int fd, const struct sockaddr_in *to, int64_t timeout_ms);
/* probe_wait - until something happens on the connection, on one of fds (-1: none) or the time is over.
 *  out  0: go on; 1: all checks are passed; -1: answered, but not as it must: err ERR_REMOTE
 * A connection that fails, and 503, are no answer yet: probe_last() says so, and it is idle again. */
int probe_wait(struct probe *p, const int *fds, size_t nfds, int64_t timeout_ms, struct err *e) MUST_USE;
const char *probe_last(const struct probe *p); /* "" */
const char *probe_what(struct probe *p);       /* "did not answer GET /", "did not accept a connection" */

/* --- relay: what connects to a listening socket reaches the image and nothing else --- */
struct relay;

/* relay_new - takes listen_fd */
struct relay *relay_new(struct loop *loop, int listen_fd, struct trial *t);
void relay_free(struct relay **r);

/* check_script.c: check.script in a box of its own against the image.
 *  err ERR_REMOTE "the script exited with 1", "the script ran longer than 60 s", "exited with 3 while its script ran"
 */
int script_run(struct trial *t, struct err *e) MUST_USE;

#endif
