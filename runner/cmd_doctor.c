/* `runner doctor`: what this host lacks for containers. */
#include <getopt.h>
#include <stdio.h>

#include "runner/cmd.h"
#include "runner/home.h"
#include "runner/sandbox/doctor.h"

int cmd_doctor(int argc, char **argv)
{
	static const struct option options[] = {{"fix", no_argument, NULL, 'f'}, {0}};
	struct home home = {0};
	struct err e = {0};
	int fix = 0, status;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c != 'f') return cmd_usage("doctor");
		fix = 1;
	}
	if (optind != argc) return cmd_usage("doctor");
	if (home_open(NULL, &home, &e)) return cmd_fail("doctor", e.text);
	status = doctor_run(stdout, fix, home.cache);
	home_release(&home);
	return status;
}
