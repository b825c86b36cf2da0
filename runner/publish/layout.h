#ifndef RUNNER_PUBLISH_LAYOUT_H
#define RUNNER_PUBLISH_LAYOUT_H

#include "lib/err.h"
#include "lib/vec.h"
#include "runner/publish/git2.h"

/* The tree of a deployment repository, built from git objects: no work tree. */

struct layout_file {
	const char *name; /* borrowed */
	git_oid blob;
	unsigned mode; /* 0755 or 0644 */
};

struct layout {
	const char *path, *commit; /* the folder that the files go to: <path>/<commit> */
	const struct layout_file *files;
	size_t nfiles;
	int set_latest;         /* <path>/latest names `commit` afterwards */
	const struct vec *gone; /* folders under `path` to take away; may be NULL */
};

/* layout_latest - what <path>/latest names in `tree` (NULL: an empty one).
 *  out  commit_r  40 hex digits, or "" where there is no such file or it names no commit */
int layout_latest(git_repository *git, git_tree *tree, const char *path, char commit_r[41], struct err *e) MUST_USE;

/* layout_tree - `base` (NULL: nothing) with these files added and the folders that are gone taken away;
 * everything else stays as it is, modes too.
 *  err  ERR_INPUT a file is where a folder must be, or the other way round; ERR_SYS */
int layout_tree(git_repository *git, const git_tree *base, const struct layout *l, git_oid *tree_r,
		struct err *e) MUST_USE;

#endif
