#ifndef RUNNER_SANDBOX_INIT_INIT_H
#define RUNNER_SANDBOX_INIT_INIT_H

#include <stdint.h>

/* Between a container's init and the world outside. Init inherits two descriptors:
 *   INIT_SPEC_FD    a memory file, or a pipe where it is to wait: struct init_spec, then the folder, argc arguments,
 * envc "NAME=value", each with its NUL. So that neither command nor environment stand in a file, an argv or
 * /proc/1/environ. INIT_REPORT_FD  a pipe; gets one struct init_report, once, before init ends. Init killed: nothing
 * comes. */

enum { INIT_REPORT_FD = 3, INIT_SPEC_FD = 4 };

struct init_spec {
	uint32_t argc;
	uint32_t envc;
	uint64_t bytes; /* of all strings */
};

enum init_what {
	INIT_EXITED = 1, /* code: exit status */
	INIT_SIGNALLED,  /* code: signal */
	INIT_NO_FOLDER,  /* code: errno: cannot enter the folder */
	INIT_NO_PROGRAM, /* code: errno: cannot run argv[0] */
	INIT_FAILED,     /* code: errno: anything else */
};

struct init_report {
	uint32_t what;
	int32_t code;
};

#endif
