/* Submodules of a job's source: fetched beside the box by a process of its own, then put into it, each as a work tree
 * with a history as deep as the source's. */
#include <string.h>

#include "runner/job.h"

enum { RESULT_MAX = 1 << 20 };

int job_submodules(struct job *j, struct err *e)
{
	_cleanup_free_ char *id = xasprintf("%lld", (long long)j->row.id);
	_cleanup_buf_ struct buf answer = BUF_INIT(RESULT_MAX);

	if (!j->spec.git.submodules) return 0;
	job_says(j, "submodules");
	if (job_step(j, "submodules", (const char *const[]){job_runner(), "submodules", j->home.state, id, NULL},
		     &answer, e) ||
	    buf_check(&answer, "the list of submodules", e))
		return -1;
	return json_parse("the list of submodules", buf_str(&answer), answer.len, &j->submodules, e);
}

int job_put_submodules(struct job *j, const char *source_dir, struct err *e)
{
	size_t i;
	json_t *m;

	json_array_foreach(j->submodules, i, m)
	{
		struct sandbox_git git = {.depth = j->spec.git.depth};
		_cleanup_free_ char *path = NULL;
		const char *below;

		if (json_need_string(m, "path", &below, e) || json_need_string(m, "mirror", &git.mirror, e) ||
		    json_need_string(m, "commit", &git.commit, e))
			return -1;
		path = xasprintf("%s/%s", source_dir, below);
		git.path = path;
		if (sandbox_put_git(j->box, &git, e)) return err_wrap(e, "submodule '%s'", below);
	}
	return 0;
}
