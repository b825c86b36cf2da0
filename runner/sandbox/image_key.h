#ifndef RUNNER_SANDBOX_IMAGE_KEY_H
#define RUNNER_SANDBOX_IMAGE_KEY_H

#include "lib/err.h"
#include "lib/vec.h"
#include "runner/plan/imageref.h"

/* The pure half of image.h: what is asked for, and the keys of its layers. */

struct image_want {
	struct imageref ref;
	const char *arch;
	const struct vec *packages;
};
void image_want_release(struct image_want *want);

/* image_want_parse - what a name, an arch and a package list ask for.
 *  in   arch  Debian's name
 *       packages  sorted and unique, as image_ensure() wants them
 *  out  want_r  borrows arch and packages; image_want_release()
 *  err  ERR_INPUT what is wrong with which of them */
int image_want_parse(const char *name, const char *arch, const struct vec *packages, struct image_want *want_r,
		     struct err *e) MUST_USE;

enum { IMAGE_KEY_BYTES = 65 }; /* 64 hex digits and a NUL */

/* image_key - SHA-256, in hex, of all that decides what is in the one layer of a busybox, debian or rootfs image.
 *  in   file_hash  rootfs: the file's own SHA-256 in hex; else NULL
 *       owner      the ids it is unpacked for; NULL: the content alone, as recorded with jobs */
void image_key(const struct image_want *want, const char *file_hash, const char *owner, char key_r[IMAGE_KEY_BYTES]);

/* image_chain_key - the same of one layer among others: what it is depends on those below it (image-spec's ChainID).
 *  in   below    content key of the layer below; NULL: there is none
 *       diff_id  of the layer's plain bytes */
void image_chain_key(const char *below, const char *diff_id, const char *owner, char key_r[IMAGE_KEY_BYTES]);

/* image_packages_key - the same of the layer with packages on the image of that digest. */
void image_packages_key(const char *base_digest, const char *arch, const struct vec *packages, const char *owner,
			char key_r[IMAGE_KEY_BYTES]);

#endif
