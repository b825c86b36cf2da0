/* A delivery as it comes from the network: lines for the three headers, then the body. What is taken is fit for a row
 * and for JSON; the signature of a wrong header never fits. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "lib/secret.h"
#include "runner/trigger/github.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next line as a string, NULL for an empty one. */
static char *take_line(const char **p, const char *end)
{
	const char *nl = memchr(*p, '\n', (size_t)(end - *p));
	size_t n = (size_t)((nl ? nl : end) - *p);
	char *line = n ? xstrndup(*p, n) : NULL;

	*p += n + (nl ? 1 : 0);
	return line;
}

static void check_text(const char *s, size_t max)
{
	json_t *j;

	if (!s) return;
	if (strlen(s) > max) abort();
	j = json_string(s); /* NULL for what is not UTF-8 */
	if (!j) abort();
	json_decref(j);
}

static void check(const struct event *ev)
{
	if (ev->kind != EVENT_PING && (!event_repo_ok(ev->repo) || !event_ref_ok(ev->ref) || !ev->branch)) abort();
	if (ev->repo && !event_repo_ok(ev->repo)) abort();
	if (ev->commit && !event_commit_ok(ev->commit)) abort();
	if (ev->before && !event_commit_ok(ev->before)) abort();
	if (!ev->commit && !event_skip_reason(ev)) abort();
	if (ev->head_repo && !event_repo_ok(ev->head_repo)) abort();
	if (ev->kind == EVENT_PULL_REQUEST && (ev->pr_number < 1 || (!ev->head_repo && !ev->from_fork))) abort();
	if (!ev->delivery) abort();
	check_text(ev->delivery, EVENT_NAME_MAX);
	check_text(ev->branch, 500);
	check_text(ev->message, EVENT_MESSAGE_MAX);
	check_text(ev->sender, EVENT_NAME_MAX);
	check_text(ev->pr_action, 100);
	check_text(ev->head_branch, 500);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *end = p + size;
	_cleanup_free_ char *event = take_line(&p, end), *delivery = take_line(&p, end),
			    *signature = take_line(&p, end);
	_cleanup_secret_ struct secret secret = SECRET_INIT;
	static int started;
	struct event ev = {0};
	struct err e = {0};

	if (!started++) secret_setup();
	secret_set(&secret, "a secret", 8);
	if (github_signature_ok(&secret, p, (size_t)(end - p), signature) && strncmp(signature, "sha256=", 7)) abort();
	switch (github_parse(event, delivery, p, (size_t)(end - p), &ev, &e)) {
	case 0:
		check(&ev);
		event_release(&ev);
		break;
	case 1: break;
	default:
		if (e.kind != ERR_INPUT || !e.text[0]) abort();
	}
	return 0;
}
