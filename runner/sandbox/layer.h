#ifndef RUNNER_SANDBOX_LAYER_H
#define RUNNER_SANDBOX_LAYER_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/vec.h"
#include "runner/sandbox/image.h"

/* How one layer is made: the folder it grows in, the people who watch, and the tools that the kinds of image
 * (image_*.c) share. The folder and all in it belongs to the box's ids. */

struct layer {
	char *temp; /* where it grows; `rootfs` in it becomes the layer */
	char *log;  /* where a failed maker's output is kept */
	const char *label;
	const char *arch;            /* of the programs that run in it; NULL: this host's */
	image_progress_fn *progress; /* may be NULL */
	void *arg;
	int percent; /* told last */
	int64_t told_ms;
};

/* layer_tell - hand a line to the watcher, at most a few times a second unless the line opens a new `stage`. */
void layer_tell(struct layer *l, int stage, int percent, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* layer_start - start argv as the box's root, in user, mount and pid namespaces of its own that end with us, its
 * working folder being l->temp. Where `reach` is set, that folder is also mounted at LAYER_REACH: the way to it
 * may lead through folders that the box's root must not enter.
 *  in   out  descriptor for its stdout and stderr */
#define LAYER_REACH "/mnt"
int layer_start(struct layer *l, const char *const *argv, const char *const *env, int reach, int in, int out,
		pid_t *pid_r, struct err *e) MUST_USE;

/* layer_unpack - unpack the tar archive (plain, gzip, bzip2, xz, zstd) that fd is open on into <temp>/rootfs.
 *  in   packed, plain  SHA-256 in hex of the file and of its plain bytes, checked; NULL: any
 *       max_bytes      more is refused; 0: any number
 *       lowers         keys of the layers below it, top first; NULL: it is no layer of an image
 *  out  bytes_r        of what was unpacked; may be NULL */
struct layer_source {
	int fd;
	const char *name; /* for people */
	const char *packed, *plain;
	uint64_t max_bytes;
	const struct vec *lowers;
};
int layer_unpack(struct layer *l, const struct layer_source *s, uint64_t *bytes_r, struct err *e) MUST_USE;

/* layer_name_lowers - empty folders `merged` and `work` for an overlay, and links l/0, l/1, … to the layers of those
 * keys: mount(2) takes one page of names. */
int layer_name_lowers(const struct layer *l, const struct vec *lowers, struct err *e) MUST_USE;

/* layer_max_bytes - what an image may unpack to: SLIPWAY_IMAGE_MB, else 20 GB. */
uint64_t layer_max_bytes(void);

/* layer_discard - remove a folder that may hold files of the box's ids. One that is not there is no error. */
int layer_discard(const char *path, struct err *e) MUST_USE;

/* The kinds. Each fills <temp>/rootfs. */
struct layer_want {
	const char *suite; /* debian; NULL: this host's own */
	const char *arch;
	const struct vec *packages;
	int fd; /* rootfs: the open file */
	const char *file;
	const char *hash; /* rootfs: of the file */
};
int layer_make_debian(struct layer *l, const struct layer_want *w, struct err *e) MUST_USE;
int layer_make_busybox(struct layer *l, const struct layer_want *w, struct err *e) MUST_USE;
int layer_make_rootfs(struct layer *l, const struct layer_want *w, struct err *e) MUST_USE;

/* debian_bootstrap - run mmdebstrap.
 *  in   target   name of a folder to make in l->temp
 *       variant  mmdebstrap(1)'s: "minbase", "extract", …
 *  err  ERR_INPUT a package that the archive does not have; ERR_REMOTE its complaint */
int debian_bootstrap(struct layer *l, const struct layer_want *w, const char *variant, const char *target,
		     struct err *e) MUST_USE;

/* debian_run - run a package manager with this host's network: its output goes to the log, to the watcher and into
 * the error. <temp>/apt.conf tells how this host reaches the archive. err as debian_bootstrap() */
int debian_run(struct layer *l, const char *const *argv, struct err *e) MUST_USE;

/* debian_check_packages - err ERR_INPUT one that this host's lists do not have. Where they are of another suite nothing
 * is said. */
int debian_check_packages(const char *suite, const struct vec *packages, struct err *e) MUST_USE;

/* --- pure parts, for the tests --- */

/* debian_sources - the lines of a sources.list that name this host's Debian archive, for `suite`.
 *  in   targets  what apt-get indextargets says, one "ORIGIN CODENAME COMPONENT URI" a line
 *  err  ERR_MISSING none of them is Debian's `release` */
int debian_sources(const char *targets, const char *release, const char *suite, struct vec *lines_r,
		   struct err *e) MUST_USE;

/* debian_apt_settings - those lines of `apt-config dump` that say how the archive is reached and trusted. */
void debian_apt_settings(const char *dump, struct buf *out);

/* mmdebstrap's own words (--verbose), one line after the other → how far it is. All zero at the start. */
struct debian_progress {
	int stage; /* index + 1 into the table of stages */
	int total; /* packages that this stage will see */
	int seen;  /* of the steps that are counted in this stage */
	int percent;
	char text[120];  /* for people: "setting up gcc-12" */
	char error[300]; /* apt's or mmdebstrap's first complaint */
};
/* 1: percent or text changed; 2: a new stage began */
int debian_progress_line(struct debian_progress *p, const char *line);

#endif
