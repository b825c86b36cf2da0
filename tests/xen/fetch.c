/* fetch HOST PATH STOP - a client in dom0, without a library to load under emulation: GETs the page over a connection
 * of its own, some ten times a second (there is one processor for all), until the file STOP is there, and prints
 * "<asked> <failed> <longest ms>". An answer is good when its status is 200 and its body as long as it says. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, PAUSE_MS = 100 };

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The whole answer, as HTTP/1.0 ends it; -1: it did not come. */
static long answer(int fd, char *text, size_t room)
{
	size_t n = 0;

	for (;;) {
		struct pollfd p = {fd, POLLIN, 0};
		ssize_t got;

		if (poll(&p, 1, PATIENCE_MS) != 1) return -1;
		got = read(fd, text + n, room - 1 - n);
		if (got < 0) return -1;
		n += (size_t)got;
		if (!got || n + 1 == room) break;
	}
	text[n] = '\0';
	return (long)n;
}

static int get(const struct sockaddr_in *to, const char *path)
{
	static char text[1 << 20];
	const struct timeval patience = {PATIENCE_MS / 1000, 0};
	const char *body, *length;
	char request[512];
	int fd = socket(AF_INET, SOCK_STREAM, 0), n, good = 0;
	long got;

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	n = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\nHost: x\r\n\r\n", path);
	if (!connect(fd, (const struct sockaddr *)to, sizeof *to) && send(fd, request, (size_t)n, MSG_NOSIGNAL) == n &&
	    (got = answer(fd, text, sizeof text)) > 0) {
		body = strstr(text, "\r\n\r\n");
		length = strstr(text, "Content-Length: ");
		good = !strncmp(text + 8, " 200", 4) && body && length &&
		       text + got == body + 4 + strtol(length + 16, NULL, 10);
	}
	close(fd);
	return good;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(80)};
	long asked = 0, failed = 0, longest = 0;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
	while (access(argv[3], F_OK)) {
		long began = now_ms(), took;

		failed += !get(&to, argv[2]);
		asked++;
		took = now_ms() - began;
		if (took > longest) longest = took;
		poll(NULL, 0, PAUSE_MS);
	}
	printf("%ld %ld %ld\n", asked, failed, longest);
	return 0;
}
