#ifndef RUNNER_PUBLISH_KEEP_H
#define RUNNER_PUBLISH_KEEP_H

#include "lib/err.h"
#include "lib/vec.h"
#include "runner/publish/git2.h"

/* Which images a path keeps. An image's place in the order is the newest commit of the branch's first-parent history
 * that added its folder or changed what is in it: nothing but the history itself says so, so that every publisher
 * comes to the same answer. Nothing is read as long as there are no more than `most` folders; else the walk ends as
 * soon as the newest ones are known. */
struct keep {
	const char *path;
	int most;              /* 0: all */
	const char *always[2]; /* commits whose folders stay, the newest; NULL or "": none. They count */
	/* The history is not here beyond some commit: get more. 1: there is no more; NULL: all is here. */
	int (*deeper)(void *arg, struct err *e);
	void *arg;
};

/* keep_choose - out: the names (40 hex digits) of the folders under `path` that are one too many, by name.
 *  err  also ERR_INPUT a line of `pins` or `holds` that is no commit: nothing may go then
 *  in   tip  of the branch, before the commit that is to be made; NULL: there is none yet */
int keep_choose(git_repository *git, const git_commit *tip, const struct keep *k, struct vec *gone_r,
		struct err *e) MUST_USE;

#endif
