#ifndef RUNNER_PUBLISH_MANIFEST_H
#define RUNNER_PUBLISH_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/json.h"
#include "runner/publish/publish.h"

/* <path>/<commit>/manifest.json: what was published, from what, by which job. Canonical: the same publication in the
 * same turn gives the same bytes, so it holds no time. Field by field in docs/manifest.md. */

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

/* What only the tip of the deployment repository tells, and differs from one publication to the next. */
struct manifest_turn {
	int64_t sequence;     /* one more than any before under this path */
	const char *previous; /* the commit that `latest` named before; "" */
	int latest;           /* `latest` names this one from now on */
	const char *provenance_sha256;
};

/* manifest_json - all but the turn. New reference.
 *  in  files  those beside the image, in any order: they are listed by name */
json_t *manifest_json(const struct publish_request *r, const struct manifest_image *image,
		      const struct manifest_file *files, size_t nfiles);
/* manifest_text - canonical: keys sorted, one member a line, one newline at the end; caller frees. */
char *manifest_text(const json_t *j, const struct manifest_turn *turn);
/* manifest_same - does a manifest that is there already say the same as `j`? Which job it was, and its turn, do not
 * count: the same image published twice is one publication. */
int manifest_same(const json_t *there, const json_t *j);

/* manifest_parse - any bytes. out: new reference to an object of our format. err ERR_INPUT "name: why" */
int manifest_parse(const char *name, const void *data, size_t len, json_t **j_r, struct err *e) MUST_USE;

/* Several jobs of one commit may publish to one path: the cell (backend and arch) tells them apart.
 * manifest_one_cell - an empty backend or arch fits any */
int manifest_one_cell(const json_t *a, const json_t *b);
/* "unix-arm64": fit for a file's name; caller frees */
char *manifest_cell(const json_t *j);

#endif
