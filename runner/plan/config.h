#ifndef RUNNER_PLAN_CONFIG_H
#define RUNNER_PLAN_CONFIG_H

#include "lib/yaml.h"
#include "runner/plan/condition.h"
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
const char *bad_delay(const char *s, int64_t *ms_r);    /* "50ms", "2s" */
const char *bad_loss(const char *s, int *ppm_r);        /* "1%" */
const char *bad_rate(const char *s, int64_t *bit_r);    /* "1mbit": bits per second */
const char *bad_count(const char *s, int least, int most, int *n_r);
const char *bad_cpus(const char *s, int *milli_r); /* "2", "0.5" */
const char *bad_name(const char *s);               /* of a variable */
const char *bad_axis_value(const char *s);
const char *bad_arch(const char *s);
const char *bad_axis_name(const char *s);
const char *bad_package(const char *s);
const char *bad_image(const char *s);
const char *bad_glob(const char *s); /* below the source tree */
const char *bad_cache(const char *s);
const char *bad_path(const char *s); /* a folder in a deployment repository */
const char *bad_repo(const char *s);
const char *bad_branch(const char *s);
const char *bad_http_path(const char *s);
const char *bad_header(const char *s); /* "Name: value" or "Name" */
const char *bad_sha256(const char *s);
const char *bad_line(const char *s); /* of text: no control characters */
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
/* env_maps - the row as a list of mappings of one variable each. */
json_t *env_maps(const struct plan_env *env, size_t n);
/* env_label - the row for people: text as written, sealed values as NAME=[secure]. */
char *env_label(const struct plan_env *env, size_t n);
void plan_env_release(struct plan_env *v);
/* axis_export - what an axis is exported as: "fs-type" → "FS_TYPE". Caller frees. */
char *axis_export(const char *axis);
int axis_is_exported_as(const char *axis, const char *name);

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
int pattern_matches(const struct pattern *p, const char *name); /* of a branch: at most 1024 bytes */
int pattern_finds(const struct pattern *p, const char *text);   /* a regular expression anywhere in any text */
/* pattern_never - why it matches no name that a branch can have, static; NULL: it may match one */
const char *pattern_never(const struct pattern *p);
void pattern_release(struct pattern *p);

/* --- the typed file --- */
struct patterns {
	struct pattern *items;
	size_t len;
};

struct attr { /* one key of a row and its value, as one text for comparing */
	char *key, *value;
};
struct attrs { /* sorted by key */
	struct attr *items;
	size_t len;
};
enum { ATTRS_MAX = 100 }; /* of one row */
const char *attrs_get(const struct attrs *a, const char *key);
void attrs_set(struct attrs *a, const char *key, const char *value);
void attrs_sort(struct attrs *a);

struct axis {
	char *name;
	struct vec values;
	struct yaml_place at;
};
struct axes {
	struct axis *items; /* in the order of the product */
	size_t len;
};
enum { AXES_MAX = 40 };

struct when { /* lists are alternatives; an empty one says nothing */
	int given;
	struct yaml_place at;
	struct patterns branches;
	struct axes axes;  /* by their names */
	struct vec events; /* "push", "pull_request" */
	int event_fits;    /* filled in by the planner: branches and events, which are the same for all jobs */
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
	struct yaml_place *places; /* of the commands */
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
	       SET_CACHE = 1 << 9,
	       SET_GIT = 1 << 10,
	       SET_PHASE = 1 << 11, /* … << PHASE_COUNT */
};

enum { DEPTH_ALL = -1 };

/* What the file says for all jobs, and an included row for its own. */
struct settings {
	unsigned set;
	char *image;
	struct vec packages, artifacts;
	struct cache_rule {
		struct vec paths, files;
		char *key;
	} cache;
	struct phase phases[PHASE_COUNT];
	enum plan_network network;
	struct plan_limits limits;
	struct plan_git git; /* depth 0: not written; DEPTH_ALL. submodules 0: not written; -1: no */
	int64_t timeout_ms, silence_ms;
	struct check_rule *checks;
	size_t nchecks;
	struct publish_rule *publishes;
	size_t npublishes;
	struct condition *only_if;
	struct yaml_place if_at;
};

struct env_row {
	struct plan_env *vars;
	size_t len;
	json_t *maps; /* the same as a list of mappings, the way Travis lists them; NULL: an empty row */
	int shown;    /* variables in maps, and those left out */
	int invalid;  /* in .travis.yml: it was written and could not be read */
	char *canon;  /* filled in by the expander: what it says beyond env.global */
	int id;       /* likewise: rows with the same id say the same */
};
void env_row_release(struct env_row *row);
/* env_lookup - the last value that a row gives a variable, outer quotes taken off; NULL: none. Caller frees. */
char *env_lookup(const json_t *maps, const char *name);

/* A row of matrix.include, .exclude or .allow_failures. */
struct matrix_row {
	struct settings own; /* included rows; first, so that one key table serves both */
	struct yaml_place at;
	char *name, *stage;
	struct attrs attrs; /* its axes and whatever else a rule may name */
	struct env_row env;
	int has_env, allow_failure;
	int no_env; /* in a rule of .travis.yml: `env` was written, with nothing behind it */
	int broken; /* its condition could not be read: it does not hold */
};
struct matrix_rows {
	struct matrix_row *items;
	size_t len;
};

struct stage {
	char *name;
	struct condition *only_if;
	struct yaml_place at;
	int broken;
};
enum { STAGES_MAX = 50 };

struct config {
	struct settings settings; /* first, as above */
	enum plan_dialect dialect;
	struct axes axes;
	struct attrs attrs; /* of .travis.yml: all that jobs have in common, for rules to compare with */
	struct env_row global;
	struct env_row *env;
	size_t nenv;
	struct matrix_rows include, exclude, allow_failures;
	struct stage *stages;
	size_t nstages;
	int fast_finish;
	json_t *notify; /* list of {"webhook"|"email"|"command": …, "on", "if"}; NULL: none */
	struct yaml_place notify_at;
	struct patterns only, except;
	int broken_if; /* the file's own `if` could not be read */
};

/* config_read - the tree → *c; all that is wrong goes to problems, and *c holds what could be read. */
void config_read(const struct yaml_node *root, enum plan_dialect dialect, struct config *c,
		 struct plan_problems *problems);
void config_release(struct config *c);
void plan_check_release(struct plan_check *c);
void plan_publish_release(struct plan_publish *p);
void cache_rule_release(struct cache_rule *c);

/* --- expansion: which jobs there are --- */
enum { EXPAND_MAX_CELLS = 2000, EXPAND_MAX_RULES = 200 };
struct cell {
	const char **values;          /* by axis; NULL: this job does not have it */
	const struct env_row *env;    /* NULL: none */
	const struct matrix_row *row; /* the included row it comes from, or NULL */
	const char *stage;            /* NULL: none */
	int stage_number, allow_failure;
};
struct cells {
	struct cell *items;
	size_t len;
	const char **values; /* of all of them */
};
struct expansion { /* what the expander works with */
	struct config *c;
	const struct plan_context *cx;
	struct plan_problems *problems;
	int64_t budget;    /* for conditions */
	struct vec stages; /* out: names in order; empty: no stages */
};
/* expand - cells in order; at most PLAN_MAX_JOBS, else a problem and none. */
void expand(struct expansion *x, struct cells *cells_r);
void cells_release(struct cells *cs);
/* cell_get - the value that a job has for a key: an axis, a key of its row or one that all jobs have. NULL: none */
const char *cell_get(const struct config *c, const struct cell *cell, const char *key);
/* cell_label - "xen amd64 A=1"; caller frees. */
char *cell_label(const struct config *c, const struct cell *cell);

/* --- rules.c --- */
enum rule_kind { RULE_EXCLUDE, RULE_ALLOW };
/* rules_prepare - env rows and axis values get numbers, so that comparing them is cheap. */
void rules_prepare(struct config *c);
/* rules_apply - hits_r: by cell, whether any rule matches. What each did is told to those who ask (cx->why), and a
 * rule that matches nothing is a warning. */
void rules_apply(struct expansion *x, enum rule_kind kind, const struct cells *cs, char *hits);
/* notify_settle - the entries of `notify` whose `if` holds, without it; NULL: none. A new reference. */
json_t *notify_settle(const struct config *c, struct expansion *x);
/* cell_if - does the condition (NULL does) hold for this job? */
int cell_if(struct expansion *x, const struct condition *cond, const struct cell *cell, struct yaml_place at);

/* row_stage - a row without a stage belongs to that of the row before it, left out or not. NULL: there is none. */
const char *row_stage(const struct config *c, const struct matrix_row *row);
/* stages_settle - every cell's stage; those are taken out that a stage's `if` leaves out. */
void stages_settle(struct expansion *x, struct cells *cs);

/* job_listing - the job as Travis's tools list it. */
json_t *job_listing(const struct config *c, const struct cell *cell, const struct job_spec *j);
/* travis_drop_unsupported - takes away the values of axes that the job's language or system does not have. */
void travis_drop_unsupported(const struct config *c, struct cell *cell);

#define PLAN_NO_IMAGE "'image' is missing: say what the jobs run in, like debian:bookworm"

/* settle - one job from its cell. number and name are the caller's to fill in. */
void settle(const struct config *c, const struct cell *cell, const struct plan_context *cx, struct job_spec *j,
	    struct plan_problems *problems);

extern const char script_helpers[]; /* travis_retry and the like, as shell functions */
extern const char script_helpers_exported[];

/* lint_config - the classic traps: what builds but does not do what was meant. */
void lint_config(const struct config *c, const struct plan *plan, struct plan_problems *problems);

#endif
