/* Builds and jobs as text and JSON. */
#include "runner/report/report.h"

#include <string.h>

#include "runner/report/report_text.h"

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

void report_plain(struct buf *out, const char *s, size_t most)
{
	for (size_t i = 0; s && s[i] && i < most; i++)
		buf_addch(out, (unsigned char)s[i] < 32 || s[i] == 127 ? ' ' : s[i]);
}

static void add_seconds(struct buf *out, int64_t from_ms, int64_t to_ms)
{
	if (from_ms && to_ms >= from_ms) buf_addf(out, "%.1f s", (double)(to_ms - from_ms) / 1000);
}

json_t *report_text(const char *s)
{
	json_t *j = s ? json_string(s) : NULL;

	return j ? j : json_null();
}

json_t *report_time(int64_t at_ms)
{
	return at_ms ? json_integer(at_ms) : json_null();
}

static json_t *stage_of(const struct job_row *j)
{
	_cleanup_json_ json_t *spec = NULL;
	struct err none;

	if (!j->spec || json_parse("job", j->spec, strlen(j->spec), &spec, &none)) return json_null();
	return report_text(json_string_or(spec, "stage", NULL));
}

static json_t *job_json(const struct build_row *b, const struct job_row *j)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(j->id));
	json_object_set_new(o, "number", json_sprintf("%d.%d", b->number, j->number));
	json_object_set_new(o, "name", report_text(j->name));
	json_object_set_new(o, "stage", stage_of(j));
	json_object_set_new(o, "backend", report_text(j->backend));
	json_object_set_new(o, "arch", report_text(j->arch));
	json_object_set_new(o, "emulated", json_boolean(j->emulated));
	json_object_set_new(o, "allow_failure", json_boolean(j->allow_failure));
	json_object_set_new(o, "state", json_string(job_state_name(j->state)));
	json_object_set_new(o, "attempt", json_integer(j->attempt));
	json_object_set_new(o, "step", report_text(j->step));
	json_object_set_new(o, "reason", report_text(j->reason));
	json_object_set_new(o, "exit_code", j->exit_code < 0 ? json_null() : json_integer(j->exit_code));
	json_object_set_new(o, "image_digest", report_text(j->image_digest));
	json_object_set_new(o, "publish_commit", report_text(j->publish_commit));
	json_object_set_new(o, "queued_at_ms", report_time(j->queued_ms));
	json_object_set_new(o, "started_at_ms", report_time(j->started_ms));
	json_object_set_new(o, "first_log_at_ms", report_time(j->first_log_ms));
	json_object_set_new(o, "published_at_ms", report_time(j->published_ms));
	json_object_set_new(o, "finished_at_ms", report_time(j->finished_ms));
	json_object_set_new(o, "log_bytes", json_integer(j->log_bytes));
	json_object_set_new(o, "log_blake2b", report_text(j->log_hash));
	return o;
}

json_t *report_build_json(const struct build_row *b, const struct job_row *jobs, size_t njobs)
{
	json_t *o = json_object(), *list = json_array();

	json_object_set_new(o, "id", json_integer(b->id));
	json_object_set_new(o, "repo", report_text(b->repo));
	json_object_set_new(o, "number", json_integer(b->number));
	json_object_set_new(o, "event", json_string(event_kind_name(b->kind)));
	json_object_set_new(o, "ref", report_text(b->ref));
	json_object_set_new(o, "branch", report_text(b->branch));
	json_object_set_new(o, "commit", report_text(b->commit));
	json_object_set_new(o, "message", report_text(b->message));
	json_object_set_new(o, "state", json_string(build_state_name(b->state)));
	json_object_set_new(o, "reason", report_text(b->reason));
	json_object_set_new(o, "received_at_ms", report_time(b->event_received_ms));
	json_object_set_new(o, "created_at_ms", report_time(b->created_ms));
	json_object_set_new(o, "started_at_ms", report_time(b->started_ms));
	json_object_set_new(o, "finished_at_ms", report_time(b->finished_ms));
	for (size_t i = 0; i < njobs; i++) json_array_append_new(list, job_json(b, &jobs[i]));
	json_object_set_new(o, "jobs", list);
	return o;
}

void report_build_line(const struct build_row *b, int64_t now_ms, struct buf *out)
{
	const char *newline = b->message ? strchr(b->message, '\n') : NULL;

	buf_addf(out, "%s build %d  ", b->repo, b->number);
	report_plain(out, or_empty(b->branch), 60);
	buf_addf(out, "  %.8s  %s  ", or_empty(b->commit), build_state_name(b->state));
	add_seconds(out, b->started_ms, b->finished_ms ? b->finished_ms : now_ms);
	buf_adds(out, "  ");
	report_plain(out, b->message, newline ? (size_t)(newline - b->message) : 60);
	buf_adds(out, "\n");
	if (b->reason && *b->reason)
		buf_addf(out, "%s%s", b->reason, b->reason[strlen(b->reason) - 1] == '\n' ? "" : "\n");
}

static const char *state_colour(enum job_state st)
{
	switch (st) {
	case JOB_QUEUED: return "\033[90m";
	case JOB_RUNNING: return "\033[33m";
	case JOB_PUBLISHING: return "\033[36m";
	case JOB_PASSED: return "\033[32m";
	case JOB_FAILED: return "\033[31m";
	case JOB_ERRORED: return "\033[31m";
	case JOB_CANCELED: return "\033[35m";
	case JOB_SKIPPED: return "\033[90m";
	}
	die("unknown job state %d", (int)st);
}

void report_job_line(const struct build_row *b, const struct job_row *j, int64_t now_ms, int colour, struct buf *out)
{
	_cleanup_buf_ struct buf name = BUF_INIT(200), took = BUF_INIT(40);

	report_plain(&name, j->name, 60);
	add_seconds(&took, j->started_ms, j->finished_ms ? j->finished_ms : now_ms);
	buf_addf(out, "  %d.%-3d %-16s %s%-10s%s %8s  ", b->number, j->number, buf_str(&name),
		 colour ? state_colour(j->state) : "", job_state_name(j->state), colour ? "\033[0m" : "",
		 buf_str(&took));
	report_plain(out, job_state_is_final(j->state) ? j->reason : j->step, 240);
	if (j->publish_commit) buf_addf(out, "published as %.8s", j->publish_commit);
	if (j->emulated) buf_adds(out, " (emulated)");
	if (j->allow_failure) buf_adds(out, " (may fail)");
	buf_adds(out, "\n");
}

static void add_moment(struct buf *out, int64_t from_ms, int64_t at_ms, const char *what, const char *who)
{
	if (at_ms) buf_addf(out, "%8lld ms  %s%s%s\n", (long long)(at_ms - from_ms), what, *who ? "  " : "", who);
}

void report_timeline(const struct build_row *b, const struct job_row *jobs, size_t njobs, int64_t from_ms,
		     struct buf *out)
{
	int64_t from = from_ms ? from_ms : b->event_received_ms;

	add_moment(out, from, b->event_received_ms, "event stored", "");
	add_moment(out, from, b->created_ms, "planned", "");
	for (size_t i = 0; i < njobs; i++) {
		add_moment(out, from, jobs[i].started_ms, "job started", jobs[i].name);
		add_moment(out, from, jobs[i].first_log_ms, "first log line", jobs[i].name);
		add_moment(out, from, jobs[i].published_ms, "published", jobs[i].name);
		add_moment(out, from, jobs[i].finished_ms, job_state_name(jobs[i].state), jobs[i].name);
	}
}
