/* What lies beside the script in the box: commands for the scripts that it starts, and the mark that it came to its own
 * end. The mark is no proof against who wants to forge it; it is there so that a shell which just stops passes nothing.
 */
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/job.h"

static const char not_yet[] = "the script has not come to its end\n";

int job_put_tools(struct job *j, struct err *e)
{
	for (const char *const *name = script_tools; *name; name++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", JOB_TOOLS_PATH, *name), *text = script_tool(*name);

		if (sandbox_put_file(j->box, path, text, strlen(text), 0755, e)) return -1;
	}
	return sandbox_put_file(j->box, JOB_END_PATH, not_yet, strlen(not_yet), 0644, e);
}

static int is_empty(void *arg, const char *path, int fd, unsigned mode, uint64_t size, struct err *e)
{
	(void)path;
	(void)fd;
	(void)mode;
	(void)e;
	*(int *)arg = size == 0;
	return 0;
}

int job_reached_end(struct job *j)
{
	int reached = 0;
	struct err e;

	if (!sandbox_collect(j->box, "/.slipway", "end", is_empty, &reached, &e)) return reached;
	log_line(j->log, "slipway: the mark of the script's end cannot be read: %s", e.text);
	return 0;
}
