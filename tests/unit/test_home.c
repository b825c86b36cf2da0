/* runner/home: which folder is meant, what is in it, the daemon's wake-up, the reserve. */
#include "tests/unit/unit.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "runner/home.h"

static void open_home(const char *flag, struct home *h)
{
	struct err e;

	assert_done(home_open(flag, h, &e), e);
}
#define _cleanup_home_ __attribute__((cleanup(home_release)))

static void assert_in(const char *path, const char *dir, const char *rest)
{
	_cleanup_free_ char *want = xasprintf("%s%s", dir, rest);

	assert_string_equal(path, want);
}

static void test_the_flag_counts_then_the_environment(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *real = realpath(dir, NULL), *set = xasprintf("%s/set", dir), *flag = NULL, *cache = NULL;
	_cleanup_home_ struct home by_flag = {0}, by_env = {0};

	(void)state;
	flag = xasprintf("%s/../%s/flag", dir, strrchr(dir, '/') + 1);
	cache = xasprintf("%s/cache", dir);
	setenv("SLIPWAY_STATE", set, 1);
	setenv("SLIPWAY_CACHE", cache, 1);
	open_home(flag, &by_flag);
	assert_in(by_flag.state, real, "/flag"); /* absolute and resolved: it is handed to other processes */
	assert_in(by_flag.cache, real, "/cache");
	open_home(NULL, &by_env);
	assert_in(by_env.state, real, "/set");
	unsetenv("SLIPWAY_STATE");
	unsetenv("SLIPWAY_CACHE");
}

static void test_only_its_owner_gets_in(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *cache = xasprintf("%s/cache", dir), *flag = xasprintf("%s/state", dir);
	_cleanup_home_ struct home h = {0};
	static const char *const below[] = {"", "/repos", "/jobs", "/publish"};
	mode_t before = umask(0);

	(void)state;
	setenv("SLIPWAY_CACHE", cache, 1);
	open_home(flag, &h);
	umask(before);
	for (size_t i = 0; i < ARRAY_LEN(below); i++) {
		_cleanup_free_ char *path = xasprintf("%s%s", h.state, below[i]);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0700);
	}
	unsetenv("SLIPWAY_CACHE");
}

static void test_a_file_in_the_way_is_told(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *file = xasprintf("%s/file", dir);
	struct home h = {0};
	struct err e;

	(void)state;
	assert_done(fs_write_file(file, "x", 1, 0600, &e), e);
	assert_int_equal(home_open(file, &h, &e), -1);
	assert_non_null(strstr(e.text, file));
	assert_null(h.state);
	assert_null(h.cache);
}

static void test_paths(void **state)
{
	static char here[] = "/s";
	const struct home h = {.state = here};
	_cleanup_free_ char *db = home_db(&h), *repo = home_repo(&h, 7, NULL), *key = home_repo(&h, 7, "key");
	_cleanup_free_ char *job = home_job(&h, 1LL << 40, NULL), *log = home_job(&h, 8, "log");

	(void)state;
	assert_string_equal(db, "/s/slipway.db");
	assert_string_equal(repo, "/s/repos/7");
	assert_string_equal(key, "/s/repos/7/key");
	assert_string_equal(job, "/s/jobs/1099511627776");
	assert_string_equal(log, "/s/jobs/8/log");
}

static void test_the_daemon_is_woken_if_there_is_one(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	struct home h = {.state = dir};
	_cleanup_free_ char *path = home_file(&h, "wake");
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	char byte, text[32];
	ssize_t n;

	(void)state;
	home_wake(&h); /* nobody: no failure, no block, no signal */
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	home_wake(&h);
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	assert_int_equal(home_woken(&byte, 1), 0);
	home_wake_place(&h, 4711);
	n = recv(fd, text, sizeof(text), 0);
	assert_true(n > 0);
	assert_int_equal(home_woken(text, (size_t)n), 4711);
	assert_int_equal(home_woken("12x", 3), 0);
	assert_int_equal(home_woken("9999999999999999999", 19), 0);
	assert_int_equal(home_woken("", 0), 0);
	for (int i = 0; i < 10000; i++) home_wake(&h); /* one that reads nothing does not hold us up */
}

static void test_the_reserve_is_there_until_it_is_used(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	struct home h = {.state = dir};
	_cleanup_free_ char *path = home_file(&h, "reserve");
	struct stat st;

	(void)state;
	home_keep_reserve(&h);
	if (!fs_exists(path)) skip(); /* a disk with little room */
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_blocks >= st.st_size / 512); /* room that is taken, not a hole */
	home_keep_reserve(&h);
	home_use_reserve(&h);
	assert_false(fs_exists(path));
	home_use_reserve(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_flag_counts_then_the_environment),
		cmocka_unit_test(test_only_its_owner_gets_in),
		cmocka_unit_test(test_a_file_in_the_way_is_told),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_the_daemon_is_woken_if_there_is_one),
		cmocka_unit_test(test_the_reserve_is_there_until_it_is_used),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
