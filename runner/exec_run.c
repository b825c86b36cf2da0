/* Running what was planned, one job after the other: claimed from the store in the order of stages, each with a leader
 * as the daemon would start it, but one that dies with us. Meanwhile its log is shown as it grows.
 *
 * A first signal cancels the jobs as `runner cancel` does, and the leader ends its box; a second kills the leader, and
 * the kernel takes the box with it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/exec.h"
#include "runner/job.h"
#include "runner/leader.h"
#include "runner/report/report.h"

enum { TICK_MS = 40, COPY_MS = 600000 };

/* --- output --- */

void exec_put(struct exec *x)
{
	int gone = 0;

	if (x->out.len) gone = fwrite(buf_str(&x->out), 1, x->out.len, stdout) != x->out.len;
	gone |= fflush(stdout) != 0;
	buf_clear(&x->out);
	if (gone && !x->signals) exec_interrupt(x, SIGPIPE);
}

void exec_say(struct exec *x, const char *style, const char *fmt, ...)
{
	va_list ap;

	if (x->colour) buf_adds(&x->out, style);
	va_start(ap, fmt);
	buf_vaddf(&x->out, fmt, ap);
	va_end(ap);
	buf_adds(&x->out, x->colour ? "\033[0m\n" : "\n");
	exec_put(x);
}

/* What the log has got since the last look. */
static void show_log(struct exec *x)
{
	_cleanup_free_ char *path = home_job(&x->home, x->row.id, "log");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char chunk[1 << 16];
	ssize_t n;

	while (fd >= 0 && (n = pread(fd, chunk, sizeof(chunk), x->log_offset)) > 0) {
		x->log_offset += n;
		render_feed(x->render, chunk, (size_t)n, clock_mono_ms(), &x->out);
		exec_put(x);
	}
}

/* --- signals --- */

static void cancel_all(struct exec *x)
{
	struct job_row *rows = NULL;
	size_t n = 0;
	struct err e;

	if (store_build_jobs(x->store, x->build_id, &rows, &n, &e)) return;
	for (size_t i = 0; i < n; i++) {
		if (job_state_is_final(rows[i].state)) continue;
		if (store_job_cancel(x->store, rows[i].id, "canceled", clock_unix_ms(), &e) >= 0) continue;
		if (e.kind == ERR_BUSY)
			fprintf(stderr, "runner exec: it is being published, which is not stopped half way; once more "
					"kills it\n");
	}
	job_rows_free(&rows, n);
}

void exec_interrupt(struct exec *x, int sig)
{
	if (!x->signals++) {
		x->signal = sig;
		if (x->build_id) cancel_all(x);
		if (x->leader > 0) kill(x->leader, SIGTERM);
	} else if (x->leader > 0) {
		kill(x->leader, SIGKILL);
	}
}

static void on_signal(int sig, void *arg)
{
	if (sig == SIGWINCH)
		exec_shell_resize(arg);
	else
		exec_interrupt(arg, sig);
}

/* --- one job --- */

static void look(void *arg)
{
	struct exec *x = arg;
	__attribute__((cleanup(job_row_release))) struct job_row now = {0};
	struct err e;

	show_log(x);
	if (x->master >= 0 && !store_job_get(x->store, x->row.id, &now, &e)) {
		if (now.state == JOB_RUNNING && now.step && !strcmp(now.step, JOB_SHELL_STEP))
			exec_shell_begin(x);
		else
			exec_shell_end(x);
	}
	if (x->leader > 0) loop_timer(x->loop, TICK_MS, look, x);
}

static void on_leader_end(int fd, short revents, void *arg)
{
	struct exec *x = arg;
	int ws;

	(void)revents;
	loop_fd_remove(x->loop, fd);
	while (waitpid(x->leader, &ws, 0) < 0 && errno == EINTR) {}
	x->leader = 0;
	close_p(&x->leader_fd);
	loop_stop(x->loop);
}

/* A leader that ended without a result: the daemon's rule, run again a few times. */
static int settle(struct exec *x, struct err *e)
{
	__attribute__((cleanup(job_row_release))) struct job_row now = {0};
	_cleanup_free_ char *path = home_job(&x->home, x->row.id, "leader.err");
	_cleanup_buf_ struct buf said = BUF_INIT(1 << 20);
	struct err ignored;

	if (store_job_get(x->store, x->row.id, &now, e)) return -1;
	if (job_state_is_final(now.state) || now.attempt != x->row.attempt) return 0;
	exec_home_sweep(x);
	if (!x->signals && !fs_read_file(path, &said, &ignored)) fputs(buf_str(&said), stderr);
	return store_job_lost(x->store, now.id, now.attempt, "its leader ended without a result", clock_unix_ms(), e);
}

/* Its files, for who wants them. */
static int hand_out(struct exec *x, struct err *e)
{
	_cleanup_free_ char *to = xasprintf("%s/%d", x->o.output, x->row.number), *target = NULL, *from = NULL;
	struct child_opts o = {0};

	from = home_job(&x->home, x->row.id, "artifacts/.");
	if (!fs_exists(from)) return 0;
	if (fs_mkdirs(to, 0777, e)) return -1;
	target = xasprintf("%s/", to);
	o.argv = (const char *const[]){"cp", "-r", "--", from, target, NULL};
	return child_check(&o, NULL, COPY_MS, NULL, e);
}

static int run_one(struct exec *x, struct err *e)
{
	struct leader_opts o = {.tty = x->slave, .die_with_parent = 1};

	exec_say(x, "\033[1;33m", "=== job %d: %s", x->row.number, x->row.name);
	x->log_offset = 0;
	if (leader_start(&x->home, &x->row, &o, &x->leader, &x->leader_fd, e)) return -1;
	loop_fd(x->loop, x->leader_fd, POLLIN, on_leader_end, x);
	look(x);
	if (loop_run(x->loop, e)) return -1;
	exec_shell_end(x);
	show_log(x);
	render_end(x->render, &x->out);
	exec_put(x);
	if (settle(x, e)) return -1;
	return x->o.output ? hand_out(x, e) : 0;
}

/* --- all of them --- */

static int report(struct exec *x, struct build_row *b, struct err *e)
{
	struct job_row *jobs = NULL;
	size_t n = 0;
	int not_published = 0;

	if (store_build_get(x->store, x->build_id, b, e) || store_build_jobs(x->store, x->build_id, &jobs, &n, e))
		return -1;
	buf_addch(&x->out, '\n');
	for (size_t i = 0; i < n; i++) {
		if (jobs[i].reason && !strcmp(jobs[i].reason, EXEC_LEFT_OUT)) continue;
		report_job_line(b, &jobs[i], clock_unix_ms(), x->colour, &x->out);
		not_published += jobs[i].state == JOB_PASSED && x->would_publish[i];
	}
	exec_put(x);
	if (not_published) exec_say(x, "\033[2m", "nothing was published: that takes --publish");
	job_rows_free(&jobs, n);
	return 0;
}

static int status_of(const struct exec *x, const struct build_row *b)
{
	if (x->signal) return EXEC_SIGNALLED + x->signal;
	switch (b->state) {
	case BUILD_PASSED: return EXEC_PASSED;
	case BUILD_FAILED: return EXEC_FAILED;
	case BUILD_QUEUED:
	case BUILD_RUNNING:
	case BUILD_ERRORED:
	case BUILD_CANCELED: break;
	}
	return EXEC_ERRORED;
}

int exec_signals(struct exec *x, struct err *e)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};

	x->loop = loop_new();
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		if (loop_signal(x->loop, signals[i], on_signal, x, e)) return -1;
	return 0;
}

int exec_run(struct exec *x, int *status_r, struct err *e)
{
	__attribute__((cleanup(build_row_release))) struct build_row b = {0};
	int rc = 0;

	x->render = render_new(x->colour);
	while (!x->signals) {
		if (loop_turn(x->loop, e)) return -1; /* a signal that came while we planned */
		job_row_release(&x->row);
		rc = store_job_claim(x->store, clock_unix_ms(), &x->row, e);
		if (rc < 0 || (!rc && run_one(x, e))) return -1;
		if (rc) break;
	}
	if (report(x, &b, e)) return -1;
	*status_r = status_of(x, &b);
	return 0;
}
