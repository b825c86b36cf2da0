/* What comes from outside, as text: request lines, the record, the command line; and what is said back. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "supervise.h"

int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

__attribute__((format(printf, 1, 2))) void say(const char *f, ...)
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

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *f, ...)
{
	char line[600];
	va_list ap;
	va_start(ap, f);
	vsnprintf(line, sizeof line, f, ap);
	va_end(ap);
	dprintf(2, "slipway-supervise: %s\n", line);
	exit(1);
}

void shut(int *fd)
{
	if (*fd >= 0) close(*fd);
	*fd = -1;
}

__attribute__((format(printf, 2, 3))) int answer(int *fd, const char *f, ...)
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

/* Splits at tabs, in place; line[len] must be writable. -1: a control character, a NUL, or too many fields. */
int fields_split(char *line, size_t len, struct fields *f)
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

int id_ok(const char *id)
{
	size_t n = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	return n > 0 && n < 65 && id[n] == '\0' && id[0] != '.' && id[0] != '-';
}

int number(const char *text, long min, long max, long *n_r)
{
	char *end;
	errno = 0;
	long n = strtol(text, &end, 10);
	if (end == text || *end != '\0' || errno != 0 || n < min || n > max) return -1;
	*n_r = n;
	return 0;
}

/* "127.0.0.1:80" or "[::1]:80"; numbers only, a static program cannot ask a name server well. */
int address_parse(const char *text, struct sockaddr_storage *a, socklen_t *len_r)
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
