/* `runner prepare ID` (internal): one stored event → a build with its jobs. A process of its own, so that a slow
 * fetch never holds the daemon up; killed at any moment, the event is still new and is prepared again.
 *
 *   event ─ skip? ─→ EVENT_SKIPPED
 *         ─ fetch ─ message: skip? ─→ .ci.yml ─→ plan ─→ build with jobs   (or a build that is errored at once)
 */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/checkout.h"
#include "runner/cmd.h"
#include "runner/place.h"
#include "runner/plan/plan.h"
#include "runner/rows.h"
#include "runner/store/mirror.h"
#include "runner/trigger/git.h"

enum {
	FIRST_WAIT_MS = 2000, /* after a failure; doubled by each one more */
	LONGEST_WAIT_MS = 10 * 60 * 1000,
	MOST_DAYS = 7,               /* then an event is given up, whatever the failure */
	MOST_REFUSALS = 3,           /* the source has not got it: its replicas may lag behind what it told */
	MOST_REFUSALS_OF_MERGE = 10, /* about a quarter of an hour: a server takes its time to make one */
	MOST_CUT_OFF = 20,           /* attempts that ended without a word */
	CHECKOUT_S = 3,
	CHECKOUT_PIDS = 256,
	KEPT_BUILDS = 50, /* the newest ones of a repository: their commits stay in its mirror */
};

static int any_runs(const struct plan *plan)
{
	for (size_t i = 0; i < plan->njobs; i++)
		if (rows_runs_here(&plan->jobs[i])) return 1;
	return 0;
}

static const char *new_delivery(struct vec *ids)
{
	unsigned char id[16];
	char hex[2 * sizeof(id) + 1];

	randombytes_buf(id, sizeof(id));
	sodium_bin2hex(hex, sizeof(hex), id, sizeof(id));
	vec_add(ids, hex);
	return ids->items[ids->len - 1];
}

/* A file that cannot be read says of nobody: who was to be told of the ref's last build is told that it is so. */
static int add_known_notices(struct store *st, const struct event_row *row, struct err *e)
{
	struct notice_new all[PLAN_MAX_NOTICES];
	_cleanup_vec_ struct vec ids = VEC_INIT;
	struct notice_row *known;
	size_t n, used = 0;
	int rc;

	if (store_notices_known(st, row->repo_id, row->ev.ref, &known, &n, e)) return -1;
	for (; used < n && used < PLAN_MAX_NOTICES; used++)
		all[used] = (struct notice_new){.kind = known[used].kind,
						.target = known[used].target,
						.ends = known[used].ends,
						.delivery = new_delivery(&ids)};
	rc = store_notices_plan(st, row->id, all, used, e);
	notice_rows_free(&known, n);
	return rc;
}

/* Who is told of the build's end. Nobody where the file is a stranger's. */
static int add_notices(struct store *st, const struct event_row *row, const json_t *notify, struct err *e)
{
	struct notice_new all[PLAN_MAX_NOTICES];
	_cleanup_vec_ struct vec ids = VEC_INIT;
	size_t n = 0, i, k;
	json_t *o, *word;

	json_array_foreach(row->ev.from_fork ? NULL : notify, i, o)
	{
		struct notice_new *to = &all[n++];

		*to = (struct notice_new){.delivery = new_delivery(&ids)};
		for (enum notice_kind kind = NOTICE_WEBHOOK; kind <= NOTICE_COMMAND && !to->target; kind++) {
			to->kind = kind;
			to->target = json_string_or(o, notice_kind_name(kind), NULL);
		}
		json_array_foreach(json_object_get(o, "on"), k, word)
		{
			enum notice_end end;

			if (!notice_end_parse(json_string_value(word), &end)) to->ends |= end;
		}
		if (!to->target) die("a notice without a target");
	}
	return store_notices_plan(st, row->id, all, n, e);
}

/* The commit's `.ci.yml`, or its `.travis.yml` where there is none. 1: neither is there, *e says so of the first */
static int find_file(const char *mirror, const char *commit, struct buf *file, enum plan_dialect *dialect_r,
		     struct err *e)
{
	struct err other;

	*dialect_r = PLAN_CI;
	if (!mirror_file(mirror, commit, plan_dialect_file(PLAN_CI), file, e)) return 0;
	if (e->kind != ERR_MISSING) return e->kind == ERR_INPUT ? 1 : -1;
	*dialect_r = PLAN_TRAVIS;
	buf_clear(file);
	if (!mirror_file(mirror, commit, plan_dialect_file(PLAN_TRAVIS), file, &other)) return 0;
	if (other.kind == ERR_MISSING) return 1;
	*e = other;
	return other.kind == ERR_INPUT ? 1 : -1;
}

/* The event's file → plan. A file that is missing or wrong is a result (reason_r), not a failure. */
static int make_plan(const char *mirror, const struct event *ev, const char *repo, struct plan *plan, char **reason_r,
		     struct err *e)
{
	_cleanup_buf_ struct buf file = BUF_INIT(PLAN_MAX_FILE_BYTES);
	struct plan_context cx = {.kind = ev->kind,
				  .branch = ev->branch,
				  .tag = ev->tag,
				  .repo = repo,
				  .sender = ev->sender,
				  .message = ev->message,
				  .head_repo = ev->head_repo,
				  .head_branch = ev->head_branch,
				  .from_fork = ev->from_fork};
	struct plan_problems problems = {0};
	const char *name;
	int rc = find_file(mirror, ev->commit, &file, &cx.dialect, e);

	if (rc < 0) return -1;
	if (rc > 0) {
		*reason_r = xstrdup(e->text);
		return 0;
	}
	name = plan_dialect_file(cx.dialect);
	rc = plan_make(name, buf_str(&file), file.len, &cx, plan, &problems, e);
	if (rc) {
		_cleanup_free_ char *all = plan_problems_text(&problems, name, 0);

		*reason_r = *all ? steal(all) : xstrdup(e->text);
	}
	plan_problems_release(&problems);
	return 0;
}

static const char *head_of(const struct event *ev)
{
	return ev->head_commit ? ev->head_commit : ev->commit;
}

static void say_renewed(int64_t event_id, const char *mirror)
{
	fprintf(stderr, "event %lld: the mirror was damaged and was made anew; the old one is '%s.broken'\n",
		(long long)event_id, mirror);
}

/* The commit to build comes to the mirror, and its id to ev->commit. 1: the pull request has moved on. */
static int fetch(const char *mirror, const char *url, struct store *st, struct event_row *row, struct err *e)
{
	_cleanup_free_ char *keep = xasprintf("events/%lld", (long long)row->id), *newest = NULL, *merge = NULL;
	struct event *ev = &row->ev;
	const struct mirror_want want = {mirror, url, ev->ref, head_of(ev), keep};
	struct err other;
	int got;

	if (ev->kind != EVENT_PULL_REQUEST) {
		got = mirror_fetch(&want, e);
		if (got == 1) say_renewed(row->id, mirror);
		return got < 0 ? -1 : 0;
	}
	got = mirror_fetch_merge(&want, &merge, e);
	if (got == 1) say_renewed(row->id, mirror);
	if (got < 0) {
		if (e->kind != ERR_MISSING || store_event_last_commit(st, row->repo_id, ev->ref, &newest, &other))
			return -1;
		return strcmp(newest, ev->commit) ? 1 : -1;
	}
	free(ev->commit);
	ev->commit = steal(merge);
	return store_event_resolve(st, row->id, ev->commit, e);
}

/* What the head commit itself says, where the event did not tell: a pull request brings its title, a poll nothing.
 * 1: it asks for no build. */
static int read_message(const char *mirror, struct store *st, struct event_row *row, struct err *e)
{
	struct event *ev = &row->ev;
	_cleanup_free_ char *message = NULL;

	if (ev->kind == EVENT_PUSH && ev->message) return 0;
	if (git_message(mirror, head_of(ev), &message, e) || store_event_describe(st, row->id, message, e)) return -1;
	free(ev->message);
	ev->message = steal(message);
	return ev->source != EVENT_FROM_PERSON && event_message_skips(ev->message);
}

/* What was fetched cannot be read: the mirror is made anew where that is its fault, and the event tried again. */
static void mend_mirror(const char *mirror, const char *url, const struct event_row *row)
{
	_cleanup_free_ char *keep = xasprintf("events/%lld", (long long)row->id);
	const struct mirror_want want = {mirror, url, row->ev.ref, row->ev.commit, keep};
	struct err e;
	int got = mirror_mend(&want, &e);

	if (got == 1) say_renewed(row->id, mirror);
	if (got < 0) fprintf(stderr, "event %lld: the mirror cannot be mended: %s\n", (long long)row->id, e.text);
}

static void forget_old_commits(const char *mirror, struct store *st, int64_t repo_id)
{
	int64_t *ids = NULL;
	size_t n = 0;
	struct err e;

	if (store_event_used(st, repo_id, KEPT_BUILDS, &ids, &n, &e) || mirror_prune(mirror, ids, n, &e))
		fprintf(stderr, "mirror '%s': old commits are kept: %s\n", mirror, e.text);
	free(ids);
}

/* The sources, for the jobs, which would make them otherwise: those of a hostile or very large tree are left to them,
 * who have the limits for it. */
static void check_out(const struct home *h, const char *mirror, const struct event_row *row, int depth)
{
	struct itimerspec over = {.it_value = {.tv_sec = CHECKOUT_S}};
	_cleanup_close_ int clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	struct checkout_want w = {
		.repo_id = row->repo_id, .mirror = mirror, .commit = row->ev.commit, .depth = depth, .abort_fd = clock};
	struct checkout c = CHECKOUT_INIT;
	struct err e;

	w.limits.memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4;
	w.limits.pids = CHECKOUT_PIDS;
	if (clock < 0 || timerfd_settime(clock, 0, &over, NULL)) return;
	if (!checkout_ensure(h, &w, &c, &e)) checkout_release(h, &c, 0);
}

static int prepare(const struct home *h, struct store *st, struct event_row *row, struct err *e)
{
	const struct event *ev = &row->ev;
	const char *skip = event_skip_reason(ev);
	__attribute__((cleanup(repo_release))) struct repo repo = {0};
	__attribute__((cleanup(plan_release))) struct plan plan = {0};
	_cleanup_free_ char *mirror = home_repo(h, row->repo_id, "mirror.git"), *reason = NULL;
	int64_t build;
	int got, unreadable;

	if (skip) return store_event_close(st, row->id, EVENT_SKIPPED, skip, e);
	if (store_repo_get(st, row->repo_id, &repo, e)) return -1;
	got = fetch(mirror, repo.url, st, row, e);
	if (got == 1) return store_event_close(st, row->id, EVENT_SKIPPED, "the pull request has moved on", e);
	if (got) return -1;
	got = read_message(mirror, st, row, e);
	if (got == 1) return store_event_close(st, row->id, EVENT_SKIPPED, EVENT_SKIPPED_BY_MESSAGE, e);
	if (got) return -1;
	if (make_plan(mirror, ev, repo.name, &plan, &reason, e)) {
		mend_mirror(mirror, repo.url, row);
		return -1;
	}
	forget_old_commits(mirror, st, row->repo_id);
	unreadable = reason != NULL;
	if (!reason && plan.njobs && !any_runs(&plan)) reason = xstrdup("none of its jobs is for Linux");
	if (!reason && !plan.njobs)
		return store_event_close(st, row->id, EVENT_SKIPPED,
					 plan.left_out ? "branch not included or excluded" : "matrix created no jobs",
					 e);
	if (!reason) check_out(h, mirror, row, plan.jobs[0].git.depth);
	if (unreadable && !row->ev.from_fork ? add_known_notices(st, row, e) : add_notices(st, row, plan.notify, e))
		return -1;
	got = rows_add(st, row->id, reason ? NULL : &plan, reason, NULL, &build, e);
	/* The other build, which this event became a part of, has its own. */
	return got > 0 ? store_notices_plan(st, row->id, NULL, 0, e) : got;
}

static int64_t wait_ms(int failures)
{
	int64_t ms = FIRST_WAIT_MS;

	while (failures-- > 0 && ms < LONGEST_WAIT_MS) ms *= 2;
	return ms < LONGEST_WAIT_MS ? ms : LONGEST_WAIT_MS;
}

/* Is this failure the last word? The source's own answer is, when it gives it again and again; a source, a network or a
 * disk that fails us is not, for days. */
static int is_final(const struct event_row *row, const struct err *why, int64_t now_ms)
{
	int most = row->ev.kind == EVENT_PULL_REQUEST ? MOST_REFUSALS_OF_MERGE : MOST_REFUSALS;

	if (why->kind == ERR_MISSING && row->refusals + 1 >= most) return 1;
	return now_ms - row->received_ms > MOST_DAYS * 24 * 3600 * 1000LL;
}

static int try_later(struct store *st, const struct event_row *row, const struct err *why, struct err *e)
{
	int64_t now = clock_unix_ms(), wait = wait_ms(row->failures);

	if (is_final(row, why, now)) {
		fprintf(stderr, "event %lld: rejected: %s\n", (long long)row->id, why->text);
		return store_event_close(st, row->id, EVENT_REJECTED, why->text, e);
	}
	fprintf(stderr, "event %lld: %s; tried again in %lld s\n", (long long)row->id, why->text,
		(long long)wait / 1000);
	return store_event_retry(st, row->id, why->kind == ERR_MISSING, why->text, now + wait, e);
}

/* Begun and never heard of again: it was killed, or it crashed, and is not to do so in a tight loop or for ever. */
static int begin(struct store *st, const struct event_row *row, struct err *e)
{
	int cut_off = row->attempts - row->failures;

	if (cut_off >= MOST_CUT_OFF) {
		_cleanup_free_ char *why = xasprintf("preparing it was cut off %d times", cut_off);

		return store_event_close(st, row->id, EVENT_REJECTED, why, e) ? -1 : 1;
	}
	return store_event_begin(st, row->id, clock_unix_ms() + (cut_off ? wait_ms(cut_off - 1) : 0), e);
}

int cmd_prepare(int argc, char **argv)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(event_row_release))) struct event_row row = {0};
	struct err e, why;
	int64_t id;
	int got;

	if (argc != 3 || num_parse(argv[2], 1, INT64_MAX, &id)) return cmd_usage(argv[0]);
	if (place_open(argv[1], &p, &e) || store_event_get(p.store, id, &row, &e)) return cmd_fail(argv[0], e.text);
	if (row.state != EVENT_NEW) return 0;
	got = begin(p.store, &row, &e);
	if (got) return got < 0 ? cmd_fail(argv[0], e.text) : 0;
	if (prepare(&p.home, p.store, &row, &why) && try_later(p.store, &row, &why, &e))
		return cmd_fail(argv[0], e.text);
	home_wake(&p.home);
	return 0;
}
