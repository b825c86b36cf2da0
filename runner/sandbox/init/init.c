/* slipway-init: pid 1 of a container. Starts the one command it was given, passes TERM, INT and HUP on to it, reaps
 * what is orphaned, tells how the command ended and ends; the kernel then kills whatever else is left in the
 * container. Static, and of the box's own arch, so it also starts containers of a foreign one. It shares its container
 * with strangers as the same user: it is not dumpable, so that its memory and descriptors are closed to them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/sandbox/init/init.h"

enum { SPEC_MAX = 64 << 20 };

struct command {
	char *folder;
	char **argv;
	char **env;
};

static void report(enum init_what what, int code)
{
	struct init_report r = {(uint32_t)what, code};
	ssize_t n;

	do n = write(INIT_REPORT_FD, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
}

static _Noreturn void fail(enum init_what what, int code)
{
	report(what, code);
	_exit(127);
}

/* The next string, or the end of the container: the list is shorter than it says. */
static char *next(char **p, const char *end)
{
	char *s = *p;

	if (s >= end || !memchr(s, '\0', (size_t)(end - s))) fail(INIT_FAILED, EBADMSG);
	*p = s + strlen(s) + 1;
	return s;
}

static char **strings(size_t n, char **p, const char *end)
{
	char **list = calloc(n + 1, sizeof(*list));

	if (!list) fail(INIT_FAILED, ENOMEM);
	for (size_t i = 0; i < n; i++) list[i] = next(p, end);
	return list;
}

/* All of it or nothing: a container that was started ahead and is not wanted ends here. */
static void read_exactly(char *to, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = read(INIT_SPEC_FD, to + done, len - done);

		if (n < 0 && errno == EINTR) continue;
		if (n <= 0) fail(INIT_FAILED, n ? errno : EBADMSG);
		done += (size_t)n;
	}
}

static struct command read_command(void)
{
	struct init_spec spec;
	struct command c;
	char *bytes, *p, *end, more;

	read_exactly((char *)&spec, sizeof(spec));
	if (spec.bytes > SPEC_MAX) fail(INIT_FAILED, EBADMSG);
	bytes = mmap(NULL, sizeof(spec) + (size_t)spec.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (bytes == MAP_FAILED) fail(INIT_FAILED, errno);
	read_exactly(bytes + sizeof(spec), (size_t)spec.bytes);
	if (read(INIT_SPEC_FD, &more, 1) != 0) fail(INIT_FAILED, EBADMSG);
	close(INIT_SPEC_FD);
	if (!spec.argc || spec.argc > spec.bytes || spec.envc > spec.bytes) fail(INIT_FAILED, EBADMSG);
	p = bytes + sizeof(spec);
	end = p + spec.bytes;
	c.folder = next(&p, end);
	c.argv = strings(spec.argc, &p, end);
	c.env = strings(spec.envc, &p, end);
	return c;
}

static _Noreturn void run(const struct command *c, const sigset_t *before)
{
	setsid(); /* a group of its own, for the signals; and no way back to a terminal of ours */
	if (isatty(0)) ioctl(0, TIOCSCTTY, 0); /* but one that it was given as its own */
	sigprocmask(SIG_SETMASK, before, NULL);
	if (chdir(c->folder)) fail(INIT_NO_FOLDER, errno);
	environ = c->env;
	execvp(c->argv[0], c->argv);
	fail(INIT_NO_PROGRAM, errno);
}

/* Reaps all that ended. Returns 1 when the command was among them. */
static int reap(pid_t command, int *status)
{
	int ended = 0, ws;
	pid_t pid;

	while ((pid = waitpid(-1, &ws, WNOHANG)) > 0)
		if (pid == command) {
			ended = 1;
			*status = ws;
		}
	return ended;
}

int main(void)
{
	struct command c;
	sigset_t watched, before;
	pid_t pid;
	int status = 0, sig;

	prctl(PR_SET_DUMPABLE, 0);
	fcntl(INIT_REPORT_FD, F_SETFD, FD_CLOEXEC);
	sigemptyset(&watched);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGHUP);
	sigaddset(&watched, SIGCHLD);
	sigprocmask(SIG_BLOCK, &watched, &before);
	c = read_command();
	pid = fork();
	if (pid < 0) fail(INIT_FAILED, errno);
	if (pid == 0) run(&c, &before);
	for (;;) {
		if (sigwait(&watched, &sig)) continue;
		if (sig != SIGCHLD) {
			/* no such group yet: the command has not come to its setsid() */
			if (kill(-pid, sig)) kill(pid, sig);
		} else if (reap(pid, &status)) {
			break;
		}
	}
	if (WIFSIGNALED(status))
		report(INIT_SIGNALLED, WTERMSIG(status));
	else
		report(INIT_EXITED, WEXITSTATUS(status));
	_exit(0);
}
