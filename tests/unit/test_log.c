/* runner/log: masked, indexed, hashed, bounded; a failed write is never forgotten. */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sodium.h>
#include <sys/resource.h>

#include "lib/buf.h"
#include "lib/secret.h"
#include "runner/log/log.h"

static void read_log(const char *dir, const char *name, struct buf *b)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	struct err e;

	assert_done(fs_read_file(path, b, &e), e);
}

static void close_log(struct log **l, int64_t *bytes, char hash[65])
{
	struct err e;

	assert_done(log_close(l, bytes, hash, &e), e);
}

static void test_a_secret_is_masked_over_the_edges_of_writes(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_buf_ struct buf text = BUF_INIT(10000);
	struct mask *mask = mask_new();
	struct log *l = NULL;
	char hash[65], want[65];
	unsigned char raw[32];
	int64_t bytes;
	struct err e;

	(void)state;
	assert_int_equal(mask_add(mask, "hunter2hunter2", 14), 0);
	assert_done(log_open(dir, mask, 1 << 20, &l, &e), e);
	for (const char *p = "before hunter2hunter2 after\n"; *p; p++) assert_done(log_write(l, p, 1, &e), e);
	log_line(l, "ours: %s", "hunter2hunter2");
	close_log(&l, &bytes, hash);
	assert_null(l);
	read_log(dir, "log", &text);
	assert_string_equal(buf_str(&text), "before [secure] after\nours: [secure]\n");
	assert_int_equal(bytes, text.len);
	crypto_generichash(raw, sizeof(raw), (const unsigned char *)text.data, text.len, NULL, 0);
	sodium_bin2hex(want, sizeof(want), raw, sizeof(raw));
	assert_string_equal(hash, want);
}

static void test_the_index_tells_where_each_write_starts(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_buf_ struct buf index = BUF_INIT(10000);
	struct log *l = NULL;
	char hash[65];
	int64_t bytes;
	struct err e;

	(void)state;
	assert_done(log_open(dir, NULL, 1 << 20, &l, &e), e);
	log_line(l, "12345");
	log_line(l, "7");
	close_log(&l, &bytes, hash);
	read_log(dir, "log.idx", &index);
	assert_int_equal(index.len, 32);
	assert_memory_equal(index.data + 8, "\0\0\0\0\0\0\0\0", 8);
	assert_memory_equal(index.data + 24, "\6\0\0\0\0\0\0\0", 8);
}

static void test_a_full_log_says_so_and_takes_no_more(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_buf_ struct buf text = BUF_INIT(10000);
	struct log *l = NULL;
	char hash[65];
	int64_t bytes;
	struct err e;

	(void)state;
	assert_done(log_open(dir, NULL, 10, &l, &e), e);
	assert_done(log_write(l, "1234567", 7, &e), e);
	assert_false(log_full(l));
	assert_done(log_write(l, "89abcdef", 8, &e), e);
	assert_true(log_full(l));
	assert_done(log_write(l, "more", 4, &e), e);
	close_log(&l, &bytes, hash);
	read_log(dir, "log", &text);
	assert_string_equal(buf_str(&text),
			    "123456789a\n\nThe log is longer than this box keeps for a job; the rest is not kept.\n");
}

static void test_a_write_that_failed_fails_for_good(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	struct rlimit was, small;
	struct log *l = NULL;
	char hash[65];
	int64_t bytes;
	struct err e;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	small = was;
	small.rlim_cur = 4;
	assert_done(log_open(dir, NULL, 1 << 20, &l, &e), e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(log_write(l, "123456", 6, &e), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_refused(log_write(l, "x", 1, &e), e, ERR_SYS, "cannot write 'log': File too large");
	assert_refused(log_close(&l, &bytes, hash, &e), e, ERR_SYS, "cannot write 'log': File too large");
	assert_null(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_secret_is_masked_over_the_edges_of_writes),
		cmocka_unit_test(test_the_index_tells_where_each_write_starts),
		cmocka_unit_test(test_a_full_log_says_so_and_takes_no_more),
		cmocka_unit_test(test_a_write_that_failed_fails_for_good),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
