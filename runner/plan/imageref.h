#ifndef RUNNER_PLAN_IMAGEREF_H
#define RUNNER_PLAN_IMAGEREF_H

#include "lib/err.h"

/* What `image:` may say. Pure.
 *   NAME                              of this box's catalogue (no colon, no slash); "busybox" is built in
 *   debian:SUITE
 *   docker://[REGISTRY/]NAME[:TAG][@DIGEST]
 *   oci:DIR[:TAG]  docker-archive:FILE  rootfs:DIR|FILE      absolute paths on this box
 * src: distribution/reference (grammar), containers-transports(5) */

enum imageref_kind {
	IMAGEREF_CATALOGUE,
	IMAGEREF_BUSYBOX,
	IMAGEREF_DEBIAN,
	IMAGEREF_DOCKER,
	IMAGEREF_OCI,
	IMAGEREF_DOCKER_ARCHIVE,
	IMAGEREF_ROOTFS,
};
const char *imageref_kind_name(enum imageref_kind kind); /* "catalogue", "busybox", "debian", "docker", … */

struct imageref {
	enum imageref_kind kind;
	char *of;     /* name, suite, "registry/name" or path */
	char *tag;    /* docker, oci; NULL: none was given */
	char *digest; /* docker: "sha256:…"; NULL */
};

/* imageref_parse - out ref_r: imageref_release();  err ERR_INPUT what is wrong with it, and what was meant, perhaps */
int imageref_parse(const char *text, struct imageref *ref_r, struct err *e) MUST_USE;
void imageref_release(struct imageref *ref);
#define _cleanup_imageref_ __attribute__((cleanup(imageref_release)))

/* imageref_registry_is_local - a docker reference whose registry is named by an address, or by a name without a dot
 * ("localhost:5000"): this box or its own network. */
int imageref_registry_is_local(const struct imageref *ref);

/* imageref_may_change - what it names may be other bytes tomorrow, and image_resolve() says which those are now. */
int imageref_may_change(const char *text);

int imageref_is_digest(const char *text);    /* "sha256:" and 64 hex digits */
int imageref_is_catalogue(const char *text); /* may be a name of the catalogue, and is not built in */

#endif
