/* Conditions, evaluated for one event and one job; what is refused and where; that none costs much. */
#include "tests/unit/unit.h"

#include "lib/buf.h"
#include "runner/plan/config.h"

static const char *attribute(void *arg, enum condition_attribute which)
{
	static const char *const all[][2] = {{"type", "push"},
					     {"branch", "master"},
					     {"repo", "me/site"},
					     {"fork", "false"},
					     {"sender", ""},
					     {"sudo", "True"},
					     {"commit_message", "first line\nrelease: 1.0"}};

	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (!strcmp(all[i][0], condition_attributes[which])) return all[i][1];
	return NULL;
}

static const char *env(void *arg, const char *name)
{
	(void)arg;
	if (!strcmp(name, "FOO")) return "foo";
	if (!strcmp(name, "OFF")) return "false";
	if (!strcmp(name, "EMPTY")) return "";
	if (!strcmp(name, "RE")) return "^mas.er$";
	if (!strcmp(name, "BAD")) return "(";
	return NULL;
}

static int holds_within(const char *text, int64_t *budget)
{
	struct condition_data d = {attribute, env, NULL, budget};
	struct condition *c = NULL;
	int steps = PATTERN_BUDGET, yes;
	size_t at;
	const char *why = condition_make(text, &steps, &c, &at);

	if (why) fail_msg("'%s': %s at %zu", text, why, at);
	yes = condition_holds(c, &d);
	condition_free(&c);
	return yes;
}

static const struct {
	const char *text;
	int holds;
} cases[] = {
	{"branch = master", 1},
	{"branch == master", 1},
	{"branch=master", 1},
	{"branch != master", 0},
	{"branch != other", 1},
	{"BRANCH = master", 1},
	{"branch = Master", 0},
	{"tag = x", 0},
	{"tag != x", 1},
	{"1 = 1", 1},
	{"true = TRUE", 1},
	{"\"a b\" = 'a b'", 1},
	{"'true' = true", 1},
	/* alone */
	{"true", 1},
	{"TRUE", 1},
	{"false", 0},
	{"FALSE", 0},
	{"0", 1},
	{"\"\"", 1},
	{"tag", 0},
	{"fork", 0},
	{"env(FOO)", 1},
	{"env(OFF)", 0},
	{"env(NONE)", 0},
	/* or, and, not */
	{"branch = x OR branch = master", 1},
	{"branch = x || branch = master", 1},
	{"branch = master AND type = api", 0},
	{"branch = master && type = push", 1},
	{"NOT branch = x", 1},
	{"not not branch = x", 0},
	{"branch = x OR env(FOO) = foo AND NOT tag = y", 1},
	{"branch = master OR branch = master AND tag = y", 1},
	{"(branch = master OR branch = master) AND tag = y", 0},
	{"NOT (branch = x OR branch = master)", 0},
	{"NOT branch = x AND (env(FOO) = foo OR tag = y)", 1},
	{"branch = master AND\\\n type = push", 1},
	{"branch = master AND\n  type = push", 1},
	/* in */
	{"branch IN (x, master)", 1},
	{"branch in (x,y)", 0},
	{"branch NOT IN (x, y)", 1},
	{"branch not in (master)", 0},
	{"env(FOO) IN (branch, env(FOO))", 1},
	{"tag NOT IN (x)", 1},
	/* is */
	{"branch IS present", 1},
	{"sender IS present", 0},
	{"sender IS blank", 1},
	{"tag IS blank", 1},
	{"tag IS NOT present", 1},
	{"sudo IS true", 1},
	{"fork IS false", 1},
	{"fork IS NOT true", 1},
	{"env(EMPTY) IS blank", 1},
	{"env(OFF) IS present", 0},
	/* regular expressions */
	{"branch =~ ^ma.*$", 1},
	{"branch =~ /^ma.*$/", 1},
	{"branch ~= /er$/", 1},
	{"branch !~ /^x/", 1},
	{"branch =~ /MASTER/", 0},
	{"branch =~ /MASTER/i", 1},
	{"branch =~ /(?i)MASTER/", 1},
	{"commit_message =~ /^release: \\d/", 1},
	{"commit_message =~ /line$/", 1},
	{"commit_message =~ /\\Arelease/", 0},
	{"repo =~ /^me\\/s/", 1},
	{"tag =~ /./", 0},
	{"tag !~ /./", 1},
	{"sudo =~ /T/", 0},
	{"(branch =~ ^mas)", 1},
	{"branch =~ env(RE)", 1},
	{"branch =~ concat('^', branch, '$')", 1},
	/* calls */
	{"concat(branch, -, env(FOO), -, tag, fork) = master-foo-false", 1},
	{"env(concat(F, OO)) = foo", 1},
	{"ENV(FOO) = foo", 1},
	{"env (FOO) = foo", 1},
};

static void test_what_holds(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int64_t budget = CONDITION_BUDGET;
		int got = holds_within(cases[i].text, &budget);

		if (got != cases[i].holds) fail_msg("'%s': %d, wanted %d", cases[i].text, got, cases[i].holds);
	}
}

static const struct {
	const char *text, *why;
	size_t at;
} bad[] = {
	{"", "ends where a value is wanted", 0},
	{"branch =", "ends where a value is wanted", 8},
	{"branch = a b", "has something behind its end: AND or OR is missing, or quotes", 11},
	{"branch = a AND", "ends where a value is wanted", 14},
	{"(branch = a", "has a ( that is never closed", 11},
	{"branch = a)", "has something behind its end: AND or OR is missing, or quotes", 10},
	{"branch = 'a", "has a quote that is never closed", 9},
	{"branch IN a", "wants a list in ( ) here", 10},
	{"branch IN ()", "has an empty list", 12},
	{"branch IN (a b)", "wants , or ) here", 13},
	{"branch IS here", "wants present, blank, true or false here", 10},
	{"branch =~ /a", "has a / that is never closed", 10},
	{"branch =~ /(/", "has a ( that is never closed", 10},
	{"branch =~ /a(?=b)/", "has a (?…) in its regular expression that is not supported", 10},
	{"branch =~ ", "wants a regular expression here", 10},
	{"$BRANCH = a", "has a word that begins with $: ask env(NAME) for a variable", 0},
	{"env(A, B) = a", "asks env() for more than one name", 10},
};

static void test_what_is_refused_and_where(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int steps = PATTERN_BUDGET;
		struct condition *c = NULL;
		size_t at = 99;
		const char *why = condition_make(bad[i].text, &steps, &c, &at);

		if (!why) fail_msg("'%s' was taken", bad[i].text);
		assert_string_equal(why, bad[i].why);
		if (at != bad[i].at) fail_msg("'%s': at %zu, wanted %zu", bad[i].text, at, bad[i].at);
		assert_null(c);
	}
}

static void refused(struct buf *b, const char *why)
{
	int steps = PATTERN_BUDGET;
	struct condition *c = NULL;
	size_t at;

	assert_string_equal(condition_make(buf_str(b), &steps, &c, &at), why);
	buf_clear(b);
}

static void test_hostile_conditions_are_bounded(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
	int64_t budget = 1000;

	(void)state;
	for (int i = 0; i < 1000; i++) buf_adds(&b, "(");
	refused(&b, "is nested too deep");
	for (int i = 0; i < 500; i++) buf_adds(&b, "not ");
	refused(&b, "is nested too deep");
	buf_adds(&b, "env(");
	for (int i = 0; i < 500; i++) buf_adds(&b, "concat(");
	refused(&b, "is nested too deep");
	for (int i = 0; i < 300; i++) buf_adds(&b, "a=b OR ");
	refused(&b, "is too long a condition");
	for (int i = 0; i < 5000; i++) buf_adds(&b, " ");
	refused(&b, "is longer than 4096 bytes");
	/* what evaluating may cost is counted: of regular expressions steps times bytes */
	assert_int_equal(holds_within("commit_message =~ /((a|b|c|d|e|f|g|h)*){1,20}x$/", &budget), -1);
	assert_true(budget < 0);
	budget = 3;
	assert_int_equal(holds_within("1 = 1 AND 1 = 1 AND 1 = 1 AND 1 = 1", &budget), -1);
	budget = CONDITION_BUDGET;
	assert_int_equal(holds_within("branch =~ env(BAD)", &budget), -1);
	assert_int_equal(holds_within("branch =~ env(NONE)", &budget), -1);
}

static void test_words_that_are_no_attributes(void **state)
{
	static const struct {
		const char *text, *odd;
	} all[] = {{"brnach = master", "brnach"},
		   {"branch = master", NULL},
		   {"master = branch", NULL},
		   {"env(A) = master", NULL},
		   {"'a' = b", NULL},
		   {"comit =~ /x/", "comit"},
		   {"tg IN (a)", "tg"},
		   {"a", NULL}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		int steps = PATTERN_BUDGET;
		struct condition *c = NULL;
		const char *odd;
		size_t at;

		assert_null(condition_make(all[i].text, &steps, &c, &at));
		odd = condition_odd(c);
		if (!odd != !all[i].odd) fail_msg("'%s': %s", all[i].text, odd ? odd : "nothing");
		if (odd) assert_string_equal(odd, all[i].odd);
		condition_free(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_holds),
		cmocka_unit_test(test_what_is_refused_and_where),
		cmocka_unit_test(test_hostile_conditions_are_bounded),
		cmocka_unit_test(test_words_that_are_no_attributes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
