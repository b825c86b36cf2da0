#ifndef RUNNER_PLAN_PLAN_H
#define RUNNER_PLAN_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/json.h"
#include "lib/vec.h"
#include "runner/trigger/event.h"

/* `.ci.yml` (or `.travis.yml`) → jobs. Pure: no I/O, clock, locale, environment or randomness; the same bytes in give
 * the same bytes out. The language is ci.yml(5). */

enum { PLAN_MAX_JOBS = 200, PLAN_MAX_NOTICES = 20, PLAN_MAX_FILE_BYTES = 1 << 20 };

/* One reader for both: in .ci.yml what is wrong is an error, in .travis.yml a warning, as Travis had it. */
enum plan_dialect { PLAN_CI, PLAN_TRAVIS };
const char *plan_dialect_file(enum plan_dialect d); /* ".ci.yml", ".travis.yml" */
/* plan_dialect_of - what a file is read as: by its name where that says it (.ci.yml, x.ci.yml; .travis.yml,
 * x.travis.yml); any other is a .ci.yml if its top mapping has a key that only .ci.yml has, such as image. */
enum plan_dialect plan_dialect_of(const char *name, const void *data, size_t len);

enum plan_phase {
	PHASE_BEFORE_INSTALL,
	PHASE_INSTALL,
	PHASE_BEFORE_SCRIPT,
	PHASE_SCRIPT,
	PHASE_AFTER_SUCCESS,
	PHASE_AFTER_FAILURE,
	PHASE_AFTER_SCRIPT,
	PHASE_COUNT,
};
const char *plan_phase_name(enum plan_phase p); /* "before_install", … */

enum plan_network { NETWORK_OFF, NETWORK_INSTALL, NETWORK_ON };
const char *plan_network_name(enum plan_network n);

/* One row of env: either text for the shell ("A=1 B='x y'", verbatim) or a sealed value. */
struct plan_env {
	char *text;        /* NULL for a sealed value */
	char *secret_name; /* the name written beside it; NULL where only the sealed text knows it */
	struct vec chunks; /* base64 of sealed chunks, white space removed, in file order */
};

enum plan_boot { BOOT_NONE, BOOT_UNIX, BOOT_QEMU, BOOT_SOLO5_SPT, BOOT_SOLO5_HVT, BOOT_COMMAND };
const char *plan_boot_name(enum plan_boot b);
/* What is wrong with the author of a commit; NULL: nothing. */
const char *plan_bad_author(const char *s);

struct plan_http { /* one page that a booted image must answer with */
	char *path;
	int status;     /* default 200 */
	char *contains; /* in its body; NULL: any */
	char *header;   /* "Name: part of its value" or "Name"; NULL: none */
	char *sha256;   /* of the body, in hex; NULL: any */
};

struct plan_check { /* boot proof; boot == BOOT_NONE: none asked for */
	enum plan_boot boot;
	char *file;    /* which file is booted, a glob; NULL: the first of publish.files */
	char *command; /* for BOOT_COMMAND */
	char *expect;  /* text that must appear on the console; NULL: none */
	char *args;    /* the image's command line; NULL: none */
	int port;      /* it serves on; 0: 8080 */
	struct plan_http *http;
	size_t nhttp;
	int64_t timeout_ms; /* default 60 s: until it is ready, and again for the script */
	int64_t delay_ms;   /* of the line in between, each way; 0: none */
	int loss_ppm;       /* packets lost each way, in a million */
	int64_t rate_bit;   /* bits per second each way; 0: as fast as it goes */
	char *script;       /* tests of its own, run against the booted image; NULL: none */
};

enum plan_packing { PACKING_BZIP2, PACKING_XZ, PACKING_ZSTD, PACKING_NONE };
const char *plan_packing_name(enum plan_packing p);

struct plan_publish {      /* repo == NULL: this job publishes nothing */
	char *repo;        /* where to: a path, ssh:// or scp-like git@host:path */
	char *branch;      /* of the deployment repository; default "main" */
	char *key;         /* name of the sealed deploy key; NULL: none needed (a path) */
	struct vec files;  /* globs below the source tree, no braces left; the first is the image. Filled in also where
			      repo is NULL because of the branch or the event alone: `check` may need it */
	char *path;        /* "{backend}", … already filled in: no braces left; never empty, no "..", not absolute */
	int keep;          /* images kept in the tree; 0: all */
	int latest;        /* `latest` may move to it */
	int mode;          /* of the image: 0755 or 0644; 0: as the script left it */
	char *message;     /* of the commit, "{commit}" and the like not yet filled in; NULL: the usual one */
	char *author;      /* "Name <mail>"; NULL: the usual one */
	int packing;       /* enum plan_packing */
	struct vec expose; /* names of secrets that the files may hold */
};

struct plan_limits { /* 0: the box's default */
	int64_t memory_bytes, disk_bytes;
	int cpus_milli; /* 2000 = two cores */
	int pids;
};

enum { PLAN_GIT_DEPTH = 50 }; /* where a file does not say */
struct plan_git {
	int depth;      /* commits of history; 0: all */
	int submodules; /* 0 or 1 */
};

struct plan_axis { /* a further axis, and this job's value on it */
	char *name, *value;
};

struct job_spec {
	enum plan_dialect dialect;
	int number; /* 1.. */
	char *name; /* "unix amd64", unique within the build */
	char *image;
	struct vec packages; /* sorted, unique */
	char *backend;       /* NULL where there is no such axis */
	char *arch;          /* "amd64", "arm64"; NULL: the box's own */
	struct plan_axis *axes;
	size_t naxes;
	char *stage;      /* NULL: there are no stages */
	int stage_number; /* 1.., in the order they run; 0: there are no stages */
	struct plan_env *env;
	size_t nenv;         /* global rows, then the job's own */
	struct vec withheld; /* names of sealed values that are deploy keys: never given to the script */
	struct vec phases[PHASE_COUNT];
	int phase_skipped[PHASE_COUNT]; /* "skip" was written */
	struct vec artifacts;           /* globs */
	struct vec cache;               /* folders kept from build to build */
	char *cache_key;                /* what the cache is of; NULL: this job's image, axes and env */
	struct vec cache_files;         /* and of these files of the commit */
	struct plan_git git;
	enum plan_network network;
	struct plan_limits limits;
	int64_t timeout_ms, silence_ms; /* defaults 50 min, 10 min */
	struct plan_check check;
	struct plan_publish publish;
	int allow_failure;
};

struct plan {
	struct job_spec *jobs; /* by stage; row-major axis order, then included rows; in a stage those allowed to fail
				  behind the others */
	size_t njobs;
	int left_out;      /* by a branches rule, which is why there are no jobs */
	struct vec stages; /* names, in the order they run; empty: none were asked for */
	int fast_finish;   /* the build has its result with its last required job */
	json_t *notify;    /* list of {"webhook"|"email"|"command": …, "on": [words]}; NULL: nobody */
	json_t *listing;   /* the jobs as Travis's tools list them */
};

/* One thing wrong (or odd) with a file, with its place; lines and columns from 1. */
struct plan_problem {
	int line, col;
	int warning; /* 1: it builds all the same */
	char *text;  /* "unknown key 'scirpt', did you mean 'script'?" */
};
struct plan_problems {
	struct plan_problem *items; /* in file order */
	size_t len;
};
void plan_problems_release(struct plan_problems *p);
/* "FILE:LINE:COL: text\n" for each (errors only if !warnings); caller frees. */
char *plan_problems_text(const struct plan_problems *p, const char *file, int warnings);

/* What the planner is told about the event; only `when`, `branches` and `if` rules look at it. */
struct plan_context {
	enum plan_dialect dialect;
	enum event_kind kind;
	const char *branch;
	const char *tag; /* NULL: none */
	/* what else an `if` may ask for; NULL: unknown */
	const char *repo, *sender, *message, *head_repo, *head_branch;
	int from_fork;
	const char *const *settings; /* NULL, or "NAME=value"s, NULL behind the last: variables that the repository has
					beside its file */
	int any_branch;              /* `branches` leaves nothing out */
	struct plan_problems *why;   /* NULL, or where it is told what each rule did; caller releases */
};

/* plan_make - read and expand.
 *  in   name      of the file, for messages
 *       data,len  its bytes, any bytes at all
 *  out  plan_r    caller owns, plan_release(); empty when a branches rule excludes the event
 *       problems  all of them, errors and warnings; caller releases, also on success
 *  err  ERR_INPUT "<first problem as FILE:LINE:COL: text>[ (and N more)]" */
int plan_make(const char *name, const void *data, size_t len, const struct plan_context *cx, struct plan *plan_r,
	      struct plan_problems *problems, struct err *e) MUST_USE;
void plan_release(struct plan *p);
void job_spec_release(struct job_spec *j);

/* The job as JSON (what the jobs row holds, what `runner plan --json` lists) and back. */
json_t *job_spec_to_json(const struct job_spec *j);
int job_spec_from_json(const json_t *json, struct job_spec *j, struct err *e) MUST_USE;
/* {"stages": [{"name"}], "jobs": [...], "specs": [...], "fast_finish", "notify"}: jobs as Travis's tools list them
 * (name, arch, stage, env as a list of mappings), specs as above, in the same order. */
json_t *plan_to_json(const struct plan *p);

/* What the script generator needs beside the job. */
struct script_context {
	const char *file;           /* ".ci.yml" */
	const char *end_file;       /* NULL, or a file that is emptied when the script has come to its own end */
	const char *const *exports; /* NULL-terminated "NAME=value": CI_*, set and exported literally, not echoed */
	const char *const *secret_names; /* NULL-terminated; already in the environment; echoed as NAME=[secure] */
	const size_t *secret_rows;       /* as many: the row of env that each came from; later rows win */
	int secrets_removed;             /* a fork's pull request: says so */
	const char *environment_to;      /* a file that gets what is exported at its end, but for the secrets, in the
					    shell's own words; NULL: none */
};
/* Commands for other scripts that the job's script starts: they are put on their PATH. */
extern const char *const script_tools[]; /* names, NULL-terminated */
char *script_tool(const char *name);     /* a program of POSIX sh; caller frees */
/* script_make - the whole job as one POSIX sh script (dash, busybox and bash run it): env rows, phases, their failure
 * rules and messages as Travis had them. It must be run as a file (`sh FILE`, not by its standard input) in the source
 * folder. Exit status: 0 passed, 1 the script phase failed, 2 a set-up phase failed ("errored"), 86 no script ran;
 * whatever status a command of the user's ends the shell with. Caller frees.
 *  src  Travis's build script generator; ci.yml(5) */
char *script_make(const struct job_spec *j, const struct script_context *cx);
/* script_make_halves - the same in two parts, for a job whose network ends with its install phase. The first wants one
 * end of a stream socket pair as its standard input; at the end of that phase it writes a byte there, and runs what it
 * then reads until the end of file: second_r, which it is given when there is no network any more. So whatever the
 * first part does, it can but end the network early; without that the second part is not in the box. The commands of
 * the first part must leave descriptor 7 alone. Caller frees both. */
char *script_make_halves(const struct job_spec *j, const struct script_context *cx, char **second_r);

/* The language itself, for docs and editors: every key of .ci.yml, from the table the reader reads by. */
struct plan_key {
	const char *scope; /* "", "limits", "check", "check.http", "publish", "matrix", … */
	const char *name, *type, *help;
	int later; /* PLAN_KEY_*; 0: carried out */
};
enum { PLAN_KEY_READ = 1, PLAN_KEY_REFUSED = 2 };       /* with a warning, with an error: not carried out yet */
size_t plan_keys(struct plan_key *keys_r, size_t most); /* how many there are */
/* The JSON Schema of .ci.yml, made from the same table. */
json_t *plan_schema(void);

#endif
