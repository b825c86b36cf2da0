#ifndef RUNNER_SANDBOX_LAYER_STORE_H
#define RUNNER_SANDBOX_LAYER_STORE_H

#include "lib/err.h"
#include "lib/json.h"
#include "runner/sandbox/layer.h"

/* The layers of this box: <cache>/layers/<key>/{rootfs/,layer.json}. The time of layer.json is when the layer was last
 * asked for: that, and <key>.lock, which its maker holds, is what a cleaner goes by. */

struct layer_order {
	const char *cache, *key;
	const char *label; /* for people */
	const char *arch;  /* of programs that its maker runs in it; NULL: this host's */
	json_t *note;      /* what goes into layer.json; borrowed */
	image_progress_fn *progress;
	void *progress_arg;
	int (*make)(struct layer *l, void *arg, struct err *e); /* fills <temp>/rootfs */
	void *arg;
};

/* layer_there - is it whole and on the disk? Notes that it was asked for. */
int layer_there(const char *cache, const char *key);

/* layer_ensure - find it or make it. Of two processes that want the same one, the second waits for the first. A maker
 * that is killed leaves nothing that is taken for a layer. */
int layer_ensure(const struct layer_order *o, struct err *e) MUST_USE;

char *layer_tree(const char *cache, const char *key); /* its folder for overlayfs; caller frees */

/* layer_owner - the ids that layers are unpacked for, as text for their keys; caller frees. */
int layer_owner(char **owner_r, struct err *e) MUST_USE;

#endif
