#ifndef RUNNER_TRIGGER_EVENT_H
#define RUNNER_TRIGGER_EVENT_H

#include <stddef.h>

/* What happened to a repository, whoever told us: the first struct of the flow (trigger → store → plan → …).
 * All strings are owned; NULL where a source has nothing to say. */

enum event_kind {
	EVENT_PUSH,
	EVENT_PULL_REQUEST,
	EVENT_PING, /* a webhook was set up: acknowledged, stored, builds nothing */
};

enum event_source {
	EVENT_FROM_GITHUB,
	EVENT_FROM_HOOK,   /* `runner hook post-receive` on this box */
	EVENT_FROM_PERSON, /* `runner trigger`, a rerun */
	EVENT_FROM_POLL,   /* the reconciler found a head it had not been told of */
};

struct event {
	enum event_kind kind;
	enum event_source source;
	char *delivery; /* unique within the source: the same one twice is one event */
	char *repo;     /* "owner/name" as the repository is registered */
	char *ref;      /* refs/heads/main, refs/tags/v1, refs/pull/7/merge */
	char *branch;   /* pull request: the branch it goes to; tag: the tag's name */
	char *tag;      /* NULL unless ref is a tag */
	char *before;   /* 40 hex digits; NULL or all zero: the ref is new */
	char *commit;   /* 40 hex digits of what to build; NULL when deleted */
	char *message;  /* of the head commit */
	char *sender;
	int deleted; /* the ref went away: nothing to build */

	int pr_number;   /* 0 unless a pull request */
	int from_fork;   /* the pull request comes from another repository: no secrets */
	char *pr_action; /* opened, synchronize, … */
	char *head_repo;
	char *head_branch;
	char *head_commit;
};

void event_release(struct event *ev);

/* Names as they stand in rows, JSON and CI_EVENT: "push", "pull_request", "ping"; "github", "post-receive",
 * "manual", "poll". *_parse return -1 for an unknown name. */
const char *event_kind_name(enum event_kind kind);
const char *event_source_name(enum event_source source);
int event_kind_parse(const char *name, enum event_kind *kind_r);
int event_source_parse(const char *name, enum event_source *source_r);

/* event_skip_reason - NULL if the event asks for a build, else why not, as shown to people: "branch deleted",
 * "skipped through commit message", "nothing to build for this action". Static. A person who asks for a build gets it
 * whatever the message says; a pull request's `message` is its title, which skips nothing. */
const char *event_skip_reason(const struct event *ev);
#define EVENT_SKIPPED_BY_MESSAGE "skipped through commit message"

/* Does this commit message ask for no build? [skip ci], [ci skip], [ci:skip], and travis, travis ci, travis-ci,
 * travisci in the place of ci, in any case, anywhere in it. */
int event_message_skips(const char *message);

/* What is taken from outside. A repository is "owner/name", each [A-Za-z0-9._-] and not "." or "..", no leading '-', at
 * most 100 bytes; a commit is 40 lower-case hex digits; a ref is what git-check-ref-format(1) takes, below refs/,
 * UTF-8, at most 500 bytes. All take NULL (0). */
int event_repo_ok(const char *repo);
int event_commit_ok(const char *commit);
int event_ref_ok(const char *ref);
int event_commit_is_zero(const char *commit); /* 40 zeros: git's word for "none" */

/* A delivery id for an event that nobody numbered: 24 random hex digits. The caller frees. */
char *event_new_delivery(void);

/* event_text - a copy of what somebody wrote, fit for rows and JSON: valid UTF-8 (what is not becomes U+FFFD), no
 * control characters but tab and newline, no white space at its end, cut at `max` bytes. NULL stays NULL. */
char *event_text(const char *s, size_t max);
enum { EVENT_MESSAGE_MAX = 32768, EVENT_NAME_MAX = 200 };

/* event_set_ref - ref, branch and tag from a full name that passed event_ref_ok(). */
void event_set_ref(struct event *ev, const char *ref);

#endif
