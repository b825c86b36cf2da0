/* One job from its cell: what the file says for all, what the included row says instead, and of check and publish
 * the entry whose `when` fits this job and this event; for .travis.yml what its language's jobs do by default. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/travis.h"

enum { DEFAULT_TIMEOUT_MS = 50 * 60000, DEFAULT_SILENCE_MS = 10 * 60000 };

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void copy_vec(struct vec *to, const struct vec *from)
{
	for (size_t i = 0; i < from->len; i++) vec_add(to, from->items[i]);
}

/* Whose word counts for one setting: the included row's, where it says anything. */
static const struct settings *pick(const struct config *c, const struct cell *cell, unsigned bit)
{
	return cell->row && cell->row->own.set & bit ? &cell->row->own : &c->settings;
}

static void copy_env(struct plan_env *to, const struct env_row *row)
{
	for (size_t i = 0; row && i < row->len; i++) {
		to[i].text = copy(row->vars[i].text);
		to[i].secret_name = copy(row->vars[i].secret_name);
		copy_vec(&to[i].chunks, &row->vars[i].chunks);
	}
}

static int has(const struct vec *list, const char *value)
{
	return !list->len || (value && vec_has(list, value));
}

static int when_cell(const struct when *w, const struct config *c, const struct cell *cell)
{
	for (size_t i = 0; i < w->axes.len; i++)
		if (!has(&w->axes.items[i].values, cell_get(c, cell, w->axes.items[i].name))) return 0;
	return 1;
}

/* A glob with {backend} and the like filled in; NULL, and a problem, where that cannot be. */
static char *settle_glob(const char *text, const char *key, const struct yaml_place *at, const struct config *c,
			 const struct cell *cell, const struct plan_context *cx, struct plan_problems *problems)
{
	const char *why = NULL;
	_cleanup_free_ char *glob = path_fill(text, c, cell, cx->branch, &why);

	if (glob) why = bad_glob(glob);
	if (!why) return steal(glob);
	problem_add(problems, *at, 0, "'%s' in '%s' %s", glob ? glob : text, key, why);
	return NULL;
}

static struct plan_http *copy_http(const struct plan_check *from)
{
	struct plan_http *to = xcalloc(from->nhttp + 1, sizeof(*to));

	for (size_t i = 0; i < from->nhttp; i++)
		to[i] = (struct plan_http){.path = copy(from->http[i].path),
					   .status = from->http[i].status,
					   .contains = copy(from->http[i].contains),
					   .header = copy(from->http[i].header),
					   .sha256 = copy(from->http[i].sha256)};
	return to;
}

static const struct check_rule *settle_check(const struct config *c, const struct cell *cell,
					     const struct plan_context *cx, struct plan_check *to,
					     struct plan_problems *problems)
{
	const struct settings *s = pick(c, cell, SET_CHECK);

	for (size_t i = 0; i < s->nchecks; i++) {
		const struct plan_check *from = &s->checks[i].check;

		if (!when_cell(&s->checks[i].when, c, cell) || !s->checks[i].when.event_fits) continue;
		*to = *from;
		to->file = from->file ? settle_glob(from->file, "file", &s->checks[i].at, c, cell, cx, problems) : NULL;
		to->command = copy(from->command);
		to->expect = copy(from->expect);
		to->args = copy(from->args);
		to->http = copy_http(from);
		to->script = copy(from->script);
		return &s->checks[i];
	}
	return NULL;
}

static void settle_path(const struct publish_rule *rule, const struct config *c, const struct cell *cell,
			const struct plan_context *cx, struct plan_publish *to, struct plan_problems *problems)
{
	const char *path = rule->publish.path ? rule->publish.path : "{backend}", *why = NULL;

	to->path = path_fill(path, c, cell, cx->branch, &why);
	if (to->path) why = bad_path(to->path);
	if (why) problem_add(problems, rule->at, 0, "'path: %s' in 'publish' %s", to->path ? to->path : path, why);
}

/* The first entry that fits wholly publishes. Where one fits but for branch or event, its files are known all the
 * same, so that the boot proof of a pull request has something to boot. */
static void settle_publish(const struct config *c, const struct cell *cell, const struct plan_context *cx,
			   struct plan_publish *to, struct plan_problems *problems)
{
	const struct settings *s = pick(c, cell, SET_PUBLISH);
	const struct publish_rule *found = NULL, *near = NULL;

	for (size_t i = 0; i < s->npublishes && !found; i++) {
		const struct publish_rule *rule = &s->publishes[i];

		if (!when_cell(&rule->when, c, cell)) continue;
		if (cx->kind == EVENT_PUSH && rule->when.event_fits) found = rule;
		if (!near) near = rule;
	}
	if (!found && !near) return;
	near = found ? found : near;
	for (size_t i = 0; i < near->publish.files.len; i++) {
		char *glob = settle_glob(near->publish.files.items[i], "files", &near->at, c, cell, cx, problems);

		if (glob) vec_take(&to->files, glob);
	}
	if (!found) return;
	to->repo = copy(found->publish.repo);
	to->branch = xstrdup(found->publish.branch ? found->publish.branch : "main");
	to->key = copy(found->publish.key);
	to->keep = found->publish.keep;
	to->latest = found->publish.latest;
	to->mode = found->publish.mode;
	to->message = copy(found->publish.message);
	to->author = copy(found->publish.author);
	to->packing = found->publish.packing;
	for (size_t i = 0; i < found->publish.expose.len; i++) vec_add(&to->expose, found->publish.expose.items[i]);
	settle_path(found, c, cell, cx, to, problems);
}

/* A deploy key is for the publisher alone, so no job of the file is given any of them. */
static void withhold_keys(const struct settings *s, struct vec *names)
{
	for (size_t i = 0; i < s->npublishes; i++) {
		const char *key = s->publishes[i].publish.key;

		if (key && !vec_has(names, key)) vec_add(names, key);
	}
}

/* Travis fetched submodules unless told not to. */
static void settle_git(enum plan_dialect dialect, const struct plan_git *said, struct plan_git *git)
{
	git->submodules = said->submodules ? said->submodules > 0 : dialect == PLAN_TRAVIS;
	git->depth = said->depth == DEPTH_ALL ? 0 : said->depth ? said->depth : PLAN_GIT_DEPTH;
}

static void settle_times(const struct config *c, const struct cell *cell, struct job_spec *j)
{
	j->timeout_ms = pick(c, cell, SET_TIMEOUT)->timeout_ms;
	j->silence_ms = pick(c, cell, SET_SILENCE)->silence_ms;
	if (!j->timeout_ms) j->timeout_ms = DEFAULT_TIMEOUT_MS;
	if (!j->silence_ms) j->silence_ms = DEFAULT_SILENCE_MS;
}

static void settle_phases(const struct config *c, const struct cell *cell, struct job_spec *j)
{
	for (unsigned i = 0; i < PHASE_COUNT; i++) {
		const struct phase *phase = &pick(c, cell, (unsigned)SET_PHASE << i)->phases[i];

		copy_vec(&j->phases[i], &phase->commands);
		j->phase_skipped[i] = phase->skipped;
	}
}

static void settle_axes(const struct config *c, const struct cell *cell, struct job_spec *j)
{
	j->backend = copy(cell_get(c, cell, "backend"));
	j->arch = copy(cell_get(c, cell, "arch"));
	j->axes = xcalloc(c->axes.len + 1, sizeof(*j->axes));
	for (size_t i = 0; i < c->axes.len; i++) {
		const char *name = c->axes.items[i].name;

		if (!cell->values[i] || !strcmp(name, "backend") || !strcmp(name, "arch")) continue;
		j->axes[j->naxes++] = (struct plan_axis){xstrdup(name), xstrdup(cell->values[i])};
	}
}

/* --- .travis.yml --- */

static void axis_put(struct job_spec *j, const char *name, const char *value)
{
	for (size_t i = 0; i < j->naxes; i++)
		if (!strcmp(j->axes[i].name, name)) return;
	j->axes = xrealloc(j->axes, (j->naxes + 1) * sizeof(*j->axes));
	j->axes[j->naxes++] = (struct plan_axis){xstrdup(name), xstrdup(value)};
}

/* What the job has of the keys that the environment tells of, though they make no jobs here. */
static void travis_axes(const struct config *c, const struct cell *cell, struct job_spec *j)
{
	static const char *const names[] = {"language", "os", "dist", "compiler"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (cell_get(c, cell, names[i])) axis_put(j, names[i], cell_get(c, cell, names[i]));
	for (size_t i = 0; cell->row && i < cell->row->attrs.len; i++) {
		const struct attr *attr = &cell->row->attrs.items[i];

		for (size_t k = 0; k < travis_keys_len && travis_keys[k].kind == TRAVIS_AXIS; k++)
			if (!strcmp(travis_keys[k].name, attr->key)) axis_put(j, attr->key, attr->value);
	}
}

static void add_words(struct vec *to, const char *words)
{
	for (const char *p = words ? words : ""; *p;) {
		size_t n = strcspn(p, " ");
		char *word = xstrndup(p, n);

		if (vec_has(to, word))
			free(word);
		else
			vec_take(to, word);
		p += n + (p[n] == ' ');
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void default_phase(struct job_spec *j, enum plan_phase p, const char *command)
{
	if (command && !j->phases[p].len && !j->phase_skipped[p]) vec_add(&j->phases[p], command);
}

static void travis_settle(const struct config *c, const struct cell *cell, struct job_spec *j)
{
	const char *name = cell_get(c, cell, "language"), *compiler = cell_get(c, cell, "compiler");
	const struct travis_language *language = travis_language(name ? name : "");

	travis_axes(c, cell, j);
	j->network = NETWORK_ON;
	/* An image of one's own has what it has. */
	for (size_t i = 0; travis_packages[i] && !j->image; i++) add_words(&j->packages, travis_packages[i]);
	if (!j->image) add_words(&j->packages, language->packages);
	if (!j->image && compiler && !strncmp(compiler, "clang", 5)) add_words(&j->packages, "clang");
	if (j->packages.len) qsort(j->packages.items, j->packages.len, sizeof(char *), by_text);
	if (!j->image) j->image = xstrdup(TRAVIS_IMAGE);
	default_phase(j, PHASE_INSTALL, language->install);
	default_phase(j, PHASE_SCRIPT, language->script);
}

static void settle_cache(const struct cache_rule *rule, struct job_spec *j)
{
	copy_vec(&j->cache, &rule->paths);
	copy_vec(&j->cache_files, &rule->files);
	j->cache_key = copy(rule->key);
}

void settle(const struct config *c, const struct cell *cell, const struct plan_context *cx, struct job_spec *j,
	    struct plan_problems *problems)
{
	struct yaml_place at = cell->row ? cell->row->at : (struct yaml_place){1, 1};
	const struct check_rule *check;

	j->dialect = c->dialect;
	j->image = copy(pick(c, cell, SET_IMAGE)->image);
	copy_vec(&j->packages, &pick(c, cell, SET_PACKAGES)->packages);
	settle_axes(c, cell, j);
	j->stage = copy(cell->stage);
	j->stage_number = cell->stage_number;
	j->nenv = c->global.len + (cell->env ? cell->env->len : 0);
	j->env = xcalloc(j->nenv + 1, sizeof(*j->env));
	copy_env(j->env, &c->global);
	copy_env(j->env + c->global.len, cell->env);
	settle_phases(c, cell, j);
	withhold_keys(&c->settings, &j->withheld);
	for (size_t i = 0; i < c->include.len; i++) withhold_keys(&c->include.items[i].own, &j->withheld);
	copy_vec(&j->artifacts, &pick(c, cell, SET_ARTIFACTS)->artifacts);
	settle_cache(&pick(c, cell, SET_CACHE)->cache, j);
	settle_git(c->dialect, &pick(c, cell, SET_GIT)->git, &j->git);
	j->network = pick(c, cell, SET_NETWORK)->network;
	j->limits = pick(c, cell, SET_LIMITS)->limits;
	settle_times(c, cell, j);
	check = settle_check(c, cell, cx, &j->check, problems);
	settle_publish(c, cell, cx, &j->publish, problems);
	j->allow_failure = cell->allow_failure;
	if (c->dialect == PLAN_TRAVIS) travis_settle(c, cell, j);
	if (check && !j->check.file && !j->publish.files.len)
		problem_add(problems, check->at, 0,
			    "'check' needs a 'file' here: no 'publish' names one for all its jobs");
	if (!j->image) problem_add(problems, at, 0, PLAN_NO_IMAGE);
	if (!j->phases[PHASE_SCRIPT].len && !j->phase_skipped[PHASE_SCRIPT])
		problem_add(problems, at, 1, "'script' is missing: no job passes without one");
}
