#ifndef RUNNER_SNAPSHOT_H
#define RUNNER_SNAPSHOT_H

#include "lib/err.h"

/* A folder as it stands, as one commit in a bare repository of our own. Of a git working tree: what is tracked, what is
 * neither tracked nor ignored, every change that is not committed. The user's repository is read and nothing else: its
 * index is copied, new objects go to the new repository, which borrows the others. A folder that is in no repository
 * becomes a commit without a parent. */

struct snapshot_want {
	const char *dir;     /* where the user stands */
	const char *commit;  /* this revision and no changes; NULL: the working tree */
	const char *bare;    /* the repository to make, */
	const char *scratch; /* and an existing folder for our copy of the index */
	const char *ref;     /* what the commit is named there */
};

struct snapshot {
	char *top;    /* of the working tree */
	char *commit; /* 40 hex digits */
	char *branch; /* NULL: none is checked out */
	char *origin; /* URL of the remote origin; NULL: none */
	int changed;  /* the commit is one of ours: it differs from what is checked out */
};

/*  err ERR_INPUT no such revision, git's own words where it does not want to; ERR_SYS */
int snapshot_take(const struct snapshot_want *w, struct snapshot *s_r, struct err *e) MUST_USE;
void snapshot_release(struct snapshot *s);

/* snapshot_top - the working tree that dir is in; where there is none, dir itself. The caller frees. err as above */
int snapshot_top(const char *dir, char **top_r, struct err *e) MUST_USE;

#endif
