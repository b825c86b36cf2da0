#ifndef RUNNER_JOB_H
#define RUNNER_JOB_H

#include "lib/loop.h"
#include "lib/secret.h"
#include "runner/checkout.h"
#include "runner/home.h"
#include "runner/log/log.h"
#include "runner/plan/plan.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/sandbox.h"
#include "runner/store/store.h"

/* In the box. */
#define JOB_END_PATH "/.slipway/end" /* not empty until the script has come to its own end */
#define JOB_SCRIPT_PATH "/.slipway/script"
#define JOB_TOOLS_PATH "/.slipway/bin" /* commands for what the script starts; last on PATH */

/* What one leader holds; shared by job*.c alone. */

struct job_secret {
	char *name;
	struct secret value;
	size_t row; /* of the job's env */
};

struct job_exec {         /* a person's build: runner/job_exec.c */
	struct vec given; /* names of secrets that are in our own environment */
	int no_key;       /* what is sealed is missing, then */
	int shell;        /* a shell in the failed container */
};

enum { JOB_SPARE_LAYERS = 8, JOB_STOP_GRACE_MS = 5000 };

struct job_spare {
	char *dir;
	int lock, out;
	struct sandbox *box;
	struct sandbox_limits limits;
	int64_t disk_wish; /* 0: none was named */
	int network;
	struct vec notes;
	struct image image; /* holds the layers that the box has mounted */
	ino_t inodes[JOB_SPARE_LAYERS];
};

/* Options of a job's box, and the strings they borrow. */
struct job_box_opts {
	struct sandbox_opts opts;
	char *trees, *allow, *refuse;
};

struct job_file {
	char *path; /* relative to <dir>/out */
	unsigned mode;
};

struct job {
	struct home home;
	struct store *store;
	struct loop *loop;
	struct job_row row;
	struct build_row build;
	struct repo repo;
	struct event_row event;
	struct job_spec spec;
	char *dir, *mirror; /* jobs/<id>, the sources' mirror */
	struct log *log;
	struct job_secret *secrets; /* what the script gets; never the deploy key */
	size_t nsecrets;
	json_t *submodules; /* what job_submodules() brought; NULL: none were asked for */
	int unopened; /* sealed values that define nothing: of a .travis.yml, not sealed to this runner; or no key */
	struct job_exec *exec; /* NULL: a pushed build */
	struct image image;
	struct job_file *out_files; /* what is to be published; the first is the image */
	size_t nout_files;
	char *boot_file; /* what the boot proof boots, relative to <dir>/out; NULL: nothing */
	int64_t taken_bytes;
	struct {                    /* job_cache.c's */
		struct vec folders; /* of the container's; empty: none is kept */
		char *dir, *tier;
		char key[65];
		char mark[65], hash[65]; /* of what was restored; "": nothing was */
	} cache;
	struct sandbox *box;
	struct checkout sources;
	struct job_spare *spare; /* what was made before it was known which job this is; NULL: nothing */
	int ready_out;           /* the output of a container that was started ahead; 0: none */
	int build_over;          /* no other job of it is to run: nobody wants the sources any more */
	char *second_half;       /* of the script, for when the network is off; NULL: it was given all of it */
	size_t second_given;     /* bytes of it */
	int network_sock;        /* 0: none */
	int canceled;            /* somebody asked for it: the row says so */
	int abandoned;           /* SIGTERM came and nobody had asked: this box stops; the job is to be run again */
	int publishing;          /* from here on it is not stopped half way */

	/* the step under way: exactly one of box run and child */
	pid_t child; /* 0: none */
	int wrote_first_byte;
	int64_t last_output_mono_ms;
	const char *over; /* why a time limit ended the script, NULL: none did */
	uint64_t silence_timer;
	int clock_fd;         /* timerfd: readable when the job's time is over */
	int abort_fd;         /* epoll: readable when a signal waits or the time is over */
	struct err log_error; /* kind ERR_NONE: the log is whole so far */
};

/* --- job_env.c: what the script is given --- */

/* job_open_secrets - the sealed env rows, opened with the repository's key; none for a fork's pull request.
 *  err ERR_DENIED, ERR_INPUT naming the variable */
int job_open_secrets(struct job *j, struct err *e) MUST_USE;
void job_secrets_release(struct job *j);
/* CI_* and the like as "NAME=value": what the script exports. */
void job_exports(const struct job *j, struct vec *exports);
/* job_travis.c: TRAVIS_*, for scripts written for it. */
void job_travis_exports(const struct job *j, struct vec *exports);
/* The container's environment: the basics and the secrets. */
void job_environment(const struct job *j, struct vec *env);
/* The job's script; caller frees. second_r: with `network: install` the part that the script gets when its network is
 * off, untouched otherwise. */
char *job_script(const struct job *j, char **second_r);

/* --- job_network.c: `network: install` --- */

/* job_network_open - the script's standard input, which is the way it asks for its second part; 0 where it needs none.
 * The caller closes it. */
int job_network_open(struct job *j, int *in_r, struct err *e) MUST_USE;
/* From here on the loop answers the script. */
void job_network_watch(struct job *j);
void job_network_release(struct job *j);

/* --- job_exec.c: what is different in a person's own build, `runner exec` --- */

#define JOB_SOURCE_DIR "/build"
#define JOB_ENVIRONMENT_PATH "/.slipway/environment" /* where the script writes its environment at its end */
#define JOB_SHELL_STEP "shell"                       /* the row's step while the shell has the terminal */

int job_exec_load(struct job *j, struct err *e) MUST_USE;
void job_exec_release(struct job *j);
/* The value that the person gave for this name; borrowed; NULL: none. */
const char *job_exec_given(const struct job *j, const char *name);
/* Where it was asked for: a shell in the box, to its end. The script has run and failed. */
void job_exec_shell(struct job *j);

/* --- job_tools.c: what is beside the script in the box --- */

int job_put_tools(struct sandbox *box, struct err *e) MUST_USE;
/* The script and the file that tells of its end; the tools too, where the box was not made ahead with them. */
int job_put_script(struct job *j, const char *script, struct err *e) MUST_USE;
/* Did the script come to its own end? 0: no */
int job_reached_end(struct job *j);

/* --- job.c, for job_spare.c --- */

void job_box_opts(struct job *j, struct job_box_opts *o_r); /* all but id and dir */
void job_box_opts_release(struct job_box_opts *o);
int job_watch_signals(struct job *j, struct err *e) MUST_USE; /* makes abort_fd */

/* --- job_spare.c: a leader before its job --- */

/* job_spare_make - box and container as the job `like` had them */
int job_spare_make(struct job *j, int64_t like, struct err *e) MUST_USE;
/* job_spare_wait - until the daemon says which job. 1: none comes any more */
int job_spare_wait(struct job *j, int64_t *id_r, int *attempt_r, struct err *e) MUST_USE;
/* job_spare_take - 1: j->box is the spare one, as it is what o would make. 0: there is none (any more) */
int job_spare_take(struct job *j, const struct sandbox_opts *o, struct vec *notes);
void job_spare_release(struct job *j);

/* --- job_files.c: files the script made --- */

/* Out of the box: publish.files and check.file to <dir>/out, artifacts to <dir>/artifacts; none can be executed there.
 *  err  ERR_MISSING nothing matches; ERR_INPUT a name that cannot be published, two of one name, too many bytes */
int job_collect(struct job *j, struct err *e) MUST_USE;
void job_files_release(struct job *j);

/* --- job_cache.c: folders kept from build to build --- */

/* Into the box. 1: it failed half way, is told in the log, and the box is to be made anew; err ERR_BUSY stopped */
int job_cache_restore(struct job *j, struct err *e) MUST_USE;
void job_cache_save(struct job *j); /* after a script that passed */
void job_cache_release(struct job *j);

/* --- job_step.c: things the leader runs beside the container --- */

/* The program whose commands a step may be: a leader is `slipway-job`, which has no others. */
const char *job_runner(void);
/* job_step - run a command of our own; its output goes to the log. result_r may be NULL: what it wrote to fd 3.
 *  err ERR_REMOTE "<what> failed: <last line>", ERR_BUSY canceled */
int job_step(struct job *j, const char *what, const char *const *argv, struct buf *result_r, struct err *e) MUST_USE;
/* The image, made by `runner image` where it is not there yet. */
int job_image(struct job *j, struct err *e) MUST_USE;
/* The boot proof; what the image said is kept in <dir>/console. */
int job_check(struct job *j, struct err *e) MUST_USE;
/* Told before anything is run, as job_may_publish(). err ERR_MISSING a program that the boot proof needs */
int job_may_boot(const struct job *j, struct err *e) MUST_USE;
/* Told before anything is run, so that a job that could not be published fails at once. err ERR_DENIED */
int job_may_publish(struct job *j, struct err *e) MUST_USE;
int job_publish(struct job *j, struct err *e) MUST_USE;

/* --- job_submodules.c --- */

/* Fetched where the file asks for them. err ERR_REMOTE, with what the fetcher said last */
int job_submodules(struct job *j, struct err *e) MUST_USE;
/* Into the box, behind the source itself. */
int job_put_submodules(struct job *j, const char *source_dir, struct err *e) MUST_USE;

/* job_secrets_fd - what the script was given, for the publisher's tripwire (runner/publish/leak.h): "NAME=VALUE" and a
 * zero byte each, without those that `expose` names, in memory. The caller closes it. */
int job_secrets_fd(const struct job *j, int *fd_r, struct err *e) MUST_USE;
/* A masker that knows every secret the script is given. err ERR_INPUT a secret is too large to be looked for */
int job_mask(const struct job *j, struct mask **m_r, struct err *e) MUST_USE;

/* job_wait_for_store - a write failed with *e: 0 after a while if it is worth trying again (the disk is full, the file
 * busy), -1 if not. A result is never dropped for want of space. */
int job_wait_for_store(struct job *j, const struct err *e) MUST_USE;

/* What the job is doing now, for people who watch; masked by the caller. */
void job_says(struct job *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
