#ifndef RUNNER_JOB_CACHE_H
#define RUNNER_JOB_CACHE_H

#include <stdint.h>

/* Sizes that the person who runs the box may set. One that cannot be read is the default. */
int64_t cache_bytes_max(void);   /* SLIPWAY_MAX_CACHE: files of one cache together */
int64_t cache_bytes_quota(void); /* SLIPWAY_CACHE_QUOTA: a repository's caches, trusted and others each */
int64_t size_from_env(const char *name, int64_t otherwise);

#endif
