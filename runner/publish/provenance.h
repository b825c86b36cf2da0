#ifndef RUNNER_PUBLISH_PROVENANCE_H
#define RUNNER_PUBLISH_PROVENANCE_H

#include "lib/json.h"
#include "runner/publish/publish.h"

/* provenance_text - an in-toto Statement v1 with a SLSA provenance v1 predicate: which bytes (as published and as
 * run), from what, by which job. Canonical as the manifest is, without times; caller frees.
 *  in  manifest  manifest_json: the subjects
 *  src  https://in-toto.io/Statement/v1, https://slsa.dev/provenance/v1 */
char *provenance_text(const struct publish_request *r, const json_t *manifest);

#endif
