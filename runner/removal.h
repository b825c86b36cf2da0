#ifndef RUNNER_REMOVAL_H
#define RUNNER_REMOVAL_H

#include "runner/place.h"

/* Taking a repository away: its rows, then its folders.
 *
 *   repos/<id>/removing ─→ rows, in one transaction ─→ repos/<id>.removed ─→ (nothing)
 *
 * Killed after the rows are gone, the folders are removed by the same again, or by the next removal_sweep(). */

/*  in   force  what is not over is canceled and waited for, pushes that are to be built are forgotten
 *  err  ERR_MISSING no such repository; ERR_BUSY something of it is not over */
int removal_run(struct place *p, const char *name, int force, struct err *e) MUST_USE;

/* removal_sweep - the folders of repositories and jobs whose rows were removed. */
int removal_sweep(struct place *p, struct err *e) MUST_USE;

#endif
