#ifndef LIB_CHILD_H
#define LIB_CHILD_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/vec.h"

/* Child processes: fork+exec with nothing inherited that was not asked for, and a wait status decoded once.
 * src: STYLE "only async-signal-safe calls between fork and exec"; git's run-command.c for the exec report */

enum child_end {
	CHILD_EXITED,    /* code = exit status */
	CHILD_SIGNALLED, /* code = signal */
	CHILD_TIMED_OUT, /* we killed it: its time was over */
	CHILD_LOST,      /* it ended, and nobody can say how */
};

struct child_status {
	enum child_end end;
	int code;
};

/* Only this is success. */
static inline int child_ok(struct child_status s)
{
	return s.end == CHILD_EXITED && s.code == 0;
}

/* "exited with 3", "killed by signal 9 (Killed)", "timed out", "lost"; in a static ring of buffers. */
const char *child_status_str(struct child_status s);

struct child_status child_decode(int wait_status);

struct child_fd {
	int from; /* our descriptor */
	int to;   /* its number in the child */
};

struct child_opts {
	const char *const *argv;    /* argv[0] is looked up in PATH unless it holds a slash */
	const char *const *env;     /* NULL: our own environment */
	const char *cwd;            /* NULL: ours */
	int in, out, err;           /* descriptors for 0, 1, 2; 0 = /dev/null for `in`, inherited for out and err */
	const struct child_fd *fds; /* more descriptors to pass; everything else above 2 is closed */
	size_t nfds;
	int setsid;          /* its own session */
	int die_with_parent; /* SIGKILL when the thread that started it ends (PR_SET_PDEATHSIG) */
	int kill_group;      /* child_run: what it starts in its turn is killed with it: when its time is over, when it
				ended, when we end (also by SIGKILL). What leaves its process group is not reached */
	pid_t group;         /* > 0: the process group to join */
	int userns_fd;       /* > 0: run as root of this user namespace, in a mount namespace of its own */
};

/* child_start - fork and exec. Reports exec failure in this process: err ERR_MISSING "cannot run 'x': ..."
 *  out  pid_r  to be reaped by child_wait() or by the caller's loop
 *       pidfd_r may be NULL; CLOEXEC */
int child_start(const struct child_opts *o, pid_t *pid_r, int *pidfd_r, struct err *e) MUST_USE;

/* child_wait - reap pid. timeout_ms < 0: no limit. When the time is over the child is killed (KILL). */
int child_wait(pid_t pid, int timeout_ms, struct child_status *status_r, struct err *e) MUST_USE;

/* child_run - start, feed input (may be NULL), collect stdout and stderr up to their ceilings, reap.
 *  in   out_r, err_r   may be NULL (inherited); bytes past a ceiling are read and dropped, overflow is set
 *  err  only when it could not be run; a bad exit status is in *status_r */
int child_run(const struct child_opts *o, const struct buf *input, int timeout_ms, struct buf *out_r, struct buf *err_r,
	      struct child_status *status_r, struct err *e) MUST_USE;

/* child_check - child_run, and anything but exit 0 is ERR_REMOTE: "<argv[0]> exited with 2: <last line of stderr>" */
int child_check(const struct child_opts *o, const struct buf *input, int timeout_ms, struct buf *out_r,
		struct err *e) MUST_USE;

/* Path of this very binary, for fork+exec of ourselves. Static storage. */
const char *child_self(void);
/* Another of our programs: in the folder of this one, or where `make install` puts it; NULL: not there. Caller frees.
 */
char *child_beside(const char *name);

#endif
