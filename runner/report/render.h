#ifndef RUNNER_REPORT_RENDER_H
#define RUNNER_REPORT_RENDER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* A job's log as it comes, for a person: the marks of folds become headings, those of times go, and, in colour, the
 * commands and our own words stand out and a fold's end tells how long it took. Marks are "travis_fold:start:NAME" and
 * the like, ended by "\r\033[0K"; what only looks like one stays. All else is handed on at once, as it is. */
struct render;

struct render *render_new(int colour);
void render_free(struct render **r);

void render_feed(struct render *r, const void *data, size_t len, int64_t now_mono_ms, struct buf *out);
/* The rest; the output then ends with a whole line, and a new stream may begin. */
void render_end(struct render *r, struct buf *out);

#endif
