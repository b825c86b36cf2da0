#ifndef RUNNER_PUBLISH_PREFETCH_H
#define RUNNER_PUBLISH_PREFETCH_H

#include "runner/publish/deployrepo.h"

/* prefetch - get the small files of the tip that turn.c and keep.c will read: pointers, lists, manifests. out, err as
 * deployrepo_need */
int prefetch(struct deployrepo *d, git_tree *tip, const struct publish_request *r, struct err *e) MUST_USE;

#endif
