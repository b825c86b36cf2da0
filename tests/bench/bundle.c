/* bundle ROOTFS INIT: the config.json of a box's containers, for a peer that is to do the same work. */
#include <stdio.h>

#include "runner/sandbox/oci.h"
#include "runner/sandbox/seccomp.h"

int main(int argc, char **argv)
{
	_cleanup_buf_ struct buf bpf = BUF_INIT(1 << 20);
	_cleanup_free_ char *text = NULL;
	struct oci_opts o = {.bpf = &bpf};
	struct err e;

	if (argc != 3) return 2;
	o.rootfs = argv[1];
	o.init = argv[2];
	if (seccomp_filter(&bpf, &e)) {
		fprintf(stderr, "bundle: %s\n", e.text);
		return 1;
	}
	text = oci_config(&o);
	puts(text);
	return 0;
}
