/* The job as one shell script. Commands are handed to `eval` at the top level of the script, as literals in single
 * quotes: so cd, exports, functions, traps and `exit` do what they would in a shell of one's own, and no byte of a
 * command is read twice. `command eval` instead of `eval`: a syntax error in a special builtin ends a POSIX shell,
 * and `command` takes that property away.
 *
 *	exports → env rows → before_install → install → before_script → script → after_success | after_failure
 *	→ after_script → done        set-up phases: stop with 2 at the first command that fails
 *
 *  src  Travis's build script generator: the phases, their failure rules, messages and fold marks */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

static const char prologue[] =
	"exec </dev/null\n"
	"slipway_done='' slipway_command='' slipway_phase='' slipway_status=0 slipway_result=''\n"
	"slipway_left() {\n"
	"\t[ -n \"$slipway_done\" ] || printf '\\nThe command \"%s\" ended the shell with %s during %s.\\n'"
	" \"$slipway_command\" \"$1\" \"$slipway_phase\"\n"
	"\t[ -n \"$slipway_done\" ] || [ \"$1\" != 0 ] || slipway_quit\n"
	"}\n"
	"slipway_fold() {\n"
	"\tprintf 'travis_fold:%s:%s\\r\\033[0K' \"$1\" \"$2\"\n"
	"}\n"
	"slipway_echo() {\n"
	"\tprintf '$ %s\\n' \"$slipway_command\"\n"
	"}\n"
	"slipway_assert() {\n"
	"\t[ \"$slipway_status\" != 0 ] || return 0\n"
	"\tprintf '\\nThe command \"%s\" failed and exited with %s during %s.\\n\\nYour build has been stopped.\\n'"
	" \"$slipway_command\" \"$slipway_status\" \"$slipway_phase\"\n"
	"\tslipway_done=1\n"
	"\texit 2\n"
	"}\n"
	"slipway_report() {\n"
	"\t[ \"$slipway_status\" = 0 ] || slipway_result=1\n"
	"\texport TRAVIS_TEST_RESULT=\"$slipway_result\"\n"
	"\tprintf '\\nThe command \"%s\" exited with %s.\\n' \"$slipway_command\" \"$slipway_status\"\n"
	"}\n"
	"trap 'slipway_left \"$?\"' EXIT\n";

static void add_quoted(struct buf *b, const char *s, size_t n)
{
	buf_addch(b, '\'');
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '\'')
			buf_adds(b, "'\\''");
		else
			buf_addch(b, s[i]);
	}
	buf_addch(b, '\'');
}

static void add_assign(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "%s=", name);
	add_quoted(b, value, strlen(value));
	buf_addch(b, '\n');
}

static void add_axis(struct buf *b, const char *name, const char *value)
{
	if (!value) return;
	buf_addf(b, "export %s=", name);
	add_quoted(b, value, strlen(value));
	buf_addch(b, '\n');
}

static void add_axes(struct buf *b, const struct job_spec *j)
{
	add_axis(b, "BACKEND", j->backend);
	add_axis(b, "ARCH", j->arch);
	for (size_t i = 0; i < j->naxes; i++) {
		_cleanup_free_ char *name = axis_export(j->axes[i].name);

		add_axis(b, name, j->axes[i].value);
	}
}

/* --- what a job of .travis.yml is told of its language --- */

static const char *axis_value(const struct job_spec *j, const char *name)
{
	for (size_t i = 0; i < j->naxes; i++)
		if (!strcmp(j->axes[i].name, name)) return j->axes[i].value;
	return NULL;
}

static const struct {
	const char *axis, *name;
} versions[] = {
	{"dart", "TRAVIS_DART_VERSION"},       {"go", "TRAVIS_GO_VERSION"},       {"haxe", "TRAVIS_HAXE_VERSION"},
	{"jdk", "TRAVIS_JDK_VERSION"},         {"julia", "TRAVIS_JULIA_VERSION"}, {"node_js", "TRAVIS_NODE_VERSION"},
	{"otp_release", "TRAVIS_OTP_RELEASE"}, {"php", "TRAVIS_PHP_VERSION"},     {"perl", "TRAVIS_PERL_VERSION"},
	{"python", "TRAVIS_PYTHON_VERSION"},   {"r", "TRAVIS_R_VERSION"},         {"rvm", "TRAVIS_RUBY_VERSION"},
	{"rust", "TRAVIS_RUST_VERSION"},       {"scala", "TRAVIS_SCALA_VERSION"}, {"gemfile", "BUNDLE_GEMFILE"},
};

/* CC and CXX stay what the file's env made them. */
static void add_compilers(struct buf *b, const struct job_spec *j)
{
	const char *language = axis_value(j, "language"), *compiler = axis_value(j, "compiler");
	int plusplus = language && !strcmp(language, "cpp"), clang = compiler && !strncmp(compiler, "clang", 5);

	if (!language || (!plusplus && strcmp(language, "c") != 0)) return;
	add_axis(b, "TRAVIS_COMPILER", compiler ? compiler : "gcc");
	add_assign(b, "slipway_compiler", compiler ? compiler : "gcc");
	buf_adds(b, "export CC=\"${CC:-$slipway_compiler}\" CC_FOR_BUILD=\"${CC:-$slipway_compiler}\"\n");
	if (plusplus)
		buf_addf(b, "export CXX=\"${CXX:-%s}\" CXX_FOR_BUILD=\"${CXX:-%s}\"\n", clang ? "clang++" : "g++",
			 clang ? "clang++" : "g++");
	buf_adds(b, "printf '$ %s --version\\n' \"$CC\"; $CC --version || :\n");
}

static void add_language(struct buf *b, const struct job_spec *j)
{
	for (size_t i = 0; i < ARRAY_LEN(versions); i++) add_axis(b, versions[i].name, axis_value(j, versions[i].axis));
	buf_adds(b, "export RAILS_ENV=test RACK_ENV=test MERB_ENV=test\n");
	add_compilers(b, j);
}

static void add_exports(struct buf *b, const struct job_spec *j, const char *const *exports)
{
	if (j->dialect == PLAN_CI) add_axes(b, j);
	for (; exports && *exports; exports++) {
		const char *eq = strchr(*exports, '=');
		_cleanup_free_ char *name = eq ? xstrndup(*exports, (size_t)(eq - *exports)) : xstrdup("");

		if (bad_name(name)) die("an export without a good name: '%.40s'", *exports);
		buf_addf(b, "export %s=", name);
		add_quoted(b, eq + 1, strlen(eq + 1));
		buf_addch(b, '\n');
	}
}

/* --- env rows --- */

/* Is the variable set by a sealed value further down? That one is in the environment already and must stay. Of some its
 * name was not known before it was opened. */
static int sealed_later(const struct script_context *cx, size_t row, const char *name)
{
	for (size_t i = 0; cx->secret_names && cx->secret_names[i]; i++)
		if (cx->secret_rows[i] > row && !strcmp(cx->secret_names[i], name)) return 1;
	return 0;
}

static void add_eval(struct buf *b, const char *text)
{
	buf_adds(b, "command eval ");
	add_quoted(b, text, strlen(text));
	buf_addch(b, '\n');
}

/* `A=x` and `export A` rather than `export A=x`: older shells split the value of the latter at blanks. */
static void add_var(struct buf *b, const char *name, const char *assignment)
{
	_cleanup_free_ char *shown = xasprintf("export %s", assignment);
	_cleanup_free_ char *run = xasprintf("%s\nexport %s", assignment, name);

	add_assign(b, "slipway_command", shown);
	buf_adds(b, "slipway_echo\n");
	add_eval(b, run);
	buf_adds(b, "slipway_status=$?; slipway_assert\n");
}

static void add_row(struct buf *b, const struct job_spec *j, const struct script_context *cx, size_t row)
{
	const char *at = j->env[row].text, *why = NULL;
	struct env_var v;

	while (env_text_next(&at, &v, &why) > 0) {
		_cleanup_free_ char *name = xstrndup(v.name, v.name_len);
		_cleanup_free_ char *text = xstrndup(v.name, v.name_len + 1 + v.value_len);

		if (!sealed_later(cx, row, name)) add_var(b, name, text);
	}
}

static int any_env(const struct job_spec *j, const struct script_context *cx)
{
	int n = cx->secret_names && cx->secret_names[0];

	for (size_t i = 0; i < j->nenv; i++) n |= j->env[i].text != NULL;
	return n;
}

static void add_env(struct buf *b, const struct job_spec *j, const struct script_context *cx)
{
	if (cx->secrets_removed)
		buf_adds(b, "printf '\\nEncrypted environment variables have been removed for security reasons.\\n'\n");
	if (!any_env(j, cx)) return;
	buf_adds(b, "slipway_phase=export\n");
	buf_adds(b, "printf '\\nSetting environment variables from %s\\n' ");
	add_quoted(b, cx->file, strlen(cx->file));
	buf_addch(b, '\n');
	for (size_t i = 0; cx->secret_names && cx->secret_names[i]; i++) {
		_cleanup_free_ char *line = xasprintf("$ export %s=[secure]", cx->secret_names[i]);

		buf_adds(b, "printf '%s\\n' ");
		add_quoted(b, line, strlen(line));
		buf_addch(b, '\n');
	}
	for (size_t i = 0; i < j->nenv; i++)
		if (j->env[i].text) add_row(b, j, cx, i);
	buf_adds(b, "printf '\\n'\n");
}

/* --- phases --- */

enum rule { RULE_ASSERT, RULE_REPORT, RULE_IGNORE };

static enum rule phase_rule(enum plan_phase p)
{
	switch (p) {
	case PHASE_BEFORE_INSTALL:
	case PHASE_INSTALL:
	case PHASE_BEFORE_SCRIPT: return RULE_ASSERT;
	case PHASE_SCRIPT: return RULE_REPORT;
	case PHASE_AFTER_SUCCESS:
	case PHASE_AFTER_FAILURE:
	case PHASE_AFTER_SCRIPT: return RULE_IGNORE;
	case PHASE_COUNT: break;
	}
	die("unknown phase %d", (int)p);
}

static void add_command(struct buf *b, const char *command, const char *fold, enum rule rule, int timed)
{
	add_assign(b, "slipway_command", command);
	if (fold) buf_addf(b, "slipway_fold start %s\n", fold);
	if (timed) buf_adds(b, "travis_time_start\n");
	buf_adds(b, "TRAVIS_CMD=$slipway_command\nslipway_echo\n");
	buf_adds(b, "command eval \"$slipway_command\"\nslipway_status=$?\n");
	if (timed) buf_adds(b, "travis_time_finish\n");
	if (fold) buf_addf(b, "slipway_fold end %s\n", fold);
	if (rule == RULE_ASSERT) buf_adds(b, "slipway_assert\n");
	if (rule == RULE_REPORT) buf_adds(b, "slipway_report\n");
}

static void add_phase(struct buf *b, const struct job_spec *j, enum plan_phase p)
{
	const char *name = plan_phase_name(p);
	const struct vec *commands = &j->phases[p];
	enum rule rule = phase_rule(p);

	if (!j->phase_skipped[p] && !commands->len) return;
	buf_addf(b, "slipway_phase=%s\nexport TRAVIS_STAGE=%s\n", name, name);
	if (rule == RULE_REPORT) buf_adds(b, "slipway_result=0\nexport TRAVIS_TEST_RESULT=0\n");
	if (j->phase_skipped[p])
		buf_addf(b, "printf '\\nSkipping the %s step, as specified in the configuration.\\n'\n", name);
	for (size_t i = 0; i < commands->len && !j->phase_skipped[p]; i++) {
		_cleanup_free_ char *fold = NULL;

		if (rule != RULE_REPORT) fold = commands->len == 1 ? xstrdup(name) : xasprintf("%s.%zu", name, i + 1);
		add_command(b, commands->items[i], fold, rule, j->dialect == PLAN_TRAVIS);
	}
}

/* For a shell that is to find itself where the script ended. */
static void add_keeper(struct buf *b, const struct script_context *cx)
{
	if (!cx->environment_to) return;
	buf_adds(b, "slipway_keep() {\n\t(\n\tumask 077\n");
	for (size_t i = 0; cx->secret_names && cx->secret_names[i]; i++)
		buf_addf(b, "\tunset -v %s\n", cx->secret_names[i]);
	buf_addf(b, "\texport -p >%s\n\t) 2>/dev/null || :\n}\n", cx->environment_to);
	buf_adds(b, "trap 'slipway_left \"$?\"; slipway_keep' EXIT\n");
}

/* Up to the end of the install phase. */
/* Only here is it said that the script came to its end: the shell's status alone is 0 also after `set -n`, `exec true`
 * or an `exit 0` with a trap of the user's own. The file is emptied, not made, for which a full disk has room. On
 * Travis an `exit 0` passed, and old files have it to leave pull requests out. */
static void add_end(struct buf *b, const struct job_spec *j, const struct script_context *cx)
{
	buf_adds(b, "slipway_reached() {\n\t:");
	if (cx->end_file) {
		buf_adds(b, " >|");
		add_quoted(b, cx->end_file, strlen(cx->end_file));
	}
	buf_addf(b, "\n}\nslipway_quit() {\n\t%s\n}\n", j->dialect == PLAN_TRAVIS ? "slipway_reached" : ":");
}

static void add_first_half(struct buf *b, const struct job_spec *j, const struct script_context *cx)
{
	buf_adds(b, prologue);
	add_keeper(b, cx);
	add_end(b, j, cx);
	buf_adds(b, script_helpers);
	buf_adds(b, script_helpers_exported);
	add_exports(b, j, cx->exports);
	add_env(b, j, cx);
	if (j->dialect == PLAN_TRAVIS) add_language(b, j);
	add_phase(b, j, PHASE_BEFORE_INSTALL);
	add_phase(b, j, PHASE_INSTALL);
}

static void add_second_half(struct buf *b, const struct job_spec *j)
{
	add_phase(b, j, PHASE_BEFORE_SCRIPT);
	add_phase(b, j, PHASE_SCRIPT);
	buf_adds(b, "if [ \"$slipway_result\" = 0 ]; then\n:\n");
	add_phase(b, j, PHASE_AFTER_SUCCESS);
	buf_adds(b, "else\n:\n");
	add_phase(b, j, PHASE_AFTER_FAILURE);
	buf_adds(b, "fi\n");
	add_phase(b, j, PHASE_AFTER_SCRIPT);
	buf_adds(b, "printf '\\nDone. Your build exited with %s.\\n' \"${slipway_result:-86}\"\n");
	buf_adds(b, "slipway_done=1\nslipway_reached\nexit \"${slipway_result:-86}\"\n");
}

char *script_make(const struct job_spec *j, const struct script_context *cx)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	buf_adds(&b, "#!/bin/sh\n");
	add_first_half(&b, j, cx);
	add_second_half(&b, j);
	return buf_steal(&b);
}

/* The two ends of the socket are the same descriptor: one byte asks, what is read until its end is the answer. Not
 * `read`: the shell would take it a byte at a time. */
char *script_make_halves(const struct job_spec *j, const struct script_context *cx, char **second_r)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2), second = BUF_INIT(SIZE_MAX / 2);

	buf_adds(&b, "#!/bin/sh\nexec 7<&0\n");
	add_first_half(&b, j, cx);
	buf_adds(&b, "slipway_phase='the end of install' slipway_command='cat <&7'\n"
		     "printf . >&7\n"
		     "command eval \"$(cat <&7)\"\n"
		     "printf '\\nThe network could not be switched off: descriptor 7 is not what it was.\\n'\n"
		     "slipway_done=1\nexit 2\n");
	buf_adds(&second, "exec 7<&-\n");
	add_second_half(&second, j);
	*second_r = buf_steal(&second);
	return buf_steal(&b);
}
