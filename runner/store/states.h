#ifndef RUNNER_STORE_STATES_H
#define RUNNER_STORE_STATES_H

#include "runner/store/store.h"

/* The state tables: what may follow what. Anything else is a bug in this program. */

int job_state_may(enum job_state from, enum job_state to);
int build_state_may(enum build_state from, enum build_state to);
int event_state_may(enum event_state from, enum event_state to);

int job_state_parse(const char *name, enum job_state *state_r);
int build_state_parse(const char *name, enum build_state *state_r);
int event_state_parse(const char *name, enum event_state *state_r);

/* The states from which `to` may be reached, as SQL's list: "('running', 'publishing')". Caller frees. */
char *job_states_before(enum job_state to);

struct build_tally {
	int unfinished;                /* of all jobs */
	int canceled, errored, failed; /* of the required ones */
};
void build_tally_add(struct build_tally *t, enum job_state state, int allow_failure);
/* The final state; only when nothing is unfinished.
 * src  Travis' rule (travis-hub, build matrix): canceled, else errored, else failed, else passed; no required
 *      job at all is passed */
enum build_state build_tally_state(const struct build_tally *t);

#endif
