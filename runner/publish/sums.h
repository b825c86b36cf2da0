#ifndef RUNNER_PUBLISH_SUMS_H
#define RUNNER_PUBLISH_SUMS_H

#include <stddef.h>

#include "lib/json.h"

/* Names and SHA-256 sums of a folder's files, and SHA256SUMS as `sha256sum -c` reads it. */

struct sum {
	char *name;
	char sha256[65];
};
struct sums {
	struct sum *items;
	size_t len;
};
void sums_release(struct sums *s);

void sums_hash(const void *data, size_t len, char hex_r[65]);
void sums_add(struct sums *s, const char *name, const char *sha256); /* a name twice counts once, the first one */
void sums_add_text(struct sums *s, const char *name, const void *data, size_t len);
/* The packed image and the other files, as a manifest lists them; names and sums that can be none are left out. */
void sums_of_manifest(struct sums *s, const json_t *manifest);
/* The provenance that belongs to the manifest in `file`, where it names one. */
void sums_of_provenance(struct sums *s, const json_t *manifest, const char *file);
char *sums_provenance_name(const char *manifest_file); /* manifest-x.json → provenance-x.json; caller frees */

const struct sum *sums_find(const struct sums *s, const char *name); /* NULL: not there */
/* A name that both have, with different sums; borrowed. */
const char *sums_conflict(const struct sums *a, const struct sums *b);
char *sums_text(struct sums *s); /* by name; caller frees */

#endif
