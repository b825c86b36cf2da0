#ifndef RUNNER_NOTIFY_H
#define RUNNER_NOTIFY_H

#include "lib/loop.h"
#include "lib/secret.h"
#include "runner/home.h"
#include "runner/store/store.h"

/* notify_secret - what a repository's webhooks are signed with, made where there is none. */
int notify_secret(const struct home *h, int64_t repo_id, struct secret *text_r, struct err *e) MUST_USE;

/* The daemon's side: a process for each notice that is due (`runner notify`), at most one for a repository, so that a
 * receiver that hangs holds up no other repository's. They die with the daemon; the rows stay. */
struct notifier;

/* state is borrowed; fn is called when a process has ended. */
struct notifier *notifier_new(struct loop *loop, struct store *store, const char *state, void (*fn)(void *arg),
			      void *arg);
/* notifier_look - start what is due. err the store's */
int notifier_look(struct notifier *n, struct err *e) MUST_USE;
void notifier_free(struct notifier **n); /* takes NULL */

#endif
