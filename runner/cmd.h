#ifndef RUNNER_CMD_H
#define RUNNER_CMD_H

/* The commands of `runner`, one function each, in runner/cmd_*.c (small ones of a kind share a file). A command
 * parses its own options with getopt_long, prints results on stdout and "runner NAME: why" on stderr, and returns
 * the exit status: 0 done, 1 failed, 2 wrong usage. argv[0] is the command's name. */

int cmd_fail(const char *command, const char *text); /* prints "runner COMMAND: TEXT", returns 1 */
int cmd_usage(const char *command);                  /* prints that command's usage line, returns 2 */

int cmd_doctor(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_unpack(int argc, char **argv);
int cmd_repo(int argc, char **argv);
int cmd_hook(int argc, char **argv);
int cmd_trigger(int argc, char **argv);
int cmd_reconcile(int argc, char **argv);
int cmd_publish(int argc, char **argv);
int cmd_verify(int argc, char **argv);
int cmd_lint(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_rebuild(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_events(int argc, char **argv);
int cmd_notices(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_gc(int argc, char **argv);
int cmd_cache(int argc, char **argv);
int cmd_timeline(int argc, char **argv);
int cmd_cancel(int argc, char **argv);
/* internal: started by the daemon and by leaders */
int cmd_prepare(int argc, char **argv);
int cmd_spare(int argc, char **argv);
int cmd_job(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_notify(int argc, char **argv);
int cmd_submodules(int argc, char **argv);
int cmd_sweep(int argc, char **argv);
int cmd_members(int argc, char **argv);

#endif
