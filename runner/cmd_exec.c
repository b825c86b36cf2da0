/* runner exec: the build of a push, here and now, from the working tree as it stands. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/exec.h"
#include "runner/plan/config.h"

enum { LONGEST_SECRET = 32 * 4096 - 512 }; /* one variable, for execve(2) */

static int check_secret(const char *name, struct err *e)
{
	const char *value = bad_name(name) ? NULL : getenv(name);

	if (bad_name(name)) return err_set(e, ERR_INPUT, "--secret '%s': that is no variable's name", name);
	if (!value) return err_set(e, ERR_INPUT, "--secret '%s': there is no such variable in the environment", name);
	if (strlen(value) > LONGEST_SECRET) return err_set(e, ERR_INPUT, "--secret '%s': it is too long", name);
	return 0;
}

/* 1: wrong usage; -1: *e */
static int take_option(int c, const char *arg, struct exec_options *o, struct err *e)
{
	switch (c) {
	case 'c': o->commit = arg; return 0;
	case 'j': vec_add(&o->jobs, arg); return 0;
	case 'o': vec_add(&o->only, arg); return 0;
	case 'E': return event_kind_parse(arg, &o->cx.kind) || o->cx.kind == EVENT_PING;
	case 'b': o->cx.branch = arg; return 0;
	case 't': o->cx.tag = o->cx.branch = arg; return 0;
	case 'r': o->repo = arg; return 0;
	case 'k': o->key = arg; return 0;
	case 's': o->state = arg; return 0;
	case 'n': vec_add(&o->env, arg); return 0;
	case 'S': vec_add(&o->settings, arg); return 0;
	case 'O': o->output = arg; return 0;
	case 'p': o->publish = 1; return 0;
	case 'f': o->shell = 1; return 0;
	case 'x':
		if (check_secret(arg, e)) return -1;
		if (!vec_has(&o->secret, arg)) vec_add(&o->secret, arg);
		return 0;
	default: return 1;
	}
}

static int options(int argc, char **argv, struct exec_options *o, struct err *e)
{
	static const struct option known[] = {
		{"commit", required_argument, NULL, 'c'},     {"job", required_argument, NULL, 'j'},
		{"only", required_argument, NULL, 'o'},       {"event", required_argument, NULL, 'E'},
		{"branch", required_argument, NULL, 'b'},     {"tag", required_argument, NULL, 't'},
		{"repo", required_argument, NULL, 'r'},       {"key", required_argument, NULL, 'k'},
		{"state", required_argument, NULL, 's'},      {"env", required_argument, NULL, 'n'},
		{"secret", required_argument, NULL, 'x'},     {"setting", required_argument, NULL, 'S'},
		{"output", required_argument, NULL, 'O'},     {"publish", no_argument, NULL, 'p'},
		{"shell-on-failure", no_argument, NULL, 'f'}, {0}};
	int c, got;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1)
		if ((got = take_option(c, optarg, o, e))) return got;
	if (argc - optind > 1) return 1;
	o->file = optind < argc ? argv[optind] : NULL;
	return 0;
}

static void release(struct exec *x)
{
	struct exec_options *o = &x->o;

	exec_shell_close(x);
	render_free(&x->render);
	buf_release(&x->out);
	job_row_release(&x->row);
	free_p(&x->would_publish);
	store_close(&x->store);
	plan_release(&x->plan);
	snapshot_release(&x->snapshot);
	free_p(&x->repo);
	free_p(&x->branch);
	exec_home_close(x);
	loop_free(&x->loop);
	vec_release(&o->only);
	vec_release(&o->jobs);
	vec_release(&o->env);
	vec_release(&o->secret);
	vec_release(&o->settings);
}

static void say_what(struct exec *x)
{
	exec_say(x, "\033[2m", "%s, %s of %s", x->repo, x->branch, x->snapshot.top);
	exec_say(x, "\033[2m", x->snapshot.changed ? "the working tree as it stands, as commit %.12s" : "commit %.12s",
		 x->snapshot.commit);
}

static int errored(const struct exec *x, const char *command, const struct err *e)
{
	cmd_fail(command, e->text);
	return x->signal ? EXEC_SIGNALLED + x->signal : EXEC_ERRORED;
}

int cmd_exec(int argc, char **argv)
{
	__attribute__((cleanup(release))) struct exec x = {.o = {.cx = {.kind = EVENT_PUSH}},
							   .lock = -1,
							   .leader_fd = -1,
							   .master = -1,
							   .slave = -1,
							   .out = BUF_INIT(64 << 20)};
	struct err e;
	int status, wrong = options(argc, argv, &x.o, &e);

	if (wrong > 0) return cmd_usage(argv[0]);
	if (wrong || (x.o.shell && exec_shell_open(&x, &e))) {
		cmd_fail(argv[0], e.text);
		return EXEC_USAGE;
	}
	x.colour = isatty(STDOUT_FILENO);
	if (exec_signals(&x, &e) || exec_home_open(&x, &e) || exec_plan(&x, &e)) return errored(&x, argv[0], &e);
	say_what(&x);
	return exec_run(&x, &status, &e) ? errored(&x, argv[0], &e) : status;
}
