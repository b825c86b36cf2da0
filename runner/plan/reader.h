#ifndef RUNNER_PLAN_READER_H
#define RUNNER_PLAN_READER_H

#include "runner/plan/config.h"

/* Inside the reader: the key tables' shape, and what its files call of each other.
 *
 *	reader.c  walks the tree by a table      ci_keys.c  the table of .ci.yml      travis_keys.c  of .travis.yml
 *	reader_values.c  one value each          reader_env.c, travis_env.c  env      travis.c  what Travis mended
 */

enum scope { /* where a key may stand; bits, in the order of scope_names */
	     SCOPE_ROOT = 1 << 0,
	     SCOPE_ROW = 1 << 1,  /* a row of matrix.include */
	     SCOPE_RULE = 1 << 2, /* a row of matrix.exclude or .allow_failures */
	     SCOPE_MATRIX = 1 << 3,
	     SCOPE_BRANCHES = 1 << 4,
	     SCOPE_LIMITS = 1 << 5,
	     SCOPE_WHEN = 1 << 6,
	     SCOPE_CHECK = 1 << 7,
	     SCOPE_HTTP = 1 << 8,
	     SCOPE_LINE = 1 << 9, /* check.network */
	     SCOPE_PUBLISH = 1 << 10,
	     SCOPE_GIT = 1 << 11,
	     SCOPE_STAGE = 1 << 12,
	     SCOPE_NOTIFY = 1 << 13,
	     SCOPE_CACHE = 1 << 14,
	     SCOPE_CACHE_KEY = 1 << 15,
	     SCOPE_LAST = SCOPE_CACHE_KEY,
};
extern const char *const scope_names[]; /* as they stand in messages */

struct reader {
	struct plan_problems *problems;
	enum plan_dialect dialect;
	struct config *c;
	int regex_budget;
	int has_matrix;
	const char *language; /* of .travis.yml */
};

/* wrong - an error in .ci.yml; in .travis.yml a warning, and what is wrong is left out */
#define wrong(r, at, ...) problem_add((r)->problems, at, (r)->dialect == PLAN_TRAVIS, __VA_ARGS__)

typedef void read_fn(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to);

struct key {
	unsigned scopes;
	const char *name, *type;
	read_fn *read; /* NULL: known, and nothing is read of it */
	size_t offset;
	unsigned bit; /* of settings.set */
	const char *help;
	int later;        /* PLAN_KEY_* */
	enum scope inner; /* of a mapping: what stands in it; 0: none */
};

extern const struct key ci_keys[];
extern const size_t ci_keys_len;

struct yaml_place node_place(const struct yaml_node *n);

/* read_map - each pair to its key's reader. in: the key the map stands under, NULL at the top; set: may be NULL */
void read_map(struct reader *r, const struct yaml_node *in, const struct yaml_node *map, enum scope scope, void *to,
	      unsigned *set);
/* read_rows - matrix.include, .exclude, .allow_failures: a row each. */
void read_rows(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, enum scope scope,
	       struct matrix_rows *rows);
struct matrix_row *row_add(struct matrix_rows *rows, const struct yaml_node *at);
struct axis *axis_find(const struct axes *axes, const char *name);
struct axis *axis_add(struct axes *axes, const char *name, struct yaml_place at);

/* text_of - the text of a value, NULL (and a problem) where it is none. */
const char *text_of(struct reader *r, const struct yaml_node *key, const struct yaml_node *v);
/* reject - why (may be NULL) as a problem; whether there was one. */
int reject(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *why);
/* text_to - one that `bad` (may be NULL) has nothing against. */
void text_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *(*bad)(const char *),
	     char **to);
/* One word of a list; its index. -1: a problem was added. */
int read_choice(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *const *words,
		size_t n);
/* list_to - a list of texts; one text is a list of one, nothing is an empty one. */
void list_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, const char *(*bad)(const char *),
	     struct vec *to);
/* An axis's values: no more than jobs, none twice. */
void axis_to(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct axis *axis);
/* condition_to - an `if`. 0: *to is it; -1: it could not be read, and a problem says why */
int condition_to(struct reader *r, const struct yaml_node *v, struct condition **to);

/* Readers of one value each, for the tables. */
read_fn read_image, read_job_name, read_file, read_repo, read_branch, read_http_path, read_text, read_globs, read_cache,
	read_packages, read_axis, read_row_axis, read_duration, read_size, read_cpus, read_pids, read_status, read_keep,
	read_depth, read_yes_no, read_network, read_boot, read_phase, read_patterns, read_branches, read_limits,
	read_http, read_line, read_delay, read_loss, read_rate, read_header, read_sha256, read_one_line, read_port,
	read_events, read_when, read_check, read_publish, read_path, read_name, read_row_env, read_include,
	read_exclude, read_allow, read_matrix, read_env, read_axes, read_if, read_stages, read_stage_name,
	read_stage_if, read_row_stage, read_git, read_notify, read_notify_target, read_notify_if, read_notify_on,
	read_when_axis, read_submodules, read_lfs, read_author, read_mode, read_packing, read_names;

read_fn read_cache_paths, read_cache_key, read_cache_files, read_cache_text, read_travis_cache;

/* env_read - the file's `env` in all its forms; env_read_row - one row, of whatever form. */
void env_read(struct reader *r, const struct yaml_node *v, struct config *c);
void env_read_row(struct reader *r, const struct yaml_node *v, struct env_row *row);
void env_axis_add(struct config *c, struct env_row row);
struct plan_env *env_row_add(struct env_row *row);
/* A sealed value: text or a list of texts, base64. */
void env_sealed(struct reader *r, const char *name, const struct yaml_node *v, struct env_row *row);

/* .travis.yml */
void travis_read(struct reader *r, const struct yaml_node *root, struct config *c);
void travis_env_read(struct reader *r, const struct yaml_node *v, struct config *c);
void travis_env_row(struct reader *r, const struct yaml_node *v, struct env_row *row, int keep_empty);

/* path_fill - put the values for {backend}, {arch}, {branch} and further axes; NULL and *why_r: an unknown or
 * unclosed one, or one that this job does not have. cell NULL: a sample, every axis is "x". Caller frees. */
char *path_fill(const char *path, const struct config *c, const struct cell *cell, const char *branch,
		const char **why_r);

#endif
