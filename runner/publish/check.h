#ifndef RUNNER_PUBLISH_CHECK_H
#define RUNNER_PUBLISH_CHECK_H

#include "lib/err.h"
#include "runner/plan/plan.h"
#include "runner/sandbox/image.h"

/* Boot proof: the very bytes that are to be published are run first.
 *   BOOT_UNIX       as /image in a box of its own over the job's image, loopback only: PORT, IMAGE and ARCH are set,
 *                   LISTEN_FDS is not
 *   BOOT_QEMU       a PVH kernel under QEMU's microvm, TCG, its console on a serial port; an isa-debug-exit device at
 *                   0xf4; where something is to be asked of it, a virtio-net device
 *   BOOT_SOLO5_SPT, BOOT_SOLO5_HVT  under that tender, with the one network device that its manifest may name
 *   BOOT_COMMAND    check.command by /bin/sh in a box, with IMAGE naming the file. It judges the image and must end
 *                   with 0; where there are pages or a script, it serves the image as BOOT_UNIX would
 * A machine has 10.0.2.15 in a network with the prober (10.0.2.2) and nothing else.
 * Passed means: it ran, said `expect` (if any) on its console, answered every page of `http` (if any), the script (if
 * any) ended with 0, all in time, and the image did not fall over in the 300 ms after. Where nothing is asked for, it
 * must run for two seconds (QEMU: and say something; the others may end with 0). */

struct check_env {
	const struct image *image; /* layers for the boxes */
	const char *id;            /* unique: names the box */
	const char *dir;           /* empty folder of the caller's to work in */
	const char *file;          /* the image's bytes */
	const char *arch;
	int console_fd; /* > 0: gets all that the image says, as it is */

	/* for check.script alone */
	const char *script_dir;     /* another empty folder */
	const char *mirror;         /* of the sources */
	const char *commit;         /* of them */
	int depth;                  /* of their history; 0: all */
	const char *const *exports; /* "NAME=value", NULL-terminated; NULL: none */
};

typedef void check_say_fn(void *arg, const char *data, unsigned long len); /* console bytes and our own lines, raw */

/* err ERR_REMOTE what was wrong with the image: "did not say 'ready' within 60 s", "GET / answered 500, expected 200",
 *     "exited with 1 before it answered", "no PVH entry note", "the script exited with 1"; ERR_MISSING a program */
int check_boot(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg,
	       struct err *e) MUST_USE;

/* check_can - is there what this boot proof needs? Asked before a job's script is run.
 *  err ERR_MISSING "…: it is not installed; …" */
int check_can(const struct plan_check *c, struct err *e) MUST_USE;

#endif
