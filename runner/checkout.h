#ifndef RUNNER_CHECKOUT_H
#define RUNNER_CHECKOUT_H

#include <stdint.h>

#include "lib/err.h"
#include "runner/home.h"
#include "runner/sandbox/sandbox.h"

/* A commit's work tree with its small .git, made once (in a box of its own, sandbox_put_git) and shared by all jobs
 * that build the commit: read-only, each job writes to an overlay over it. state/trees/<name>/{lock,tree,box/}; whoever
 * uses a tree holds its lock shared, so one that is in use is never removed. A tree is not synced to the disk: its name
 * tells the boot it was made in, and those of another boot are not used. */

struct checkout {
	char *name; /* of the tree, below `trees` */
	int lock;   /* -1: none */
};

#define CHECKOUT_INIT                                                                                                  \
	{                                                                                                              \
		NULL, -1                                                                                               \
	}

struct checkout_want {
	int64_t repo_id;
	const char *mirror, *commit;
	int depth;                    /* as sandbox_git has it */
	struct sandbox_limits limits; /* while it is made */
	int abort_fd;                 /* as sandbox_opts has it; also while another makes it */
};

char *checkout_folder(const struct home *h);

/* checkout_ensure - the tree, made by us where it is not there; err as sandbox_put_git, ERR_BUSY stopped */
int checkout_ensure(const struct home *h, const struct checkout_want *w, struct checkout *c_r, struct err *e) MUST_USE;

/* checkout_release - not used by us any more. last: nobody is expected to want it again, remove it if it is free */
void checkout_release(const struct home *h, struct checkout *c, int last);

/* checkout_sweep - remove trees that nobody uses: those not used for so long, those of another boot, halves. */
void checkout_sweep(const struct home *h, int64_t idle_ms);

#endif
