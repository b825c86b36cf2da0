/* Any bytes as a .travis.yml → a plan (or problems) → JSON → the same job → the same JSON; a script of it. Only YAML
 * itself and a top that is no mapping are errors. The first byte picks the event. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct job_spec *j)
{
	static const struct script_context cx = {.file = ".travis.yml"};
	_cleanup_json_ json_t *json = job_spec_to_json(j), *again = NULL;
	_cleanup_free_ char *script = script_make(j, &cx);
	struct job_spec back = {0};
	struct err e;

	if (job_spec_from_json(json, &back, &e)) die("%s", e.text);
	again = job_spec_to_json(&back);
	if (!json_equal(json, again)) die("a job that its JSON does not hold");
	if (strncmp(script, "#!/bin/sh\n", 10) != 0) die("no script");
	job_spec_release(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan_problems problems, why = {0};
	struct plan_context cx = {
		.dialect = PLAN_TRAVIS, .kind = EVENT_PUSH, .branch = "master", .message = "a\nb", .why = &why};
	struct plan plan = {0};
	struct err e;

	if (!size) return 0;
	if (data[0] & 1) cx.kind = EVENT_PULL_REQUEST;
	if (data[0] & 2) cx.branch = "gh-pages";
	if (data[0] & 4) cx.any_branch = 1;
	if (data[0] & 8) cx.dialect = plan_dialect_of("x.yml", data + 1, size - 1);
	if (plan_make("f", data + 1, size - 1, &cx, &plan, &problems, &e) && !problems.len)
		die("refused without a problem");
	for (size_t i = 0; i < plan.njobs; i++) round_trip(&plan.jobs[i]);
	if (plan.njobs && json_array_size(plan.listing) != plan.njobs) die("a listing of other jobs");
	if (plan.njobs > PLAN_MAX_JOBS) die("too many jobs");
	plan_problems_release(&problems);
	plan_problems_release(&why);
	plan_release(&plan);
	return 0;
}
