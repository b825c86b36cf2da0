/* Any text as a submodule's address, in "source NUL written NUL allowed": an address that is taken is one that the
 * rules name, whatever its parts look like. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runner/store/submodule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *next(const uint8_t **at, size_t *left)
{
	const uint8_t *nul = memchr(*at, 0, *left);
	size_t n = nul ? (size_t)(nul - *at) : *left;
	char *text = xstrndup((const char *)*at, n);

	*at += n;
	*left -= n;
	if (*left) {
		*at += 1;
		*left -= 1;
	}
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *source = next(&data, &size), *written = next(&data, &size), *entry = next(&data, &size);
	_cleanup_vec_ struct vec allowed = VEC_INIT;

	vec_add(&allowed, entry);
	for (int stranger = 0; stranger < 2; stranger++) {
		struct submodule_rules rules = {"a/b", source, &allowed, stranger};
		_cleanup_free_ char *url = NULL;
		int anonymous = -1;
		struct err e;

		if (submodule_url(&rules, written, &url, &anonymous, &e)) {
			if (e.kind != ERR_INPUT && e.kind != ERR_DENIED) abort();
			continue;
		}
		if (*url == '-' || strstr(url, "/../") || strpbrk(url, "\n\r \t\\")) abort();
		if (strncmp(url, "https://", 8) != 0 && (stranger || anonymous)) abort();
		if (!anonymous && (!*entry || strncmp(url, entry, strlen(entry)) != 0)) abort();
	}
	return 0;
}
