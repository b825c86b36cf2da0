#ifndef RUNNER_SPARE_H
#define RUNNER_SPARE_H

#include <sys/types.h>

#include "lib/err.h"
#include "lib/loop.h"
#include "runner/home.h"
#include "runner/store/store.h"

/* The daemon's spare: a leader with box and container that waits for a job like the one before (job_spare.c), made when
 * nothing was started for a moment and a place is free. One at most; it is given up when none came for a while. */

struct spare;

/*  in  may  says that there is a place for one more job */
struct spare *spare_new(struct loop *loop, const struct home *h, int (*may)(void *arg), void *arg);
void spare_free(struct spare **s); /* waits until it is gone, and its box with it; takes NULL */

/* A job was started: the next may be like it. */
void spare_remember(struct spare *s, const struct job_row *row);

/* spare_give - have the spare lead this job.
 *  in   lock  the job's lock, locked; stays the caller's
 *  out  pid_r, pidfd_r  the caller's from here on
 *  ret  1 it does; 0 there is none, or none like it */
int spare_give(struct spare *s, const struct job_row *row, int lock, pid_t *pid_r, int *pidfd_r);

/* Removes what spares that were killed left. */
void spare_sweep(const struct home *h);

#endif
