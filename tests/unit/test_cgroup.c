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
#include "runner/sandbox/cgroup.h"

static const char v1_mounts[] =
	"22 1 0:20 / /proc rw - proc proc rw\n"
	"30 22 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
	"31 30 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct\n"
	"32 30 0:27 /docker/x /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	"33 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
static const char v1_self[] = "9:memory:/docker/x/job\n3:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/u/s\n";
static const char v2_mounts[] = "33 30 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
static const char v2_self[] = "0::/system.slice/runner.service\n";

static void check(const char *mounts, const char *self, const char *controller, int version, const char *mount,
		  const char *own)
{
	_cleanup_free_ char *mount_got = NULL, *own_got = NULL;

	assert_int_equal(cgroup_find(mounts, self, controller, &mount_got, &own_got), version);
	if (!version) {
		assert_null(mount_got);
		return;
	}
	assert_string_equal(mount_got, mount);
	assert_string_equal(own_got, own);
}

static void test_find_in_all_kinds_of_hosts(void **state)
{
	(void)state;
	check(v1_mounts, v1_self, "cpu", 1, "/sys/fs/cgroup/cpu,cpuacct", "");
	check(v1_mounts, v1_self, "memory", 1, "/sys/fs/cgroup/memory", "/job");
	check(v1_mounts, v1_self, "pids", 2, "/sys/fs/cgroup/unified", "/u/s");
	check(v2_mounts, v2_self, "memory", 2, "/sys/fs/cgroup", "/system.slice/runner.service");
	check(v2_mounts, "0::/\n", "pids", 2, "/sys/fs/cgroup", "");
	check(v2_mounts, "0::/../other\n", "pids", 2, "/sys/fs/cgroup", "");
	check(v2_mounts, "", "pids", 2, "/sys/fs/cgroup", "");
	check("", v2_self, "pids", 0, NULL, NULL);
	check("garbage\n - cgroup\nx - \n", "::\n:\n", "pids", 0, NULL, NULL);
}

static void test_make_join_and_remove(void **state)
{
	const int64_t values[CGROUP_LIMITS] = {[CGROUP_MEMORY] = 64 << 20, [CGROUP_PIDS] = 30, [CGROUP_CPU] = 500};
	char record[] = "/tmp/cgroup-test-XXXXXX";
	_cleanup_vec_ struct vec notes = VEC_INIT;
	_cleanup_free_ char *kept = NULL;
	struct cgroup c;
	size_t have = 0;

	(void)state;
	close(mkstemp(record));
	cgroup_make("test-cgroup", values, record, &c, &notes);
	for (int i = 0; i < CGROUP_LIMITS; i++)
		if (c.dir[i]) {
			assert_true(fs_exists(c.dir[i]));
			have++;
		}
	/* Either a limit is there or a line says why not. */
	assert_int_equal(have + notes.len, CGROUP_LIMITS);
	for (size_t i = 0; i < notes.len; i++) assert_non_null(strstr(notes.items[i], " limit: "));
	assert_int_equal(cgroup_oom(&c), 0);
	if (c.dir[CGROUP_PIDS]) kept = xstrdup(c.dir[CGROUP_PIDS]);
	cgroup_remove(&c);
	if (kept) assert_false(fs_exists(kept));

	cgroup_make("test-cgroup", values, record, &c, &notes);
	cgroup_sweep(record);
	if (kept) assert_false(fs_exists(kept));
	cgroup_remove(&c);
	unlink(record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find_in_all_kinds_of_hosts),
		cmocka_unit_test(test_make_join_and_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
