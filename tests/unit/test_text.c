/* lib/buf, lib/vec, lib/err, lib/json: text and values. */
#include "tests/unit/unit.h"

#include <errno.h>

#include "lib/buf.h"
#include "lib/json.h"
#include "lib/num.h"
#include "lib/vec.h"

static void test_buf_grows_and_terminates(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(100000);

	(void)state;
	assert_string_equal(buf_str(&b), "");
	for (int i = 0; i < 1000; i++) buf_addf(&b, "%d,", i);
	assert_int_equal(b.len, 3890);
	assert_int_equal(b.data[b.len], 0);
	buf_drop(&b, 2);
	assert_memory_equal(b.data, "1,2,3,", 6);
	buf_clear(&b);
	assert_string_equal(buf_str(&b), "");
}

static void test_buf_ceiling_is_sticky(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(5);
	struct err e;

	(void)state;
	buf_adds(&b, "12345");
	assert_done(buf_check(&b, "it", &e), e);
	buf_adds(&b, "6");
	buf_adds(&b, "");
	assert_string_equal(buf_str(&b), "12345");
	assert_refused(buf_check(&b, "the thing", &e), e, ERR_INPUT, "the thing is larger than 5 bytes");
}

static void test_buf_steal_of_empty_is_a_string(void **state)
{
	struct buf b = BUF_INIT(10);
	_cleanup_free_ char *s = buf_steal(&b);

	(void)state;
	assert_string_equal(s, "");
}

static void test_vec_is_an_argv_and_an_environ(void **state)
{
	_cleanup_vec_ struct vec v = VEC_INIT;

	(void)state;
	assert_null(vec_argv(&v)[0]);
	vec_setenv(&v, "A", "1");
	vec_setenv(&v, "AB", "2");
	vec_setenv(&v, "A", "3=4");
	assert_string_equal(v.items[0], "A=3=4");
	assert_string_equal(vec_getenv(&v, "AB"), "2");
	assert_null(vec_getenv(&v, "B"));
	for (int i = 0; i < 100; i++) vec_addf(&v, "%d", i);
	assert_null(v.items[v.len]);
	assert_true(vec_has(&v, "99"));
	assert_false(vec_has(&v, "100"));
}

static void test_err_texts(void **state)
{
	struct err e;

	(void)state;
	errno = EACCES;
	assert_int_equal(err_sys(&e, "cannot open '%s'", "x"), -1);
	assert_string_equal(e.text, "cannot open 'x': Permission denied");
	assert_int_equal(e.kind, ERR_SYS);
	err_wrap(&e, "job %d", 3);
	assert_string_equal(e.text, "job 3: cannot open 'x': Permission denied");
	errno = ENOENT;
	err_sys(&e, "a");
	assert_int_equal(e.kind, ERR_MISSING);
	for (int i = 0; i < 200; i++) err_wrap(&e, "0123456789");
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void test_numbers_are_digits_in_their_range(void **state)
{
	static const char *const refused[] = {"",
					      " 1",
					      "1 ",
					      "+1",
					      "-1",
					      "0x1",
					      "1a",
					      "1.0",
					      "101",
					      "9",
					      "99999999999999999999",
					      "9223372036854775808"};
	int64_t n = 7;
	int small = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		if (num_parse(refused[i], 10, 100, &n) != -1) fail_msg("'%s' is taken", refused[i]);
	assert_int_equal(n, 7);
	assert_int_equal(num_parse("10", 10, 100, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(num_parse("0100", 10, 100, &n), 0);
	assert_int_equal(n, 100);
	assert_int_equal(num_parse("9223372036854775807", 0, INT64_MAX, &n), 0);
	assert_true(n == INT64_MAX);
	assert_int_equal(num_parse("9223372036854775808", 0, INT64_MAX, &n), -1);
	assert_int_equal(num_parse("9", 0, 5, &n), -1);
	assert_int_equal(num_parse_int("65536", 0, 65535, &small), -1);
	assert_int_equal(small, 7);
	assert_int_equal(num_parse_int("0", 0, 65535, &small), 0);
	assert_int_equal(small, 0);
}

static void test_json_refuses(void **state)
{
	_cleanup_buf_ struct buf deep = BUF_INIT(10000);
	json_t *j = NULL;
	struct err e;

	(void)state;
	assert_refused(json_parse("body", "{\"a\":1,\"a\":2}", 13, &j, &e), e, ERR_INPUT,
		       "body:1:10: duplicate object key near '\"a\"'");
	for (int i = 0; i < 600; i++) buf_addch(&deep, '[');
	assert_refused(json_parse("body", deep.data, deep.len, &j, &e), e, ERR_INPUT,
		       "body: nested more than 512 levels deep");
	assert_int_equal(json_parse("body", "{} x", 4, &j, &e), -1);
	assert_null(j);
}

static void test_json_members_by_path(void **state)
{
	static const char text[] = "{\"a\":{\"b\":{\"c\":\"x\",\"n\":7,\"t\":true}}}";
	_cleanup_json_ json_t *j = NULL;
	const char *s;
	int64_t n;
	struct err e;

	(void)state;
	assert_done(json_parse("t", text, strlen(text), &j, &e), e);
	assert_done(json_need_string(j, "a.b.c", &s, &e), e);
	assert_string_equal(s, "x");
	assert_done(json_need_int(j, "a.b.n", &n, &e), e);
	assert_int_equal(n, 7);
	assert_int_equal(json_bool_or(j, "a.b.t", 0), 1);
	assert_string_equal(json_string_or(j, "a.b.n", "otherwise"), "otherwise");
	assert_refused(json_need_string(j, "a.x.c", &s, &e), e, ERR_INPUT, "'a.x.c' is missing");
	assert_refused(json_need_string(j, "a.b.n", &s, &e), e, ERR_INPUT, "'a.b.n' is not a string");
	assert_refused(json_need_int(j, "a.b.c", &n, &e), e, ERR_INPUT, "'a.b.c' is not a whole number");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf_grows_and_terminates),
		cmocka_unit_test(test_buf_ceiling_is_sticky),
		cmocka_unit_test(test_buf_steal_of_empty_is_a_string),
		cmocka_unit_test(test_vec_is_an_argv_and_an_environ),
		cmocka_unit_test(test_err_texts),
		cmocka_unit_test(test_numbers_are_digits_in_their_range),
		cmocka_unit_test(test_json_refuses),
		cmocka_unit_test(test_json_members_by_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
