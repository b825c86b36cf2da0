/* Cached folders and their archive: there and back, what is refused, and archives that no box made. */
#include "tests/unit/unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/sandbox/boxcache.h"

static const struct box_cache_limits wide = {.bytes = 1 << 30, .packed = 1 << 30, .files = 1000};
static const char *const folders[] = {"/root/a", "/build/b"};

struct box {
	char *dir;
	int root;
};

static struct box box_new(void)
{
	char *dir = unit_temp();

	return (struct box){dir, open(dir, O_PATH | O_DIRECTORY)};
}

static void box_release(struct box *b)
{
	close(b->root);
	unit_temp_remove(&b->dir);
}
#define _cleanup_box_ __attribute__((cleanup(box_release)))

static void sh(const struct box *b, const char *script)
{
	pid_t pid = fork();
	int st;

	if (pid == 0) {
		if (chdir(b->dir)) _exit(9);
		execl("/bin/sh", "sh", "-ec", script, (char *)NULL);
		_exit(9);
	}
	assert_int_equal(waitpid(pid, &st, 0), pid);
	if (st) fail_msg("'%s' ended with %d", script, st);
}

static int memory(void)
{
	int fd = memfd_create("archive", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int64_t size_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_size;
}

static int pack(const struct box *b, const char *mark, const struct box_cache_limits *l, int fd,
		struct box_cache_report *r, struct err *e)
{
	return box_cache_pack(b->root, folders, 2, mark, l, fd, r, e);
}

static int unpack(const struct box *b, int fd, struct box_cache_report *r, struct err *e)
{
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return box_cache_unpack(b->root, folders, 2, "/build", &wide, fd, r, e);
}

static void test_there_and_back(void **state)
{
	_cleanup_box_ struct box from = box_new(), to = box_new();
	_cleanup_close_ int fd = memory(), again = memory();
	struct box_cache_report r, got, other;
	struct err e;

	(void)state;
	sh(&from, "mkdir -p root/a/sub root/a/empty build/b; echo one >root/a/sub/f; chmod 640 root/a/sub/f; "
		  "touch -d @1000000000.123456789 root/a/sub/f; ln root/a/sub/f build/b/hard; ln -s /nowhere root/a/l; "
		  "printf x >\"root/a/$(printf 'n\\351w\\nline')\"; mkfifo root/a/p; truncate -s 5000 root/a/holes; "
		  "chmod 700 root/a/empty; touch -d @1000000001 root/a/empty; echo s >root/a/s; chmod 6755 root/a/s");
	assert_done(pack(&from, "", &wide, fd, &r, &e), e);
	assert_int_equal(r.folders, 2);
	assert_int_equal(r.files, 6);
	assert_int_equal(r.left_out, 1);
	assert_int_equal(r.unchanged, 0);
	assert_done(unpack(&to, fd, &got, &e), e);
	assert_int_equal(got.files, 6);
	assert_int_equal(got.bytes, r.bytes);
	sh(&to,
	   "test \"$(cat root/a/sub/f)\" = one; test \"$(stat -c %a.%y root/a/sub/f)\" = "
	   "\"640.$(date -d @1000000000.123456789 '+%Y-%m-%d %H:%M:%S.%N %z')\"; test root/a/sub/f -ef build/b/hard; "
	   "test \"$(readlink root/a/l)\" = /nowhere; test -e \"root/a/$(printf 'n\\351w\\nline')\"; "
	   "test ! -e root/a/p; test $(stat -c %s root/a/holes) = 5000; test \"$(stat -c %a.%Y root/a/empty)\" = "
	   "700.1000000001; test $(stat -c %a root/a/s) = 755");
	/* The same files: nothing is written where the mark says so, the same hash where it cannot. */
	assert_done(pack(&to, got.mark, &wide, again, &other, &e), e);
	assert_int_equal(other.unchanged, 1);
	assert_int_equal(size_of(again), 0);
	sh(&to, "touch root/a/sub/f");
	assert_done(pack(&to, got.mark, &wide, again, &other, &e), e);
	assert_int_equal(other.unchanged, 0);
	assert_string_equal(other.hash, r.hash);
	sh(&to, "echo two >root/a/sub/f");
	assert_done(pack(&to, got.mark, &wide, again, &other, &e), e);
	assert_string_not_equal(other.hash, r.hash);
}

static void test_what_the_source_has_stays(void **state)
{
	_cleanup_box_ struct box from = box_new(), to = box_new();
	_cleanup_close_ int fd = memory();
	struct box_cache_report r;
	struct err e;

	(void)state;
	sh(&from, "mkdir -p build/b/dir build/b/d2 root/a; echo cache >build/b/f; echo cache >build/b/dir/f; "
		  "echo cache >build/b/d2/f; echo cache >root/a/f; ln -s cache build/b/l");
	sh(&to, "mkdir -p build/b root/a outside; echo commit >build/b/f; echo commit >build/b/dir; "
		"ln -s ../../outside build/b/d2; echo image >root/a/f; echo commit >build/b/l");
	assert_done(pack(&from, "", &wide, fd, &r, &e), e);
	assert_done(unpack(&to, fd, &r, &e), e);
	assert_true(r.left_out >= 3);
	sh(&to, "test \"$(cat build/b/f build/b/dir build/b/l)\" = \"$(printf 'commit\\ncommit\\ncommit')\"; "
		"test \"$(cat root/a/f)\" = cache; test -L build/b/d2; test \"$(ls outside)\" = ''");
}

static void refused(const char *script, const struct box_cache_limits *l, const char *why)
{
	_cleanup_box_ struct box b = box_new();
	_cleanup_close_ int fd = memory();
	struct box_cache_report r;
	struct err e;

	sh(&b, script);
	assert_refused(pack(&b, "", l, fd, &r, &e), e, ERR_INPUT, why);
}

static void test_bounds(void **state)
{
	static const struct box_cache_limits few = {.bytes = 100, .packed = 1 << 20, .files = 10},
					     small = {.bytes = 1 << 20, .packed = 1000, .files = 10};

	(void)state;
	refused("mkdir -p root/a; for i in 1 2 3 4 5 6 7 8 9 10; do : >root/a/$i; done", &few,
		"'/root/a': more than 10 files");
	refused("mkdir -p root/a; truncate -s 1T root/a/big", &few, "'/root/a': more than 100 bytes, at '0/big'");
	refused("mkdir -p root/a build/b; truncate -s 60 root/a/x build/b/x", &few,
		"'/build/b': more than 100 bytes, at '1/x'");
	refused("mkdir -p root/a; head -c 9000 /dev/urandom >root/a/x", &small, "more than 1000 bytes when packed");
	refused("d=root/a; for i in $(seq 110); do d=$d/d; done; mkdir -p $d", &wide,
		"'/root/a': more than 100 folders in each other");
}

/* Links, also the folder itself and the way to it, lead to the box's own files. */
static void test_links_lead_nowhere_else(void **state)
{
	_cleanup_box_ struct box b = box_new();
	_cleanup_close_ int fd = memory();
	struct box_cache_report r;
	struct err e;

	(void)state;
	sh(&b, "mkdir -p root etc; echo boxes >etc/hostname; ln -s /../../etc root/a; ln -s ../../../../../../../etc "
	       "build");
	assert_done(pack(&b, "", &wide, fd, &r, &e), e);
	assert_int_equal(r.folders, 1);
	assert_int_equal(r.files, 1);
	assert_int_equal(r.bytes, 6);
}

/* --- archives that box_cache_pack does not make --- */

struct entry {
	const char *name;
	int type;
	const char *link, *hard;
};

static int archive_of(const struct entry *entries, size_t n)
{
	struct archive *a = archive_write_new();
	int fd = memory();

	archive_write_set_format_pax(a);
	archive_write_add_filter_zstd(a);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++) {
		struct archive_entry *entry = archive_entry_new();

		archive_entry_set_pathname(entry, entries[i].name);
		archive_entry_set_filetype(entry, (unsigned)entries[i].type);
		archive_entry_set_perm(entry, 0644);
		if (entries[i].link) archive_entry_set_symlink(entry, entries[i].link);
		if (entries[i].hard) archive_entry_set_hardlink(entry, entries[i].hard);
		archive_entry_set_size(entry, entries[i].type == AE_IFREG && !entries[i].hard ? 4 : 0);
		assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
		if (entries[i].type == AE_IFREG && !entries[i].hard) archive_write_data(a, "evil", 4);
		archive_entry_free(entry);
	}
	archive_write_free(a);
	return fd;
}

static void bad(const struct entry *entries, size_t n, const char *why)
{
	_cleanup_box_ struct box b = box_new();
	_cleanup_free_ char *out = xasprintf("%s.out", b.dir);
	_cleanup_close_ int fd = archive_of(entries, n);
	struct box_cache_report r;
	struct err e = {0};

	sh(&b, "mkdir -p root/a other; echo x >other/x");
	if (unpack(&b, fd, &r, &e) == 0) fail_msg("'%s' was unpacked", entries[0].name);
	if (!strstr(e.text, why)) fail_msg("'%s' is not in '%s'", why, e.text);
	assert_false(fs_exists(out));
	sh(&b, "test \"$(cat other/x)\" = x; test \"$(ls other)\" = x; test ! -e evil");
}

static void test_hostile_archives(void **state)
{
	const char *const names[] = {"../evil", "/evil", "0/../../evil", "0/a/../../../evil", "2/evil", "evil",
				     "-1/x",    "0",     "0//../x",      "00x/evil"};
	const struct entry through[] = {{"0/l", AE_IFLNK, "/other", NULL}, {"0/l/x", AE_IFREG, NULL, NULL}};
	const struct entry outside[] = {{"0/h", AE_IFREG, NULL, "0/../../other/x"}};
	const struct entry nowhere[] = {{"0/h", AE_IFREG, NULL, "/etc/passwd"}};
	const struct entry device[] = {{"0/d", AE_IFCHR, NULL, NULL}};
	const struct entry folder[] = {{"0/f", AE_IFREG, NULL, NULL}, {"0/f/x", AE_IFREG, NULL, NULL}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		bad(&(struct entry){names[i], AE_IFREG, NULL, NULL}, 1, "bad name");
	bad(outside, 1, "bad name");
	bad(nowhere, 1, "bad name");
	bad(device, 1, "bad name");
	bad(folder, 2, "Not a directory");
	/* A link of the archive's own is followed inside of its folder at most. */
	bad(through, 2, "");
}

static void test_broken_archives(void **state)
{
	_cleanup_box_ struct box b = box_new();
	_cleanup_close_ int fd = memory(), none = memory();
	const struct box_cache_limits small = {.bytes = 3, .packed = 0, .files = 10};
	_cleanup_close_ int one = archive_of(&(struct entry){"0/f", AE_IFREG, NULL, NULL}, 1);
	struct box_cache_report r;
	struct err e;

	(void)state;
	assert_int_equal(write(fd, "no archive at all", 17), 17);
	assert_int_equal(unpack(&b, fd, &r, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_done(unpack(&b, none, &r, &e), e);
	assert_int_equal(r.files, 0);
	assert_int_equal(lseek(one, 0, SEEK_SET), 0);
	assert_refused(box_cache_unpack(b.root, folders, 2, "/build", &small, one, &r, &e), e, ERR_INPUT,
		       "the archive has more files or bytes than a cache may");
	assert_int_equal(ftruncate(one, size_of(one) - 8), 0);
	assert_int_equal(unpack(&b, one, &r, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),   cmocka_unit_test(test_what_the_source_has_stays),
		cmocka_unit_test(test_bounds),           cmocka_unit_test(test_links_lead_nowhere_else),
		cmocka_unit_test(test_hostile_archives), cmocka_unit_test(test_broken_archives),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
