/* What a config owns. */
#include "runner/plan/config.h"

#include <stdlib.h>
#include <string.h>

#include "lib/yaml.h"

static void patterns_release(struct patterns *p)
{
	for (size_t i = 0; i < p->len; i++) pattern_release(&p->items[i]);
	free(p->items);
}

/* --- attributes --- */

static int by_attr_key(const void *a, const void *b)
{
	return strcmp(((const struct attr *)a)->key, ((const struct attr *)b)->key);
}

/* Of an unsorted list, or a sorted one. The key is new, or its value is replaced. */
void attrs_set(struct attrs *a, const char *key, const char *value)
{
	for (size_t i = 0; i < a->len; i++)
		if (!strcmp(a->items[i].key, key)) {
			char *copy = xstrdup(value);

			free(a->items[i].value);
			a->items[i].value = copy;
			return;
		}
	a->items = xrealloc(a->items, (a->len + 1) * sizeof(*a->items));
	a->items[a->len++] = (struct attr){xstrdup(key), xstrdup(value)};
}

void attrs_sort(struct attrs *a)
{
	if (a->len) qsort(a->items, a->len, sizeof(*a->items), by_attr_key);
}

const char *attrs_get(const struct attrs *a, const char *key)
{
	struct attr wanted = {(char *)key, NULL}; /* only looked at */
	const struct attr *found = a->len ? bsearch(&wanted, a->items, a->len, sizeof(*a->items), by_attr_key) : NULL;

	return found ? found->value : NULL;
}

static void attrs_release(struct attrs *a)
{
	for (size_t i = 0; i < a->len; i++) {
		free(a->items[i].key);
		free(a->items[i].value);
	}
	free(a->items);
}

static void axes_release(struct axes *a)
{
	for (size_t i = 0; i < a->len; i++) {
		free(a->items[i].name);
		vec_release(&a->items[i].values);
	}
	free(a->items);
}

/* --- the rest --- */

static void when_release(struct when *w)
{
	patterns_release(&w->branches);
	axes_release(&w->axes);
	vec_release(&w->events);
}

static void plan_http_release(struct plan_http *h)
{
	free(h->path);
	free(h->contains);
	free(h->header);
	free(h->sha256);
}

void plan_check_release(struct plan_check *c)
{
	for (size_t i = 0; i < c->nhttp; i++) plan_http_release(&c->http[i]);
	free(c->http);
	free(c->file);
	free(c->command);
	free(c->expect);
	free(c->args);
	free(c->script);
	*c = (struct plan_check){0};
}

void plan_publish_release(struct plan_publish *p)
{
	free(p->repo);
	free(p->branch);
	free(p->key);
	free(p->path);
	free(p->message);
	free(p->author);
	vec_release(&p->files);
	vec_release(&p->expose);
	*p = (struct plan_publish){0};
}

static void settings_release(struct settings *s)
{
	free(s->image);
	vec_release(&s->packages);
	vec_release(&s->artifacts);
	cache_rule_release(&s->cache);
	condition_free(&s->only_if);
	for (size_t i = 0; i < PHASE_COUNT; i++) {
		vec_release(&s->phases[i].commands);
		free(s->phases[i].places);
	}
	for (size_t i = 0; i < s->nchecks; i++) {
		when_release(&s->checks[i].when);
		plan_check_release(&s->checks[i].check);
	}
	for (size_t i = 0; i < s->npublishes; i++) {
		when_release(&s->publishes[i].when);
		plan_publish_release(&s->publishes[i].publish);
	}
	free(s->checks);
	free(s->publishes);
}

void env_row_release(struct env_row *row)
{
	for (size_t i = 0; i < row->len; i++) plan_env_release(&row->vars[i]);
	free(row->vars);
	free(row->canon);
	json_decref(row->maps);
}

static void rows_release(struct matrix_rows *rows)
{
	for (size_t i = 0; i < rows->len; i++) {
		struct matrix_row *row = &rows->items[i];

		settings_release(&row->own);
		free(row->name);
		free(row->stage);
		attrs_release(&row->attrs);
		env_row_release(&row->env);
	}
	free(rows->items);
}

void config_release(struct config *c)
{
	settings_release(&c->settings);
	axes_release(&c->axes);
	attrs_release(&c->attrs);
	env_row_release(&c->global);
	for (size_t i = 0; i < c->nenv; i++) env_row_release(&c->env[i]);
	free(c->env);
	rows_release(&c->include);
	rows_release(&c->exclude);
	rows_release(&c->allow_failures);
	for (size_t i = 0; i < c->nstages; i++) {
		free(c->stages[i].name);
		condition_free(&c->stages[i].only_if);
	}
	free(c->stages);
	json_decref(c->notify);
	patterns_release(&c->only);
	patterns_release(&c->except);
	*c = (struct config){0};
}

void job_spec_release(struct job_spec *j)
{
	free(j->name);
	free(j->image);
	free(j->backend);
	free(j->arch);
	free(j->stage);
	for (size_t i = 0; i < j->naxes; i++) {
		free(j->axes[i].name);
		free(j->axes[i].value);
	}
	free(j->axes);
	vec_release(&j->packages);
	vec_release(&j->artifacts);
	vec_release(&j->cache);
	vec_release(&j->cache_files);
	free_p(&j->cache_key);
	vec_release(&j->withheld);
	for (size_t i = 0; i < j->nenv; i++) plan_env_release(&j->env[i]);
	free(j->env);
	for (size_t i = 0; i < PHASE_COUNT; i++) vec_release(&j->phases[i]);
	plan_check_release(&j->check);
	plan_publish_release(&j->publish);
	*j = (struct job_spec){0};
}
