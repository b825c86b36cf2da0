/* The control socket: its clients, their requests, and `ctl`, which is one. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "supervise.h"

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
	if (proc_start(p, sup.live) != 0) {
		answer(client, "error cannot start '%s': %s", p->args, strerror(errno));
		proc_free(p);
		return 0;
	}
	p->waiter = *client;
	*client = -1;
	p->at_ms = now_ms() + (p->notifies ? sup.ready_ms : sup.settle_ms);
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
	int n = snprintf(text, sizeof text, "listen %s\nsupervisor %d\n", sup.address, (int)getpid());
	(void)f;
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++)
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
	shut(&sup.stop_waiter);
	sup.stop_waiter = *client;
	*client = -1;
	sup.stopping = 1;
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

void clients_accept(void)
{
	int slot = 0, fd = accept4(sup.ctl, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who = {0};
	socklen_t len = sizeof who;
	if (fd >= 0 &&
	    (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || (who.uid != geteuid() && who.uid != 0)))
		shut(&fd);
	if (fd < 0) return;
	for (int i = 0; i < MAX_CLIENTS; i++) /* a free slot, or the one that has been silent longest */
		if (sup.clients[i].fd < 0 ||
		    (sup.clients[slot].fd >= 0 && sup.clients[i].since_ms < sup.clients[slot].since_ms))
			slot = i;
	shut(&sup.clients[slot].fd);
	sup.clients[slot] = (struct client){.fd = fd, .since_ms = now_ms()};
}

void client_read(int *client)
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

/* A path of any length as a socket's name: through its folder, /proc/self/fd/N/name. */
static void control_name(const char *path, struct sockaddr_un *un)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
		 slash == NULL ? "." : path);
	sup.name = slash == NULL ? path : slash + 1;
	sup.dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (sup.dir < 0) die("cannot open '%s': %s", folder, strerror(errno));
	*un = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (sup.name[0] == '\0' || strlen(sup.name) > 64) die("'%s' is no name for a socket", path);
	snprintf(un->sun_path, sizeof un->sun_path, "/proc/self/fd/%d/%s", sup.dir, sup.name);
}

void control_open(const char *path)
{
	struct sockaddr_un un;
	char name[80];
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	control_name(path, &un);
	snprintf(name, sizeof name, "%sup.lock", sup.name);
	/* An open file description lock: the guard has it too, so it holds across a takeover. */
	sup.lock = openat(sup.dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (sup.lock < 0) die("cannot open '%sup.lock': %s", path, strerror(errno));
	if (fcntl(sup.lock, F_OFD_SETLK, &whole) != 0) die("'%s' has a supervisor already", path);
	unlinkat(sup.dir, sup.name, 0);
	sup.ctl = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sup.ctl < 0 || bind(sup.ctl, (struct sockaddr *)&un, sizeof un) != 0 || listen(sup.ctl, 16) != 0)
		die("cannot make '%s': %s", path, strerror(errno));
}

int main_ctl(int argc, char **argv)
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
