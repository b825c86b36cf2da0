/* Error values, and the allocation that never returns NULL. */
#include "lib/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *err_kind_name(enum err_kind kind)
{
	switch (kind) {
	case ERR_NONE: return "none";
	case ERR_INPUT: return "input";
	case ERR_DENIED: return "denied";
	case ERR_MISSING: return "missing";
	case ERR_BUSY: return "busy";
	case ERR_REMOTE: return "remote";
	case ERR_SYS: return "system";
	}
	die("unknown error kind %d", (int)kind);
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	e->kind = kind;
	e->sys_errno = 0;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return -1;
}

int err_sys(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	size_t n;

	e->kind = saved == ENOENT ? ERR_MISSING : ERR_SYS;
	e->sys_errno = saved;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", strerror(saved));
	return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char was[sizeof(e->text)];
	va_list ap;
	size_t n;

	memcpy(was, e->text, sizeof(was));
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof(e->text) - n, ": %s", was);
	return -1;
}

_Noreturn void die_at(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

void *xmalloc(unsigned long size)
{
	void *p = malloc(size ? size : 1);

	if (!p) die("out of memory (%lu bytes)", size);
	return p;
}

void *xcalloc(unsigned long n, unsigned long size)
{
	void *p = calloc(n ? n : 1, size ? size : 1);

	if (!p) die("out of memory (%lu x %lu bytes)", n, size);
	return p;
}

void *xrealloc(void *old, unsigned long size)
{
	void *p = realloc(old, size ? size : 1);

	if (!p) die("out of memory (%lu bytes)", size);
	return p;
}

char *xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, unsigned long n)
{
	size_t len = strnlen(s, n);
	char *p = xmalloc(len + 1);

	memcpy(p, s, len);
	p[len] = '\0';
	return p;
}

char *xvasprintf(const char *fmt, va_list ap)
{
	char *s;

	if (vasprintf(&s, fmt, ap) < 0) die("out of memory (formatting)");
	return s;
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = xvasprintf(fmt, ap);
	va_end(ap);
	return s;
}

void free_p(void *p)
{
	void **pp = p;

	free(*pp);
	*pp = NULL;
}
