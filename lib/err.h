#ifndef LIB_ERR_H
#define LIB_ERR_H

#include <stdarg.h>

/* Errors are small values on the caller's stack. A function that can fail takes a `struct err *e` last,
 * returns 0 or -1, and sets *e only when it fails. Code branches on the kind, never on the text. */

#define MUST_USE __attribute__((warn_unused_result))

enum err_kind {
	ERR_NONE,
	ERR_INPUT,   /* what a person or a peer gave us is wrong: configuration, arguments, a request */
	ERR_DENIED,  /* a signature, key, scope or permission says no */
	ERR_MISSING, /* the thing named is not there */
	ERR_BUSY,    /* somebody else holds it; the same call may work later */
	ERR_REMOTE,  /* a program or service we rely on failed */
	ERR_SYS,     /* the system refused: errno is set in sys_errno */
};

struct err {
	enum err_kind kind;
	int sys_errno; /* 0 where no system call failed */
	char text[1000];
};

/* Name of a kind as it stands in JSON answers: "input", "denied", ... */
const char *err_kind_name(enum err_kind kind);

/* err_set - fill *e; always returns -1, so that `return err_set(...)` reads well. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* err_sys - ERR_SYS with errno, and ": <strerror>" put after the text; ENOENT gives ERR_MISSING. Returns -1. */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* err_wrap - put "<text>: " before what *e says. Returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* die - a broken invariant or no memory: print file:line and abort. Never for anything from outside. */
#define die(...) die_at(__FILE__, __LINE__, __VA_ARGS__)
_Noreturn void die_at(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Allocation that cannot fail: no memory ends the process (the queue is durable, a crash is a restart). */
void *xmalloc(unsigned long size) __attribute__((malloc));
void *xcalloc(unsigned long n, unsigned long size) __attribute__((malloc));
void *xrealloc(void *p, unsigned long size);
char *xstrdup(const char *s) __attribute__((malloc));
char *xstrndup(const char *s, unsigned long n) __attribute__((malloc));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Frees *p and leaves NULL; for `_cleanup_free_ char *s = NULL;`. */
void free_p(void *p);
#define _cleanup_free_ __attribute__((cleanup(free_p)))

/* Hands over what a clean-up variable owns. */
#define steal(p)                                                                                                       \
	__extension__({                                                                                                \
		__typeof__(p) stolen_ = (p);                                                                           \
		(p) = NULL;                                                                                            \
		stolen_;                                                                                               \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
