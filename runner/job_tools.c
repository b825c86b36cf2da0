/* What lies beside the script in the box: commands for the scripts that it starts, and the mark that it came to its own
 * end. The mark is no proof against who wants to forge it; it is there so that a shell which just stops passes nothing.
 */
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/job.h"

static const char not_yet[] = "the script has not come to its end\n";

int job_put_tools(struct sandbox *box, struct err *e)
{
	_cleanup_vec_ struct vec paths = VEC_INIT, texts = VEC_INIT;
	struct sandbox_file files[8];
	size_t n = 0;

	for (; script_tools[n]; n++) {
		if (n == ARRAY_LEN(files)) die("too many tools");
		vec_addf(&paths, "%s/%s", JOB_TOOLS_PATH, script_tools[n]);
		vec_take(&texts, script_tool(script_tools[n]));
		files[n] = (struct sandbox_file){paths.items[n], texts.items[n], 0755};
	}
	return sandbox_put_files(box, files, n, e);
}

int job_put_script(struct job *j, const char *script, struct err *e)
{
	const struct sandbox_file files[] = {{JOB_END_PATH, not_yet, 0644}, {JOB_SCRIPT_PATH, script, 0644}};

	if (j->ready_out <= 0 && job_put_tools(j->box, e)) return -1;
	return sandbox_put_files(j->box, files, ARRAY_LEN(files), e);
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
