#ifndef RUNNER_SANDBOX_IMAGE_PACKAGES_H
#define RUNNER_SANDBOX_IMAGE_PACKAGES_H

#include "lib/err.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/image_key.h"

/* `packages:`: one layer on top of an image, keyed by the image's digest and the sorted list, made by the image's own
 * package manager (apt, apk, dnf). */

/* image_packages_check - before the image is made: are there such packages? Only said where this host's own lists
 * tell (debian:SUITE of this host's release). err ERR_INPUT "the archive has no package 'x'" */
int image_packages_check(const struct image_want *want, struct err *e) MUST_USE;

/* image_packages_get - in  image  without packages;  out  with them: one layer more, another digest
 *  1: it is not there, and make is 0 */
int image_packages_get(const struct image_ask *ask, const struct image_want *want, const char *owner, int make,
		       struct image *image, struct err *e) MUST_USE;

#endif
