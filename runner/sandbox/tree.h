#ifndef RUNNER_SANDBOX_TREE_H
#define RUNNER_SANDBOX_TREE_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

/* Files in a tree that strangers write in, from outside of it: whatever links they lay, no path leads out.
 * Paths are the tree's own ("/src/x" and "src/x" are the same). src: openat2(2) */

/* tree_mkdirs - a folder and its parents (0755). Links on the way are followed inside of the tree.
 *  in   root  descriptor of the tree's top;  out fd_r  O_PATH, may be NULL */
int tree_mkdirs(int root, const char *path, int *fd_r, struct err *e) MUST_USE;

/* tree_put_file - a new file in the place of what was there (a link there is replaced, not followed), parents made.
 *  in   data  descriptor to read from */
int tree_put_file(int root, const char *path, int data, mode_t mode, struct err *e) MUST_USE;

/* tree_has_text - is that a regular file with exactly this text? Links on the way are followed inside of the tree. */
int tree_has_text(int root, const char *path, const char *text);

/* tree_put_tar - unpack folders, files, symbolic and hard links below path, owned by us, no set-id bits. Within path
 * no link is followed at all. err ERR_INPUT: a broken stream, an absolute name or "..", a device */
int tree_put_tar(int root, int tar, const char *path, struct err *e) MUST_USE;

/* tree_collect - regular files below base whose path from there matches glob (fnmatch, FNM_PATHNAME), sorted; no link
 * is followed anywhere. Nothing found is no error.
 *  in   fn  gets a descriptor that stays ours; -1 stops
 *  err  ERR_INPUT a glob that is absolute, empty or has ".."; more than TREE_MAX_FOUND files */
typedef int tree_file_fn(void *arg, const char *path, int fd, mode_t mode, uint64_t size, struct err *e);
int tree_collect(int root, const char *base, const char *glob, tree_file_fn *fn, void *arg, struct err *e) MUST_USE;

enum { TREE_MAX_FOUND = 20000 };

#endif
