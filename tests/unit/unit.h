#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

/* What a unit test includes: cmocka with the headers it wants before it, and checks that print both sides. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/err.h"
#include "lib/fs.h"

/* The call succeeded; else its message. */
#define assert_done(call, e)                                                                                           \
	do {                                                                                                           \
		if ((call) != 0) fail_msg("%s: %s", #call, (e).text);                                                  \
	} while (0)

/* The call failed with this kind and exactly this message. */
#define assert_refused(call, e, want_kind, want_text)                                                                  \
	do {                                                                                                           \
		(e).text[0] = '\0';                                                                                    \
		assert_int_equal((call), -1);                                                                          \
		assert_string_equal((e).text, (want_text));                                                            \
		assert_string_equal(err_kind_name((e).kind), err_kind_name(want_kind));                                \
	} while (0)

/* A folder of the test's own, removed by unit_temp_remove(). */
static inline char *unit_temp(void)
{
	const char *tmp = getenv("TMPDIR");
	char *path = NULL;
	struct err e;

	assert_done(fs_temp_dir(tmp ? tmp : "/tmp", "slipway-unit-", &path, &e), e);
	return path;
}

static inline void unit_temp_remove(char **path)
{
	struct err e;

	if (*path) assert_done(fs_remove_tree(*path, &e), e);
	free(*path);
	*path = NULL;
}
#define _cleanup_temp_ __attribute__((cleanup(unit_temp_remove)))

#endif
