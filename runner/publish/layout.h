#ifndef RUNNER_PUBLISH_LAYOUT_H
#define RUNNER_PUBLISH_LAYOUT_H

#include "lib/buf.h"
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
	const char *path, *commit;
	const struct layout_file *files; /* to <path>/<commit>/ */
	size_t nfiles;
	const struct layout_file *top; /* to <path>/ */
	size_t ntop;
	const struct vec
		*dropped;       /* files of <path>/<commit>/ to take away, before others are put there; may be NULL */
	const struct vec *gone; /* folders of <path>/ to take away; may be NULL */
};

/* layout_latest - what <path>/latest names in `tree` (NULL: an empty one).
 *  out  commit_r  40 hex digits, or "" where there is no such file or it names no commit */
int layout_latest(git_repository *git, git_tree *tree, const char *path, char commit_r[41], struct err *e) MUST_USE;

/* layout_read - the file at `path` in `tree` (NULL: an empty one).
 *  out  0: read; 1: there is no regular file of that name */
int layout_read(git_repository *git, git_tree *tree, const char *path, struct buf *text, struct err *e) MUST_USE;

/* layout_folder - the folder at `path`; *sub_r stays NULL where there is none, or a file */
int layout_folder(git_repository *git, git_tree *tree, const char *path, git_tree **sub_r, struct err *e) MUST_USE;

/* layout_tree - `base` (NULL: nothing) with these files added and the folders that are gone taken away;
 * everything else stays as it is, modes too.
 *  err  ERR_INPUT a file is where a folder must be, or the other way round; ERR_SYS */
int layout_tree(git_repository *git, const git_tree *base, const struct layout *l, git_oid *tree_r,
		struct err *e) MUST_USE;

#endif
