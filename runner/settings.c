/* Where the settings of `runner publish` come from in another CI. Values stay values: each becomes one word of a
 * command line that getopt alone reads, and nothing is expanded by a shell. */
#include "runner/settings.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fs.h"
#include "runner/plan/plan.h"
#include "runner/sandbox/image.h"

enum { MAX_FILE = 1 << 20 };

static const char *value_of(const char *name)
{
	const char *s = getenv(name);

	return s && *s ? s : NULL; /* a form's empty field is no setting */
}

/* --- what a CI tells of the build --- */

static const struct {
	const char *option;
	const char *names[7];
} told[] = {
	{"commit", {"GITHUB_SHA", "CI_COMMIT_SHA", "DRONE_COMMIT_SHA", "TRAVIS_COMMIT", "CI_COMMIT"}},
	{"source-repo", {"GITHUB_REPOSITORY", "CI_PROJECT_PATH", "CI_REPO", "DRONE_REPO", "TRAVIS_REPO_SLUG"}},
	{"source-branch", {"GITHUB_REF_NAME", "CI_COMMIT_BRANCH", "DRONE_BRANCH", "TRAVIS_BRANCH", "CI_BRANCH"}},
	{"event",
	 {"GITHUB_RUN_NUMBER", "CI_PIPELINE_IID", "CI_PIPELINE_NUMBER", "DRONE_BUILD_NUMBER", "TRAVIS_BUILD_NUMBER"}},
};

static void add_told(struct vec *line)
{
	for (size_t i = 0; i < ARRAY_LEN(told); i++)
		for (size_t k = 0; told[i].names[k]; k++)
			if (value_of(told[i].names[k])) {
				vec_addf(line, "--%s=%s", told[i].option, value_of(told[i].names[k]));
				break;
			}
}

/* --- PLUGIN_ and INPUT_ --- */

/* PLUGIN_SOURCE_REPO; INPUT_SOURCE-REPO as GitHub writes it, and INPUT_SOURCE_REPO. The name that is set, or NULL. */
static char *name_in(const char *option)
{
	static const struct {
		const char *prefix;
		char dash;
	} forms[] = {{"PLUGIN_", '_'}, {"INPUT_", '-'}, {"INPUT_", '_'}};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		_cleanup_free_ char *name = xasprintf("%s%s", forms[i].prefix, option);

		for (char *p = name + strlen(forms[i].prefix); *p; p++)
			*p = *p == '-' ? forms[i].dash : (char)toupper((unsigned char)*p);
		if (value_of(name)) return steal(name);
	}
	return NULL;
}

/* Commas (Drone joins lists so) and line ends part; blanks around do not count. */
static void add_list(struct vec *to, const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ",\n"), next = n + (text[n] != '\0');

		while (n && isspace((unsigned char)*text)) text++, n--, next--;
		while (n && isspace((unsigned char)text[n - 1])) n--;
		if (n) vec_take(to, xstrndup(text, n));
		text += next;
	}
}

static int is_yes(const char *s)
{
	return !strcasecmp(s, "true") || !strcasecmp(s, "yes") || !strcmp(s, "1");
}

/* Where the key is, is no setting of these; the key is ("key"), and stays where it stands. */
static int is_setting(const char *option)
{
	return strcmp(option, "request") != 0 && strcmp(option, "key-fd") != 0 && strcmp(option, "key-env") != 0;
}

static void add_environment(struct vec *line, const struct option *options)
{
	for (; options->name; options++) {
		_cleanup_free_ char *name = is_setting(options->name) ? name_in(options->name) : NULL;
		_cleanup_vec_ struct vec values = VEC_INIT;

		if (!name) continue;
		if (options->has_arg == no_argument) {
			if (is_yes(value_of(name))) vec_addf(line, "--%s", options->name);
			continue;
		}
		if (strcmp(options->name, "secret-env") != 0) {
			vec_addf(line, "--%s=%s", options->name, value_of(name));
			continue;
		}
		add_list(&values, value_of(name));
		for (size_t i = 0; i < values.len; i++) vec_addf(line, "--%s=%s", options->name, values.items[i]);
	}
}

/* --- .ci.yml --- */

/* The last "--name=value" or "--name value"; NULL: none. */
static const char *last_said(const struct vec *line, const char *name)
{
	size_t n = strlen(name);
	const char *found = NULL;

	for (size_t i = 1; i < line->len; i++) {
		const char *s = line->items[i];

		if (!strcmp(s, "--")) break;
		if (strncmp(s, "--", 2) != 0 || strncmp(s + 2, name, n) != 0) continue;
		if (s[n + 2] == '=') found = s + n + 3;
		if (!s[n + 2] && i + 1 < line->len) found = line->items[i + 1];
	}
	return found;
}

static int fits(const char *wanted, const char *has)
{
	return !wanted || !strcmp(wanted, has ? has : "");
}

static void add_rule(struct vec *line, struct vec *files, const struct job_spec *j)
{
	const struct plan_publish *p = &j->publish;

	vec_addf(line, "--repo=%s", p->repo);
	vec_addf(line, "--branch=%s", p->branch);
	vec_addf(line, "--path=%s", p->path);
	if (j->backend) vec_addf(line, "--backend=%s", j->backend);
	vec_addf(line, "--arch=%s", j->arch ? j->arch : image_host_arch());
	if (p->keep) vec_addf(line, "--keep=%d", p->keep);
	if (!p->latest) vec_add(line, "--no-latest");
	if (p->message) vec_addf(line, "--message=%s", p->message);
	if (p->author) vec_addf(line, "--author=%s", p->author);
	if (p->mode) vec_addf(line, "--mode=%04o", (unsigned)p->mode);
	vec_addf(line, "--compress=%s", plan_packing_name((enum plan_packing)p->packing));
	for (size_t i = 0; i < p->files.len; i++) vec_add(files, p->files.items[i]);
}

static int add_file(struct vec *line, struct vec *files, const struct vec *all, struct err *e)
{
	const char *file = last_said(all, "ci"), *backend = last_said(all, "backend"), *arch = last_said(all, "arch");
	const char *branch = last_said(all, "source-branch");
	struct plan_context cx = {.kind = EVENT_PUSH, .branch = branch ? branch : "main", .any_branch = 1};
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_FILE);
	struct plan_problems problems = {0};
	const struct job_spec *found = NULL;
	struct plan plan = {0};
	int failed;

	if (!file) return 0;
	if (fs_read_file(file, &text, e)) return -1;
	cx.dialect = plan_dialect_of(file, buf_str(&text), text.len);
	failed = plan_make(file, buf_str(&text), text.len, &cx, &plan, &problems, e);
	plan_problems_release(&problems);
	if (failed) return -1;
	for (size_t i = 0; i < plan.njobs && !found; i++)
		if (plan.jobs[i].publish.repo && fits(backend, plan.jobs[i].backend) && fits(arch, plan.jobs[i].arch))
			found = &plan.jobs[i];
	if (found) add_rule(line, files, found);
	plan_release(&plan);
	return found ? 0
		     : err_set(e, ERR_MISSING, "'%s' publishes nothing for branch '%s', backend '%s', arch '%s'", file,
			       cx.branch, backend ? backend : "", arch ? arch : "");
}

/* --- all of it --- */

static void add_all(struct vec *to, const struct vec *from)
{
	for (size_t i = 0; i < from->len; i++) vec_add(to, from->items[i]);
}

int settings_line(int argc, char **argv, const struct option *options, struct vec *line_r, struct vec *files_r,
		  struct err *e)
{
	_cleanup_vec_ struct vec ci = VEC_INIT, environment = VEC_INIT, given = VEC_INIT, all = VEC_INIT;
	_cleanup_free_ char *key = name_in("key"), *files = name_in("files");

	vec_add(&all, argv[0]);
	add_told(&all);
	add_environment(&environment, options);
	for (int i = 1; i < argc; i++) vec_add(&given, argv[i]);
	vec_add(line_r, argv[0]);
	add_told(line_r);
	add_all(&all, &environment);
	add_all(&all, &given);
	if (add_file(&ci, files_r, &all, e)) return -1;
	add_all(line_r, &ci);
	add_all(line_r, &environment);
	if (key && !last_said(&all, "key-env") && !last_said(&all, "key-fd")) vec_addf(line_r, "--key-env=%s", key);
	add_all(line_r, &given);
	if (!files) return 0;
	vec_release(files_r);
	add_list(files_r, value_of(files));
	return 0;
}

int settings_files(const struct vec *globs, struct vec *files_r, struct err *e)
{
	for (size_t i = 0; i < globs->len; i++) {
		size_t before = files_r->len;
		glob_t g = {0};
		struct stat st;
		int rc = glob(globs->items[i], 0, NULL, &g);

		for (size_t k = 0; !rc && k < g.gl_pathc; k++)
			if (!stat(g.gl_pathv[k], &st) && S_ISREG(st.st_mode) && !vec_has(files_r, g.gl_pathv[k]))
				vec_add(files_r, g.gl_pathv[k]);
		globfree(&g);
		if (files_r->len == before)
			return err_set(e, ERR_MISSING, "no file to publish matches '%s'", globs->items[i]);
	}
	return 0;
}
