/* The states and what may follow what.
 *
 *   job    queued → running → publishing → passed
 *             ↑        │ │         │ │
 *             └─ lost ─┴─│─────────┘ └→ errored
 *                        └→ passed, failed, errored, canceled;   queued → canceled
 *   A job that nothing here can run is skipped from the start.
 *   A publish is not canceled: half of a release is worse than all of it.
 *
 *   build  queued → running → passed | failed | errored | canceled
 *   event  new → built | skipped | rejected
 */
#include "runner/store/states.h"

#include <string.h>

#include "lib/buf.h"

static const char *const job_names[] = {
	[JOB_QUEUED] = "queued", [JOB_RUNNING] = "running", [JOB_PUBLISHING] = "publishing", [JOB_PASSED] = "passed",
	[JOB_FAILED] = "failed", [JOB_ERRORED] = "errored", [JOB_CANCELED] = "canceled",     [JOB_SKIPPED] = "skipped",
};

static const char *const build_names[] = {
	[BUILD_QUEUED] = "queued", [BUILD_RUNNING] = "running", [BUILD_PASSED] = "passed",
	[BUILD_FAILED] = "failed", [BUILD_ERRORED] = "errored", [BUILD_CANCELED] = "canceled",
};

static const char *const event_names[] = {
	[EVENT_NEW] = "new",
	[EVENT_BUILT] = "built",
	[EVENT_SKIPPED] = "skipped",
	[EVENT_REJECTED] = "rejected",
};

static const struct {
	enum job_state from, to;
} job_moves[] = {
	{JOB_QUEUED, JOB_RUNNING},     /* claimed */
	{JOB_QUEUED, JOB_CANCELED},    /* before it began */
	{JOB_RUNNING, JOB_PUBLISHING}, /* script and boot proof passed */
	{JOB_RUNNING, JOB_PASSED},     /* nothing to publish */
	{JOB_RUNNING, JOB_FAILED},     /* the script said no */
	{JOB_RUNNING, JOB_ERRORED},    /* not run to its end, or lost too often */
	{JOB_RUNNING, JOB_CANCELED},   /* by the leader, or lost after it was asked to */
	{JOB_RUNNING, JOB_QUEUED},     /* lost */
	{JOB_PUBLISHING, JOB_PASSED},  /* published */
	{JOB_PUBLISHING, JOB_ERRORED}, /* could not be published, or lost too often */
	{JOB_PUBLISHING, JOB_QUEUED},  /* lost: publishing twice is publishing once */
};

static const struct {
	enum build_state from, to;
} build_moves[] = {
	{BUILD_QUEUED, BUILD_RUNNING},  {BUILD_QUEUED, BUILD_CANCELED},
	{BUILD_QUEUED, BUILD_PASSED}, /* every job canceled in the queue, none of them required */
	{BUILD_RUNNING, BUILD_PASSED},  {BUILD_RUNNING, BUILD_FAILED},
	{BUILD_RUNNING, BUILD_ERRORED}, {BUILD_RUNNING, BUILD_CANCELED},
};

static const struct {
	enum event_state from, to;
} event_moves[] = {
	{EVENT_NEW, EVENT_BUILT},
	{EVENT_NEW, EVENT_SKIPPED},
	{EVENT_NEW, EVENT_REJECTED},
};

#define IN_TABLE(table, a, b)                                                                                          \
	for (size_t i = 0; i < ARRAY_LEN(table); i++)                                                                  \
		if ((table)[i].from == (a) && (table)[i].to == (b)) return 1;                                          \
	return 0

int job_state_may(enum job_state from, enum job_state to)
{
	IN_TABLE(job_moves, from, to);
}

int build_state_may(enum build_state from, enum build_state to)
{
	IN_TABLE(build_moves, from, to);
}

int event_state_may(enum event_state from, enum event_state to)
{
	IN_TABLE(event_moves, from, to);
}

const char *job_state_name(enum job_state st)
{
	return job_names[st];
}

const char *build_state_name(enum build_state st)
{
	return build_names[st];
}

const char *event_state_name(enum event_state st)
{
	return event_names[st];
}

static int find_name(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name)) return (int)i;
	return -1;
}

int job_state_parse(const char *name, enum job_state *state_r)
{
	int i = find_name(job_names, ARRAY_LEN(job_names), name);

	if (i >= 0) *state_r = (enum job_state)i;
	return i < 0 ? -1 : 0;
}

int build_state_parse(const char *name, enum build_state *state_r)
{
	int i = find_name(build_names, ARRAY_LEN(build_names), name);

	if (i >= 0) *state_r = (enum build_state)i;
	return i < 0 ? -1 : 0;
}

int event_state_parse(const char *name, enum event_state *state_r)
{
	int i = find_name(event_names, ARRAY_LEN(event_names), name);

	if (i >= 0) *state_r = (enum event_state)i;
	return i < 0 ? -1 : 0;
}

int job_state_is_final(enum job_state st)
{
	for (size_t i = 0; i < ARRAY_LEN(job_moves); i++)
		if (job_moves[i].from == st) return 0;
	return 1;
}

int build_state_is_final(enum build_state st)
{
	for (size_t i = 0; i < ARRAY_LEN(build_moves); i++)
		if (build_moves[i].from == st) return 0;
	return 1;
}

char *job_states_before(enum job_state to)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1024);

	for (size_t i = 0; i < ARRAY_LEN(job_moves); i++)
		if (job_moves[i].to == to) buf_addf(&b, "%s'%s'", b.len ? ", " : "(", job_names[job_moves[i].from]);
	buf_adds(&b, ")");
	return buf_steal(&b);
}

void build_tally_add(struct build_tally *t, enum job_state state, int allow_failure)
{
	t->unfinished += !job_state_is_final(state);
	if (allow_failure) return;
	t->canceled += state == JOB_CANCELED;
	t->errored += state == JOB_ERRORED;
	t->failed += state == JOB_FAILED;
}

enum build_state build_tally_state(const struct build_tally *t)
{
	if (t->unfinished) die("state of a build with %d unfinished jobs", t->unfinished);
	return t->canceled ? BUILD_CANCELED : t->errored ? BUILD_ERRORED : t->failed ? BUILD_FAILED : BUILD_PASSED;
}
