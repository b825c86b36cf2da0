/* load HOST PORT FILE AT_LEAST: asks for the page, one connection a request, from four threads, until FILE is gone and
 * AT_LEAST requests were made. Prints "N requests, M failed", how the first one failed, and the longest time between
 * two answers that a thread saw, in ms. A refused, reset, cut or empty answer is a failure; so is any status but 200.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_in to = {.sin_family = AF_INET};
static const char *flag;
static long at_least;
static atomic_long asked, failed, longest_ms;
static char first[200];
static pthread_mutex_t first_lock = PTHREAD_MUTEX_INITIALIZER;

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* NULL, or why there was no page; errno says more unless it is 0. */
static const char *ask(int fd)
{
	static const char request[] = "GET / HTTP/1.0\r\nHost: test\r\nConnection: close\r\n\r\n";
	char answer[4096];
	size_t has = 0;
	ssize_t n;

	if (connect(fd, (struct sockaddr *)&to, sizeof to)) return "connect";
	if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1) return "send";
	while ((n = recv(fd, answer + has, sizeof answer - 1 - has, 0)) > 0) has += (size_t)n;
	if (n < 0) return "recv";
	errno = 0;
	answer[has] = '\0';
	const char *body = strstr(answer, "\r\n\r\n");
	if (strncmp(answer, "HTTP/1.", 7) != 0 || strncmp(answer + 8, " 200 ", 5) != 0) return "the status";
	return body == NULL || body[4] == '\0' ? "the body" : NULL;
}

static void *client(void *unused)
{
	long last = now_ms(), now, most;

	while (access(flag, F_OK) == 0 || asked < at_least) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct timeval patience = {.tv_sec = 10};
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
		const char *why = ask(fd);
		if (why != NULL && failed++ == 0) {
			pthread_mutex_lock(&first_lock);
			snprintf(first, sizeof first, ", the first in %s: %s", why, strerror(errno));
			pthread_mutex_unlock(&first_lock);
		}
		close(fd);
		asked++;
		now = now_ms();
		for (most = longest_ms;
		     now - last > most && !atomic_compare_exchange_weak(&longest_ms, &most, now - last);)
			;
		last = now;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* the rest of the box is to be quick too */
	}
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t threads[4];

	if (argc != 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 2;
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	flag = argv[3];
	at_least = strtol(argv[4], NULL, 10);
	for (int i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, client, NULL)) return 2;
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	printf("%ld requests, %ld failed%s, longest wait %ld ms\n", asked, failed, first, longest_ms);
	return 0;
}
