#ifndef RUNNER_LEADER_H
#define RUNNER_LEADER_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "runner/home.h"
#include "runner/store/store.h"

/* What a daemon and a job's leader agree on: `runner job STATE ID ATTEMPT` is started in a session of its own with
 * the locked lock file as this descriptor; the lock is held for as long as the leader lives, its pid is in the file.
 * One that `runner exec` starts has the terminal for --shell-on-failure beside it. */
enum { LEADER_LOCK_FD = 3, LEADER_TTY_FD = 4 };

/* `slipway-job spare STATE LIKE` has a socket there instead: says "!" when it is ready, and is sent one struct
 * leader_order with the lock. */
enum { LEADER_ORDER_FD = LEADER_LOCK_FD };

struct leader_order {
	int64_t job_id;
	int attempt;
};

struct spare;

struct leader_opts {
	struct spare *spare; /* may lead it; NULL: none */

	int tty;             /* > 0: is given to it as LEADER_TTY_FD */
	int die_with_parent; /* and does not outlive us */
};

/* leader_start - the leader of a job that was claimed.
 *  in   o  may be NULL: neither
 *  out  pid_r, pidfd_r  to be reaped, and closed, by the caller */
int leader_start(const struct home *h, const struct job_row *row, const struct leader_opts *o, pid_t *pid_r,
		 int *pidfd_r, struct err *e) MUST_USE;

/* leader_tell - a cancel that stands in the job's row, to its leader if one lives. */
int leader_tell(const struct home *h, int64_t job_id, struct err *e) MUST_USE;

#endif
