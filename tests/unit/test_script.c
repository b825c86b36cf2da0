/* The job script, run for real by every shell that jobs meet: dash, busybox's ash, bash, and bash as sh. */
#include "tests/unit/unit.h"

#include <unistd.h>

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
static const size_t secret_rows[] = {1};

static struct script_context context(void)
{
	static const char *const exports[] = {"CI=true", "CI_MESSAGE=it's \"$HOME\" `x` \\ \n two", NULL};

	return (struct script_context){.file = ".ci.yml", .exports = exports, .secret_rows = secret_rows};
}

/* A job read from YAML, as in life. */
static void job_from(const char *yaml, struct plan *plan)
{
	struct plan_context cx = {.kind = EVENT_PUSH, .branch = "main"};
	struct plan_problems problems;
	struct err e;

	if (!strncmp(yaml, "language:", 9)) cx.dialect = PLAN_TRAVIS;
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

/* Its name is known by the opened value alone. */
static void test_sealed_value_without_a_name_wins_by_its_place(void **state)
{
	struct script_context cx = context();

	(void)state;
	cx.secret_names = secrets;
	expect_cx("image: x\nenv: {global: [DEPLOY_KEY=public, {secure: YWJj}]}\nscript: echo $DEPLOY_KEY\n", &cx, 0,
		  "\nSetting environment variables from .ci.yml\n$ export DEPLOY_KEY=[secure]\n\n"
		  "$ echo $DEPLOY_KEY\nhunter2\n\nThe command \"echo $DEPLOY_KEY\" exited with 0.\n"
		  "\nDone. Your build exited with 0.\n");
	expect_cx("image: x\nenv: {global: [A=1, {secure: YWJj}, DEPLOY_KEY=public]}\nscript: echo $DEPLOY_KEY\n", &cx,
		  0,
		  "\nSetting environment variables from .ci.yml\n$ export DEPLOY_KEY=[secure]\n$ export A=1\n"
		  "$ export DEPLOY_KEY=public\n\n"
		  "$ echo $DEPLOY_KEY\npublic\n\nThe command \"echo $DEPLOY_KEY\" exited with 0.\n"
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

/* --- what scripts written for Travis call --- */

static void test_retry(void **state)
{
	(void)state;
	expect("image: x\nbefore_script: 'sleep() { echo slept $1; }'\n"
	       "script:\n- 'travis_retry test -e here'\n- 'flaky() { echo x >>n; [ $(wc -l <n) = 2 ]; }'\n"
	       "- 'travis_retry flaky'\n- 'travis_retry sh -c \"exit 7\"'\n",
	       1,
	       FOLD("start", "before_script") "$ sleep() { echo slept $1; }\n" FOLD(
		       "end", "before_script") "$ travis_retry test -e here\nslept 1\nslept 1\n"
					       "\nThe command \"travis_retry test -e here\" exited with 1.\n"
					       "$ flaky() { echo x >>n; [ $(wc -l <n) = 2 ]; }\n"
					       "\nThe command \"flaky() { echo x >>n; [ $(wc -l <n) = 2 ]; }\" exited "
					       "with 0.\n"
					       "$ travis_retry flaky\nslept 1\n"
					       "\nThe command \"travis_retry flaky\" exited with 0.\n"
					       "$ travis_retry sh -c \"exit 7\"\nslept 1\nslept 1\n"
					       "\nThe command \"travis_retry sh -c \"exit 7\"\" exited with 7.\n"
					       "\nDone. Your build exited with 1.\n");
}

static void test_wait(void **state)
{
	(void)state;
	expect("image: x\nscript:\n- travis_wait 5 sh -c 'echo said; exit 3'\n- 'sleep() { :; }'\n"
	       "- 'travis_wait 2 cat /dev/zero | tr -d \"\\0\" | head -n 4'\n",
	       1,
	       "$ travis_wait 5 sh -c 'echo said; exit 3'\n"
	       "\n\033[31;1mThe command sh -c echo said; exit 3 exited with 3.\033[0m\n\n\033[32;1mLog:\033[0m\n\n"
	       "said\n\nThe command \"travis_wait 5 sh -c 'echo said; exit 3'\" exited with 3.\n"
	       "$ sleep() { :; }\n\nThe command \"sleep() { :; }\" exited with 0.\n"
	       "$ travis_wait 2 cat /dev/zero | tr -d \"\\0\" | head -n 4\n"
	       "Still running (1 of 2): cat /dev/zero\nStill running (2 of 2): cat /dev/zero\n"
	       "\n\033[31;1mTimeout (2 minutes) reached. Terminating \"cat /dev/zero\"\033[0m\n"
	       "\nThe command \"travis_wait 2 cat /dev/zero | tr -d \"\\0\" | head -n 4\" exited with 0.\n"
	       "\nDone. Your build exited with 1.\n");
}

static void test_fold_terminate_result_assert(void **state)
{
	(void)state;
	expect("image: x\nscript:\n- travis_fold start a; echo in; travis_fold end a\n- travis_result 4; echo "
	       "$TRAVIS_TEST_RESULT $TRAVIS_STAGE\n- 'false || travis_terminate 5'\n- echo never\n",
	       5,
	       "$ travis_fold start a; echo in; travis_fold end a\n" FOLD("start", "a") "in\n" FOLD(
		       "end", "a") "\nThe command \"travis_fold start a; echo in; travis_fold end a\" exited with 0.\n"
				   "$ travis_result 4; echo $TRAVIS_TEST_RESULT $TRAVIS_STAGE\n"
				   "\nThe command \"travis_result 4; echo $TRAVIS_TEST_RESULT $TRAVIS_STAGE\" exited "
				   "with 4.\n1 script\n"
				   "\nThe command \"travis_result 4; echo $TRAVIS_TEST_RESULT $TRAVIS_STAGE\" exited "
				   "with 0.\n$ false || travis_terminate 5\n");
	expect("image: x\nscript:\n- travis_assert 9\n- echo never\n", 2,
	       "$ travis_assert 9\n\nThe command \"travis_assert 9\" failed and exited with 9 during script.\n\n"
	       "Your build has been stopped.\n");
}

static void test_timers(void **state)
{
	(void)state;
	expect("image: x\nscript:\n- travis_time_start | sed 's/[\\r[].*//'\n"
	       "- travis_time_start >/dev/null; travis_time_finish x | tr -d '\\r' | grep -c "
	       "'^travis_time:end:00000001:start=[0-9]\\{19\\},finish=[0-9]\\{19\\},duration=[0-9]*,event=x'\n",
	       0,
	       "$ travis_time_start | sed 's/[\\r[].*//'\ntravis_time:start:00000001"
	       "\nThe command \"travis_time_start | sed 's/[\\r[].*//'\" exited with 0.\n"
	       "$ travis_time_start >/dev/null; travis_time_finish x | tr -d '\\r' | grep -c "
	       "'^travis_time:end:00000001:start=[0-9]\\{19\\},finish=[0-9]\\{19\\},duration=[0-9]*,event=x'\n1\n"
	       "\nThe command \"travis_time_start >/dev/null; travis_time_finish x | tr -d '\\r' | grep -c "
	       "'^travis_time:end:00000001:start=[0-9]\\{19\\},finish=[0-9]\\{19\\},duration=[0-9]*,event=x'\" exited "
	       "with 0.\n\nDone. Your build exited with 0.\n");
}

static void test_further_axes_are_exported(void **state)
{
	(void)state;
	expect("image: x\nmatrix: {axes: {fs-type: fat}}\nbackend: unix\nscript: echo $BACKEND $FS_TYPE\n", 0,
	       "$ echo $BACKEND $FS_TYPE\nunix fat\n\nThe command \"echo $BACKEND $FS_TYPE\" exited with 0.\n"
	       "\nDone. Your build exited with 0.\n");
}

/* The compiler of a C job, its version told, the file's own CC left alone; commands are timed, and a missing script is
 * the language's. */
static void test_travis_c(void **state)
{
	static const char yaml[] =
		"language: c\ncompiler: clang\nenv: CC=\"echo cc\"\nscript: echo $CC $TRAVIS_COMPILER\n";
	struct plan plan = {0};
	struct script_context cx = context();
	_cleanup_free_ char *text = NULL;

	(void)state;
	job_from(yaml, &plan);
	text = script_make(&plan.jobs[0], &cx);
	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20), errors = BUF_INIT(1 << 20);
		struct child_status st = run(&shells[i], text, &out, &errors);

		assert_true(child_ok(st));
		assert_non_null(strstr(buf_str(&out), "$ echo cc --version\ncc --version\n"));
		assert_non_null(strstr(buf_str(&out), "travis_time:start:00000001\r\033[0K$ echo $CC $TRAVIS_COMPILER\n"
						      "echo cc clang\ntravis_time:end:00000001:start="));
		assert_non_null(strstr(buf_str(&out), ",event=script\r\033[0K\nThe command"));
	}
	plan_release(&plan);
	job_from("language: c\n", &plan);
	assert_string_equal(plan.jobs[0].phases[PHASE_SCRIPT].items[0], "./configure && make && make test");
	assert_string_equal(plan.jobs[0].image, "debian:bookworm");
	assert_true(vec_has(&plan.jobs[0].packages, "build-essential"));
	plan_release(&plan);
}

/* The first half asks on its standard input and runs what it is told there, in the same shell. */
static void test_halves(void **state)
{
	static const char yaml[] = "image: x\nnetwork: install\ninstall: kept='a  b'\nscript: echo \"$kept\"\n";
	struct script_context cx = context();
	struct plan plan = {0};
	_cleanup_free_ char *first = NULL, *second = NULL;

	(void)state;
	job_from(yaml, &plan);
	first = script_make_halves(&plan.jobs[0], &cx, &second);
	assert_null(strstr(first, "echo \"$kept\""));
	assert_non_null(strstr(second, "echo \"$kept\""));
	plan_release(&plan);
}

/* What a shell on failure reads: where the script was and what it exported, in that shell's own words, no secret. */
static void test_the_end_is_kept_for_a_shell(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *file = xasprintf("%s/environment", dir);
	_cleanup_free_ char *reader =
		xasprintf(". '%s'; cd \"$PWD\"; echo \"$ODD, ${DEPLOY_KEY-no key}, ${HID-}, $(pwd)\"", file);
	struct script_context cx = context();
	struct plan plan = {0};
	_cleanup_free_ char *text = NULL;

	(void)state;
	cx.secret_names = secrets;
	cx.environment_to = file;
	job_from("image: debian:bookworm\nenv: {global: [{ODD: it's \"so\"}]}\n"
		 "script: [HID=1, cd /usr/lib, test \"$DEPLOY_KEY\" = hunter2, 'false']\n",
		 &plan);
	text = script_make(&plan.jobs[0], &cx);
	for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
		_cleanup_buf_ struct buf out = BUF_INIT(1 << 20), errors = BUF_INIT(1 << 20), kept = BUF_INIT(1 << 20);
		struct child_status status = run(&shells[i], text, &out, &errors);
		struct err e;

		assert_int_equal(status.code, 1);
		assert_done(fs_read_file(file, &kept, &e), e);
		assert_null(strstr(buf_str(&kept), "hunter2"));
		buf_clear(&out);
		status = run(&shells[i], reader, &out, &errors);
		assert_string_equal(buf_str(&out), "it's \"so\", hunter2, , /usr/lib\n");
		assert_int_equal(unlink(file), 0);
	}
	plan_release(&plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_end_is_kept_for_a_shell),
		cmocka_unit_test(test_passed),
		cmocka_unit_test(test_halves),
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
		cmocka_unit_test(test_sealed_value_without_a_name_wins_by_its_place),
		cmocka_unit_test(test_secrets_removed_is_said),
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_fold_terminate_result_assert),
		cmocka_unit_test(test_timers),
		cmocka_unit_test(test_further_axes_are_exported),
		cmocka_unit_test(test_travis_c),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
