/* From a plan to a build's rows. */
#include "runner/rows.h"

#include <string.h>

#include "lib/fs.h"

int rows_runs_here(const struct job_spec *j)
{
	for (size_t i = 0; j->dialect == PLAN_TRAVIS && i < j->naxes; i++)
		if (!strcmp(j->axes[i].name, "os") && strcmp(j->axes[i].value, "linux") != 0) return 0;
	return 1;
}

int rows_add(struct store *st, int64_t event_id, const struct plan *plan, const char *reason,
	     const char *const *left_out, int64_t *build_id_r, struct err *e)
{
	size_t n = plan ? plan->njobs : 0;
	_cleanup_free_ struct job_new *jobs = xcalloc(n, sizeof(*jobs));
	_cleanup_vec_ struct vec specs = VEC_INIT;

	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *spec = job_spec_to_json(&plan->jobs[i]);

		vec_take(&specs, json_text(spec));
		jobs[i] = (struct job_new){.name = plan->jobs[i].name,
					   .backend = plan->jobs[i].backend,
					   .arch = plan->jobs[i].arch,
					   .spec = specs.items[i],
					   .stage = plan->jobs[i].stage_number,
					   .allow_failure = plan->jobs[i].allow_failure,
					   .not_awaited = plan->fast_finish && plan->jobs[i].allow_failure,
					   .skip_reason = left_out ? left_out[i] : NULL};
		if (!rows_runs_here(&plan->jobs[i])) jobs[i].skip_reason = "its system is not Linux";
	}
	return store_build_add(st, event_id, jobs, n, reason, clock_unix_ms(), build_id_r, e);
}
