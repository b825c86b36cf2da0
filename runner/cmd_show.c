/* Commands that look: status, watch, log, timeline. They read the store and the log files; nothing is changed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/cmd.h"
#include "runner/leader.h"
#include "runner/place.h"
#include "runner/report/report.h"

enum { TICK_MS = 100, DEFAULT_COUNT = 10, EVENT_COUNT = 20 };

/* What these commands have in common: options, the store, the build that is meant. */
struct show {
	struct place place;
	const char *state, *repo, *commit;
	int64_t repo_id, from_ms;
	int build, timeout_s, follow, json;
};

static void show_release(struct show *s)
{
	place_release(&s->place);
}
#define _cleanup_show_ __attribute__((cleanup(show_release)))

enum { MOST = 1000000000 };

static int show_options(struct show *s, int argc, char **argv)
{
	static const struct option options[] = {{"state", required_argument, NULL, 's'},
						{"repo", required_argument, NULL, 'r'},
						{"build", required_argument, NULL, 'b'},
						{"commit", required_argument, NULL, 'c'},
						{"from", required_argument, NULL, 'm'},
						{"timeout", required_argument, NULL, 't'},
						{"follow", no_argument, NULL, 'f'},
						{"json", no_argument, NULL, 'j'},
						{0}};
	int c, bad = 0;

	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) switch (c) {
		case 's': s->state = optarg; break;
		case 'r': s->repo = optarg; break;
		case 'c': s->commit = optarg; break;
		case 'b': bad |= num_parse_int(optarg, 1, MOST, &s->build); break;
		case 't': bad |= num_parse_int(optarg, 1, MOST, &s->timeout_s); break;
		case 'm': bad |= num_parse(optarg, 0, INT64_MAX, &s->from_ms); break;
		case 'f': s->follow = 1; break;
		case 'j': s->json = 1; break;
		default: bad = -1;
		}
	return bad;
}

static int show_open(struct show *s, struct err *e)
{
	__attribute__((cleanup(repo_release))) struct repo repo = {0};

	if (place_open(s->state, &s->place, e)) return -1;
	if (!s->repo) return 0;
	if (store_repo_find(s->place.store, s->repo, &repo, e)) return -1;
	s->repo_id = repo.id;
	return 0;
}

/* A build's number means one build only where there is one repository, or one was named. */
static int need_one_repo(struct show *s, struct err *e)
{
	struct repo *rows = NULL;
	size_t n = 0;

	if (s->repo_id) return 0;
	if (store_repo_list(s->place.store, &rows, &n, e)) return -1;
	repos_free(&rows, n);
	return n < 2 ? 0 : err_set(e, ERR_INPUT, "there are %zu repositories: say which with --repo NAME", n);
}

/* Nobody will build what waits: said beside the answer. */
static void warn_unless_served(struct show *s, const char *command)
{
	_cleanup_free_ char *path = home_file(&s->place.home, "serve.lock");
	_cleanup_close_ int lock = -1;
	struct err e;

	if (!fs_lock(path, 0, &lock, &e))
		fprintf(stderr, "runner %s: no `runner serve` runs on '%s'; pushes are built when one starts\n",
			command, s->place.home.state);
}

/* The build that --build or --commit names, else the newest. 1: there is none (yet). */
static int find_build(struct show *s, struct build_row *b, struct err *e)
{
	struct build_row *rows = NULL;
	size_t n = 0, at;

	if (store_build_list(s->place.store, s->repo_id, s->build || s->commit ? 10000 : 1, &rows, &n, e)) return -1;
	for (at = 0; at < n; at++)
		if ((!s->build || rows[at].number == s->build) &&
		    (!s->commit || !strncmp(rows[at].commit, s->commit, strlen(s->commit))))
			break;
	if (at < n) {
		*b = rows[at];
		rows[at] = (struct build_row){0};
	}
	build_rows_free(&rows, n);
	return at == n;
}

static void put(struct buf *text)
{
	fwrite(buf_str(text), 1, text->len, stdout);
	fflush(stdout);
	buf_clear(text);
}

static int print_build(struct show *s, const struct build_row *b, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(16 << 20);
	struct job_row *jobs = NULL;
	size_t n = 0;

	if (store_build_jobs(s->place.store, b->id, &jobs, &n, e)) return -1;
	report_build_line(b, clock_unix_ms(), &text);
	for (size_t i = 0; i < n; i++) report_job_line(b, &jobs[i], clock_unix_ms(), isatty(STDOUT_FILENO), &text);
	put(&text);
	job_rows_free(&jobs, n);
	return 0;
}

static int add_json(struct show *s, const struct build_row *b, json_t *list, struct err *e)
{
	struct job_row *jobs = NULL;
	size_t n = 0;

	if (store_build_jobs(s->place.store, b->id, &jobs, &n, e)) return -1;
	json_array_append_new(list, report_build_json(b, jobs, n));
	job_rows_free(&jobs, n);
	return 0;
}

/* Events that wait because preparing them failed. */
static int print_waiting(struct show *s, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	int64_t after = 0;
	int got, shown = 0;

	for (;;) {
		__attribute__((cleanup(event_row_release))) struct event_row row = {0};

		got = store_event_next_new(s->place.store, after, &row, e);
		if (got || shown == EVENT_COUNT) break;
		after = row.id;
		if (!row.failures || (s->repo_id && row.repo_id != s->repo_id)) continue;
		report_event_line(&row, clock_unix_ms(), &text);
		shown++;
	}
	put(&text);
	return got < 0 ? -1 : 0;
}

int cmd_status(int argc, char **argv)
{
	_cleanup_show_ struct show s = {0};
	_cleanup_json_ json_t *list = json_array();
	struct build_row *rows = NULL;
	size_t n = 0;
	struct err e;
	int failed = 0;

	if (show_options(&s, argc, argv) || optind != argc) return cmd_usage(argv[0]);
	if (show_open(&s, &e) || store_build_list(s.place.store, s.repo_id, DEFAULT_COUNT, &rows, &n, &e))
		return cmd_fail(argv[0], e.text);
	if (!s.json) warn_unless_served(&s, argv[0]);
	for (size_t i = 0; i < n && !failed; i++)
		failed = s.json ? add_json(&s, &rows[i], list, &e) : print_build(&s, &rows[i], &e);
	build_rows_free(&rows, n);
	if (failed || (!s.json && print_waiting(&s, &e))) return cmd_fail(argv[0], e.text);
	if (s.json) {
		_cleanup_free_ char *text = json_text(list);

		puts(text);
	} else if (!n) {
		puts("no builds yet");
	}
	return 0;
}

int cmd_events(int argc, char **argv)
{
	_cleanup_show_ struct show s = {0};
	_cleanup_json_ json_t *list = json_array();
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct event_row *rows = NULL;
	size_t n = 0;
	struct err e;

	if (show_options(&s, argc, argv) || optind != argc) return cmd_usage(argv[0]);
	if (show_open(&s, &e) || store_event_list(s.place.store, s.repo_id, EVENT_COUNT, &rows, &n, &e))
		return cmd_fail(argv[0], e.text);
	for (size_t i = 0; i < n; i++) {
		if (s.json)
			json_array_append_new(list, report_event_json(&rows[i]));
		else
			report_event_line(&rows[i], clock_unix_ms(), &text);
	}
	event_rows_free(&rows, n);
	if (s.json) {
		_cleanup_free_ char *all = json_text(list);

		buf_addf(&text, "%s\n", all);
	}
	put(&text);
	return 0;
}

/* --- watch --- */

/* What was last shown of each job, so that a pipe gets a line when something changed and no line when not. */
struct shown {
	char **lines;
	size_t n;
};

static void shown_release(struct shown *v)
{
	for (size_t i = 0; i < v->n; i++) free(v->lines[i]);
	free(v->lines);
}

/* A job's line without its running time: what has to change for the line to be worth printing again. */
static char *essence(const struct job_row *j)
{
	return xasprintf("%s|%s|%s|%s", job_state_name(j->state), j->step ? j->step : "", j->reason ? j->reason : "",
			 j->publish_commit ? j->publish_commit : "");
}

static void draw_changes(const struct build_row *b, const struct job_row *jobs, size_t n, struct shown *seen,
			 struct buf *text)
{
	if (seen->n != n) {
		shown_release(seen);
		seen->lines = xcalloc(n, sizeof(*seen->lines));
		seen->n = n;
	}
	for (size_t i = 0; i < n; i++) {
		char *now = essence(&jobs[i]);

		if (!seen->lines[i] || strcmp(seen->lines[i], now) != 0)
			report_job_line(b, &jobs[i], clock_unix_ms(), 0, text);
		free(seen->lines[i]);
		seen->lines[i] = now;
	}
}

/* A terminal: the whole block again, over the last one. */
static void draw_block(const struct build_row *b, const struct job_row *jobs, size_t n, size_t *height,
		       struct buf *text)
{
	if (*height) buf_addf(text, "\033[%zuA", *height);
	for (size_t i = 0; i < n; i++) {
		buf_adds(text, "\033[2K");
		report_job_line(b, &jobs[i], clock_unix_ms(), 1, text);
	}
	*height = n;
}

/* Shows the build until it is final. out: its state */
static int follow_build(struct show *s, struct build_row *b, int64_t until_mono_ms, struct err *e)
{
	__attribute__((cleanup(shown_release))) struct shown seen = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(16 << 20);
	int tty = isatty(STDOUT_FILENO);
	size_t height = 0;
	int64_t id = b->id;

	for (;;) {
		struct job_row *jobs = NULL;
		size_t n = 0;

		if (store_build_jobs(s->place.store, id, &jobs, &n, e)) return -1;
		if (tty)
			draw_block(b, jobs, n, &height, &text);
		else
			draw_changes(b, jobs, n, &seen, &text);
		put(&text);
		job_rows_free(&jobs, n);
		if (build_state_is_final(b->state)) return 0;
		if (clock_mono_ms() > until_mono_ms)
			return err_set(e, ERR_BUSY, "build %d is still %s", b->number, build_state_name(b->state));
		poll(NULL, 0, TICK_MS);
		build_row_release(b);
		if (store_build_get(s->place.store, id, b, e)) return -1;
	}
}

/* What came of the pushes so far: 1 while one waits to be planned that may be the one to watch; -1 with *e when the
 * commit asked for was not built. */
static int is_waited_for(struct show *s, struct err *e)
{
	struct event_row *rows = NULL;
	size_t n = 0;
	int waits = 0;

	if (s->build) return 0;
	if (store_event_list(s->place.store, s->repo_id, EVENT_COUNT, &rows, &n, e)) return -1;
	for (size_t i = 0; i < n && waits >= 0; i++) {
		const struct event_row *r = &rows[i];
		int meant = s->commit && r->ev.commit && !strncmp(r->ev.commit, s->commit, strlen(s->commit));

		if (r->state == EVENT_NEW && (!s->commit || meant)) waits = 1;
		if (meant && !waits && (r->state == EVENT_SKIPPED || r->state == EVENT_REJECTED))
			waits = err_set(e, ERR_MISSING, "%.10s is not built: %s", r->ev.commit,
					r->reason ? r->reason : "");
		if (meant) break; /* the newest word about it */
	}
	event_rows_free(&rows, n);
	return waits;
}

/* Waits for the build to appear. A push that is stored but not planned yet counts: what was pushed is watched, not
 * the build before it. */
static int await_build(struct show *s, int64_t until_mono_ms, struct build_row *b, struct err *e)
{
	for (;;) {
		int waits = is_waited_for(s, e), rc = waits ? 1 : find_build(s, b, e);

		if (waits < 0 && s->commit && !find_build(s, b, e)) return 0; /* built before it was skipped */
		if (waits < 0 || rc < 0) return -1;
		if (!rc) return 0;
		if (clock_mono_ms() >= until_mono_ms) return err_set(e, ERR_BUSY, "no such build appeared in time");
		poll(NULL, 0, TICK_MS);
	}
}

int cmd_watch(int argc, char **argv)
{
	_cleanup_show_ struct show s = {.timeout_s = 24 * 3600};
	__attribute__((cleanup(build_row_release))) struct build_row b = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	int64_t until;
	struct err e;

	if (show_options(&s, argc, argv) || optind != argc) return cmd_usage(argv[0]);
	until = clock_mono_ms() + (int64_t)s.timeout_s * 1000;
	if (show_open(&s, &e)) return cmd_fail(argv[0], e.text);
	warn_unless_served(&s, argv[0]);
	if (await_build(&s, until, &b, &e)) return cmd_fail(argv[0], e.text);
	report_build_line(&b, clock_unix_ms(), &text);
	put(&text);
	if (follow_build(&s, &b, until, &e)) return cmd_fail(argv[0], e.text);
	report_build_line(&b, clock_unix_ms(), &text);
	put(&text);
	return b.state == BUILD_PASSED ? 0 : 1;
}

/* --- log --- */

/* Copies the log from *offset to its present end. */
static int copy_log(const char *path, int64_t *offset, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char chunk[1 << 16];

	if (fd < 0) return errno == ENOENT ? 0 : err_sys(e, "cannot open '%s'", path);
	for (;;) {
		ssize_t n = pread(fd, chunk, sizeof(chunk), *offset);

		if (n < 0) return err_sys(e, "cannot read '%s'", path);
		if (n == 0) break;
		fwrite(chunk, 1, (size_t)n, stdout);
		*offset += n;
	}
	fflush(stdout);
	return 0;
}

static int show_log(struct show *s, int64_t job_id, struct err *e)
{
	_cleanup_free_ char *path = home_job(&s->place.home, job_id, "log");
	int64_t offset = 0;

	for (;;) {
		__attribute__((cleanup(job_row_release))) struct job_row row = {0};

		if (store_job_get(s->place.store, job_id, &row, e)) return -1;
		if (row.log_hash && !fs_exists(path))
			return err_set(e, ERR_MISSING,
				       "the job's files are not on this box any more: they were old, "
				       "and `runner gc` removed them");
		if (copy_log(path, &offset, e)) return -1;
		if (!s->follow || job_state_is_final(row.state)) return 0;
		poll(NULL, 0, TICK_MS);
	}
}

/* "3.1": build 3, job 1. */
static int find_job(struct show *s, const char *number, int64_t *id_r, struct err *e)
{
	__attribute__((cleanup(build_row_release))) struct build_row b = {0};
	struct job_row *jobs = NULL;
	int job = 0, rc, end = 0;
	size_t n = 0;

	if (sscanf(number, "%d.%d%n", &s->build, &job, &end) != 2 || number[end] || s->build < 1)
		return err_set(e, ERR_INPUT, "'%s' is not a job's number, like 3.1", number);
	if (need_one_repo(s, e)) return -1;
	rc = find_build(s, &b, e);
	if (rc < 0) return -1;
	if (rc || store_build_jobs(s->place.store, b.id, &jobs, &n, e))
		return err_set(e, ERR_MISSING, "there is no build %d", s->build);
	*id_r = 0;
	for (size_t i = 0; i < n; i++)
		if (jobs[i].number == job) *id_r = jobs[i].id;
	job_rows_free(&jobs, n);
	if (!n) return err_set(e, ERR_MISSING, "build %d has no jobs: %s", s->build, b.reason ? b.reason : "");
	return *id_r ? 0 : err_set(e, ERR_MISSING, "there is no job %s", number);
}

int cmd_log(int argc, char **argv)
{
	_cleanup_show_ struct show s = {0};
	struct err e;
	int64_t id;

	if (show_options(&s, argc, argv) || optind + 1 != argc) return cmd_usage(argv[0]);
	if (show_open(&s, &e) || find_job(&s, argv[optind], &id, &e) || show_log(&s, id, &e))
		return cmd_fail(argv[0], e.text);
	return 0;
}

int cmd_timeline(int argc, char **argv)
{
	_cleanup_show_ struct show s = {0};
	__attribute__((cleanup(build_row_release))) struct build_row b = {0};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct job_row *jobs = NULL;
	size_t n = 0;
	struct err e;
	int rc;

	if (show_options(&s, argc, argv) || optind != argc) return cmd_usage(argv[0]);
	if (show_open(&s, &e) || (rc = find_build(&s, &b, &e)) < 0) return cmd_fail(argv[0], e.text);
	if (rc) return cmd_fail(argv[0], "there is no such build");
	if (store_build_jobs(s.place.store, b.id, &jobs, &n, &e)) return cmd_fail(argv[0], e.text);
	report_timeline(&b, jobs, n, s.from_ms, &text);
	put(&text);
	job_rows_free(&jobs, n);
	return 0;
}

/* --- cancel: the one command here that changes something --- */

int cmd_cancel(int argc, char **argv)
{
	_cleanup_show_ struct show s = {0};
	struct err e;
	int64_t id;
	int rc;

	if (show_options(&s, argc, argv) || optind + 1 != argc) return cmd_usage(argv[0]);
	if (show_open(&s, &e) || find_job(&s, argv[optind], &id, &e)) return cmd_fail(argv[0], e.text);
	rc = store_job_cancel(s.place.store, id, "canceled", clock_unix_ms(), &e);
	if (rc < 0 || (rc == 1 && leader_tell(&s.place.home, id, &e))) return cmd_fail(argv[0], e.text);
	home_wake(&s.place.home);
	return 0;
}
