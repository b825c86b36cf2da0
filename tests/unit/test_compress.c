/* compress_bz2: the bytes of `bzip2 -9`, and what other decoders make of them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/publish/compress.h"

static char dir[] = "/tmp/slipway-test-compress-XXXXXX";

static char *in_dir(const char *name)
{
	return xasprintf("%s/%s", dir, name);
}

/* Output of a decoder or encoder fed from a file. */
static void run_on(const char *const *argv, const char *input, const char *output)
{
	_cleanup_close_ int in = open(input, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out = open(output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct child_opts o = {.argv = argv, .in = in, .out = out};
	struct child_status st = {CHILD_LOST, 0};
	struct err e;
	pid_t pid;

	assert_true(in >= 0 && out >= 0);
	if (child_start(&o, &pid, NULL, &e) || child_wait(pid, 60000, &st, &e)) fail_msg("%s", e.text);
	if (!child_ok(st)) fail_msg("%s %s", argv[0], child_status_str(st));
}

static void assert_same(const char *a, const char *b)
{
	_cleanup_buf_ struct buf x = BUF_INIT(1UL << 30), y = BUF_INIT(1UL << 30);
	struct err e;

	if (fs_read_file(a, &x, &e) || fs_read_file(b, &y, &e)) fail_msg("%s", e.text);
	assert_int_equal(x.len, y.len);
	if (x.len) assert_memory_equal(x.data, y.data, x.len);
}

static void check_bytes(const void *data, size_t len)
{
	static const char *const bzip2[] = {"bzip2", "-9", "-c", NULL}, *const bunzip2[] = {"bunzip2", "-c", NULL};
	static const char *const busybox[] = {"busybox", "bunzip2", "-c", NULL};
	static const char *const python[] = {"python3", "-c",
					     "import bz2,sys; d=bz2.BZ2Decompressor(); o=sys.stdout.buffer; "
					     "o.write(d.decompress(sys.stdin.buffer.read()));"
					     "sys.exit(not d.eof or d.unused_data != b'')",
					     NULL};
	_cleanup_free_ char *from = in_dir("plain"), *to = in_dir("ours.bz2"), *ref = in_dir("ref.bz2"),
			    *back = in_dir("back");
	uint64_t bytes = 0;
	struct stat st;
	struct err e;

	unlink(to);
	if (fs_write_file(from, data, len, 0600, &e)) fail_msg("%s", e.text);
	if (compress_bz2(from, to, &bytes, &e)) fail_msg("%s", e.text);
	assert_int_equal(stat(to, &st), 0);
	assert_int_equal(st.st_size, bytes);
	assert_int_equal(st.st_mode & 0777, 0600);
	run_on(bzip2, from, ref);
	assert_same(to, ref);
	run_on(bunzip2, to, back);
	assert_same(from, back);
	run_on(busybox, to, back);
	assert_same(from, back);
	run_on(python, to, back);
	assert_same(from, back);
}

static uint32_t seed = 1;
static unsigned char next_byte(void)
{
	seed = seed * 1664525 + 1013904223;
	return (unsigned char)(seed >> 24);
}

static void test_small_files(void **state)
{
	(void)state;
	check_bytes("", 0);
	check_bytes("x", 1);
	check_bytes("hello\n", 6);
}

/* Around the size at which bzip2 ends a block, with no runs at all. */
static void test_edges_of_a_block(void **state)
{
	static const size_t sizes[] = {899980, 899981, 899982, 899999, 900000, 900001, 1799962, 1799963};
	_cleanup_free_ unsigned char *data = xmalloc(2000000);

	(void)state;
	for (size_t i = 0; i < 2000000; i++) data[i] = (unsigned char)(i % 251);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) check_bytes(data, sizes[i]);
}

/* Runs of every length lie across the edges of blocks. */
static void test_runs_across_blocks(void **state)
{
	enum { LEN = 6000000 };
	_cleanup_free_ unsigned char *data = xmalloc(LEN);

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t at = 0; at < LEN;) {
			size_t run = 1 + next_byte() % (round == 0 ? 6 : round == 1 ? 255 : 3);
			unsigned char c = next_byte();

			if (round == 1 && next_byte() < 8) run *= 97;
			if (run > LEN - at) run = LEN - at;
			memset(data + at, c, run);
			at += run;
		}
		check_bytes(data, LEN);
	}
	memset(data, 0, LEN);
	check_bytes(data, LEN);
}

static void test_20_megabytes(void **state)
{
	enum { LEN = 20 << 20 };
	_cleanup_free_ unsigned char *data = xmalloc(LEN);

	(void)state;
	for (size_t i = 0; i < LEN; i++) data[i] = i % 3 ? next_byte() & 0x3f : (unsigned char)(i >> 8);
	check_bytes(data, LEN);
}

static void test_refuses_what_it_cannot_read_or_make(void **state)
{
	_cleanup_free_ char *none = in_dir("none"), *to = in_dir("to.bz2"), *from = in_dir("plain");
	uint64_t bytes;
	struct err e;

	(void)state;
	assert_int_equal(compress_bz2(none, to, &bytes, &e), -1);
	assert_int_equal(e.kind, ERR_MISSING);
	assert_int_equal(compress_bz2(dir, to, &bytes, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_non_null(strstr(e.text, "not a regular file"));
	assert_int_equal(fs_exists(to), 0);
	if (fs_write_file(from, "a", 1, 0600, &e) || fs_write_file(to, "b", 1, 0600, &e)) fail_msg("%s", e.text);
	assert_int_equal(compress_bz2(from, to, &bytes, &e), -1);
	assert_int_equal(e.sys_errno, EEXIST);
	assert_int_equal(fs_exists(to), 1);
}

/* A limit on file size stands for the full disk: the write fails in the middle. */
static void test_a_failed_write_leaves_no_file(void **state)
{
	enum { LEN = 3000000 };
	_cleanup_free_ unsigned char *data = xmalloc(LEN);
	_cleanup_free_ char *from = in_dir("noise"), *to = in_dir("cut.bz2");
	struct err e;
	int ws;
	pid_t pid;

	(void)state;
	for (size_t i = 0; i < LEN; i++) data[i] = next_byte();
	if (fs_write_file(from, data, LEN, 0600, &e)) fail_msg("%s", e.text);
	pid = fork();
	if (pid == 0) {
		struct rlimit cut = {1000000, 1000000};
		uint64_t bytes;

		signal(SIGXFSZ, SIG_IGN);
		if (setrlimit(RLIMIT_FSIZE, &cut)) _exit(2);
		if (!compress_bz2(from, to, &bytes, &e)) _exit(3);
		_exit(e.sys_errno == EFBIG && strstr(e.text, "cannot write") ? 0 : 4);
	}
	assert_int_equal(waitpid(pid, &ws, 0), pid);
	assert_int_equal(WIFEXITED(ws) ? WEXITSTATUS(ws) : -1, 0);
	assert_int_equal(fs_exists(to), 0);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	struct err e;

	(void)state;
	return fs_remove_tree(dir, &e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_files),
		cmocka_unit_test(test_edges_of_a_block),
		cmocka_unit_test(test_runs_across_blocks),
		cmocka_unit_test(test_20_megabytes),
		cmocka_unit_test(test_refuses_what_it_cannot_read_or_make),
		cmocka_unit_test(test_a_failed_write_leaves_no_file),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
