#ifndef RUNNER_STORE_STORE_H
#define RUNNER_STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "runner/trigger/event.h"

/* The durable state: repositories, events, builds, jobs. SQLite in WAL mode with synchronous=FULL: when a call
 * that changes something returns 0, the change is on disk. Every process opens its own store; none crosses a
 * fork. Times are Unix milliseconds, 0 = not yet. Rows handed out are owned by the caller (*_release). */

struct store;

/* store_open - open or create, migrate to the newest schema. err ERR_SYS, ERR_INPUT (newer schema than ours) */
int store_open(const char *path, struct store **s_r, struct err *e) MUST_USE;
void store_close(struct store **s);

/* store_is_passing - 1: what failed may work when it is tried again later: another process held the lock for too long
 * (ERR_BUSY), or the disk is full (ERR_SYS with ENOSPC or EDQUOT). Nothing was changed by the call that failed. */
int store_is_passing(const struct err *e);

/* store_changes - a number that differs from the last one seen when any process changed the file. */
int store_changes(struct store *s, int64_t *version_r, struct err *e) MUST_USE;

/* --- repositories --- */
struct repo {
	int64_t id;
	char *name; /* "owner/name" */
	char *url;  /* where the sources are cloned from: a path, ssh:// or https:// */
	int64_t created_ms;
};
void repo_release(struct repo *r);
int store_repo_add(struct store *s, const char *name, const char *url, int64_t now_ms, int64_t *id_r,
		   struct err *e) MUST_USE; /* ERR_INPUT: it is there already, or a bad name */
int store_repo_find(struct store *s, const char *name, struct repo *r, struct err *e) MUST_USE; /* ERR_MISSING */
int store_repo_get(struct store *s, int64_t id, struct repo *r, struct err *e) MUST_USE;
int store_repo_list(struct store *s, struct repo **rows_r, size_t *n_r, struct err *e) MUST_USE; /* by name */
void repos_free(struct repo **rows, size_t n);
int store_repo_set_url(struct store *s, const char *name, const char *url,
		       struct err *e) MUST_USE; /* ERR_MISSING, ERR_INPUT */
/* store_repo_remove - its row and all that hang on it. with_events: also where events are not prepared yet.
 *  err ERR_BUSY something of it is not over; nothing is removed then */
int store_repo_remove(struct store *s, int64_t id, int with_events, struct err *e) MUST_USE;

/* --- states: one table; a change that is not in it is a bug (die) --- */
enum job_state {
	JOB_QUEUED,
	JOB_RUNNING,    /* a leader has it */
	JOB_PUBLISHING, /* script and boot proof passed; the publisher is at work */
	JOB_PASSED,
	JOB_FAILED,  /* the script said no */
	JOB_ERRORED, /* it could not be run to its end: set-up phase, image, timeout, boot proof, publish, lost too
			often */
	JOB_CANCELED,
	JOB_SKIPPED, /* there is nothing here that it could run on; counts for nothing */
};
enum build_state {
	BUILD_QUEUED, /* jobs exist, none has started */
	BUILD_RUNNING,
	BUILD_PASSED,
	BUILD_FAILED,
	BUILD_ERRORED, /* also: its .ci.yml could not be planned; `reason` says why */
	BUILD_CANCELED,
};
enum event_state {
	EVENT_NEW,      /* stored; to be prepared (fetched, planned) */
	EVENT_BUILT,    /* became the build in build_id, or folded into it */
	EVENT_SKIPPED,  /* nothing to do; `reason` says why */
	EVENT_REJECTED, /* cannot be built: fetch failed too often, …; `reason` says why */
};
const char *job_state_name(enum job_state st); /* "queued", … */
const char *build_state_name(enum build_state st);
const char *event_state_name(enum event_state st);
int job_state_is_final(enum job_state st);
int build_state_is_final(enum build_state st);

/* --- events --- */
struct event_row {
	int64_t id, repo_id;
	struct event ev;
	enum event_state state;
	int attempts; /* how often preparing it was begun */
	int failures; /* how often that failed, and said why: `reason`. The others were cut off */
	int refusals; /* of the failures: the source answered, and has not got it */
	int64_t next_try_ms;
	int64_t build_id; /* 0: none */
	char *reason;
	int64_t received_ms;
};
void event_row_release(struct event_row *r);

/* store_event_add - 0: stored, id_r is new; 1: this delivery was stored before, id_r is that row's.
 *  err ERR_MISSING: no repository of that name (nothing stored) */
int store_event_add(struct store *s, const struct event *ev, int64_t now_ms, int64_t *id_r, struct err *e) MUST_USE;
int store_event_get(struct store *s, int64_t id, struct event_row *r, struct err *e) MUST_USE;
/* The oldest event in EVENT_NEW with id > after; 1: there is none. */
int store_event_next_new(struct store *s, int64_t after, struct event_row *r, struct err *e) MUST_USE;
/* The same of those that are due, in repositories other than these (0: none). */
enum { STORE_MOST_AWAY = 8 };
int store_event_next_due(struct store *s, int64_t now_ms, const int64_t away[STORE_MOST_AWAY], struct event_row *r,
			 struct err *e) MUST_USE;
/* Newest first, at most `limit`; repo_id 0: all. */
int store_event_list(struct store *s, int64_t repo_id, size_t limit, struct event_row **rows_r, size_t *n_r,
		     struct err *e) MUST_USE;
void event_rows_free(struct event_row **rows, size_t n);
/* attempts + 1. not_before_ms: when it is due again if nothing more is heard of this attempt */
int store_event_begin(struct store *s, int64_t id, int64_t not_before_ms, struct err *e) MUST_USE;
/* This attempt failed and the event stays new: failures + 1, due again at next_try_ms. */
int store_event_retry(struct store *s, int64_t id, int refused, const char *reason, int64_t next_try_ms,
		      struct err *e) MUST_USE;
int store_event_close(struct store *s, int64_t id, enum event_state to, const char *reason, struct err *e) MUST_USE;
/* The message of an event that came without one, found later; one that has its message keeps it. */
int store_event_describe(struct store *s, int64_t id, const char *message, struct err *e) MUST_USE;
/* What is to be built, where fetching told: a pull request's merge in the place of its head. */
int store_event_resolve(struct store *s, int64_t id, const char *commit, struct err *e) MUST_USE;
/* The events of a repository whose commits are still needed: not prepared yet, of an unfinished build, or of one of the
 * `newest` builds. The caller frees. */
int store_event_used(struct store *s, int64_t repo_id, int newest, int64_t **ids_r, size_t *n_r,
		     struct err *e) MUST_USE;
/* Newest commit that any event told us of for this repository and ref; 1: none. Caller frees. */
int store_event_last_commit(struct store *s, int64_t repo_id, const char *ref, char **commit_r, struct err *e) MUST_USE;

/* --- polls: what the refs of a repository name now, against what events told of --- */
enum poll_found {
	POLL_KNOWN,    /* the newest event of this ref told of this commit */
	POLL_BASELINE, /* the first look at the repository, and no event of this ref: noted as a skipped event */
	POLL_NEW,      /* no event told of it: there is one now */
};
struct poll_head {
	const char *ref, *commit;
	enum poll_found found; /* out */
	int64_t event_id;      /* out; 0 where known */
};
/* store_poll - compare and add what is missing, in one transaction, so that a push that is told of at the same time is
 * seen before or sees this. A ref's commit is polled into one event, ever; one whose newest event was rejected gets
 * its second chance this way. */
int store_poll(struct store *s, const struct repo *r, struct poll_head *heads, size_t n, int64_t now_ms,
	       struct err *e) MUST_USE;

/* --- builds and jobs --- */
struct job_new { /* what the planner hands over for one job */
	const char *name, *backend, *arch;
	const char *spec; /* JSON of plan.h's job_spec */
	int stage; /* it waits for all jobs of lower ones; if a required one of them does not pass, it is canceled */
	int allow_failure;
	int not_awaited;         /* the build has its result without it */
	const char *skip_reason; /* it is skipped; NULL: it is not */
};
struct build_row {
	int64_t id, repo_id, event_id;
	int number; /* 1.. within the repository */
	char *repo; /* its name */
	char *ref, *branch, *commit, *message;
	enum event_kind kind;
	enum build_state state;
	char *reason;
	int64_t created_ms, started_ms, finished_ms;
	int64_t event_received_ms;
};
struct job_row {
	int64_t id, build_id;
	int number; /* 1.. within the build */
	char *name, *backend, *arch, *spec;
	int allow_failure;
	enum job_state state;
	int attempt, max_attempts; /* attempt 0: never started */
	char *cancel_reason;       /* it is running and was asked to stop; NULL: it was not */
	char *step;                /* what it is doing, for people: "making image debian:bookworm 41 %", "script" */
	char *reason;              /* why it failed, errored or was canceled; one line */
	int exit_code;             /* of the script; -1: none */
	int emulated;              /* ran under qemu-user */
	char *image_digest;
	char *publish_commit; /* in the deployment repository; NULL: none */
	int64_t queued_ms, started_ms, first_log_ms, published_ms, finished_ms;
	int64_t log_bytes;
	char *log_hash; /* BLAKE2b-256 of the finished log, hex */
};
void build_row_release(struct build_row *r);
void job_row_release(struct job_row *r);

/* store_build_add - one transaction: the build, its jobs (queued), its event → EVENT_BUILT. With njobs 0 and a
 * reason the build is BUILD_ERRORED at once (its .ci.yml is wrong). No new build, *build_id_r is the other one's,
 * returns 1: where a queued build of the same repository, ref and commit is folded into; where a poll's event finds
 * any build of them (the event is skipped and says so), or a push's event the one that a poll had made for it. */
int store_build_add(struct store *s, int64_t event_id, const struct job_new *jobs, size_t njobs, const char *reason,
		    int64_t now_ms, int64_t *build_id_r, struct err *e) MUST_USE;
int store_build_get(struct store *s, int64_t id, struct build_row *r, struct err *e) MUST_USE;
/* Newest first, at most `limit`; repo_id 0: all. */
int store_build_list(struct store *s, int64_t repo_id, size_t limit, struct build_row **rows_r, size_t *n_r,
		     struct err *e) MUST_USE;
int store_build_jobs(struct store *s, int64_t build_id, struct job_row **rows_r, size_t *n_r, struct err *e) MUST_USE;
int store_job_get(struct store *s, int64_t id, struct job_row *r, struct err *e) MUST_USE;
void build_rows_free(struct build_row **rows, size_t n);
void job_rows_free(struct job_row **rows, size_t n);

/* store_job_claim - the oldest queued job whose stage has come goes to JOB_RUNNING with attempt + 1 (and its build to
 * BUILD_RUNNING); 1: none is queued. Committed before it returns: the caller starts the leader after. */
int store_job_claim(struct store *s, int64_t now_ms, struct job_row *r, struct err *e) MUST_USE;
/* store_job_hold - why (NULL: no more) the queued jobs wait, as their step. out: waiting_r, how many are queued */
int store_job_hold(struct store *s, const char *why, int *waiting_r, struct err *e) MUST_USE;
/* Jobs in JOB_RUNNING or JOB_PUBLISHING, for a daemon that starts. */
int store_job_live(struct store *s, struct job_row **rows_r, size_t *n_r, struct err *e) MUST_USE;

/* What a leader reports about itself. `attempt` guards against a leader that was given up: ERR_DENIED if the row
 * has moved on (also store_job_publishing of a job that was asked to cancel: it is too late to publish). */
int store_job_step(struct store *s, int64_t id, int attempt, const char *step, struct err *e) MUST_USE;
/* The script is what it does now, on this image. */
int store_job_script(struct store *s, int64_t id, int attempt, const char *digest, int emulated,
		     struct err *e) MUST_USE;
/* What an image's name stands for in all jobs of a build: the first word holds. digest_r NULL: none; get: 1 nobody has
 * said yet. */
int store_build_image_pin(struct store *s, int64_t build_id, const char *name, const char *reference,
			  const char *digest, struct err *e) MUST_USE;
int store_build_image_get(struct store *s, int64_t build_id, const char *name, char **reference_r, char **digest_r,
			  struct err *e) MUST_USE;
int store_job_first_log(struct store *s, int64_t id, int attempt, int64_t now_ms, struct err *e) MUST_USE;
int store_job_publishing(struct store *s, int64_t id, int attempt, struct err *e) MUST_USE;
struct publication_new {
	const char *deployment, *branch, *path, *commit, *deployment_commit;
	int64_t sequence;
};
/* In the job's row and as a row of its own, in one transaction. */
int store_job_published(struct store *s, int64_t id, int attempt, const struct publication_new *p, int64_t now_ms,
			struct err *e) MUST_USE;

struct job_end {
	enum job_state state; /* a final one */
	const char *reason;   /* NULL when passed */
	int exit_code;
	int64_t log_bytes;
	const char *log_hash;
};
/* The job's final state, and its build's when that was the last job. One transaction. ERR_DENIED as above. A job in
 * JOB_PUBLISHING ends as passed or errored. */
int store_job_finish(struct store *s, int64_t id, int attempt, const struct job_end *end, int64_t now_ms,
		     struct err *e) MUST_USE;
/* store_job_lost - its leader is gone without a result: back to JOB_QUEUED; or JOB_ERRORED when attempt ==
 * max_attempts; or JOB_CANCELED when it had been asked to cancel. A row that ended or moved on meanwhile is left
 * alone (0). */
int store_job_lost(struct store *s, int64_t id, int attempt, const char *reason, int64_t now_ms,
		   struct err *e) MUST_USE;
/* store_job_cancel - a queued job is canceled at once (0). For a running one the wish is stored, so that it outlives
 * the leader, and the caller must also tell the leader (1).
 *  err ERR_BUSY it is being published, which is not stopped half way; ERR_DENIED it has ended */
int store_job_cancel(struct store *s, int64_t id, const char *reason, int64_t now_ms, struct err *e) MUST_USE;

/* --- publications: what came into deployment repositories, numbered as it came --- */
struct publication {
	int64_t id, job_id;
	char *deployment, *branch; /* the remote as the `.ci.yml` names it */
	char *path;                /* in it */
	char *commit;              /* of the source */
	char *deployment_commit;
	int64_t sequence; /* of the path; 0: the same had been published before */
	int64_t at_ms;
};
void publication_release(struct publication *p);
void publications_free(struct publication **rows, size_t n);
/* The newest number of all; 0: there is none. */
int store_publication_last(struct store *s, int64_t *id_r, struct err *e) MUST_USE;
/* The newest one of each path of a repository, as far as it came after that number; in their order. */
int store_publications_newest(struct store *s, int64_t repo_id, int64_t after, struct publication **rows_r, size_t *n_r,
			      struct err *e) MUST_USE;

/* --- notices: who is told of a build's end ---
 * They wait from when the build is planned. In the transaction that gives the build its final state, those that asked
 * for such an end are due; a process of its own delivers them, at least once each, under one delivery id. */
enum notice_kind { NOTICE_WEBHOOK, NOTICE_EMAIL, NOTICE_COMMAND };
enum notice_state {
	NOTICE_WAITING,
	NOTICE_DUE,
	NOTICE_SENT,
	NOTICE_UNWANTED, /* the build ended otherwise */
	NOTICE_GIVEN_UP, /* `reason` says why */
};
enum notice_end { END_SUCCESS = 1, END_FAILURE = 2, END_CHANGE = 4, END_ANY = 8 };
const char *notice_kind_name(enum notice_kind k);
const char *notice_state_name(enum notice_state st);
int notice_kind_parse(const char *name, enum notice_kind *kind_r);
int notice_end_parse(const char *name, enum notice_end *end_r); /* "success", … */

struct notice_new {
	enum notice_kind kind;
	const char *target;
	unsigned ends;
	const char *delivery; /* a new id, hex */
};
struct notice_row {
	int64_t id, build_id, repo_id; /* build_id 0: it waits */
	enum notice_kind kind;
	enum notice_state state;
	char *target, *delivery, *reason;
	unsigned ends;
	int attempts; /* begun ones */
	int64_t next_try_ms, due_ms, done_ms;
};
void notice_row_release(struct notice_row *r);
void notice_rows_free(struct notice_row **rows, size_t n);

/* store_notices_plan - what the event's build is to have, in the place of what was said before; for an event that is
 * still new, so that a build never is without them. */
int store_notices_plan(struct store *s, int64_t event_id, const struct notice_new *notices, size_t n,
		       struct err *e) MUST_USE;
/* store_notices_known - those of the newest build of the ref that has jobs: who is told of one whose file says nothing.
 */
int store_notices_known(struct store *s, int64_t repo_id, const char *ref, struct notice_row **rows_r, size_t *n_r,
			struct err *e) MUST_USE;
/* store_notices_forget - those that came to their end before then; not those that store_notices_known() may give. */
int store_notices_forget(struct store *s, int64_t before_ms, int *forgotten_r, struct err *e) MUST_USE;
int store_notice_get(struct store *s, int64_t id, struct notice_row *r, struct err *e) MUST_USE;
/* The one that is due for the longest, of repositories other than these (0: none); 1: there is none. */
int store_notice_next_due(struct store *s, int64_t now_ms, const int64_t away[STORE_MOST_AWAY], struct notice_row *r,
			  struct err *e) MUST_USE;
/* attempts + 1, due again at next_try_ms if nothing more is heard of this attempt. Committed before anything is sent.
 */
int store_notice_begin(struct store *s, int64_t id, int64_t next_try_ms, struct err *e) MUST_USE;
/* This attempt failed, and will be made again when it is due. */
int store_notice_retry(struct store *s, int64_t id, const char *reason, int64_t next_try_ms, struct err *e) MUST_USE;
/* to: NOTICE_SENT or NOTICE_GIVEN_UP */
int store_notice_close(struct store *s, int64_t id, enum notice_state to, const char *reason, int64_t now_ms,
		       struct err *e) MUST_USE;
/* Newest first, at most `limit`, of builds that have ended; repo_id 0: all. */
int store_notice_list(struct store *s, int64_t repo_id, size_t limit, struct notice_row **rows_r, size_t *n_r,
		      struct err *e) MUST_USE;

#endif
