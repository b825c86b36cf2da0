/* Nothing here ends the live image: the record of whose processes are whose, the guard that becomes the supervisor,
 * and the live socket, which can be taken back from the image. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervise.h"

const char *const state_names[] = {"free", "trial", "dead", "next", "live", "drain"};

/* The record says whose processes these are, for the next supervisor. Written before a process may run. */
void record_write(void)
{
	char temp[80], name[80], boot[64] = "";
	snprintf(temp, sizeof temp, "%.64s.record.new", sup.name);
	snprintf(name, sizeof name, "%.64s.record", sup.name);
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, boot, 36) != 36) boot[0] = '\0';
	shut(&fd);
	fd = openat(sup.dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int ok = fd >= 0 && dprintf(fd, "boot\t%s\n", boot) > 0;
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++) {
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
	if (!ok || renameat(sup.dir, temp, sup.dir, name) != 0) say("cannot write '%s': %s", name, strerror(errno));
}

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

void record_read(void)
{
	char name[80], line[MAX_LINE + 200], boot_id[64] = "";
	struct fields f;
	snprintf(name, sizeof name, "%.64s.record", sup.name);
	int boot = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (boot < 0 || read(boot, boot_id, 36) != 36) boot_id[0] = '\0';
	shut(&boot);
	int fd = openat(sup.dir, name, O_RDONLY | O_CLOEXEC);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	while (in != NULL && fgets(line, sizeof line, in) != NULL)
		if (fields_split(line, strlen(line), &f) == 0) record_line(&f, boot_id);
	if (in != NULL) fclose(in);
}

/* Forks the guard. Returns in the supervisor at once, and in the guard when it has become the supervisor. */
void guard_start(void)
{
	int ends[2];
	char c;
	sup.guard_at_ms = now_ms() + 1000;
	shut(&sup.guard_pipe);
	if (pipe2(ends, O_CLOEXEC) != 0) return;
	pid_t pid = fork();
	if (pid != 0) {
		close(ends[0]);
		sup.guard_pipe = ends[1];
		if (pid > 0) sup.guard = pidfd_open(pid, 0);
		return;
	}
	close(ends[1]);
	setsid();
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++)
		if (p->state != FREE) proc_free(p);
	for (int i = 0; i < MAX_CLIENTS; i++) shut(&sup.clients[i].fd);
	shut(&sup.stop_waiter);
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
void live_open(const char *text)
{
	struct sockaddr_storage a, has;
	socklen_t len, has_len = sizeof has;
	if (address_parse(text, &a, &len) != 0)
		die("'%s' is no address and port to listen on, like 127.0.0.1:8080 or [::1]:8080", text);
	struct proc *p = proc_find(LIVE, NULL);
	int held = p != NULL && p->pidfd >= 0;
	sup.live = live_bind(&a, len);
	if (sup.live < 0 && errno == EADDRINUSE && held) {
		sup.live = pidfd_getfd(p->pidfd, 3, 0);
		if (sup.live >= 0 && (getsockname(sup.live, (struct sockaddr *)&has, &has_len) != 0 || has_len != len ||
				      memcmp(&has, &a, len) != 0))
			shut(&sup.live);
		if (sup.live < 0) {
			/* The kernel may forbid it (Yama). Then there is a gap while it ends. */
			struct pollfd pf = {.fd = p->pidfd, .events = POLLIN};
			pidfd_send_signal(p->pidfd, SIGTERM, NULL, 0);
			if (poll(&pf, 1, (int)sup.drain_ms) == 0) pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
			poll(&pf, 1, 2000);
			sup.live = live_bind(&a, len);
		}
	} else if (sup.live >= 0 && held) {
		proc_stop(p); /* it listens somewhere else */
	}
	if (sup.live < 0)
		die("cannot listen on '%s': %s%s", text, strerror(errno),
		    errno == EACCES ? " (ports below 1024 are root's)" : "");
	char host[INET6_ADDRSTRLEN] = "";
	has_len = sizeof has;
	getsockname(sup.live, (struct sockaddr *)&has, &has_len);
	struct sockaddr_in *v4 = (struct sockaddr_in *)&has;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&has;
	int six = has.ss_family == AF_INET6;
	inet_ntop(has.ss_family, six ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr, host, sizeof host);
	snprintf(sup.address, sizeof sup.address, six ? "[%s]:%d" : "%s:%d", host,
		 ntohs(six ? v6->sin6_port : v4->sin_port));
}
