/* slipway-job: `runner job` and `runner box` in a program of their own, which starts at once: a job starts both, and
 * nothing of what the rest of the runner loads (TLS, HTTP, git, compressors) is needed by either. */
#include <stdio.h>
#include <string.h>

#include "lib/secret.h"
#include "runner/cmd.h"
#include "runner/sandbox/sandbox.h"

int cmd_fail(const char *command, const char *text)
{
	fprintf(stderr, "runner %s: %s\n", command, text);
	return 1;
}

int cmd_usage(const char *command)
{
	fprintf(stderr, "slipway-job %s: is started by `runner`\n", command);
	return 2;
}

int main(int argc, char **argv)
{
	secret_setup();
	if (argc > 1 && !strcmp(argv[1], "job")) return cmd_job(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "spare")) return cmd_spare(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "box")) return sandbox_box_main(argc - 1, argv + 1);
	return cmd_usage(argc > 1 ? argv[1] : "");
}
