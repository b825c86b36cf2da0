#ifndef RUNNER_PUBLISH_SAME_H
#define RUNNER_PUBLISH_SAME_H

#include <stdint.h>

#include "lib/err.h"

/* Is a file built again the one that was published? Byte by byte, the published one unpacked on the way. */

enum { SAME_PLACES = 8 };
struct same {
	uint64_t size[2];         /* as published, as rebuilt */
	uint64_t bytes;           /* that differ, below the shorter one's end */
	uint64_t at[SAME_PLACES]; /* offsets of the first of them */
	unsigned char was[SAME_PLACES], is[SAME_PLACES];
	char sha256[2][65];
};

/* same_compare - `published`, packed by `packing` ("none": as it is), and `rebuilt`.
 *  in   most  bytes that it unpacks to; more are an error
 *  out  0: the same bytes; 1: they differ, as *s_r tells */
int same_compare(const char *published, const char *packing, uint64_t most, const char *rebuilt, struct same *s_r,
		 struct err *e) MUST_USE;

#endif
