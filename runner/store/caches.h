#ifndef RUNNER_STORE_CACHES_H
#define RUNNER_STORE_CACHES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* The caches of one repository on this box: <dir>/<tier>/<key>, one file each, which is a head of its own and behind it
 * the archive, bytes that only a box makes sense of. A file is replaced whole (rename) or not at all; who reads one has
 * it open, so it may be replaced or removed meanwhile. The time a file was last modified is when it was last used. */

enum { CACHES_KEY_BYTES = 65, CACHES_HEAD_BYTES = 4096 };
#define CACHES_TRUSTED "trusted" /* the tier that pushes write; the others are called pr-<number> */

struct cache_head {
	char hash[65];    /* of the files in it */
	char archive[65]; /* of the archive's bytes: filled in by caches_commit */
	int64_t files, bytes, packed;
	int64_t saved_ms;
	char job[200];   /* who saved it: "12.1" */
	char label[400]; /* what it is of, for people: "unix amd64: ~/.opam" */
};

/* caches_open - the cache, whole, with its offset where the archive begins.
 *  ret  0; 1: there is none; -1
 *  err  ERR_INPUT it is damaged, and was removed */
int caches_open(const char *dir, const char *tier, const char *key, struct cache_head *head_r, int *fd_r,
		struct err *e) MUST_USE;

/* A new one: begin, write the archive from where the offset is, commit. On any other way caches_drop. What is left by a
 * kill -9 in between is removed by caches_tidy. */
struct cache_new {
	int fd;
	char *path; /* NULL: none is under way */
};
#define CACHE_NEW_INIT                                                                                                 \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}
int caches_begin(const char *dir, const char *tier, struct cache_new *n, struct err *e) MUST_USE;
int caches_commit(const char *dir, const char *tier, const char *key, struct cache_new *n, struct cache_head *head,
		  struct err *e) MUST_USE;
void caches_drop(struct cache_new *n);

/* caches_touch - it was of use just now. */
void caches_touch(const char *dir, const char *tier, const char *key);

struct cache_item {
	char *tier, *key, *path;
	int64_t disk_bytes, used_ms;
	struct cache_head head; /* empty where it cannot be read */
};
/* caches_list - all of them, by tier and key; none where there is no folder. Caller frees by cache_items_free. */
int caches_list(const char *dir, struct cache_item **items_r, size_t *n_r, struct err *e) MUST_USE;
void cache_items_free(struct cache_item **items, size_t n);
int cache_item_remove(const struct cache_item *item, struct err *e) MUST_USE;

/* caches_fit - remove the least recently used ones until the rest has at most `most_bytes` on the disk; the trusted
 * ones and those of all pull requests together each have that much, so that neither can drive out the other. out
 * removed_r  how many; may be NULL */
int caches_fit(const char *dir, int64_t most_bytes, int *removed_r, struct err *e) MUST_USE;

/* caches_tidy - what savers left that were killed; one that lives keeps its own. */
void caches_tidy(const char *dir);

#endif
