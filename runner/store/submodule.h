#ifndef RUNNER_STORE_SUBMODULE_H
#define RUNNER_STORE_SUBMODULE_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/vec.h"

/* Submodules of a commit in a mirror: which there are, where from they may be fetched, and mirrors of their own. Their
 * names, paths and addresses are a stranger's: a name is never a path here, and an address counts only as
 * submodule_url() gives it. */

enum { SUBMODULES_MAX = 64 };

struct submodule {
	char *path;   /* below the tree that has it; no "", ".", ".." or ".git" among its parts */
	char *commit; /* that is asked for */
	char *url;    /* as .gitmodules has it; NULL: it does not say */
};
void submodules_free(struct submodule **list, size_t n);

/* submodule_list - by path.
 *  err  ERR_INPUT too many, a path that cannot be, a .gitmodules that git cannot read; ERR_REMOTE the mirror's fault */
int submodule_list(const char *mirror, const char *commit, struct submodule **list_r, size_t *n_r,
		   struct err *e) MUST_USE;

struct submodule_rules {
	const char *name;   /* of the repository, for the message */
	const char *source; /* the address that the tree with the submodule came from */
	const struct vec
		*allowed; /* beginnings of addresses that the box's owner allows this repository; whole parts */
	int stranger;     /* somebody else's .gitmodules: nothing is fetched with the runner's own keys */
};
/* submodule_url - where a submodule is fetched from. https:// from the host of the source, without a user name, is
 * always allowed; anything else must be on the list. Pure.
 *  in   written      as .gitmodules has it; ./ and ../ go by the source
 *  out  url_r        caller frees
 *       anonymous_r  1: without the runner's keys, helpers and configuration
 *  err  ERR_INPUT not an address of a repository; ERR_DENIED it must be allowed first
 *  src  gitmodules(5), "submodule.<name>.url" */
int submodule_url(const struct submodule_rules *rules, const char *written, char **url_r, int *anonymous_r,
		  struct err *e) MUST_USE;

/* submodule_permit_check - may this stand on such a list? err ERR_INPUT */
int submodule_permit_check(const char *url, struct err *e) MUST_USE;

/* submodule_fetch - make a mirror hold the commit. limit_ms is for all of it.
 *  err  ERR_MISSING it is not there (any more); ERR_BUSY, ERR_REMOTE as mirror_fetch() */
int submodule_fetch(const char *mirror, const char *url, const char *commit, int anonymous, int limit_ms,
		    struct err *e) MUST_USE;

#endif
