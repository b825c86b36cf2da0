#ifndef RUNNER_PLAN_CONFIG_H
#define RUNNER_PLAN_CONFIG_H

#include "lib/yaml.h"
#include "runner/plan/plan.h"

/* Inside the planner only: what the reader hands to the expander. Every value was checked when it was read; places
 * are kept for what can only be judged later. */

/* --- problems --- */
enum { PLAN_MAX_PROBLEMS = 100 };
void problem_add(struct plan_problems *p, struct yaml_place at, int warning, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void problems_sort(struct plan_problems *p);
size_t problems_errors(const struct plan_problems *p);

/* --- text values: NULL when s is good, else why not ("must …"), static --- */
const char *bad_duration(const char *s, int64_t *ms_r); /* "90s", "1h30m"; 1 s to 24 h */
const char *bad_size(const char *s, int64_t *bytes_r);  /* "512M", "2G", "1048576" */
const char *bad_count(const char *s, int least, int most, int *n_r);
const char *bad_cpus(const char *s, int *milli_r); /* "2", "0.5" */
const char *bad_name(const char *s);               /* of a variable */
const char *bad_axis_value(const char *s);
const char *bad_arch(const char *s);
const char *bad_package(const char *s);
const char *bad_image(const char *s);
const char *bad_glob(const char *s); /* below the source tree */
const char *bad_path(const char *s); /* a folder in a deployment repository */
const char *bad_repo(const char *s);
const char *bad_branch(const char *s);
const char *bad_http_path(const char *s);
const char *bad_job_name(const char *s);
/* nearest - the word of the list that s was probably meant to be, or NULL. Borrowed. */
const char *nearest(const char *s, const char *const *words, size_t n);

/* --- shell assignments: "A=1 B='x y'" --- */
struct env_var {
	const char *name, *value; /* into the text; the value with its quotes */
	size_t name_len, value_len;
};
/* env_text_next - 1: *v_r is the next assignment, *at moved on; 0: no more; -1: not an assignment, *why_r static */
int env_text_next(const char **at, struct env_var *v_r, const char **why_r);
enum { ENV_MAX_VARS = 200 };                /* in one row */
const char *env_text_bad(const char *text); /* why it is not assignments, all of it; NULL: it is */
/* env_assignment - "NAME=value", the value put into double quotes where the shell would not read it as one word.
 * NULL when it can be neither. Caller frees. */
char *env_assignment(const char *name, const char *value);
/* env_vars - the variables of a row, sorted; of one that is set twice the later. */
void env_vars(const struct plan_env *env, size_t n, struct vec *sorted_r);
/* env_canon - the same as one text, for comparing; what also stands in `less` (sorted) is left out. */
char *env_canon(const struct plan_env *env, size_t n, const struct vec *less);
/* env_label - the row for people: text as written, sealed values as NAME=[secure]. */
char *env_label(const struct plan_env *env, size_t n);
void plan_env_release(struct plan_env *v);

/* --- branch patterns: an exact name or /regular expression/ --- */
enum { PATTERN_MAX_BYTES = 256, PATTERN_MAX_STEPS = 2000, PATTERN_BUDGET = 20000 };
struct pattern_step;
struct pattern {
	char *text;
	struct pattern_step *steps; /* NULL: an exact name */
	int nsteps;
};
/* pattern_make - NULL, or why not (static). *budget: steps left for all regular expressions of the file */
const char *pattern_make(const char *text, int *budget, struct pattern *p_r);
int pattern_matches(const struct pattern *p, const char *name);
void pattern_release(struct pattern *p);

/* --- the typed file --- */
struct patterns {
	struct pattern *items;
	size_t len;
};

struct when { /* lists are alternatives; an empty one says nothing */
	int given;
	struct yaml_place at;
	struct patterns branches;
	struct vec backends, archs;
	struct vec events; /* "push", "pull_request" */
};

struct check_rule {
	struct when when;
	struct plan_check check;
	struct yaml_place at;
};

struct publish_rule {
	struct when when;
	struct plan_publish publish;
	struct yaml_place at;
};

struct phase {
	struct vec commands;
	int skipped;
};

enum setting { /* bits of settings.set */
	       SET_IMAGE = 1 << 0,
	       SET_PACKAGES = 1 << 1,
	       SET_NETWORK = 1 << 2,
	       SET_LIMITS = 1 << 3,
	       SET_TIMEOUT = 1 << 4,
	       SET_SILENCE = 1 << 5,
	       SET_ARTIFACTS = 1 << 6,
	       SET_CHECK = 1 << 7,
	       SET_PUBLISH = 1 << 8,
	       SET_PHASE = 1 << 9, /* … << PHASE_COUNT */
};

/* What the file says for all jobs, and an included row for its own. */
struct settings {
	unsigned set;
	char *image;
	struct vec packages, artifacts;
	struct phase phases[PHASE_COUNT];
	enum plan_network network;
	struct plan_limits limits;
	int64_t timeout_ms, silence_ms;
	struct check_rule *checks;
	size_t nchecks;
	struct publish_rule *publishes;
	size_t npublishes;
};

struct env_row {
	struct plan_env *vars;
	size_t len;
	char *canon; /* filled in by the expander */
};

/* A row of matrix.include, .exclude or .allow_failures. */
struct matrix_row {
	struct settings own; /* included rows; first, so that one key table serves both */
	struct yaml_place at;
	char *name, *backend, *arch;
	struct env_row env;
	int has_env;
};
struct matrix_rows {
	struct matrix_row *items;
	size_t len;
};

struct config {
	struct settings settings; /* first, as above */
	struct vec backends, archs;
	struct env_row global;
	struct env_row *env;
	size_t nenv;
	struct matrix_rows include, exclude, allow_failures;
	struct patterns only, except;
};

/* config_read - the tree → *c; all that is wrong goes to problems, and *c holds what could be read. */
void config_read(const struct yaml_node *root, struct config *c, struct plan_problems *problems);
void config_release(struct config *c);
void plan_check_release(struct plan_check *c);
void plan_publish_release(struct plan_publish *p);

/* --- expansion: which jobs there are --- */
enum { EXPAND_MAX_CELLS = 2000, EXPAND_MAX_RULES = 200 };
struct cell {
	const char *backend, *arch;   /* NULL: no such axis */
	const struct env_row *env;    /* NULL: none */
	const struct matrix_row *row; /* the included row it comes from, or NULL */
	int allow_failure;
};
/* expand - cells in order; at most PLAN_MAX_JOBS, else a problem and none. Caller frees *cells_r. */
void expand(struct config *c, struct cell **cells_r, size_t *n_r, struct plan_problems *problems);

#define PLAN_NO_IMAGE "'image' is missing: say what the jobs run in, like debian:bookworm"

/* settle - one job from its cell. number and name are the caller's to fill in. */
void settle(const struct config *c, const struct cell *cell, const struct plan_context *cx, struct job_spec *j,
	    struct plan_problems *problems);

#endif
