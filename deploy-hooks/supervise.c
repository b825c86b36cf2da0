/* slipway-supervise - keeps one image serving on one listening socket and swaps it for a newer one without refusing
 * a request. Stands alone (no library, static): it is copied to target boxes.
 *
 *   free ─try→ trial (own probe socket) ─switch→ next (live socket) ─ready→ live ─switch of another→ drain → free
 *                │ dies: dead, until dropped        │ dies: free, the old one is untouched  │ dies: started again
 *
 * An image gets its socket as fd 3 (LISTEN_FDS=1, LISTEN_PID) and may say READY=1 over NOTIFY_SOCKET; whether it does
 * is learnt from its trial. One that does not is ready when it is still alive after the settle time.
 *
 * Nothing here ends the live image: a fork of the supervisor (the guard) sleeps on a pipe with both sockets open, and
 * becomes the supervisor when it dies; the record beside the control socket says which processes are whose. With
 * guard and supervisor both killed the image serves on, and the next `run` takes the socket back from it.
 *
 * Control: a SOCK_SEQPACKET socket (0600), one packet a request (fields parted by tabs), one packet back: "ok …" or
 * "error …". Trusted: the peer's uid. Not trusted: what it sends, the images. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCS 16
#define MAX_FIELDS 40
#define MAX_LINE 4096
#define MAX_CLIENTS 8
#define CONSOLE_MAX (8 << 20)
#define CONSOLE_KEEP (64 << 10)

enum state { FREE, TRIAL, DEAD, NEXT, LIVE, DRAIN };
static const char *const state_names[] = {"free", "trial", "dead", "next", "live", "drain"};

struct proc {
	enum state state;
	char id[65];
	char args[MAX_LINE]; /* image and arguments, each ended by NUL */
	int argc;
	pid_t pid;                          /* 0: none now */
	uint64_t start;                     /* the kernel's start time: pid and start name a process for good */
	int pidfd, notify, console, waiter; /* -1: none; waiter: the client that asked for the switch */
	int notifies, ready, port, killed;
	int64_t at_ms, since_ms; /* when to look again (0: never); when it became what it is */
	unsigned restarts, quick;
	char ended[40];
};

static struct {
	struct proc procs[MAX_PROCS];
	struct client {
		int fd;
		int64_t since_ms;
	} clients[MAX_CLIENTS];
	const char *control, *name; /* the control socket's path and last component */
	char address[80];
	int dir, lock, live, ctl, sig, guard, guard_pipe, stopping, stop_waiter, daemon;
	int64_t guard_at_ms;
	const char *logs;
	long settle_ms, ready_ms, drain_ms, uid, gid;
} s;

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2))) static void say(const char *f, ...)
{
	char line[600], when[32];
	time_t t = time(NULL);
	struct tm tm;
	va_list ap;
	va_start(ap, f);
	vsnprintf(line, sizeof line, f, ap);
	va_end(ap);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
	dprintf(2, "%s %s\n", when, line);
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *f, ...)
{
	char line[600];
	va_list ap;
	va_start(ap, f);
	vsnprintf(line, sizeof line, f, ap);
	va_end(ap);
	dprintf(2, "slipway-supervise: %s\n", line);
	exit(1);
}

static void shut(int *fd)
{
	if (*fd >= 0) close(*fd);
	*fd = -1;
}

__attribute__((format(printf, 2, 3))) static int answer(int *fd, const char *f, ...)
{
	char text[8192];
	va_list ap;
	if (*fd < 0) return 0;
	va_start(ap, f);
	vsnprintf(text, sizeof text, f, ap);
	va_end(ap);
	send(*fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL);
	shut(fd);
	return 0;
}

/* ---- what comes from outside: request lines, the record, the command line ---- */

struct fields {
	int n;
	char *at[MAX_FIELDS];
};

/* Splits at tabs, in place; line[len] must be writable. -1: a control character, a NUL, or too many fields. */
static int fields_split(char *line, size_t len, struct fields *f)
{
	if (len > 0 && line[len - 1] == '\n') len--;
	line[len] = '\0';
	f->n = 1;
	f->at[0] = line;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)line[i];
		if ((c < ' ' && c != '\t') || c == 127) return -1;
		if (c != '\t') continue;
		if (f->n == MAX_FIELDS) return -1;
		line[i] = '\0';
		f->at[f->n++] = line + i + 1;
	}
	return 0;
}

static int id_ok(const char *id)
{
	size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	return n > 0 && n < 65 && id[n] == '\0' && id[0] != '.' && id[0] != '-';
}

static int number(const char *text, long min, long max, long *n_r)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || n < min || n > max) return -1;
	*n_r = n;
	return 0;
}

/* "127.0.0.1:80" or "[::1]:80"; numbers only, a static program cannot ask a name server well. */
static int address_parse(const char *text, struct sockaddr_storage *a, socklen_t *len_r)
{
	const char *colon = strrchr(text, ':');
	char host[64];
	long port;
	memset(a, 0, sizeof *a);
	if (colon == NULL || number(colon + 1, 0, 65535, &port) != 0) return -1;
	int six = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
	int n = snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * six, text + six);
	if (n < 0 || n >= (int)sizeof host) return -1;
	if (six) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;
		*v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
		*len_r = sizeof *v6;
		return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1 ? 0 : -1;
	}
	struct sockaddr_in *v4 = (struct sockaddr_in *)a;
	*v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	*len_r = sizeof *v4;
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 ? 0 : -1;
}

/* ---- processes ---- */

static struct proc *proc_find(enum state state, const char *id)
{
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++)
		if (p->state == state && (id == NULL || strcmp(p->id, id) == 0)) return p;
	return NULL;
}

static struct proc *proc_new(enum state state, const char *id, char *const argv[], int argc)
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

static void proc_free(struct proc *p)
{
	shut(&p->pidfd);
	shut(&p->notify);
	shut(&p->console);
	shut(&p->waiter);
	p->state = FREE;
}

static uint64_t start_time(pid_t pid)
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

/* The record says whose processes these are, for the next supervisor. Written before a process may run. */
static void record_write(void)
{
	char temp[80], name[80], boot[64] = "";
	snprintf(temp, sizeof temp, "%.64s.record.new", s.name);
	snprintf(name, sizeof name, "%.64s.record", s.name);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, boot, 36) != 36) boot[0] = '\0';
	shut(&fd);
	fd = openat(s.dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int ok = fd >= 0 && dprintf(fd, "boot\t%s\n", boot) > 0;
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++) {
		if (p->state != NEXT && p->state != LIVE && (p->state != DRAIN || p->port != 0)) continue;
		ok = ok && dprintf(fd, "%s\t%d\t%llu\t%s", state_names[p->state], (int)p->pid,
				   (unsigned long long)p->start, p->id) > 0;
		const char *a = p->args;
		for (int i = 0; i < p->argc; i++, a += strlen(a) + 1) ok = ok && dprintf(fd, "\t%s", a) > 0;
		ok = ok && dprintf(fd, "\n") > 0;
	}
	ok = ok && fsync(fd) == 0;
	shut(&fd);
	/* On a full disk the old record stays: a takeover then finds less to adopt, and the image serves on. */
	if (!ok || renameat(s.dir, temp, s.dir, name) != 0) say("cannot write '%s': %s", name, strerror(errno));
}

static void console_open(struct proc *p)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/%s.%s", s.logs, p->id, p->state == TRIAL ? "trial" : "live");
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
	int image = s.uid < 0 ? -1 : fcntl(open(argv[0], O_PATH | O_CLOEXEC), F_DUPFD_CLOEXEC, 10);
	setsid();
	sigemptyset(&none);
	int ok = dup2(p->console < 0 ? null : p->console, 1) == 1 && dup2(1, 2) == 2 && dup2(null, 0) == 0 &&
		 dup2(sock, 3) == 3 && fcntl(3, F_SETFD, 0) == 0 && close_range(4, ~0U, CLOSE_RANGE_CLOEXEC) == 0 &&
		 setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		 chdir(folder[0] == '\0' ? "/" : folder) == 0 && signal(SIGPIPE, SIG_DFL) != SIG_ERR &&
		 sigprocmask(SIG_SETMASK, &none, NULL) == 0;
	if (ok && s.uid >= 0)
		ok = setgroups(0, NULL) == 0 && setresgid((gid_t)s.gid, (gid_t)s.gid, (gid_t)s.gid) == 0 &&
		     setresuid((uid_t)s.uid, (uid_t)s.uid, (uid_t)s.uid) == 0;
	/* A trial is worth nothing without its supervisor; the live image is. */
	if (ok && p->state == TRIAL) ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
	/* By descriptor: another user need not be able to walk to the image. A script cannot be run so. */
	if (ok && (image < 0 || execveat(image, "", argv, env, AT_EMPTY_PATH) != 0)) execve(argv[0], argv, env);
	int why = errno;
	if (write(gate, &why, sizeof why) < 0) _exit(126);
	_exit(127);
}

/* Starts p's image with `sock` as its fd 3. err -1: errno says why, nothing runs */
static int proc_start(struct proc *p, int sock)
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

static void proc_stop(struct proc *p)
{
	if (p->pidfd < 0) {
		proc_free(p);
		return;
	}
	p->state = DRAIN;
	p->at_ms = now_ms() + s.drain_ms;
	pidfd_send_signal(p->pidfd, SIGTERM, NULL, 0);
}

/* The last of what it printed, for whoever asked why. */
static const char *console_tail(const struct proc *p)
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
static void console_trim(int fd)
{
	static char keep[CONSOLE_KEEP];
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size <= CONSOLE_MAX) return;
	ssize_t n = pread(fd, keep, sizeof keep, st.st_size - (off_t)sizeof keep);
	if (ftruncate(fd, 0) != 0 || n <= 0) return;
	dprintf(fd, "[slipway-supervise: %lld bytes dropped here]\n", (long long)(st.st_size - n));
	if (write(fd, keep, (size_t)n) < 0) say("cannot shorten a console: %s", strerror(errno));
}

/* ---- what happens to them ---- */

static void promote(struct proc *p)
{
	struct proc *old = proc_find(LIVE, NULL), *trial = proc_find(TRIAL, p->id);
	p->state = LIVE;
	p->at_ms = 0;
	p->since_ms = now_ms();
	if (old != NULL) old->state = DRAIN;
	record_write();
	if (old != NULL) proc_stop(old);
	if (trial != NULL) proc_stop(trial);
	say("live: %s, process %d", p->id, (int)p->pid);
	answer(&p->waiter, "ok %d", (int)p->pid);
}

static void live_again(struct proc *p)
{
	if (proc_start(p, s.live) == 0) return;
	say("cannot start '%s': %s", p->args, strerror(errno));
	p->at_ms = now_ms() + 2000;
}

static void proc_died(struct proc *p, const siginfo_t *info)
{
	static const long wait_ms[] = {0, 100, 200, 500, 1000, 2000, 5000};
	if (info->si_pid == 0)
		snprintf(p->ended, sizeof p->ended, "ended"); /* adopted: its status went elsewhere */
	else
		snprintf(p->ended, sizeof p->ended, "%s %d",
			 info->si_code == CLD_EXITED ? "exited with" : "killed by signal", info->si_status);
	shut(&p->pidfd);
	p->pid = 0;
	if (p->state == DRAIN) {
		say("stopped: %s, %s", p->id, p->ended);
		proc_free(p);
	} else if (p->state == NEXT) {
		answer(&p->waiter, "error '%s' %s before it was ready; its console ends:\n%s", p->id, p->ended,
		       console_tail(p));
		proc_free(p);
	} else if (p->state == LIVE) {
		p->quick = now_ms() - p->since_ms > 10000 ? 0 : p->quick + 1;
		p->restarts++;
		long wait = wait_ms[p->quick < 7 ? p->quick : 6];
		p->at_ms = now_ms() + wait;
		say("live: %s %s; started again in %ld ms", p->id, p->ended, wait);
	} else {
		p->state = DEAD;
	}
	record_write();
}

static void proc_notified(struct proc *p)
{
	char text[512], space[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec io = {text, sizeof text - 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	ssize_t n = recvmsg(p->notify, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c == NULL || c->cmsg_type != SCM_CREDENTIALS) return;
	struct ucred who;
	memcpy(&who, CMSG_DATA(c), sizeof who);
	text[n] = '\0';
	/* Abstract names are open to every process of the host: only the image itself speaks for itself. */
	if (who.pid != p->pid || (strncmp(text, "READY=1", 7) != 0 && strstr(text, "\nREADY=1") == NULL)) return;
	p->notifies = p->ready = 1;
	if (p->state == NEXT) promote(p);
}

static void proc_due(struct proc *p)
{
	p->at_ms = 0;
	if (p->state == LIVE && p->pid == 0) {
		live_again(p);
	} else if (p->state == NEXT && !p->notifies) {
		promote(p);
	} else if (p->state == NEXT) {
		answer(&p->waiter, "error '%s' did not say READY=1 within %ld s; its console ends:\n%s", p->id,
		       s.ready_ms / 1000, console_tail(p));
		proc_stop(p);
	} else if (p->state == DRAIN) {
		say("stopping: %s does not end within %ld s, killed", p->id, s.drain_ms / 1000);
		pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
	}
}

/* ---- commands ---- */

static int probe_socket(int *port_r)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 128) != 0 ||
			getsockname(fd, (struct sockaddr *)&a, &len) != 0))
		shut(&fd);
	*port_r = ntohs(a.sin_port);
	return fd;
}

static int cmd_try(int *client, struct fields *f)
{
	int port;
	if (!id_ok(f->at[1])) return answer(client, "error '%s' is no id", f->at[1]);
	if (f->at[2][0] != '/') return answer(client, "error '%s' is no absolute path", f->at[2]);
	struct proc *p = proc_find(TRIAL, f->at[1]);
	if (p != NULL) proc_stop(p);
	if ((p = proc_find(DEAD, f->at[1])) != NULL) proc_free(p);
	if ((p = proc_new(TRIAL, f->at[1], f->at + 2, f->n - 2)) == NULL)
		return answer(client, "error more than %d processes", MAX_PROCS);
	int sock = probe_socket(&port);
	if (sock < 0 || proc_start(p, sock) != 0) {
		answer(client, "error cannot start '%s': %s", f->at[2], strerror(errno));
		proc_free(p);
	} else {
		p->port = port;
		answer(client, "ok %d %d", port, (int)p->pid);
	}
	shut(&sock);
	return 0;
}

static int cmd_switch(int *client, struct fields *f)
{
	struct proc *trial = proc_find(TRIAL, f->at[1]), *dead = proc_find(DEAD, f->at[1]);
	char *argv[MAX_FIELDS], *a;
	if (dead != NULL)
		return answer(client, "error '%s' %s; its console ends:\n%s", f->at[1], dead->ended,
			      console_tail(dead));
	if (trial == NULL) return answer(client, "error there is no trial of '%s'", f->at[1]);
	if (proc_find(NEXT, NULL) != NULL) return answer(client, "error another switch is going on");
	a = trial->args;
	for (int i = 0; i < trial->argc; i++, a += strlen(a) + 1) argv[i] = a;
	struct proc *p = proc_new(NEXT, trial->id, argv, trial->argc);
	if (p == NULL) return answer(client, "error more than %d processes", MAX_PROCS);
	p->notifies = trial->notifies;
	if (proc_start(p, s.live) != 0) {
		answer(client, "error cannot start '%s': %s", p->args, strerror(errno));
		proc_free(p);
		return 0;
	}
	p->waiter = *client;
	*client = -1;
	p->at_ms = now_ms() + (p->notifies ? s.ready_ms : s.settle_ms);
	return 0;
}

static int cmd_drop(int *client, struct fields *f)
{
	struct proc *trial = proc_find(TRIAL, f->at[1]), *dead = proc_find(DEAD, f->at[1]);
	if (trial != NULL) proc_stop(trial);
	if (dead != NULL) proc_free(dead);
	return answer(client, "ok");
}

static int cmd_status(int *client, struct fields *f)
{
	char text[4096];
	int n = snprintf(text, sizeof text, "listen %s\nsupervisor %d\n", s.address, (int)getpid());
	(void)f;
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++)
		if (p->state != FREE && n < (int)sizeof text)
			n += snprintf(text + n, sizeof text - (size_t)n, "%s %s %d %lld %u %d %s\n",
				      state_names[p->state], p->id, (int)p->pid,
				      (long long)(now_ms() - p->since_ms) / 1000, p->restarts, p->port,
				      p->ended[0] != '\0' ? p->ended : "-");
	return answer(client, "ok\n%s", text);
}

static int cmd_stop(int *client, struct fields *f)
{
	(void)f;
	shut(&s.stop_waiter);
	s.stop_waiter = *client;
	*client = -1;
	s.stopping = 1;
	return 0;
}

static const struct command {
	const char *name;
	int min, max; /* fields, the name included */
	int (*run)(int *client, struct fields *f);
	const char *usage;
} commands[] = {
	{"try", 3, MAX_FIELDS, cmd_try, "try ID IMAGE [ARG…]"},
	{"switch", 2, 2, cmd_switch, "switch ID"},
	{"drop", 2, 2, cmd_drop, "drop ID"},
	{"status", 1, 1, cmd_status, "status"},
	{"stop", 1, 1, cmd_stop, "stop"},
};

static int request(int *client, char *line, size_t len)
{
	struct fields f;
	if (fields_split(line, len, &f) != 0) return answer(client, "error the request is not a line of fields");
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcmp(f.at[0], commands[i].name) == 0) {
			if (f.n < commands[i].min || f.n > commands[i].max)
				return answer(client, "error usage: %s", commands[i].usage);
			return commands[i].run(client, &f);
		}
	return answer(client, "error unknown command '%s'", f.at[0]);
}

/* ---- taking over ---- */

static void record_line(struct fields *f, const char *boot_id)
{
	static char recorded_boot[64];
	long pid, start;
	if (f->n == 2 && strcmp(f->at[0], "boot") == 0) {
		snprintf(recorded_boot, sizeof recorded_boot, "%s", f->at[1]);
		return;
	}
	if (f->n < 5 || number(f->at[1], 0, INT32_MAX, &pid) != 0 || number(f->at[2], 0, INT64_MAX, &start) != 0 ||
	    !id_ok(f->at[3]) || f->at[4][0] != '/')
		return;
	struct proc *p = proc_new(LIVE, f->at[3], f->at + 4, f->n - 4);
	if (p == NULL) return;
	if (pid > 0 && strcmp(recorded_boot, boot_id) == 0) p->pidfd = pidfd_open((pid_t)pid, 0);
	if (p->pidfd >= 0 && start_time((pid_t)pid) != (uint64_t)start) shut(&p->pidfd);
	p->pid = p->pidfd < 0 ? 0 : (pid_t)pid;
	p->start = (uint64_t)start;
	if (strcmp(f->at[0], "live") != 0) {
		/* A `next` was never announced as serving, a `drain` has been replaced: both are to end. */
		proc_stop(p);
	} else {
		console_open(p);
		if (p->pid != 0)
			say("live: %s, process %d, taken over", p->id, (int)p->pid);
		else
			p->at_ms = 1; /* it died with the last supervisor: start it at once */
	}
}

static void record_read(void)
{
	char name[80], line[MAX_LINE + 200], boot_id[64] = "";
	struct fields f;
	snprintf(name, sizeof name, "%.64s.record", s.name);
	int boot = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (boot < 0 || read(boot, boot_id, 36) != 36) boot_id[0] = '\0';
	shut(&boot);
	int fd = openat(s.dir, name, O_RDONLY | O_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	while (in != NULL && fgets(line, sizeof line, in) != NULL)
		if (fields_split(line, strlen(line), &f) == 0) record_line(&f, boot_id);
	if (in != NULL) fclose(in);
}

/* Forks the guard. Returns in the supervisor at once, and in the guard when it has become the supervisor. */
static void guard_start(void)
{
	int ends[2];
	char c;
	s.guard_at_ms = now_ms() + 1000;
	shut(&s.guard_pipe);
	if (pipe2(ends, O_CLOEXEC) != 0) return;
	pid_t pid = fork();
	if (pid != 0) {
		close(ends[0]);
		s.guard_pipe = ends[1];
		if (pid > 0) s.guard = pidfd_open(pid, 0);
		return;
	}
	close(ends[1]);
	setsid();
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++)
		if (p->state != FREE) proc_free(p);
	for (int i = 0; i < MAX_CLIENTS; i++) shut(&s.clients[i].fd);
	shut(&s.stop_waiter);
	while (read(ends[0], &c, 1) < 0 && errno == EINTR)
		;
	close(ends[0]);
	say("the supervisor was killed; process %d takes over", (int)getpid());
	record_read();
	record_write();
}

static int live_bind(const struct sockaddr_storage *a, socklen_t len)
{
	int one = 1, fd = socket(a->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
			bind(fd, (const struct sockaddr *)a, len) != 0 || listen(fd, 1024) != 0))
		shut(&fd);
	return fd;
}

/* The live socket: ours by bind, or taken back from the image that a killed supervisor left serving. */
static void live_open(const char *text)
{
	struct sockaddr_storage a, has;
	socklen_t len, has_len = sizeof has;
	if (address_parse(text, &a, &len) != 0) die("--listen '%s' is not like 127.0.0.1:8080 or [::1]:8080", text);
	struct proc *p = proc_find(LIVE, NULL);
	int held = p != NULL && p->pidfd >= 0;
	s.live = live_bind(&a, len);
	if (s.live < 0 && errno == EADDRINUSE && held) {
		s.live = pidfd_getfd(p->pidfd, 3, 0);
		if (s.live >= 0 && (getsockname(s.live, (struct sockaddr *)&has, &has_len) != 0 || has_len != len ||
				    memcmp(&has, &a, len) != 0))
			shut(&s.live);
		if (s.live < 0) {
			/* The kernel may forbid it (Yama). Then there is a gap while it ends. */
			struct pollfd pf = {.fd = p->pidfd, .events = POLLIN};
			pidfd_send_signal(p->pidfd, SIGTERM, NULL, 0);
			if (poll(&pf, 1, (int)s.drain_ms) == 0) pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
			poll(&pf, 1, 2000);
			s.live = live_bind(&a, len);
		}
	} else if (s.live >= 0 && held) {
		proc_stop(p); /* it listens somewhere else */
	}
	if (s.live < 0) die("cannot listen on '%s': %s", text, strerror(errno));
	char host[INET6_ADDRSTRLEN] = "";
	has_len = sizeof has;
	getsockname(s.live, (struct sockaddr *)&has, &has_len);
	struct sockaddr_in *v4 = (struct sockaddr_in *)&has;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&has;
	int six = has.ss_family == AF_INET6;
	inet_ntop(has.ss_family, six ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr, host, sizeof host);
	snprintf(s.address, sizeof s.address, six ? "[%s]:%d" : "%s:%d", host,
		 ntohs(six ? v6->sin6_port : v4->sin_port));
}

/* ---- the loop ---- */

static void clients_accept(void)
{
	int slot = 0, fd = accept4(s.ctl, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who = {0};
	socklen_t len = sizeof who;
	if (fd >= 0 &&
	    (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || (who.uid != geteuid() && who.uid != 0)))
		shut(&fd);
	if (fd < 0) return;
	for (int i = 0; i < MAX_CLIENTS; i++) /* a free slot, or the one that has been silent longest */
		if (s.clients[i].fd < 0 ||
		    (s.clients[slot].fd >= 0 && s.clients[i].since_ms < s.clients[slot].since_ms))
			slot = i;
	shut(&s.clients[slot].fd);
	s.clients[slot] = (struct client){.fd = fd, .since_ms = now_ms()};
}

static void client_read(int *client)
{
	char line[MAX_LINE + 1];
	ssize_t n = recv(*client, line, MAX_LINE, MSG_DONTWAIT | MSG_TRUNC);
	if (n <= 0)
		shut(client);
	else if (n > MAX_LINE)
		answer(client, "error a request is at most %d bytes", MAX_LINE);
	else
		request(client, line, (size_t)n);
}

static void stop_all(void)
{
	s.stopping = 2;
	if (s.guard >= 0) pidfd_send_signal(s.guard, SIGKILL, NULL, 0); /* first: it would take over */
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++)
		if (p->state != FREE) proc_stop(p);
	record_write();
}

static int timeout_ms(void)
{
	int64_t at = now_ms() + 5000, now = now_ms();
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++)
		if (p->state != FREE && p->at_ms != 0 && p->at_ms < at) at = p->at_ms;
	if (s.guard < 0 && !s.stopping && s.guard_at_ms < at) at = s.guard_at_ms;
	return at <= now ? 0 : (int)(at - now);
}

static void turn(void)
{
	enum {
		SIG,
		CTL,
		GUARD,
		CLIENTS,
		PIDS = CLIENTS + MAX_CLIENTS,
		NOTES = PIDS + MAX_PROCS,
		N = NOTES + MAX_PROCS
	};
	struct pollfd pf[N];
	struct signalfd_siginfo signal_info;
	siginfo_t info;
	for (int i = 0; i < N; i++) {
		int fd = i == SIG ? s.sig : i == CTL ? s.ctl : i == GUARD ? s.guard : -1;
		if (i >= CLIENTS && i < PIDS) fd = s.clients[i - CLIENTS].fd;
		if (i >= PIDS && s.procs[(i - PIDS) % MAX_PROCS].state != FREE)
			fd = i < NOTES ? s.procs[i - PIDS].pidfd : s.procs[i - NOTES].notify;
		pf[i] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	if (poll(pf, N, timeout_ms()) < 0) return;
	if (pf[SIG].revents && read(s.sig, &signal_info, sizeof signal_info) > 0 && !s.stopping) s.stopping = 1;
	if (pf[GUARD].revents) {
		waitid(P_PIDFD, (id_t)s.guard, &info, WEXITED | WNOHANG);
		shut(&s.guard);
	}
	for (int i = 0; i < MAX_PROCS; i++) {
		struct proc *p = &s.procs[i];
		if (pf[NOTES + i].revents) proc_notified(p);
		if (pf[PIDS + i].revents) {
			info.si_pid = 0;
			waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG);
			proc_died(p, &info);
		}
		if (p->state != FREE && p->at_ms != 0 && p->at_ms <= now_ms()) proc_due(p);
		if (p->state != FREE) console_trim(p->console);
	}
	for (int i = 0; i < MAX_CLIENTS; i++)
		if (pf[CLIENTS + i].revents) client_read(&s.clients[i].fd);
	if (pf[CTL].revents) clients_accept();
	if (s.daemon) console_trim(2);
}

static void loop(void)
{
	for (;;) {
		int busy = 0;
		if (s.stopping == 1) stop_all();
		for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++) busy |= p->state != FREE;
		if (s.stopping && !busy) return;
		if (s.guard < 0 && !s.stopping && s.guard_at_ms <= now_ms()) guard_start();
		turn();
	}
}

/* ---- the command line ---- */

/* A path of any length as a socket's name: through its folder, /proc/self/fd/N/name. */
static void control_name(const char *path, struct sockaddr_un *un)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
		 slash == NULL ? "." : path);
	s.name = slash == NULL ? path : slash + 1;
	s.dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s.dir < 0) die("cannot open '%s': %s", folder, strerror(errno));
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (s.name[0] == '\0' || strlen(s.name) > 64) die("'%s' is no name for a socket", path);
	snprintf(un->sun_path, sizeof un->sun_path, "/proc/self/fd/%d/%s", s.dir, s.name);
}

static int main_ctl(int argc, char **argv)
{
	static char line[MAX_LINE + 1], text[8192];
	struct sockaddr_un un;
	size_t used = 0;
	if (argc < 2) die("usage: ctl SOCKET try|switch|drop|status|stop …");
	for (int i = 1; i < argc; i++) {
		int n = snprintf(line + used, sizeof line - used, "%s%s", i > 1 ? "\t" : "", argv[i]);
		if (n < 0 || (used += (size_t)n) > MAX_LINE || strchr(argv[i], '\t') != NULL)
			die("argument '%s' cannot be sent", argv[i]);
	}
	control_name(argv[0], &un);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof un) != 0)
		die("no supervisor at '%s': %s", argv[0], strerror(errno));
	struct timeval patience = {.tv_sec = 120};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	ssize_t n = send(fd, line, used, MSG_NOSIGNAL) < 0 ? -1 : recv(fd, text, sizeof text - 1, 0);
	if (n <= 0) die("the supervisor at '%s' went away", argv[0]);
	text[n] = '\0';
	if (strncmp(text, "ok", 2) != 0) die("%s", strncmp(text, "error ", 6) == 0 ? text + 6 : text);
	if (n > 3) printf("%s%s", text + 3, text[n - 1] == '\n' ? "" : "\n");
	return 0;
}

struct options {
	const char *listen, *control, *user;
	char **boot; /* ID IMAGE [ARG…] */
	int nboot;
};

static void options_parse(int argc, char **argv, struct options *o)
{
	static const char usage[] =
		"usage: run --listen HOST:PORT --control SOCKET --log DIR [--daemon] [--user UID:GID] "
		"[--settle-ms N] [--ready-ms N] [--drain-ms N] [--boot ID IMAGE [ARG…]]";
	for (int i = 0; i < argc; i++) {
		const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
		char *colon;
		if (strcmp(a, "--daemon") == 0) {
			s.daemon = 1;
			continue;
		}
		if (v == NULL) die("%s", usage);
		if (strcmp(a, "--listen") == 0)
			o->listen = v;
		else if (strcmp(a, "--control") == 0)
			o->control = v;
		else if (strcmp(a, "--log") == 0)
			s.logs = v;
		else if (strcmp(a, "--user") == 0) {
			colon = strchr(argv[i + 1], ':');
			if (colon == NULL || (*colon = '\0', number(v, 0, INT32_MAX, &s.uid)) != 0 ||
			    number(colon + 1, 0, INT32_MAX, &s.gid) != 0)
				die("--user wants two numbers, UID:GID");
		} else if (strcmp(a, "--boot") == 0) {
			o->boot = argv + i + 1;
			o->nboot = argc - i - 1;
			break;
		} else {
			long *to = strcmp(a, "--settle-ms") == 0  ? &s.settle_ms
				   : strcmp(a, "--ready-ms") == 0 ? &s.ready_ms
				   : strcmp(a, "--drain-ms") == 0 ? &s.drain_ms
								  : NULL;
			if (to == NULL) die("unknown option '%s'; %s", a, usage);
			if (number(v, 1, 3600000, to) != 0) die("%s '%s' is not 1 to 3600000", a, v);
		}
		i++;
	}
	if (o->listen == NULL || o->control == NULL || s.logs == NULL) die("%s", usage);
	if (o->boot != NULL && (o->nboot < 2 || !id_ok(o->boot[0]) || o->boot[1][0] != '/'))
		die("--boot wants an id and an absolute path");
}

static void control_open(const char *path)
{
	struct sockaddr_un un;
	char name[80];
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	control_name(path, &un);
	snprintf(name, sizeof name, "%s.lock", s.name);
	/* An open file description lock: the guard has it too, so it holds across a takeover. */
	s.lock = openat(s.dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s.lock < 0) die("cannot open '%s.lock': %s", path, strerror(errno));
	if (fcntl(s.lock, F_OFD_SETLK, &whole) != 0) die("'%s' has a supervisor already", path);
	unlinkat(s.dir, s.name, 0);
	s.ctl = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s.ctl < 0 || bind(s.ctl, (struct sockaddr *)&un, sizeof un) != 0 || listen(s.ctl, 16) != 0)
		die("cannot make '%s': %s", path, strerror(errno));
}

/* Leaves the caller waiting until the child serves or has said why not. Returns in the child: where to say so. */
static int go_background(void)
{
	int ends[2];
	char c;
	if (pipe2(ends, O_CLOEXEC) != 0) die("cannot make a pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0) die("cannot fork: %s", strerror(errno));
	if (pid == 0) {
		close(ends[0]);
		setsid();
		return ends[1];
	}
	close(ends[1]);
	_exit(read(ends[0], &c, 1) == 1 ? 0 : 1);
}

static int main_run(int argc, char **argv)
{
	struct options o = {0};
	char path[4200];
	int started = -1;
	sigset_t mask;
	s.guard = s.guard_pipe = s.stop_waiter = -1;
	s.uid = s.gid = -1;
	s.settle_ms = 700, s.ready_ms = 30000, s.drain_ms = 10000;
	for (int i = 0; i < MAX_CLIENTS; i++) s.clients[i].fd = -1;
	options_parse(argc, argv, &o);
	close_range(3, ~0U, 0); /* a caller's lock must not live as long as the site */
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	if (s.daemon) started = go_background();
	control_open(o.control);
	s.sig = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	record_read();
	live_open(o.listen);
	struct proc *p = proc_find(LIVE, NULL);
	if (p != NULL && p->pidfd < 0 && o.boot != NULL) proc_free(p);
	if (proc_find(LIVE, NULL) == NULL && o.boot != NULL) {
		p = proc_new(LIVE, o.boot[0], o.boot + 1, o.nboot - 1);
		if (p == NULL || proc_start(p, s.live) != 0) die("cannot start '%s': %s", o.boot[1], strerror(errno));
		say("live: %s, process %d, listening on %s", p->id, (int)p->pid, s.address);
	}
	record_write();
	if (s.daemon) {
		snprintf(path, sizeof path, "%s/supervise.log", s.logs);
		int log = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
		    null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (log < 0) log = null; /* a full disk keeps nobody from serving */
		if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || write(started, "s", 1) != 1) return 1;
		shut(&started);
	}
	loop();
	unlinkat(s.dir, s.name, 0);
	answer(&s.stop_waiter, "ok");
	return 0;
}

int main(int argc, char **argv)
{
	for (int fd = open("/dev/null", O_RDWR); fd >= 0 && fd < 3;) /* 0, 1 and 2 are taken, whoever started us */
		fd = open("/dev/null", O_RDWR);
	if (argc > 2 && strcmp(argv[1], "run") == 0) return main_run(argc - 2, argv + 2);
	if (argc > 2 && strcmp(argv[1], "ctl") == 0) return main_ctl(argc - 2, argv + 2);
	die("usage: run --listen HOST:PORT --control SOCKET --log DIR … | ctl SOCKET try|switch|drop|status|stop …");
}
