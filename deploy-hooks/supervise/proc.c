/* One process of an image: its place in the table, from fork to exec, its end, its console. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervise.h"

struct proc *proc_find(enum state state, const char *id)
{
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++)
		if (p->state == state && (id == NULL || strcmp(p->id, id) == 0)) return p;
	return NULL;
}

struct proc *proc_new(enum state state, const char *id, char *const argv[], int argc)
{
	struct proc *p = proc_find(FREE, NULL);
	size_t used = 0;
	if (p == NULL) return NULL;
	*p = (struct proc){
		.state = state, .pidfd = -1, .notify = -1, .console = -1, .waiter = -1, .since_ms = now_ms()};
	snprintf(p->id, sizeof p->id, "%s", id);
	for (p->argc = 0; p->argc < argc; p->argc++) {
		size_t n = strlen(argv[p->argc]) + 1;
		if (used + n > sizeof p->args) return p->state = FREE, NULL;
		memcpy(p->args + used, argv[p->argc], n);
		used += n;
	}
	return p;
}

void proc_free(struct proc *p)
{
	shut(&p->pidfd);
	shut(&p->notify);
	shut(&p->console);
	shut(&p->waiter);
	p->state = FREE;
}

uint64_t start_time(pid_t pid)
{
	char path[40], text[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	shut(&fd);
	if (n <= 0) return 0;
	text[n] = '\0';
	char *at = strrchr(text, ')'); /* the name may hold anything; field 22 is the 20th after it */
	for (int i = 0; at != NULL && i < 20; i++) at = strchr(at + 1, ' ');
	return at == NULL ? 0 : strtoull(at, NULL, 10);
}

void console_open(struct proc *p)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/%s.%s", sup.logs, p->id, p->state == TRIAL ? "trial" : "live");
	p->console = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (p->state == TRIAL ? O_TRUNC : 0), 0600);
}

/* In the child: everything from fork to exec. Writes errno to `gate` (closed by exec) when it fails. */
static void child_run(struct proc *p, int sock, int gate)
{
	char *argv[MAX_FIELDS + 1], *a = p->args, pid[40], notify[80], commit[80], folder[MAX_LINE], go;
	char *env[] = {pid,    (char *)(uintptr_t) "LISTEN_FDS=1",
		       commit, (char *)(uintptr_t) "PATH=/usr/local/bin:/usr/bin:/bin",
		       notify, NULL};
	struct sockaddr_un un = {0};
	socklen_t len = sizeof un;
	sigset_t none;
	gate = fcntl(gate, F_DUPFD_CLOEXEC, 10);
	if (read(gate, &go, 1) != 1) _exit(127);
	for (int i = 0; i < p->argc; i++, a += strlen(a) + 1) argv[i] = a;
	argv[p->argc] = NULL;
	snprintf(pid, sizeof pid, "LISTEN_PID=%d", (int)getpid());
	snprintf(commit, sizeof commit, "SLIPWAY_COMMIT=%s", p->id);
	getsockname(p->notify, (struct sockaddr *)&un, &len);
	snprintf(notify, sizeof notify, "NOTIFY_SOCKET=@%.*s", (int)(len - offsetof(struct sockaddr_un, sun_path) - 1),
		 un.sun_path + 1);
	snprintf(folder, sizeof folder, "%s", argv[0]);
	*strrchr(folder, '/') = '\0';
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int image = sup.uid < 0 ? -1 : fcntl(open(argv[0], O_PATH | O_CLOEXEC), F_DUPFD_CLOEXEC, 10);
	setsid();
	sigemptyset(&none);
	int ok = dup2(p->console < 0 ? null : p->console, 1) == 1 && dup2(1, 2) == 2 && dup2(null, 0) == 0 &&
		 dup2(sock, 3) == 3 && fcntl(3, F_SETFD, 0) == 0 && close_range(4, ~0U, CLOSE_RANGE_CLOEXEC) == 0 &&
		 setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		 chdir(folder[0] == '\0' ? "/" : folder) == 0 && signal(SIGPIPE, SIG_DFL) != SIG_ERR &&
		 sigprocmask(SIG_SETMASK, &none, NULL) == 0;
	if (ok && sup.uid >= 0)
		ok = setgroups(0, NULL) == 0 && setresgid((gid_t)sup.gid, (gid_t)sup.gid, (gid_t)sup.gid) == 0 &&
		     setresuid((uid_t)sup.uid, (uid_t)sup.uid, (uid_t)sup.uid) == 0;
	/* A trial is worth nothing without its supervisor; the live image is. */
	if (ok && p->state == TRIAL) ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
	/* By descriptor: another user need not be able to walk to the image. A script cannot be run so. */
	if (ok && (image < 0 || execveat(image, "", argv, env, AT_EMPTY_PATH) != 0)) execve(argv[0], argv, env);
	int why = errno;
	if (write(gate, &why, sizeof why) < 0) _exit(126);
	_exit(127);
}

/* Starts p's image with `sock` as its fd 3. err -1: errno says why, nothing runs */
int proc_start(struct proc *p, int sock)
{
	int gate[2], why = 0, one = 1;
	struct sockaddr_un auto_name = {.sun_family = AF_UNIX};
	shut(&p->pidfd);
	shut(&p->notify);
	shut(&p->console);
	p->ready = p->killed = 0;
	p->ended[0] = '\0';
	p->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->notify < 0 || setsockopt(p->notify, SOL_SOCKET, SO_PASSCRED, &one, sizeof one) != 0 ||
	    bind(p->notify, (struct sockaddr *)&auto_name, sizeof(sa_family_t)) != 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate) != 0)
		return -1;
	console_open(p);
	p->pid = fork();
	if (p->pid == 0) {
		close(gate[0]);
		child_run(p, sock, gate[1]);
	}
	close(gate[1]);
	if (p->pid < 0) {
		p->pid = 0;
		close(gate[0]);
		return -1;
	}
	p->pidfd = pidfd_open(p->pid, 0);
	p->start = start_time(p->pid);
	p->since_ms = now_ms();
	if (p->state != TRIAL) record_write();
	if (send(gate[0], "g", 1, MSG_NOSIGNAL) != 1) why = EPIPE;
	if (recv(gate[0], &why, sizeof why, 0) == (ssize_t)sizeof why || why != 0 || p->pidfd < 0) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
		p->pid = 0;
		shut(&p->pidfd);
	}
	close(gate[0]);
	errno = why;
	return p->pid == 0 ? -1 : 0;
}

void proc_stop(struct proc *p)
{
	if (p->pidfd < 0) {
		proc_free(p);
		return;
	}
	p->state = DRAIN;
	p->at_ms = now_ms() + sup.drain_ms;
	pidfd_send_signal(p->pidfd, SIGTERM, NULL, 0);
}

/* The last of what it printed, for whoever asked why. */
const char *console_tail(const struct proc *p)
{
	static char text[2001];
	struct stat st;
	ssize_t n = 0;
	if (p->console >= 0 && fstat(p->console, &st) == 0) {
		off_t from = st.st_size > 2000 ? st.st_size - 2000 : 0;
		n = pread(p->console, text, 2000, from);
	}
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

/* A console is bounded: an image that prints without end must not fill the disk of the box that serves it. */
void console_trim(int fd)
{
	static char keep[CONSOLE_KEEP];
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= CONSOLE_MAX) return;
	ssize_t n = pread(fd, keep, sizeof keep, st.st_size - (off_t)sizeof keep);
	if (ftruncate(fd, 0) != 0 || n <= 0) return;
	dprintf(fd, "[slipway-supervise: %lld bytes dropped here]\n", (long long)(st.st_size - n));
	if (write(fd, keep, (size_t)n) < 0) say("cannot shorten a console: %s", strerror(errno));
}
