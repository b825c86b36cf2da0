#include "tests/unit/unit.h"

#include <time.h>

#include "lib/buf.h"
#include "runner/plan/plan.h"

static const struct plan_context push = {.kind = EVENT_PUSH, .branch = "main"};
static const struct plan_context pull = {.kind = EVENT_PULL_REQUEST, .branch = "main"};

static int make(const char *yaml, const struct plan_context *cx, struct plan *plan, char **text, struct err *e)
{
	struct plan_problems problems;
	int rc = plan_make("ci", yaml, strlen(yaml), cx, plan, &problems, e);

	*text = plan_problems_text(&problems, "ci", 1);
	plan_problems_release(&problems);
	return rc;
}

static void plan_of(const char *yaml, const struct plan_context *cx, struct plan *plan)
{
	_cleanup_free_ char *text = NULL;
	struct err e;

	*plan = (struct plan){0};
	assert_done(make(yaml, cx, plan, &text, &e), e);
}

/* --- what is wrong, and where --- */

static const struct {
	const char *yaml, *problems;
} bad[] = {
	{"", "ci:1:1: the file is empty\n"},
	{"- a\n", "ci:1:1: the file must be a mapping of keys, not a list\n"},
	{"image: x\nscript: a\narch: [amd64, arm64]\npublish: {when: {branch: main}, repo: /r, files: x, path: u}\n",
	 "ci:4:10: the jobs 'amd64' and 'arm64' both publish to 'u': put {arch} into 'path', or a 'when'\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}, repo: 'git@h:r', files: x, path: u}\n",
	 "ci:3:10: 'publish' to 'git@h:r' needs a 'key': the name of a sealed deploy key\n"},
	{"script: x\n", "ci:1:1: 'image' is missing: say what the jobs run in, like debian:bookworm\n"},
	{"image: x\nscirpt: make\n", "ci:2:1: unknown key 'scirpt', did you mean 'script'?\n"},
	{"image: x\nscript: x\nzebra: 1\n", "ci:3:1: unknown key 'zebra'\n"},
	{"image: x\nscript: a\nscript: b\n", "ci:3:1: the key 'script' stands here again; it was in line 2\n"},
	{"image: x\nscript: a\ncheck: {boot: unix, file: x, script: ./t, network: {delay: 5, loss: 1}}\n",
	 "ci:3:60: '5' in 'delay' must be a time from 1ms to 60s, like 50ms\n"
	 "ci:3:69: '1' in 'loss' must be from 0% to 100%, like 1% or 0.5%\n"},
	{"image: x\nscript: a\ncheck: {boot: unix, file: x, port: 0, args: \"a\\nb\", network: {rate: 1, loss: "
	 "101%}}\n",
	 "ci:3:36: '0' in 'port' must be a whole number from 1 to 65535\n"
	 "ci:3:45: 'a b' in 'args' must hold no control character\n"
	 "ci:3:69: '1' in 'rate' must be a rate from 8kbit to 10gbit, like 1mbit\n"
	 "ci:3:78: '101%' in 'loss' must be from 0% to 100%, like 1% or 0.5%\n"},
	{"image: x\nscript: a\ncheck: {boot: unix, file: x, http: [{path: /}, {header: 'a b: c'}, {sha256: AB}]}\n",
	 "ci:3:57: 'a b: c' in 'header' must be a header like 'Content-Type: text/html', or its name alone\n"
	 "ci:3:77: 'AB' in 'sha256' must be 64 hexadecimal digits in lower case\n"},
	{"image:\nscript: a\n", "ci:1:7: 'image' must be text, not empty\n"},
	{"image: [a]\nscript: a\n", "ci:1:8: 'image' must be text, not a list\n"},
	{"image: --help\nscript: a\n", "ci:1:8: '--help' in 'image' must be an image's name\n"},
	{"image: x\nscript:\n- a: b\n",
	 "ci:3:3: a command in 'script' must be text: put one that holds ': ' in quotes\n"},
	{"image: x\nscript: a\npackages: [gcc, 'a b', -x]\n",
	 "ci:3:17: 'a b' in 'packages' must be the name of a Debian package\n"
	 "ci:3:24: '-x' in 'packages' must be the name of a Debian package\n"},
	{"image: x\nscript: a\ntimeout: 30\nsilence: 2d\n",
	 "ci:3:10: '30' in 'timeout' must be a time with its unit, like 90s, 30m or 1h30m\n"
	 "ci:4:10: '2d' in 'silence' must be a time with its unit, like 90s, 30m or 1h30m\n"},
	{"image: x\nscript: a\ntimeout: 25h\n", "ci:3:10: '25h' in 'timeout' must be from 1s to 24h\n"},
	{"image: x\nscript: a\nlimits: {memory: lots, cpus: 0, pids: 1, disc: 1G}\n",
	 "ci:3:18: 'lots' in 'memory' must be a size, like 512M or 2G\n"
	 "ci:3:30: '0' in 'cpus' must be a number of processors, like 2 or 0.5\n"
	 "ci:3:39: '1' in 'pids' must be a whole number from 2 to 1000000\n"
	 "ci:3:42: unknown key 'disc' in 'limits', did you mean 'disk'?\n"},
	{"image: x\nscript: a\nnetwork: onn\n", "ci:3:10: 'onn' in 'network' must be one of off, install, on\n"},
	{"image: x\nscript: a\nnetwork: instal\n", "ci:3:10: 'instal' in 'network', did you mean 'install'?\n"},
	{"image: x\nscript: a\nbackend: [unix, unix]\n", "ci:3:10: 'unix' stands twice in 'backend'\n"},
	{"image: x\nscript: a\nbackend: ../x\n", "ci:3:10: '../x' in 'backend' must be letters, digits, '.', '_' and "
						 "'-', and begin with none of '.' and '-'\n"},
	{"image: x\nscript: a\narch: x86_64\n", "ci:3:7: 'x86_64' in 'arch' is called amd64 here\n"},
	{"image: x\nscript: a\nenv: [A=1, bare]\n",
	 "ci:3:12: 'bare' in 'env' is no variable: every word must be NAME=value\n"},
	{"image: x\nscript: a\nenv: \"A='open\"\n", "ci:3:6: 'A='open' in 'env' is no variable: a ' is never closed\n"},
	{"image: x\nscript: a\nenv: A=1;reboot\n",
	 "ci:3:6: 'A=1;reboot' in 'env' is no variable: one of ; & | < > ( ) stands outside quotes\n"},
	{"image: x\nscript: a\nenv: 1A=x\n",
	 "ci:3:6: '1A=x' in 'env' is no variable: what stands before '=' must be a variable's name\n"},
	{"image: x\nscript: a\nenv: {global: A=1, B: 2}\n",
	 "ci:3:20: 'B' beside 'global' and 'matrix' in 'env': put it under one of them\n"},
	{"image: x\nscript: a\nenv: {global: {secure: 'not base64!'}}\n",
	 "ci:3:24: 'secure' must be sealed text in base64, as senv writes it\n"},
	{"image: x\nscript: a\nenv: {A: [1]}\n", "ci:3:10: the value of 'A' must be text or {secure: …}, not a list\n"},
	{"image: x\nscript: a\nartifacts: [/etc/passwd, a/../../b]\n",
	 "ci:3:13: '/etc/passwd' in 'artifacts' must be below the source folder: no '/' or '~' first\n"
	 "ci:3:26: 'a/../../b' in 'artifacts' must be below the source folder: no '..'\n"},
	{"image: x\nscript: a\ncheck: {boot: unx, file: x}\n", "ci:3:15: 'unx' in 'boot', did you mean 'unix'?\n"},
	{"image: x\nscript: a\ncheck: {file: x}\n", "ci:3:8: 'boot' is missing in 'check': say how the image is run\n"},
	{"image: x\nscript: a\ncheck: {boot: command, file: x}\n",
	 "ci:3:8: 'boot: command' and 'command' go together in 'check'\n"},
	{"image: x\nscript: a\ncheck: {boot: unix}\n",
	 "ci:3:8: 'check' needs a 'file' here: no 'publish' names one for all its jobs\n"},
	{"image: x\nscript: a\ncheck: {boot: unix, file: x, http: {path: x, status: 99}}\n",
	 "ci:3:43: 'x' in 'path' must begin with '/'\n"
	 "ci:3:54: '99' in 'status' must be a whole number from 100 to 599\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}}\n",
	 "ci:3:10: 'repo' is missing in 'publish': say where to\n"
	 "ci:3:10: 'files' is missing in 'publish': say what, the image first\n"},
	{"image: x\nscript: a\npublish: {when: {event: pull_request}, repo: /r, files: x, path: x}\n",
	 "ci:3:17: pull requests are never published\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}, repo: 'ext::sh -c x', files: x, path: x}\n",
	 "ci:3:39: 'ext::sh -c x' in 'repo' must hold no blank or control character\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}, repo: 'ext::sh', files: x, path: x}\n",
	 "ci:3:39: 'ext::sh' in 'repo' must be /a/path, ssh://user@host/path or user@host:path\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}, repo: /r, files: x, path: '../{branch}'}\n",
	 "ci:3:59: '../{branch}' in 'path' must have no '.' or '..' part\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}, repo: /r, files: x, path: 'a/{os}'}\n",
	 "ci:3:59: 'a/{os}' in 'path' may only hold {backend}, {arch}, {branch} and further axes\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}, repo: /r, files: x, path: 'a/{'}\n",
	 "ci:3:59: 'a/{' in 'path' may only hold {backend}, {arch}, {branch} and further axes\n"},
	{"image: x\nscript: a\npublish: {when: {branch: main}, repo: /r, files: x}\n",
	 "ci:3:10: 'path: {backend}' in 'publish' uses an axis that this job does not have\n"},
	{"image: x\nscript: a\nbranches: {only: ['/(/', '/a\\1/', '/((((a+)+)+)+)+{99}{99}/', '/x/g']}\n",
	 "ci:3:19: branch '/(/' has a ( that is never closed\n"
	 "ci:3:26: branch '/a\\1/' has an escape in its regular expression that is not supported\n"
	 "ci:3:35: branch '/((((a+)+)+)+)+{99}{99}/' is too large a regular expression\n"
	 "ci:3:63: branch '/x/g' has flags other than i behind its regular expression\n"},
	{"image: x\nscript: a\nmatrix: {exclude: [{}], include: x}\n",
	 "ci:3:20: an empty rule in 'exclude' says nothing\n"
	 "ci:3:34: 'include' must be a mapping of keys, not text\n"},
	{"image: x\nscript: a\nbackend: [a, b]\nmatrix: {exclude: [{backend: a}, {backend: b}]}\n",
	 "ci:4:20: all jobs are excluded\n"},
	{"image: x\nscript: a\nmatrix: []\njobs: []\n",
	 "ci:4:1: 'matrix' and 'jobs' are the same key: write one of them\n"},
	{"a: *b\n", "ci:1:4: unknown alias '*b'\n"},
	{"image: x\nscript: a\nmatrix: {axes: [fs, image, Fs, fs, arch]}\nfs: [a]\n",
	 "ci:3:21: 'image' in 'axes' is a key of its own: take another name for the axis\n"
	 "ci:3:28: 'Fs' in 'axes' must be small letters, digits, '_' and '-', and begin with a letter\n"
	 "ci:3:32: 'fs' in 'axes' stands twice\n"
	 "ci:3:36: 'arch' in 'axes' is a key of its own: take another name for the axis\n"},
	{"image: x\nscript: a\nmatrix: {axes: [fs]}\n",
	 "ci:3:17: the axis 'fs' has no values: write them under the key 'fs'\n"},
	{"image: x\nscript: a\nfs: [a]\nmatrix: {exclude: [{fs: a}]}\n",
	 "ci:3:1: unknown key 'fs'\nci:4:21: unknown key 'fs' in 'exclude'\n"},
	{"image: x\nscript: a\nif: branch = main AND\n", "ci:3:22: the condition ends where a value is wanted\n"},
	{"image: x\nscript: a\nif: \"tag =~ /(/\"\nmatrix: {exclude: [{if: [a]}]}\n",
	 "ci:3:5: the condition has a ( that is never closed\n"
	 "ci:4:25: 'if' must be a condition, like branch = main\n"},
	{"image: x\nscript: a\nstages: [a, A, {if: branch = x}, {name: b, iff: x}]\n",
	 "ci:3:13: the stage 'A' stands twice\n"
	 "ci:3:16: a stage needs a 'name'\n"
	 "ci:3:44: unknown key 'iff' in 'stages'\n"},
	{"image: x\nscript: a\ngit: {submodules: yes, lfs: on, depth: 0}\n",
	 "ci:3:29: large files are never fetched: 'lfs' can only be off\n"
	 "ci:3:40: '0' in 'depth' must be a whole number from 1 to 1000000\n"},
	{"image: x\nscript: a\nnotify:\n- webhook: https://me:pw@h/x\n- webhook: file:///etc/passwd\n"
	 "- {email: 'a@b, c@d'}\n- {email: \"a@b\\nBcc: x@y\"}\n- {email: -oQ@b}\n- command: rm -rf /\n- command: "
	 "../x\n"
	 "- {command: x, on: [never]}\n",
	 "ci:4:12: 'https://me:pw@h/x' in 'webhook' must hold no user name\n"
	 "ci:5:12: 'file:///etc/passwd' in 'webhook' must be an https:// or http:// address\n"
	 "ci:6:11: 'a@b, c@d' in 'email' must be an address like me@example.org\n"
	 "ci:7:11: 'a@b Bcc: x@y' in 'email' must be an address like me@example.org\n"
	 "ci:8:11: '-oQ@b' in 'email' must be an address like me@example.org\n"
	 "ci:9:12: 'rm -rf /' in 'command' must be the name of a command that the runner's owner allows: letters, "
	 "digits, '.', '_' and '-'\n"
	 "ci:10:12: '../x' in 'command' must be the name of a command that the runner's owner allows: letters, digits, "
	 "'.', '_' and '-'\n"
	 "ci:11:21: 'never' in 'on' must be one of success, failure, change, always\n"},
	{"image: x\nscript: a\ncache: {key: {files: ['*.lock', ../x], txt: a}, path: a}\n",
	 "ci:3:1: 'cache' has no 'paths': say which folders are kept\n"
	 "ci:3:23: '*.lock' in 'files' must be the name of one file: patterns are not looked for\n"
	 "ci:3:33: '../x' in 'files' must be below the source folder: no '..'\n"
	 "ci:3:40: unknown key 'txt' in 'key', did you mean 'text'?\n"
	 "ci:3:49: unknown key 'path' in 'cache', did you mean 'paths'?\n"},
	{"image: x\nscript: a\ncache: [/proc/x, ~/../x]\nnotify: [{webhook: a, email: b}, {}]\n",
	 "ci:3:9: '/proc/x' in 'cache' must be below the source folder, ~/ or a folder of the image's own\n"
	 "ci:3:18: '~/../x' in 'cache' must be below the source folder: no '..'\n"
	 "ci:4:10: an entry of 'notify' needs one of webhook, email and command\n"
	 "ci:4:20: 'a' in 'webhook' must be an https:// or http:// address\n"
	 "ci:4:30: 'b' in 'email' must be an address like me@example.org\n"
	 "ci:4:34: an entry of 'notify' needs one of webhook, email and command\n"},
	/* warnings alone do not refuse; they are shown beside errors */
	{"image: x\nscript: a\nbackend: unix\nfoo: 1\npublish: {repo: /r, files: a}\n",
	 "ci:4:1: unknown key 'foo'\n"
	 "ci:5:10: warning: 'publish' has no 'when': every branch that is pushed is published\n"},
};

static void test_bad_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		_cleanup_free_ char *text = NULL;
		struct plan plan = {0};
		struct err e = {0};
		int rc = make(bad[i].yaml, &push, &plan, &text, &e);

		if (strcmp(text, bad[i].problems) != 0)
			fail_msg("%s--- wanted\n%s--- got\n%s", bad[i].yaml, bad[i].problems, text);
		assert_int_equal(rc, -1);
		assert_int_equal(e.kind, ERR_INPUT);
		assert_null(plan.jobs);
	}
}

static void test_error_is_the_first_problem_and_their_number(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct plan plan = {0};
	struct err e;

	(void)state;
	assert_refused(make("image: x\nfoo: 1\nbar: 2\n", &push, &plan, &text, &e), e, ERR_INPUT,
		       "ci:2:1: unknown key 'foo' (and 1 more)");
}

static void test_warnings(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct plan plan = {0};
	struct err e;

	(void)state;
	assert_done(make("image: x\nbackend: unix\nenv: [{secure: YWJj}]\n"
			 "matrix: {allow_failures: [{backend: xen}], exclude: [{arch: z}]}\n"
			 "publish: {repo: /r, files: a, key: K, when: {backend: xne}}\n",
			 &push, &plan, &text, &e),
		    e);
	assert_string_equal(
		text,
		"ci:1:1: warning: 'script' is missing: no job passes without one\n"
		"ci:3:7: warning: a sealed value here makes a job of its own: to have it in all jobs, put it under "
		"env.global\n"
		"ci:4:27: warning: this rule matches no job\n"
		"ci:4:54: warning: this rule excludes nothing\n"
		"ci:5:45: warning: no job has the backend 'xne'\n");
	plan_release(&plan);
}

/* --- which jobs there are --- */

static char *names(const struct plan *p)
{
	struct buf b = BUF_INIT(1 << 20);

	for (size_t i = 0; i < p->njobs; i++) {
		assert_int_equal(p->jobs[i].number, (int)i + 1);
		buf_addf(&b, "%s%s%s", i ? ", " : "", p->jobs[i].name, p->jobs[i].allow_failure ? "?" : "");
	}
	return buf_steal(&b);
}

static const struct {
	const char *yaml, *names;
} good[] = {
	{"", "default"},
	{"backend: [unix, xen]\narch: [amd64, arm64]\nenv: [A=1, A=2]\n",
	 "unix amd64 A=1, unix amd64 A=2, unix arm64 A=1, unix arm64 A=2, "
	 "xen amd64 A=1, xen amd64 A=2, xen arm64 A=1, xen arm64 A=2"},
	{"backend: [unix, xen]\narch: [amd64, arm64]\nmatrix: {exclude: [{backend: xen, arch: arm64}]}\n",
	 "unix amd64, unix arm64, xen amd64"},
	/* env rules are compared as variables, in any order, without env.global; a part is not enough */
	{"env: {global: G=1, matrix: [A=1 B=2, A=1 B=3]}\nmatrix: {exclude: [{env: G=1 B=2 A=1}]}\n", "A=1 B=3"},
	{"env: [A=1 B=2, A=2 B=2]\nmatrix: {exclude: [{env: A=1}]}\n", "A=1 B=2, A=2 B=2"},
	{"env: {A: 1, B: x y}\n", "A=1 B=\"x y\""},
	{"env: A=1 B=2\n", "A=1 B=2"},
	{"env: {matrix: [{A: 1}, {B: 2}]}\n", "A=1, B=2"},
	{"env: [A=1, {secure: YWJj}, K: {secure: YWJj}]\n", "A=1, [secure], K=[secure]"},
	/* included rows take the first value of each axis they do not name */
	{"backend: [unix, xen]\nenv: [X=1, X=2]\nmatrix: {include: [{name: extra}, {env: Y=1, backend: xen}]}\n",
	 "unix X=1, unix X=2, xen X=1, xen X=2, extra, xen Y=1"},
	/* the base job of a matrix of one falls away */
	{"env: A=0\nmatrix: {include: [{env: A=1}]}\n", "A=1"},
	{"backend: unix\nmatrix: [{backend: xen}, {}]\n", "xen, unix"},
	{"backend: [unix, xen]\nmatrix: {include: [{backend: unix}]}\n", "unix, xen, unix (2)"},
	{"backend: [a, b, c]\nmatrix: {allow_failures: [{backend: b}]}\n", "a, c, b?"},
	{"backend: [a, b]\nmatrix: {include: [{backend: c, env: L=1}], allow_failures: [{env: L=1}]}\n",
	 "a, b, c L=1?"},
	/* further axes, named or mapped; the first varies slowest */
	{"backend: [unix, xen]\nmatrix: {axes: [fs, net]}\nnet: [a]\nfs: [x, y]\n",
	 "unix x a, unix y a, xen x a, xen y a"},
	{"matrix: {axes: {fs: [x, y, z]}, exclude: [{fs: y}], include: [{fs: w}, {}], allow_failures: [{fs: x}]}\n",
	 "z, w, x?, x (2)?"},
	/* if: of the file, of a row, which replaces it, and of rules */
	{"if: branch = main\n", "default"},
	{"if: branch = other\n", ""},
	{"backend: [a, b]\nif: env(BACKEND) = b\nmatrix: {include: [{backend: c}, {backend: d, if: type = push}]}\n",
	 "b, d"},
	{"env: [A=1, A=2]\nmatrix: {exclude: [{if: env(A) = 2}], allow_failures: [{if: type = pull_request}]}\n",
	 "A=1"},
	{"env: {global: G=on, matrix: [A=1 B='x y']}\nif: env(B) = 'x y' AND env(G) = on AND env(NONE) IS blank\n",
	 "A=1 B='x y'"},
	/* stages: in their order, in each those that may fail last; a row takes that of the one before */
	{"backend: [a, b]\nstages: [build, test, deploy]\nmatrix: {allow_failures: [{backend: a}], include: [{name: d, "
	 "stage: deploy}, {name: d2, backend: b}, {name: m, stage: Build, backend: b}, {name: z, stage: last}]}\n",
	 "m, b, a?, d2, d?, z?"},
	{"matrix: [{name: a, stage: x}, {name: b}, {name: c, stage: y}]\n", "a, b, c"},
	{"stages: [{name: x, if: branch = other}, y]\nmatrix: [{name: a, stage: x}, {name: b}, {name: c, stage: y}]\n",
	 "c"},
	{"matrix: {include: [{name: a, stage: x}, {name: b, stage: y}], allow_failures: [{stage: X}]}\n", "a?, b"},
	{"branches: {only: [main, '/^v\\d+(?:\\.[0-9]+)*$/']}\n", "default"},
	{"branches: 'dev, main'\n", "default"},
	{"branches: {except: /^MAIN$/i}\n", ""},
	{"branches: [dev]\n", ""},
};

static void test_expansion(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		_cleanup_free_ char *yaml = xasprintf("image: x\nscript: x\n%s", good[i].yaml), *got = NULL;
		struct plan plan;

		plan_of(yaml, &push, &plan);
		got = names(&plan);
		if (strcmp(got, good[i].names) != 0)
			fail_msg("%s--- wanted\n%s\n--- got\n%s", yaml, good[i].names, got);
		plan_release(&plan);
	}
}

static void test_stages_of_a_plan(void **state)
{
	struct plan plan;

	(void)state;
	plan_of("image: x\nscript: x\nstages: [Build, none, Test]\nbackend: [a, b]\nmatrix: {fast_finish: true, "
		"include: "
		"[{stage: build}, {stage: more}]}\n",
		&push, &plan);
	assert_int_equal(plan.stages.len, 3);
	assert_string_equal(plan.stages.items[0], "Build");
	assert_string_equal(plan.stages.items[1], "Test");
	assert_string_equal(plan.stages.items[2], "more");
	assert_string_equal(plan.jobs[0].stage, "build");
	assert_int_equal(plan.jobs[0].stage_number, 1);
	assert_string_equal(plan.jobs[1].stage, "Test");
	assert_int_equal(plan.jobs[1].stage_number, 2);
	assert_int_equal(plan.jobs[3].stage_number, 3);
	assert_true(plan.fast_finish);
	plan_release(&plan);
}

/* What each rule did is told to who asks. */
static void test_why_rules_matched_or_not(void **state)
{
	static const char yaml[] =
		"image: x\nscript: x\nbackend: [unix, xen]\narch: [amd64, arm64]\nenv: [A=1, A=2]\nmatrix:\n"
		"  exclude:\n  - {backend: xen, arch: arm64}\n  - {backend: unix, arch: i386}\n  - {backend: bsd, "
		"arch: "
		"mips}\n  - {backend: unix, env: A=3}\n  - {backend: unix, if: tag IS present}\n"
		"  allow_failures: [{arch: arm64}]\n  include: [{name: lint}, {name: never, if: branch = x}]\n";
	struct plan_problems problems, why = {0};
	struct plan_context cx = push;
	_cleanup_free_ char *text = NULL;
	struct plan plan = {0};
	struct err e;

	(void)state;
	cx.why = &why;
	assert_done(plan_make("ci", yaml, strlen(yaml), &cx, &plan, &problems, &e), e);
	text = plan_problems_text(&why, "ci", 1);
	assert_string_equal(text,
			    "ci:8:5: warning: exclude: matched 2 jobs: 'xen arm64 A=1', 'xen arm64 A=2'\n"
			    "ci:9:5: warning: exclude: matched no job: none has arch i386, backend unix; 'unix amd64 "
			    "A=1' is nearest "
			    "and has arch amd64\n"
			    "ci:10:5: warning: exclude: matched no job: none has arch mips, backend bsd\n"
			    "ci:11:5: warning: exclude: matched no job: none has backend unix, env A=3; 'unix amd64 "
			    "A=1' is nearest "
			    "and has another env\n"
			    "ci:12:5: warning: exclude: matched no job: its condition does not hold\n"
			    "ci:13:20: warning: allow_failures: matched 2 jobs: 'unix arm64 A=1', 'unix arm64 A=2'\n"
			    "ci:14:13: warning: include: makes job 5, 'lint'\n"
			    "ci:14:27: warning: include: makes no job: it is excluded, its condition does not hold, or "
			    "there is one just "
			    "like it\n");
	plan_problems_release(&why);
	plan_problems_release(&problems);
	plan_release(&plan);
}

/* --- the classic traps --- */

static const struct {
	const char *script, *warning; /* NULL: none */
} traps[] = {
	{"make", NULL},
	{"make | tee log", "a failure of 'make' is hidden by the | after it: put 'set -o pipefail' before"},
	{"make 2>&1 | tee log | cat",
	 "a failure of 'make 2>&1' is hidden by the | after it: put 'set -o pipefail' before"},
	{"set -o pipefail && make | tee log", NULL},
	{"make || true", NULL},
	{"make && echo done", NULL},
	{"make; echo done", "a failure of 'make' is hidden by the ; after it: write && or two commands"},
	{"make;", NULL},
	{"make; # and that is all", NULL},
	{"set -e; make; echo done", NULL},
	{"export A=1; make", NULL},
	{"cd src; make", NULL},
	{"for i in a b; do make $i; done", NULL},
	{"if [ -e x ]; then make | tee x; fi", NULL},
	{"make && while read x; do echo $x; done", NULL},
	{"echo 'a | b; c'", NULL},
	{"echo \"a | b; c\"", NULL},
	{"echo a \\| b", NULL},
	{"test $(make | wc -l) = 3", NULL},
	{"(make; echo done)", NULL},
	{"echo `a | b`", NULL},
	{"echo a#b | cat", "a failure of 'echo a#b' is hidden by the | after it: put 'set -o pipefail' before"},
	{"make # a | b; c", NULL},
	{"|\n  make\n  make check\n", "a failure of 'make' is hidden by the line after it: write && or two commands"},
	{"|\n  make &&\n  make check\n", NULL},
	{"|\n  make \\\n    check\n", NULL},
	{"|\n  set -e\n  make\n  make check\n", NULL},
	{"|\n  cat <<END\n  a; b | c\n  END\n", NULL},
};

static void test_scripts_that_hide_failures(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(traps); i++) {
		_cleanup_free_ char *yaml = NULL, *text = NULL, *wanted = NULL;
		struct plan plan = {0};
		struct err e;
		_cleanup_buf_ struct buf quoted = BUF_INIT(4096);

		for (const char *p = traps[i].script; *p; p++) buf_addf(&quoted, *p == '\'' ? "''" : "%c", *p);
		yaml = xasprintf(*traps[i].script == '|' ? "image: x\nscript: %s" : "image: x\nscript: '%s'\n",
				 *traps[i].script == '|' ? traps[i].script : buf_str(&quoted));
		assert_done(make(yaml, &push, &plan, &text, &e), e);
		wanted = traps[i].warning ? xasprintf("ci:2:9: warning: %s\n", traps[i].warning) : xstrdup("");
		if (strcmp(text, wanted) != 0) fail_msg("%s\n--- wanted\n%s--- got\n%s", traps[i].script, wanted, text);
		plan_release(&plan);
	}
}

static void test_other_traps(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct plan plan = {0};
	struct err e;

	(void)state;
	assert_done(make("image: x\nscript:\n- set -o pipefail\n- make | tee x\nbranches: [release/*, /^a$b/]\n"
			 "if: brnach = main\nnotify: [{command: x}]\ncache: [a]\ngit: {depth: 5}\n"
			 "matrix: {axes: {fs: [a]}}\n"
			 "check: {boot: unix, file: x, when: {fs: b, branch: refs/heads/main}}\n",
			 &push, &plan, &text, &e),
		    e);
	assert_string_equal(
		text, "ci:5:12: warning: branch 'release/*' matches nothing: it is an exact name; write a /regular "
		      "expression/ "
		      "for more than one\n"
		      "ci:5:23: warning: branch '/^a$b/' matches nothing that a branch can be called\n"
		      "ci:6:5: warning: 'brnach' is no attribute and is compared as a text, did you mean 'branch'?\n"
		      "ci:11:36: warning: no job has the fs 'b'\n"
		      "ci:11:52: warning: branch 'refs/heads/main' matches nothing: a branch's name has no refs/heads/ "
		      "before it\n");
	plan_release(&plan);
}

static void test_included_row_overrides(void **state)
{
	struct plan plan;

	(void)state;
	plan_of("image: a\nscript: root\npackages: [zsh, gcc, gcc]\nbackend: [unix, xen]\nlimits: {memory: 2G, cpus: "
		"1.5}\n"
		"env: {global: G=1, matrix: [A=1]}\nmatrix:\n  include:\n  - image: b\n    script: [row, [nested]]\n"
		"    install: skip\n    timeout: 1h30m\n    network: on\n    env: [B=1, C: 2]\n",
		&push, &plan);
	assert_int_equal(plan.njobs, 3);
	assert_string_equal(plan.jobs[0].image, "a");
	assert_int_equal(plan.jobs[0].packages.len, 2);
	assert_string_equal(plan.jobs[0].packages.items[0], "gcc");
	assert_int_equal(plan.jobs[0].limits.memory_bytes, (int64_t)2 << 30);
	assert_int_equal(plan.jobs[0].limits.cpus_milli, 1500);
	assert_int_equal(plan.jobs[0].timeout_ms, 50 * 60000);
	assert_int_equal(plan.jobs[0].silence_ms, 10 * 60000);
	assert_int_equal(plan.jobs[0].network, NETWORK_OFF);
	assert_string_equal(plan.jobs[2].image, "b");
	assert_string_equal(plan.jobs[2].backend, "unix");
	assert_int_equal(plan.jobs[2].phases[PHASE_SCRIPT].len, 2);
	assert_string_equal(plan.jobs[2].phases[PHASE_SCRIPT].items[1], "nested");
	assert_true(plan.jobs[2].phase_skipped[PHASE_INSTALL]);
	assert_int_equal(plan.jobs[2].timeout_ms, 90 * 60000);
	assert_int_equal(plan.jobs[2].network, NETWORK_ON);
	assert_int_equal(plan.jobs[2].nenv, 3);
	assert_string_equal(plan.jobs[2].env[0].text, "G=1");
	assert_string_equal(plan.jobs[2].env[2].text, "C=2");
	plan_release(&plan);
}

static void test_sealed_values(void **state)
{
	const struct plan_env *env;
	struct plan plan;

	(void)state;
	plan_of("image: x\nscript: x\nenv:\n  global:\n  - secure: \"YW\\nJj\"\n  - secure: ZGVm\n"
		"  - DEPLOY_KEY: {secure: [YQ==, \" Yg == \"]}\n  - A: 1\n",
		&push, &plan);
	env = plan.jobs[0].env;
	assert_int_equal(plan.jobs[0].nenv, 4);
	assert_null(env[0].secret_name);
	assert_null(env[0].text);
	assert_string_equal(env[0].chunks.items[0], "YWJj");
	assert_string_equal(env[1].chunks.items[0], "ZGVm");
	assert_string_equal(env[2].secret_name, "DEPLOY_KEY");
	assert_int_equal(env[2].chunks.len, 2);
	assert_string_equal(env[2].chunks.items[1], "Yg==");
	assert_string_equal(env[3].text, "A=1");
	plan_release(&plan);
	plan_of("image: x\nscript: x\nenv: {global: {KEY: {secure: YWJj}, OTHER: v}}\n", &push, &plan);
	assert_string_equal(plan.jobs[0].env[0].secret_name, "KEY");
	assert_string_equal(plan.jobs[0].env[1].text, "OTHER=v");
	plan_release(&plan);
}

static void test_cache_and_what_it_is_of(void **state)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json = NULL;
	struct job_spec back = {0};
	struct plan plan;
	struct err e;

	(void)state;
	plan_of("image: x\nscript: x\ncache: {paths: [~/.opam, /opt/x], key: {text: t, files: [lock, a/b]}}\n"
		"backend: [a, b]\nmatrix: {include: [{backend: c, cache: y}, {backend: d, cache: {paths: y, key: "
		"k}}]}\n",
		&push, &plan);
	assert_int_equal(plan.njobs, 4);
	assert_string_equal(plan.jobs[2].cache.items[0], "y");
	assert_null(plan.jobs[2].cache_key);
	assert_int_equal(plan.jobs[2].cache_files.len, 0);
	assert_string_equal(plan.jobs[3].cache_key, "k");
	json = job_spec_to_json(&plan.jobs[1]);
	assert_done(job_spec_from_json(json, &back, &e), e);
	assert_int_equal(back.cache.len, 2);
	assert_string_equal(back.cache.items[1], "/opt/x");
	assert_string_equal(back.cache_key, "t");
	assert_string_equal(back.cache_files.items[1], "a/b");
	job_spec_release(&back);
	plan_release(&plan);
}

static const char demo[] =
	"cache: [~/.opam, x]\ngit: {depth: 50}\nstages: [test, more]\n"
	"image: debian:bookworm\nscript: make\nbackend: [unix, xen]\narch: [amd64, arm64]\n"
	"matrix: {exclude: [{backend: xen, arch: arm64}], axes: {fs: fat}}\n"
	"check:\n- when: {backend: unix}\n  boot: unix\n  http: {contains: <h1>}\n"
	"- when: {backend: xen}\n  boot: qemu\n  expect: ready\n  timeout: 90s\n"
	"publish:\n- when: {branch: [main, /^release/], backend: unix}\n  repo: /srv/d.git\n  files: "
	"[site]\n  path: '{backend}-{arch}'\n"
	"- when: {branch: main, backend: xen}\n  repo: git@h:d.git\n  key: KEY\n  files: [a.xen, b.in]\n"
	"  path: '{backend}/{arch}/{fs}/{branch}'\n  branch: live\n  keep: 20\n";

static void test_check_and_publish_by_cell(void **state)
{
	struct plan plan;

	(void)state;
	plan_of(demo, &push, &plan);
	assert_int_equal(plan.njobs, 3);
	assert_string_equal(plan.jobs[0].publish.repo, "/srv/d.git");
	assert_string_equal(plan.jobs[0].publish.path, "unix-amd64");
	assert_string_equal(plan.jobs[0].publish.branch, "main");
	assert_null(plan.jobs[0].publish.key);
	assert_int_equal(plan.jobs[0].check.boot, BOOT_UNIX);
	assert_string_equal(plan.jobs[0].check.http[0].path, "/");
	assert_int_equal(plan.jobs[0].check.http[0].status, 200);
	assert_int_equal(plan.jobs[0].check.timeout_ms, 60000);
	assert_string_equal(plan.jobs[2].publish.path, "xen/amd64/fat/main");
	assert_string_equal(plan.jobs[2].publish.branch, "live");
	assert_int_equal(plan.jobs[2].publish.keep, 20);
	assert_int_equal(plan.jobs[2].check.boot, BOOT_QEMU);
	assert_int_equal(plan.jobs[2].check.timeout_ms, 90000);
	plan_release(&plan);
}

static void test_depth_of_history(void **state)
{
	static const struct {
		const char *git;
		int depth;
	} cases[] = {{"", 50}, {"git: {depth: 7}\n", 7}, {"git: {depth: all}\n", 0}, {"git: {depth: false}\n", 0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *text = xasprintf("image: x\nscript: a\n%s", cases[i].git);
		struct job_spec back = {0};
		struct plan plan;
		struct err e;

		plan_of(text, &push, &plan);
		_cleanup_json_ json_t *json = job_spec_to_json(&plan.jobs[0]);

		assert_int_equal(plan.jobs[0].git.depth, cases[i].depth);
		assert_done(job_spec_from_json(json, &back, &e), e);
		assert_int_equal(back.git.depth, cases[i].depth);
		job_spec_release(&back);
		plan_release(&plan);
	}
}

static void test_what_never_publishes(void **state)
{
	static const struct plan_context tag = {.kind = EVENT_PUSH, .branch = "main", .tag = "main"};
	static const struct plan_context other = {.kind = EVENT_PUSH, .branch = "feature"};
	const struct plan_context *const all[] = {&pull, &tag, &other};
	static const char yaml[] =
		"image: x\nscript: x\nbackend: [unix, xen]\npublish: {when: {branch: main, backend: unix}, "
		"repo: /r, files: [site]}\n";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct plan plan;

		plan_of(yaml, all[i], &plan);
		assert_null(plan.jobs[0].publish.repo);
		assert_null(plan.jobs[0].publish.path);
		assert_int_equal(plan.jobs[0].publish.files.len, 1); /* for the boot proof */
		assert_int_equal(plan.jobs[1].publish.files.len, 0);
		plan_release(&plan);
	}
}

static void test_branch_in_path_is_checked(void **state)
{
	static const struct plan_context odd = {.kind = EVENT_PUSH, .branch = "x/../../y"};
	_cleanup_free_ char *text = NULL;
	struct plan plan = {0};
	struct err e;

	(void)state;
	assert_refused(
		make("image: x\nscript: x\npublish: {when: {event: push}, repo: /r, files: [a], path: 'p/{branch}'}\n",
		     &odd, &plan, &text, &e),
		e, ERR_INPUT, "ci:3:10: 'path: p/x/../../y' in 'publish' must have no '.' or '..' part");
}

/* --- JSON --- */

static void test_json_round_trip(void **state)
{
	struct plan plan;

	(void)state;
	plan_of(demo, &push, &plan);
	for (size_t i = 0; i < plan.njobs; i++) {
		_cleanup_json_ json_t *json = job_spec_to_json(&plan.jobs[i]), *again = NULL, *parsed = NULL;
		_cleanup_free_ char *one = json_text(json), *two = NULL;
		struct job_spec back = {0};
		struct err e;

		assert_done(json_parse("job", one, strlen(one), &parsed, &e), e);
		assert_done(job_spec_from_json(parsed, &back, &e), e);
		again = job_spec_to_json(&back);
		two = json_text(again);
		assert_string_equal(one, two);
		job_spec_release(&back);
	}
	plan_release(&plan);
}

static void test_json_refusals(void **state)
{
	static const struct {
		const char *json, *why;
	} cases[] = {
		{"[]", "bad job: not an object"},
		{"{\"name\":\"a\"}", "bad job: 'image' is missing"},
		{"{\"name\":1}", "bad job: 'name' is not a string"},
		{"{\"name\":\"a\",\"image\":\"b\",\"env\":[{}]}",
		 "bad job: a row of 'env' needs either 'text' or 'secure'"},
		{"{\"name\":\"a\",\"image\":\"b\"}", "bad job: 'phases' is missing"},
		{"{\"name\":\"a\",\"image\":\"b\",\"phases\":{\"script\":[1]}}",
		 "bad job: 'script' holds something other than strings"},
		{"{\"name\":\"a\",\"image\":\"b\",\"phases\":{},\"network\":\"maybe\"}",
		 "bad job: 'network' is missing or not a known word"},
		{"{\"name\":\"a\",\"image\":\"b\",\"phases\":{},\"network\":\"off\",\"timeout_ms\":-1}",
		 "bad job: 'timeout_ms' is out of range"},
		{"{\"name\":\"a\",\"image\":\"b\",\"phases\":{},\"network\":\"off\",\"publish\":{\"repo\":\"/r\","
		 "\"branch\":\"b\",\"files\":[\"f\"],\"path\":\"../x\"}}",
		 "bad job: 'publish' has no good path"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_json_ json_t *json = NULL;
		struct job_spec j;
		struct err e;

		assert_done(json_parse("job", cases[i].json, strlen(cases[i].json), &json, &e), e);
		assert_refused(job_spec_from_json(json, &j, &e), e, ERR_INPUT, cases[i].why);
	}
}

static void test_same_bytes_in_same_bytes_out(void **state)
{
	_cleanup_free_ char *first = NULL;

	(void)state;
	for (int i = 0; i < 2; i++) {
		_cleanup_json_ json_t *json = NULL;
		_cleanup_free_ char *text = NULL;
		struct plan plan;

		if (i) {
			setenv("LC_ALL", "tr_TR.UTF-8", 1);
			setenv("TZ", "Asia/Tokyo", 1);
			setenv("BACKEND", "other", 1);
		}
		plan_of(demo, &push, &plan);
		json = plan_to_json(&plan);
		text = json_text(json);
		if (first) assert_string_equal(first, text);
		if (!first) first = steal(text);
		plan_release(&plan);
	}
}

/* What the reader does not take yet, the job's form holds all the same. */
static void test_json_of_what_is_to_come(void **state)
{
	struct plan_http pages[] = {{.path = (char[]){"/"}, .status = 200, .contains = (char[]){"x"}},
				    {.path = (char[]){"/a"}, .status = 404, .header = (char[]){"Server"}}};
	struct job_spec j = {.name = (char[]){"n"},
			     .image = (char[]){"i"},
			     .git = {.depth = 3, .submodules = 1},
			     .check = {.boot = BOOT_UNIX,
				       .delay_ms = 50,
				       .loss_ppm = 10000,
				       .rate_bit = 64000,
				       .port = 80,
				       .args = (char[]){"-v"},
				       .http = pages,
				       .nhttp = 2,
				       .script = (char[]){"./t"}}};
	_cleanup_json_ json_t *json = job_spec_to_json(&j), *again = NULL;
	struct job_spec back = {0};
	struct err e;

	(void)state;
	assert_done(job_spec_from_json(json, &back, &e), e);
	assert_int_equal(back.git.submodules, 1);
	assert_int_equal(back.check.delay_ms, 50);
	assert_int_equal(back.check.loss_ppm, 10000);
	assert_int_equal(back.check.rate_bit, 64000);
	assert_int_equal(back.check.port, 80);
	assert_string_equal(back.check.args, "-v");
	assert_int_equal(back.check.nhttp, 2);
	assert_string_equal(back.check.http[1].header, "Server");
	assert_string_equal(back.check.script, "./t");
	again = job_spec_to_json(&back);
	assert_true(json_equal(json, again));
	job_spec_release(&back);
}

static void test_plan_as_json(void **state)
{
	_cleanup_json_ json_t *json = NULL;
	struct plan plan;

	(void)state;
	plan_of("image: x\nscript: x\nstages: [b]\nmatrix: {fast_finish: yes, include: [{name: n, stage: b, env: A=1 "
		"B=2}]}\nnotify: [{command: c, if: branch = main}]\n",
		&push, &plan);
	json = plan_to_json(&plan);
	assert_string_equal(json_string_value(json_at(json_array_get(json_at(json, "stages"), 0), "name")), "b");
	assert_string_equal(json_string_value(json_at(json_array_get(json_at(json, "notify"), 0), "command")), "c");
	assert_true(json_is_true(json_at(json, "fast_finish")));
	assert_string_equal(json_string_value(json_at(json_array_get(json_at(json, "jobs"), 0), "stage")), "b");
	assert_int_equal(json_array_size(json_at(json_array_get(json_at(json, "jobs"), 0), "env")), 2);
	assert_int_equal(json_integer_value(json_at(json_array_get(json_at(json, "specs"), 0), "stage_number")), 1);
	plan_release(&plan);
}

/* --- hostile input --- */

/* Work that grows faster than its input would take minutes; the clock is this process's own, a busy machine does not
 * count. How fast it is, is for the bench. */
static int64_t used_ms(void)
{
	return (int64_t)clock() * 1000 / CLOCKS_PER_SEC;
}

static void quick(struct buf *b, const char *want)
{
	struct plan_problems problems;
	struct plan plan = {0};
	int64_t before = used_ms();
	struct err e = {0};
	int rc = plan_make("ci", b->data, b->len, &push, &plan, &problems, &e);
	int64_t took = used_ms() - before;

	if (!want && rc) fail_msg("%s", e.text);
	if (want && (!rc || !strstr(e.text, want))) fail_msg("wanted %s, got %s", want, rc ? e.text : "a plan");
	if (took > 20000) fail_msg("took %d ms (%.80s)", (int)took, b->data);
	plan_problems_release(&problems);
	plan_release(&plan);
	buf_clear(b);
	buf_adds(b, "image: x\nscript: x\n");
}

static void test_hostile_inputs_are_bounded(void **state)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 21);

	(void)state;
	buf_adds(&b, "image: x\nscript: x\nenv:\n");
	for (int i = 0; i < 40000; i++) buf_addf(&b, "- A=%d\n", i);
	quick(&b, "the matrix has more than 2000 combinations");
	buf_adds(&b, "env:\n");
	for (int i = 0; i < 201; i++) buf_addf(&b, "- A=%d\n", i);
	quick(&b, "the matrix has 201 jobs; at most 200 are built");
	buf_adds(&b, "env: \"");
	for (int i = 0; i < 200000; i++) buf_adds(&b, "A=1 ");
	buf_adds(&b, "\"\n");
	quick(&b, "more than 200 variables in one row");
	buf_adds(&b, "env:\n  global:\n");
	for (int i = 0; i < 190; i++) {
		buf_adds(&b, "  - ");
		for (int k = 0; k < 200; k++) buf_addf(&b, "V%d_%d=%d ", i, k, k);
		buf_adds(&b, "\n");
	}
	quick(&b, NULL);
	buf_adds(&b, "env: A=");
	for (int i = 0; i < 400000; i++) buf_adds(&b, "$(");
	quick(&b, "nested too deep");
	buf_adds(&b, "branches:\n");
	for (int i = 0; i < 20000; i++) buf_addf(&b, "- /(a|b|c{1,200}){1,5}%d/\n", i);
	quick(&b, "too large");
	buf_adds(&b, "branches:\n");
	for (int i = 0; i < 10; i++) buf_addf(&b, "- /^(([ab]*)*(m|ma|mai)*){1,%d}x$/\n", 100 + i);
	quick(&b, NULL);
	buf_adds(&b, "branches:\n- /");
	for (int i = 0; i < 100; i++) buf_adds(&b, "(");
	buf_adds(&b, "/\n");
	quick(&b, "too many ( inside each other");
	for (int i = 0; i < 20000; i++) buf_addf(&b, "key%d: 1\n", i);
	quick(&b, "unknown key 'key0' (and 199 more)");
	for (int i = 0; i < 60000; i++) buf_adds(&b, "- \n");
	quick(&b, "not YAML");
	buf_clear(&b);
	buf_adds(&b, "image: x\nenv:\n");
	for (int i = 0; i < 199; i++) buf_addf(&b, "- A=%d\n", i);
	buf_adds(&b, "script: '");
	for (int i = 0; i < 90000; i++) buf_adds(&b, "xxxxxxxxxx");
	buf_adds(&b, "'\n");
	quick(&b, "the 199 jobs together hold more than 8388608 bytes of text");
	buf_adds(&b, "env:\n");
	for (int i = 0; i < 199; i++) buf_addf(&b, "- A=%d\n", i);
	buf_adds(&b, "check:\n");
	for (int i = 0; i < 5000; i++) buf_adds(&b, "- {boot: unix, file: a, when: {backend: q}}\n");
	quick(&b, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_error_is_the_first_problem_and_their_number),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_expansion),
		cmocka_unit_test(test_included_row_overrides),
		cmocka_unit_test(test_stages_of_a_plan),
		cmocka_unit_test(test_why_rules_matched_or_not),
		cmocka_unit_test(test_scripts_that_hide_failures),
		cmocka_unit_test(test_other_traps),
		cmocka_unit_test(test_json_of_what_is_to_come),
		cmocka_unit_test(test_plan_as_json),
		cmocka_unit_test(test_sealed_values),
		cmocka_unit_test(test_cache_and_what_it_is_of),
		cmocka_unit_test(test_check_and_publish_by_cell),
		cmocka_unit_test(test_depth_of_history),
		cmocka_unit_test(test_what_never_publishes),
		cmocka_unit_test(test_branch_in_path_is_checked),
		cmocka_unit_test(test_json_round_trip),
		cmocka_unit_test(test_json_refusals),
		cmocka_unit_test(test_same_bytes_in_same_bytes_out),
		cmocka_unit_test(test_hostile_inputs_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
