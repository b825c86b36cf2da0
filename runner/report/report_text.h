#ifndef RUNNER_REPORT_REPORT_TEXT_H
#define RUNNER_REPORT_REPORT_TEXT_H

#include "lib/buf.h"
#include "lib/json.h"

/* What the files of the report share. */

/* Text from outside on one line of a terminal: no control characters, not endless. NULL: nothing. */
void report_plain(struct buf *out, const char *s, size_t most);
json_t *report_text(const char *s); /* null for NULL and for what is no UTF-8 */
json_t *report_time(int64_t at_ms); /* null for 0 */

#endif
