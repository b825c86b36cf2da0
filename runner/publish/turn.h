#ifndef RUNNER_PUBLISH_TURN_H
#define RUNNER_PUBLISH_TURN_H

#include "lib/err.h"
#include "lib/json.h"
#include "lib/secret.h"
#include "lib/vec.h"
#include "runner/publish/git2.h"
#include "runner/publish/layout.h"
#include "runner/publish/publish.h"

/* What a publication adds to one tip of the deployment repository: everything that depends on what is there already.
 *   <path>/<commit>/   the files, manifest.json, provenance.json, SHA256SUMS; signatures of manifest and sums
 *   <path>/            sequence; where it moves, latest and its signature
 * A second cell of the commit has manifest-<cell>.json and provenance-<cell>.json; manifest.json is that of the cell
 * which `latest` follows. SHA256SUMS is of the whole folder. */

struct turn_order { /* borrowed */
	const struct publish_request *r;
	const json_t *manifest;          /* manifest_json */
	const struct layout_file *blobs; /* packed image and other files */
	size_t nblobs;
	const struct secret *sign_key; /* as signkey_read gives it; NULL: nothing is signed */
	publish_say_fn *say;
	void *arg;
};

struct turn {
	struct layout_file *files, *top;
	size_t nfiles, ntop;
	struct vec dropped;
	struct vec names; /* owns names that files and top use */
	char named[41];   /* what `latest` names before */
	int latest_moves; /* it names our commit afterwards */
	int unchanged;    /* all of it is there already: files and top are empty */
	int64_t sequence; /* 0 where nothing is added */
	char *note;       /* why `latest` stays; NULL: it does not */
};
#define TURN_INIT                                                                                                      \
	{                                                                                                              \
		.files = NULL                                                                                          \
	}

/* err ERR_INPUT a file of that name belongs to another cell; `sequence` is no number; ERR_SYS */
int turn_make(git_repository *git, git_tree *tip, const struct turn_order *o, struct turn *t, struct err *e) MUST_USE;
void turn_release(struct turn *t);

#endif
