/* lib/fs, lib/secret: files, trees, locks. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/secret.h"

static void test_write_replaces_and_sets_the_mode(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/f", dir);
	_cleanup_buf_ struct buf b = BUF_INIT(100);
	struct stat st;
	struct err e;

	(void)state;
	assert_done(fs_write_file(path, "old", 3, 0600, &e), e);
	assert_done(fs_write_file(path, "newer", 5, 0640, &e), e);
	assert_done(fs_read_file(path, &b, &e), e);
	assert_string_equal(buf_str(&b), "newer");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void test_failed_write_leaves_the_old_file_and_no_other(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/d", dir), *inside = xasprintf("%s/d/x", dir);
	struct err e;

	(void)state;
	assert_done(fs_mkdirs(inside, 0700, &e), e); /* a folder with something in it cannot be replaced by rename */
	assert_int_equal(fs_write_file(path, "x", 1, 0600, &e), -1);
	assert_int_equal(e.kind, ERR_SYS);
	assert_true(fs_exists(inside));
	assert_int_equal(rmdir(inside), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0); /* empty: no temporary was left */
	assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_read_has_a_ceiling(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/f", dir), *want = xasprintf("'%s' is larger than 4 bytes", path);
	_cleanup_buf_ struct buf b = BUF_INIT(5), small = BUF_INIT(4);
	struct err e;

	(void)state;
	assert_done(fs_write_file(path, "12345", 5, 0600, &e), e);
	assert_done(fs_read_file(path, &b, &e), e);
	assert_int_equal(b.len, 5);
	assert_refused(fs_read_file(path, &small, &e), e, ERR_INPUT, want);
}

static void test_remove_tree_does_not_follow_links(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *tree = xasprintf("%s/tree", dir), *deep = xasprintf("%s/tree/a/b", dir);
	_cleanup_free_ char *kept = xasprintf("%s/kept", dir), *inside = xasprintf("%s/kept/file", dir);
	_cleanup_free_ char *link = xasprintf("%s/tree/link", dir);
	struct err e;

	(void)state;
	assert_done(fs_mkdirs(deep, 0700, &e), e);
	assert_done(fs_mkdirs(kept, 0700, &e), e);
	assert_done(fs_write_file(inside, "x", 1, 0600, &e), e);
	assert_int_equal(symlink(kept, link), 0);
	assert_int_equal(chmod(deep, 0), 0);
	assert_done(fs_remove_tree(tree, &e), e);
	assert_false(fs_exists(tree));
	assert_true(fs_exists(inside));
	assert_done(fs_remove_tree(tree, &e), e); /* not there: no error */
}

static void test_lock_is_exclusive_until_closed(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/lock", dir);
	_cleanup_free_ char *want = xasprintf("'%s' is held by another process", path);
	int first = -1, second = -1;
	struct err e;

	(void)state;
	assert_done(fs_lock(path, 0, &first, &e), e);
	assert_refused(fs_lock(path, 0, &second, &e), e, ERR_BUSY, want);
	close_p(&first);
	assert_done(fs_lock(path, 0, &second, &e), e);
	close_p(&second);
}

static void test_secret_reads_past_its_first_block(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/s", dir), *text = xmalloc(100000);
	_cleanup_secret_ struct secret s = SECRET_INIT;
	struct err e;

	(void)state;
	for (size_t i = 0; i < 100000; i++) text[i] = (char)('a' + i % 26);
	assert_done(fs_write_file(path, text, 100000, 0600, &e), e);
	assert_done(secret_read_file(path, 100000, &s, &e), e);
	assert_int_equal(s.len, 100000);
	assert_memory_equal(s.data, text, 100000);
	assert_int_equal(secret_read_file(path, 99999, &s, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_int_equal(s.len, 100000); /* untouched */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_replaces_and_sets_the_mode),
		cmocka_unit_test(test_failed_write_leaves_the_old_file_and_no_other),
		cmocka_unit_test(test_read_has_a_ceiling),
		cmocka_unit_test(test_remove_tree_does_not_follow_links),
		cmocka_unit_test(test_lock_is_exclusive_until_closed),
		cmocka_unit_test(test_secret_reads_past_its_first_block),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
