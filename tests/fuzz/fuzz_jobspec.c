/* Any JSON → a job, if it is one → JSON → the same job; and a script of it. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct script_context cx = {.file = ".ci.yml"};
	_cleanup_json_ json_t *json = NULL, *first = NULL, *second = NULL;
	_cleanup_free_ char *one = NULL, *two = NULL, *script = NULL;
	struct job_spec j = {0}, back = {0};
	struct err e;

	if (json_parse("job", data, size, &json, &e) || job_spec_from_json(json, &j, &e)) return 0;
	first = job_spec_to_json(&j);
	one = json_text(first);
	if (job_spec_from_json(first, &back, &e)) die("%s", e.text);
	second = job_spec_to_json(&back);
	two = json_text(second);
	if (strcmp(one, two) != 0) die("%s\n%s", one, two);
	script = script_make(&j, &cx);
	if (strncmp(script, "#!/bin/sh\n", 10) != 0) die("no script");
	job_spec_release(&j);
	job_spec_release(&back);
	return 0;
}
