/* Starting a job's leader: its lock is taken before the fork and handed over, so that there is no moment in which a
 * living leader could be taken for a dead one. */
#include "runner/leader.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/spare.h"

int leader_start(const struct home *h, const struct job_row *row, const struct leader_opts *opts, pid_t *pid_r,
		 int *pidfd_r, struct err *e)
{
	_cleanup_free_ char *dir = home_job(h, row->id, NULL), *lock_path = home_job(h, row->id, "lock");
	_cleanup_free_ char *id = xasprintf("%lld", (long long)row->id), *attempt = xasprintf("%d", row->attempt);
	_cleanup_free_ char *said = home_job(h, row->id, "leader.err"), *program = child_beside("slipway-job");
	_cleanup_close_ int lock = -1, out = -1;
	struct child_fd pass[2];
	struct child_opts o = {
		.argv = (const char *const[]){program ? program : child_self(), "job", h->state, id, attempt, NULL},
		.setsid = 1,
		.die_with_parent = opts && opts->die_with_parent,
		.fds = pass,
		.nfds = 1};

	if (fs_mkdirs(dir, 0700, e) || fs_lock(lock_path, 0, &lock, e)) return -1;
	if (ftruncate(lock, 0)) return err_sys(e, "cannot empty '%s'", lock_path);
	if (opts && opts->spare && spare_give(opts->spare, row, lock, pid_r, pidfd_r)) return 0;
	/* Not our own stderr: the leader outlives us and must not hold a pipe of ours open. */
	out = open(said, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (out < 0) return err_sys(e, "cannot open '%s'", said);
	o.out = o.err = out;
	pass[0] = (struct child_fd){lock, LEADER_LOCK_FD};
	if (opts && opts->tty > 0) pass[o.nfds++] = (struct child_fd){opts->tty, LEADER_TTY_FD};
	return child_start(&o, pid_r, pidfd_r, e);
}

/* Its pid is in the lock file that it holds. */
int leader_tell(const struct home *h, int64_t job_id, struct err *e)
{
	_cleanup_free_ char *path = home_job(h, job_id, "lock");
	_cleanup_buf_ struct buf text = BUF_INIT(64);
	_cleanup_close_ int lock = -1;
	pid_t pid;

	if (!fs_lock(path, 0, &lock, e)) return 0; /* it is gone; the daemon settles the row */
	if (e->kind != ERR_BUSY || fs_read_file(path, &text, e)) return -1;
	pid = (pid_t)strtol(buf_str(&text), NULL, 10);
	if (pid <= 1) return 0; /* it is just being started, and will see the wish in its row */
	return kill(pid, SIGTERM) && errno != ESRCH ? err_sys(e, "cannot signal process %d", (int)pid) : 0;
}
