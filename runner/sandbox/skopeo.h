#ifndef RUNNER_SANDBOX_SKOPEO_H
#define RUNNER_SANDBOX_SKOPEO_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "runner/sandbox/layer.h"

/* Registries, by skopeo(1): its user's credentials (containers-auth.json(5)), registries
 * (containers-registries.conf(5)) and policy (containers-policy.json(5)) hold. What breaks off is tried again, what the
 * registry refuses is not. */

struct skopeo {
	const char *image; /* "docker://REGISTRY/NAME", without tag and digest */
	int anonymous;     /* without credentials */
	struct layer *tell;
};

/* skopeo_inspect - the raw bytes of a manifest or index, or of the configuration of a manifest.
 *  in   which  ":TAG" or "@DIGEST"
 *  err  ERR_DENIED, ERR_MISSING the registry's answer; ERR_REMOTE it cannot be reached */
int skopeo_inspect(const struct skopeo *s, const char *which, int config, struct buf *out, struct err *e) MUST_USE;

/* skopeo_pull - the blobs of the manifest into dir/blobs/sha256/; those that are there are not pulled again.
 *  in   digest       of the manifest
 *       total_bytes  that are to come, for the progress */
int skopeo_pull(const struct skopeo *s, const char *digest, const char *dir, int64_t total_bytes,
		struct err *e) MUST_USE;

/* skopeo_unpack_archive - what `docker save` wrote, as an OCI layout in dir, named "x". */
int skopeo_unpack_archive(const char *file, const char *dir, struct layer *tell, struct err *e) MUST_USE;

/* skopeo_refuses - its complaint is the registry's answer, not the network's: asking again would change nothing. Pure.
 *  out  kind_r  ERR_DENIED or ERR_MISSING */
int skopeo_refuses(const char *complaint, enum err_kind *kind_r);

#endif
