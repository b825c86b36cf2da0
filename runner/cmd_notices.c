/* `runner notices`: who was told of builds, and what became of it. */
#include <getopt.h>
#include <stdio.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/place.h"
#include "runner/report/report.h"
#include "runner/report/report_text.h"

static json_t *notice_json(const struct notice_row *n)
{
	return json_pack("{s:I, s:I, s:s, s:o, s:s, s:s, s:i, s:o, s:o, s:o, s:o}", "id", (json_int_t)n->id, "build_id",
			 (json_int_t)n->build_id, "kind", notice_kind_name(n->kind), "target", report_text(n->target),
			 "state", notice_state_name(n->state), "delivery", n->delivery, "attempts", n->attempts,
			 "reason", report_text(n->reason), "due_at_ms", report_time(n->due_ms), "next_try_at_ms",
			 report_time(n->state == NOTICE_DUE ? n->next_try_ms : 0), "done_at_ms",
			 report_time(n->done_ms));
}

static void print_notice(const struct notice_row *n)
{
	_cleanup_buf_ struct buf line = BUF_INIT(4096);

	buf_addf(&line, "notice %lld  %s ", (long long)n->id, notice_kind_name(n->kind));
	report_plain(&line, n->target, 200);
	buf_addf(&line, "  %s  %d attempts  ", notice_state_name(n->state), n->attempts);
	report_plain(&line, n->reason, 300);
	printf("%s\n", buf_str(&line));
}

int cmd_notices(int argc, char **argv)
{
	static const struct option known[] = {{"state", required_argument, NULL, 's'},
					      {"repo", required_argument, NULL, 'r'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	enum { MOST = 100 };
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo repo = {0};
	_cleanup_json_ json_t *all = json_array();
	_cleanup_free_ char *text = NULL;
	const char *state = NULL, *name = NULL;
	struct notice_row *rows = NULL;
	int c, json = 0;
	struct err e;
	size_t n = 0;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 's': state = optarg; break;
		case 'r': name = optarg; break;
		case 'j': json = 1; break;
		default: return cmd_usage(argv[0]);
		}
	if (optind != argc) return cmd_usage(argv[0]);
	if (place_open(state, &p, &e) || (name && store_repo_find(p.store, name, &repo, &e)) ||
	    store_notice_list(p.store, repo.id, MOST, &rows, &n, &e))
		return cmd_fail(argv[0], e.text);
	for (size_t i = 0; i < n; i++) {
		if (!json) print_notice(&rows[i]);
		if (json_array_append_new(all, notice_json(&rows[i]))) die("cannot make JSON");
	}
	notice_rows_free(&rows, n);
	text = json_text(all);
	if (json) printf("%s\n", text);
	return 0;
}
