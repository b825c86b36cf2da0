/* A small web image for the deploy tests. Takes the listening socket handed over as fd 3 (LISTEN_FDS), answers every
 * request with PAGE, and drains on SIGTERM. MODE makes it one that must be held: */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVE 0
#define CRASH 1  /* ends at once */
#define ERROR 2  /* answers 500 */
#define HANG 3   /* takes connections and never answers */
#define NOTIFY 4 /* serves, and says READY=1 */
#define LATER 5  /* serves two requests, then crashes: only the watch sees it */
#define STUCK 6  /* serves, and ignores SIGTERM */
#ifndef MODE
#define MODE SERVE
#endif
#ifndef PAGE
#define PAGE "page"
#endif

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static int handed_over(void)
{
	const char *fds = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID");
	char self[20];
	snprintf(self, sizeof self, "%d", (int)getpid());
	return fds != NULL && pid != NULL && strcmp(fds, "1") == 0 && strcmp(pid, self) == 0;
}

static void say_ready(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t n = name == NULL ? 0 : strlen(name);
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (n < 2 || n > sizeof un.sun_path || fd < 0) exit(4);
	memcpy(un.sun_path + 1, name + 1, n - 1);
	socklen_t len = (socklen_t)(sizeof(sa_family_t) + n);
	if (sendto(fd, "READY=1\n", 8, 0, (struct sockaddr *)&un, len) != 8) exit(4);
	close(fd);
}

static void serve_one(int fd)
{
	const char *status = MODE == ERROR ? "500 Internal Server Error" : "200 OK";
	char in[4096], out[1024];
	size_t have = 0;
	while (have < sizeof in - 1) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};
		ssize_t n = poll(&pf, 1, 2000) == 1 ? read(fd, in + have, sizeof in - 1 - have) : -1;
		if (n <= 0) return;
		have += (size_t)n;
		in[have] = '\0';
		if (strstr(in, "\r\n\r\n") != NULL) break;
	}
	int n = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status,
			 strlen(PAGE), PAGE);
	if (write(fd, out, (size_t)n) != n) return;
	shutdown(fd, SHUT_WR);
}

int main(void)
{
	sigset_t term, before;
	int served = 0;
	signal(SIGPIPE, SIG_IGN);
	if (MODE == STUCK)
		signal(SIGTERM, SIG_IGN);
	else
		sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	if (!handed_over()) {
		fprintf(stderr, "no socket was handed over\n");
		return 2;
	}
	printf("this is %s\n", PAGE);
	fflush(stdout);
	if (MODE == CRASH) {
		fprintf(stderr, "fatal: Block.connect 51728: unable to match\n");
		return 3;
	}
	if (MODE == NOTIFY) say_ready();
	while (!stop) {
		struct pollfd pf = {.fd = 3, .events = POLLIN};
		if (ppoll(&pf, 1, NULL, &before) < 1) continue;
		int fd = accept(3, NULL, NULL);
		if (fd < 0) continue;
		if (MODE == HANG) continue;
		serve_one(fd);
		close(fd);
		if (MODE == LATER && ++served == 2) abort();
	}
	return 0;
}
