/* The documents of an image: index, manifest, configuration. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/plan/imageref.h"
#include "runner/sandbox/ociimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One document, or two with a zero byte between them: a manifest and its configuration. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	const char *zero = size ? memchr(text, 0, size) : NULL;
	size_t first = zero ? (size_t)(zero - text) : size;
	_cleanup_oci_image_ struct oci_image image = {0};
	_cleanup_free_ char *a = NULL, *b = NULL;
	struct err e;

	(void)!oci_find_named(text, first, "latest", &a, &e);
	if (!oci_pick(text, first, "armhf", &b, &e) && b && !imageref_is_digest(b)) abort();
	if (oci_read_manifest(text, first, &image, &e)) return 0;
	for (size_t i = 0; i < image.nlayers; i++)
		if (!imageref_is_digest(image.layers[i].digest) || image.layers[i].size < 0) abort();
	if (zero && !oci_read_config(zero + 1, size - first - 1, &image, &e))
		for (size_t i = 0; i < image.nlayers; i++)
			if (!imageref_is_digest(image.layers[i].diff_id)) abort();
	return 0;
}
