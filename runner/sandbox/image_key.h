#ifndef RUNNER_SANDBOX_IMAGE_KEY_H
#define RUNNER_SANDBOX_IMAGE_KEY_H

#include "lib/err.h"
#include "lib/vec.h"

/* The pure half of image.h: names and keys. */

enum image_kind {
	IMAGE_DEBIAN,
	IMAGE_BUSYBOX,
	IMAGE_ROOTFS,
};
const char *image_kind_name(enum image_kind kind); /* "debian", … */

struct image_want {
	enum image_kind kind;
	const char *of; /* suite or file, borrowed from the name; "" for busybox */
	const char *arch;
	const struct vec *packages;
};

/* image_want_parse - what a name, an arch and a package list ask for.
 *  in   arch  Debian's name
 *       packages  sorted and unique, as image_ensure() wants them
 *  out  want_r  borrows from all of them
 *  err  ERR_INPUT what is wrong with which of them */
int image_want_parse(const char *name, const char *arch, const struct vec *packages, struct image_want *want_r,
		     struct err *e) MUST_USE;

enum { IMAGE_KEY_BYTES = 65 }; /* 64 hex digits and a NUL */

/* image_key - SHA-256, in hex, of all that decides what is in the layer.
 *  in   file_hash  rootfs: the file's own SHA-256 in hex; else NULL
 *       owner      the ids it is unpacked for; NULL: the content alone, as recorded with jobs */
void image_key(const struct image_want *want, const char *file_hash, const char *owner, char key_r[IMAGE_KEY_BYTES]);

#endif
