/* The leader's side of `runner exec`: what a person's build has that a pushed one has not, told by exec.json in its
 * state folder (runner/exec.h). Values are not in there: those the person gave are in our own environment.
 *
 * --shell-on-failure: when the script has ended, a second container in the same box, over the same files and network,
 * with a shell on the terminal that we were handed. What the script had in its environment it wrote down at its end,
 * but for the secrets, which are never on a disk: those the shell gets as the script did. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/job.h"
#include "runner/leader.h"

enum { MAX_FILE = 1 << 20, SHELL_GRACE_MS = 500 };

static const char shell_path[] = "/.slipway/shell";

/* Run by the shell that ran the script, which wrote the environment down in its own words. */
static const char shell_script[] = "if [ -r " JOB_ENVIRONMENT_PATH " ]; then\n"
				   ". " JOB_ENVIRONMENT_PATH "\n"
				   "rm -f " JOB_ENVIRONMENT_PATH "\n"
				   "cd \"$PWD\" || :\n"
				   "fi\n"
				   "exec \"$SLIPWAY_SHELL\" -i\n";

int job_exec_load(struct job *j, struct err *e)
{
	_cleanup_free_ char *path = home_file(&j->home, "exec.json");
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_FILE);
	_cleanup_json_ json_t *json = NULL;
	const json_t *given;

	if (!fs_exists(path)) return 0;
	if (fs_read_file(path, &text, e) || json_parse("exec.json", buf_str(&text), text.len, &json, e)) return -1;
	j->exec = xcalloc(1, sizeof(*j->exec));
	j->exec->no_key = !json_is_true(json_object_get(json, "key"));
	j->exec->shell = json_is_true(json_object_get(json, "shell"));
	given = json_object_get(json, "given");
	for (size_t i = 0; i < json_array_size(given); i++) {
		const char *name = json_string_value(json_array_get(given, i));

		if (name) vec_add(&j->exec->given, name);
	}
	if (j->exec->shell) fcntl(LEADER_TTY_FD, F_SETFD, FD_CLOEXEC);
	return 0;
}

void job_exec_release(struct job *j)
{
	if (!j->exec) return;
	vec_release(&j->exec->given);
	free_p(&j->exec);
}

const char *job_exec_given(const struct job *j, const char *name)
{
	if (!j->exec || !name || !vec_has(&j->exec->given, name)) return NULL;
	return getenv(name);
}

/* --- the shell --- */

struct shell {
	struct job *job;
	struct child_status status;
	struct err failure; /* kind ERR_NONE: none */
};

static void on_end(int fd, short revents, void *arg)
{
	struct shell *s = arg;
	struct err e;
	int oom;

	(void)revents;
	loop_fd_remove(s->job->loop, fd);
	if (sandbox_end(s->job->box, &s->status, &oom, &e)) s->failure = e;
	loop_stop(s->job->loop);
}

/* The limits were the script's; a person may take his time. */
static void stop_clock(struct job *j)
{
	const struct itimerspec never = {0};

	if (timerfd_settime(j->clock_fd, 0, &never, NULL)) die("cannot stop the job's clock");
}

static int start(struct job *j, struct err *e)
{
	static const char *const argv[] = {
		"/bin/sh", "-c",
		"if command -v bash >/dev/null 2>&1; then SLIPWAY_SHELL=bash; else SLIPWAY_SHELL=sh; fi\n"
		"export SLIPWAY_SHELL; exec \"$SLIPWAY_SHELL\" \"$0\"",
		shell_path, NULL};
	_cleanup_vec_ struct vec env = VEC_INIT, exports = VEC_INIT;
	struct sandbox_run run = {.argv = argv,
				  .cwd = JOB_SOURCE_DIR,
				  .in = LEADER_TTY_FD,
				  .out = LEADER_TTY_FD,
				  .stop_grace_ms = SHELL_GRACE_MS};
	const char *term = getenv("TERM");

	if (sandbox_put_file(j->box, shell_path, shell_script, strlen(shell_script), 0644, e)) return -1;
	job_environment(j, &env);
	job_exports(j, &exports);
	for (size_t i = 0; i < exports.len; i++) vec_add(&env, exports.items[i]);
	vec_setenv(&env, "TERM", term && *term ? term : "dumb");
	run.env = (const char *const *)vec_argv(&env);
	return sandbox_start(j->box, &run, e);
}

void job_exec_shell(struct job *j)
{
	struct shell s = {.job = j};
	struct err e;

	if (!j->exec || !j->exec->shell || j->canceled || j->abandoned || !j->box) return;
	stop_clock(j);
	log_line(j->log, "\nslipway: a shell in the failed container; its end ends the job");
	if (start(j, &e)) {
		log_line(j->log, "slipway: no shell: %s", e.text);
		return;
	}
	job_says(j, JOB_SHELL_STEP);
	loop_fd(j->loop, sandbox_fd(j->box), POLLIN, on_end, &s);
	if (loop_run(j->loop, &e)) s.failure = e;
	job_says(j, "the shell has ended");
	if (s.failure.kind) log_line(j->log, "slipway: the shell: %s", s.failure.text);
}
