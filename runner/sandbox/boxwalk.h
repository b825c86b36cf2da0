#ifndef RUNNER_SANDBOX_BOXWALK_H
#define RUNNER_SANDBOX_BOXWALK_H

#include <sys/stat.h>

#include "runner/sandbox/boxcache.h"

/* What boxcache.c and boxpack.c share: the walk over cached folders. */

/* One file, link or folder. A folder comes behind what is in it. */
struct box_walk_item {
	const char *path; /* "0/bin/x"; "0" for the folder itself */
	int dir;          /* the folder it lies in, and its name there; for folders themselves: dir alone */
	const char *name; /* NULL: dir is it */
	const struct stat *st;
	const char *link; /* a symbolic link's target; else NULL */
};
typedef int box_walk_fn(void *arg, const struct box_walk_item *it, struct err *e);

/* box_walk - all that is in the folders, in the order of their names; links are not followed, and what is neither file,
 * link nor folder is counted and left out. Fills in r->folders, files, bytes, left_out. err ERR_INPUT beyond the limits
 */
int box_walk(int root, const char *const *folders, size_t n, const struct box_cache_limits *l, box_walk_fn *fn,
	     void *arg, struct box_cache_report *r, struct err *e) MUST_USE;

/* box_walk_mark - the mark of what is there, and the counts. */
int box_walk_mark(int root, const char *const *folders, size_t n, const struct box_cache_limits *l,
		  struct box_cache_report *r, struct err *e) MUST_USE;

#endif
