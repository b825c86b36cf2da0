#ifndef RUNNER_STORE_MIRROR_GIT_H
#define RUNNER_STORE_MIRROR_GIT_H

#include "runner/store/mirror.h"

/* What mirror.c and mirror_mend.c share. All of it is called with the mirror's lock held. */

enum mirror_refusal {
	REFUSED_NONE,
	REFUSED_NO_REF,    /* the remote answered: it has no such ref */
	REFUSED_NO_COMMIT, /* the remote answered: it has no such commit, or hands it to nobody */
};

struct mirror_run { /* all of it may be left out */
	int limit_ms;
	int anonymous; /* https:// only, and nothing of this box's user: no keys, helpers or configuration */
	const struct buf *input;
	struct buf *out;
	enum mirror_refusal *refusal_r;
};
/* mirror_git - run git on the mirror. err ERR_REMOTE with the first line that says what went wrong */
int mirror_git(const char *dir, const char *const *args, const struct mirror_run *how, struct err *e) MUST_USE;

/* The mirror, made where there is none, and locked while lock_r is open. err ERR_BUSY */
int mirror_open_locked(const char *dir, int *lock_r, struct err *e) MUST_USE;

/* Does some ref of ours lead to the commit? */
int mirror_has(const char *dir, const char *commit);

int mirror_init(const char *dir, struct err *e) MUST_USE;

/* mirror_bring - w->ref or, where it does not reach w->commit, that commit itself from w->url to refs/slipway/<keep> in
 * dir. A ref there is only made by a fetch, after git saw that nothing behind it is missing. Errors as mirror_fetch().
 */
int mirror_bring(const char *dir, const struct mirror_want *w, struct err *e) MUST_USE;

/* Removes what a git that was killed or ran out of disk left: half packs, locks of nobody. */
void mirror_tidy(const char *dir, const char *keep);

/* Does the remote answer, and is something missing here? Then what failed is the mirror's fault. */
int mirror_is_damaged(const char *dir, const char *url);

/* mirror_renew - a new mirror in the place of a damaged one, which is kept beside it as <dir>.broken. Nothing is moved
 * before the new one has what is wanted; what else was kept comes along as far as it can still be had. */
int mirror_renew(const struct mirror_want *w, struct err *e) MUST_USE;

#endif
