#ifndef RUNNER_SANDBOX_IMAGE_H
#define RUNNER_SANDBOX_IMAGE_H

#include "lib/err.h"
#include "lib/vec.h"

/* Images: a reference (runner/plan/imageref.h) → folders of layers on this box, made once, shared read-only by all
 * jobs.
 *   busybox              Debian's static busybox and nothing else
 *   debian:SUITE         made by mmdebstrap from this host's archive
 *   rootfs:FILE|DIR      a tar file or a folder on this box
 *   docker://…           pulled by skopeo, with its user's credentials and policy
 *   oci:DIR[:TAG]        an OCI layout on this box; docker-archive:FILE: what `docker save` writes
 * `packages` are one more layer on top of any that has apt, apk or dnf.
 * Layers live in <cache>/layers/<key>/ and are owned as the box's user namespace sees them (box 0 = owner);
 * <cache>/documents has the manifests and configurations of images, by digest, <cache>/pulls what is being pulled. */

struct image {
	char *name;        /* as asked for */
	char *digest;      /* "sha256:…", recorded in the job and the manifest: the registry's or layout's own digest;
			      where there is none, of all that decides what is in it */
	struct vec layers; /* folders, top first, as sandbox_opts wants them */
	struct vec env;    /* "NAME=value" that the image's maker wants set (PATH, …) */
	int *holds;        /* locks: no layer is removed before image_release() */
	size_t nholds;
	int emulated; /* of another arch than this box: qemu-user runs it */
};
void image_release(struct image *i);
void image_take_hold(struct image *i, int *hold); /* for image_*.c; leaves -1 */

/* Called with a line for people ("unpacking …") and, where known, percent 0..100 (else -1). */
typedef void image_progress_fn(void *arg, const char *line, int percent);

struct image_ask {
	const char *cache;           /* folder of the caller's, made if missing */
	const char *name;            /* a reference; names of the catalogue are looked up before */
	const char *arch;            /* Debian's name; NULL: this box's */
	const struct vec *packages;  /* sorted, unique; may be empty */
	const char *pin;             /* what image_resolve() said; NULL: what the name stands for now */
	int anonymous;               /* ask registries without the user's credentials */
	image_progress_fn *progress; /* may be NULL */
	void *arg;
};

/* image_resolve - the digest that the name stands for now: "sha256:…" of an index, a manifest or a file.
 *  out  digest_r  caller frees; NULL: the name says all (busybox, debian:SUITE, or it has a digest itself)
 *  err  as image_ensure() */
int image_resolve(const struct image_ask *ask, char **digest_r, struct err *e) MUST_USE;

/* image_ensure - find or make it. Two processes that want the same layer: the second waits for the first. A maker
 * that is killed leaves nothing that is taken for a layer.
 *  err  ERR_INPUT bad name, reference or package, or contents that are refused; ERR_MISSING a program, or no image for
 *       the arch; ERR_DENIED the registry says no; ERR_REMOTE a program's last words */
int image_ensure(const struct image_ask *ask, struct image *image_r, struct err *e) MUST_USE;

/* image_find - image_ensure() that makes nothing and asks nobody: 1 where it is not made yet. */
int image_find(const struct image_ask *ask, struct image *image_r, struct err *e) MUST_USE;

/* This box's arch in Debian's words: "amd64", "arm64". Static. */
const char *image_host_arch(void);

#endif
