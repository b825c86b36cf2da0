#ifndef RUNNER_REPORT_REPORT_H
#define RUNNER_REPORT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/json.h"
#include "runner/store/store.h"

/* Builds as people and programs see them. Text is appended to a buffer; nothing here prints or looks at a clock. */

/* The build with its jobs, as the API and `runner status --json` give it. */
json_t *report_build_json(const struct build_row *b, const struct job_row *jobs, size_t njobs);

/* One line for the build: "demo/site build 3  main  1a2b3c4d  passed  12.3 s". Control characters of commit messages
 * and names are replaced: they come from strangers. */
void report_build_line(const struct build_row *b, int64_t now_ms, struct buf *out);

/* One line for an event: "event 7  demo/site  main  1a2b3c4d  new  next try in 30 s: cannot fetch …". */
void report_event_line(const struct event_row *r, int64_t now_ms, struct buf *out);
json_t *report_event_json(const struct event_row *r);

/* One line for a job: number, name, state, time, what it is doing or why it ended.
 *  in   colour  1: with ANSI colours */
void report_job_line(const struct build_row *b, const struct job_row *j, int64_t now_ms, int colour, struct buf *out);

/* The timeline of a build in milliseconds from from_ms (a push; 0: from when its event was stored): event stored,
 * planned, each job started, its first log line, published, finished. */
void report_timeline(const struct build_row *b, const struct job_row *jobs, size_t njobs, int64_t from_ms,
		     struct buf *out);

#endif
