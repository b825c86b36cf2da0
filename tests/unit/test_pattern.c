#include "tests/unit/unit.h"

#include "runner/plan/config.h"

static const struct {
	const char *pattern, *name;
	int matches;
} cases[] = {
	{"main", "main", 1},
	{"main", "main2", 0},
	{"ma.n", "main", 0},
	{"/ma.n/", "xmainx", 1},
	{"/^main$/", "main", 1},
	{"/^main$/", "mainx", 0},
	{"/\\Amain\\z/", "main", 1},
	{"/MAIN/", "main", 0},
	{"/MAIN/i", "main", 1},
	{"/[A-C]+/i", "xxbxx", 1},
	{"/^[^a-c]+$/i", "DEF", 1},
	{"/^[^a-c]+$/i", "DEB", 0},
	{"/^v\\d+(?:\\.\\d+)*$/", "v1.20.3", 1},
	{"/^v\\d+(?:\\.\\d+)*$/", "v1.20.", 0},
	{"/^(release|hotfix)\\/.+/", "hotfix/7", 1},
	{"/^(release|hotfix)\\/.+/", "hotfix/", 0},
	{"/^(release|hotfix|)$/", "", 1},
	{"/^a{2,3}$/", "a", 0},
	{"/^a{2,3}$/", "aaa", 1},
	{"/^a{2,3}$/", "aaaa", 0},
	{"/^a{2}$/", "aa", 1},
	{"/^a{2,}b$/", "aaaab", 1},
	{"/^a{,2}b$/", "aaab", 0},
	{"/^a{0}b$/", "b", 1},
	{"/^x{y}$/", "x{y}", 1},
	{"/^(ab?)+?c$/", "aabac", 1},
	{"/^a+?$/", "", 0},
	{"/^(a*)*$/", "aaa", 1},
	{"/^(a*)*$/", "aab", 0},
	{"/^(|a)+b$/", "aaab", 1},
	{"/\\bfix\\b/", "my-fix-2", 1},
	{"/\\bfix\\b/", "prefix", 0},
	{"/\\Bfix/", "prefix", 1},
	{"/^[\\w.-]+$/", "a_b.c-1", 1},
	{"/^[\\w.-]+$/", "a/b", 0},
	{"/^[]a]+$/", "]a", 1},
	{"/^[a\\]\\-]+$/", "]-a", 1},
	{"/^[a-]+$/", "-a", 1},
	{"/^\\D\\S\\W$/", "ab.", 1},
	{"/^\\s$/", " ", 1},
	{"/^caf\xc3\xa9$/", "caf\xc3\xa9", 1},
	{"/gh[-_]pages/i", "GH_PAGES", 1},
	{"/./", "", 0},
	{"/a/b/", "xa/b", 1},
	{"//", "anything", 1},
	{"/(?i)MAIN/", "main", 1},
	{"/(?i:MA)IN/", "main", 0},
	{"/(?i:MA)in/", "main", 1},
	{"/^b$/", "a\nb\nc", 1},
	{"/\\Ab\\z/", "a\nb\nc", 0},
};

static void test_matching(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int budget = PATTERN_BUDGET;
		struct pattern p = {0};
		const char *why = pattern_make(cases[i].pattern, &budget, &p);

		if (why) fail_msg("%s: %s", cases[i].pattern, why);
		if (pattern_matches(&p, cases[i].name) != cases[i].matches)
			fail_msg("%s on '%s': wanted %d", cases[i].pattern, cases[i].name, cases[i].matches);
		pattern_release(&p);
	}
}

static const struct {
	const char *pattern, *why;
} bad[] = {
	{"", "must not be empty"},
	{"/", "begins with '/' but is no /regular expression/"},
	{"/a", "begins with '/' but is no /regular expression/"},
	{"/a/x", "has flags other than i behind its regular expression"},
	{"/(/", "has a ( that is never closed"},
	{"/a)/", "has a ) without its ("},
	{"/(?=a)/", "has a (?…) in its regular expression that is not supported"},
	{"/[a/", "has a [ in its regular expression that is never closed"},
	{"/[z-a]/", "has a range in [...] that runs backwards"},
	{"/[[:alpha:]]/", "has a [ inside [...] that is not supported"},
	{"/[\xc3\xa9]/", "has a character in [...] that is not ASCII"},
	{"/*a/", "has nothing before a * + or ? to repeat"},
	{"/a{3,2}/", "has a {…} in its regular expression that runs backwards"},
	{"/(a)\\1/", "has an escape in its regular expression that is not supported"},
	{"/a\\/", "ends in a backslash"},
	{"/((((((a+)+)+)+)+){99}){99}/", "is too large a regular expression"},
	{"/a{99999999999999999999}/", "is too large a regular expression"},
	{"/((((((((((((((((((a))))))))))))))))))/", "has too many ( inside each other"},
};

static void test_refusals(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		int budget = PATTERN_BUDGET;
		struct pattern p = {0};
		const char *why = pattern_make(bad[i].pattern, &budget, &p);

		if (!why) fail_msg("%s was taken", bad[i].pattern);
		assert_string_equal(why, bad[i].why);
	}
}

static void test_a_file_has_one_budget(void **state)
{
	int budget = 10;
	struct pattern p = {0};

	(void)state;
	assert_null(pattern_make("/abcde/", &budget, &p));
	pattern_release(&p);
	assert_int_equal(budget, 4);
	assert_string_equal(pattern_make("/abcde/", &budget, &p),
			    "is one regular expression too many: together they are too large");
}

/* What takes a backtracking matcher, and glibc's compiler, for ever. */
static void test_hostile_expressions_are_quick(void **state)
{
	static const char *const hostile[] = {"/^(([ab]*)*(m|ma|mai)*){1,100}x$/", "/^(a|a)*(a|a)*(a|aa)+$/",
					      "/(a?){300}a{300}/", "/^((a+)+)+$/"};
	char name[1000];
	int64_t before = clock_mono_ms();

	(void)state;
	memset(name, 'a', sizeof(name) - 2);
	name[sizeof(name) - 2] = 'b';
	name[sizeof(name) - 1] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
		int budget = PATTERN_BUDGET;
		struct pattern p = {0};

		assert_null(pattern_make(hostile[i], &budget, &p));
		(void)pattern_matches(&p, name);
		pattern_release(&p);
	}
	assert_true(clock_mono_ms() - before < 2000);
}

static const struct {
	const char *pattern, *why; /* NULL: something matches */
} never[] = {
	{"main", NULL},
	{"/^v\\d/", NULL},
	{"/^feature\\/.*-wip$/", NULL},
	{"/\\bfix\\b/", NULL},
	{"/a\\Bb/", NULL},
	{"/^$/", NULL},
	{"//", NULL},
	{"/(a|b^)c/", NULL},
	{"/x*^main/", NULL},
	{"release/*", "matches nothing: it is an exact name; write a /regular expression/ for more than one"},
	{"refs/heads/main", "matches nothing: a branch's name has no refs/heads/ before it"},
	{"/^refs\\/heads\\/main$/", "matches nothing: a branch's name has no refs/heads/ before it"},
	{"my branch", "matches nothing that a branch can be called"},
	{"/a^b/", "matches nothing that a branch can be called"},
	{"/^main$ /", "matches nothing that a branch can be called"},
	{"/main$x/", "matches nothing that a branch can be called"},
	{"/^my branch$/", "matches nothing that a branch can be called"},
	{"/a\\bb/", "matches nothing that a branch can be called"},
	{"/a\\B-/", "matches nothing that a branch can be called"},
	{"/^release-[~^:]/", "matches nothing that a branch can be called"},
	{"/(a|b)\\Ac/", "matches nothing that a branch can be called"},
};

static void test_what_can_never_match(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		int budget = PATTERN_BUDGET;
		struct pattern p = {0};
		const char *why;

		assert_null(pattern_make(never[i].pattern, &budget, &p));
		why = pattern_never(&p);
		if (!why != !never[i].why) fail_msg("%s: %s", never[i].pattern, why ? why : "may match");
		if (why) assert_string_equal(why, never[i].why);
		pattern_release(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_a_file_has_one_budget),
		cmocka_unit_test(test_hostile_expressions_are_quick),
		cmocka_unit_test(test_what_can_never_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
