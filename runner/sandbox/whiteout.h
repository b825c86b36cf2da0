#ifndef RUNNER_SANDBOX_WHITEOUT_H
#define RUNNER_SANDBOX_WHITEOUT_H

#include "lib/err.h"
#include "lib/vec.h"

/* What an entry of a layer means for the layers below it: names that take away, folders that it passes through. The
 * working folder is the tree, with the layers below in it. src: image-spec 1.0, layer.md */
struct whiteout {
	int wanted;      /* names with .wh. have a meaning */
	int upper;       /* folder that has this layer's own part of the tree; -1: there are no layers below */
	char *from, *to; /* the folder asked for last, and where it was */
};

/* whiteout_resolve - replace *path by where it lies: links on the way that a layer below has laid are followed, links
 * that this layer has laid are not (no maker of images does that; err ERR_INPUT). The last part is left as it is. */
int whiteout_resolve(struct whiteout *w, char **path, struct err *e) MUST_USE;

/* whiteout_apply - take away what the entry `path` takes away.
 *  in   is_dir  the entry is a folder
 *  1: that is all it was for;  0: it is to be unpacked, and nothing is in its way */
int whiteout_apply(struct whiteout *w, const char *path, int is_dir, struct err *e) MUST_USE;

void whiteout_release(struct whiteout *w);

#endif
