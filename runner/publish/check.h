#ifndef RUNNER_PUBLISH_CHECK_H
#define RUNNER_PUBLISH_CHECK_H

#include "lib/err.h"
#include "runner/plan/plan.h"
#include "runner/sandbox/image.h"

/* Boot proof: the very bytes that are to be published are run first.
 *   BOOT_UNIX     in a box of its own over the job's image, loopback only: PORT is set and LISTEN_FDS is not; the
 *                 HTTP check is made from outside through sandbox_connect()
 *   BOOT_QEMU     a PVH kernel under QEMU's microvm, TCG, no network, its console on a serial port
 *   BOOT_COMMAND  check.command in a box, with IMAGE naming the file
 * Passed means: it ran, said `expect` (if any) on its console, answered the HTTP check (if any), in time. */

struct check_env {
	const struct image *image; /* layers for the box */
	const char *id;            /* unique: names the box */
	const char *dir;           /* empty folder of the caller's to work in */
	const char *file;          /* the image's bytes */
	const char *arch;
};

typedef void check_say_fn(void *arg, const char *data, unsigned long len); /* console bytes and our own lines, raw */

/* err ERR_REMOTE what was wrong with the image: "did not say 'ready' within 60 s", "GET / answered 500, expected 200",
 *     "exited with 1 before it answered", "no PVH entry note"; ERR_MISSING a program; ERR_INPUT a boot kind this
 *     version does not run */
int check_boot(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg,
	       struct err *e) MUST_USE;

#endif
