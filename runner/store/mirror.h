#ifndef RUNNER_STORE_MIRROR_H
#define RUNNER_STORE_MIRROR_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"

/* The bare mirror of a source repository on this box: where `.ci.yml` is read from and every job's source tree
 * comes from. Nothing in it is ever checked out here and none of its hooks run. */

/* mirror_fetch - make the mirror hold `commit`, creating it where there is none.
 *  in   dir     the bare repository
 *       url     path, ssh:// or https:// address of the source
 *       ref     where the commit was pushed to; fetched first
 *       commit  40 hex digits
 *       keep    name below refs/slipway/ that keeps the commit from being pruned
 *  err  ERR_REMOTE git's last words (try again later); ERR_MISSING the repository has no such commit (any more) */
int mirror_fetch(const char *dir, const char *url, const char *ref, const char *commit, const char *keep,
		 struct err *e) MUST_USE;

/* mirror_fetch_merge - what a pull request's ref names now, if that is a merge of `head` or head itself.
 *  out  commit_r  it; the caller frees
 *  err  ERR_BUSY it is a merge of something else: not made yet, not to be made (conflicts), or head was pushed over;
 *       the others as above */
int mirror_fetch_merge(const char *dir, const char *url, const char *ref, const char *head, const char *keep,
		       char **commit_r, struct err *e) MUST_USE;

/* mirror_file - the bytes of one file at a commit. err ERR_MISSING; ERR_INPUT larger than the buffer's ceiling */
int mirror_file(const char *dir, const char *commit, const char *path, struct buf *b, struct err *e) MUST_USE;

#endif
