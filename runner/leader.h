#ifndef RUNNER_LEADER_H
#define RUNNER_LEADER_H

/* What the daemon and a job's leader agree on: `runner job STATE ID ATTEMPT` is started in a session of its own with
 * the locked lock file as this descriptor; the lock is held for as long as the leader lives, its pid is in the file. */
enum { LEADER_LOCK_FD = 3 };

#endif
