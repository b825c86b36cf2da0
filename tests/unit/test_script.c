/* The job script, run for real by every shell that jobs meet: dash, busybox's ash, bash, and bash as sh. */
#include "tests/unit/unit.h"

#include "lib/buf.h"
#include "lib/child.h"
#include "runner/plan/plan.h"

struct shell {
	const char *name;
	const char *argv[4];
};
static const struct shell shells[] = {
	{"dash", {"dash"}},
	{"busybox", {"busybox", "sh"}},
	{"bash", {"bash"}},
	{"bash as sh", {"bash", "--posix"}},
};

static const char *const secrets[] = {"DEPLOY_KEY", NULL};

static struct script_context context(void)
{
	static const char *const exports[] = {"CI=true", "CI_MESSAGE=it's \"$HOME\" `x` \\ \n two", NULL};

	return (struct script_context){.file = ".ci.yml", .exports = exports};
}

/* A job read from YAML, as in life. */
static void job_from(const char *yaml, struct plan *plan)
{
	struct plan_context cx = {.kind = EVENT_PUSH, .branch = "main"};
	struct plan_problems problems;
	struct err e;

	assert_done(plan_make(".ci.yml", yaml, strlen(yaml), &cx, plan, &problems, &e), e);
	plan_problems_release(&problems);
	assert_int_equal(plan->njobs, 1);
}

/* Runs it in a folder of its own; stdout of the shell goes to out, stderr is dropped into err. */
static struct child_status run(const struct shell *shell, const char *text, struct buf *out, struct buf *errors)
{
	static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/nowhere", "DEPLOY_KEY=hunter2",
					  NULL};
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *file = xasprintf("%s/script", dir);
	const char *argv[6] = {0};
	struct child_opts opts = {.argv = argv, .env = env, .cwd = dir};
	struct child_status status;
	struct err e;
	int n = 0;

	while (shell->argv[n]) {
		argv[n] = shell->argv[n];
		n++;
	}
	argv[n] = file;
	assert_done(fs_write_file(file, text, strlen(text), 0600, &e), e);
	assert_done(child_run(&opts, NULL, 20000, out, errors, &status, &e), e);
	return status;
}

#define FOLD(what, name) "travis_fold:" what ":" name "\r\033[0K"

/* Output and status must be the same in all shells. */
static void expect_cx(const char *yaml, const struct script_context *cx, int status, const char *output)
{
	struct plan plan = {0};
	_cleanup_free_ char *text = NULL;

	job_from(yaml, &plan);
	text = script_make(&plan.jobs[0], cx);
	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20), errors = BUF_INIT(1 << 20);
		struct child_status st = run(&shells[i], text, &out, &errors);

		if (strcmp(buf_str(&out), output) != 0 || st.end != CHILD_EXITED || st.code != status)
			fail_msg("%s: %s, wanted %d\n--- wanted\n%s\n--- got\n%s\n--- stderr\n%s", shells[i].name,
				 child_status_str(st), status, output, buf_str(&out), buf_str(&errors));
	}
	plan_release(&plan);
}

static void expect(const char *yaml, int status, const char *output)
{
	struct script_context cx = context();

	expect_cx(yaml, &cx, status, output);
}

static void test_passed(void **state)
{
	(void)state;
	expect("image: x\ninstall: echo in\nscript: [echo one, echo two]\nafter_success: echo good\n"
	       "after_failure: echo bad\nafter_script: echo last\n",
	       0,
	       FOLD("start", "install") "$ echo in\nin\n" FOLD(
		       "end", "install") "$ echo one\none\n\nThe command \"echo one\" exited with 0.\n"
					 "$ echo two\ntwo\n\nThe command \"echo two\" exited with 0.\n" FOLD(
						 "start", "after_success") "$ echo good\ngood\n" FOLD("end",
												      "after_success")
						 FOLD("start", "after_script") "$ echo last\nlast\n" FOLD(
							 "end", "after_script") "\nDone. Your build exited with 0.\n");
}

static void test_script_runs_all_commands_and_fails(void **state)
{
	(void)state;
	expect("image: x\nscript: [sh -c 'exit 3', \"true\"]\nafter_success: echo good\n"
	       "after_failure: ['echo bad $TRAVIS_TEST_RESULT', \"false\"]\n",
	       1,
	       "$ sh -c 'exit 3'\n\nThe command \"sh -c 'exit 3'\" exited with 3.\n"
	       "$ true\n\nThe command \"true\" exited with 0.\n" FOLD(
		       "start", "after_failure.1") "$ echo bad $TRAVIS_TEST_RESULT\nbad 1\n" FOLD("end",
												  "after_failure.1")
		       FOLD("start", "after_failure.2") "$ false\n" FOLD(
			       "end", "after_failure.2") "\nDone. Your build exited with 1.\n");
}

static void test_setup_stops_at_the_first_failure(void **state)
{
	(void)state;
	expect("image: x\nbefore_install: echo a\ninstall: [(exit 7), echo never]\nscript: echo never\n"
	       "after_failure: echo never\nafter_script: echo never\n",
	       2,
	       FOLD("start", "before_install") "$ echo a\na\n" FOLD("end", "before_install")
		       FOLD("start", "install.1") "$ (exit 7)\n" FOLD(
			       "end", "install.1") "\nThe command \"(exit 7)\" failed and exited with 7 during "
						   "install.\n\nYour build has been stopped.\n");
}

static void test_skipped_phases(void **state)
{
	(void)state;
	expect("image: x\ninstall: skip\nscript: [ignore]\nafter_success: echo good\n", 0,
	       "\nSkipping the install step, as specified in the configuration.\n"
	       "\nSkipping the script step, as specified in the configuration.\n" FOLD(
		       "start", "after_success") "$ echo good\ngood\n" FOLD("end",
									    "after_success") "\nDone. Your build "
											     "exited with 0.\n");
}

static void test_no_script_is_86(void **state)
{
	(void)state;
	expect("image: x\nafter_failure: echo bad\n", 86,
	       FOLD("start", "after_failure") "$ echo bad\nbad\n" FOLD(
		       "end", "after_failure") "\nDone. Your build exited with 86.\n");
}

static void test_one_shell_for_everything(void **state)
{
	(void)state;
	expect("image: x\nbefore_install: ['mkdir -p sub/deep && cd sub', A=1, 'export B=2', 'f() { echo f$1; }', set "
	       "-- x y]\n"
	       "script: ['basename \"$PWD\"; echo $A$B $#; f 3', 'cd deep', 'basename \"$PWD\"']\n",
	       0,
	       FOLD("start", "before_install.1") "$ mkdir -p sub/deep && cd sub\n" FOLD("end", "before_install.1") FOLD(
		       "start", "before_install.2") "$ A=1\n" FOLD("end", "before_install.2")
		       FOLD("start", "before_install.3") "$ export B=2\n" FOLD("end", "before_install.3") FOLD(
			       "start", "before_install.4") "$ f() { echo f$1; }\n" FOLD("end", "before_install.4")
			       FOLD("start", "before_install.5") "$ set -- x y\n" FOLD(
				       "end",
				       "before_install.5") "$ basename \"$PWD\"; echo $A$B $#; f 3\nsub\n12 2\nf3\n"
							   "\nThe command \"basename \"$PWD\"; echo $A$B $#; f 3\" "
							   "exited with 0.\n"
							   "$ cd deep\n\nThe command \"cd deep\" exited with 0.\n"
							   "$ basename \"$PWD\"\ndeep\n\nThe command \"basename "
							   "\"$PWD\"\" exited with 0.\n"
							   "\nDone. Your build exited with 0.\n");
}

/* A syntax error fails its own command; the shells differ in the status and in what they say. */
static void test_syntax_error_is_that_commands_failure(void **state)
{
	struct script_context cx = context();
	struct plan plan = {0};
	_cleanup_free_ char *text = NULL;

	(void)state;
	job_from("image: x\nscript: ['if then fi (', 'echo \"open', 'echo next']\n", &plan);
	text = script_make(&plan.jobs[0], &cx);
	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20), errors = BUF_INIT(1 << 20);
		struct child_status st = run(&shells[i], text, &out, &errors);

		if (st.end != CHILD_EXITED || st.code != 1 || strstr(buf_str(&out), "exited with 0.\n$ echo \"open") ||
		    !strstr(buf_str(&out), "next\n\nThe command \"echo next\" exited with 0.\n") ||
		    !strstr(buf_str(&out), "Done. Your build exited with 1.\n"))
			fail_msg("%s: %s\n%s\n--- stderr\n%s", shells[i].name, child_status_str(st), buf_str(&out),
				 buf_str(&errors));
	}
	plan_release(&plan);
}

static void test_syntax_error_in_setup_stops(void **state)
{
	struct script_context cx = context();
	struct plan plan = {0};
	_cleanup_free_ char *text = NULL;

	(void)state;
	job_from("image: x\ninstall: 'for'\nscript: echo never\n", &plan);
	text = script_make(&plan.jobs[0], &cx);
	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20), errors = BUF_INIT(1 << 20);
		struct child_status st = run(&shells[i], text, &out, &errors);

		if (st.end != CHILD_EXITED || st.code != 2 || strstr(buf_str(&out), "echo never") ||
		    !strstr(buf_str(&out), "during install.\n\nYour build has been stopped.\n"))
			fail_msg("%s: %s\n%s\n--- stderr\n%s", shells[i].name, child_status_str(st), buf_str(&out),
				 buf_str(&errors));
	}
	plan_release(&plan);
}

static void test_exit_ends_the_job_and_says_so(void **state)
{
	(void)state;
	expect("image: x\ninstall: exit 5\nscript: echo never\n", 5,
	       FOLD("start", "install") "$ exit 5\n"
					"\nThe command \"exit 5\" ended the shell with 5 during install.\n");
	expect("image: x\nscript: ['set -e', \"false\", echo never]\n", 1,
	       "$ set -e\n\nThe command \"set -e\" exited with 0.\n$ false\n"
	       "\nThe command \"false\" ended the shell with 1 during script.\n");
	expect("image: x\nscript: ['set -eu', 'echo ok']\nafter_success: echo good\n", 0,
	       "$ set -eu\n\nThe command \"set -eu\" exited with 0.\n$ echo ok\nok\n"
	       "\nThe command \"echo ok\" exited with 0.\n" FOLD("start", "after_success") "$ echo good\ngood\n" FOLD(
		       "end", "after_success") "\nDone. Your build exited with 0.\n");
}

static void test_users_exit_trap_stays_the_users(void **state)
{
	(void)state;
	expect("image: x\nscript: \"trap 'echo bye' EXIT\"\n", 0,
	       "$ trap 'echo bye' EXIT\n\nThe command \"trap 'echo bye' EXIT\" exited with 0.\n"
	       "\nDone. Your build exited with 0.\nbye\n");
}

static void test_commands_get_no_input(void **state)
{
	(void)state;
	expect("image: x\nscript: ['cat; echo end', 'read x || echo none']\n", 0,
	       "$ cat; echo end\nend\n\nThe command \"cat; echo end\" exited with 0.\n"
	       "$ read x || echo none\nnone\n\nThe command \"read x || echo none\" exited with 0.\n"
	       "\nDone. Your build exited with 0.\n");
}

static void test_nasty_bytes(void **state)
{
	(void)state;
	expect("image: x\nscript:\n"
	       "- |\n"
	       "  cat <<'END' && cat <<END\n"
	       "  it's \"$HOME\" `x` \\ %s \\n é\xc3\x81\xc3\x88€\n"
	       "  END\n"
	       "  home=$HOME\n"
	       "  END\n"
	       "- printf '%s|' \"a'b\" '\"' '$x' '`' '\\' \"$UNSET\"   # a comment\n"
	       "- \"echo '\\\\' \\\"$CI_MESSAGE\\\" \\\\\"\n",
	       0,
	       "$ cat <<'END' && cat <<END\nit's \"$HOME\" `x` \\ %s \\n é\xc3\x81\xc3\x88€\nEND\nhome=$HOME\nEND\n"
	       "it's \"$HOME\" `x` \\ %s \\n é\xc3\x81\xc3\x88€\nhome=/nowhere\n"
	       "\nThe command \"cat <<'END' && cat <<END\nit's \"$HOME\" `x` \\ %s \\n "
	       "é\xc3\x81\xc3\x88€\nEND\nhome=$HOME\n"
	       "END\" exited with 0.\n"
	       "$ printf '%s|' \"a'b\" '\"' '$x' '`' '\\' \"$UNSET\"\n"
	       "a'b|\"|$x|`|\\||"
	       "\nThe command \"printf '%s|' \"a'b\" '\"' '$x' '`' '\\' \"$UNSET\"\" exited with 0.\n"
	       "$ echo '\\' \"$CI_MESSAGE\" \\\n"
	       "\\ it's \"$HOME\" `x` \\ \n two \\\n"
	       "\nThe command \"echo '\\' \"$CI_MESSAGE\" \\\" exited with 0.\n"
	       "\nDone. Your build exited with 0.\n");
}

static void test_env(void **state)
{
	struct script_context cx = context();

	(void)state;
	cx.secret_names = secrets;
	expect_cx("image: x\nbackend: xen\narch: amd64\nenv:\n  global:\n  - A=1 B=\"x  $A\"\n  - {C: a b, D: $B}\n"
		  "  - DEPLOY_KEY: {secure: YWJj}\n"
		  "script: 'echo \"$A|$B|$C|$D|$BACKEND|$ARCH|$DEPLOY_KEY|$CI\"; sh -c \"echo \\$D\"'\n",
		  &cx, 0,
		  "\nSetting environment variables from .ci.yml\n$ export DEPLOY_KEY=[secure]\n"
		  "$ export A=1\n$ export B=\"x  $A\"\n$ export C=\"a b\"\n$ export D=$B\n\n"
		  "$ echo \"$A|$B|$C|$D|$BACKEND|$ARCH|$DEPLOY_KEY|$CI\"; sh -c \"echo \\$D\"\n"
		  "1|x  1|a b|x  1|xen|amd64|hunter2|true\nx 1\n"
		  "\nThe command \"echo \"$A|$B|$C|$D|$BACKEND|$ARCH|$DEPLOY_KEY|$CI\"; sh -c \"echo \\$D\"\" exited "
		  "with 0.\n"
		  "\nDone. Your build exited with 0.\n");
}

static void test_later_sealed_value_wins_over_text(void **state)
{
	struct script_context cx = context();

	(void)state;
	cx.secret_names = secrets;
	expect_cx(
		"image: x\nenv: {global: [DEPLOY_KEY=public, DEPLOY_KEY: {secure: YWJj}]}\nscript: echo $DEPLOY_KEY\n",
		&cx, 0,
		"\nSetting environment variables from .ci.yml\n$ export DEPLOY_KEY=[secure]\n\n"
		"$ echo $DEPLOY_KEY\nhunter2\n\nThe command \"echo $DEPLOY_KEY\" exited with 0.\n"
		"\nDone. Your build exited with 0.\n");
}

static void test_secrets_removed_is_said(void **state)
{
	struct script_context cx = context();

	(void)state;
	cx.secrets_removed = 1;
	expect_cx("image: x\nenv: {global: {secure: YWJj}}\nscript: \"true\"\n", &cx, 0,
		  "\nEncrypted environment variables have been removed for security reasons.\n"
		  "$ true\n\nThe command \"true\" exited with 0.\n\nDone. Your build exited with 0.\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passed),
		cmocka_unit_test(test_script_runs_all_commands_and_fails),
		cmocka_unit_test(test_setup_stops_at_the_first_failure),
		cmocka_unit_test(test_skipped_phases),
		cmocka_unit_test(test_no_script_is_86),
		cmocka_unit_test(test_one_shell_for_everything),
		cmocka_unit_test(test_syntax_error_is_that_commands_failure),
		cmocka_unit_test(test_syntax_error_in_setup_stops),
		cmocka_unit_test(test_exit_ends_the_job_and_says_so),
		cmocka_unit_test(test_users_exit_trap_stays_the_users),
		cmocka_unit_test(test_commands_get_no_input),
		cmocka_unit_test(test_nasty_bytes),
		cmocka_unit_test(test_env),
		cmocka_unit_test(test_later_sealed_value_wins_over_text),
		cmocka_unit_test(test_secrets_removed_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
