#ifndef RUNNER_PERMITS_H
#define RUNNER_PERMITS_H

#include "lib/err.h"
#include "lib/vec.h"
#include "runner/home.h"

/* What the box's owner allows one repository, beyond what every `.ci.yml` may ask for: lists in repos/<id>/, an entry a
 * line. A line taken away is a permission taken away. */

#define PERMIT_DEPLOY_PATHS "deploy-paths"
#define PERMIT_SUBMODULES "submodule-urls"
#define PERMIT_WEBHOOKS "webhook-urls"
#define PERMIT_COMMANDS "notify-commands" /* NAME=PROGRAM; the last one of a name counts */

/* permit_list - out: the entries; none where there is no list */
int permit_list(const struct home *h, int64_t repo_id, const char *which, struct vec *entries_r,
		struct err *e) MUST_USE;

/* permit_add - the same entry twice is one. err ERR_INPUT it holds a control character, or is empty */
int permit_add(const struct home *h, int64_t repo_id, const char *which, const char *entry, struct err *e) MUST_USE;

#endif
