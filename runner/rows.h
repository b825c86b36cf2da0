#ifndef RUNNER_ROWS_H
#define RUNNER_ROWS_H

#include "lib/err.h"
#include "runner/plan/plan.h"
#include "runner/store/store.h"

/* From a plan to a build's rows. */

/* Is there a system here for this job? A .travis.yml may ask for macOS, Windows and FreeBSD. */
int rows_runs_here(const struct job_spec *j);

/* rows_add - the event's build.
 *  in   plan      NULL: there is none, and reason says why
 *       left_out  NULL, or for each job why it is not to be run, NULL: it is
 *  ret  as store_build_add() */
int rows_add(struct store *st, int64_t event_id, const struct plan *plan, const char *reason,
	     const char *const *left_out, int64_t *build_id_r, struct err *e) MUST_USE;

#endif
