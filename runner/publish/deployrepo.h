#ifndef RUNNER_PUBLISH_DEPLOYREPO_H
#define RUNNER_PUBLISH_DEPLOYREPO_H

#include "lib/err.h"
#include "lib/secret.h"
#include "runner/publish/git2.h"
#include "runner/publish/publish.h"
#include "runner/publish/remote.h"

/* One branch of a deployment repository, and this box's bare clone of it: shallow, and without files but those that
 * were asked for, so that only new objects travel. The clone is a cache, made anew when it is damaged or large. One
 * process uses a clone at a time; others wait in deployrepo_open. */

struct deployrepo;

struct deployrepo_opts { /* all borrowed until close */
	const struct remote *remote;
	const char *branch;
	const char *cache;        /* folder of all clones */
	const char *work;         /* a folder of our own, absolute */
	const char *known_hosts;  /* OpenSSH's form, absolute; made when it is not there */
	const struct secret *key; /* as deploykey_prepare or _token leaves it; NULL for a path */
	int stall_s;              /* what moves nothing for so long is given up */
	int64_t until_ms;         /* of clock_mono_ms: another publisher of this box is waited for; 0: for ever */
	publish_say_fn *say;
	void *arg;
};

int deployrepo_open(const struct deployrepo_opts *o, struct deployrepo **d_r, struct err *e) MUST_USE;
void deployrepo_close(struct deployrepo **d);
git_repository *deployrepo_git(struct deployrepo *d);

/* deployrepo_tip - connect, and learn what the branch names now; its commit and trees are in the clone afterwards, its
 * files may be. out  tip_r  all zero: there is no such branch (yet) err  ERR_DENIED host key changed, deploy key
 * refused; ERR_BUSY the connection failed */
int deployrepo_tip(struct deployrepo *d, git_oid *tip_r, struct err *e) MUST_USE;

/* deployrepo_need - get those of the tip's files that are not in the clone.
 *  out  1: the branch has moved meanwhile, and they could not be had: take the tip again
 *  err  as deployrepo_tip */
int deployrepo_need(struct deployrepo *d, const git_oid *blobs, size_t n, struct err *e) MUST_USE;

/* deployrepo_deepen - get more of the tip's history. 1: there is no more */
int deployrepo_deepen(struct deployrepo *d, struct err *e) MUST_USE;

/* deployrepo_push - make the branch name this commit, whose parent is the tip that deployrepo_tip told.
 *  out  0: done; 1: somebody was faster, take the tip again
 *  err  as deployrepo_tip; ERR_REMOTE refused, with the remote's words, a hook's too */
int deployrepo_push(struct deployrepo *d, const git_oid *commit, struct err *e) MUST_USE;

/* Of the push before: the remote's word about the branch, and what else it said ("a; b"). Borrowed until the next. */
const char *deployrepo_status(const struct deployrepo *d);
const char *deployrepo_words(const struct deployrepo *d);

#endif
