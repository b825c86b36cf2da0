#ifndef RUNNER_PUBLISH_CHECK_H
#define RUNNER_PUBLISH_CHECK_H

#include "lib/err.h"
#include "runner/plan/plan.h"
#include "runner/sandbox/image.h"

/* Boot proof: the very bytes that are to be published are run first.
 *   BOOT_UNIX     as /image in a box of its own over the job's image, loopback only: PORT (8080), IMAGE and ARCH are
 *                 set, LISTEN_FDS is not; the HTTP check is made from outside through sandbox_connect(), again and
 *                 again until it is answered with anything but 503
 *   BOOT_QEMU     a PVH kernel under QEMU's microvm, TCG, no network, its console on a serial port; an isa-debug-exit
 *                 device at 0xf4
 *   BOOT_COMMAND  check.command by /bin/sh in a box, with IMAGE naming the file; it must end with 0
 * Passed means: it ran, said `expect` (if any) on its console, answered the HTTP check (if any), in time, and did not
 * fall over in the 300 ms after. Where neither is asked for, it must run for two seconds (QEMU: and say something;
 * unix: or end with 0). */

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
