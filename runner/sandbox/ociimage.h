#ifndef RUNNER_SANDBOX_OCIIMAGE_H
#define RUNNER_SANDBOX_OCIIMAGE_H

#include <stdint.h>

#include "lib/err.h"
#include "lib/vec.h"

/* The documents that an image is made of: index, manifest, configuration. Pure; nothing in them is trusted.
 * src: image-spec 1.0 (image-index.md, manifest.md, config.md); distribution's manifest v2 schema 2 */

enum { OCI_MAX_DOCUMENT = 4 << 20, OCI_MAX_LAYERS = 128 };

struct oci_layer {
	char *digest;  /* "sha256:…" of the blob */
	char *diff_id; /* "sha256:…" of its plain bytes */
	int64_t size;  /* of the blob */
};

struct oci_image {
	char *config_digest;
	struct oci_layer layers[OCI_MAX_LAYERS]; /* the lowest first */
	size_t nlayers;
	char *arch;     /* as the configuration says it, in Debian's word */
	struct vec env; /* "NAME=value" of the configuration */
};
void oci_image_release(struct oci_image *i);
#define _cleanup_oci_image_ __attribute__((cleanup(oci_image_release)))

/* oci_find_named - the document of that name in the index.json of an OCI layout.
 *  in   tag  NULL: there is but one
 *  out  digest_r  caller frees
 *  err  ERR_INPUT; ERR_MISSING none of that name: what there is */
int oci_find_named(const char *text, size_t len, const char *tag, char **digest_r, struct err *e) MUST_USE;

/* oci_pick - what an image's first document is.
 *  in   arch   Debian's name
 *  out  digest_r  of the document to go on with, caller frees; NULL: this is the manifest itself
 *  err  ERR_INPUT not a document; ERR_MISSING no image for the arch: what there is */
int oci_pick(const char *text, size_t len, const char *arch, char **digest_r, struct err *e) MUST_USE;

/* oci_read_manifest - its configuration and layers. out i_r: filled but for diff ids, arch and env */
int oci_read_manifest(const char *text, size_t len, struct oci_image *i_r, struct err *e) MUST_USE;

/* oci_read_config - in i: of the manifest; out: diff ids, arch, env. err ERR_INPUT also where they do not fit */
int oci_read_config(const char *text, size_t len, struct oci_image *i, struct err *e) MUST_USE;

/* oci_arch - Debian's word for an image's architecture and variant; NULL: none of ours. Static. */
const char *oci_arch(const char *architecture, const char *variant);

#endif
