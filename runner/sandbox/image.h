#ifndef RUNNER_SANDBOX_IMAGE_H
#define RUNNER_SANDBOX_IMAGE_H

#include "lib/err.h"
#include "lib/vec.h"

/* Images: a name from `.ci.yml` → folders of layers on this box, made once, shared read-only by all jobs.
 *   debian:SUITE   made by mmdebstrap, `packages` installed in the same go; keyed by suite, arch and the sorted list
 *   busybox        Debian's static busybox and nothing else; no packages
 *   rootfs:FILE    a tar file on this box (absolute path), keyed by its SHA-256
 * Layers live in <cache>/layers/<key>/ and are owned as the box's user namespace sees them (box 0 = owner). */

struct image {
	char *name;        /* as asked for */
	char *digest;      /* "sha256:…": of the key's content; recorded in the job and the manifest */
	struct vec layers; /* folders, top first, as sandbox_opts wants them */
	int emulated;      /* of another arch than this box: qemu-user runs it */
};
void image_release(struct image *i);

/* Called with a line for people ("unpacking …") and, where known, percent 0..100 (else -1). */
typedef void image_progress_fn(void *arg, const char *line, int percent);

/* image_ensure - find or make it. Two processes that want the same one: the second waits for the first. A maker
 * that is killed leaves nothing that is taken for a layer.
 *  in   cache     folder of the caller's, made if missing
 *       arch      Debian's name; NULL: this box's
 *       packages  sorted, unique; may be empty
 *  err  ERR_INPUT unknown image name or bad package name; ERR_MISSING a program; ERR_REMOTE its last words */
int image_ensure(const char *cache, const char *name, const char *arch, const struct vec *packages,
		 image_progress_fn *progress, void *arg, struct image *image_r, struct err *e) MUST_USE;

/* image_find - image_ensure() that makes nothing: 1 where it is not made yet. */
int image_find(const char *cache, const char *name, const char *arch, const struct vec *packages, struct image *image_r,
	       struct err *e) MUST_USE;

/* This box's arch in Debian's words: "amd64", "arm64". Static. */
const char *image_host_arch(void);

#endif
