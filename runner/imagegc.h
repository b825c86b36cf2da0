#ifndef RUNNER_IMAGEGC_H
#define RUNNER_IMAGEGC_H

#include <stdint.h>

#include "lib/err.h"

/* Room in the folder of images, which several runners of one user may share: its budget is its own. Layers and pulls
 * that broke off go by when they were last used, those that somebody uses never; what killed makers left, and documents
 * that nobody asked for in a month, go always. */

struct imagegc {
	const char *cache;
	int64_t budget_bytes; /* -1: a fifth of the file system, at least 4 GiB; 0: no limit */
	int dry;              /* only tell */
};

/* imagegc_run - tells on stdout what it removes. 1: not all of it could be, which stderr tells */
int imagegc_run(const struct imagegc *g, struct err *e) MUST_USE;

#endif
