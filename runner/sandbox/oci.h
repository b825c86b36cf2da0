#ifndef RUNNER_SANDBOX_OCI_H
#define RUNNER_SANDBOX_OCI_H

#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

/* The config.json of a box's containers: the same for all runs of a box, as command, environment and folder reach the
 * container's init on a descriptor. Pure: same options in, same bytes out.
 * src: OCI runtime-spec 1.0.2; crun(1) for the annotation with the compiled filter */

struct oci_rlimit {
	const char *type; /* "RLIMIT_NOFILE" */
	uint64_t hard;    /* of this process: what a container is given never exceeds it */
	uint64_t want;    /* UINT64_MAX: no wish of its own, hard is passed on */
};

struct oci_opts {
	const char *rootfs;    /* the mounted root, absolute */
	const char *init;      /* our init's file, outside of the container */
	const struct buf *bpf; /* the system call filter */
	const struct oci_rlimit *rlimits;
	size_t nrlimits;
};

#define OCI_OWN_PATH "/.slipway"       /* a folder in the container for what is not the image's */
#define OCI_INIT_PATH "/.slipway/init" /* where the container finds init */
#define OCI_HOSTNAME "slipway"
#define OCI_HOSTS "127.0.0.1 localhost " OCI_HOSTNAME "\n::1 localhost ip6-localhost ip6-loopback\n" /* /etc/hosts */

/* oci_config - the text; caller frees. */
char *oci_config(const struct oci_opts *o);

#endif
