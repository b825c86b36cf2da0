#ifndef RUNNER_RECONCILE_H
#define RUNNER_RECONCILE_H

#include <stdint.h>

#include "lib/loop.h"

/* `runner reconcile` at the start of the daemon and every so often, as a child of its own that dies with it: asking
 * every repository's server may take minutes. What goes wrong is said on stderr and tried again the next time. */
struct reconciler;

/* every_ms 0: never. state is borrowed. */
struct reconciler *reconciler_start(struct loop *loop, const char *state, int64_t every_ms);
void reconciler_stop(struct reconciler **r); /* takes NULL */

#endif
