#ifndef RUNNER_PUBLISH_VERIFY_PARTS_H
#define RUNNER_PUBLISH_VERIFY_PARTS_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/vec.h"
#include "runner/publish/verify.h"

/* The parts of verifying, shared by verify*.c only. Names are relative to the folder that is verified. */

struct turns { /* of one path: which publication had which sequence number */
	struct turn_seen {
		int64_t sequence;
		int latest; /* it moved `latest` */
		char commit[41];
		char *file; /* its manifest */
	} * items;
	size_t len;
};

struct verify {
	const struct verify_opts *o;
	struct verify_result *res;
};

void verify_problem(struct verify *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The names in a folder, sorted. -1: it cannot be read, which is told. */
int verify_list(struct verify *v, const char *name, struct vec *names_r);
enum verify_kind { VERIFY_NONE, VERIFY_FILE, VERIFY_FOLDER, VERIFY_ODD };
enum verify_kind verify_kind(const struct verify *v, const char *name, unsigned *mode_r, uint64_t *size_r);
/* The bytes of a regular file. -1: told, "is missing" for one */
int verify_read(struct verify *v, const char *name, struct buf *text);

/* verify_signature - NAME.minisig over the bytes of NAME, for this place; what is wrong is told.
 *  in  repository  NULL: any;  sequence  0: any
 *  out sequence_r  the signature's; 0 where it is not good. Without keys: 0, and nothing is looked at */
void verify_signature(struct verify *v, const char *name, const struct buf *text, const char *repository,
		      const char *path, const char *commit, int64_t sequence, int64_t *sequence_r);

/* One image's folder; its manifests are added to turns. */
void verify_image(struct verify *v, const char *path, const char *commit, struct turns *turns);

#endif
