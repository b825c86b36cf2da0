#ifndef RUNNER_TRIGGER_GITHUB_H
#define RUNNER_TRIGGER_GITHUB_H

#include <sodium.h>
#include <stddef.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "runner/trigger/event.h"

/* GitHub's webhooks. src: docs.github.com, "Validating webhook deliveries", "Webhook events and payloads" */

/* 1: "sha256=" and 64 lower-case hex digits; what is not so fits nothing. NULL: 0. */
int github_signature_shaped(const char *header);

/* The HMAC of a body that comes in parts. It holds what was made of the secret: keep it where secrets are kept. */
struct github_hmac {
	crypto_auth_hmacsha256_state state;
	int usable; /* 0: there was no secret */
};
void github_hmac_start(struct github_hmac *h, const struct secret *secret);
void github_hmac_add(struct github_hmac *h, const void *data, size_t len);
int github_hmac_fits(struct github_hmac *h, const char *header); /* the end of it; compared in constant time */

/* github_signature_ok - 1: header is "sha256=" and the HMAC-SHA256 of the raw body under this secret, in 64 lower-case
 * hex digits. Compared in constant time. A NULL header, an empty secret or any other form: 0. */
int github_signature_ok(const struct secret *secret, const void *body, size_t len, const char *header);

/* github_parse - a delivery, its signature verified before, to an event.
 *  in   event     X-GitHub-Event; delivery  X-GitHub-Delivery
 *       body      JSON, or "payload=" and JSON as a form has it (the other content type a webhook can be set to)
 *  out  ev_r      source github. push: commit is what the ref names now, for an annotated tag the commit behind it.
 *                 pull_request: ref is refs/pull/N/merge, which GitHub keeps at the merge with the base branch;
 *                 commit is the head's, because merge_commit_sha is null or stale until GitHub has made the merge:
 *                 what is checked out is what the ref names when it is fetched. `repo` is NULL for a ping of an
 *                 organisation's webhook.
 *  ret  1: an event of a kind that builds nothing here; ev_r untouched
 *  err  ERR_INPUT  what is missing or wrong in it */
int github_parse(const char *event, const char *delivery, const void *body, size_t len, struct event *ev_r,
		 struct err *e) MUST_USE;

#endif
