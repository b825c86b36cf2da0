#ifndef RUNNER_PUBLISH_FORWARD_H
#define RUNNER_PUBLISH_FORWARD_H

#include "lib/err.h"
#include "lib/json.h"

/* `latest` moves forward only. It stays
 *   - where the publication was told not to move it
 *   - at a commit that is newer in the source's history
 *   - at an image of another repository, branch or cell: the path is that one's until its `latest` is removed by hand
 *   - where neither commit is behind the other (a rewritten history, a commit that is gone) at the one whose event came
 *     later; where no event is known, the publication that is asked for now counts as later */
struct forward {
	const char *named;   /* what `latest` names; "": nothing */
	const json_t *there; /* the manifest of that image; NULL: it has none */
	const json_t *ours;  /* of the image that is published */
	const char *mirror;  /* bare mirror of the source; NULL: ancestry is not asked */
	int wanted;          /* it may move at all */
};

/* forward_may_move - 1: it moves; 0: it stays, *note_r says why (caller frees); err ERR_SYS the mirror cannot be read
 */
int forward_may_move(const struct forward *f, char **note_r, struct err *e) MUST_USE;

#endif
