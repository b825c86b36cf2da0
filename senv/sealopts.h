#ifndef SENV_SEALOPTS_H
#define SENV_SEALOPTS_H

#include <getopt.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "senv/seal.h"

/* The options of every command that seals, and where the sealed value goes. */
struct seal_opts {
	const char *key;    /* -k */
	const char *prefix; /* -p */
	const char *ci;     /* --for */
	const char *scope;  /* --scope */
	const char *add;    /* --add */
	int64_t payload;    /* -c; 0: not given */
	unsigned char pub[SEAL_KEY_BYTES];
	int have_pub; /* key was looked up: it may stand behind a URL, and is asked for once */
};

#define SEAL_OPTS_SHORT "k:p:c:"
#define SEAL_OPTS_LONG                                                                                                 \
	{"key", required_argument, NULL, 'k'}, {"prefix", required_argument, NULL, 'p'},                               \
		{"chunk-size", required_argument, NULL, 'c'}, {"for", required_argument, NULL, 'f'},                   \
		{"scope", required_argument, NULL, 's'},                                                               \
	{                                                                                                              \
		"add", required_argument, NULL, 'a'                                                                    \
	}

/* The option c that getopt_long just gave. Returns -1 when it is none of these, or its value is wrong. */
int seal_opts_take(struct seal_opts *o, int c, char **argv);

/* -1: no key, or two sizes. */
int seal_opts_check(const struct seal_opts *o);

/* seal_opts_deliver - seals the value and adds it to the file of --add, or prints it as variables. What the value is
 * not fit for (masking, an environment variable) is said on stderr. */
int seal_opts_deliver(struct seal_opts *o, const char *name, const struct secret *value, struct err *e) MUST_USE;

#endif
