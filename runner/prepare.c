/* `runner prepare ID` (internal): one stored event → a build with its jobs. A process of its own, so that a slow
 * fetch never holds the daemon up; killed at any moment, the event is still new and is prepared again.
 *
 *   event ─ skip? ─→ EVENT_SKIPPED
 *         ─ fetch ─→ .ci.yml ─→ plan ─→ build with jobs   (or a build that is errored at once, saying where)
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/home.h"
#include "runner/plan/plan.h"
#include "runner/store/mirror.h"
#include "runner/store/store.h"

enum { MOST_ATTEMPTS = 5 };

static int add_build(struct store *st, int64_t event_id, const struct plan *plan, const char *reason, struct err *e)
{
	size_t n = plan ? plan->njobs : 0;
	_cleanup_free_ struct job_new *jobs = xcalloc(n, sizeof(*jobs));
	_cleanup_vec_ struct vec specs = VEC_INIT;
	int64_t build;
	int rc;

	for (size_t i = 0; i < n; i++) {
		_cleanup_json_ json_t *spec = job_spec_to_json(&plan->jobs[i]);

		vec_take(&specs, json_text(spec));
		jobs[i] = (struct job_new){.name = plan->jobs[i].name,
					   .backend = plan->jobs[i].backend,
					   .arch = plan->jobs[i].arch,
					   .spec = specs.items[i],
					   .allow_failure = plan->jobs[i].allow_failure};
	}
	rc = store_build_add(st, event_id, jobs, n, reason, clock_unix_ms(), &build, e);
	return rc < 0 ? -1 : 0;
}

/* The event's `.ci.yml` → plan. A file that is missing or wrong is a result (reason_r), not a failure. */
static int make_plan(const char *mirror, const struct event *ev, struct plan *plan, char **reason_r, struct err *e)
{
	static const char name[] = ".ci.yml";
	_cleanup_buf_ struct buf file = BUF_INIT(PLAN_MAX_FILE_BYTES);
	struct plan_context cx = {.kind = ev->kind, .branch = ev->branch, .tag = ev->tag};
	struct plan_problems problems = {0};
	int rc;

	if (mirror_file(mirror, ev->commit, name, &file, e)) {
		if (e->kind != ERR_MISSING && e->kind != ERR_INPUT) return -1;
		*reason_r = xstrdup(e->text);
		return 0;
	}
	rc = plan_make(name, file.data, file.len, &cx, plan, &problems, e);
	if (rc) {
		_cleanup_free_ char *all = plan_problems_text(&problems, name, 0);

		*reason_r = *all ? steal(all) : xstrdup(e->text);
	}
	plan_problems_release(&problems);
	return 0;
}

static void plan_clean(struct plan *p)
{
	plan_release(p);
}

static int prepare(const struct home *h, struct store *st, const struct event_row *row, struct err *e)
{
	const struct event *ev = &row->ev;
	const char *skip = event_skip_reason(ev);
	__attribute__((cleanup(repo_release))) struct repo repo = {0};
	__attribute__((cleanup(plan_clean))) struct plan plan = {0};
	_cleanup_free_ char *mirror = home_repo(h, row->repo_id, "mirror.git"), *reason = NULL;
	_cleanup_free_ char *keep = xasprintf("events/%lld", (long long)row->id);

	if (skip) return store_event_close(st, row->id, EVENT_SKIPPED, skip, e);
	if (!ev->commit) return store_event_close(st, row->id, EVENT_SKIPPED, "there is no commit to build", e);
	if (store_repo_get(st, row->repo_id, &repo, e)) return -1;
	if (mirror_fetch(mirror, repo.url, ev->ref, ev->commit, keep, e)) return -1;
	if (make_plan(mirror, ev, &plan, &reason, e)) return -1;
	if (!reason && !plan.njobs)
		return store_event_close(st, row->id, EVENT_SKIPPED, "branch not included or excluded", e);
	return add_build(st, row->id, reason ? NULL : &plan, reason, e);
}

static void event_row_clean(struct event_row *r)
{
	event_row_release(r);
}

static void store_clean(struct store **s)
{
	store_close(s);
}

int cmd_prepare(int argc, char **argv)
{
	__attribute__((cleanup(home_release))) struct home h = {0};
	__attribute__((cleanup(store_clean))) struct store *st = NULL;
	__attribute__((cleanup(event_row_clean))) struct event_row row = {0};
	_cleanup_free_ char *db = NULL;
	int64_t id = argc == 3 ? strtoll(argv[2], NULL, 10) : 0;
	struct err e;

	if (id <= 0) return cmd_usage(argv[0]);
	if (home_open(argv[1], &h, &e)) return cmd_fail(argv[0], e.text);
	db = home_db(&h);
	if (store_open(db, &st, &e) || store_event_get(st, id, &row, &e)) return cmd_fail(argv[0], e.text);
	if (row.state != EVENT_NEW) return 0;
	if (store_event_begin(st, id, &e)) return cmd_fail(argv[0], e.text);
	if (prepare(&h, st, &row, &e)) {
		struct err again;

		/* Fetching may work later; a commit that is gone for good will not come back. */
		if (row.attempts + 1 < MOST_ATTEMPTS && e.kind != ERR_MISSING) return cmd_fail(argv[0], e.text);
		if (store_event_close(st, id, EVENT_REJECTED, e.text, &again)) return cmd_fail(argv[0], again.text);
		return cmd_fail(argv[0], e.text);
	}
	home_wake(&h);
	return 0;
}
