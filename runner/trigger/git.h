#ifndef RUNNER_TRIGGER_GIT_H
#define RUNNER_TRIGGER_GIT_H

#include <stddef.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/vec.h"

/* The few questions that triggers put to git, by running it. */

enum { GIT_LOCAL_MS = 60000, GIT_REMOTE_MS = 120000 };

/* Our environment without GIT_*: a hook's GIT_DIR would point everything at its repository. */
void git_strip_environment(struct vec *env);

/* git_environment - that, and what keeps git from asking questions, running "ext::" URLs and speaking another
 * language. */
void git_environment(struct vec *env);

/* git_run - run git so, to success. cwd: NULL for ours; out_r: what it prints, may be NULL.
 *  err  as child_check() */
int git_run(const char *const *argv, const char *cwd, int timeout_ms, struct buf *out_r, struct err *e) MUST_USE;

/* git_commit_of - the commit that an object is or, a tag, leads to. 1: it is no commit. The caller frees. */
int git_commit_of(const char *git_dir, const char *object, char **commit_r, struct err *e) MUST_USE;

/* git_message - a commit's message as event_text() has it. The caller frees. */
int git_message(const char *git_dir, const char *commit, char **message_r, struct err *e) MUST_USE;

/* git_ls_remote - the refs below refs/heads/ and refs/tags/ (tags as the commits behind them) of any URL.
 *  out  heads_r    names and commits in turns: "refs/heads/main", "0123…", …
 *       default_r  what HEAD points at ("refs/heads/main"); NULL if it says nothing. The caller frees
 *  err  ERR_REMOTE git's own words */
int git_ls_remote(const char *url, struct vec *heads_r, char **default_r, struct err *e) MUST_USE;

#endif
