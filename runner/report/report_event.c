/* Events as text and JSON. */
#include "runner/report/report.h"
#include "runner/report/report_text.h"

static const char *name_of(const struct event *ev)
{
	if (ev->tag) return ev->tag;
	return ev->branch ? ev->branch : ev->ref;
}

void report_event_line(const struct event_row *r, int64_t now_ms, struct buf *out)
{
	int64_t wait_s = (r->next_try_ms - now_ms + 999) / 1000;

	buf_addf(out, "event %lld  %s  ", (long long)r->id, r->ev.repo);
	report_plain(out, name_of(&r->ev), 60);
	buf_addf(out, "  %.8s  %s", r->ev.commit ? r->ev.commit : "-", event_state_name(r->state));
	if (r->state == EVENT_NEW && r->failures) {
		if (wait_s > 0)
			buf_addf(out, "  next try in %lld s", (long long)wait_s);
		else
			buf_adds(out, "  tried again now");
		buf_adds(out, r->reason ? ":" : "");
	}
	if (r->reason) buf_addch(out, ' ');
	report_plain(out, r->reason, 300);
	buf_addch(out, '\n');
}

json_t *report_event_json(const struct event_row *r)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_integer(r->id));
	json_object_set_new(o, "repo", report_text(r->ev.repo));
	json_object_set_new(o, "kind", json_string(event_kind_name(r->ev.kind)));
	json_object_set_new(o, "source", json_string(event_source_name(r->ev.source)));
	json_object_set_new(o, "delivery", report_text(r->ev.delivery));
	json_object_set_new(o, "ref", report_text(r->ev.ref));
	json_object_set_new(o, "commit", report_text(r->ev.commit));
	json_object_set_new(o, "state", json_string(event_state_name(r->state)));
	json_object_set_new(o, "reason", report_text(r->reason));
	json_object_set_new(o, "build_id", r->build_id ? json_integer(r->build_id) : json_null());
	json_object_set_new(o, "attempts", json_integer(r->attempts));
	json_object_set_new(o, "failures", json_integer(r->failures));
	json_object_set_new(o, "next_try_at_ms", report_time(r->state == EVENT_NEW ? r->next_try_ms : 0));
	json_object_set_new(o, "received_at_ms", report_time(r->received_ms));
	return o;
}
