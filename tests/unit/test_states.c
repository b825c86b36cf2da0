/* The state tables, every pair of them, and a build's state from its jobs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "runner/store/states.h"

static void test_job_moves_are_these_and_no_others(void **state)
{
	static const char *const wanted = "queued>running queued>canceled running>queued running>publishing "
					  "running>passed running>failed running>errored running>canceled "
					  "publishing>queued publishing>passed publishing>errored ";
	struct buf got = BUF_INIT(4096);

	(void)state;
	for (int from = JOB_QUEUED; from <= JOB_CANCELED; from++)
		for (int to = JOB_QUEUED; to <= JOB_CANCELED; to++)
			if (job_state_may((enum job_state)from, (enum job_state)to))
				buf_addf(&got, "%s>%s ", job_state_name((enum job_state)from),
					 job_state_name((enum job_state)to));
	assert_string_equal(buf_str(&got), wanted);
	buf_release(&got);
}

static void test_build_moves_are_these_and_no_others(void **state)
{
	static const char *const wanted = "queued>running queued>passed queued>canceled running>passed running>failed "
					  "running>errored running>canceled ";
	struct buf got = BUF_INIT(4096);

	(void)state;
	for (int from = BUILD_QUEUED; from <= BUILD_CANCELED; from++)
		for (int to = BUILD_QUEUED; to <= BUILD_CANCELED; to++)
			if (build_state_may((enum build_state)from, (enum build_state)to))
				buf_addf(&got, "%s>%s ", build_state_name((enum build_state)from),
					 build_state_name((enum build_state)to));
	assert_string_equal(buf_str(&got), wanted);
	buf_release(&got);
}

static void test_event_moves_start_at_new(void **state)
{
	(void)state;
	for (int from = EVENT_NEW; from <= EVENT_REJECTED; from++)
		for (int to = EVENT_NEW; to <= EVENT_REJECTED; to++)
			assert_int_equal(event_state_may((enum event_state)from, (enum event_state)to),
					 from == EVENT_NEW && to != EVENT_NEW);
}

static void test_final_states(void **state)
{
	(void)state;
	for (int st = JOB_QUEUED; st <= JOB_CANCELED; st++)
		assert_int_equal(job_state_is_final((enum job_state)st), st >= JOB_PASSED);
	for (int st = BUILD_QUEUED; st <= BUILD_CANCELED; st++)
		assert_int_equal(build_state_is_final((enum build_state)st), st >= BUILD_PASSED);
}

static void test_names_parse_back(void **state)
{
	enum job_state job;
	enum build_state build;
	enum event_state event;

	(void)state;
	for (int st = JOB_QUEUED; st <= JOB_CANCELED; st++) {
		assert_int_equal(job_state_parse(job_state_name((enum job_state)st), &job), 0);
		assert_int_equal(job, st);
	}
	for (int st = BUILD_QUEUED; st <= BUILD_CANCELED; st++) {
		assert_int_equal(build_state_parse(build_state_name((enum build_state)st), &build), 0);
		assert_int_equal(build, st);
	}
	for (int st = EVENT_NEW; st <= EVENT_REJECTED; st++) {
		assert_int_equal(event_state_parse(event_state_name((enum event_state)st), &event), 0);
		assert_int_equal(event, st);
	}
	assert_int_equal(job_state_parse("Queued", &job), -1);
	assert_int_equal(build_state_parse("", &build), -1);
	assert_int_equal(event_state_parse("skip", &event), -1);
}

static void test_sql_list_of_states_before(void **state)
{
	char *list = job_states_before(JOB_QUEUED);

	(void)state;
	assert_string_equal(list, "('running', 'publishing')");
	free_p(&list);
}

/* All combinations of three jobs' final states, against the rule said the other way round. */
static void test_build_state_from_its_jobs(void **state)
{
	static const enum job_state finals[] = {JOB_PASSED, JOB_FAILED, JOB_ERRORED, JOB_CANCELED};
	static const enum build_state by_rank[] = {BUILD_PASSED, BUILD_FAILED, BUILD_ERRORED, BUILD_CANCELED};

	(void)state;
	for (size_t i = 0; i < 4 * 4 * 4 * 8; i++) {
		size_t rank[] = {i % 4, i / 4 % 4, i / 16 % 4}, worst = 0;
		struct build_tally t = {0};

		for (size_t j = 0; j < 3; j++) {
			int allowed = i / 64 >> j & 1;

			build_tally_add(&t, finals[rank[j]], allowed);
			if (!allowed && rank[j] > worst) worst = rank[j];
		}
		assert_int_equal(t.unfinished, 0);
		assert_int_equal(build_tally_state(&t), by_rank[worst]);
	}
}

static void test_unfinished_jobs_count_even_if_they_may_fail(void **state)
{
	struct build_tally t = {0};

	(void)state;
	build_tally_add(&t, JOB_PASSED, 0);
	build_tally_add(&t, JOB_PUBLISHING, 1);
	build_tally_add(&t, JOB_QUEUED, 0);
	build_tally_add(&t, JOB_RUNNING, 1);
	assert_int_equal(t.unfinished, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_job_moves_are_these_and_no_others),
		cmocka_unit_test(test_build_moves_are_these_and_no_others),
		cmocka_unit_test(test_event_moves_start_at_new),
		cmocka_unit_test(test_final_states),
		cmocka_unit_test(test_names_parse_back),
		cmocka_unit_test(test_sql_list_of_states_before),
		cmocka_unit_test(test_build_state_from_its_jobs),
		cmocka_unit_test(test_unfinished_jobs_count_even_if_they_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
