#ifndef RUNNER_STORE_MIRROR_H
#define RUNNER_STORE_MIRROR_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

/* The bare mirror of a source repository on this box: where `.ci.yml` is read from and every job's source tree
 * comes from. Nothing in it is ever checked out here and none of its hooks run.
 *
 * What is fetched is named refs/slipway/<keep>; a commit is trusted only where such a ref leads to it, since git makes
 * one after it has seen that all behind it is there. That an object exists says nothing: a fetch may have been cut off.
 * The source's own names are not used for refs, as they may come to be in each other's way (a, then a/b); tags, which
 * builds ask for, are. */

struct mirror_want {
	const char *dir;    /* the bare repository; made where there is none */
	const char *url;    /* path, ssh:// or https:// address of the source */
	const char *ref;    /* where the commit was pushed to; fetched first */
	const char *commit; /* 40 hex digits */
	const char *keep;   /* name below refs/slipway/ that keeps it from being pruned */
};

/* mirror_fetch - make the mirror hold w->commit.
 *  ret  1: it does, after the mirror was found damaged and made anew
 *  err  ERR_MISSING the repository answered, and has no such commit (any more); ERR_BUSY another process had the mirror
 *       for too long; ERR_REMOTE anything else, git's words: try again later */
int mirror_fetch(const struct mirror_want *w, struct err *e) MUST_USE;

/* mirror_fetch_merge - what a pull request's ref names now, if that is a merge of w->commit or that itself.
 *  out  commit_r  it; the caller frees
 *  ret  as above
 *  err  ERR_MISSING the repository answered: its ref is a merge of something else, or is not there (not made yet, not
 *       to be made because of conflicts, or pushed over); the others as above */
int mirror_fetch_merge(const struct mirror_want *w, char **commit_r, struct err *e) MUST_USE;

/* mirror_file - the bytes of one file at a commit that was fetched.
 *  err  ERR_MISSING the commit has no such file; ERR_INPUT larger than the buffer's ceiling; ERR_REMOTE an object that
 *       should be there is not, or is damaged: mirror_mend() */
int mirror_file(const char *dir, const char *commit, const char *path, struct buf *b, struct err *e) MUST_USE;

/* mirror_mend - make the mirror anew if something is missing in it. 1: it was; 0: nothing is wrong with it, or the
 * source does not answer now. err as mirror_fetch() */
int mirror_mend(const struct mirror_want *w, struct err *e) MUST_USE;

/* mirror_prune - drop the refs refs/slipway/events/<id> but those of `ids`, once there are more than twice as many.
 * Their objects stay until git collects them. */
int mirror_prune(const char *dir, const int64_t *ids, size_t n, struct err *e) MUST_USE;

/* mirror_pack - make few packs of many: each fetch brings one. Nothing is done while another process has the mirror. */
int mirror_pack(const char *dir, struct err *e) MUST_USE;

#endif
