/* Any bytes → a plan (or problems) → JSON → the same job → the same JSON; and a script of it. The first byte picks
 * the event. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct job_spec *j)
{
	static const char *const exports[] = {"CI=true", NULL}, *const secrets[] = {"K", NULL};
	static const size_t rows[] = {0};
	const struct script_context cx = {
		.file = ".ci.yml", .exports = exports, .secret_names = secrets, .secret_rows = rows};
	_cleanup_json_ json_t *json = job_spec_to_json(j), *parsed = NULL, *again = NULL;
	_cleanup_free_ char *one = json_text(json), *two = NULL, *script = script_make(j, &cx);
	struct job_spec back = {0};
	struct err e;

	if (json_parse("job", one, strlen(one), &parsed, &e)) die("%s", e.text);
	if (job_spec_from_json(parsed, &back, &e)) die("%s", e.text);
	again = job_spec_to_json(&back);
	two = json_text(again);
	if (strcmp(one, two) != 0) die("%s\n%s", one, two);
	if (strncmp(script, "#!/bin/sh\n", 10) != 0) die("no script");
	if (!j->name || !j->image) die("a job without name or image");
	if (j->publish.repo && (!j->publish.path || strstr(j->publish.path, ".."))) die("a bad path");
	job_spec_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan_context cx = {.kind = EVENT_PUSH, .branch = "main"};
	struct plan_problems problems;
	struct plan plan = {0};
	_cleanup_free_ char *text = NULL;
	struct err e;
	int rc;

	if (!size) return 0;
	if (data[0] & 1) cx.kind = EVENT_PULL_REQUEST;
	if (data[0] & 2) cx.branch = "feature/x";
	if (data[0] & 4) cx.tag = cx.branch = "v1.0";
	rc = plan_make("f", data + 1, size - 1, &cx, &plan, &problems, &e);
	text = plan_problems_text(&problems, "f", 1);
	if (rc && !problems.len) die("refused without a problem");
	for (size_t i = 0; i < plan.njobs; i++) round_trip(&plan.jobs[i]);
	if (!rc) {
		_cleanup_json_ json_t *json = plan_to_json(&plan);
		_cleanup_free_ char *all = json_text(json);

		if (*all != '{') die("no JSON object");
	}
	plan_problems_release(&problems);
	plan_release(&plan);
	return 0;
}
