#ifndef RUNNER_SANDBOX_SANDBOX_H
#define RUNNER_SANDBOX_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

#include "lib/child.h"
#include "lib/err.h"
#include "lib/vec.h"
#include "runner/sandbox/boxcache.h"

/* One job's box: a user namespace with its own mount, pid, net, ipc and uts namespaces, an overlay over the
 * image's layers, and containers run in it by crun, one after the other. The leader talks to the box's first
 * process (`runner box`, internal) over a socket pair in length-prefixed records. Whatever happens to the leader
 * (kill -9 too), everything in the box dies with it. The leader itself stays outside and never trusts what is
 * inside. Works as root and as an ordinary user with subordinate ids. */

struct sandbox;

struct sandbox_limits { /* 0: no limit */
	int64_t memory_bytes;
	int64_t disk_bytes; /* of what is written to the root file system */
	int cpus_milli;
	int pids;
};

enum sandbox_over { SANDBOX_OVER_NOTHING, SANDBOX_OVER_MEMORY, SANDBOX_OVER_DISK };

struct sandbox_opts {
	const char *id;  /* of the job and attempt, e.g. "j12-1": names the cgroup */
	const char *dir; /* an existing empty folder of the caller's, for what the box writes; emptied by close. Not on
			    an overlay file system: the kernel lays no overlay over one */
	const char *const *layers; /* folders, top first, NULL-terminated (image.h) */
	const char
		*arch; /* Debian's name for that of its programs; NULL: this host's. Another is emulated (binfmt.h) */
	struct sandbox_limits limits;
	const char *trees; /* the folder that sandbox_put_tree takes from; NULL: it is not to be called */
	int abort_fd; /* > 0: when it is readable, a call that waits for the box kills it and fails with ERR_BUSY */
	int network;  /* 0: loopback only; 1: the internet, and never this host, by whatever address (netrules.h) */
	const char *allow; /* with a network, files of the owner's (netrules_list()): what may be reached although it */
	const char *refuse; /* would be refused, and what may not; NULL: none */
};

/* What could not be had on this host, for the log's first lines: "no pids limit: …". Filled by sandbox_open. */

/* sandbox_open - namespaces, cgroup, overlay. The calling thread must stay: the box is killed when it ends.
 *  out  notes  lines for people about limits that could not be had; may stay empty
 *  err  ERR_MISSING a program is not installed; ERR_SYS, ERR_DENIED with "run: runner doctor" where it helps */
int sandbox_open(const struct sandbox_opts *o, struct sandbox **s_r, struct vec *notes, struct err *e) MUST_USE;

/* sandbox_rules_hold - would a box that is opened now have the network that this one has: the same rules, from the same
 * addresses and name servers of this host and the same of its owner's files? */
int sandbox_rules_hold(const struct sandbox *s, const struct sandbox_opts *o);

/* Files into the box, before or between runs (ERR_BUSY while one runs); paths are the container's, parents are made.
 * What was there under that name is replaced. */
int sandbox_put_file(struct sandbox *s, const char *path, const void *data, size_t len, unsigned mode,
		     struct err *e) MUST_USE;
/* sandbox_put_files - as many at once; text files, NUL-terminated. Those before one that failed are there. */
struct sandbox_file {
	const char *path, *text;
	unsigned mode;
};
int sandbox_put_files(struct sandbox *s, const struct sandbox_file *files, size_t n, struct err *e) MUST_USE;
/* sandbox_put_tar - unpack a tar stream from fd (as `git archive` writes it) below path; contained. */
int sandbox_put_tar(struct sandbox *s, int fd, const char *path, struct err *e) MUST_USE;
struct sandbox_git {
	const char *mirror; /* a bare repository */
	const char *commit; /* its id */
	const char *path;   /* a folder in the container */
	int depth;          /* commits of history that come along; 0: all */
};
/* sandbox_put_git - a work tree at exactly this commit with a small .git of its own (its history down to the depth,
 * and tags on that), owned by the container's root. Nothing of the source or the mirror is
 * run, and the folder must be empty (ERR_INPUT): a job's files could name programs to git. */
int sandbox_put_git(struct sandbox *s, const struct sandbox_git *git, struct err *e) MUST_USE;

/* sandbox_put_tree - a folder below opts.trees that sandbox_take left, as path: read-only for all who use it, with an
 * overlay of this box's own over it. The folder at path must be empty (ERR_INPUT). */
int sandbox_put_tree(struct sandbox *s, const char *name, const char *path, struct err *e) MUST_USE;

struct sandbox_run {
	const char *const *argv; /* NULL-terminated; looked up in the container's PATH */
	const char *const *env;  /* the whole environment; never written to a disk */
	const char *cwd;         /* made when it is not there */
	int in, out;             /* stdin (0: /dev/null) and stdout+stderr of the container */
	int stop_grace_ms;       /* between TERM and KILL in sandbox_stop; default 5000 */
};

/* sandbox_ready - start a container ahead: all is made, its init waits. Files may be put as before; the next
 * sandbox_start says what it is to run and takes in, out and the grace time from here. */
int sandbox_ready(struct sandbox *s, int in, int out, int stop_grace_ms, struct err *e) MUST_USE;

/* sandbox_start - run one container; only one at a time. Returns when it is started. */
int sandbox_start(struct sandbox *s, const struct sandbox_run *r, struct err *e) MUST_USE;
/* Readable when the container has ended: then call sandbox_end, once. A new one for each run; -1 between runs. */
int sandbox_fd(const struct sandbox *s);
/*  out  status_r  of the container's own first command, as its init saw it
 *       over_r    enum sandbox_over: which limit killed in it; memory only where the host can tell
 *  err  ERR_REMOTE the command could not be started (missing program or folder), or the box is gone */
int sandbox_end(struct sandbox *s, struct child_status *status_r, int *over_r, struct err *e) MUST_USE;
/* TERM to the container's init, KILL to everything after the grace time; returns at once, sandbox_fd tells the end. */
void sandbox_stop(struct sandbox *s);
void sandbox_kill(struct sandbox *s); /* KILL at once */

/* sandbox_offline - no network from here on, also for what runs now. When it fails the box may still have one. */
int sandbox_offline(struct sandbox *s, struct err *e) MUST_USE;

/* sandbox_collect - regular files below `root` in the container that match a glob (fnmatch, FNM_PATHNAME; no link
 * is followed, no path leaves root), in sorted order. Between runs.
 *  in   fn  called with a descriptor open for reading and the path relative to root; returns -1 to stop with *e */
typedef int sandbox_file_fn(void *arg, const char *path, int fd, unsigned mode, uint64_t size, struct err *e);
int sandbox_collect(struct sandbox *s, const char *root, const char *glob, sandbox_file_fn *fn, void *arg,
		    struct err *e) MUST_USE;

/* sandbox_put_cache, sandbox_get_cache - cached folders (paths of the container's) from and to an archive, which is an
 * open file of the leader's: bytes from where its offset is, made by the box and for it. Between runs; what is bounded
 * and refused is boxcache.h's.
 *  in   with  put: a folder in which what is there stays; get: the mark that put told, "" for none
 *       secrets  "NAME=VALUE" and a zero byte each: what no file may hold
 *  err  the box goes on; after a put that failed half of it may be there */
int sandbox_put_cache(struct sandbox *s, int archive, const struct vec *folders, const char *with,
		      const struct box_cache_limits *l, struct box_cache_report *r, struct err *e) MUST_USE;
int sandbox_get_cache(struct sandbox *s, int archive, int secrets, const struct vec *folders, const char *with,
		      const struct box_cache_limits *l, struct box_cache_report *r, struct err *e) MUST_USE;

/* sandbox_connect - a TCP connection to 127.0.0.1:port inside the box; err ERR_BUSY nothing listens (yet) */
int sandbox_connect(struct sandbox *s, int port, int *fd_r, struct err *e) MUST_USE;

/* sandbox_socket - a TCP socket of the box's network, not connected and non-blocking: to connect to what listens in
 * there, or to listen for what is in there. */
int sandbox_socket(struct sandbox *s, int *fd_r, struct err *e) MUST_USE;

/* sandbox_tap - an Ethernet device for a machine that is run outside of the box but has its network only: the box has
 * SANDBOX_TAP_HERE, the machine is to take SANDBOX_TAP_THERE. Once, and between runs.
 *  in   bad_line  sandbox_line() is to follow */
#define SANDBOX_TAP_HERE "10.0.2.2"
#define SANDBOX_TAP_THERE "10.0.2.15"
int sandbox_tap(struct sandbox *s, int bad_line, int *fd_r, struct err *e) MUST_USE;

struct sandbox_line { /* each way; 0: as it is */
	int64_t delay_ms;
	int loss_ppm;
	int64_t rate_bit; /* a second */
	int tap;          /* the line to the tap; else the box's loopback */
};
/* sandbox_line - from now on the line is this bad. Between runs.
 *  err  ERR_MISSING the kernel has no sch_netem (sch_tbf for a rate alone), or iproute2 is not installed */
int sandbox_line(struct sandbox *s, const struct sandbox_line *l, struct err *e) MUST_USE;
/* sandbox_line_show - what went over it, as `tc -s qdisc` tells it; caller frees */
int sandbox_line_show(struct sandbox *s, int tap, char **text_r, struct err *e) MUST_USE;

/* sandbox_end_all - kill what runs, wait until it is gone, remove cgroups. Only sandbox_close may follow. */
void sandbox_end_all(struct sandbox *s);

/* sandbox_close - kill what runs, wait until it is gone, remove cgroups and files. Takes NULL, leaves NULL. */
void sandbox_close(struct sandbox **s);

/* sandbox_take - close the box and keep a folder of what was put into it: path (the container's) becomes `to`, which is
 * on the file system of opts.dir. Nothing has been run in the box. */
int sandbox_take(struct sandbox **s, const char *path, const char *to, struct err *e) MUST_USE;

/* sandbox_discard - what a box left in its opts.dir that was not closed, as its leader was killed */
void sandbox_discard(const char *dir);

/* sandbox_sweep - at start-up: cgroups and files of boxes whose leader is gone. Looks at <root_dir>/<name>/<box> for
 * each name and empties what is there (the opts.dir of a box that sandbox_close never saw).
 *  in   live  says of a name that its leader lives: that one is left alone */
void sandbox_sweep(const char *root_dir, const char *box, int (*live)(const char *name, void *arg), void *arg);

/* The `runner` that is to be the box, where the caller is another program (a test). Borrowed; NULL: this binary. */
void sandbox_set_runner(const char *path);

/* The internal command `runner box`: the first process inside. Never returns. argv as given to main. */
int sandbox_box_main(int argc, char **argv);

#endif
