#ifndef RUNNER_SANDBOX_USERNS_H
#define RUNNER_SANDBOX_USERNS_H

#include <sys/types.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/err.h"

/* The user namespace that boxes and the makers of images share: one layout, so that a layer made by one is read by
 * the other. As root: box 0.. is root's range in /etc/subuid, else 65536 ids from
 * 0x70000000 on that nobody has (host_subid_root()). As an ordinary user: box 0 is that user, box 1.. is the user's
 * subordinate range, by newuidmap. src: user_namespaces(7), newuidmap(1) */

/* userns_open - a new user namespace with that layout, nothing in it yet: for child_opts.userns_fd, any number of
 * times. It is gone when the descriptor is closed and the last process in it has ended.
 *  out  fd_r  CLOEXEC
 *  err  ERR_MISSING newuidmap is not installed; ERR_DENIED no subordinate ids, or the host forbids user namespaces
 *       ("run: runner doctor") */
int userns_open(int *fd_r, struct err *e) MUST_USE;

/* userns_owner - the ids that root of the box has on the host: the owner to be of folders it is to write in. */
int userns_owner(uid_t *uid_r, gid_t *gid_r, struct err *e) MUST_USE;

/* userns_mkdir - make a folder (0755) that root of the box owns. err also when it exists. */
int userns_mkdir(const char *path, struct err *e) MUST_USE;

/* userns_command - child_check() in a new user namespace, as its root, in a mount namespace of its own (network and
 * pids are the host's). o->cwd is entered before, with the caller's rights; what lies below a folder that is private
 * to the host's root is reached by cwd or descriptor only. For a child that is to be watched: userns_open() and
 * child_start(). */
int userns_command(const struct child_opts *o, const struct buf *input, int timeout_ms, struct buf *out_r,
		   struct err *e) MUST_USE;

/* userns_remove_tree - like fs_remove_tree(), for trees whose owners are mapped ids. */
int userns_remove_tree(const char *path, struct err *e) MUST_USE;

/* The layout as newuidmap takes it and uid_map reads: triples box id, host id, count. For those who need to know. */
struct userns_map {
	unsigned long inside, outside, count;
};
/* userns_layout - the rows for uids and for gids. n_r: 1 (root) or 2. err ERR_DENIED as userns_open */
int userns_layout(struct userns_map uids_r[2], struct userns_map gids_r[2], int *n_r, struct err *e) MUST_USE;

/* userns_find_range - the row of `name` (or its number) in the text of /etc/subuid; 0 found, 1 not there */
int userns_find_range(const char *text, const char *name, unsigned long id, unsigned long *first_r,
		      unsigned long *count_r) MUST_USE;

#endif
