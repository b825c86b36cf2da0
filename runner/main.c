/* The command table of `runner`, which is two programs made from this file. What is typed, `runner`, holds the commands
 * that need neither git's library nor HTTP nor TLS, and starts in 1 ms rather than 11; for any other it becomes
 * slipway-runner, which holds all of them and is what the daemon and its children are. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/err.h"
#include "lib/secret.h"
#include "runner/cmd.h"
#include "runner/sandbox/sandbox.h"

#ifdef RUNNER_WHOLE
#define WHOLE(function) function
#else
#define WHOLE(function) NULL
#endif

struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* NULL: it is in slipway-runner */
	const char *usage;                 /* options and arguments; NULL: internal, not listed */
	const char *help;
};

static const struct command commands[] = {
	{"doctor", WHOLE(cmd_doctor), "[--fix]", "say what this host lacks for containers, and mend it"},
	{"image", WHOLE(cmd_image),
	 "[--arch ARCH] [--packages A,B] [--find | --resolve] [--digest DIGEST] [--anonymous] NAME | list | add NAME "
	 "REFERENCE | remove NAME",
	 "make an image, or find it made, and say where it is; the names of this box's catalogue"},
	{"unpack", WHOLE(cmd_unpack), NULL, NULL},
	{"repo", cmd_repo,
	 "add [--show-secret] [--deploy-path PATH]... NAME URL | list [--json] | key NAME |\n"
	 "            sign-key [--next | --switch] NAME | stream [--next] NAME | allow-path NAME PATH |\n"
	 "            allow-submodules NAME URL |\n"
	 "            allow-webhook NAME URL | allow-command NAME COMMAND PROGRAM | notify-secret NAME |\n"
	 "            set-url NAME URL | remove [--force] --yes NAME   [--state DIR]",
	 "the repositories that are built, and their keys"},
	{"hook", cmd_hook, "install --repo NAME REPOSITORY | post-receive --repo NAME   [--state DIR]",
	 "builds from pushes to a repository on this box"},
	{"trigger", cmd_trigger, "[--state DIR] [--branch BRANCH | --tag TAG] NAME", "build the head of a branch now"},
	{"reconcile", cmd_reconcile, "[--state DIR] [--repo NAME]",
	 "find pushes that nobody told of, and have them built"},
	{"publish", WHOLE(cmd_publish),
	 "[--ci FILE] --repo URL --path PATH --commit SHA [--branch B] [--backend B] [--arch A] [--key-fd N | "
	 "--key-env NAME] "
	 "[--source-repo R] [--source-branch B] [--source-mirror DIR] [--job J] [--event N] [--keep N] [--no-latest] "
	 "[--sign-key FILE] [--message TEXT] [--author 'NAME <MAIL>'] [--mode MODE] "
	 "[--compress bzip2|xz|zstd|none] [--secret-env NAME]... [--known-hosts FILE] [--cache DIR] "
	 "[--patience S] [--stall S] [--state DIR] [--json] FILE...",
	 "put an image and its files into a deployment repository"},
	{"verify", WHOLE(cmd_verify), "[--key PUBLIC]... [--path PATH] [--since N] [--json] DIR",
	 "tell whether a clone of a deployment repository is what was published"},
	{"box", WHOLE(sandbox_box_main), NULL, NULL},
	{"box-cache", WHOLE(box_cache_main), NULL, NULL},
	{"lint", cmd_lint, "[--json] [--ci|--travis] [FILE|-]... | --keys | --schema",
	 "tell what is wrong with a .ci.yml; --keys lists what may stand in one"},
	{"plan", cmd_plan,
	 "[--json] [--ci|--travis] [--event push|pull_request] [--branch NAME | --tag NAME] [--repo OWNER/NAME]\n"
	 "            [--sender NAME] [--message TEXT] [--fork] [--setting NAME=VALUE]... [FILE|-]...",
	 "list the jobs that a .ci.yml makes"},
	{"exec", WHOLE(cmd_exec),
	 "[--commit REV] [--job N]... [--only KEY=VALUE[,KEY=VALUE]...]... [--event push|pull_request]\n"
	 "            [--branch NAME | --tag NAME] [--repo OWNER/NAME] [--setting NAME=VALUE]... [--env "
	 "NAME=VALUE]...\n"
	 "            [--secret NAME]... [--key FILE] [--state DIR] [--output DIR] [--publish] [--shell-on-failure] "
	 "[FILE|-]",
	 "build the working tree as it stands, here, as a push of it would be"},
	{"rebuild", WHOLE(cmd_rebuild),
	 "--from DIR [--path PATH] [--key FILE] [--state DIR] [--env NAME=VALUE]... [--secret NAME]... COMMIT",
	 "build a published commit again, and compare"},
	{"serve", WHOLE(cmd_serve),
	 "[--state DIR] [--listen HOST:PORT] [--jobs N] [--no-spare] [--reconcile SECONDS] [--keep-jobs N] "
	 "[--disk-budget BYTES] [--image-budget BYTES] [--min-free BYTES]",
	 "accept events and run their builds"},
	{"status", cmd_status, "[--state DIR] [--repo NAME] [--json]", "the newest builds and their jobs"},
	{"events", cmd_events, "[--state DIR] [--repo NAME] [--json]", "the newest pushes and what became of them"},
	{"notices", cmd_notices, "[--state DIR] [--repo NAME] [--json]",
	 "who was told of builds, and who could not be"},
	{"watch", cmd_watch, "[--state DIR] [--repo NAME] [--build N | --commit ID] [--timeout SECONDS]",
	 "follow a build to its end; exit status 0 if it passed"},
	{"log", cmd_log, "[--state DIR] [--repo NAME] [-f] BUILD.JOB", "a job's log; -f follows it"},
	{"timeline", cmd_timeline, "[--state DIR] [--repo NAME] [--build N] [--from UNIX_MS]",
	 "when a build's steps were, in milliseconds"},
	{"cancel", cmd_cancel, "[--state DIR] [--repo NAME] BUILD.JOB", "stop a job"},
	{"gc", WHOLE(cmd_gc), "[--state DIR] [--keep-jobs N] [--disk-budget BYTES] [--image-budget BYTES] [--dry-run]",
	 "remove the files of old jobs; what they were stays known"},
	{"cache", cmd_cache, "list [--repo NAME] [--json] | rm [--key KEY] NAME   [--state DIR]",
	 "the folders that jobs keep from build to build"},
	{"prepare", WHOLE(cmd_prepare), NULL, NULL},
	{"job", WHOLE(cmd_job), NULL, NULL},
	{"check", WHOLE(cmd_check), NULL, NULL},
	{"submodules", WHOLE(cmd_submodules), NULL, NULL},
	{"notify", WHOLE(cmd_notify), NULL, NULL},
	{"sweep", WHOLE(cmd_sweep), NULL, NULL},
	{"members", WHOLE(cmd_members), NULL, NULL},
	{NULL, NULL, NULL, NULL},
};

int cmd_fail(const char *command, const char *text)
{
	fprintf(stderr, "runner %s: %s\n", command, text);
	return 1;
}

int cmd_usage(const char *command)
{
	for (const struct command *c = commands; c->name; c++)
		if (c->usage && !strcmp(c->name, command)) fprintf(stderr, "usage: runner %s %s\n", c->name, c->usage);
	return 2;
}

static void list(FILE *out)
{
	fprintf(out, "usage: runner COMMAND [OPTION]... [ARGUMENT]...\n\n");
	for (const struct command *c = commands; c->name; c++)
		if (c->usage) fprintf(out, "  %-10s %s\n", c->name, c->help);
	fprintf(out, "\n`runner COMMAND --help` tells a command's options; runner(1) tells all.\n");
}

/* A closed 0, 1 or 2 would be taken by the next file that is opened, and printed into. */
static void open_standard_fds(void)
{
	int fd;

	do fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd >= 0) close(fd);
}

/* argv stays as it was typed. */
static int become_whole(char **argv)
{
	_cleanup_free_ char *path = child_beside("slipway-runner");

	if (path) execv(path, argv);
	fprintf(stderr, "runner: cannot run '%s': %s\n", path ? path : "slipway-runner",
		path ? strerror(errno)
		     : "it is neither beside this program nor in ../libexec/slipway; install it again");
	return 1;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";

	open_standard_fds();
	secret_setup();
	prctl(PR_SET_NAME, "runner");
	if (!strcmp(name, "--version")) {
		printf("runner %s\n", SLIPWAY_VERSION);
		return 0;
	}
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name)) {
			if (argc == 3 && c->usage && !strcmp(argv[2], "--help")) {
				printf("usage: runner %s %s\n\n%s\n", c->name, c->usage, c->help);
				return 0;
			}
			return c->run ? c->run(argc - 1, argv + 1) : become_whole(argv);
		}
	if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
		list(argc > 1 ? stdout : stderr);
		return argc > 1 ? 0 : 2;
	}
	fprintf(stderr, "runner: no command '%s'; `runner help` lists them\n", name);
	return 2;
}
