#ifndef RUNNER_TRIGGER_HOOK_H
#define RUNNER_TRIGGER_HOOK_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/vec.h"
#include "runner/trigger/event.h"

/* Pushes to a repository on this box, told by git's post-receive hook. src: githooks(5) */

/* hook_parse - "OLD NEW REF" lines to events.
 *  in   repo     its registered name
 *       push_id  unique for this push; the deliveries are "<push_id>-<line>"
 *  out  evs_r    one for each branch or tag in the input's order; other refs (notes, …) are left out. commit is NEW,
 *                for an annotated tag the tag object: see hook_describe(). The caller frees: hook_events_free().
 *       bad_r    one text for each line that is wrong and was left out: "line 2: bad ref name 'refs/…'"; git has taken
 *                its ref, so it is to be told, and it costs none of the others */
void hook_parse(const char *repo, const char *push_id, const char *data, size_t len, struct event **evs_r, size_t *n_r,
		struct vec *bad_r);
void hook_events_free(struct event **evs, size_t n);

/* hook_describe - ask the git repository what ev->commit is: it becomes the commit behind a tag, and ev->message its
 * message. Runs git with a clean environment: a hook's own GIT_* variables do not reach it.
 *  ret  1: it is no commit (a tag of a file): ev->commit is NULL now */
int hook_describe(const char *git_dir, struct event *ev, struct err *e) MUST_USE;

#endif
