/* `runner notify STATE ID` (internal): one attempt to deliver one notice. That it is made is in the row before anything
 * is sent, and when the next one would be: killed at any moment, the notice is sent again later, under the same
 * delivery id, never lost and never in a tight loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "lib/num.h"
#include "runner/cmd.h"
#include "runner/notify.h"
#include "runner/permits.h"
#include "runner/place.h"
#include "runner/report/notify.h"

enum {
	FIRST_WAIT_MS = 2000, /* after a failure; doubled by each one more */
	LONGEST_WAIT_MS = 3600 * 1000,
	MOST_HOURS = 24, /* then it is given up */
	PROGRAM_MS = 60 * 1000,
	SAID_MAX = 65536,
};

struct telling {
	struct place p;
	struct notice_row notice;
	struct build_row build;
	struct job_row *jobs;
	size_t njobs;
	char *url; /* NULL: no public address */
};

static void telling_release(struct telling *t)
{
	job_rows_free(&t->jobs, t->njobs);
	build_row_release(&t->build);
	notice_row_release(&t->notice);
	free_p(&t->url);
	place_release(&t->p);
}

/* --- the three ways --- */

static char *body_of(const struct telling *t)
{
	_cleanup_json_ json_t *j = notify_json(&t->build, t->jobs, t->njobs, t->notice.delivery, t->url);

	return json_text(j);
}

/* An entry is a whole address, or a beginning of one that ends where a part of it does. */
static int is_listed(const struct vec *entries, const char *url)
{
	for (size_t i = 0; i < entries->len; i++) {
		size_t n = strlen(entries->items[i]);

		if (strncmp(url, entries->items[i], n) != 0) continue;
		if (!url[n] || strchr("/?", url[n]) || entries->items[i][n - 1] == '/') return 1;
	}
	return 0;
}

static int send_webhook(const struct telling *t, struct err *e)
{
	_cleanup_secret_ struct secret secret = SECRET_INIT;
	_cleanup_vec_ struct vec allowed = VEC_INIT;
	_cleanup_free_ char *body = body_of(t);
	struct webhook w = {.url = t->notice.target,
			    .delivery = t->notice.delivery,
			    .body = body,
			    .len = strlen(body),
			    .secret = &secret};

	if (permit_list(&t->p.home, t->notice.repo_id, PERMIT_WEBHOOKS, &allowed, e) ||
	    notify_secret(&t->p.home, t->notice.repo_id, &secret, e))
		return -1;
	w.anywhere = is_listed(&allowed, w.url);
	if (!webhook_send(&w, e)) return 0;
	if (e->kind != ERR_DENIED) return -1;
	return err_set(e, ERR_DENIED,
		       "it leads to an address that is not public, or to this box itself. The runner's owner allows it "
		       "with: runner repo allow-webhook %s %.300s",
		       t->build.repo, w.url);
}

/* A program of the box's owner, with what it is to tell on its standard input. */
static int run_program(const char *const *argv, const char *const *env, const char *input, struct err *e)
{
	_cleanup_buf_ struct buf in = BUF_INIT(SIZE_MAX / 2), out = BUF_INIT(SAID_MAX);
	struct child_opts o = {.argv = argv, .env = env, .cwd = "/", .die_with_parent = 1, .kill_group = 1};

	buf_adds(&in, input);
	return child_check(&o, &in, PROGRAM_MS, &out, e);
}

static int send_mail(const struct telling *t, struct err *e)
{
	const char *set = getenv("SLIPWAY_SENDMAIL"), *from = getenv("SLIPWAY_MAIL_FROM");
	const char *program = set && *set ? set : "/usr/sbin/sendmail";
	_cleanup_free_ char *mail = NULL;

	if (from && (!*from || strpbrk(from, "\r\n"))) from = NULL;
	mail = notify_mail(&t->build, t->jobs, t->njobs, t->notice.delivery, t->url, t->notice.target, from,
			   clock_unix_ms());
	/* The receiver is an argument, not found in the text (-t). */
	return run_program((const char *const[]){program, "-oi", "--", t->notice.target, NULL}, NULL, mail, e);
}

static int run_command(const struct telling *t, struct err *e)
{
	_cleanup_vec_ struct vec allowed = VEC_INIT, env = VEC_INIT;
	_cleanup_free_ char *body = body_of(t);
	const char *path = NULL, *own = getenv("PATH");
	size_t n = strlen(t->notice.target);

	if (permit_list(&t->p.home, t->notice.repo_id, PERMIT_COMMANDS, &allowed, e)) return -1;
	for (size_t i = 0; i < allowed.len; i++)
		if (!strncmp(allowed.items[i], t->notice.target, n) && allowed.items[i][n] == '=')
			path = allowed.items[i] + n + 1;
	if (!path)
		return err_set(
			e, ERR_DENIED,
			"there is no such command. The runner's owner makes one with: runner repo allow-command %s "
			"%s PROGRAM",
			t->build.repo, t->notice.target);
	vec_setenv(&env, "PATH", own ? own : "/usr/bin:/bin");
	vec_setenv(&env, "LC_ALL", "C.UTF-8");
	vec_setenv(&env, "SLIPWAY_DELIVERY", t->notice.delivery);
	return run_program((const char *const[]){path, NULL}, (const char *const *)vec_argv(&env), body, e);
}

static int deliver(const struct telling *t, struct err *e)
{
	switch (t->notice.kind) {
	case NOTICE_WEBHOOK: return send_webhook(t, e);
	case NOTICE_EMAIL: return send_mail(t, e);
	case NOTICE_COMMAND: return run_command(t, e);
	}
	die("unknown notice %d", (int)t->notice.kind);
}

/* --- one attempt --- */

static int64_t wait_ms(int attempts)
{
	int64_t ms = FIRST_WAIT_MS;

	while (--attempts > 0 && ms < LONGEST_WAIT_MS) ms *= 2;
	return ms < LONGEST_WAIT_MS ? ms : LONGEST_WAIT_MS;
}

static int load(struct telling *t, int64_t id, struct err *e)
{
	struct store *s = t->p.store;

	if (store_notice_get(s, id, &t->notice, e) || store_build_get(s, t->notice.build_id, &t->build, e) ||
	    store_build_jobs(s, t->notice.build_id, &t->jobs, &t->njobs, e))
		return -1;
	t->url = home_build_url(t->build.id, 0);
	return 0;
}

static int attempt(struct telling *t, struct err *e)
{
	const struct notice_row *n = &t->notice;
	int64_t now = clock_unix_ms(), next = now + wait_ms(n->attempts + 1);
	struct err why;
	int over;

	if (store_notice_begin(t->p.store, n->id, next, e)) return -1;
	if (!deliver(t, &why)) return store_notice_close(t->p.store, n->id, NOTICE_SENT, NULL, clock_unix_ms(), e);
	over = now - n->due_ms > MOST_HOURS * 3600 * 1000LL || why.kind == ERR_INPUT || why.kind == ERR_DENIED;
	fprintf(stderr, "notice %lld: %s '%.200s': %s%s\n", (long long)n->id, notice_kind_name(n->kind), n->target,
		why.text, over ? "; given up" : "");
	if (over) return store_notice_close(t->p.store, n->id, NOTICE_GIVEN_UP, why.text, clock_unix_ms(), e);
	return store_notice_retry(t->p.store, n->id, why.text, clock_unix_ms() + wait_ms(n->attempts + 1), e);
}

int cmd_notify(int argc, char **argv)
{
	__attribute__((cleanup(telling_release))) struct telling t = {0};
	struct err e;
	int64_t id;

	if (argc != 3 || num_parse(argv[2], 1, INT64_MAX, &id)) return cmd_usage(argv[0]);
	if (place_open(argv[1], &t.p, &e) || load(&t, id, &e)) return cmd_fail(argv[0], e.text);
	if (t.notice.state != NOTICE_DUE) return 0;
	return attempt(&t, &e) ? cmd_fail(argv[0], e.text) : 0;
}
