/* What a config owns. */
#include "runner/plan/config.h"

#include <stdlib.h>

static void patterns_release(struct patterns *p)
{
	for (size_t i = 0; i < p->len; i++) pattern_release(&p->items[i]);
	free(p->items);
}

static void when_release(struct when *w)
{
	patterns_release(&w->branches);
	vec_release(&w->backends);
	vec_release(&w->archs);
	vec_release(&w->events);
}

void plan_check_release(struct plan_check *c)
{
	free(c->file);
	free(c->command);
	free(c->expect);
	free(c->http_path);
	free(c->http_contains);
	*c = (struct plan_check){0};
}

void plan_publish_release(struct plan_publish *p)
{
	free(p->repo);
	free(p->branch);
	free(p->key);
	free(p->path);
	vec_release(&p->files);
	*p = (struct plan_publish){0};
}

static void settings_release(struct settings *s)
{
	free(s->image);
	vec_release(&s->packages);
	vec_release(&s->artifacts);
	for (size_t i = 0; i < PHASE_COUNT; i++) vec_release(&s->phases[i].commands);
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

static void env_row_release(struct env_row *row)
{
	for (size_t i = 0; i < row->len; i++) plan_env_release(&row->vars[i]);
	free(row->vars);
	free(row->canon);
}

static void rows_release(struct matrix_rows *rows)
{
	for (size_t i = 0; i < rows->len; i++) {
		struct matrix_row *row = &rows->items[i];

		settings_release(&row->own);
		free(row->name);
		free(row->backend);
		free(row->arch);
		env_row_release(&row->env);
	}
	free(rows->items);
}

void config_release(struct config *c)
{
	settings_release(&c->settings);
	vec_release(&c->backends);
	vec_release(&c->archs);
	env_row_release(&c->global);
	for (size_t i = 0; i < c->nenv; i++) env_row_release(&c->env[i]);
	free(c->env);
	rows_release(&c->include);
	rows_release(&c->exclude);
	rows_release(&c->allow_failures);
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
	vec_release(&j->packages);
	vec_release(&j->artifacts);
	vec_release(&j->withheld);
	for (size_t i = 0; i < j->nenv; i++) plan_env_release(&j->env[i]);
	free(j->env);
	for (size_t i = 0; i < PHASE_COUNT; i++) vec_release(&j->phases[i]);
	plan_check_release(&j->check);
	plan_publish_release(&j->publish);
	*j = (struct job_spec){0};
}
