#ifndef RUNNER_SANDBOX_LAYER_STORE_H
#define RUNNER_SANDBOX_LAYER_STORE_H

#include "lib/err.h"
#include "lib/json.h"
#include "runner/sandbox/layer.h"

/* The layers of this box: <cache>/layers/<key>/{rootfs/,layer.json}. <key>.lock is held exclusively by who makes or
 * removes it, and shared by whoever uses it; the time of layer.json is when it was last used. */

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

/* layer_hold - is it whole and on the disk? Then it stays until the descriptor is closed.
 *  io   hold  -1, or what an earlier call gave
 *  ret  1 it is; 0 it is not, or somebody makes or removes it just now */
int layer_hold(const char *cache, const char *key, int *hold);

/* layer_ensure - find it or make it, and hold it. Of two processes that want the same one, the second waits for the
 * first. A maker that is killed leaves nothing that is taken for a layer. */
int layer_ensure(const struct layer_order *o, int *hold_r, struct err *e) MUST_USE;

/* layer_used - the layer of that folder (layer_tree()) was of use at that time. Never fails. */
void layer_used(const char *tree, int64_t at_unix_us);

/* layer_remove - 1: somebody uses, makes or removes it. Killed on the way it is gone, and its bytes are the next
 * maker's or layer_remove's to free; key may be of such a one. */
int layer_remove(const char *cache, const char *key, struct err *e) MUST_USE;

char *layer_tree(const char *cache, const char *key); /* its folder for overlayfs; caller frees */

/* layer_owner - the ids that layers are unpacked for, as text for their keys; caller frees. */
int layer_owner(char **owner_r, struct err *e) MUST_USE;

#endif
