#ifndef RUNNER_PUBLISH_MANIFEST_H
#define RUNNER_PUBLISH_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "runner/publish/publish.h"

/* <path>/<commit>/manifest.json: what was published, from what, by which job. Canonical: the same publication gives
 * the same bytes, so it holds no time. Field by field in docs/manifest.md. */

struct manifest_file {
	const char *name; /* borrowed */
	uint64_t size;
	unsigned mode; /* 0755 or 0644: what git keeps */
	char sha256[65];
};

struct manifest_image {
	struct manifest_file plain, packed; /* before and after compression */
};

/* manifest_measure - size, mode and SHA-256 of the file at `path`; name is not touched. */
int manifest_measure(const char *path, unsigned mode, struct manifest_file *m_r, struct err *e) MUST_USE;

/* manifest_text - keys sorted, one member a line, one newline at the end; caller frees.
 *  in  files  those beside the image, in any order: they are listed by name */
char *manifest_text(const struct publish_request *r, const struct manifest_image *image,
		    const struct manifest_file *files, size_t nfiles);

#endif
