/* Any text as a condition: read, evaluated within its budget, the same answer twice. The part before a NUL is the
 * condition, the part behind it every value that it asks for. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *value(void *arg, const char *name)
{
	return *name == 'n' ? NULL : arg;
}

static const char *attribute(void *arg, enum condition_attribute which)
{
	return which == ASKS_TAG ? NULL : arg;
}

static int holds(const struct condition *c, char *text)
{
	int64_t budget = 200000;
	const struct condition_data d = {attribute, value, text, &budget};
	int yes = condition_holds(c, &d);

	if (yes < -1 || yes > 1) die("an answer of %d", yes);
	return yes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, 0, size);
	size_t len = nul ? (size_t)(nul - data) : size, at;
	_cleanup_free_ char *text = xstrndup((const char *)data, len);
	_cleanup_free_ char *values = nul ? xstrndup((const char *)nul + 1, size - len - 1) : xstrdup("");
	struct condition *c = NULL;
	int steps = PATTERN_BUDGET;
	const char *why = condition_make(text, &steps, &c, &at);

	if (why) {
		if (c || at > strlen(text) || !*why) die("a refusal that is none");
		return 0;
	}
	if (holds(c, values) != holds(c, values)) die("two answers");
	(void)condition_odd(c);
	condition_free(&c);
	return 0;
}
