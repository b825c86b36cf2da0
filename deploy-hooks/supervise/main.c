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
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervise.h"

struct supervisor sup;

static void stop_all(void)
{
	sup.stopping = 2;
	if (sup.guard >= 0) pidfd_send_signal(sup.guard, SIGKILL, NULL, 0); /* first: it would take over */
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++)
		if (p->state != FREE) proc_stop(p);
	record_write();
}

static int timeout_ms(void)
{
	int64_t at = now_ms() + 5000, now = now_ms();
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++)
		if (p->state != FREE && p->at_ms != 0 && p->at_ms < at) at = p->at_ms;
	if (sup.guard < 0 && !sup.stopping && sup.guard_at_ms < at) at = sup.guard_at_ms;
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
		int fd = i == SIG ? sup.sig : i == CTL ? sup.ctl : i == GUARD ? sup.guard : -1;
		if (i >= CLIENTS && i < PIDS) fd = sup.clients[i - CLIENTS].fd;
		if (i >= PIDS && sup.procs[(i - PIDS) % MAX_PROCS].state != FREE)
			fd = i < NOTES ? sup.procs[i - PIDS].pidfd : sup.procs[i - NOTES].notify;
		pf[i] = (struct pollfd){.fd = fd, .events = POLLIN};
	}
	if (poll(pf, N, timeout_ms()) < 0) return;
	if (pf[SIG].revents && read(sup.sig, &signal_info, sizeof signal_info) > 0 && !sup.stopping) sup.stopping = 1;
	if (pf[GUARD].revents) {
		waitid(P_PIDFD, (id_t)sup.guard, &info, WEXITED | WNOHANG);
		shut(&sup.guard);
	}
	for (int i = 0; i < MAX_PROCS; i++) {
		struct proc *p = &sup.procs[i];
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
		if (pf[CLIENTS + i].revents) client_read(&sup.clients[i].fd);
	if (pf[CTL].revents) clients_accept();
	if (sup.daemon) console_trim(2);
}

static void loop(void)
{
	for (;;) {
		int busy = 0;
		if (sup.stopping == 1) stop_all();
		for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++) busy |= p->state != FREE;
		if (sup.stopping && !busy) return;
		if (sup.guard < 0 && !sup.stopping && sup.guard_at_ms <= now_ms()) guard_start();
		turn();
	}
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
			sup.daemon = 1;
			continue;
		}
		if (v == NULL) die("%s", usage);
		if (strcmp(a, "--listen") == 0)
			o->listen = v;
		else if (strcmp(a, "--control") == 0)
			o->control = v;
		else if (strcmp(a, "--log") == 0)
			sup.logs = v;
		else if (strcmp(a, "--user") == 0) {
			colon = strchr(argv[i + 1], ':');
			if (colon == NULL || (*colon = '\0', number(v, 0, INT32_MAX, &sup.uid)) != 0 ||
			    number(colon + 1, 0, INT32_MAX, &sup.gid) != 0)
				die("--user wants two numbers, UID:GID");
		} else if (strcmp(a, "--boot") == 0) {
			o->boot = argv + i + 1;
			o->nboot = argc - i - 1;
			break;
		} else {
			long *to = strcmp(a, "--settle-ms") == 0  ? &sup.settle_ms
				   : strcmp(a, "--ready-ms") == 0 ? &sup.ready_ms
				   : strcmp(a, "--drain-ms") == 0 ? &sup.drain_ms
								  : NULL;
			if (to == NULL) die("unknown option '%s'; %s", a, usage);
			if (number(v, 1, 3600000, to) != 0) die("%s '%s' is not 1 to 3600000", a, v);
		}
		i++;
	}
	if (o->listen == NULL || o->control == NULL || sup.logs == NULL) die("%s", usage);
	if (o->boot != NULL && (o->nboot < 2 || !id_ok(o->boot[0]) || o->boot[1][0] != '/'))
		die("--boot wants an id and an absolute path");
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
	sup.guard = sup.guard_pipe = sup.stop_waiter = -1;
	sup.uid = sup.gid = -1;
	sup.settle_ms = 700, sup.ready_ms = 30000, sup.drain_ms = 10000;
	for (int i = 0; i < MAX_CLIENTS; i++) sup.clients[i].fd = -1;
	options_parse(argc, argv, &o);
	close_range(3, ~0U, 0); /* a caller's lock must not live as long as the site */
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	if (sup.daemon) started = go_background();
	control_open(o.control);
	sup.sig = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	record_read();
	live_open(o.listen);
	struct proc *p = proc_find(LIVE, NULL);
	if (p != NULL && p->pidfd < 0 && o.boot != NULL) proc_free(p);
	if (proc_find(LIVE, NULL) == NULL && o.boot != NULL) {
		p = proc_new(LIVE, o.boot[0], o.boot + 1, o.nboot - 1);
		if (p == NULL || proc_start(p, sup.live) != 0) die("cannot start '%s': %s", o.boot[1], strerror(errno));
		say("live: %s, process %d, listening on %s", p->id, (int)p->pid, sup.address);
	}
	record_write();
	if (sup.daemon) {
		snprintf(path, sizeof path, "%s/supervise.log", sup.logs);
		int log = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
		    null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (log < 0) log = null; /* a full disk keeps nobody from serving */
		if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || write(started, "s", 1) != 1) return 1;
		shut(&started);
	}
	loop();
	unlinkat(sup.dir, sup.name, 0);
	answer(&sup.stop_waiter, "ok");
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
