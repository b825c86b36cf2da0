#ifndef RUNNER_SANDBOX_BOXCACHE_H
#define RUNNER_SANDBOX_BOXCACHE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "senv/mask.h"

/* Cached folders of a box ↔ one archive that the leader keeps: a tar stream (pax) under zstd, in which "0/a" is a file
 * of the first folder. Done in the box, between runs: nothing of a stranger's writes meanwhile, and
 * what strangers left (links, devices, names, sizes) is looked at from outside of it. The leader never reads the
 * archive but as bytes. src: tree.h for what contains the paths */

enum {
	BOX_CACHE_HASH = 65, /* 64 hex digits and a NUL */
	BOX_CACHE_MAX_FILES = 1000000,
	BOX_CACHE_MAX_DEPTH = 100,
};

struct box_cache_report {
	int64_t folders; /* of those asked for that are there */
	int64_t files, bytes;
	int64_t left_out;          /* devices, sockets, pipes; when unpacking: files that the source has itself */
	int unchanged;             /* pack: mark still fits, nothing was written */
	char mark[BOX_CACHE_HASH]; /* of names, kinds, owners, sizes and times: cheap, and told by unpack */
	char hash[BOX_CACHE_HASH]; /* of names, kinds, owners and contents; told by pack */
};

struct box_cache_limits {
	int64_t bytes;  /* of all files together, holes counted */
	int64_t packed; /* of the archive */
	int64_t files;
	struct mask *secrets; /* pack: what no file may hold (mask_add_for_files); NULL: nothing */
};

/* box_cache_pack - the folders below root (paths of the container's) to the archive, from where its offset is.
 *  in   mark  of what was unpacked before, "" for none: if it still fits, nothing is read or written
 *  err  ERR_INPUT "…": more than the limits, too deep; ERR_DENIED a file holds a secret; ERR_SYS the disk is full, … */
int box_cache_pack(int root, const char *const *folders, size_t n, const char *mark, const struct box_cache_limits *l,
		   int archive, struct box_cache_report *r, struct err *e) MUST_USE;

/* box_cache_unpack - the other way. What is there already below `source` stays; elsewhere it is replaced.
 *  err  ERR_INPUT not such an archive, or beyond the limits: what was unpacked by then is left, and is half of it */
int box_cache_unpack(int root, const char *const *folders, size_t n, const char *source,
		     const struct box_cache_limits *l, int archive, struct box_cache_report *r, struct err *e) MUST_USE;

/* The internal command `runner box-cache put|get BYTES PACKED FILES WITH FOLDER...`: the box's first process starts it
 * with these descriptors, and it writes one box_cache_told. Secrets, for get: "NAME=VALUE" and a zero byte each. */
enum { BOX_CACHE_ROOT_FD = 3, BOX_CACHE_ARCHIVE_FD, BOX_CACHE_TOLD_FD, BOX_CACHE_PROGRAM_FD, BOX_CACHE_SECRETS_FD };
struct box_cache_told {
	struct box_cache_report r;
	int failed; /* then e says why */
	struct err e;
};
int box_cache_main(int argc, char **argv);

#endif
