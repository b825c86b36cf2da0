#ifndef TESTS_UNIT_RUNNER_H
#define TESTS_UNIT_RUNNER_H

/* For tests that need the whole runner: boxes are started by it, not by the test. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/child.h"

/* $BIN/slipway-runner, or bin/slipway-runner in the build folder that this test is in. */
static inline void unit_runner_path(char *path_r, size_t size)
{
	const char *bin = getenv("BIN"), *self = child_self();
	size_t len = strlen(self);

	for (int i = 0; i < 2; i++)
		while (len && self[--len] != '/') {}
	if (bin)
		snprintf(path_r, size, "%s/slipway-runner", bin);
	else
		snprintf(path_r, size, "%.*s/bin/slipway-runner", (int)len, self);
}

#endif
