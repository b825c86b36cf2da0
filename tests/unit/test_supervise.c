/* What slipway-supervise reads from outside: request lines, ids, numbers, addresses, the record. The rest of it is
 * shown by the deploy tests under tests/e2e. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define main supervise_main
int supervise_main(int argc, char **argv);
#include "deploy-hooks/supervise/control.c"
#include "deploy-hooks/supervise/main.c"
#include "deploy-hooks/supervise/proc.c"
#include "deploy-hooks/supervise/swap.c"
#include "deploy-hooks/supervise/takeover.c"
#include "deploy-hooks/supervise/text.c"
#undef main

static int split(const char *text, struct fields *f)
{
	static char line[MAX_LINE + 1];
	size_t n = strlen(text);
	memcpy(line, text, n);
	return fields_split(line, n, f);
}

static void test_fields_are_parted_by_tabs(void **state)
{
	struct fields f;
	(void)state;
	assert_int_equal(split("try\tid\t/a b\t\n", &f), 0);
	assert_int_equal(f.n, 4);
	assert_string_equal(f.at[0], "try");
	assert_string_equal(f.at[2], "/a b");
	assert_string_equal(f.at[3], "");
	assert_int_equal(split("", &f), 0);
	assert_int_equal(f.n, 1);
}

static void test_fields_refuse_control_characters(void **state)
{
	struct fields f;
	char nul[] = {'t', '\0', 'y', 0}, many[2 * MAX_FIELDS + 1];
	(void)state;
	assert_int_equal(split("try\nstop", &f), -1);
	assert_int_equal(split("try\033", &f), -1);
	assert_int_equal(split("try\177", &f), -1);
	assert_int_equal(fields_split(nul, 3, &f), -1);
	memset(many, '\t', sizeof many);
	assert_int_equal(fields_split(many, MAX_FIELDS - 1, &f), 0);
	memset(many, '\t', sizeof many);
	assert_int_equal(fields_split(many, MAX_FIELDS, &f), -1);
}

static void test_ids_are_plain_names(void **state)
{
	char long_id[66];
	(void)state;
	assert_true(id_ok("0123abc"));
	assert_true(id_ok("a.b_c-d"));
	assert_false(id_ok(""));
	assert_false(id_ok("../x"));
	assert_false(id_ok(".x"));
	assert_false(id_ok("-x"));
	assert_false(id_ok("a b"));
	memset(long_id, 'a', 65);
	long_id[65] = '\0';
	assert_false(id_ok(long_id));
	assert_true(id_ok(long_id + 1));
}

static void test_numbers_are_whole_and_in_range(void **state)
{
	long n = 7;
	(void)state;
	assert_int_equal(number("42", 0, 100, &n), 0);
	assert_int_equal(n, 42);
	assert_int_equal(number("", 0, 100, &n), -1);
	assert_int_equal(number("4x", 0, 100, &n), -1);
	assert_int_equal(number("101", 0, 100, &n), -1);
	assert_int_equal(number("99999999999999999999", 0, INT64_MAX, &n), -1);
	assert_int_equal(n, 42);
}

static void test_addresses_are_numeric(void **state)
{
	struct sockaddr_storage a;
	socklen_t len;
	(void)state;
	assert_int_equal(address_parse("127.0.0.1:8080", &a, &len), 0);
	assert_int_equal(ntohs(((struct sockaddr_in *)&a)->sin_port), 8080);
	assert_int_equal(address_parse("[::1]:80", &a, &len), 0);
	assert_int_equal(a.ss_family, AF_INET6);
	assert_int_equal(len, sizeof(struct sockaddr_in6));
	static const char *const bad[] = {"",     ":80",          "127.0.0.1",     "127.0.0.1:", "127.0.0.1:65536",
					  "[]:1", "localhost:80", "[127.0.0.1]:1", "::1:80",     "[::1:80"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (address_parse(bad[i], &a, &len) == 0) fail_msg("'%s' was taken", bad[i]);
}

static void test_the_record_of_another_boot_names_no_process(void **state)
{
	struct fields f;
	char self[200];
	(void)state;
	memset(&sup, 0, sizeof sup);
	sup.logs = "/nonexistent";
	assert_int_equal(split("boot\tthen", &f), 0);
	record_line(&f, "now");
	snprintf(self, sizeof self, "live\t%d\t%llu\tabc\t/bin/x\targ", (int)getpid(),
		 (unsigned long long)start_time(getpid()));
	assert_int_equal(split(self, &f), 0);
	record_line(&f, "now");
	struct proc *p = proc_find(LIVE, "abc");
	assert_non_null(p);
	assert_int_equal(p->pid, 0); /* to be started, not to be adopted */
	assert_int_equal(p->argc, 2);
	proc_free(p);

	assert_int_equal(split("boot\tnow", &f), 0);
	record_line(&f, "now");
	assert_int_equal(split(self, &f), 0);
	record_line(&f, "now");
	p = proc_find(LIVE, "abc");
	assert_non_null(p);
	assert_int_equal(p->pid, getpid());
	proc_free(p);

	/* The pid is ours, the start time is another's: the pid was given out again. */
	snprintf(self, sizeof self, "live\t%d\t1\tabc\t/bin/x", (int)getpid());
	assert_int_equal(split(self, &f), 0);
	record_line(&f, "now");
	p = proc_find(LIVE, "abc");
	assert_non_null(p);
	assert_int_equal(p->pid, 0);
	proc_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_are_parted_by_tabs),
		cmocka_unit_test(test_fields_refuse_control_characters),
		cmocka_unit_test(test_ids_are_plain_names),
		cmocka_unit_test(test_numbers_are_whole_and_in_range),
		cmocka_unit_test(test_addresses_are_numeric),
		cmocka_unit_test(test_the_record_of_another_boot_names_no_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
