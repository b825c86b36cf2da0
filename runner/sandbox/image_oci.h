#ifndef RUNNER_SANDBOX_IMAGE_OCI_H
#define RUNNER_SANDBOX_IMAGE_OCI_H

#include "lib/err.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/image_key.h"
#include "runner/sandbox/layer.h"

/* Images that are manifests and layers: docker://, oci:, docker-archive:. */

/* image_oci_resolve - as image_resolve(), for these kinds. */
int image_oci_resolve(const struct image_ask *ask, const struct image_want *want, struct layer *tell, char **digest_r,
		      struct err *e) MUST_USE;

/* image_oci_get - its layers and environment.
 *  in   pin   what image_oci_resolve() said
 *       make  0: nothing is asked for and made
 *  out  image_r  digest, layers and env are added
 *  1: it is not there (make is 0) */
int image_oci_get(const struct image_ask *ask, const struct image_want *want, const char *pin, int make,
		  struct layer *tell, struct image *image_r, struct err *e) MUST_USE;

/* image_hash_fd - SHA-256 of an open file, in hex; leaves it at its start. */
int image_hash_fd(int fd, const char *name, char hex_r[IMAGE_KEY_BYTES], struct err *e) MUST_USE;

#endif
