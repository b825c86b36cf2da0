/* A log for a person: marks become headings however the bytes come, and what is no mark stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "runner/report/render.h"

static void shows(int colour, const char *text, const char *want)
{
	for (size_t step = 1; step < 40; step++) {
		struct render *r = render_new(colour);
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20);

		for (size_t i = 0; i < strlen(text); i += step)
			render_feed(r, text + i, strlen(text) - i < step ? strlen(text) - i : step, 1000, &out);
		render_end(r, &out);
		assert_string_equal(buf_str(&out), want);
		render_free(&r);
	}
}

#define E "\r\033[0K"

static void test_marks_become_headings(void **state)
{
	(void)state;
	shows(0, "travis_fold:start:install" E "$ make\nok\ntravis_fold:end:install" E "$ next\n",
	      "--- install\n$ make\nok\n$ next\n");
	shows(0, "no end of linetravis_fold:start:a" E "travis_time:start:1" E "x\ntravis_time:end:1:start=1" E,
	      "no end of line\n--- a\nx\n");
	shows(1, "travis_fold:start:a" E "$ x\nslipway: y\n$z\ntravis_fold:end:a" E,
	      "\033[1;34m--- a\033[0m\n\033[1m$ x\033[0m\n\033[36mslipway: y\033[0m\n$z\n"
	      "\033[2m    a took 0.0 s\033[0m\n");
}

static void test_what_is_no_mark_stays(void **state)
{
	char longest[600] = "travis_fold:start:";

	(void)state;
	shows(0, "travis_fold:start:a\r\nx", "travis_fold:start:a\r\nx\n");
	shows(0, "travis_fold:start:a\n" E, "travis_fold:start:a\n" E "\n");
	shows(0, "travis_fold:middle:a" E "x\n", "travis_fold:middle:a" E "x\n");
	shows(0, "travis_fold:start:a\033[31m" E "x\n", "travis_fold:start:a\033[31m" E "x\n");
	shows(0, "attravis travis_", "attravis travis_\n");
	shows(0, "travistravis_fold:start:a" E, "travis\n--- a\n");
	shows(1, "a $ x\n\n$", "a $ x\n\n$\n");
	memset(longest + strlen(longest), 'x', sizeof(longest) - 1 - strlen(longest));
	memcpy(longest + sizeof(longest) - 6, E, 5);
	{
		char want[sizeof(longest) + 1];

		memcpy(want, longest, sizeof(longest) - 1);
		memcpy(want + sizeof(longest) - 1, "\n", 2);
		shows(0, longest, want);
	}
}

static void test_an_end_is_flushed_and_a_new_stream_begins(void **state)
{
	struct render *r = render_new(1);
	_cleanup_buf_ struct buf out = BUF_INIT(4096);

	(void)state;
	render_feed(r, "$ a", 3, 0, &out);
	render_end(r, &out);
	render_feed(r, "travis_fold:start:b" E, strlen("travis_fold:start:b" E), 1000, &out);
	render_feed(r, "travis_fold:end:b" E, strlen("travis_fold:end:b" E), 3540, &out);
	render_end(r, &out);
	assert_string_equal(buf_str(&out),
			    "\033[1m$ a\033[0m\n\033[1;34m--- b\033[0m\n\033[2m    b took 2.5 s\033[0m\n");
	render_free(&r);
	assert_null(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_marks_become_headings),
		cmocka_unit_test(test_what_is_no_mark_stays),
		cmocka_unit_test(test_an_end_is_flushed_and_a_new_stream_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
