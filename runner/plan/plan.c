/* The planner: bytes → tree → config → cells → jobs. Nothing here looks at anything but its arguments. */
#include "runner/plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

/* What all jobs of a plan may come to: every job holds its own copy of what the file says for all. */
enum { MAX_PLAN_BYTES = 8 << 20 };

const char *plan_phase_name(enum plan_phase p)
{
	switch (p) {
	case PHASE_BEFORE_INSTALL: return "before_install";
	case PHASE_INSTALL: return "install";
	case PHASE_BEFORE_SCRIPT: return "before_script";
	case PHASE_SCRIPT: return "script";
	case PHASE_AFTER_SUCCESS: return "after_success";
	case PHASE_AFTER_FAILURE: return "after_failure";
	case PHASE_AFTER_SCRIPT: return "after_script";
	case PHASE_COUNT: break;
	}
	die("unknown phase %d", (int)p);
}

const char *plan_network_name(enum plan_network n)
{
	switch (n) {
	case NETWORK_OFF: return "off";
	case NETWORK_INSTALL: return "install";
	case NETWORK_ON: return "on";
	}
	die("unknown network %d", (int)n);
}

const char *plan_boot_name(enum plan_boot b)
{
	switch (b) {
	case BOOT_NONE: return "none";
	case BOOT_UNIX: return "unix";
	case BOOT_QEMU: return "qemu";
	case BOOT_SOLO5_SPT: return "solo5-spt";
	case BOOT_SOLO5_HVT: return "solo5-hvt";
	case BOOT_COMMAND: return "command";
	}
	die("unknown boot %d", (int)b);
}

/* --- names --- */

enum { MAX_NAME_BYTES = 120 };

static void cut_name(char *s)
{
	size_t n = strlen(s);

	for (char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = ' ';
	if (n <= MAX_NAME_BYTES) return;
	for (n = MAX_NAME_BYTES - 3; n && ((unsigned char)s[n] & 0xc0) == 0x80;) n--;
	memcpy(s + n, "...", 4);
}

static char *cell_name(const struct cell *cell)
{
	_cleanup_free_ char *env = cell->env ? env_label(cell->env->vars, cell->env->len) : xstrdup("");
	const char *parts[] = {cell->backend, cell->arch, *env ? env : NULL};
	struct buf b = BUF_INIT(SIZE_MAX / 2);
	char *name;

	if (cell->row && cell->row->name) return xstrdup(cell->row->name);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i]) buf_addf(&b, "%s%s", b.len ? " " : "", parts[i]);
	if (!b.len) buf_adds(&b, "default");
	name = buf_steal(&b);
	cut_name(name);
	return name;
}

static int name_taken(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->njobs; i++)
		if (!strcmp(p->jobs[i].name, name)) return 1;
	return 0;
}

static char *unique_name(const struct plan *p, const struct cell *cell)
{
	_cleanup_free_ char *base = cell_name(cell);
	char *name = xstrdup(base);

	for (int i = 2; name_taken(p, name); i++) {
		free(name);
		name = xasprintf("%s (%d)", base, i);
	}
	return name;
}

/* --- jobs --- */

static size_t vec_bytes(const struct vec *v)
{
	size_t n = 0;

	for (size_t i = 0; i < v->len; i++) n += strlen(v->items[i]) + sizeof(char *) + 16;
	return n;
}

static size_t job_bytes(const struct job_spec *j)
{
	size_t n = vec_bytes(&j->packages) + vec_bytes(&j->artifacts) + vec_bytes(&j->publish.files);

	for (size_t i = 0; i < j->nenv; i++)
		n += vec_bytes(&j->env[i].chunks) + (j->env[i].text ? strlen(j->env[i].text) : 0) + sizeof(*j->env);
	for (size_t i = 0; i < PHASE_COUNT; i++) n += vec_bytes(&j->phases[i]);
	n += j->check.command ? strlen(j->check.command) : 0;
	n += j->check.expect ? strlen(j->check.expect) : 0;
	return n + (j->check.http_contains ? strlen(j->check.http_contains) : 0);
}

static void make_jobs(const struct config *c, const struct cell *cells, size_t n, const struct plan_context *cx,
		      struct plan *plan, struct plan_problems *problems)
{
	size_t bytes = 0;

	plan->jobs = xcalloc(n, sizeof(*plan->jobs));
	for (size_t i = 0; i < n && bytes <= MAX_PLAN_BYTES; i++) {
		struct job_spec *j = &plan->jobs[i];

		j->number = (int)i + 1;
		j->name = unique_name(plan, &cells[i]);
		plan->njobs++;
		settle(c, &cells[i], cx, j, problems);
		bytes += job_bytes(j);
	}
	if (bytes > MAX_PLAN_BYTES)
		problem_add(problems, (struct yaml_place){1, 1}, 0,
			    "the %zu jobs together hold more than %d bytes of text", n, (int)MAX_PLAN_BYTES);
}

static int any_matches(const struct patterns *p, const char *branch)
{
	for (size_t i = 0; i < p->len; i++)
		if (pattern_matches(&p->items[i], branch)) return 1;
	return 0;
}

static int branch_is_built(const struct config *c, const char *branch)
{
	return (!c->only.len || any_matches(&c->only, branch)) && !any_matches(&c->except, branch);
}

/* A value that no job has, in a `when`: most likely a slip of the pen. */
static void check_when(const struct when *w, const struct plan *plan, struct plan_problems *problems)
{
	const struct vec *lists[] = {&w->backends, &w->archs};

	for (size_t k = 0; k < ARRAY_LEN(lists); k++)
		for (size_t i = 0; i < lists[k]->len && i < PLAN_MAX_JOBS; i++) {
			const char *value = lists[k]->items[i];
			size_t hits = 0;

			for (size_t j = 0; j < plan->njobs && !hits; j++) {
				const char *has = k ? plan->jobs[j].arch : plan->jobs[j].backend;

				hits = has && !strcmp(has, value);
			}
			if (!hits)
				problem_add(problems, w->at, 1, "no job has the %s '%s'", k ? "arch" : "backend",
					    value);
		}
}

static void check_key(const struct publish_rule *rule, const struct plan *plan, struct plan_problems *problems)
{
	int unnamed = 0, found = 0;

	if (!rule->publish.key) return;
	for (size_t i = 0; i < plan->njobs && !found; i++)
		for (size_t k = 0; k < plan->jobs[i].nenv && !found; k++) {
			const struct plan_env *v = &plan->jobs[i].env[k];

			unnamed |= !v->text && !v->secret_name;
			found = v->secret_name && !strcmp(v->secret_name, rule->publish.key);
		}
	if (!found && !unnamed)
		problem_add(problems, rule->at, 1, "no sealed value in 'env' is named '%s'", rule->publish.key);
}

/* One commit's folder of a deployment repository holds one image for one arch: its manifest has room for one. */
static void check_clashes(const struct settings *s, const struct plan *plan, struct plan_problems *problems)
{
	for (size_t i = 0; i < plan->njobs; i++)
		for (size_t k = 0; k < i; k++) {
			const struct job_spec *a = &plan->jobs[k], *b = &plan->jobs[i];

			if (!a->publish.repo || !b->publish.repo || !a->publish.path || !b->publish.path) continue;
			if (strcmp(a->publish.repo, b->publish.repo) != 0 ||
			    strcmp(a->publish.path, b->publish.path) != 0)
				continue;
			if (!a->arch || !b->arch || !strcmp(a->arch, b->arch)) continue;
			problem_add(problems, s->npublishes ? s->publishes[0].at : (struct yaml_place){1, 1}, 0,
				    "the jobs '%s' and '%s' both publish to '%s': put {arch} into 'path', or a 'when'",
				    a->name, b->name, b->publish.path);
			return;
		}
}

/* What a remote must look like to be reached by ssh: then only a key opens it. */
static void check_has_key(const struct publish_rule *rule, struct plan_problems *problems)
{
	const char *repo = rule->publish.repo;

	if (!repo || rule->publish.key || repo[0] == '/' || !strncmp(repo, "file://", 7)) return;
	if (!strncmp(repo, "ssh://", 6) || strchr(repo, ':'))
		problem_add(problems, rule->at, 0, "'publish' to '%s' needs a 'key': the name of a sealed deploy key",
			    repo);
}

enum { MAX_LINTED_RULES = 100 };

static void lint_settings(const struct settings *s, const struct plan *plan, struct plan_problems *problems)
{
	for (size_t i = 0; i < s->nchecks && i < MAX_LINTED_RULES; i++) check_when(&s->checks[i].when, plan, problems);
	for (size_t i = 0; i < s->npublishes && i < MAX_LINTED_RULES; i++) {
		check_when(&s->publishes[i].when, plan, problems);
		check_key(&s->publishes[i], plan, problems);
		check_has_key(&s->publishes[i], problems);
	}
	check_clashes(s, plan, problems);
}

static void plan_config(struct config *c, int has_root, const struct plan_context *cx, struct plan *plan,
			struct plan_problems *problems)
{
	_cleanup_free_ struct cell *cells = NULL;
	size_t n;

	/* Jobs made of what could not be read would only be wrong again. */
	if (problems_errors(problems)) {
		if (has_root && !(c->settings.set & SET_IMAGE) && !c->include.len)
			problem_add(problems, (struct yaml_place){1, 1}, 0, PLAN_NO_IMAGE);
		return;
	}
	expand(c, &cells, &n, problems);
	make_jobs(c, cells, n, cx, plan, problems);
	lint_settings(&c->settings, plan, problems);
	if (!branch_is_built(c, cx->branch)) plan_release(plan);
}

static void add_repeats(const struct yaml_doc *doc, struct plan_problems *problems)
{
	for (size_t i = 0; i < doc->nrepeats; i++)
		problem_add(problems, doc->repeats[i].at, 0, "the key '%s' stands here again; it was in line %d",
			    doc->repeats[i].key, doc->repeats[i].first.line);
}

static int fail(const char *name, const struct plan_problems *problems, struct err *e)
{
	size_t errors = problems_errors(problems);
	const struct plan_problem *first = problems->items;

	while (first->warning) first++;
	if (errors == 1) return err_set(e, ERR_INPUT, "%.300s:%d:%d: %s", name, first->line, first->col, first->text);
	return err_set(e, ERR_INPUT, "%.300s:%d:%d: %s (and %zu more)", name, first->line, first->col, first->text,
		       errors - 1);
}

int plan_make(const char *name, const void *data, size_t len, const struct plan_context *cx, struct plan *plan_r,
	      struct plan_problems *problems, struct err *e)
{
	_cleanup_yaml_ struct yaml_doc doc = {0};
	struct plan plan = {0};
	struct config c = {0};
	struct yaml_place at;
	struct err why;

	*problems = (struct plan_problems){0};
	if (yaml_parse(data, len, &doc, &at, &why)) {
		problem_add(problems, at, 0, "%s", why.text);
		return fail(name, problems, e);
	}
	add_repeats(&doc, problems);
	config_read(doc.root, &c, problems);
	plan_config(&c, doc.root && doc.root->kind == YAML_MAP, cx, &plan, problems);
	config_release(&c);
	problems_sort(problems);
	if (problems_errors(problems)) {
		plan_release(&plan);
		return fail(name, problems, e);
	}
	*plan_r = plan;
	return 0;
}

void plan_release(struct plan *p)
{
	for (size_t i = 0; i < p->njobs; i++) job_spec_release(&p->jobs[i]);
	free(p->jobs);
	*p = (struct plan){0};
}
