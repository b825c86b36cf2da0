/* `runner job STATE ID ATTEMPT` (internal): the leader of one job, in a session of its own. It makes the box, feeds the
 * script, keeps the log and the time limits, has the result proved and published, and writes the job's final row by
 * itself: the daemon may be killed and started again meanwhile.
 *
 *   claimed ─→ image ─→ box ─→ sources ─→ script ─→ files ─→ boot proof ─→ publish ─→ row
 *
 * It trusts nothing that comes out of the box: output is bytes for the log, files are copied by contained paths, the
 * exit status is told by our own init. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/statvfs.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/job.h"
#include "runner/leader.h"
#include "runner/store/mirror.h"

enum {
	LOG_MAX_BYTES = 256 << 20,

	MOST_PIDS = 4096,
	STORE_RETRY_MS = 1000,
	EOF_GRACE_MS = 3000, /* the container has ended; who still holds its output gets this long */
};

static const char source_dir[] = JOB_SOURCE_DIR, script_path[] = JOB_SCRIPT_PATH;

/* --- the script's run --- */

/* The container under way: it has ended when its output is at EOF and its end was told, in either order. */
struct script_run {
	struct job *job;
	int out;
	int open;
	struct child_status status;
	int over;           /* enum sandbox_over */
	struct err failure; /* kind ERR_NONE: none */
};

static void script_less(struct script_run *r)
{
	if (--r->open == 0) loop_stop(r->job->loop);
}

static void stop_waiting(void *arg)
{
	struct script_run *r = arg;

	if (r->out < 0) return;
	loop_fd_remove(r->job->loop, r->out);
	close_p(&r->out);
	script_less(r);
}

static void on_script_output(int fd, short revents, void *arg)
{
	struct script_run *r = arg;
	struct job *j = r->job;
	char chunk[1 << 16];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	struct err e;

	(void)revents;
	if (n < 0 && errno == EINTR) return;
	if (n <= 0) {
		stop_waiting(r);
		return;
	}
	j->last_output_mono_ms = clock_mono_ms();
	if (!j->wrote_first_byte) {
		j->wrote_first_byte = 1;
		if (store_job_first_log(j->store, j->row.id, j->row.attempt, clock_unix_ms(), &e)) r->failure = e;
	}
	if (log_write(j->log, chunk, (size_t)n, &e)) j->log_error = e;
	if ((log_full(j->log) || j->log_error.kind) && !j->over) {
		j->over = j->log_error.kind ? "its log could not be written" : "it wrote more log than this box keeps";
		sandbox_stop(j->box);
	}
}

static void on_script_end(int fd, short revents, void *arg)
{
	struct script_run *r = arg;
	struct job *j = r->job;
	struct err e;

	(void)revents;
	loop_fd_remove(j->loop, fd);
	if (sandbox_end(j->box, &r->status, &r->over, &e)) r->failure = e;
	if (r->out >= 0) loop_timer(j->loop, EOF_GRACE_MS, stop_waiting, r);
	script_less(r);
}

static void end_by_limit(struct job *j, const char *over)
{
	if (j->over) return;
	j->over = over;
	sandbox_stop(j->box);
}

static const char too_long[] = "it ran longer than its time limit";

static void on_timeout(int fd, short revents, void *arg)
{
	struct job *j = arg;

	(void)revents;
	loop_fd_remove(j->loop, fd);
	end_by_limit(j, too_long);
}

static void on_silence(void *arg)
{
	struct job *j = arg;
	int64_t quiet = clock_mono_ms() - j->last_output_mono_ms;

	if (quiet >= j->spec.silence_ms)
		end_by_limit(j, "it wrote nothing for longer than its silence limit");
	else
		j->silence_timer = loop_timer(j->loop, j->spec.silence_ms - quiet, on_silence, j);
}

static int start_script(struct job *j, struct script_run *r, struct err *e)
{
	static const char *const argv[] = {
		"/bin/sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash \"$0\"; else exec sh \"$0\"; fi",
		script_path, NULL};
	_cleanup_vec_ struct vec env = VEC_INIT;
	_cleanup_close_ int theirs = -1, in = -1;
	struct sandbox_run run = {.argv = argv, .cwd = source_dir, .stop_grace_ms = JOB_STOP_GRACE_MS};
	int p[2];

	if (j->second_half && job_network_open(j, &in, e)) return -1;
	job_environment(j, &env);
	run.env = (const char *const *)vec_argv(&env);
	if (j->ready_out > 0) {
		r->out = j->ready_out;
		j->ready_out = 0;
		return sandbox_start(j->box, &run, e);
	}
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	r->out = p[0];
	theirs = p[1];
	fcntl(theirs, F_SETPIPE_SZ, 1 << 20); /* fewer wake-ups; the default will do where this is refused */
	run.out = theirs;
	run.in = in > 0 ? in : 0;
	return sandbox_start(j->box, &run, e);
}

/* A row that nothing of the start depends on: the script does not wait for them. */
static int note_start(struct job *j, struct err *e)
{
	return store_job_script(j->store, j->row.id, j->row.attempt, j->image.digest, j->image.emulated, e);
}

static int run_script(struct job *j, struct script_run *r, struct err *e)
{
	j->last_output_mono_ms = clock_mono_ms();
	if (start_script(j, r, e) || note_start(j, e)) {
		close_p(&r->out);
		return -1;
	}
	r->open = 2;
	loop_fd(j->loop, r->out, POLLIN, on_script_output, r);
	loop_fd(j->loop, sandbox_fd(j->box), POLLIN, on_script_end, r);
	job_network_watch(j);
	loop_fd(j->loop, j->clock_fd, POLLIN, on_timeout, j);
	j->silence_timer = loop_timer(j->loop, j->spec.silence_ms, on_silence, j);
	if (loop_run(j->loop, e)) return -1;
	job_network_release(j);
	loop_fd_remove(j->loop, j->clock_fd);
	loop_timer_cancel(j->loop, j->silence_timer);
	if (!r->failure.kind) return 0;
	*e = r->failure;
	return -1;
}

/* --- the steps --- */

static int watch(struct job *j, int fd, struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN, .data = {.fd = fd}};

	return epoll_ctl(j->abort_fd, EPOLL_CTL_ADD, fd, &ev) ? err_sys(e, "cannot watch the job's clock") : 0;
}

int job_watch_signals(struct job *j, struct err *e)
{
	if (j->abort_fd > 0) return 0;
	j->abort_fd = epoll_create1(EPOLL_CLOEXEC);
	if (j->abort_fd < 0) return err_sys(e, "cannot watch signals");
	return watch(j, loop_signal_fd(j->loop), e);
}

/* The time limit counts from here, and with the signals it reaches us also while we wait for the box. */
static int start_clock(struct job *j, struct err *e)
{
	struct itimerspec over = {
		.it_value = {.tv_sec = j->spec.timeout_ms / 1000, .tv_nsec = j->spec.timeout_ms % 1000 * 1000000}};

	j->clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (j->clock_fd < 0 || timerfd_settime(j->clock_fd, 0, &over, NULL))
		return err_sys(e, "cannot set the job's clock");
	return job_watch_signals(j, e) || watch(j, j->clock_fd, e) ? -1 : 0;
}

/* Without a word in `.ci.yml` a job gets half of this box's memory, and never more than three quarters of it. */
static int64_t memory_limit(const struct job *j)
{
	int64_t all = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
	const char *set = getenv("SLIPWAY_JOB_MEMORY_MB");
	int64_t most = set && strtoll(set, NULL, 10) > 0 ? strtoll(set, NULL, 10) << 20 : all / 4 * 3;
	int64_t wanted = j->spec.limits.memory_bytes ? j->spec.limits.memory_bytes : all / 2;

	return wanted < most ? wanted : most;
}

/* Likewise half of the room that is free where it writes, and never more than three quarters. */
static int64_t disk_limit(const struct job *j)
{
	const char *set = getenv("SLIPWAY_JOB_DISK_MB");
	int64_t wanted = j->spec.limits.disk_bytes, most = INT64_MAX;
	struct statvfs v;

	if (!statvfs(j->home.state, &v)) {
		most = (int64_t)v.f_bavail * (int64_t)v.f_frsize / 4 * 3;
		if (!wanted) wanted = most / 3 * 2;
	}
	if (set && strtoll(set, NULL, 10) > 0) most = strtoll(set, NULL, 10) << 20;
	return wanted < most ? wanted : most;
}

void job_box_opts(struct job *j, struct job_box_opts *o_r)
{
	o_r->trees = checkout_folder(&j->home);
	o_r->allow = home_file(&j->home, "job-allow-addresses");
	o_r->refuse = home_file(&j->home, "job-refuse-addresses");
	o_r->opts = (struct sandbox_opts){.layers = (const char *const *)vec_argv(&j->image.layers),
					  .arch = j->spec.arch,
					  .trees = o_r->trees,
					  .abort_fd = j->abort_fd,
					  .limits = {.memory_bytes = memory_limit(j),
						     .disk_bytes = disk_limit(j),
						     .cpus_milli = j->spec.limits.cpus_milli,
						     .pids = j->spec.limits.pids ? j->spec.limits.pids : MOST_PIDS},
					  .network = j->spec.network != NETWORK_OFF,
					  .allow = o_r->allow,
					  .refuse = o_r->refuse};
}

void job_box_opts_release(struct job_box_opts *o)
{
	free_p(&o->trees);
	free_p(&o->allow);
	free_p(&o->refuse);
}

static int take_box(struct job *j, struct job_box_opts *o, int quietly, struct err *e)
{
	_cleanup_free_ char *id = xasprintf("j%lld-%d", (long long)j->row.id, j->row.attempt);
	_cleanup_free_ char *dir = xasprintf("%s/box", j->dir);
	_cleanup_vec_ struct vec notes = VEC_INIT;

	o->opts.id = id;
	o->opts.dir = dir;
	if (!job_spare_take(j, &o->opts, &notes) &&
	    (fs_mkdirs(dir, 0700, e) || sandbox_open(&o->opts, &j->box, &notes, e)))
		return -1;
	for (size_t i = 0; i < notes.len && !quietly; i++) log_line(j->log, "slipway: %s", notes.items[i]);
	return 0;
}

/* 1: the cache could only be restored in part. */
static int open_box(struct job *j, int with_cache, struct err *e)
{
	_cleanup_free_ char *script = job_script(j, &j->second_half), *tree = NULL;
	__attribute__((cleanup(job_box_opts_release))) struct job_box_opts o = {0};

	job_box_opts(j, &o);
	struct checkout_want sources = {.repo_id = j->repo.id,
					.mirror = j->mirror,
					.commit = j->build.commit,
					.depth = j->spec.git.depth,
					.limits = o.opts.limits,
					.abort_fd = j->abort_fd};

	int rc;

	if (!j->sources.name && checkout_ensure(&j->home, &sources, &j->sources, e)) return -1;
	if (take_box(j, &o, !with_cache, e)) return -1;
	tree = xasprintf("%s/tree", j->sources.name);
	if (sandbox_put_tree(j->box, tree, source_dir, e) || job_put_submodules(j, source_dir, e)) return -1;
	rc = with_cache ? job_cache_restore(j, e) : 0;
	if (rc) return rc;
	return job_put_script(j, script, e);
}

static int make_box(struct job *j, struct err *e)
{
	int rc = open_box(j, 1, e);

	if (rc <= 0) return rc;
	sandbox_close(&j->box);
	free_p(&j->second_half);
	return open_box(j, 0, e) ? -1 : 0;
}

/* A script that ran to its own end: 0 passed, 1 failed, anything else (a set-up phase, a signal) errored. */
static void judge(struct job *j, const struct script_run *r, struct job_end *end, char **reason_r)
{
	if (r->status.end == CHILD_EXITED) end->exit_code = r->status.code;
	if (j->canceled) {
		end->state = JOB_CANCELED;
		*reason_r = xstrdup("canceled");
	} else if (j->over) {
		end->state = JOB_ERRORED;
		*reason_r = xstrdup(j->over);
	} else if (r->over == SANDBOX_OVER_DISK) {
		end->state = JOB_ERRORED;
		*reason_r = xstrdup("it used more disk than its limit and was killed");
	} else if (r->over == SANDBOX_OVER_MEMORY && !child_ok(r->status)) {
		end->state = JOB_ERRORED;
		*reason_r = xstrdup("it used more memory than its limit and was killed");
	} else if (child_ok(r->status) && !job_reached_end(j)) {
		end->state = JOB_ERRORED;
		*reason_r = xstrdup("the script did not come to its end: a command ended the shell with status 0");
	} else if (child_ok(r->status)) {
		end->state = JOB_PASSED;
	} else if (r->status.end == CHILD_EXITED && r->status.code == 1) {
		end->state = JOB_FAILED;
		*reason_r = xstrdup("the script failed");
	} else if (r->status.end == CHILD_EXITED && r->status.code == 2) {
		end->state = JOB_ERRORED;
		*reason_r = xstrdup("a command before the script failed");
	} else {
		end->state = JOB_ERRORED;
		*reason_r = xasprintf("the script %s", child_status_str(r->status));
	}
}

static int run_job(struct job *j, struct job_end *end, char **reason_r, struct err *e)
{
	struct script_run r = {.job = j, .out = -1};
	const struct job_spec *spec = &j->spec;

	if (job_may_publish(j, e) || job_may_boot(j, e) || job_image(j, e)) return -1;
	log_line(j->log, "slipway: image %s (%s)%s", spec->image, j->image.digest,
		 j->image.emulated ? ", emulated by qemu-user" : "");
	if (j->unopened && j->exec && j->exec->no_key)
		log_line(j->log, "slipway: %d sealed values define nothing: no key was given (--key, --secret)",
			 j->unopened);
	else if (j->unopened)
		log_line(j->log, "slipway: %d sealed values of .travis.yml cannot be opened here and define nothing",
			 j->unopened);
	if (job_submodules(j, e) || start_clock(j, e) || make_box(j, e)) return -1;
	if (run_script(j, &r, e)) return -1;
	judge(j, &r, end, reason_r);
	if (end->state == JOB_PASSED && !job_collect(j, e)) {
		job_cache_save(j);
		if (spec->check.boot == BOOT_NONE && !spec->publish.repo) return 0;
		sandbox_close(&j->box);
		return job_check(j, e) || job_publish(j, e) ? -1 : 0;
	}
	job_exec_shell(j);
	return end->state == JOB_PASSED ? -1 : 0;
}

/* --- the leader --- */

/* A cancel stands in the row before its signal is sent. Without one it is the box that stops (a shutdown, say): the
 * job has no result then, and the daemon has it run again. */
static void on_term(int sig, void *arg)
{
	__attribute__((cleanup(job_row_release))) struct job_row now = {0};
	struct job *j = arg;
	struct err e;

	(void)sig;
	if (j->publishing) return; /* not stopped half way */
	if (!store_job_get(j->store, j->row.id, &now, &e) && now.cancel_reason)
		j->canceled = 1;
	else
		j->abandoned = 1;
	if (j->child > 0) kill(-j->child, SIGKILL);
	if (j->box) sandbox_stop(j->box);
}

static int load(struct job *j, struct err *e)
{
	_cleanup_json_ json_t *spec = NULL;

	if (store_build_get(j->store, j->row.build_id, &j->build, e) ||
	    store_repo_get(j->store, j->build.repo_id, &j->repo, e) ||
	    store_event_get(j->store, j->build.event_id, &j->event, e))
		return -1;
	j->mirror = home_repo(&j->home, j->repo.id, "mirror.git");
	if (json_parse("job", j->row.spec, strlen(j->row.spec), &spec, e)) return -1;
	return job_spec_from_json(spec, &j->spec, e);
}

/* The log, masked with every secret the script is given. A log of an earlier attempt is kept beside it. */
static int open_log(struct job *j, struct err *e)
{
	_cleanup_free_ char *log = xasprintf("%s/log", j->dir);
	_cleanup_free_ char *old = xasprintf("%s/log.%d", j->dir, j->row.attempt - 1);
	struct mask *mask;

	if (job_mask(j, &mask, e)) return -1;
	if (j->row.attempt > 1 && fs_exists(log) && rename(log, old)) {
		mask_free(&mask);
		return err_sys(e, "cannot keep '%s'", log);
	}
	if (log_open(j->dir, mask, LOG_MAX_BYTES, &j->log, e)) return -1;
	log_line(j->log, "slipway: %s build %d job %d.%d (%s), commit %s, attempt %d", j->repo.name, j->build.number,
		 j->build.number, j->row.number, j->row.name, j->build.commit, j->row.attempt);
	return 0;
}

static int clock_is_over(const struct job *j)
{
	struct pollfd pf = {j->clock_fd, POLLIN, 0};

	return j->clock_fd > 0 && poll(&pf, 1, 0) == 1;
}

int job_wait_for_store(struct job *j, const struct err *e)
{
	struct pollfd pf = {loop_signal_fd(j->loop), POLLIN, 0};

	struct err late;

	if (!store_is_passing(e)) return -1;
	home_use_reserve(&j->home);
	if (poll(&pf, 1, STORE_RETRY_MS) == 1 && loop_turn(j->loop, &late)) return -1;
	return j->abandoned && !j->publishing ? -1 : 0;
}

static int build_is_over(const struct job *j)
{
	__attribute__((cleanup(build_row_release))) struct build_row now = {0};
	struct err e;

	return !store_build_get(j->store, j->row.build_id, &now, &e) && build_state_is_final(now.state);
}

/* Everything up to the final row. A failure of ours (not of the script) makes the job errored, with the reason in
 * the log too. */
static int lead(struct job *j, struct err *e)
{
	struct job_end end = {.state = JOB_ERRORED, .exit_code = -1};
	_cleanup_free_ char *reason = NULL;
	char hash[65] = "";
	struct err why;
	int no_secrets = job_open_secrets(j, &why);

	if (open_log(j, e)) return -1;
	if (no_secrets || j->canceled || run_job(j, &end, &reason, &why)) {
		if (loop_turn(j->loop, e)) return -1; /* a signal may wait that made it fail */
		end.state = j->canceled ? JOB_CANCELED : JOB_ERRORED;
		free_p(&reason);
		reason = xstrdup(j->canceled ? "canceled" : clock_is_over(j) ? too_long : why.text);
	}
	if (j->box && !j->abandoned) {
		sandbox_end_all(j->box);
		home_wake_place(&j->home, j->row.id);
	}
	sandbox_close(&j->box);
	if (j->abandoned) {
		log_line(j->log, "\nslipway: this box stops; the job will be run again");
		return err_set(e, ERR_BUSY, "stopped by a signal");
	}
	if (reason && strcmp(reason, job_state_name(end.state)) != 0)
		log_line(j->log, "\nslipway: %s: %s", job_state_name(end.state), reason);
	else
		log_line(j->log, "\nslipway: %s", job_state_name(end.state));
	if (log_close(&j->log, &end.log_bytes, hash, &why)) {
		end.state = JOB_ERRORED;
		free_p(&reason);
		reason = xasprintf("the log is not whole: %s", why.text);
	}
	end.reason = reason;
	end.log_hash = *hash ? hash : NULL;
	while (store_job_finish(j->store, j->row.id, j->row.attempt, &end, clock_unix_ms(), e))
		if (job_wait_for_store(j, e)) return -1;
	j->build_over = build_is_over(j);
	return 0;
}

static void release(struct job *j)
{
	char hash[65];
	int64_t bytes;
	struct err ignored;

	sandbox_close(&j->box);
	if (j->log && log_close(&j->log, &bytes, hash, &ignored)) {}
	job_spare_release(j);
	checkout_release(&j->home, &j->sources, j->build_over);
	job_secrets_release(j);
	json_decref_p(&j->submodules);
	job_exec_release(j);
	image_release(&j->image);
	job_files_release(j);
	job_network_release(j);
	job_cache_release(j);
	job_spec_release(&j->spec);
	event_row_release(&j->event);
	repo_release(&j->repo);
	build_row_release(&j->build);
	job_row_release(&j->row);
	store_close(&j->store);
	loop_free(&j->loop);
	if (j->clock_fd > 0) close(j->clock_fd);
	if (j->abort_fd > 0) close(j->abort_fd);
	free_p(&j->dir);
	free_p(&j->mirror);
	home_release(&j->home);
}

static int write_pid(struct err *e)
{
	_cleanup_free_ char *pid = xasprintf("%d\n", (int)getpid());

	return fs_write_all(LEADER_LOCK_FD, pid, strlen(pid), "lock", e);
}

static int begin(struct job *j, const char *state, struct err *e)
{
	_cleanup_free_ char *db = NULL;

	fcntl(LEADER_LOCK_FD, F_SETFD, FD_CLOEXEC);
	j->loop = loop_new();
	if (loop_signal(j->loop, SIGTERM, on_term, j, e) || home_open(state, &j->home, e)) return -1;
	db = home_db(&j->home);
	return store_open(db, &j->store, e);
}

static int lead_job(struct job *j, int64_t id, int attempt, struct err *e)
{
	j->dir = home_job(&j->home, id, NULL);
	if (write_pid(e) || store_job_get(j->store, id, &j->row, e)) return -1;
	if (j->row.state != JOB_RUNNING || j->row.attempt != attempt)
		return err_set(e, ERR_DENIED, "the job is not this leader's any more");
	j->canceled = !!j->row.cancel_reason; /* asked for before our pid could be read */
	if (load(j, e) || job_exec_load(j, e) || lead(j, e)) return -1;
	home_wake(&j->home);
	return 0;
}

int cmd_job(int argc, char **argv)
{
	__attribute__((cleanup(release))) struct job j = {.sources = CHECKOUT_INIT};
	int64_t id = argc == 4 ? strtoll(argv[2], NULL, 10) : 0;
	int attempt = argc == 4 ? (int)strtol(argv[3], NULL, 10) : 0;
	struct err e;

	if (id <= 0 || attempt <= 0) return cmd_usage(argv[0]);
	if (begin(&j, argv[1], &e) || lead_job(&j, id, attempt, &e)) return cmd_fail(argv[0], e.text);
	return 0;
}

int cmd_spare(int argc, char **argv)
{
	__attribute__((cleanup(release))) struct job j = {.sources = CHECKOUT_INIT};
	int64_t id, like = argc == 3 ? strtoll(argv[2], NULL, 10) : 0;
	int attempt, rc;
	struct err e;

	if (like <= 0) return cmd_usage(argv[0]);
	if (begin(&j, argv[1], &e) || job_spare_make(&j, like, &e)) return cmd_fail(argv[0], e.text);
	rc = job_spare_wait(&j, &id, &attempt, &e);
	if (rc < 0 || (!rc && lead_job(&j, id, attempt, &e))) return cmd_fail(argv[0], e.text);
	return 0;
}
