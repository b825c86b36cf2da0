/* Pushes told by git's post-receive hook. */
#include "runner/trigger/hook.h"

#include <stdlib.h>
#include <string.h>

#include "runner/trigger/git.h"

void hook_events_free(struct event **evs, size_t n)
{
	for (size_t i = 0; i < n; i++) event_release(&(*evs)[i]);
	free_p(evs);
}

/* 0: *ev is set; 1: a ref that is neither branch nor tag */
static int parse_line(const char *line, size_t len, struct event *ev, struct err *e)
{
	_cleanup_free_ char *old = NULL, *new = NULL, *ref = NULL;

	if (memchr(line, '\0', len)) return err_set(e, ERR_INPUT, "a NUL byte");
	if (len < 83 || line[40] != ' ' || line[81] != ' ')
		return err_set(e, ERR_INPUT, "not 'OLD NEW REF' with SHA-1 names");
	old = xstrndup(line, 40);
	new = xstrndup(line + 41, 40);
	ref = xstrndup(line + 82, len - 82);
	if (!event_commit_ok(old) || !event_commit_ok(new))
		return err_set(e, ERR_INPUT, "not 'OLD NEW REF' with SHA-1 names");
	if (!event_ref_ok(ref)) {
		_cleanup_free_ char *shown = event_text(ref, EVENT_NAME_MAX);

		return err_set(e, ERR_INPUT, "bad ref name '%s'", shown);
	}
	event_set_ref(ev, ref);
	if (!ev->branch) return 1;
	ev->kind = EVENT_PUSH;
	ev->source = EVENT_FROM_HOOK;
	ev->before = steal(old);
	ev->deleted = event_commit_is_zero(new);
	if (!ev->deleted) ev->commit = steal(new);
	return 0;
}

void hook_parse(const char *repo, const char *push_id, const char *data, size_t len, struct event **evs_r, size_t *n_r,
		struct vec *bad_r)
{
	struct event *evs = NULL;
	size_t n = 0;

	for (size_t at = 0, line = 1; at < len; line++) {
		const char *end = memchr(data + at, '\n', len - at);
		size_t line_len = end ? (size_t)(end - data) - at : len - at;
		struct event ev = {0};
		struct err why;
		int got = parse_line(data + at, line_len, &ev, &why);

		at += line_len + 1;
		if (got < 0) vec_addf(bad_r, "line %zu: %s", line, why.text);
		if (got) {
			event_release(&ev);
			continue;
		}
		ev.repo = xstrdup(repo);
		ev.delivery = xasprintf("%s-%zu", push_id, line);
		evs = xrealloc(evs, (n + 1) * sizeof(*evs));
		evs[n++] = ev;
	}
	*evs_r = evs;
	*n_r = n;
}

int hook_describe(const char *git_dir, struct event *ev, struct err *e)
{
	char *commit;
	int got;

	if (!ev->commit) return 0;
	got = git_commit_of(git_dir, ev->commit, &commit, e);
	if (got < 0) return -1;
	free(ev->commit);
	ev->commit = got ? NULL : commit;
	return got ? 1 : git_message(git_dir, ev->commit, &ev->message, e);
}
