#ifndef RUNNER_EXEC_H
#define RUNNER_EXEC_H

#include <sys/types.h>
#include <termios.h>

#include "lib/loop.h"
#include "runner/home.h"
#include "runner/plan/plan.h"
#include "runner/report/render.h"
#include "runner/snapshot.h"
#include "runner/store/store.h"

/* `runner exec`: a person's own build by the means of a pushed one. Shared by cmd_exec.c and exec*.c alone.
 *
 *   <cache>/exec/run.XXXXXX/   a state folder for this one build, locked while we live, removed at the end
 *     exec.json                what leaders are to do in another way: {"key": bool, "shell": bool, "given": [names]}
 *     repos/1/mirror.git       the snapshot; key is a link to the person's key file
 */

enum { EXEC_PASSED = 0, EXEC_FAILED = 1, EXEC_USAGE = 2, EXEC_ERRORED = 3, EXEC_SIGNALLED = 128 };

struct exec_options {
	const char *file, *commit, *key, *state, *repo, *output;
	struct plan_context cx;                       /* event, branch, tag, settings */
	struct vec only, jobs, env, secret, settings; /* as they were given */
	int publish, shell;
};

/* The build under way. */
struct exec {
	struct exec_options o;
	struct home home;
	struct home *own_home; /* NULL: not made yet */
	int lock;
	struct snapshot snapshot;
	struct plan plan;
	char *repo, *branch;
	struct store *store;
	struct loop *loop;
	int64_t build_id;
	int *would_publish; /* for each job: its publish was taken away, for want of --publish */

	/* the job under way */
	struct job_row row;
	pid_t leader; /* 0: none */
	int leader_fd;
	int64_t log_offset;
	struct render *render;
	struct buf out;
	int colour;
	int signals; /* how many came; the first is: */
	int signal;

	/* exec_shell.c */
	int master, slave; /* -1: no shell was asked for */
	int on_terminal;   /* the shell has it */
	struct termios before;
};

/* exec_home.c */

/* A state folder for this build; those of killed ones are removed first. */
int exec_home_open(struct exec *x, struct err *e) MUST_USE;
void exec_home_close(struct exec *x);
/* What a dead leader's box left goes. */
void exec_home_sweep(const struct exec *x);

/* exec_plan.c: snapshot and file → plan → rows. Problems of the file are printed. */
int exec_plan(struct exec *x, struct err *e) MUST_USE;
/* Whether a job is one of those asked for by --only and --job. err ERR_INPUT: no job is */
int exec_choose(const struct exec *x, const char **left_out, struct err *e) MUST_USE;

#define EXEC_LEFT_OUT "not asked for" /* the reason of jobs that --only and --job leave out */

/* exec_run.c: signals are held from here on, until they are looked at. */
int exec_signals(struct exec *x, struct err *e) MUST_USE;
/* All jobs, to the end. out: exit status */
int exec_run(struct exec *x, int *status_r, struct err *e) MUST_USE;
void exec_say(struct exec *x, const char *style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void exec_put(struct exec *x);
/* Somebody wants it to stop. */
void exec_interrupt(struct exec *x, int signal);

/* exec_shell.c: the terminal, lent to the shell of --shell-on-failure */
int exec_shell_open(struct exec *x, struct err *e) MUST_USE;
void exec_shell_begin(struct exec *x);
void exec_shell_end(struct exec *x);
void exec_shell_resize(struct exec *x);
void exec_shell_close(struct exec *x);

#endif
