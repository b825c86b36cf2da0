#ifndef RUNNER_DEPLOYPATH_H
#define RUNNER_DEPLOYPATH_H

#include "lib/err.h"
#include "lib/vec.h"
#include "runner/home.h"

/* Which deployment repositories on this box the jobs of a repository may publish to. A push to a path runs that
 * repository's hooks as the runner's user, and its path comes from a `.ci.yml`, which may be a stranger's: so none may
 * be named there that the box's owner did not allow. The allowed ones are in repos/<id>/deploy-paths, a real path a
 * line; a line taken away is a permission taken away. */

/* deploypath_real - the one form in which paths are compared.
 *  in   path    a path or file:// URL, for `name` (of the source repository, in messages)
 *  out  real_r  caller frees
 *  err  ERR_MISSING; ERR_INPUT no path, no bare repository; ERR_DENIED below the runner's state or cache, where jobs'
 *       files are */
int deploypath_real(const struct home *h, const char *path, char **real_r, struct err *e) MUST_USE;

/* deploypath_allow - add a path as deploypath_real gave it. */
int deploypath_allow(const struct home *h, int64_t repo_id, const char *real, struct err *e) MUST_USE;

/* deploypath_check - may a job of the repository publish to this remote?
 *  in   name    of the repository, for the message
 *  out  real_r  may be NULL; for a path, what is to be used in its place (caller frees), NULL where the remote is none
 *  err  ERR_DENIED, with the command that allows it; ERR_INPUT not a remote */
int deploypath_check(const struct home *h, int64_t repo_id, const char *name, const char *remote, char **real_r,
		     struct err *e) MUST_USE;

#endif
