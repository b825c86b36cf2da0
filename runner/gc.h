#ifndef RUNNER_GC_H
#define RUNNER_GC_H

#include <stdint.h>

#include "lib/loop.h"
#include "runner/home.h"
#include "runner/store/store.h"

/* Room on the disk of the state folder: what is kept of jobs that have ended, and how much must be free before another
 * one starts. The evicting itself is `runner gc` (cmd_gc.c), which the daemon runs as a child. */

struct gc_settings {
	int keep_jobs;              /* newest ended jobs of a repository whose folders stay; 0: all */
	int64_t disk_budget_bytes;  /* of all in the state folder together; 0: no limit */
	int64_t image_budget_bytes; /* as imagegc.h has it */
	int64_t min_free_bytes;     /* -1: 1 GiB, or a twentieth of the file system where that is less; 0: any */
};
#define GC_SETTINGS_INIT                                                                                               \
	{                                                                                                              \
		.keep_jobs = 100, .image_budget_bytes = -1, .min_free_bytes = -1                                       \
	}

/* getopt_long rows for both commands, and what takes them. err ERR_INPUT "--keep-jobs 'x': …" */
enum { GC_OPT_KEEP_JOBS = 1000, GC_OPT_DISK_BUDGET, GC_OPT_IMAGE_BUDGET, GC_OPT_MIN_FREE };
#define GC_OPTIONS                                                                                                     \
	{"keep-jobs", required_argument, NULL, GC_OPT_KEEP_JOBS},                                                      \
		{"image-budget", required_argument, NULL, GC_OPT_IMAGE_BUDGET},                                        \
	{                                                                                                              \
		"disk-budget", required_argument, NULL, GC_OPT_DISK_BUDGET                                             \
	}
int gc_take_option(int c, const char *value, struct gc_settings *s, struct err *e) MUST_USE;

/* gc_start - `runner gc` every hour, and after a job when the disk runs low; told on stderr.
 *  in  h, s  borrowed;  room  called when something may have become free */
struct gc *gc_start(struct loop *loop, const struct home *h, const struct gc_settings *s, void (*room)(void *arg),
		    void *arg);
void gc_stop(struct gc **g); /* takes NULL */

/* gc_admits - 1: there is room for a job; 0: not now, which queued jobs' `step` says, and stderr once */
int gc_admits(struct gc *g, struct store *s, struct err *e) MUST_USE;
void gc_job_ended(struct gc *g);

#endif
