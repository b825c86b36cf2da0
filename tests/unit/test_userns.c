#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/fs.h"
#include "lib/secret.h"
#include "runner/sandbox/userns.h"

static void test_find_range_takes_the_largest_row_of_the_user(void **state)
{
	const char *text = "a:1:2\nkim:100000:65536\n# x\nkim:7:8\n1001:300000:70000\nlast:5:6";
	unsigned long first = 0, count = 0;

	(void)state;
	assert_int_equal(userns_find_range(text, "kim", 5, &first, &count), 0);
	assert_int_equal(first, 100000);
	assert_int_equal(count, 65536);
	assert_int_equal(userns_find_range(text, "kim", 1001, &first, &count), 0);
	assert_int_equal(first, 300000);
	assert_int_equal(userns_find_range(text, "last", 5, &first, &count), 0);
	assert_int_equal(first, 5);
	assert_int_equal(count, 6);
}

static void test_find_range_refuses_broken_rows(void **state)
{
	const char *bad[] = {
		"",        "kim",      "kim:1",     "kim:1:0",          "kim:-1:5", "kim:1:5x",
		"kim:x:5", "kim: 1:5", "kim:1:5:6", "kim:4294967295:1", "kimm:1:5", "kim:1:99999999999999999999"};
	unsigned long first, count;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(userns_find_range(bad[i], "kim", 1001, &first, &count), 1);
}

static void require_namespaces(void)
{
	struct err e;
	int fd;

	if (userns_open(&fd, &e)) {
		print_message("no user namespaces: %s\n", e.text);
		skip();
	}
	close(fd);
}

static void test_command_is_root_with_the_layout(void **state)
{
	const char *argv[] = {"sh", "-c", "id -u; id -g; id -G; cat /proc/self/uid_map", NULL};
	struct child_opts o = {.argv = argv};
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	struct userns_map uids[2], gids[2];
	unsigned long seen[3];
	struct err e;
	int n;

	(void)state;
	require_namespaces();
	assert_int_equal(userns_layout(uids, gids, &n, &e), 0);
	assert_int_equal(userns_command(&o, NULL, 20000, &out, &e), 0);
	assert_memory_equal(buf_str(&out), "0\n0\n0\n", 6);
	assert_int_equal(sscanf(out.data + 6, "%lu %lu %lu", &seen[0], &seen[1], &seen[2]), 3);
	assert_int_equal(seen[0], 0);
	assert_int_equal(seen[1], uids[0].outside);
	assert_int_equal(seen[2], uids[0].count);
}

static void test_command_reports_status_and_missing_program(void **state)
{
	const char *bad[] = {"sh", "-c", "echo so it goes >&2; exit 3", NULL}, *none[] = {"/no/such", NULL};
	struct child_opts o = {.argv = bad};
	struct err e = {0};

	(void)state;
	require_namespaces();
	assert_int_equal(userns_command(&o, NULL, 20000, NULL, &e), -1);
	assert_int_equal(e.kind, ERR_REMOTE);
	assert_string_equal(e.text, "'sh' exited with 3: so it goes");
	o.argv = none;
	assert_int_equal(userns_command(&o, NULL, 20000, NULL, &e), -1);
	assert_int_equal(e.kind, ERR_MISSING);
}

static void test_mapped_owners_and_their_removal(void **state)
{
	const char *argv[] = {"sh", "-c",
			      "mkdir -p a/b && echo x >a/b/f && chown 42:43 a/b/f && chmod 0 a/b && "
			      "mount -t tmpfs none a && touch a/unseen",
			      NULL};
	_cleanup_free_ char *dir = NULL, *tree = NULL, *file = NULL, *unseen = NULL;
	struct userns_map uids[2], gids[2];
	struct child_opts o = {.argv = argv};
	struct stat st;
	struct err e;
	int n;

	(void)state;
	require_namespaces();
	assert_int_equal(fs_temp_dir("/tmp", "userns-", &dir, &e), 0);
	tree = xasprintf("%s/tree", dir);
	file = xasprintf("%s/a/b/f", tree);
	unseen = xasprintf("%s/a/unseen", tree);
	assert_int_equal(userns_mkdir(tree, &e), 0);
	o.cwd = tree;
	assert_int_equal(userns_command(&o, NULL, 20000, NULL, &e), 0);
	assert_false(fs_exists(unseen));
	assert_int_equal(userns_layout(uids, gids, &n, &e), 0);
	if (geteuid() == 0) {
		assert_int_equal(stat(file, &st), 0);
		assert_int_equal(st.st_uid, uids[0].outside + 42);
		assert_int_equal(st.st_gid, gids[0].outside + 43);
	}
	assert_int_equal(userns_remove_tree(tree, &e), 0);
	assert_false(fs_exists(tree));
	assert_int_equal(userns_remove_tree(tree, &e), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_program_in_a_private_folder_runs(void **state)
{
	const char *argv[] = {NULL, "hello", NULL};
	_cleanup_free_ char *dir = NULL, *program = NULL;
	_cleanup_buf_ struct buf bytes = BUF_INIT(16 << 20), out = BUF_INIT(100);
	struct child_opts o = {.argv = argv};
	struct err e;

	(void)state;
	require_namespaces();
	assert_int_equal(fs_temp_dir("/tmp", "userns-", &dir, &e), 0);
	program = xasprintf("%s/echo", dir);
	assert_int_equal(fs_read_file("/bin/echo", &bytes, &e), 0);
	assert_int_equal(fs_write_file(program, bytes.data, bytes.len, 0755, &e), 0);
	argv[0] = program;
	assert_int_equal(userns_command(&o, NULL, 20000, &out, &e), 0);
	assert_string_equal(buf_str(&out), "hello\n");
	assert_int_equal(fs_remove_tree(dir, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_range_takes_the_largest_row_of_the_user),
		cmocka_unit_test(test_find_range_refuses_broken_rows),
		cmocka_unit_test(test_command_is_root_with_the_layout),
		cmocka_unit_test(test_command_reports_status_and_missing_program),
		cmocka_unit_test(test_mapped_owners_and_their_removal),
		cmocka_unit_test(test_program_in_a_private_folder_runs),
	};

	secret_setup(); /* as every runner does: no core dumps, /proc/PID is root's */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
