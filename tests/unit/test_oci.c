#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/json.h"
#include "runner/sandbox/oci.h"

static json_t *config(const struct oci_rlimit *rlimits, size_t n)
{
	struct buf bpf = {.data = (char[]){"\x01\x02\x03\xff"}, .len = 4, .max = 4};
	struct oci_opts o = {.rootfs = "/r", .init = "/i", .bpf = &bpf, .rlimits = rlimits, .nrlimits = n};
	_cleanup_free_ char *text = oci_config(&o), *again = oci_config(&o);
	json_t *j = NULL;
	struct err e;

	assert_string_equal(text, again);
	if (json_parse("config.json", text, strlen(text), &j, &e)) fail_msg("%s", e.text);
	return j;
}

static int has(const json_t *list, const char *word)
{
	size_t i;
	json_t *v;

	json_array_foreach(list, i, v) if (!strcmp(json_string_value(v), word)) return 1;
	return 0;
}

static void test_config_gives_up_privileges(void **state)
{
	_cleanup_json_ json_t *j = config(NULL, 0);
	const char *const sets[] = {"process.capabilities.bounding", "process.capabilities.effective",
				    "process.capabilities.permitted"};

	(void)state;
	assert_true(json_bool_or(j, "process.noNewPrivileges", 0));
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		assert_int_equal(json_array_size(json_at(j, sets[i])), 8);
		assert_false(has(json_at(j, sets[i]), "CAP_SYS_ADMIN"));
		assert_false(has(json_at(j, sets[i]), "CAP_NET_RAW"));
		assert_false(has(json_at(j, sets[i]), "CAP_SYS_PTRACE"));
		assert_true(has(json_at(j, sets[i]), "CAP_CHOWN"));
	}
	assert_null(json_at(j, "process.capabilities.ambient"));
	assert_null(json_at(j, "process.capabilities.inheritable"));
	assert_true(has(json_at(j, "linux.readonlyPaths"), "/proc/sys"));
	assert_true(has(json_at(j, "linux.maskedPaths"), "/proc/kcore"));
}

/* The filter's key has dots in it, so json_at() does not find it. */
static void test_config_carries_the_filter_and_no_command(void **state)
{
	_cleanup_json_ json_t *j = config(NULL, 0);
	json_t *annotations = json_at(j, "annotations");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(annotations, "run.oci.seccomp_bpf_data")), "AQID/w==");
	assert_int_equal(json_array_size(json_at(j, "process.args")), 1);
	assert_true(has(json_at(j, "process.args"), OCI_INIT_PATH));
	assert_int_equal(json_array_size(json_at(j, "process.env")), 1);
	assert_string_equal(json_string_or(j, "root.path", ""), "/r");
}

static void test_config_stays_in_the_boxs_user_and_network_namespace(void **state)
{
	_cleanup_json_ json_t *j = config(NULL, 0);
	const char *const wanted[] = {"pid", "mount", "ipc", "uts", "cgroup"};
	json_t *list = json_at(j, "linux.namespaces"), *v;
	size_t i;

	(void)state;
	assert_int_equal(json_array_size(list), ARRAY_LEN(wanted));
	json_array_foreach(list, i, v) assert_string_equal(json_string_or(v, "type", ""), wanted[i]);
}

static void test_init_is_mounted_read_only(void **state)
{
	_cleanup_json_ json_t *j = config(NULL, 0);
	json_t *list = json_at(j, "mounts"), *v;
	size_t i;
	int found = 0;

	(void)state;
	json_array_foreach(list, i, v)
	{
		const char *where = json_string_or(v, "destination", "");

		if (!strcmp(where, OCI_INIT_PATH)) {
			found++;
			assert_string_equal(json_string_or(v, "source", ""), "/i");
			assert_true(has(json_object_get(v, "options"), "ro"));
		}
		if (!strcmp(where, "/sys")) assert_true(has(json_object_get(v, "options"), "ro"));
		assert_string_not_equal(where, "/sys/fs/cgroup");
	}
	assert_int_equal(found, 1);
}

static void test_rlimits_never_exceed_what_is_inherited(void **state)
{
	const struct oci_rlimit rlimits[] = {
		{"RLIMIT_NOFILE", 20000, 65536},
		{"RLIMIT_FSIZE", UINT64_MAX, 4096},
		{"RLIMIT_NPROC", UINT64_MAX, UINT64_MAX},
		{"RLIMIT_CORE", 7, 0},
	};
	_cleanup_json_ json_t *j = config(rlimits, ARRAY_LEN(rlimits));
	const struct {
		const char *type;
		int64_t value;
	} want[] = {{"RLIMIT_NOFILE", 20000}, {"RLIMIT_FSIZE", 4096}, {"RLIMIT_CORE", 0}};
	json_t *list = json_at(j, "process.rlimits");

	(void)state;
	assert_int_equal(json_array_size(list), ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		assert_string_equal(json_string_or(json_array_get(list, i), "type", ""), want[i].type);
		assert_int_equal(json_int_or(json_array_get(list, i), "hard", -1), want[i].value);
		assert_int_equal(json_int_or(json_array_get(list, i), "soft", -1), want[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_gives_up_privileges),
		cmocka_unit_test(test_config_carries_the_filter_and_no_command),
		cmocka_unit_test(test_config_stays_in_the_boxs_user_and_network_namespace),
		cmocka_unit_test(test_init_is_mounted_read_only),
		cmocka_unit_test(test_rlimits_never_exceed_what_is_inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
