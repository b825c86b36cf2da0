#ifndef RUNNER_PUBLISH_KEYFD_H
#define RUNNER_PUBLISH_KEYFD_H

#include <stddef.h>

#include "lib/err.h"

/* A secret as a descriptor, for programs that read secrets from a file only: memory that no file system has, locked so
 * that it is not swapped, wiped at the end. A process that was given the descriptor opens /proc/self/fd/N. */

struct keyfd {
	int fd; /* CLOEXEC, mode 0600; -1: none */
	void *map;
	size_t len;
};
#define KEYFD_INIT                                                                                                     \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}

/* keyfd_make - of the parts, one after the other; a NULL ends them. */
int keyfd_make(struct keyfd *k, const char *const *parts, struct err *e) MUST_USE;
void keyfd_release(struct keyfd *k);

#endif
