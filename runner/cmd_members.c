/* `runner members`, internal: what is packed in the file on descriptor 0, as records on descriptor 1. Started by the
 * publisher with nothing else open and an empty environment. */
#include <inttypes.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "lib/num.h"
#include "runner/cmd.h"
#include "runner/publish/members.h"

int cmd_members(int argc, char **argv)
{
	int64_t most;

	if (argc != 2 || num_parse(argv[1], 1, INT64_MAX, &most)) return 2;
	signal(SIGPIPE, SIG_IGN);
	members_confine();
	return members_write(STDIN_FILENO, STDOUT_FILENO, (uint64_t)most) ? 1 : 0;
}
