/* `runner lint` and `runner plan`: the planner's view of a file, without a daemon or a database. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/plan/plan.h"
#include "runner/sandbox/host.h"

/* FILE, or standard input. */
static int read_input(const char *file, struct buf *b, struct err *e)
{
	return strcmp(file, "-") ? fs_read_file(file, b, e) : fs_read_fd(STDIN_FILENO, "standard input", b, e);
}

static const char *shown_name(const char *file)
{
	return strcmp(file, "-") ? file : "<stdin>";
}

/* The source line with a caret under the place. Tabs stay, so that the caret stands where the reader's eye is. */
static void print_caret(const char *text, const struct plan_problem *p)
{
	const char *line = text;
	size_t n, col = 1;

	for (int i = 1; i < p->line && line; i++) {
		line = strchr(line, '\n');
		if (line) line++;
	}
	if (!line) return;
	n = strcspn(line, "\r\n");
	if (n > 200) return;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)line[i] < 0x20 && line[i] != '\t') return;
	printf("  %.*s\n  ", (int)n, line);
	for (size_t i = 0; i < n && col < (size_t)p->col; i++) {
		if (((unsigned char)line[i] & 0xc0) == 0x80) continue;
		putchar(line[i] == '\t' ? '\t' : ' ');
		col++;
	}
	printf("^\n");
}

static void print_problems(const struct plan_problems *p, const char *file, const char *text, int carets)
{
	for (size_t i = 0; i < p->len; i++) {
		struct plan_problems one = {&p->items[i], 1};
		_cleanup_free_ char *line = plan_problems_text(&one, file, 1);

		fputs(line, stdout);
		if (carets && text) print_caret(text, &p->items[i]);
	}
}

static const char *const key_heading = "KEY                             TYPE                              WHAT";

static const char *later_text(int later)
{
	if (later == PLAN_KEY_READ) return " (read, not carried out yet by this version)";
	return later ? " (not supported yet by this version)" : "";
}

static int list_keys(void)
{
	struct plan_key *keys;
	size_t n = plan_keys(NULL, 0);

	keys = xcalloc(n, sizeof(*keys));
	(void)plan_keys(keys, n);
	printf("%s\n", key_heading);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *name = xasprintf("%s%s%s", keys[i].scope, *keys[i].scope ? "." : "", keys[i].name);

		printf("%-31s %-33s %s%s\n", name, keys[i].type, keys[i].help, later_text(keys[i].later));
	}
	free(keys);
	return 0;
}

/* What a file is read as: as it was said, or by its name, or by what is in it. */
enum said { SAID_NOTHING, SAID_CI, SAID_TRAVIS };

static enum plan_dialect dialect_of(enum said said, const char *file, const struct buf *b)
{
	if (said == SAID_NOTHING && strcmp(file, "-") != 0) return plan_dialect_of(file, buf_str(b), b->len);
	return said == SAID_TRAVIS ? PLAN_TRAVIS : PLAN_CI;
}

/* The file that is there, .ci.yml first. */
static const char *default_file(void)
{
	return access(".ci.yml", F_OK) && !access(".travis.yml", F_OK) ? ".travis.yml" : ".ci.yml";
}

static void add_problems_json(const struct plan_problems *p, const char *file, json_t *list)
{
	for (size_t i = 0; i < p->len; i++) {
		const struct plan_problem *it = &p->items[i];

		if (json_array_append_new(list, json_pack("{ss, si, si, ss, ss}", "file", file, "line", it->line,
							  "column", it->col, "level", it->warning ? "warning" : "error",
							  "text", it->text)))
			die("cannot make a JSON list");
	}
}

static int print_schema(void)
{
	_cleanup_json_ json_t *schema = plan_schema();
	char *text = json_dumps(schema, JSON_INDENT(1) | JSON_SORT_KEYS);

	if (!text) die("cannot write the schema");
	printf("%s\n", text);
	free(text);
	return 0;
}

struct lint_options {
	enum said said;
	int json, keys, schema;
};

static int lint_options(int argc, char **argv, struct lint_options *o)
{
	static const struct option options[] = {{"keys", no_argument, NULL, 'k'},   {"json", no_argument, NULL, 'j'},
						{"schema", no_argument, NULL, 's'}, {"ci", no_argument, NULL, 'c'},
						{"travis", no_argument, NULL, 't'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'k': o->keys = 1; break;
		case 'j': o->json = 1; break;
		case 's': o->schema = 1; break;
		case 'c': o->said = SAID_CI; break;
		case 't': o->said = SAID_TRAVIS; break;
		default: return -1;
		}
	}
	return 0;
}

/* 0: good, or with warnings only. list: where the problems go; NULL: they are printed. */
static int lint_file(const char *file, enum said said, json_t *list, const char *command)
{
	struct plan_context cx = {.kind = EVENT_PUSH, .branch = "main", .any_branch = 1};
	_cleanup_buf_ struct buf b = BUF_INIT(PLAN_MAX_FILE_BYTES);
	struct plan_problems problems = {0};
	struct plan plan = {0};
	struct err e;
	int rc;

	if (read_input(file, &b, &e)) return cmd_fail(command, e.text);
	cx.dialect = dialect_of(said, file, &b);
	rc = plan_make(shown_name(file), buf_str(&b), b.len, &cx, &plan, &problems, &e);
	if (list)
		add_problems_json(&problems, shown_name(file), list);
	else
		print_problems(&problems, shown_name(file), strlen(buf_str(&b)) == b.len ? buf_str(&b) : NULL,
			       isatty(STDOUT_FILENO));
	plan_problems_release(&problems);
	plan_release(&plan);
	return rc ? 1 : 0;
}

int cmd_lint(int argc, char **argv)
{
	_cleanup_json_ json_t *list = NULL;
	_cleanup_free_ char *text = NULL;
	struct lint_options o = {0};
	int failed = 0;

	if (lint_options(argc, argv, &o)) return cmd_usage(argv[0]);
	if (o.keys) return list_keys();
	if (o.schema) return print_schema();
	if (o.json) list = json_array();
	if (optind == argc) failed = lint_file(default_file(), o.said, list, argv[0]);
	for (int i = optind; i < argc; i++)
		if (lint_file(argv[i], o.said, list, argv[0])) failed = 1;
	if (!list) return failed;
	text = json_text(list);
	printf("%s\n", text);
	return failed;
}

/* --- runner plan --- */

static void print_commands(const struct job_spec *j)
{
	size_t n = 0;

	for (size_t i = 0; i < PHASE_COUNT; i++) n += j->phases[i].len;
	printf("%-9zu", n);
}

static void print_job(const struct job_spec *j, int width, int stage_width)
{
	printf("%3d  ", j->number);
	if (stage_width) printf("%-*s  ", stage_width, j->stage);
	printf("%-*s  %-24s  %-8s ", width, j->name, j->image, j->arch ? j->arch : "-");
	print_commands(j);
	printf("%-10s ", j->check.boot == BOOT_NONE ? "-" : plan_boot_name(j->check.boot));
	if (j->publish.repo)
		printf("%s/ in %s", j->publish.path, j->publish.repo);
	else
		printf("-");
	/* For who reads it here; the plan itself (--json) is the same on every box. */
	if (j->arch && !host_arch_native(host_arch(), j->arch)) printf("  (emulated here)");
	printf("%s\n", j->allow_failure ? "  (may fail)" : "");
}

static void print_plan(const struct plan *p)
{
	int width = 4, stage_width = 0;

	for (size_t i = 0; i < p->njobs; i++) {
		if ((int)strlen(p->jobs[i].name) > width) width = (int)strlen(p->jobs[i].name);
		if (p->jobs[i].stage && stage_width < 5) stage_width = 5;
		if (p->jobs[i].stage && (int)strlen(p->jobs[i].stage) > stage_width)
			stage_width = (int)strlen(p->jobs[i].stage);
	}
	printf("%3s  ", "JOB");
	if (stage_width) printf("%-*s  ", stage_width, "STAGE");
	printf("%-*s  %-24s  %-8s %-9s%-10s %s\n", width, "NAME", "IMAGE", "ARCH", "COMMANDS", "CHECK", "PUBLISH");
	for (size_t i = 0; i < p->njobs; i++) print_job(&p->jobs[i], width, stage_width);
}

/* file: which of several it is of; NULL: there is one. */
static void print_json(const struct plan *p, const struct plan_problems *why, const char *file)
{
	_cleanup_json_ json_t *json = plan_to_json(p), *rules = json_array();
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < why->len; i++) {
		const struct plan_problem *it = &why->items[i];

		if (json_array_append_new(
			    rules, json_pack("{si, si, ss}", "line", it->line, "column", it->col, "text", it->text)))
			die("cannot make a JSON list");
	}
	if (why->len && json_object_set(json, "rules", rules)) die("cannot make JSON");
	if (file && json_object_set_new(json, "file", json_string(file))) die("cannot make JSON");
	/* Not sorted: env is listed in the file's order. */
	text = json_dumps(json, JSON_COMPACT);
	if (!text) die("cannot write the plan");
	printf("%s\n", text);
}

static void print_why(const struct plan_problems *why, const char *file)
{
	if (why->len) printf("\n");
	for (size_t i = 0; i < why->len; i++)
		printf("%s:%d:%d: %s\n", file, why->items[i].line, why->items[i].col, why->items[i].text);
}

struct plan_options {
	struct plan_context cx;
	struct vec settings;
	enum said said;
	int json;
};

static int plan_options(int argc, char **argv, struct plan_options *o)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"event", required_argument, NULL, 'e'},
						{"branch", required_argument, NULL, 'b'},
						{"tag", required_argument, NULL, 't'},
						{"ci", no_argument, NULL, 'C'},
						{"travis", no_argument, NULL, 'T'},
						{"repo", required_argument, NULL, 'r'},
						{"message", required_argument, NULL, 'm'},
						{"sender", required_argument, NULL, 's'},
						{"fork", no_argument, NULL, 'f'},
						{"setting", required_argument, NULL, 'S'},
						{NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j': o->json = 1; break;
		case 'b': o->cx.branch = optarg; break;
		case 't': o->cx.tag = o->cx.branch = optarg; break;
		case 'C': o->said = SAID_CI; break;
		case 'T': o->said = SAID_TRAVIS; break;
		case 'r': o->cx.repo = optarg; break;
		case 'm': o->cx.message = optarg; break;
		case 's': o->cx.sender = optarg; break;
		case 'f': o->cx.from_fork = 1; break;
		case 'S': vec_add(&o->settings, optarg); break;
		case 'e':
			if (event_kind_parse(optarg, &o->cx.kind) || o->cx.kind == EVENT_PING) return -1;
			break;
		default: return -1;
		}
	}
	return 0;
}

/* Who asks for no branch in particular is shown all that a .travis.yml makes, for the branch that was usual then. */
static void default_branch(struct plan_context *cx)
{
	if (cx->branch) return;
	cx->branch = cx->dialect == PLAN_TRAVIS ? "master" : "main";
	cx->any_branch = cx->dialect == PLAN_TRAVIS;
}

/* Of several files each has its line, also one without a plan. */
static void print_refused(const char *file, const char *problems)
{
	_cleanup_json_ json_t *json = json_pack("{ss, ss}", "file", file, "error", problems);
	_cleanup_free_ char *text = json ? json_text(json) : NULL;

	if (!text) die("cannot make JSON");
	printf("%s\n", text);
}

static void print_text(const struct plan *plan, const struct plan_problems *why, const char *file, const char *branch)
{
	if (plan->njobs)
		print_plan(plan);
	else if (plan->left_out)
		printf("no jobs: the branches rules leave out %s\n", branch);
	else
		printf("no jobs: conditions and rules leave none\n");
	if (!plan->left_out) print_why(why, file);
}

static int plan_file(const char *file, const struct plan_options *o, int several, const char *command)
{
	_cleanup_buf_ struct buf b = BUF_INIT(PLAN_MAX_FILE_BYTES);
	struct plan_problems problems = {0}, why = {0};
	const char *name = shown_name(file);
	struct plan_context cx = o->cx;
	_cleanup_free_ char *text = NULL;
	struct plan plan = {0};
	struct err e;
	int rc;

	if (read_input(file, &b, &e)) {
		if (o->json && several) print_refused(name, e.text);
		return cmd_fail(command, e.text);
	}
	cx.dialect = dialect_of(o->said, file, &b);
	default_branch(&cx);
	cx.why = &why;
	cx.settings = (const char *const *)o->settings.items;
	rc = plan_make(name, buf_str(&b), b.len, &cx, &plan, &problems, &e);
	text = plan_problems_text(&problems, name, 1);
	fputs(text, stderr);
	if (!o->json && several) printf("%s:\n", name);
	if (!rc && o->json)
		print_json(&plan, &why, several ? name : NULL);
	else if (!rc)
		print_text(&plan, &why, name, cx.branch);
	else if (o->json && several)
		print_refused(name, text);
	plan_problems_release(&problems);
	plan_problems_release(&why);
	plan_release(&plan);
	return rc ? 1 : 0;
}

int cmd_plan(int argc, char **argv)
{
	struct plan_options o = {.cx = {.kind = EVENT_PUSH}};
	int failed = 0;

	if (plan_options(argc, argv, &o)) return cmd_usage(argv[0]);
	vec_argv(&o.settings); /* ends with NULL */
	if (optind == argc) failed = plan_file(default_file(), &o, 0, argv[0]);
	for (int i = optind; i < argc; i++)
		if (plan_file(argv[i], &o, argc - optind > 1, argv[0])) failed = 1;
	vec_release(&o.settings);
	return failed;
}
