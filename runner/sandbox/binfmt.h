#ifndef RUNNER_SANDBOX_BINFMT_H
#define RUNNER_SANDBOX_BINFMT_H

#include "lib/err.h"

/* Programs of another arch, run by qemu-user: by a registration of the box's own user namespace, which needs nothing of
 * the host but the program (Linux 6.7), else by the host's.
 * src: Documentation/admin-guide/binfmt-misc.rst; commit 21ca59b365c0 ("binfmt_misc: enable sandboxed mounts") */

/* binfmt_open - make programs of arch run in a user namespace in which nothing runs yet.
 *  in   arch  Debian's name; NULL: this host's
 *  out  fd_r  they run there as long as it is open (CLOEXEC); -1: there is nothing to hold, the processor or the host's
 *             registration runs them
 *  err  ERR_MISSING neither way is to be had, with the reasons */
int binfmt_open(int userns, const char *arch, int *fd_r, struct err *e) MUST_USE;

/* binfmt_own - the first way alone. err ERR_MISSING it is not to be had; ERR_SYS it failed half way: the host's
 * registration is hidden from that namespace, too. */
int binfmt_own(int userns, const char *arch, int *fd_r, struct err *e) MUST_USE;

/* binfmt_check - would programs of arch run in a box? how_r: "of its own", "of this host" or "native"; static.
 *  err  ERR_MISSING as binfmt_open() */
int binfmt_check(const char *arch, const char **how_r, struct err *e) MUST_USE;

#endif
