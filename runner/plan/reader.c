/* The tree of a `.ci.yml` → typed config. One table row per key says where it may stand, how it is read and where
 * it goes; whatever is wrong is added to the problems with its place, and reading goes on. */
#include "runner/plan/reader.h"

#include <stdlib.h>
#include <string.h>

struct yaml_place node_place(const struct yaml_node *n)
{
	return (struct yaml_place){n->line, n->col};
}

/* --- values --- */

/* The text of a value, NULL (and a problem) where it is none. */
static const char *text_of(struct reader *r, const struct yaml_node *key, const struct yaml_node *v)
{
	if (v->kind == YAML_TEXT && !yaml_is_null(v)) return v->text;
	problem_add(r->problems, node_place(v), 0, "'%s' must be text, not %s", key->text,
		    v->kind == YAML_TEXT ? "empty" : yaml_kind_name(v->kind));
	return NULL;
}

static int reject(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *why)
{
	if (why) problem_add(r->problems, node_place(v), 0, "'%s' in '%s' %s", v->text, key->text, why);
	return why != NULL;
}

static void text_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v,
		    const char *(*bad)(const char *), char **to)
{
	const char *s = text_of(r, key, v);

	if (!s || reject(r, key, v, bad ? bad(s) : NULL)) return;
	free(*to);
	*to = xstrdup(s);
}

static const char *bad_if_empty(const char *s)
{
	return *s ? NULL : "must not be empty";
}

#define TEXT_READER(name, bad)                                                                                         \
	static void name(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)           \
	{                                                                                                              \
		text_to(r, key, v, bad, to);                                                                           \
	}
TEXT_READER(read_image, bad_image)
TEXT_READER(read_backend, bad_axis_value)
TEXT_READER(read_arch, bad_arch)
TEXT_READER(read_name, bad_name)
TEXT_READER(read_job_name, bad_job_name)
TEXT_READER(read_file, bad_glob)
TEXT_READER(read_repo, bad_repo)
TEXT_READER(read_branch, bad_branch)
TEXT_READER(read_http_path, bad_http_path)
TEXT_READER(read_text, bad_if_empty)

/* A list of texts; one text is a list of one, nothing is an empty one. */
static void list_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v,
		    const char *(*bad)(const char *), struct vec *to)
{
	const struct yaml_node *one = v;
	size_t n = v->kind == YAML_LIST ? v->len : !yaml_is_null(v);

	vec_release(to);
	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = v->kind == YAML_LIST ? v->items[i] : one;
		const char *s = text_of(r, key, item);

		if (s && !reject(r, key, item, bad(s))) vec_add(to, s);
	}
}

#define LIST_READER(name, bad)                                                                                         \
	static void name(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)           \
	{                                                                                                              \
		list_to(r, key, v, bad, to);                                                                           \
	}
LIST_READER(read_globs, bad_glob)
LIST_READER(read_backends, bad_axis_value)
LIST_READER(read_archs, bad_arch)

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_packages(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct vec *list = to;
	size_t kept = 0;

	list_to(r, key, v, bad_package, list);
	if (!list->len) return;
	qsort(list->items, list->len, sizeof(char *), by_text);
	for (size_t i = 0; i < list->len; i++) {
		if (kept && !strcmp(list->items[kept - 1], list->items[i]))
			free(list->items[i]);
		else
			list->items[kept++] = list->items[i];
	}
	list->len = kept;
	list->items[kept] = NULL;
}

/* An axis: a value that stands twice would make the same jobs twice. */
static void read_axis(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct vec *axis = to;

	list_to(r, key, v, strcmp(key->text, "arch") ? bad_axis_value : bad_arch, axis);
	if (axis->len > PLAN_MAX_JOBS) {
		problem_add(r->problems, node_place(v), 0, "'%s' has %zu values; at most %d are taken", key->text,
			    axis->len, (int)PLAN_MAX_JOBS);
		vec_release(axis);
	}
	for (size_t i = 0; i < axis->len; i++)
		for (size_t j = 0; j < i; j++)
			if (!strcmp(axis->items[i], axis->items[j])) {
				problem_add(r->problems, node_place(v), 0, "'%s' stands twice in '%s'", axis->items[i],
					    key->text);
				return;
			}
}

static void read_duration(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_duration(s, to));
}

static void read_size(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_size(s, to));
}

static void read_cpus(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (s) (void)reject(r, key, v, bad_cpus(s, to));
}

static void read_int(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, int least, int most,
		     int *to)
{
	const char *s = text_of(r, key, v);

	if (s && bad_count(s, least, most, to))
		problem_add(r->problems, node_place(v), 0, "'%s' in '%s' must be a whole number from %d to %d", s,
			    key->text, least, most);
}

static void read_pids(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_int(r, key, v, 2, 1000000, to);
}

static void read_status(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_int(r, key, v, 100, 599, to);
}

static void read_keep(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_int(r, key, v, 0, 1000000, to);
}

/* One word of a list; its index. -1: a problem was added. */
static int read_choice(struct reader *r, const struct yaml_node *key, const struct yaml_node *v,
		       const char *const *words, size_t n)
{
	const char *s = text_of(r, key, v), *meant;
	char all[200] = "";

	if (!s) return -1;
	for (size_t i = 0; i < n; i++) {
		size_t used = strlen(all);

		if (!strcmp(s, words[i])) return (int)i;
		snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "", words[i]);
	}
	meant = nearest(s, words, n);
	if (meant)
		problem_add(r->problems, node_place(v), 0, "'%s' in '%s', did you mean '%s'?", s, key->text, meant);
	else
		problem_add(r->problems, node_place(v), 0, "'%s' in '%s' must be one of %s", s, key->text, all);
	return -1;
}

static void read_network(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"off", "install", "on"};
	int i = read_choice(r, key, v, words, ARRAY_LEN(words));

	if (i >= 0) *(enum plan_network *)to = (enum plan_network)i;
	if (i == NETWORK_INSTALL)
		problem_add(r->problems, node_place(v), 0,
			    "'install' in 'network' is not supported by this version yet: take 'on' or 'off'");
}

static void read_boot(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"unix", "qemu", "solo5-spt", "solo5-hvt", "command"};
	int i = read_choice(r, key, v, words, ARRAY_LEN(words));

	if (i >= 0) *(enum plan_boot *)to = (enum plan_boot)(i + 1);
}

/* --- phases --- */

static void read_commands(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct vec *to)
{
	size_t n;

	if (v->kind == YAML_LIST) {
		for (size_t i = 0; i < v->len; i++) read_commands(r, key, v->items[i], to);
		return;
	}
	if (v->kind == YAML_MAP) {
		problem_add(r->problems, node_place(v), 0,
			    "a command in '%s' must be text: put one that holds ': ' in quotes", key->text);
		return;
	}
	if (yaml_is_null(v)) return;
	for (n = strlen(v->text); n && strchr(" \t\n", v->text[n - 1]);) n--;
	if (n) vec_take(to, xstrndup(v->text, n));
}

static void read_phase(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct phase *phase = to;
	const struct yaml_node *one = v->kind == YAML_LIST && v->len == 1 ? v->items[0] : v;

	phase->skipped = one->kind == YAML_TEXT && (!strcmp(one->text, "skip") || !strcmp(one->text, "ignore"));
	vec_release(&phase->commands);
	if (!phase->skipped) read_commands(r, key, v, &phase->commands);
}

/* --- patterns --- */

static void pattern_to(struct reader *r, const struct yaml_node *at, const char *text, struct patterns *to)
{
	struct pattern p;
	const char *why = pattern_make(text, &r->regex_budget, &p);

	if (why) {
		problem_add(r->problems, node_place(at), 0, "branch '%s' %s", text, why);
		return;
	}
	to->items = xrealloc(to->items, (to->len + 1) * sizeof(*to->items));
	to->items[to->len++] = p;
}

/* A text may name several, with commas between them. */
static void read_patterns(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s;

	if (yaml_is_null(v)) return;
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len; i++) {
		s = text_of(r, key, v->items[i]);
		if (s) pattern_to(r, v->items[i], s, to);
	}
	if (v->kind == YAML_LIST || !(s = text_of(r, key, v))) return;
	if (*s == '/') {
		pattern_to(r, v, s, to);
		return;
	}
	while (*s) {
		size_t skip = strspn(s, " ,"), n = strcspn(s + skip, ","), len = n;
		_cleanup_free_ char *one = NULL;

		s += skip;
		while (len && s[len - 1] == ' ') len--;
		one = xstrndup(s, len);
		if (*one) pattern_to(r, v, one, to);
		s += n;
	}
}

static void read_branches(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct config *c = to;

	if (v->kind == YAML_MAP)
		read_map(r, key, v, SCOPE_BRANCHES, to, NULL);
	else
		read_patterns(r, key, v, &c->only);
}

/* --- maps in maps --- */

static void read_limits(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_map(r, key, v, SCOPE_LIMITS, to, NULL);
}

static void read_http(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct plan_check *check = to;

	read_map(r, key, v, SCOPE_HTTP, to, NULL);
	if (v->kind == YAML_MAP && !check->http_path) check->http_path = xstrdup("/");
}

static void read_events(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"push", "pull_request"};
	size_t n = v->kind == YAML_LIST ? v->len : 1;

	for (size_t i = 0; i < n; i++) {
		int word = read_choice(r, key, v->kind == YAML_LIST ? v->items[i] : v, words, ARRAY_LEN(words));

		if (word >= 0) vec_add(to, words[word]);
	}
}

static void read_when(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct when *when = to;

	when->given = 1;
	when->at = node_place(v);
	read_map(r, key, v, SCOPE_WHEN, to, NULL);
}

static void check_one(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct settings *s = to;
	struct check_rule *rule;

	s->checks = xrealloc(s->checks, (s->nchecks + 1) * sizeof(*s->checks));
	rule = &s->checks[s->nchecks++];
	*rule = (struct check_rule){.at = node_place(v), .check = {.http_status = 200, .timeout_ms = 60000}};
	read_map(r, key, v, SCOPE_CHECK, rule, NULL);
	if (v->kind != YAML_MAP) return;
	if (!yaml_get(v, "boot"))
		problem_add(r->problems, rule->at, 0, "'boot' is missing in 'check': say how the image is run");
	else if ((rule->check.boot == BOOT_COMMAND) != (rule->check.command != NULL))
		problem_add(r->problems, rule->at, 0, "'boot: command' and 'command' go together in 'check'");
}

static void publish_one(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct settings *s = to;
	struct publish_rule *rule;

	s->publishes = xrealloc(s->publishes, (s->npublishes + 1) * sizeof(*s->publishes));
	rule = &s->publishes[s->npublishes++];
	*rule = (struct publish_rule){.at = node_place(v)};
	read_map(r, key, v, SCOPE_PUBLISH, rule, NULL);
	if (v->kind != YAML_MAP) return;
	if (!yaml_get(v, "repo")) problem_add(r->problems, rule->at, 0, "'repo' is missing in 'publish': say where to");
	if (!yaml_get(v, "files"))
		problem_add(r->problems, rule->at, 0, "'files' is missing in 'publish': say what, the image first");
	else if (!rule->publish.files.len && yaml_get(v, "files")->kind != YAML_MAP)
		problem_add(r->problems, node_place(yaml_get(v, "files")), 0, "'files' names no file");
	if (!rule->when.given)
		problem_add(r->problems, rule->at, 1,
			    "'publish' has no 'when': every branch that is pushed is published");
	for (size_t i = 0; i < rule->when.events.len; i++)
		if (strcmp(rule->when.events.items[i], "push") != 0)
			problem_add(r->problems, rule->when.at, 0, "pull requests are never published");
}

/* One entry, or a list of them of which the first that matches counts. */
static void each(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, read_fn *one, void *to)
{
	if (v->kind != YAML_LIST) one(r, key, v, to);
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len; i++) one(r, key, v->items[i], to);
}

static void read_check(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (!yaml_is_null(v)) each(r, key, v, check_one, to);
}

static void read_publish(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (!yaml_is_null(v)) each(r, key, v, publish_one, to);
}

static void read_path(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v), *why;
	_cleanup_free_ char *sample = s ? path_fill(s, "x", "x", "x", &why) : NULL;

	if (!s) return;
	if (sample) why = bad_path(sample);
	if (reject(r, key, v, why)) return;
	free(*(char **)to);
	*(char **)to = xstrdup(s);
}

/* --- matrix --- */

static void read_row_env(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct matrix_row *row = to;

	(void)key;
	row->has_env = 1;
	env_read_row(r, v, &row->env);
}

static void read_rows(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, enum scope scope,
		      struct matrix_rows *rows)
{
	size_t n = v->kind == YAML_LIST ? v->len : !yaml_is_null(v);

	if (n > EXPAND_MAX_RULES) {
		problem_add(r->problems, node_place(v), 0, "'%s' has %zu rows; at most %d are taken", key->text, n,
			    (int)EXPAND_MAX_RULES);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = v->kind == YAML_LIST ? v->items[i] : v;
		struct matrix_row *row;

		rows->items = xrealloc(rows->items, (rows->len + 1) * sizeof(*rows->items));
		row = &rows->items[rows->len++];
		*row = (struct matrix_row){.at = node_place(item)};
		read_map(r, key, item, scope, row, &row->own.set);
		if (scope == SCOPE_RULE && item->kind == YAML_MAP && !item->len)
			problem_add(r->problems, row->at, 0, "an empty rule in '%s' says nothing", key->text);
	}
}

static void read_include(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_rows(r, key, v, SCOPE_ROW, &((struct config *)to)->include);
}

static void read_exclude(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_rows(r, key, v, SCOPE_RULE, &((struct config *)to)->exclude);
}

static void read_allow(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_rows(r, key, v, SCOPE_RULE, &((struct config *)to)->allow_failures);
}

static void read_matrix(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (yaml_is_null(v)) return;
	if (r->has_matrix++)
		problem_add(r->problems, node_place(key), 0, "'matrix' and 'jobs' are the same key: write one of them");
	if (v->kind == YAML_LIST)
		read_include(r, key, v, to);
	else
		read_map(r, key, v, SCOPE_MATRIX, to, NULL);
}

static void read_env(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	(void)key;
	env_read(r, v, to);
}

/* --- the table --- */

#define IN(member) offsetof(struct settings, member)
#define PHASE(p) IN(phases[p]), SET_PHASE << (p)

static const struct key keys[] = {
	{SCOPE_ROOT, "backend", "list", read_axis, offsetof(struct config, backends), 0,
	 "an axis of the matrix: what the image is made for; exported as BACKEND"},
	{SCOPE_ROOT, "arch", "list", read_axis, offsetof(struct config, archs), 0,
	 "an axis of the matrix: amd64, arm64; exported as ARCH; emulated where the box is not of that arch"},
	{SCOPE_ROOT, "env", "env", read_env, 0, 0, "variables: for all jobs (global) and as an axis (matrix)"},
	{SCOPE_ROOT, "matrix", "mapping", read_matrix, 0, 0, "which combinations of the axes are built"},
	{SCOPE_ROOT, "jobs", "mapping", read_matrix, 0, 0, "another name of matrix"},
	{SCOPE_ROOT, "branches", "list", read_branches, 0, 0, "which branches are built"},
	{SCOPE_ROOT, "notify", "list", NULL, 0, 0, "who is told"},
	{SCOPE_ROOT, "stages", "list", NULL, 0, 0, "jobs one after the other"},
	{SCOPE_ROOT, "git", "mapping", NULL, 0, 0, "how the source is fetched"},

	{SCOPE_ROW, "name", "text", read_job_name, offsetof(struct matrix_row, name), 0, "the job's name"},
	{SCOPE_ROW | SCOPE_RULE, "backend", "text", read_backend, offsetof(struct matrix_row, backend), 0,
	 "the row's value on this axis"},
	{SCOPE_ROW | SCOPE_RULE, "arch", "text", read_arch, offsetof(struct matrix_row, arch), 0,
	 "the row's value on this axis"},
	{SCOPE_ROW | SCOPE_RULE, "env", "env", read_row_env, 0, 0, "the row's variables, all of them"},
	{SCOPE_ROW, "stage", "text", NULL, 0, 0, "the stage the job belongs to"},

	{SCOPE_ROOT | SCOPE_ROW, "image", "text", read_image, IN(image), SET_IMAGE, "what the jobs run in"},
	{SCOPE_ROOT | SCOPE_ROW, "packages", "list", read_packages, IN(packages), SET_PACKAGES,
	 "Debian packages put into the image before the job"},
	{SCOPE_ROOT | SCOPE_ROW, "before_install", "commands", read_phase, PHASE(PHASE_BEFORE_INSTALL),
	 "first of the set-up phases: the first command that fails ends the job"},
	{SCOPE_ROOT | SCOPE_ROW, "install", "commands", read_phase, PHASE(PHASE_INSTALL), "set-up phase"},
	{SCOPE_ROOT | SCOPE_ROW, "before_script", "commands", read_phase, PHASE(PHASE_BEFORE_SCRIPT), "set-up phase"},
	{SCOPE_ROOT | SCOPE_ROW, "script", "commands", read_phase, PHASE(PHASE_SCRIPT),
	 "the job itself: all commands run, and any that fails makes it fail"},
	{SCOPE_ROOT | SCOPE_ROW, "after_success", "commands", read_phase, PHASE(PHASE_AFTER_SUCCESS),
	 "run when script passed; failures are shown and ignored"},
	{SCOPE_ROOT | SCOPE_ROW, "after_failure", "commands", read_phase, PHASE(PHASE_AFTER_FAILURE),
	 "run when script failed; failures are shown and ignored"},
	{SCOPE_ROOT | SCOPE_ROW, "after_script", "commands", read_phase, PHASE(PHASE_AFTER_SCRIPT),
	 "run last; failures are shown and ignored"},
	{SCOPE_ROOT | SCOPE_ROW, "timeout", "time", read_duration, IN(timeout_ms), SET_TIMEOUT,
	 "the longest the job may take; 50m by default"},
	{SCOPE_ROOT | SCOPE_ROW, "silence", "time", read_duration, IN(silence_ms), SET_SILENCE,
	 "the longest it may say nothing; 10m by default"},
	{SCOPE_ROOT | SCOPE_ROW, "limits", "mapping", read_limits, IN(limits), SET_LIMITS, "what the job may use"},
	{SCOPE_ROOT | SCOPE_ROW, "network", "off, install or on", read_network, IN(network), SET_NETWORK,
	 "off by default; install: until the end of the install phase"},
	{SCOPE_ROOT | SCOPE_ROW, "artifacts", "list", read_globs, IN(artifacts), SET_ARTIFACTS,
	 "files kept after the job"},
	{SCOPE_ROOT | SCOPE_ROW, "check", "mapping or list", read_check, 0, SET_CHECK,
	 "boot proof: the image is run before it is published"},
	{SCOPE_ROOT | SCOPE_ROW, "publish", "mapping or list", read_publish, 0, SET_PUBLISH,
	 "commit the image to a deployment repository"},
	{SCOPE_ROOT | SCOPE_ROW, "cache", "list", NULL, 0, 0, "folders kept from build to build"},
	{SCOPE_ROOT | SCOPE_ROW, "if", "condition", NULL, 0, 0, "whether to build at all"},

	{SCOPE_MATRIX, "include", "list", read_include, 0, 0, "more jobs"},
	{SCOPE_MATRIX, "exclude", "list", read_exclude, 0, 0, "combinations that are not built"},
	{SCOPE_MATRIX, "allow_failures", "list", read_allow, 0, 0, "jobs that may fail without failing the build"},
	{SCOPE_MATRIX, "fast_finish", "text", NULL, 0, 0, "the build ends with its last required job"},
	{SCOPE_MATRIX, "axes", "list", NULL, 0, 0, "more axes"},

	{SCOPE_BRANCHES, "only", "list", read_patterns, offsetof(struct config, only), 0, "only these are built"},
	{SCOPE_BRANCHES, "except", "list", read_patterns, offsetof(struct config, except), 0, "these are not built"},

	{SCOPE_LIMITS, "memory", "size", read_size, offsetof(struct plan_limits, memory_bytes), 0, "main memory"},
	{SCOPE_LIMITS, "disk", "size", read_size, offsetof(struct plan_limits, disk_bytes), 0, "files written"},
	{SCOPE_LIMITS, "cpus", "number", read_cpus, offsetof(struct plan_limits, cpus_milli), 0, "processors"},
	{SCOPE_LIMITS, "pids", "number", read_pids, offsetof(struct plan_limits, pids), 0, "processes and threads"},

	{SCOPE_WHEN, "branch", "list", read_patterns, offsetof(struct when, branches), 0,
	 "the branch that was pushed; a tag is no branch"},
	{SCOPE_WHEN, "backend", "list", read_backends, offsetof(struct when, backends), 0, "the job's backend"},
	{SCOPE_WHEN, "arch", "list", read_archs, offsetof(struct when, archs), 0, "the job's arch"},
	{SCOPE_WHEN, "event", "list", read_events, offsetof(struct when, events), 0, "push or pull_request"},

#define CHECK(member) offsetof(struct check_rule, check.member)
	{SCOPE_CHECK, "when", "mapping", read_when, offsetof(struct check_rule, when), 0, "for which jobs"},
	{SCOPE_CHECK, "boot", "unix, qemu, solo5-spt, solo5-hvt or command", read_boot, CHECK(boot), 0,
	 "how the image is run"},
	{SCOPE_CHECK, "file", "file", read_file, CHECK(file), 0, "the image; by default the first of publish.files"},
	{SCOPE_CHECK, "command", "text", read_text, CHECK(command), 0, "for boot: command; IMAGE names the file"},
	{SCOPE_CHECK, "expect", "text", read_text, CHECK(expect), 0, "what must appear on the console"},
	{SCOPE_CHECK, "http", "mapping", read_http, offsetof(struct check_rule, check), 0,
	 "a page it must answer with"},
	{SCOPE_CHECK, "timeout", "time", read_duration, CHECK(timeout_ms), 0, "how long it may take; 1m by default"},
	{SCOPE_CHECK, "network", "mapping", NULL, 0, 0, "a bad line in between"},
	{SCOPE_CHECK, "script", "text", NULL, 0, 0, "tests of its own"},

	{SCOPE_HTTP, "path", "text", read_http_path, offsetof(struct plan_check, http_path), 0, "/ by default"},
	{SCOPE_HTTP, "status", "number", read_status, offsetof(struct plan_check, http_status), 0, "200 by default"},
	{SCOPE_HTTP, "contains", "text", read_text, offsetof(struct plan_check, http_contains), 0,
	 "text that must be in the body"},

#define PUBLISH(member) offsetof(struct publish_rule, publish.member)
	{SCOPE_PUBLISH, "when", "mapping", read_when, offsetof(struct publish_rule, when), 0, "for which jobs"},
	{SCOPE_PUBLISH, "repo", "text", read_repo, PUBLISH(repo), 0, "the deployment repository"},
	{SCOPE_PUBLISH, "branch", "text", read_branch, PUBLISH(branch), 0, "its branch; main by default"},
	{SCOPE_PUBLISH, "key", "name", read_name, PUBLISH(key), 0, "the sealed variable that holds the deploy key"},
	{SCOPE_PUBLISH, "files", "list", read_globs, PUBLISH(files), 0, "what is published; the first is the image"},
	{SCOPE_PUBLISH, "path", "text", read_path, PUBLISH(path), 0,
	 "the folder in it; {backend}, {arch} and {branch} are filled in; {backend} by default"},
	{SCOPE_PUBLISH, "keep", "number", read_keep, PUBLISH(keep), 0, "images kept; 0, the default: all"},
};

/* Names of the scopes in enum order of their bits, as they stand in messages. */
static const char *const scope_names[] = {"",       "matrix.include", "matrix.exclude", "matrix",     "branches",
					  "limits", "when",           "check",          "check.http", "publish"};

static const char *scope_name(unsigned scopes)
{
	size_t i = 0;

	while (!(scopes >> i & 1)) i++;
	return scope_names[i];
}

static const struct key *find_key(const char *name, enum scope scope)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (keys[i].scopes & scope && !strcmp(keys[i].name, name)) return &keys[i];
	return NULL;
}

static void unknown_key(struct reader *r, const struct yaml_node *in, const struct yaml_node *key, enum scope scope)
{
	const char *known[ARRAY_LEN(keys)], *meant;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (keys[i].scopes & scope && keys[i].read) known[n++] = keys[i].name;
	meant = nearest(key->text, known, n);
	problem_add(r->problems, node_place(key), 0, "unknown key '%s'%s%s%s%s%s%s%s", key->text, in ? " in '" : "",
		    in ? in->text : "", in ? "'" : "", meant ? ", did you mean '" : "", meant ? meant : "",
		    meant ? "'" : "", meant ? "?" : "");
}

void read_map(struct reader *r, const struct yaml_node *in, const struct yaml_node *map, enum scope scope, void *to,
	      unsigned *set)
{
	if (map->kind != YAML_MAP) {
		problem_add(r->problems, node_place(map), 0, "%s%s%s must be a mapping of keys, not %s", in ? "'" : "",
			    in ? in->text : "the file", in ? "'" : "",
			    yaml_is_null(map) ? "empty" : yaml_kind_name(map->kind));
		return;
	}
	for (size_t i = 0; i < map->len; i++) {
		const struct yaml_pair *pair = &map->pairs[i];
		const struct key *k = find_key(pair->key->text, scope);

		if (pair->repeated) continue;
		if (!k) {
			unknown_key(r, in, pair->key, scope);
		} else if (!k->read) {
			problem_add(r->problems, node_place(pair->key), 0, "'%s' is not supported yet by this version",
				    k->name);
		} else {
			if (set) *set |= k->bit;
			k->read(r, pair->key, pair->value, (char *)to + k->offset);
		}
	}
}

void config_read(const struct yaml_node *root, struct config *c, struct plan_problems *problems)
{
	struct reader r = {.problems = problems, .regex_budget = PATTERN_BUDGET};

	if (!root) {
		problem_add(problems, (struct yaml_place){1, 1}, 0, "the file is empty");
		return;
	}
	read_map(&r, NULL, root, SCOPE_ROOT, c, &c->settings.set);
}

size_t plan_keys(struct plan_key *keys_r, size_t most)
{
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		for (unsigned s = SCOPE_ROOT; s <= SCOPE_PUBLISH; s <<= 1)
			if (keys[i].scopes & s && n++ < most)
				keys_r[n - 1] = (struct plan_key){scope_name(s), keys[i].name, keys[i].type,
								  keys[i].help, keys[i].read == NULL};
	return n;
}
