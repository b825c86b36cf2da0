#ifndef SITE_H
#define SITE_H

#include <stddef.h>

/* The packed site: what pack.c wrote and the linker put into the image. Nothing of it can change at run time. */

enum { SITE_PATH_MAX = 255, SITE_HASH_BYTES = 32 };

struct site_file {
	const char *path; /* "/posts/index.html": what a browser asks for, percent-decoded */
	const char *type; /* "text/html; charset=utf-8" */
	const char *etag; /* with its quotes: of the content's SHA-256, so it is a strong one */
	const unsigned char *data;
	size_t size;
	const unsigned char *sha256;
};

extern const struct site_file site_files[]; /* sorted by path, bytewise */
extern const size_t site_nfiles;
extern const char site_commit[]; /* the source commit, or "unknown" */

/* site_find - the file of a path; NULL: none. `path` need not end in NUL. */
const struct site_file *site_find(const char *path, size_t len);

/* site_damaged - the first file whose bytes are not those that were packed; NULL: all are whole. */
const struct site_file *site_damaged(void);

#endif
