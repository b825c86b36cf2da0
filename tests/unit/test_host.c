#include "tests/unit/unit.h"

#include "runner/sandbox/doctor_rows.h"
#include "runner/sandbox/host.h"

static const char hybrid[] =
	"31 22 0:27 / /sys/fs/cgroup rw,relatime shared:5 - tmpfs none rw\n"
	"33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
	"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:1 master:2 - cgroup cgroup rw,memory\n"
	"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	"50 22 0:39 / /proc/sys/fs/binfmt_misc rw - binfmt_misc none rw\n";
static const char pure_v2[] = "31 22 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
static const char many_v1[] = "1 0:1:memory:/\n";

/* All commands of a finding, one a line. */
static void commands_text(const struct finding *f, char *out, size_t max)
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < f->ncommands; i++) {
		for (size_t k = 0; k < f->commands[i].len; k++)
			n += (size_t)snprintf(out + n, max - n, "%s%s", k ? " " : "", f->commands[i].items[k]);
		n += (size_t)snprintf(out + n, max - n, "\n");
	}
}

static void test_arches_know_what_runs_as_it_is(void **state)
{
	(void)state;
	assert_true(host_arch_known(host_arch()));
	assert_false(host_arch_known("amd63"));
	assert_true(host_arch_native("amd64", "amd64"));
	assert_true(host_arch_native("amd64", "i386"));
	assert_false(host_arch_native("amd64", "arm64"));
	assert_false(host_arch_native("arm64", "i386"));
	assert_string_equal(host_arch_qemu("arm64"), "qemu-aarch64");
	assert_null(host_arch_qemu("amd63"));
}

static void test_binfmt_wants_the_flag_that_reaches_into_containers(void **state)
{
	const char *why = NULL;

	(void)state;
	assert_int_equal(host_binfmt_check("enabled\ninterpreter /usr/bin/q\nflags: POCF\noffset 0\n", &why), 0);
	assert_int_equal(host_binfmt_check("enabled\ninterpreter /F\nflags: PO\noffset 0\nmagic F\n", &why), -1);
	assert_non_null(strstr(why, "flag F"));
	assert_int_equal(host_binfmt_check("disabled\ninterpreter /q\nflags: F\n", &why), -1);
	assert_non_null(strstr(why, "switched off"));
	assert_int_equal(host_binfmt_check("", &why), -1);
}

static void test_binfmt_rules(void **state)
{
	/* as Debian's qemu-user-static registers it */
	static const char arm64[] =
		":qemu-aarch64:M::"
		"\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7"
		"\\x00:"
		"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:/"
		"q:"
		"PF";
	static const char s390x[] =
		":qemu-s390x:M::"
		"\\x7f\\x45\\x4c\\x46\\x02\\x02\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00"
		"\\x16:"
		"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff:/"
		"q:"
		"PF";
	char *rule;

	(void)state;
	rule = host_binfmt_rule("arm64", "/q");
	assert_string_equal(rule, arm64);
	free(rule);
	rule = host_binfmt_rule("s390x", "/q");
	assert_string_equal(rule, s390x);
	free(rule);
	assert_null(host_binfmt_rule("vax", "/q"));
}

static void test_cgroup_view_tells_the_four_modes(void **state)
{
	struct cgroup_view v;

	(void)state;
	host_cgroup_view(hybrid, &v);
	assert_int_equal(v.mode, CGROUP_HYBRID);
	assert_int_equal(v.v1.len, 2);
	assert_true(vec_has(&v.v1, "cpuset"));
	assert_true(vec_has(&v.v1, "memory"));
	cgroup_view_release(&v);
	host_cgroup_view(pure_v2, &v);
	assert_int_equal(v.mode, CGROUP_V2);
	assert_int_equal(v.v1.len, 0);
	cgroup_view_release(&v);
	host_cgroup_view("1 2 0:3 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n", &v);
	assert_int_equal(v.mode, CGROUP_V1);
	cgroup_view_release(&v);
	host_cgroup_view("1 2 0:3 / / rw - ext4 /dev/vda rw\nnonsense\n - \n1 2 3 4 - cgroup2\n", &v);
	assert_int_equal(v.mode, CGROUP_NONE);
	cgroup_view_release(&v);
}

static void test_cgroups_take_controllers_back_from_version_2(void **state)
{
	struct finding f = {0};
	char text[1000];

	(void)state;
	doctor_judge_cgroups(hybrid, many_v1, "hugetlb io\n", &f);
	assert_false(f.ok);
	assert_string_equal(f.text,
			    "crun refuses to start: version 2 at /sys/fs/cgroup/unified has controllers (hugetlb, io)"
			    " beside version 1");
	commands_text(&f, text, sizeof(text));
	assert_string_equal(text, "mkdir -p /sys/fs/cgroup/hugetlb\n"
				  "mount -t cgroup -o hugetlb cgroup /sys/fs/cgroup/hugetlb\n"
				  "mkdir -p /sys/fs/cgroup/blkio\n"
				  "mount -t cgroup -o blkio cgroup /sys/fs/cgroup/blkio\n");
	finding_release(&f);
	doctor_judge_cgroups(hybrid, many_v1, "\n", &f);
	assert_true(f.ok);
	assert_string_equal(f.text, "hybrid");
	finding_release(&f);
	doctor_judge_cgroups(pure_v2, "0::/\n", "cpu memory pids\n", &f);
	assert_true(f.ok);
	assert_string_equal(f.text, "version 2");
	finding_release(&f);
}

static void test_cgroups_unmounted_are_mounted_as_the_kernel_has_them(void **state)
{
	struct finding f = {0};
	char text[1000];

	(void)state;
	doctor_judge_cgroups("", "0::/\n", "", &f);
	assert_false(f.ok);
	commands_text(&f, text, sizeof(text));
	assert_string_equal(text, "mount -t cgroup2 cgroup2 /sys/fs/cgroup\n");
	finding_release(&f);
	doctor_judge_cgroups("", "2:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n", "", &f);
	commands_text(&f, text, sizeof(text));
	assert_string_equal(text, "mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup\n"
				  "mkdir -p /sys/fs/cgroup/cpu,cpuacct\n"
				  "mount -t cgroup -o cpu,cpuacct cgroup /sys/fs/cgroup/cpu,cpuacct\n"
				  "mkdir -p /sys/fs/cgroup/systemd\n"
				  "mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd\n"
				  "mkdir -p /sys/fs/cgroup/unified\n"
				  "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified\n");
	finding_release(&f);
}

/* Writable is what the test says: `arg` is a path that is not. */
static int all_but(const char *path, void *arg)
{
	return !arg || strcmp(path, arg) != 0;
}

static void test_delegation_makes_folders_where_limits_are(void **state)
{
	static const char split[] = "33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
				    "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
				    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
	struct finding f = {0};
	char not_there[] = "/sys/fs/cgroup/memory/slipway-1001", text[2000];

	(void)state;
	doctor_judge_delegation(split, 1001, 1002, all_but, NULL, &f);
	assert_true(f.ok);
	finding_release(&f);
	doctor_judge_delegation(split, 1001, 1002, all_but, not_there, &f);
	assert_false(f.ok);
	commands_text(&f, text, sizeof(text));
	assert_string_equal(
		text,
		"mkdir -p /sys/fs/cgroup/cpu,cpuacct/slipway-1001 /sys/fs/cgroup/memory/slipway-1001\n"
		"chown -R 1001:1002 /sys/fs/cgroup/cpu,cpuacct/slipway-1001 /sys/fs/cgroup/memory/slipway-1001\n");
	finding_release(&f);
}

static void test_subids_are_put_behind_all_others(void **state)
{
	struct finding f = {0};
	char text[1000];

	(void)state;
	doctor_judge_subids("kim:100000:65536\n", "kim:100000:65536\n", "kim", 1001, &f);
	assert_true(f.ok);
	finding_release(&f);
	doctor_judge_subids("bo:300000:65536\nkim:9:9\n", "", "kim", 1001, &f);
	assert_false(f.ok);
	commands_text(&f, text, sizeof(text));
	assert_string_equal(text, "usermod --add-subuids 365536-431071 kim\n"
				  "usermod --add-subgids 100000-165535 kim\n");
	finding_release(&f);
	assert_int_equal(host_subid_free("x:y:z\na:99999999999:5\nb:4294967295:4294967295\n"), 8589934590UL);
}

static void test_version_is_the_first_dotted_number(void **state)
{
	char v[32];

	(void)state;
	assert_true(host_version_at_least("crun version 1.8.1\ncommit: 5", 1, 8, v));
	assert_string_equal(v, "1.8.1");
	assert_false(host_version_at_least("crun version 1.8.1", 1, 9, v));
	assert_true(host_version_at_least("QEMU 2 emulator version 10.0", 9, 5, v));
	assert_string_equal(v, "10.0");
	assert_false(host_version_at_least("none 17 here", 0, 0, v));
	assert_string_equal(v, "");
	assert_false(host_version_at_least("", 0, 0, v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arches_know_what_runs_as_it_is),
		cmocka_unit_test(test_binfmt_wants_the_flag_that_reaches_into_containers),
		cmocka_unit_test(test_binfmt_rules),
		cmocka_unit_test(test_cgroup_view_tells_the_four_modes),
		cmocka_unit_test(test_cgroups_take_controllers_back_from_version_2),
		cmocka_unit_test(test_cgroups_unmounted_are_mounted_as_the_kernel_has_them),
		cmocka_unit_test(test_delegation_makes_folders_where_limits_are),
		cmocka_unit_test(test_subids_are_put_behind_all_others),
		cmocka_unit_test(test_version_is_the_first_dotted_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
