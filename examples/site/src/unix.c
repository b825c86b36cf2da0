/* The site as an ordinary program: one thread, one epoll loop, the answers of http.c.
 *
 *   accept ─→ READING ──request──→ WRITING ──sent──→ READING …         (keep-alive, pipelining)
 *                │ closed, timeout      │ last answer
 *                └─────────→ gone ←── LINGERING   (what the client still sends is read away, so that the kernel
 *                                                  does not reset the connection under the answer)
 *
 * SIGTERM: no more connections, answers in flight are finished, the program ends with 0 within drain-ms. Sockets may
 * be handed over (LISTEN_FDS, LISTEN_PID); then whoever holds them too goes on accepting. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "http.h"
#include "site.h"

enum {
	LISTENERS_MAX = 16,
	EVENTS_MAX = 64,
	ANSWERS_A_TURN = 16, /* of one connection before the others have theirs */
	LINGER_MS = 2000,
	TICK_MS = 100,
	STOPPING_IDLE_MS = 250, /* a request may be on its way on a connection that looks idle */
};

enum state { READING, WRITING, LINGERING };
enum waiting { FOR_NOTHING, FOR_REQUEST, FOR_REST, FOR_ROOM, FOR_END }; /* what a connection's deadline is for */

struct conn {
	struct conn *prev, *next;
	int fd;
	enum state state;
	enum waiting waiting;
	uint32_t events; /* registered with epoll */
	int ended;       /* the client sends no more */
	int64_t deadline_ms;
	size_t len, sent;
	struct http_answer answer;
	char in[HTTP_HEAD_MAX];
};

/* One row a setting: `--NAME VALUE`, and for port the environment's PORT. */
enum { PORT, IDLE_MS, REQUEST_MS, WRITE_MS, DRAIN_MS, CONNECTIONS, NSETTINGS };
static struct setting {
	const char *name;
	long value, least, most;
	const char *help;
} settings[NSETTINGS] = {
	[PORT] = {"port", 8080, 0, 65535, "TCP port; 0: a free one"},
	[IDLE_MS] = {"idle-ms", 15000, 1, 3600000, "an unused connection is kept so long"},
	[REQUEST_MS] = {"request-ms", 10000, 1, 3600000, "a request must be whole within"},
	[WRITE_MS] = {"write-ms", 30000, 1, 3600000, "a client that takes nothing for so long is dropped"},
	[DRAIN_MS] = {"drain-ms", 20000, 0, 3600000, "after SIGTERM answers are finished within"},
	[CONNECTIONS] = {"connections", 1024, 1, 1000000, "most connections at once"},
};

static int epoll_fd = -1;
static int listeners[LISTENERS_MAX];
static size_t nlisteners;
static int listening; /* the listeners are registered with epoll */
static int room_made; /* a connection ended: one that had to wait may come */
static int inherited;
static struct conn *conns;
static long nconns;
static int64_t now_ms, stop_at_ms, tick_at_ms; /* stop_at_ms: when SIGTERM came; 0: it did not */
static volatile sig_atomic_t stop_asked;

static _Noreturn void fail(const char *what, const char *subject)
{
	fprintf(stderr, "site: %s '%s': %s\n", what, subject, strerror(errno));
	exit(1);
}

static void on_stop(int sig)
{
	(void)sig;
	stop_asked = 1;
}

static int64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * (int64_t)1000 + t.tv_nsec / 1000000;
}

/* The Date field's text, made once a second. */
static const char *date(void)
{
	static char text[40];
	static time_t made;
	time_t t = time(NULL);
	struct tm tm;

	if (t != made && gmtime_r(&t, &tm)) {
		strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
		made = t;
	}
	return text;
}

/* Says something to the service manager, where there is one. */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len < 2 || len >= sizeof to.sun_path || (*path != '/' && *path != '@')) return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) return;
	memcpy(to.sun_path, path, len);
	if (*path == '@') to.sun_path[0] = '\0'; /* Linux's abstract names */
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		fprintf(stderr, "site: cannot notify '%s': %s\n", path, strerror(errno));
	close(fd);
}

/* --- connections --- */

static void listen_for_clients(int on)
{
	if (on == listening) return;
	for (size_t i = 0; i < nlisteners; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &listeners[i]};

		if (epoll_ctl(epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listeners[i], &ev) < 0)
			fail("cannot watch", "listening socket");
	}
	listening = on;
}

static void conn_free(struct conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		conns = c->next;
	if (c->next) c->next->prev = c->prev;
	close(c->fd);
	free(c);
	nconns--;
	room_made = 1;
}

/* Begins to wait for something; waiting on for the same does not move the deadline. */
static void wait_for(struct conn *c, enum waiting what, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = c};
	int64_t limits[] = {0, settings[IDLE_MS].value, settings[REQUEST_MS].value, settings[WRITE_MS].value,
			    LINGER_MS};

	if (what != c->waiting) c->deadline_ms = now_ms + limits[what];
	c->waiting = what;
	if (events == c->events) return;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) < 0) fail("cannot watch", "connection");
	c->events = events;
}

/* Each of the steps returns 1: go on, 0: wait for the client, -1: the connection is over. */

static int step_read(struct conn *c)
{
	ssize_t n;

	if (http_next(c->in, c->len, date(), stop_at_ms != 0, &c->answer)) {
		c->len -= c->answer.consumed;
		memmove(c->in, c->in + c->answer.consumed, c->len);
		c->sent = 0;
		c->state = WRITING;
		return 1;
	}
	if (c->ended) return -1;
	n = read(c->fd, c->in + c->len, sizeof c->in - c->len);
	if (n < 0 && errno == EINTR) return 1;
	if (n < 0 && errno == EAGAIN) {
		wait_for(c, c->len ? FOR_REST : FOR_REQUEST, EPOLLIN);
		return 0;
	}
	if (n < 0) return -1;
	c->ended = n == 0;
	c->len += (size_t)n;
	return 1;
}

static int step_write(struct conn *c)
{
	struct http_answer *a = &c->answer;
	size_t head = c->sent < a->head_len ? a->head_len - c->sent : 0;
	size_t body_sent = head ? 0 : c->sent - a->head_len;
	struct iovec parts[] = {
		{a->head + a->head_len - head, head},
		{(void *)(uintptr_t)(a->body + body_sent), a->body_len - body_sent},
	};
	ssize_t n;

	if (c->sent < a->head_len + a->body_len) {
		n = writev(c->fd, parts, 2);
		if (n < 0 && errno == EINTR) return 1;
		if (n < 0 && errno == EAGAIN) {
			wait_for(c, FOR_ROOM, EPOLLOUT);
			return 0;
		}
		if (n < 0) return -1;
		c->sent += (size_t)n;
		c->waiting = FOR_NOTHING;
		return 1;
	}
	c->waiting = FOR_NOTHING;
	c->state = READING;
	if (!a->close) return 1;
	if (c->ended || shutdown(c->fd, SHUT_WR) < 0) return -1;
	c->state = LINGERING;
	return 1;
}

static int step_linger(struct conn *c)
{
	ssize_t n = read(c->fd, c->in, sizeof c->in);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return -1;
	wait_for(c, FOR_END, EPOLLIN);
	return 0;
}

/* As far as it goes without waiting. A connection that used up its turn is told to epoll as one that waits for room,
 * which there is: so the others come first. */
static void conn_run(struct conn *c)
{
	int answers = 0, going = 1;

	while (going > 0) {
		enum state before = c->state;

		if (before == READING)
			going = step_read(c);
		else if (before == WRITING)
			going = step_write(c);
		else
			going = step_linger(c);
		if (going > 0 && before == WRITING && c->state == READING && ++answers == ANSWERS_A_TURN) {
			wait_for(c, FOR_ROOM, EPOLLOUT);
			going = 0;
		}
	}
	if (going < 0) conn_free(c);
}

/* When there is no place left, the connection that has been idle for longest makes some. */
static int make_place(void)
{
	struct conn *oldest = NULL;

	for (struct conn *c = conns; c; c = c->next)
		if (c->waiting == FOR_REQUEST && (!oldest || c->deadline_ms < oldest->deadline_ms)) oldest = c;
	if (oldest) conn_free(oldest);
	return oldest != NULL;
}

/* 1: accepted; 0: nobody is there, or there is no place. */
static int accept_one(int listener)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct conn *c;
	int fd, one = 1;

	if (nconns >= settings[CONNECTIONS].value) {
		listen_for_clients(0);
		return 0;
	}
	fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
		if (!make_place()) listen_for_clients(0);
		return 0;
	}
	if (fd < 0) return errno == EINTR || errno == ECONNABORTED;
	c = malloc(sizeof *c);
	ev.data.ptr = c;
	if (!c || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		free(c);
		close(fd);
		return 0;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	*c = (struct conn){.next = conns, .fd = fd, .events = EPOLLIN};
	if (conns) conns->prev = c;
	conns = c;
	nconns++;
	conn_run(c);
	return 1;
}

static void accept_some(int listener)
{
	if (nconns >= settings[CONNECTIONS].value) make_place();
	for (int i = 0; i < EVENTS_MAX && accept_one(listener);) i++;
}

/* --- stopping --- */

static void begin_stop(void)
{
	stop_at_ms = now_ms;
	notify("STOPPING=1");
	listen_for_clients(0);
	for (size_t i = 0; i < nlisteners; i++) {
		/* Our own queue dies with the socket, so its clients are taken; a shared one is the other holder's. */
		while (!inherited && accept_one(listeners[i])) continue;
		close(listeners[i]);
	}
	nlisteners = 0;
}

/* Ends what waited too long. */
static void tick(void)
{
	struct conn *next;

	for (struct conn *c = conns; c; c = next) {
		next = c->next;
		if (now_ms >= c->deadline_ms)
			conn_free(c);
		else if (stop_at_ms && c->waiting == FOR_REQUEST && now_ms >= stop_at_ms + STOPPING_IDLE_MS)
			conn_free(c);
		else if (stop_at_ms && now_ms >= stop_at_ms + settings[DRAIN_MS].value)
			conn_free(c);
	}
	if (!stop_at_ms) listen_for_clients(1); /* out of descriptors or memory a while ago: perhaps no more */
	tick_at_ms = now_ms + TICK_MS;
}

static int is_listener(const void *p)
{
	return (uintptr_t)p >= (uintptr_t)listeners && (uintptr_t)p < (uintptr_t)(listeners + LISTENERS_MAX);
}

static void serve(const sigset_t *unblocked)
{
	struct epoll_event events[EVENTS_MAX];

	while (!stop_at_ms || conns) {
		int busy = conns || !listening;
		int n = epoll_pwait(epoll_fd, events, EVENTS_MAX, busy ? TICK_MS : -1, unblocked);

		if (n < 0 && errno != EINTR) fail("cannot wait for", "connections");
		now_ms = clock_ms();
		/* Listeners last: taking a client may end another connection, whose event may still be in the list. */
		for (int i = 0; i < n; i++)
			if (!is_listener(events[i].data.ptr)) conn_run(events[i].data.ptr);
		for (int i = 0; i < n; i++)
			if (is_listener(events[i].data.ptr)) accept_some(*(int *)events[i].data.ptr);
		if (stop_asked && !stop_at_ms) begin_stop();
		if (now_ms >= tick_at_ms) tick();
		if (room_made && !stop_at_ms) listen_for_clients(1);
		room_made = 0;
	}
}

/* --- starting --- */

static int number(const char *text, const struct setting *s, long *value_r)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < s->least || value > s->most) return -1;
	*value_r = value;
	return 0;
}

/* Sockets that were handed over: descriptors 3 and on. 0: none were, or they were for another process. */
static size_t take_listeners(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	struct setting any = {.least = 1, .most = INT32_MAX}, few = {.least = 1, .most = LISTENERS_MAX};
	long whose, count;

	if (!pid || !fds || number(pid, &any, &whose) < 0 || whose != (long)getpid()) return 0;
	if (number(fds, &few, &count) < 0) {
		errno = EINVAL;
		fail("cannot take LISTEN_FDS", fds);
	}
	for (int i = 0; i < count; i++) {
		int fd = 3 + i, flags = fcntl(fd, F_GETFL), accepts = 0;
		socklen_t size = sizeof accepts;

		if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &size) < 0 || !accepts) {
			if (flags >= 0) errno = ENOTSOCK;
			fail("no listening socket in LISTEN_FDS", fds);
		}
		/* Two holders may see the same client: accept must not block then. */
		if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
			fail("cannot take LISTEN_FDS", fds);
		listeners[nlisteners++] = fd;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	return nlisteners;
}

static void open_listener(const char *address)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at = {.any.sa_family = AF_UNSPEC};
	in_port_t port = htons((uint16_t)settings[PORT].value);
	socklen_t size = sizeof at;
	int fd, one = 1;

	if (inet_pton(AF_INET, address, &at.v4.sin_addr) == 1) {
		at.v4.sin_family = AF_INET;
		at.v4.sin_port = port;
		size = sizeof at.v4;
	} else if (inet_pton(AF_INET6, address, &at.v6.sin6_addr) == 1) {
		at.v6.sin6_family = AF_INET6;
		at.v6.sin6_port = port;
		size = sizeof at.v6;
	} else {
		errno = EINVAL;
		fail("not an address", address);
	}
	fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 || bind(fd, &at.any, size) < 0 ||
	    listen(fd, SOMAXCONN) < 0 || getsockname(fd, &at.any, &size) < 0)
		fail("cannot listen on", address);
	listeners[nlisteners++] = fd;
	port = at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port;
	printf(strchr(address, ':') ? "site: listening on [%s]:%u\n" : "site: listening on %s:%u\n", address,
	       ntohs(port));
}

static _Noreturn void usage(int status)
{
	FILE *to = status ? stderr : stdout;

	fprintf(to, "usage: site.unix [--address ADDRESS] [--SETTING NUMBER]…\n");
	fprintf(to, "  --%-12s %s (127.0.0.1)\n", "address", "numeric, IPv4 or IPv6");
	for (size_t i = 0; i < NSETTINGS; i++)
		fprintf(to, "  --%-12s %s (%ld)\n", settings[i].name, settings[i].help, settings[i].value);
	exit(status);
}

static void read_arguments(char **args, const char **address_r)
{
	const char *port = getenv("PORT");

	if (port && *port && number(port, &settings[PORT], &settings[PORT].value) < 0) {
		errno = EINVAL;
		fail("bad PORT", port);
	}
	for (; *args; args += 2) {
		size_t i = 0;

		if (strcmp(*args, "--help") == 0) usage(0);
		while (i < NSETTINGS && (strncmp(*args, "--", 2) != 0 || strcmp(*args + 2, settings[i].name) != 0)) i++;
		if (!args[1]) usage(2);
		if (strcmp(*args, "--address") == 0)
			*address_r = args[1];
		else if (i == NSETTINGS || number(args[1], &settings[i], &settings[i].value) < 0)
			usage(2);
	}
}

int main(int argc, char **argv)
{
	const char *address = "127.0.0.1";
	struct sigaction stop = {.sa_handler = on_stop}, ignore = {.sa_handler = SIG_IGN};
	sigset_t blocked, unblocked;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	read_arguments(argv + 1, &address);
	if (site_damaged()) {
		errno = EIO;
		fail("cannot serve damaged file", site_damaged()->path);
	}
	/* The signals come only while epoll_pwait waits: between the check and the wait none is lost. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGINT);
	sigprocmask(SIG_BLOCK, &blocked, &unblocked);
	sigdelset(&unblocked, SIGTERM);
	sigdelset(&unblocked, SIGINT);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0) fail("cannot make", "epoll");
	inherited = take_listeners() > 0;
	if (!inherited) open_listener(address);
	now_ms = clock_ms();
	listen_for_clients(1);
	printf("site: ready, %zu files, commit %s\n", site_nfiles, site_commit);
	notify("READY=1");
	serve(&unblocked);
	printf("site: stopped\n");
	return 0;
}
