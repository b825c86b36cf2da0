#ifndef RUNNER_PUBLISH_STAMP_H
#define RUNNER_PUBLISH_STAMP_H

#include <stdint.h>

#include "lib/err.h"

/* The trusted comment of a signature: whose, where and which publication it is, so that a signed file cannot be used
 * in another place or put back later.
 *   repository=me/site path=unix commit=<40 hex digits> sequence=7
 * In values, bytes other than A-Z a-z 0-9 and _ . / : @ + - are written %XX. */

enum { STAMP_MAX_TEXT = 1200 };
#define STAMP_MAX_SEQUENCE INT64_C(1000000000000000) /* what a double, and so any JSON reader, holds exactly */

struct stamp {
	char repository[STAMP_MAX_TEXT], path[STAMP_MAX_TEXT], commit[41];
	int64_t sequence; /* 1… */
};

/* Texts are cut at STAMP_MAX_TEXT. */
void stamp_set(struct stamp *s, const char *repository, const char *path, const char *commit, int64_t sequence);
char *stamp_text(const struct stamp *s); /* caller frees */
/* err ERR_INPUT "its comment tells no …"; members it does not know are skipped */
int stamp_parse(const char *text, struct stamp *s_r, struct err *e) MUST_USE;

#endif
