/* `runner lint` and `runner plan`: the planner's view of a file, without a daemon or a database. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/plan/plan.h"

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

static int list_keys(void)
{
	struct plan_key *keys;
	size_t n = plan_keys(NULL, 0);

	keys = xcalloc(n, sizeof(*keys));
	(void)plan_keys(keys, n);
	printf("%s\n", key_heading);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *name = xasprintf("%s%s%s", keys[i].scope, *keys[i].scope ? "." : "", keys[i].name);

		printf("%-31s %-33s %s%s\n", name, keys[i].type, keys[i].help,
		       keys[i].later ? " (not supported yet by this version)" : "");
	}
	free(keys);
	return 0;
}

int cmd_lint(int argc, char **argv)
{
	static const struct option options[] = {{"keys", no_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
	static const struct plan_context cx = {.kind = EVENT_PUSH, .branch = "main"};
	_cleanup_buf_ struct buf b = BUF_INIT(PLAN_MAX_FILE_BYTES);
	struct plan_problems problems = {0};
	struct plan plan = {0};
	const char *file = ".ci.yml";
	struct err e;
	int rc, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'k') return list_keys();
		return cmd_usage(argv[0]);
	}
	if (argc - optind > 1) return cmd_usage(argv[0]);
	if (optind < argc) file = argv[optind];
	if (read_input(file, &b, &e)) return cmd_fail(argv[0], e.text);
	rc = plan_make(shown_name(file), buf_str(&b), b.len, &cx, &plan, &problems, &e);
	print_problems(&problems, shown_name(file), strlen(buf_str(&b)) == b.len ? buf_str(&b) : NULL,
		       isatty(STDOUT_FILENO));
	plan_problems_release(&problems);
	plan_release(&plan);
	return rc ? 1 : 0;
}

/* --- runner plan --- */

static void print_commands(const struct job_spec *j)
{
	size_t n = 0;

	for (size_t i = 0; i < PHASE_COUNT; i++) n += j->phases[i].len;
	printf("%-9zu", n);
}

static void print_plan(const struct plan *p)
{
	int width = 4;

	for (size_t i = 0; i < p->njobs; i++)
		if ((int)strlen(p->jobs[i].name) > width) width = (int)strlen(p->jobs[i].name);
	printf("%3s  %-*s  %-24s  %-8s %-9s%-10s %s\n", "JOB", width, "NAME", "IMAGE", "ARCH", "COMMANDS", "CHECK",
	       "PUBLISH");
	for (size_t i = 0; i < p->njobs; i++) {
		const struct job_spec *j = &p->jobs[i];

		printf("%3d  %-*s  %-24s  %-8s ", j->number, width, j->name, j->image, j->arch ? j->arch : "-");
		print_commands(j);
		printf("%-10s ", j->check.boot == BOOT_NONE ? "-" : plan_boot_name(j->check.boot));
		if (j->publish.repo)
			printf("%s/ in %s", j->publish.path, j->publish.repo);
		else
			printf("-");
		printf("%s\n", j->allow_failure ? "  (may fail)" : "");
	}
}

static void print_json(const struct plan *p)
{
	_cleanup_json_ json_t *json = plan_to_json(p);
	_cleanup_free_ char *text = json_text(json);

	printf("%s\n", text);
}

struct plan_options {
	struct plan_context cx;
	int json;
};

static int plan_options(int argc, char **argv, struct plan_options *o)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"event", required_argument, NULL, 'e'},
						{"branch", required_argument, NULL, 'b'},
						{"tag", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'j': o->json = 1; break;
		case 'b': o->cx.branch = optarg; break;
		case 't': o->cx.tag = o->cx.branch = optarg; break;
		case 'e':
			if (event_kind_parse(optarg, &o->cx.kind) || o->cx.kind == EVENT_PING) return -1;
			break;
		default: return -1;
		}
	}
	return argc - optind > 1 ? -1 : 0;
}

int cmd_plan(int argc, char **argv)
{
	struct plan_options o = {.cx = {.kind = EVENT_PUSH, .branch = "main"}};
	_cleanup_buf_ struct buf b = BUF_INIT(PLAN_MAX_FILE_BYTES);
	struct plan_problems problems = {0};
	struct plan plan = {0};
	const char *file = ".ci.yml";
	_cleanup_free_ char *text = NULL;
	struct err e;
	int rc;

	if (plan_options(argc, argv, &o)) return cmd_usage(argv[0]);
	if (optind < argc) file = argv[optind];
	if (read_input(file, &b, &e)) return cmd_fail(argv[0], e.text);
	rc = plan_make(shown_name(file), buf_str(&b), b.len, &o.cx, &plan, &problems, &e);
	text = plan_problems_text(&problems, shown_name(file), 1);
	fputs(text, stderr);
	plan_problems_release(&problems);
	if (rc) return 1;
	if (o.json)
		print_json(&plan);
	else if (!plan.njobs)
		printf("no jobs: the branches rules leave out %s\n", o.cx.branch);
	else
		print_plan(&plan);
	plan_release(&plan);
	return 0;
}
