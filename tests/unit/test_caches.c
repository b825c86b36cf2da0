/* Caches on the disk: whole or not at all, damaged ones found, the oldest go first. */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/store/caches.h"

static const char key_a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  key_b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

static void put(const char *dir, const char *tier, const char *key, const char *text)
{
	struct cache_new n = CACHE_NEW_INIT;
	struct cache_head h = {.hash = "content", .files = 2, .bytes = 7, .saved_ms = 5, .job = "1.1", .label = "what"};
	struct err e;

	assert_done(caches_begin(dir, tier, &n, &e), e);
	assert_int_equal(write(n.fd, text, strlen(text)), strlen(text));
	assert_done(caches_commit(dir, tier, key, &n, &h, &e), e);
	caches_drop(&n);
}

static void has(const char *dir, const char *tier, const char *key, const char *text)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
	_cleanup_close_ int fd = -1;
	struct cache_head h;
	struct err e;

	assert_done(caches_open(dir, tier, key, &h, &fd, &e), e);
	assert_done(fs_read_fd(fd, "archive", &b, &e), e);
	assert_string_equal(buf_str(&b), text);
	assert_string_equal(h.hash, "content");
	assert_string_equal(h.label, "what");
	assert_int_equal(h.packed, strlen(text));
}

static size_t names_in(const char *dir, const char *tier)
{
	_cleanup_free_ char *command = xasprintf("%s/%s", dir, tier);
	size_t n = 0;
	DIR *list = opendir(command);

	assert_non_null(list);
	for (struct dirent *d; (d = readdir(list));) n += strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
	closedir(list);
	return n;
}

static void test_replaced_whole(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_close_ int fd = -1;
	struct cache_new first = CACHE_NEW_INIT, second = CACHE_NEW_INIT;
	struct cache_head h = {.hash = "content", .label = "what"};
	char byte;
	struct err e;

	(void)state;
	assert_int_equal(caches_open(dir, "trusted", key_a, &h, &fd, &e), 1);
	put(dir, "trusted", key_a, "one");
	has(dir, "trusted", key_a, "one");
	/* Two at the same time, and a reader: the last one wins, and is whole; who reads goes on. */
	assert_done(caches_open(dir, "trusted", key_a, &h, &fd, &e), e);
	assert_done(caches_begin(dir, "trusted", &first, &e), e);
	assert_done(caches_begin(dir, "trusted", &second, &e), e);
	assert_int_equal(write(first.fd, "first", 5), 5);
	assert_int_equal(write(second.fd, "second", 6), 6);
	snprintf(h.label, sizeof(h.label), "what");
	assert_done(caches_commit(dir, "trusted", key_a, &second, &h, &e), e);
	has(dir, "trusted", key_a, "second");
	assert_done(caches_commit(dir, "trusted", key_a, &first, &h, &e), e);
	has(dir, "trusted", key_a, "first");
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(byte, 'o');
	assert_int_equal(caches_open(dir, "pr-1", key_a, &h, &first.fd, &e), 1);
	assert_int_equal(names_in(dir, "trusted"), 1);
}

static void test_damage_is_a_miss(void **state)
{
	static const char *const damages[] = {"its bytes are not those that were saved", "its version is another",
					      "it is cut off"};
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/trusted/%s", dir, key_a);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
		_cleanup_free_ char *why = xasprintf("the cache 'aaaaaaaaaaaa' is damaged: %s", damages[i]);
		_cleanup_close_ int fd = -1, got = -1;
		struct cache_head h;
		struct err e;

		put(dir, "trusted", key_a, "bytes");
		fd = open(path, O_RDWR);
		if (i == 0) assert_int_equal(pwrite(fd, "B", 1, CACHES_HEAD_BYTES), 1);
		if (i == 1) assert_int_equal(pwrite(fd, "{}\0", 3, 0), 3);
		if (i == 2) assert_int_equal(ftruncate(fd, 100), 0);
		assert_refused(caches_open(dir, "trusted", key_a, &h, &got, &e), e, ERR_INPUT, why);
		assert_false(fs_exists(path));
	}
}

/* Killed before its rename: what was there is there; its leavings go when they are a minute old. */
static void test_killed_while_it_saves(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	struct cache_new live = CACHE_NEW_INIT;
	struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
	struct err e;
	pid_t pid;
	int st;

	(void)state;
	put(dir, "trusted", key_a, "one");
	pid = fork();
	if (pid == 0) {
		struct cache_new n = CACHE_NEW_INIT;

		if (caches_begin(dir, "trusted", &n, &e) || write(n.fd, "half", 4) != 4 || futimens(n.fd, old))
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	assert_true(WIFSIGNALED(st));
	assert_int_equal(names_in(dir, "trusted"), 2);
	has(dir, "trusted", key_a, "one");
	assert_done(caches_begin(dir, "trusted", &live, &e), e);
	assert_int_equal(futimens(live.fd, old), 0);
	caches_tidy(dir);
	assert_true(fs_exists(live.path)); /* its writer lives */
	assert_int_equal(names_in(dir, "trusted"), 2);
	caches_drop(&live);
	assert_int_equal(names_in(dir, "trusted"), 1);
}

/* Where no more can be written the old one stays. */
static void test_full(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	struct cache_new n = CACHE_NEW_INIT;
	struct cache_head h = {0};
	const struct rlimit none = {10, RLIM_INFINITY};
	struct rlimit was;
	struct err e;
	int rc;

	(void)state;
	put(dir, "trusted", key_a, "one");
	assert_done(caches_begin(dir, "trusted", &n, &e), e);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	rc = caches_commit(dir, "trusted", key_a, &n, &h, &e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(rc, -1);
	assert_int_equal(e.kind, ERR_SYS);
	caches_drop(&n);
	has(dir, "trusted", key_a, "one");
	assert_int_equal(names_in(dir, "trusted"), 1);
}

static void used(const char *dir, const char *tier, const char *key, time_t at)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", dir, tier, key);
	struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_the_oldest_go(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	struct cache_item *items;
	int64_t one;
	struct err e;
	size_t n;
	int removed;

	(void)state;
	assert_done(caches_fit(dir, 1, &removed, &e), e);
	put(dir, "trusted", key_a, "x");
	put(dir, "trusted", key_b, "x");
	put(dir, "pr-1", key_a, "x");
	put(dir, "pr-2", key_a, "x");
	used(dir, "trusted", key_a, 1);
	used(dir, "trusted", key_b, 2);
	used(dir, "pr-1", key_a, 9);
	used(dir, "pr-2", key_a, 8);
	assert_done(caches_list(dir, &items, &n, &e), e);
	assert_int_equal(n, 4);
	assert_string_equal(items[0].tier, "pr-1");
	assert_string_equal(items[3].key, key_b);
	assert_string_equal(items[0].head.job, "1.1");
	one = items[0].disk_bytes;
	cache_items_free(&items, n);
	/* Room for one of each pool; a restored one is used. */
	caches_touch(dir, "trusted", key_a);
	assert_done(caches_fit(dir, one, &removed, &e), e);
	assert_int_equal(removed, 2);
	has(dir, "trusted", key_a, "x");
	has(dir, "pr-1", key_a, "x");
	assert_int_equal(names_in(dir, "trusted"), 1);
	assert_int_equal(names_in(dir, "pr-2"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaced_whole),        cmocka_unit_test(test_damage_is_a_miss),
		cmocka_unit_test(test_killed_while_it_saves), cmocka_unit_test(test_full),
		cmocka_unit_test(test_the_oldest_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
