/* runner/report: lines for people. */
#include "tests/unit/unit.h"

#include "runner/report/report.h"

static struct build_row build = {.id = 9,
				 .number = 3,
				 .repo = (char[]){"me/site"},
				 .branch = (char[]){"main"},
				 .commit = (char[]){"0123456789012345678901234567890123456789"},
				 .message = (char[]){"say \033[31mred\nsecond line"},
				 .state = BUILD_RUNNING,
				 .created_ms = 1010,
				 .started_ms = 1020,
				 .event_received_ms = 1000};
static struct job_row job = {.number = 1,
			     .name = (char[]){"unix arm64"},
			     .state = JOB_FAILED,
			     .attempt = 1,
			     .emulated = 1,
			     .exit_code = 1,
			     .reason = (char[]){"the script failed"},
			     .started_ms = 1020,
			     .first_log_ms = 1050,
			     .finished_ms = 3520};

static void test_control_characters_do_not_reach_the_terminal(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1000);

	(void)state;
	report_build_line(&build, 2020, &out);
	assert_string_equal(buf_str(&out), "me/site build 3  main  01234567  running  1.0 s  say  [31mred\n");
}

static void test_a_job_line_tells_why(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1000);

	(void)state;
	report_job_line(&build, &job, 9999, 0, &out);
	assert_string_equal(buf_str(&out),
			    "  3.1   unix arm64       failed        2.5 s  the script failed (emulated)\n");
}

static void test_timeline_counts_from_the_push(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1000);

	(void)state;
	report_timeline(&build, &job, 1, 990, &out);
	assert_string_equal(buf_str(&out), "      10 ms  event stored\n"
					   "      20 ms  planned\n"
					   "      30 ms  job started  unix arm64\n"
					   "      60 ms  first log line  unix arm64\n"
					   "    2530 ms  failed  unix arm64\n");
}

static void test_json_has_null_where_nothing_happened_yet(void **state)
{
	_cleanup_json_ json_t *j = report_build_json(&build, &job, 1);

	(void)state;
	assert_true(json_is_null(json_object_get(j, "finished_at_ms")));
	assert_true(json_is_null(json_at(json_array_get(json_object_get(j, "jobs"), 0), "published_at_ms")));
	assert_string_equal(json_string_or(json_array_get(json_object_get(j, "jobs"), 0), "number", ""), "3.1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_characters_do_not_reach_the_terminal),
		cmocka_unit_test(test_a_job_line_tells_why),
		cmocka_unit_test(test_timeline_counts_from_the_push),
		cmocka_unit_test(test_json_has_null_where_nothing_happened_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
