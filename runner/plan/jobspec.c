/* The job as JSON, both ways: what a jobs row holds, and what `runner plan --json` prints. */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/config.h"

/* --- to JSON --- */

static void put(json_t *o, const char *key, json_t *value)
{
	if (!value || json_object_set_new(o, key, value)) die("cannot make JSON for '%s'", key);
}

static void put_text(json_t *o, const char *key, const char *s)
{
	if (s) put(o, key, json_string(s));
}

static void put_int(json_t *o, const char *key, int64_t n)
{
	put(o, key, json_integer(n));
}

static json_t *list_of(const struct vec *v)
{
	json_t *list = json_array();

	for (size_t i = 0; i < v->len; i++)
		if (json_array_append_new(list, json_string(v->items[i]))) die("cannot make a JSON list");
	return list;
}

static json_t *env_to_json(const struct plan_env *v)
{
	json_t *o = json_object();

	put_text(o, "text", v->text);
	put_text(o, "name", v->secret_name);
	if (!v->text) put(o, "secure", list_of(&v->chunks));
	return o;
}

static json_t *phases_to_json(const struct job_spec *j)
{
	json_t *o = json_object();

	for (size_t i = 0; i < PHASE_COUNT; i++) {
		const char *name = plan_phase_name((enum plan_phase)i);

		if (j->phase_skipped[i])
			put_text(o, name, "skip");
		else if (j->phases[i].len)
			put(o, name, list_of(&j->phases[i]));
	}
	return o;
}

static json_t *limits_to_json(const struct plan_limits *l)
{
	json_t *o = json_object();

	put_int(o, "memory_bytes", l->memory_bytes);
	put_int(o, "disk_bytes", l->disk_bytes);
	put_int(o, "cpus_milli", l->cpus_milli);
	put_int(o, "pids", l->pids);
	return o;
}

static json_t *http_to_json(const struct plan_http *h)
{
	json_t *o = json_object();

	put_text(o, "path", h->path);
	put_int(o, "status", h->status);
	put_text(o, "contains", h->contains);
	put_text(o, "header", h->header);
	put_text(o, "sha256", h->sha256);
	return o;
}

static json_t *check_to_json(const struct plan_check *c)
{
	json_t *o = json_object(), *http = json_array();

	for (size_t i = 0; i < c->nhttp; i++)
		if (json_array_append_new(http, http_to_json(&c->http[i]))) die("cannot make a JSON list");
	put_text(o, "boot", plan_boot_name(c->boot));
	put_text(o, "file", c->file);
	put_text(o, "command", c->command);
	put_text(o, "expect", c->expect);
	put_text(o, "args", c->args);
	if (c->port) put_int(o, "port", c->port);
	put(o, "http", http);
	put_int(o, "timeout_ms", c->timeout_ms);
	if (c->delay_ms) put_int(o, "delay_ms", c->delay_ms);
	if (c->loss_ppm) put_int(o, "loss_ppm", c->loss_ppm);
	if (c->rate_bit) put_int(o, "rate_bit", c->rate_bit);
	put_text(o, "script", c->script);
	return o;
}

static json_t *axes_to_json(const struct job_spec *j)
{
	json_t *list = json_array();

	for (size_t i = 0; i < j->naxes; i++)
		if (json_array_append_new(list,
					  json_pack("{ss, ss}", "name", j->axes[i].name, "value", j->axes[i].value)))
			die("cannot make a JSON list");
	return list;
}

static json_t *publish_to_json(const struct plan_publish *p)
{
	json_t *o = json_object();

	put_text(o, "repo", p->repo);
	put_text(o, "branch", p->branch);
	put_text(o, "key", p->key);
	put(o, "files", list_of(&p->files));
	put_text(o, "path", p->path);
	put_int(o, "keep", p->keep);
	if (p->repo && !p->latest) put(o, "latest", json_false());
	if (p->mode) put_int(o, "mode", p->mode);
	put_text(o, "message", p->message);
	put_text(o, "author", p->author);
	if (p->packing) put_text(o, "compress", plan_packing_name((enum plan_packing)p->packing));
	if (p->expose.len) put(o, "expose", list_of(&p->expose));
	return o;
}

json_t *job_spec_to_json(const struct job_spec *j)
{
	json_t *o = json_object(), *env = json_array();

	for (size_t i = 0; i < j->nenv; i++)
		if (json_array_append_new(env, env_to_json(&j->env[i]))) die("cannot make a JSON list");
	if (j->dialect == PLAN_TRAVIS) put_text(o, "dialect", "travis");
	put_int(o, "number", j->number);
	put_text(o, "name", j->name);
	put_text(o, "image", j->image);
	put(o, "packages", list_of(&j->packages));
	put_text(o, "backend", j->backend);
	put_text(o, "arch", j->arch);
	if (j->naxes) put(o, "axes", axes_to_json(j));
	put_text(o, "stage", j->stage);
	if (j->stage) put_int(o, "stage_number", j->stage_number);
	put(o, "env", env);
	if (j->withheld.len) put(o, "withheld", list_of(&j->withheld));
	put(o, "phases", phases_to_json(j));
	put(o, "artifacts", list_of(&j->artifacts));
	if (j->cache.len) put(o, "cache", list_of(&j->cache));
	if (j->cache_key) put(o, "cache_key", json_string(j->cache_key));
	if (j->cache_files.len) put(o, "cache_files", list_of(&j->cache_files));
	if (j->git.depth != PLAN_GIT_DEPTH || j->git.submodules)
		put(o, "git", json_pack("{si, sb}", "depth", j->git.depth, "submodules", j->git.submodules));
	put_text(o, "network", plan_network_name(j->network));
	put(o, "limits", limits_to_json(&j->limits));
	put_int(o, "timeout_ms", j->timeout_ms);
	put_int(o, "silence_ms", j->silence_ms);
	if (j->check.boot != BOOT_NONE) put(o, "check", check_to_json(&j->check));
	if (j->publish.repo || j->publish.files.len) put(o, "publish", publish_to_json(&j->publish));
	put(o, "allow_failure", json_boolean(j->allow_failure));
	return o;
}

/* --- and back: every member is checked, an unknown one is left alone --- */

static int take_text(const json_t *o, const char *key, char **to, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v)) return 0;
	if (!json_is_string(v)) return err_set(e, ERR_INPUT, "'%s' is not a string", key);
	free(*to);
	*to = xstrdup(json_string_value(v));
	return 0;
}

static int take_int(const json_t *o, const char *key, int64_t most, int64_t *to, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v)) return 0;
	if (!json_is_integer(v)) return err_set(e, ERR_INPUT, "'%s' is not a whole number", key);
	if (json_integer_value(v) < 0 || json_integer_value(v) > most)
		return err_set(e, ERR_INPUT, "'%s' is out of range", key);
	*to = json_integer_value(v);
	return 0;
}

static int take_small(const json_t *o, const char *key, int *to, struct err *e)
{
	int64_t n = *to;

	if (take_int(o, key, 1000000000, &n, e)) return -1;
	*to = (int)n;
	return 0;
}

static int take_list(const json_t *o, const char *key, struct vec *to, struct err *e)
{
	json_t *v = json_object_get(o, key);

	if (!v || json_is_null(v)) return 0;
	if (!json_is_array(v)) return err_set(e, ERR_INPUT, "'%s' is not a list", key);
	for (size_t i = 0; i < json_array_size(v); i++) {
		const char *s = json_string_value(json_array_get(v, i));

		if (!s) return err_set(e, ERR_INPUT, "'%s' holds something other than strings", key);
		vec_add(to, s);
	}
	return 0;
}

static int take_word(const json_t *o, const char *key, const char *(*name)(int), int n, int *to, struct err *e)
{
	const char *s = json_string_value(json_object_get(o, key));

	for (int i = 0; s && i < n; i++)
		if (!strcmp(s, name(i))) {
			*to = i;
			return 0;
		}
	return err_set(e, ERR_INPUT, "'%s' is missing or not a known word", key);
}

static const char *network_word(int i)
{
	return plan_network_name((enum plan_network)i);
}

static const char *boot_word(int i)
{
	return plan_boot_name((enum plan_boot)i);
}

static int take_env(const json_t *o, struct job_spec *j, struct err *e)
{
	json_t *list = json_object_get(o, "env");
	size_t n = json_array_size(list);

	if (list && !json_is_array(list)) return err_set(e, ERR_INPUT, "'env' is not a list");
	j->env = xcalloc(n, sizeof(*j->env));
	for (size_t i = 0; i < n; i++) {
		const json_t *row = json_array_get(list, i);
		struct plan_env *v = &j->env[j->nenv++];

		if (!json_is_object(row)) return err_set(e, ERR_INPUT, "'env' holds something other than objects");
		if (take_text(row, "text", &v->text, e) || take_text(row, "name", &v->secret_name, e)) return -1;
		if (take_list(row, "secure", &v->chunks, e)) return -1;
		if (v->text ? v->secret_name || v->chunks.len : !json_object_get(row, "secure"))
			return err_set(e, ERR_INPUT, "a row of 'env' needs either 'text' or 'secure'");
	}
	return 0;
}

/* Names become variables of a script. */
static int take_axes(const json_t *o, struct job_spec *j, struct err *e)
{
	json_t *list = json_object_get(o, "axes");
	size_t n = json_array_size(list);

	if (list && !json_is_array(list)) return err_set(e, ERR_INPUT, "'axes' is not a list");
	j->axes = xcalloc(n + 1, sizeof(*j->axes));
	for (size_t i = 0; i < n; i++) {
		const json_t *row = json_array_get(list, i);
		struct plan_axis *axis = &j->axes[j->naxes++];

		if (take_text(row, "name", &axis->name, e) || take_text(row, "value", &axis->value, e)) return -1;
		if (!axis->name || !axis->value || bad_axis_name(axis->name))
			return err_set(e, ERR_INPUT, "an entry of 'axes' needs a good name and a value");
	}
	return 0;
}

static int take_phases(const json_t *o, struct job_spec *j, struct err *e)
{
	const json_t *phases = json_object_get(o, "phases");

	if (!json_is_object(phases)) return err_set(e, ERR_INPUT, "'phases' is missing");
	for (size_t i = 0; i < PHASE_COUNT; i++) {
		const char *name = plan_phase_name((enum plan_phase)i);
		const char *word = json_string_value(json_object_get(phases, name));

		j->phase_skipped[i] = word && !strcmp(word, "skip");
		if (!j->phase_skipped[i] && take_list(phases, name, &j->phases[i], e)) return -1;
	}
	return 0;
}

static int take_limits(const json_t *o, struct plan_limits *l, struct err *e)
{
	const json_t *limits = json_object_get(o, "limits");

	if (take_int(limits, "memory_bytes", INT64_MAX, &l->memory_bytes, e)) return -1;
	if (take_int(limits, "disk_bytes", INT64_MAX, &l->disk_bytes, e)) return -1;
	return take_small(limits, "cpus_milli", &l->cpus_milli, e) || take_small(limits, "pids", &l->pids, e) ? -1 : 0;
}

static int take_http(const json_t *check, struct plan_check *c, struct err *e)
{
	json_t *list = json_object_get(check, "http");
	size_t n = json_array_size(list);

	if (list && !json_is_array(list)) return err_set(e, ERR_INPUT, "'http' is not a list");
	c->http = xcalloc(n + 1, sizeof(*c->http));
	for (size_t i = 0; i < n; i++) {
		const json_t *row = json_array_get(list, i);
		struct plan_http *h = &c->http[c->nhttp++];

		if (take_text(row, "path", &h->path, e) || take_small(row, "status", &h->status, e)) return -1;
		if (take_text(row, "contains", &h->contains, e) || take_text(row, "header", &h->header, e)) return -1;
		if (take_text(row, "sha256", &h->sha256, e)) return -1;
		if (!h->path || bad_http_path(h->path))
			return err_set(e, ERR_INPUT, "an entry of 'http' needs a good path");
	}
	return 0;
}

static int take_check(const json_t *o, struct plan_check *c, struct err *e)
{
	const json_t *check = json_object_get(o, "check");
	int boot = BOOT_NONE;

	if (!check) return 0;
	if (take_word(check, "boot", boot_word, BOOT_COMMAND + 1, &boot, e)) return -1;
	c->boot = (enum plan_boot)boot;
	if (take_text(check, "file", &c->file, e) || take_text(check, "command", &c->command, e)) return -1;
	if (take_text(check, "expect", &c->expect, e) || take_text(check, "args", &c->args, e)) return -1;
	if (take_small(check, "port", &c->port, e) || take_http(check, c, e)) return -1;
	if (take_text(check, "script", &c->script, e) || take_small(check, "loss_ppm", &c->loss_ppm, e)) return -1;
	if (take_int(check, "delay_ms", INT64_MAX, &c->delay_ms, e)) return -1;
	if (take_int(check, "rate_bit", INT64_MAX, &c->rate_bit, e)) return -1;
	return take_int(check, "timeout_ms", INT64_MAX, &c->timeout_ms, e);
}

static const char *packing_word(int i)
{
	return plan_packing_name((enum plan_packing)i);
}

static int take_publish(const json_t *o, struct plan_publish *p, struct err *e)
{
	const json_t *publish = json_object_get(o, "publish");
	int packing = PACKING_BZIP2;

	if (!publish) return 0;
	if (take_text(publish, "repo", &p->repo, e) || take_text(publish, "branch", &p->branch, e)) return -1;
	if (take_text(publish, "key", &p->key, e) || take_text(publish, "path", &p->path, e)) return -1;
	if (take_list(publish, "files", &p->files, e) || take_small(publish, "keep", &p->keep, e)) return -1;
	if (take_text(publish, "message", &p->message, e) || take_text(publish, "author", &p->author, e)) return -1;
	if (take_small(publish, "mode", &p->mode, e)) return -1;
	if (json_object_get(publish, "compress") &&
	    take_word(publish, "compress", packing_word, PACKING_NONE + 1, &packing, e))
		return -1;
	if (take_list(publish, "expose", &p->expose, e)) return -1;
	p->packing = packing;
	if (!p->repo) return 0;
	p->latest = json_bool_or(publish, "latest", 1);
	if (p->mode && p->mode != 0755 && p->mode != 0644) return err_set(e, ERR_INPUT, "'mode' is not 0755 or 0644");
	if (!p->branch || !p->files.len) return err_set(e, ERR_INPUT, "'publish' lacks its branch or files");
	if (!p->path || bad_path(p->path)) return err_set(e, ERR_INPUT, "'publish' has no good path");
	return 0;
}

static int take_all(const json_t *o, struct job_spec *j, struct err *e)
{
	int network = NETWORK_OFF;

	const json_t *git = json_object_get(o, "git");
	const char *dialect = json_string_or(o, "dialect", "ci");

	if (!json_is_object(o)) return err_set(e, ERR_INPUT, "not an object");
	j->dialect = strcmp(dialect, "travis") ? PLAN_CI : PLAN_TRAVIS;
	if (take_small(o, "number", &j->number, e) || take_text(o, "name", &j->name, e)) return -1;
	if (take_text(o, "image", &j->image, e) || take_list(o, "packages", &j->packages, e)) return -1;
	if (!j->name || !j->image) return err_set(e, ERR_INPUT, "'%s' is missing", j->name ? "image" : "name");
	if (take_text(o, "backend", &j->backend, e) || take_text(o, "arch", &j->arch, e)) return -1;
	if (take_axes(o, j, e) || take_text(o, "stage", &j->stage, e)) return -1;
	if (take_small(o, "stage_number", &j->stage_number, e) || take_list(o, "cache", &j->cache, e)) return -1;
	if (take_text(o, "cache_key", &j->cache_key, e) || take_list(o, "cache_files", &j->cache_files, e)) return -1;
	j->git.depth = PLAN_GIT_DEPTH;
	if (git && take_small(git, "depth", &j->git.depth, e)) return -1;
	j->git.submodules = json_bool_or(git, "submodules", 0);
	if (take_env(o, j, e) || take_phases(o, j, e) || take_list(o, "artifacts", &j->artifacts, e)) return -1;
	if (take_list(o, "withheld", &j->withheld, e)) return -1;
	if (take_word(o, "network", network_word, NETWORK_ON + 1, &network, e)) return -1;
	j->network = (enum plan_network)network;
	if (take_limits(o, &j->limits, e)) return -1;
	if (take_int(o, "timeout_ms", INT64_MAX, &j->timeout_ms, e)) return -1;
	if (take_int(o, "silence_ms", INT64_MAX, &j->silence_ms, e)) return -1;
	j->allow_failure = json_bool_or(o, "allow_failure", 0);
	return take_check(o, &j->check, e) || take_publish(o, &j->publish, e) ? -1 : 0;
}

int job_spec_from_json(const json_t *json, struct job_spec *j, struct err *e)
{
	struct job_spec spec = {0};

	if (take_all(json, &spec, e)) {
		job_spec_release(&spec);
		return err_wrap(e, "bad job");
	}
	*j = spec;
	return 0;
}

/* --- the plan --- */

json_t *plan_to_json(const struct plan *p)
{
	json_t *top = json_object(), *stages = json_array(), *specs = json_array();

	for (size_t i = 0; i < p->stages.len; i++)
		if (json_array_append_new(stages, json_pack("{ss}", "name", p->stages.items[i])))
			die("cannot make a JSON list");
	for (size_t i = 0; i < p->njobs; i++)
		if (json_array_append_new(specs, job_spec_to_json(&p->jobs[i]))) die("cannot make a JSON list");
	put(top, "stages", stages);
	put(top, "jobs", p->listing ? json_incref(p->listing) : json_array());
	put(top, "specs", specs);
	if (p->fast_finish) put(top, "fast_finish", json_true());
	if (p->notify) put(top, "notify", json_incref(p->notify));
	return top;
}
