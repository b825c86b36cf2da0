/* Lines of git's post-receive hook, and the names in them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/trigger/hook.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xstrndup((const char *)data, size), *fit;
	struct event *evs = NULL;
	struct vec bad = VEC_INIT;
	size_t n = 0;

	(void)event_message_skips(text);
	(void)event_repo_ok(text);
	fit = event_text(text, size / 2);
	if (strlen(fit) > size / 2) abort();
	free(fit);
	free(text);
	hook_parse("me/site", "p", (const char *)data, size, &evs, &n, &bad);
	for (size_t i = 0; i < bad.len; i++)
		if (strncmp(bad.items[i], "line ", 5)) abort();
	vec_release(&bad);
	for (size_t i = 0; i < n; i++) {
		if (!event_ref_ok(evs[i].ref) || !event_commit_ok(evs[i].before)) abort();
		if (evs[i].deleted ? !!evs[i].commit : !event_commit_ok(evs[i].commit)) abort();
		if (!evs[i].branch || !evs[i].delivery) abort();
		(void)event_skip_reason(&evs[i]);
	}
	hook_events_free(&evs, n);
	return 0;
}
