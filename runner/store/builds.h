#ifndef RUNNER_STORE_BUILDS_H
#define RUNNER_STORE_BUILDS_H

#include "runner/store/store.h"

/* What jobs do to their build, within the transaction that changes the job. */
int builds_start(struct store *s, int64_t build_id, int64_t now_ms, struct err *e) MUST_USE;
/* Its final state, if no job is unfinished any more. */
int builds_settle(struct store *s, int64_t build_id, int64_t now_ms, struct err *e) MUST_USE;

/* notices.c, within the caller's transaction: the build's waiting notices are due, or unwanted. */
int notices_settle(struct store *s, int64_t build_id, enum build_state state, int64_t now_ms, struct err *e) MUST_USE;

#endif
