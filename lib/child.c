/* Child processes. Between fork and exec only async-signal-safe calls; the child tells a failed step and its
 * errno on a CLOEXEC pipe, so that "no such program" is an error here and not an exit status there. */
#include "lib/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fs.h"

struct report {
	const char *step; /* same address space layout after fork: a pointer to a literal is valid in the parent */
	int err;
};

const char *child_status_str(struct child_status s)
{
	static char ring[4][80];
	static unsigned next;
	char *out = ring[next++ % ARRAY_LEN(ring)];

	switch (s.end) {
	case CHILD_EXITED: snprintf(out, sizeof(ring[0]), "exited with %d", s.code); break;
	case CHILD_SIGNALLED:
		snprintf(out, sizeof(ring[0]), "killed by signal %d (%s)", s.code, strsignal(s.code));
		break;
	case CHILD_TIMED_OUT: snprintf(out, sizeof(ring[0]), "timed out"); break;
	case CHILD_LOST: snprintf(out, sizeof(ring[0]), "lost"); break;
	}
	return out;
}

struct child_status child_decode(int ws)
{
	if (WIFEXITED(ws)) return (struct child_status){CHILD_EXITED, WEXITSTATUS(ws)};
	if (WIFSIGNALED(ws)) return (struct child_status){CHILD_SIGNALLED, WTERMSIG(ws)};
	return (struct child_status){CHILD_LOST, 0};
}

/* Finds argv[0] in PATH before the fork: execvp in the child may allocate. */
static char *find_program(const char *name)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/')) return xstrdup(name);
	if (!path || !*path) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, ":");
		_cleanup_free_ char *full = xasprintf("%.*s/%s", (int)n, p, name);

		if (n && !access(full, X_OK)) return steal(full);
		p += n;
		if (!*p) return NULL;
	}
}

static _Noreturn void fail(int report_fd, const char *step)
{
	struct report r = {step, errno};
	ssize_t n = write(report_fd, &r, sizeof(r));

	_exit(n < 0 ? 126 : 127);
}

/* Moves every descriptor to pass out of the way first (to >= base), then to its place. */
static void place_fds(const struct child_opts *o, int devnull, int report_fd)
{
	int base = 64 + (int)o->nfds, moved[3 + 16];
	struct child_fd all[3 + 16] = {
		{o->in > 0 ? o->in : devnull, 0}, {o->out > 0 ? o->out : 1, 1}, {o->err > 0 ? o->err : 2, 2}};
	size_t n = 3;

	for (size_t i = 0; i < o->nfds; i++) all[n++] = o->fds[i];
	for (size_t i = 0; i < n; i++)
		if ((moved[i] = fcntl(all[i].from, F_DUPFD, base)) < 0) {
			if (all[i].to == 1 || all[i].to == 2) moved[i] = fcntl(devnull, F_DUPFD, base);
			if (moved[i] < 0) fail(report_fd, "pass a descriptor");
		}
	for (size_t i = 0; i < n; i++)
		if (dup2(moved[i], all[i].to) < 0) fail(report_fd, "place a descriptor");
}

static void enter_userns(int fd, int report_fd)
{
	if (setns(fd, CLONE_NEWUSER)) fail(report_fd, "enter a user namespace");
	if (unshare(CLONE_NEWNS)) fail(report_fd, "make a mount namespace");
	if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		fail(report_fd, "become root of a user namespace");
}

static __attribute__((noinline)) _Noreturn void run_child(const struct child_opts *o, const char *program,
							  int program_fd, int devnull, int report_fd, pid_t parent)
{
	char *const *argv = (char *const *)(uintptr_t)o->argv;
	char *const *env = o->env ? (char *const *)(uintptr_t)o->env : environ;
	int high = 3, kept = report_fd;
	sigset_t none;

	if (o->group > 0 && setpgid(0, o->group)) fail(report_fd, "join a process group");
	if (o->setsid && setsid() < 0) fail(report_fd, "start a session");
	if (o->cwd && chdir(o->cwd)) fail(report_fd, "enter its folder");
	if (o->userns_fd > 0) enter_userns(o->userns_fd, report_fd);
	if (o->die_with_parent) { /* after the change of user, which clears it */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL)) fail(report_fd, "set the parent death signal");
		if (getppid() != parent) _exit(127);
	}
	for (int sig = 1; sig < NSIG; sig++) signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if ((kept = fcntl(report_fd, F_DUPFD_CLOEXEC, 128)) < 0) fail(report_fd, "keep the report pipe");
	if (program_fd >= 0 && (program_fd = fcntl(program_fd, F_DUPFD_CLOEXEC, kept)) < 0)
		fail(kept, "keep the program");
	place_fds(o, devnull, kept);
	for (size_t i = 0; i < o->nfds; i++)
		if (o->fds[i].to >= high) high = o->fds[i].to + 1;
	for (int fd = 3; fd < high; fd++) {
		int wanted = 0;

		for (size_t i = 0; i < o->nfds; i++) wanted |= o->fds[i].to == fd;
		if (!wanted) close(fd);
	}
	close_range((unsigned)high, (unsigned)kept - 1, 0);
	if (program_fd < 0) {
		close_range((unsigned)kept + 1, ~0U, 0);
	} else {
		close_range((unsigned)kept + 1, (unsigned)program_fd - 1, 0);
		close_range((unsigned)program_fd + 1, ~0U, 0);
	}
	execve(program, argv, env);
	/* Root of a user namespace is nobody on the way to a program in somebody's private folder. */
	if (program_fd >= 0 && errno == EACCES) execveat(program_fd, "", argv, env, AT_EMPTY_PATH);
	fail(kept, "run it");
}

/* Without a copy of our memory, which costs as much as all the rest: the child has it until it execs, while we wait,
 * and does nothing but system calls. Only libc's changes of user are more than that: they look for our threads. A frame
 * of its own: nothing here is looked at again after the child had it. */
static __attribute__((noinline)) pid_t split(const struct child_opts *o, const char *program, int program_fd,
					     int devnull, int report_fd, pid_t parent)
{
	sigset_t all, was;
	pid_t pid;

	if (o->userns_fd > 0) {
		pid = fork();
		if (pid == 0) run_child(o, program, program_fd, devnull, report_fd, parent);
		return pid;
	}
	/* No handler of ours runs in the child, on our memory: it unblocks them when none is set any more. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &was);
	pid = vfork();
	if (pid == 0) run_child(o, program, program_fd, devnull, report_fd, parent);
	sigprocmask(SIG_SETMASK, &was, NULL);
	return pid;
}

int child_start(const struct child_opts *o, pid_t *pid_r, int *pidfd_r, struct err *e)
{
	_cleanup_free_ char *program = find_program(o->argv[0]);
	_cleanup_close_ int devnull = -1, report_in = -1, report_out = -1, program_fd = -1;
	struct report r;
	int p[2];
	pid_t pid, self = getpid();
	ssize_t n;

	if (o->nfds > 16) die("child_start: %zu descriptors", o->nfds);
	if (!program) return err_set(e, ERR_MISSING, "cannot run '%s': it is not installed", o->argv[0]);
	devnull = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (devnull < 0) return err_sys(e, "cannot open '/dev/null'");
	if (o->userns_fd > 0) program_fd = open(program, O_PATH | O_CLOEXEC);
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	report_in = p[0];
	report_out = p[1];
	pid = split(o, program, program_fd, devnull, report_out, self);
	if (pid < 0) return err_sys(e, "cannot fork");
	close_p(&report_out);
	do n = read(report_in, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	if (n == sizeof(r)) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
		errno = r.err;
		return err_sys(e, "cannot start '%s' (%s)", o->argv[0], r.step);
	}
	if (pidfd_r) {
		*pidfd_r = (int)syscall(SYS_pidfd_open, pid, 0);
		if (*pidfd_r < 0) {
			err_sys(e, "cannot watch '%s'", o->argv[0]);
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			return -1;
		}
	}
	*pid_r = pid;
	return 0;
}

int child_wait(pid_t pid, int timeout_ms, struct child_status *status_r, struct err *e)
{
	int ws, timed_out = 0;

	if (timeout_ms >= 0) {
		_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		struct pollfd pf = {.fd = pidfd, .events = POLLIN};
		int64_t end = clock_mono_ms() + timeout_ms;
		int n;

		if (pidfd < 0) return err_sys(e, "cannot watch process %d", (int)pid);
		do {
			int64_t left = end - clock_mono_ms();

			n = poll(&pf, 1, left > 0 ? (int)left : 0);
		} while (n < 0 && errno == EINTR);
		if (n == 0) {
			timed_out = 1;
			kill(pid, SIGKILL);
		}
	}
	while (waitpid(pid, &ws, 0) < 0)
		if (errno != EINTR) return err_sys(e, "cannot wait for process %d", (int)pid);
	*status_r = timed_out ? (struct child_status){CHILD_TIMED_OUT, 0} : child_decode(ws);
	return 0;
}

/* Parent's ends of the pipes; -1 where there is none (any more). */
struct pipes {
	int in, out, err;
};

static void pipes_close(struct pipes *p)
{
	close_p(&p->in);
	close_p(&p->out);
	close_p(&p->err);
}

static void collect(int *fd, struct buf *b)
{
	char chunk[65536];
	ssize_t n = read(*fd, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	if (n <= 0)
		close_p(fd);
	else
		buf_add(b, chunk, (size_t)n);
}

static void feed(int *fd, const struct buf *input, size_t *done)
{
	ssize_t n = write(*fd, input->data + *done, input->len - *done);

	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	if (n > 0) *done += (size_t)n;
	if (n < 0 || *done == input->len) close_p(fd);
}

/* Moves bytes until the child's ends are closed or the time is over. Returns 1 when it is over. */
static int converse(struct pipes *p, const struct buf *input, int64_t end, struct buf *out_r, struct buf *err_r)
{
	size_t fed = 0;

	if (p->in >= 0 && !input->len) close_p(&p->in);
	while (p->in >= 0 || p->out >= 0 || p->err >= 0) {
		struct pollfd pf[3] = {{p->in, POLLOUT, 0}, {p->out, POLLIN, 0}, {p->err, POLLIN, 0}};
		int64_t left = end < 0 ? -1 : end - clock_mono_ms();

		if (end >= 0 && left <= 0) return 1;
		if (poll(pf, 3, (int)left) < 0 && errno != EINTR) return 1;
		if (pf[0].revents) feed(&p->in, input, &fed);
		if (pf[1].revents) collect(&p->out, out_r);
		if (pf[2].revents) collect(&p->err, err_r);
	}
	return 0;
}

static int add_pipe(int wanted, int *ours, int *theirs, int ours_writes, struct err *e)
{
	int p[2];

	if (!wanted) return 0;
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	*ours = p[ours_writes];
	*theirs = p[!ours_writes];
	return fcntl(*ours, F_SETFL, O_NONBLOCK) ? err_sys(e, "cannot set up a pipe") : 0;
}

/* A process group for a child and what it starts. Its leader is a guard that does nothing but wait for the end of a
 * pipe that only we hold open: that comes also when we are killed, and then it kills the group, itself with it. As long
 * as it is not reaped, the group's number is no other's. */
struct guard {
	pid_t pid; /* 0: none */
	int alive_fd;
};

static void guard_release(struct guard *g)
{
	if (g->pid > 0) {
		kill(-g->pid, SIGKILL);
		while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR) {}
	}
	g->pid = 0;
	close_p(&g->alive_fd);
}

static _Noreturn void run_guard(int fd)
{
	char byte;
	ssize_t n;

	setpgid(0, 0);
	for (int sig = 1; sig < NSIG; sig++) signal(sig, SIG_IGN);
	if (fd > 0) close_range(0, (unsigned)fd - 1, 0); /* no lock or pipe of ours is held open by it */
	close_range((unsigned)fd + 1, ~0U, 0);
	do n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	kill(0, SIGKILL);
	_exit(1);
}

static int guard_start(struct guard *g, struct err *e)
{
	_cleanup_close_ int theirs = -1;
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	theirs = p[0];
	g->alive_fd = p[1];
	g->pid = fork();
	if (g->pid < 0) return err_sys(e, "cannot fork");
	if (g->pid == 0) run_guard(theirs);
	setpgid(g->pid, g->pid); /* whoever comes first: the group is there from here on */
	return 0;
}

int child_run(const struct child_opts *opts, const struct buf *input, int timeout_ms, struct buf *out_r,
	      struct buf *err_r, struct child_status *status_r, struct err *e)
{
	struct child_opts o = *opts;
	__attribute__((cleanup(pipes_close))) struct pipes ours = {-1, -1, -1}, theirs = {-1, -1, -1};
	int64_t end = timeout_ms < 0 ? -1 : clock_mono_ms() + timeout_ms;
	__attribute__((cleanup(guard_release))) struct guard guard = {0, -1};
	struct sigaction ignore = {.sa_handler = SIG_IGN}, was;
	int over, left;
	pid_t pid;

	if (add_pipe(!!input, &ours.in, &theirs.in, 1, e) || add_pipe(!!out_r, &ours.out, &theirs.out, 0, e) ||
	    add_pipe(!!err_r, &ours.err, &theirs.err, 0, e))
		return -1;
	if (input) o.in = theirs.in;
	if (out_r) o.out = theirs.out;
	if (err_r) o.err = theirs.err;
	if (o.kill_group && guard_start(&guard, e)) return -1;
	if (o.kill_group) o.group = guard.pid;
	if (child_start(&o, &pid, NULL, e)) return -1;
	pipes_close(&theirs);
	sigaction(SIGPIPE, &ignore, &was);
	over = converse(&ours, input, end, out_r, err_r);
	sigaction(SIGPIPE, &was, NULL);
	left = end < 0 ? -1 : (int)(end - clock_mono_ms());
	if (over || (end >= 0 && left < 0)) left = 0;
	return child_wait(pid, left, status_r, e);
}

/* The last line of a program's complaint, for an error message. */
static const char *last_line(struct buf *b)
{
	char *s = b->data, *nl;

	if (!s) return "";
	while (b->len && (s[b->len - 1] == '\n' || s[b->len - 1] == '\r')) s[--b->len] = '\0';
	nl = strrchr(s, '\n');
	return nl ? nl + 1 : s;
}

int child_check(const struct child_opts *o, const struct buf *input, int timeout_ms, struct buf *out_r, struct err *e)
{
	_cleanup_buf_ struct buf complaint = BUF_INIT(65536);
	struct child_status st;

	if (child_run(o, input, timeout_ms, out_r, o->err ? NULL : &complaint, &st, e)) return -1;
	if (child_ok(st)) return out_r ? buf_check(out_r, o->argv[0], e) : 0;
	return err_set(e, ERR_REMOTE, "'%s' %s%s%s", o->argv[0], child_status_str(st), complaint.len ? ": " : "",
		       last_line(&complaint));
}

const char *child_self(void)
{
	static char path[4096];
	ssize_t n;

	if (path[0]) return path;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0) die("cannot read /proc/self/exe: %s", strerror(errno));
	return path;
}

char *child_beside(const char *name)
{
	static const char *const folders[] = {"", "../libexec/slipway/", "../../bin/"};
	const char *self = child_self(), *slash = strrchr(self, '/');

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		_cleanup_free_ char *path = xasprintf("%.*s%s%s", (int)(slash - self) + 1, self, folders[i], name);

		if (!access(path, X_OK)) return steal(path);
	}
	return NULL;
}
