/* The parts of a `.ci.yml` that are made of several values: check, publish, matrix, stages, if. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/reader.h"

/* --- maps in maps --- */

void read_limits(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_map(r, key, v, SCOPE_LIMITS, to, NULL);
}

static void http_one(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct plan_check *check)
{
	struct plan_http *h;

	check->http = xrealloc(check->http, (check->nhttp + 1) * sizeof(*check->http));
	h = &check->http[check->nhttp++];
	*h = (struct plan_http){.status = 200};
	read_map(r, key, v, SCOPE_HTTP, h, NULL);
	if (!h->path) h->path = xstrdup("/");
}

void read_http(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	enum { MOST_PAGES = 32 };
	size_t n = v->kind == YAML_LIST ? v->len : 1;

	if (n > MOST_PAGES) wrong(r, node_place(v), "'http' has %zu pages; at most %d are taken", n, (int)MOST_PAGES);
	for (size_t i = 0; i < n && n <= MOST_PAGES; i++) http_one(r, key, v->kind == YAML_LIST ? v->items[i] : v, to);
}

void read_line(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_map(r, key, v, SCOPE_LINE, to, NULL);
}

void read_git(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_map(r, key, v, SCOPE_GIT, to, NULL);
}

/* 1 yes, -1 no; 0 stays for what is not written. */
void read_submodules(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	int wanted = *(int *)to > 0;

	read_yes_no(r, key, v, &wanted);
	*(int *)to = wanted ? 1 : -1;
}

void read_lfs(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	int wanted = 0;

	(void)to;
	read_yes_no(r, key, v, &wanted);
	if (wanted) wrong(r, node_place(v), "large files are never fetched: 'lfs' can only be off");
}

void read_events(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"push", "pull_request"};
	size_t n = v->kind == YAML_LIST ? v->len : 1;

	for (size_t i = 0; i < n; i++) {
		int word = read_choice(r, key, v->kind == YAML_LIST ? v->items[i] : v, words, ARRAY_LEN(words));

		if (word >= 0) vec_add(to, words[word]);
	}
}

void read_when(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
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
	*rule = (struct check_rule){.at = node_place(v), .check = {.timeout_ms = 60000}};
	read_map(r, key, v, SCOPE_CHECK, rule, NULL);
	if (v->kind != YAML_MAP) return;
	if (!yaml_get(v, "boot"))
		wrong(r, rule->at, "'boot' is missing in 'check': say how the image is run");
	else if ((rule->check.boot == BOOT_COMMAND) != (rule->check.command != NULL))
		wrong(r, rule->at, "'boot: command' and 'command' go together in 'check'");
}

static void publish_one(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct settings *s = to;
	struct publish_rule *rule;

	s->publishes = xrealloc(s->publishes, (s->npublishes + 1) * sizeof(*s->publishes));
	rule = &s->publishes[s->npublishes++];
	*rule = (struct publish_rule){.at = node_place(v), .publish.latest = 1};
	read_map(r, key, v, SCOPE_PUBLISH, rule, NULL);
	if (v->kind != YAML_MAP) return;
	if (!yaml_get(v, "repo")) wrong(r, rule->at, "'repo' is missing in 'publish': say where to");
	if (!yaml_get(v, "files"))
		wrong(r, rule->at, "'files' is missing in 'publish': say what, the image first");
	else if (!rule->publish.files.len && yaml_get(v, "files")->kind != YAML_MAP)
		wrong(r, node_place(yaml_get(v, "files")), "'files' names no file");
	if (!rule->when.given)
		problem_add(r->problems, rule->at, 1,
			    "'publish' has no 'when': every branch that is pushed is published");
	for (size_t i = 0; i < rule->when.events.len; i++)
		if (strcmp(rule->when.events.items[i], "push") != 0)
			wrong(r, rule->when.at, "pull requests are never published");
}

/* One entry, or a list of them of which the first that matches counts. */
static void each(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, read_fn *one, void *to)
{
	if (v->kind != YAML_LIST) one(r, key, v, to);
	for (size_t i = 0; v->kind == YAML_LIST && i < v->len; i++) one(r, key, v->items[i], to);
}

void read_check(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (!yaml_is_null(v)) each(r, key, v, check_one, to);
}

void read_publish(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (!yaml_is_null(v)) each(r, key, v, publish_one, to);
}

void read_path(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v), *why;
	_cleanup_free_ char *sample = s ? path_fill(s, r->c, NULL, "x", &why) : NULL;

	if (!s) return;
	if (sample) why = bad_path(sample);
	if (reject(r, key, v, why)) return;
	free(*(char **)to);
	*(char **)to = xstrdup(s);
}

/* --- matrix, stages, conditions --- */

struct matrix_row *row_add(struct matrix_rows *rows, const struct yaml_node *at)
{
	struct matrix_row *row;

	rows->items = xrealloc(rows->items, (rows->len + 1) * sizeof(*rows->items));
	row = &rows->items[rows->len++];
	*row = (struct matrix_row){.at = node_place(at)};
	return row;
}

void read_rows(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, enum scope scope,
	       struct matrix_rows *rows)
{
	size_t n = v->kind == YAML_LIST ? v->len : !yaml_is_null(v);

	if (n > EXPAND_MAX_RULES) {
		wrong(r, node_place(v), "'%s' has %zu rows; at most %d are taken", key->text, n, (int)EXPAND_MAX_RULES);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		const struct yaml_node *item = v->kind == YAML_LIST ? v->items[i] : v;
		struct matrix_row *row = row_add(rows, item);

		read_map(r, key, item, scope, row, &row->own.set);
		attrs_sort(&row->attrs);
		if (scope == SCOPE_RULE && item->kind == YAML_MAP && !item->len)
			wrong(r, row->at, "an empty rule in '%s' says nothing", key->text);
	}
}

void read_row_env(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct matrix_row *row = to;

	(void)key;
	row->has_env = 1;
	env_read_row(r, v, &row->env);
}

void read_include(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_rows(r, key, v, SCOPE_ROW, &((struct config *)to)->include);
}

void read_exclude(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_rows(r, key, v, SCOPE_RULE, &((struct config *)to)->exclude);
}

void read_allow(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	read_rows(r, key, v, SCOPE_RULE, &((struct config *)to)->allow_failures);
}

void read_matrix(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	if (yaml_is_null(v)) return;
	if (r->has_matrix++) wrong(r, node_place(key), "'matrix' and 'jobs' are the same key: write one of them");
	if (v->kind == YAML_LIST)
		read_include(r, key, v, to);
	else
		read_map(r, key, v, SCOPE_MATRIX, to, NULL);
}

void read_env(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	(void)key;
	env_read(r, v, to);
}

/* Which they are was read before everything else; a mapping has their values too. */
void read_axes(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct config *c = to;

	(void)key;
	for (size_t i = 0; v->kind == YAML_MAP && i < v->len; i++) {
		struct axis *axis = axis_find(&c->axes, v->pairs[i].key->text);

		if (axis && !v->pairs[i].repeated) axis_to(r, v->pairs[i].key, v->pairs[i].value, axis);
	}
}

/* The place of a byte of a text: exact where the text stands in one line and has no escapes before it. */
static struct yaml_place inside(const struct yaml_node *v, size_t at)
{
	struct yaml_place place = node_place(v);

	if (!v->quoted)
		for (size_t i = 0; i < at; i++) place.col += ((unsigned char)v->text[i] & 0xc0) != 0x80;
	return place;
}

int condition_to(struct reader *r, const struct yaml_node *v, struct condition **to)
{
	const char *why, *odd, *meant;
	size_t at;

	if (v->kind != YAML_TEXT || yaml_is_null(v)) {
		wrong(r, node_place(v), "'if' must be a condition, like branch = main");
		return -1;
	}
	condition_free(to);
	why = condition_make(v->text, &r->regex_budget, to, &at);
	if (why) {
		wrong(r, inside(v, at), "the condition %s", why);
		return -1;
	}
	odd = condition_odd(*to);
	if (!odd) return 0;
	meant = nearest(odd, condition_attributes, ASKS_COUNT);
	problem_add(r->problems, node_place(v), 1, "'%s' is no attribute and is compared as a text%s%s%s", odd,
		    meant ? ", did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
	return 0;
}

void read_if(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct settings *s = to;

	(void)key;
	s->if_at = node_place(v);
	(void)condition_to(r, v, &s->only_if);
}

void read_stage_name(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	text_to(r, key, v, bad_job_name, to);
}

void read_row_stage(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct matrix_row *row = to;

	text_to(r, key, v, bad_job_name, &row->stage);
}

static void read_stage(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct config *c)
{
	struct stage stage = {.at = node_place(v)};

	if (v->kind == YAML_MAP)
		read_map(r, key, v, SCOPE_STAGE, &stage, NULL);
	else
		text_to(r, key, v, bad_job_name, &stage.name);
	for (size_t i = 0; stage.name && i < c->nstages; i++)
		if (!strcasecmp(c->stages[i].name, stage.name)) {
			wrong(r, stage.at, "the stage '%s' stands twice", stage.name);
			free_p(&stage.name);
		}
	if (!stage.name) {
		if (v->kind == YAML_MAP && !yaml_get(v, "name")) wrong(r, stage.at, "a stage needs a 'name'");
		condition_free(&stage.only_if);
		return;
	}
	c->stages = xrealloc(c->stages, (c->nstages + 1) * sizeof(*c->stages));
	c->stages[c->nstages++] = stage;
}

void read_stages(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	size_t n = v->kind == YAML_LIST ? v->len : !yaml_is_null(v);

	if (n > STAGES_MAX) {
		wrong(r, node_place(v), "there are %zu stages; at most %d are taken", n, (int)STAGES_MAX);
		return;
	}
	for (size_t i = 0; i < n; i++) read_stage(r, key, v->kind == YAML_LIST ? v->items[i] : v, to);
}

void read_stage_if(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct stage *stage = to;

	(void)key;
	stage->broken = condition_to(r, v, &stage->only_if) != 0;
}
