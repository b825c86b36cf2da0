#ifndef RUNNER_PUBLISH_PUBLISH_H
#define RUNNER_PUBLISH_PUBLISH_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/json.h"
#include "lib/secret.h"

/* Artifacts of a passed job → one commit of a deployment repository:
 *   <path>/<commit>/<file>.bz2   the image (the first file), compressed
 *   <path>/<commit>/<file>       the other files, as they are
 *   <path>/<commit>/manifest.json, provenance.json, SHA256SUMS
 *   <path>/latest                <commit> and a newline: 41 bytes
 *   <path>/sequence              how many publications there were
 * manifest, sums and pointer with minisign's signatures beside them, where a key is given; and, where `keep` says so,
 * the oldest <path>/<commit>/ folders taken away.
 * Runs in a process of its own (`runner publish`), the only one that ever holds the deploy key and the signing key. */

struct publish_file {
	char *name; /* base name in the deployment repository */
	char *file; /* where its bytes are now */
	unsigned mode;
};

enum {
	PUBLISH_PATIENCE_S = 6 * 3600,
	PUBLISH_STALL_S = 600,
};

struct publish_request {
	char *remote; /* path, ssh://user@host:port/path, user@host:path, https://host/path */
	char *branch; /* of the deployment repository */
	char *path;   /* "unix"; relative, no "..", not empty */
	char *commit; /* source commit, 40 hex digits */
	char *source_repo, *source_branch;
	char *backend, *arch; /* backend may be "" */
	int emulated;
	char *image_digest;         /* of the build image */
	char *job;                  /* "demo/site 3.1": repository, build and job number */
	struct publish_file *files; /* at least one; the first is the image */
	size_t nfiles;
	int keep;            /* most images under `path`, this one and what `latest` names always among them; 0: all */
	char *checks;        /* boot proof that was passed: "unix", "qemu", or "" */
	char *cache;         /* folder for the bare clone of the deployment repository */
	char *known_hosts;   /* OpenSSH's, of pinned host keys: first use is pinned and said, a changed one refused */
	char *source_mirror; /* bare mirror of the source: tells whether a commit is newer; NULL: not asked */
	char *image_name;    /* of the build image; NULL: not known */
	int64_t event;       /* the runner's number of the push, which tells what came later; 0: not known */
	int no_latest;       /* `latest` stays as it is */
	char *sign_key;      /* file of the signing key, made where there is none if `make_sign_key`; NULL: unsigned */
	int make_sign_key;
	char *message;  /* of the commit, with {commit}, {backend}, …; NULL: "adding {commit} built for {backend}" */
	char *author;   /* "Name <mail>"; NULL: "Slipway <slipway@localhost>" */
	int mode;       /* of the image: 0755 or 0644; 0: as the file has it */
	int patience_s; /* outages, races and other publishers of this box are waited for; 0: PUBLISH_PATIENCE_S */
	int stall_s;    /* what moves nothing for so long is given up and tried again; 0: PUBLISH_STALL_S */
	char *packing;  /* of the image: "bzip2", "xz", "zstd", "none"; NULL: "bzip2" */
};
void publish_request_release(struct publish_request *r);
/* publish_request_check - pure: remote, branch, path, commit, names. err ERR_INPUT "bad path 'a/../b': it holds '..'"
 */
int publish_request_check(const struct publish_request *r, struct err *e) MUST_USE;
/* The request without any secret, as the leader hands it to the publisher. NULL: a string in it is not UTF-8. */
json_t *publish_request_to_json(const struct publish_request *r);
/* err ERR_INPUT, also for whatever publish_request_check refuses; r untouched but empty */
int publish_request_from_json(const json_t *j, struct publish_request *r, struct err *e) MUST_USE;

struct publish_result {
	char commit[41];  /* of the deployment repository: the new one, or the tip where nothing changed */
	int unchanged;    /* the same had been published before: no second commit */
	int latest_moved; /* 1: `latest` names our commit now; 0: it names something newer, `note` says so */
	int pruned;       /* images that were one too many */
	int64_t sequence; /* of this publication; 0: unchanged */
	char note[300];
};

/* Called with lines for the job's log. */
typedef void publish_say_fn(void *arg, const char *line);

/* publish_run - compress, commit on the remote's tip, push; a lost race is done again on the new tip.
 *  in   key  private deploy key in OpenSSH or PEM form, for https a token; NULL for a path
 *  err  ERR_DENIED host key changed, key refused; ERR_REMOTE with the remote's words (a hook's refusal too);
 *       ERR_INPUT bad request; ERR_SYS */
int publish_run(const struct publish_request *r, const struct secret *key, publish_say_fn *say, void *arg,
		struct publish_result *result_r, struct err *e) MUST_USE;

#endif
