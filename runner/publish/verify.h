#ifndef RUNNER_PUBLISH_VERIFY_H
#define RUNNER_PUBLISH_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "runner/publish/minisign.h"

/* Is a clone of a deployment repository what was published? Every path (a folder with `latest` or with images) below a
 * folder, or one: pointers, sequence numbers, signatures, sums of the packed and of the unpacked bytes, modes, files
 * that are missing and files that nobody named. Without a key all but the signatures: then whoever can push could have
 * made it. What is older than this clone knows can only be told by `since`: a whole clone that is put back fits
 * itself. */

typedef void verify_tell_fn(void *arg, const char *problem); /* "'unix/latest' names …" */

struct verify_opts { /* borrowed */
	const char *dir;
	const char *path; /* this one alone; NULL: all */
	const struct minisign_public *keys;
	size_t nkeys;  /* each signature must be by one of them; 0: signatures are not looked at */
	int64_t since; /* what `latest` names must have at least this sequence number */
	verify_tell_fn *tell;
	void *arg;
};

struct verify_result {
	size_t paths, images, problems;
};

/* verify_run - err ERR_MISSING, ERR_SYS the folder cannot be read, ERR_INPUT there is nothing to verify; a problem of
 * what is in it is told and counted, and is no error */
int verify_run(const struct verify_opts *o, struct verify_result *r_r, struct err *e) MUST_USE;

#endif
