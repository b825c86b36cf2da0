/* A process that stores events in a loop is killed fifty times while a second one does the same: every event that
 * was reported as stored is there, once. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/buf.h"
#include "runner/store/db.h"
#include "runner/store/store.h"

enum { ROUNDS = 50, WRITERS = 2, MOST_REPORTS = 40 };

struct report {
	int64_t id;
	int round, writer, serial;
};

static _Noreturn void add_for_ever(const char *path, int round, int writer, int out)
{
	static char repo[] = "me/site", ref[] = "refs/heads/main",
		    commit[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct store *s;
	struct err e;

	if (store_open(path, &s, &e)) _exit(1);
	for (int serial = 0;; serial++) {
		struct report r = {.round = round, .writer = writer, .serial = serial};
		char delivery[64];
		struct event ev = {
			.source = EVENT_FROM_GITHUB, .delivery = delivery, .repo = repo, .ref = ref, .commit = commit};

		snprintf(delivery, sizeof(delivery), "%d-%d-%d", round, writer, serial);
		if (store_event_add(s, &ev, 1, &r.id, &e)) _exit(2);
		if (write(out, &r, sizeof(r)) != sizeof(r)) _exit(3);
	}
}

/* Kills both writers after a number of reports that differs from round to round; what they had reported by then is
 * still in the pipe. */
static void one_round(const char *path, int round, struct buf *reports)
{
	pid_t pids[WRITERS];
	int p[2], ws;
	struct report r;

	assert_int_equal(pipe(p), 0);
	for (int i = 0; i < WRITERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			close(p[0]);
			add_for_ever(path, round, i, p[1]);
		}
	}
	close(p[1]);
	for (int i = 0; i <= (round * 7) % MOST_REPORTS; i++) {
		assert_int_equal(read(p[0], &r, sizeof(r)), sizeof(r));
		buf_add(reports, &r, sizeof(r));
	}
	for (int i = 0; i < WRITERS; i++) kill(pids[i], SIGKILL);
	while (read(p[0], &r, sizeof(r)) == sizeof(r)) buf_add(reports, &r, sizeof(r));
	close(p[0]);
	for (int i = 0; i < WRITERS; i++) {
		assert_int_equal(waitpid(pids[i], &ws, 0), pids[i]);
		assert_true(WIFSIGNALED(ws));
		assert_int_equal(WTERMSIG(ws), SIGKILL);
	}
}

static void check_report(struct store *s, const struct report *r)
{
	struct event_row row;
	char delivery[64];
	struct err e;

	snprintf(delivery, sizeof(delivery), "%d-%d-%d", r->round, r->writer, r->serial);
	assert_done(store_event_get(s, r->id, &row, &e), e);
	assert_string_equal(row.ev.delivery, delivery);
	event_row_release(&row);
}

static int64_t number(struct db *db, const char *sql)
{
	struct err e;
	int64_t n = -1;

	assert_done(db_number(db, sql, DB_NONE, &n, &e), e);
	return n;
}

static void test_killed_writers_lose_nothing(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/slipway.db", dir);
	_cleanup_buf_ struct buf reports = BUF_INIT(64 << 20);
	struct store *s;
	struct db *db;
	struct err e;
	int64_t id, stored;
	size_t n;

	(void)state;
	assert_done(store_open(path, &s, &e), e);
	assert_done(store_repo_add(s, "me/site", "/x", 1, &id, &e), e);
	store_close(&s);
	for (int round = 0; round < ROUNDS; round++) one_round(path, round, &reports);

	n = reports.len / sizeof(struct report);
	assert_done(store_open(path, &s, &e), e);
	for (size_t i = 0; i < n; i++) check_report(s, &((const struct report *)(const void *)reports.data)[i]);
	store_close(&s);

	assert_done(db_open(path, &db, &e), e);
	stored = number(db, "SELECT count(*) FROM events");
	assert_int_equal(stored, number(db, "SELECT count(DISTINCT delivery) FROM events"));
	/* stored and not yet reported: at most one for each writer of each round */
	assert_in_range(stored, n, n + (size_t)ROUNDS * WRITERS);
	assert_int_equal(number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
	db_close(&db);
	print_message("%zu events reported, %lld stored\n", n, (long long)stored);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_writers_lose_nothing)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
