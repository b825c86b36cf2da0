/* PATTERN, newline, NAME → whether it matches; with a /regular expression/ made of it too. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_one(const char *pattern, const char *name)
{
	int budget = PATTERN_BUDGET;
	struct pattern p = {0};

	if (pattern_make(pattern, &budget, &p)) return;
	(void)pattern_matches(&p, name);
	pattern_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xcalloc(size + 1, 1), *regex = NULL;
	char *name;

	memcpy(text, data, size);
	name = strchr(text, '\n');
	if (name) *name++ = '\0';
	try_one(text, name ? name : "");
	regex = xasprintf("/%s/i", text);
	try_one(regex, name ? name : "");
	return 0;
}
