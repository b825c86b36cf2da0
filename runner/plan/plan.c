/* The planner: bytes → tree → config → cells → jobs. Nothing here looks at anything but its arguments. */
#include "runner/plan/plan.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/travis.h"

/* What all jobs of a plan may come to: every job holds its own copy of what the file says for all. */
enum { MAX_PLAN_BYTES = 8 << 20 };

const char *plan_dialect_file(enum plan_dialect d)
{
	switch (d) {
	case PLAN_CI: return ".ci.yml";
	case PLAN_TRAVIS: return ".travis.yml";
	}
	die("unknown dialect %d", (int)d);
}

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

static int name_taken(const struct plan *p, const char *name)
{
	for (size_t i = 0; i < p->njobs; i++)
		if (!strcmp(p->jobs[i].name, name)) return 1;
	return 0;
}

static char *unique_name(const struct config *c, const struct plan *p, const struct cell *cell)
{
	_cleanup_free_ char *base = cell_label(c, cell);
	char *name;

	cut_name(base);
	name = xstrdup(base);

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

	n += vec_bytes(&j->cache) + vec_bytes(&j->cache_files) + (j->check.script ? strlen(j->check.script) : 0);

	for (size_t i = 0; i < j->nenv; i++)
		n += vec_bytes(&j->env[i].chunks) + (j->env[i].text ? strlen(j->env[i].text) : 0) + sizeof(*j->env);
	for (size_t i = 0; i < PHASE_COUNT; i++) n += vec_bytes(&j->phases[i]);
	n += j->check.command ? strlen(j->check.command) : 0;
	n += j->check.expect ? strlen(j->check.expect) : 0;
	for (size_t i = 0; i < j->check.nhttp; i++) {
		const struct plan_http *h = &j->check.http[i];

		n += strlen(h->path) + (h->contains ? strlen(h->contains) : 0) + (h->header ? strlen(h->header) : 0);
	}
	return n + (j->check.args ? strlen(j->check.args) : 0);
}

static void make_jobs(const struct config *c, const struct cells *cs, const struct plan_context *cx, struct plan *plan,
		      struct plan_problems *problems)
{
	size_t bytes = 0;

	plan->jobs = xcalloc(cs->len + 1, sizeof(*plan->jobs));
	plan->listing = json_array();
	for (size_t i = 0; i < cs->len && bytes <= MAX_PLAN_BYTES; i++) {
		struct job_spec *j = &plan->jobs[i];

		j->number = (int)i + 1;
		j->name = unique_name(c, plan, &cs->items[i]);
		plan->njobs++;
		settle(c, &cs->items[i], cx, j, problems);
		bytes += job_bytes(j);
		if (json_array_append_new(plan->listing, job_listing(c, &cs->items[i], j)))
			die("cannot make a JSON list");
	}
	if (bytes > MAX_PLAN_BYTES)
		problem_add(problems, (struct yaml_place){1, 1}, 0,
			    "the %zu jobs together hold more than %d bytes of text", cs->len, (int)MAX_PLAN_BYTES);
}

static int any_matches(const struct patterns *p, const char *branch)
{
	for (size_t i = 0; i < p->len; i++)
		if (pattern_matches(&p->items[i], branch)) return 1;
	return 0;
}

/* Pages that GitHub served from a branch were no sources: Travis built them only where `only` was written. */
static int is_pages(const char *branch)
{
	int budget = PATTERN_MAX_STEPS, yes;
	struct pattern p;

	if (pattern_make("/gh[-_]pages/i", &budget, &p)) die("a pattern of our own does not compile");
	yes = pattern_matches(&p, branch);
	pattern_release(&p);
	return yes;
}

static int branch_is_built(const struct config *c, const struct plan_context *cx)
{
	if (cx->any_branch) return 1;
	if (c->dialect == PLAN_TRAVIS && !c->only.len && is_pages(cx->branch)) return 0;
	return (!c->only.len || any_matches(&c->only, cx->branch)) && !any_matches(&c->except, cx->branch);
}

/* A tag's name is no branch, whatever it is called: a tag "main" must not publish as main. */
static int event_fits(const struct when *w, const struct plan_context *cx)
{
	const char *event = cx->kind == EVENT_PULL_REQUEST ? "pull_request" : "push";

	if (w->events.len && !vec_has(&w->events, event)) return 0;
	return !w->branches.len || (!cx->tag && any_matches(&w->branches, cx->branch));
}

static void settle_events(struct settings *s, const struct plan_context *cx)
{
	for (size_t i = 0; i < s->nchecks; i++) s->checks[i].when.event_fits = event_fits(&s->checks[i].when, cx);
	for (size_t i = 0; i < s->npublishes; i++)
		s->publishes[i].when.event_fits = event_fits(&s->publishes[i].when, cx);
}

static void plan_config(struct config *c, int has_root, const struct plan_context *cx, struct plan *plan,
			struct plan_problems *problems)
{
	struct expansion x = {.c = c, .cx = cx, .problems = problems, .budget = CONDITION_BUDGET};
	struct cells cs = {0};

	/* Jobs made of what could not be read would only be wrong again. */
	if (problems_errors(problems)) {
		if (has_root && !(c->settings.set & SET_IMAGE) && !c->include.len)
			problem_add(problems, (struct yaml_place){1, 1}, 0, PLAN_NO_IMAGE);
		return;
	}
	settle_events(&c->settings, cx);
	for (size_t i = 0; i < c->include.len; i++) settle_events(&c->include.items[i].own, cx);
	expand(&x, &cs);
	make_jobs(c, &cs, cx, plan, problems);
	cells_release(&cs);
	plan->stages = x.stages;
	plan->fast_finish = c->fast_finish;
	plan->notify = notify_settle(c, &x);
	lint_config(c, plan, problems);
	if (branch_is_built(c, cx)) return;
	plan_release(plan);
	plan->left_out = 1;
}

static void add_repeats(const struct yaml_doc *doc, int warning, struct plan_problems *problems)
{
	for (size_t i = 0; i < doc->nrepeats; i++)
		problem_add(problems, doc->repeats[i].at, warning, "the key '%s' stands here again; it was in line %d",
			    doc->repeats[i].key, doc->repeats[i].first.line);
	for (size_t i = 0; i < doc->npardons; i++)
		problem_add(problems, doc->pardons[i].at, 1, "%s", doc->pardons[i].text);
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
	enum yaml_mode mode = cx->dialect == PLAN_TRAVIS ? YAML_LENIENT : YAML_STRICT;
	struct yaml_place at;
	struct err why;

	*problems = (struct plan_problems){0};
	if (yaml_parse(data, len, mode, &doc, &at, &why)) {
		problem_add(problems, at, 0, "%s", why.text);
		return fail(name, problems, e);
	}
	add_repeats(&doc, cx->dialect == PLAN_TRAVIS, problems);
	config_read(doc.root, cx->dialect, &c, problems);
	plan_config(&c, cx->dialect == PLAN_CI && doc.root && doc.root->kind == YAML_MAP, cx, &plan, problems);
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
	vec_release(&p->stages);
	json_decref(p->notify);
	json_decref(p->listing);
	*p = (struct plan){0};
}

/* --- which of the two a file is --- */

static int ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && !strcmp(name + n - m, end);
}

enum plan_dialect plan_dialect_of(const char *name, const void *data, size_t len)
{
	_cleanup_yaml_ struct yaml_doc doc = {0};
	const char *slash = strrchr(name, '/');
	struct yaml_place at;
	struct err e;

	if (slash) name = slash + 1;
	if (ends_in(name, ".travis.yml") || !strcmp(name, "travis.yml")) return PLAN_TRAVIS;
	if (ends_in(name, ".ci.yml") || !strcmp(name, "ci.yml")) return PLAN_CI;
	if (yaml_parse(data, len, YAML_LENIENT, &doc, &at, &e)) return PLAN_CI;
	for (size_t i = 0; i < ci_keys_len; i++)
		if (ci_keys[i].scopes & SCOPE_ROOT && yaml_get(doc.root, ci_keys[i].name) &&
		    !travis_key_is(ci_keys[i].name))
			return PLAN_CI;
	return PLAN_TRAVIS;
}
