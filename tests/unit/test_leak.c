/* The tripwire: what a file may hold by no fault, what is unpacked and how far, and records that are none. */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "runner/publish/leak.h"
#include "runner/publish/members.h"
#include "senv/mask.h"
#include "tests/unit/unit.h"

static int found_in(const char *secret, const char *text)
{
	struct mask *m = mask_new();
	struct mask_cursor c = {0};
	uint64_t at;
	int rc;

	assert_int_equal(mask_add_for_files(m, secret, strlen(secret)), 0);
	rc = mask_find(m, &c, text, strlen(text), &at);
	mask_free(&m);
	return rc;
}

static const char ssh_key[] = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
			      "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AA\n"
			      "AAQyR5cM0o2qY9mJ2nW4bV7tL0kQ8xH3sE6fD1pZ5uAA\n"
			      "-----END OPENSSH PRIVATE KEY-----\n";

static void test_what_is_no_secret_is_no_leak(void **state)
{
	(void)state;
	assert_int_equal(found_in(ssh_key, "the marker -----BEGIN OPENSSH PRIVATE KEY----- of a key"), 0);
	assert_int_equal(
		found_in(ssh_key, "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AA"), 0);
	assert_int_equal(found_in(ssh_key, "  AAQyR5cM0o2qY9mJ2nW4bV7tL0kQ8xH3sE6fD1pZ5uAA "), 1);
	assert_int_equal(found_in("{\"uri\":\"https://accounts.example.org/token\",\"k\":\"0123456789abcdefXYZ\"}",
				  "curl https://accounts.example.org/token"),
			 0);
	assert_int_equal(found_in("{\"uri\":\"https://accounts.example.org/token\",\"k\":\"0123456789abcdefXYZ\"}",
				  "k=0123456789abcdefXYZ"),
			 1);
	assert_int_equal(found_in("user: x\npassword: correct horse battery\n", "user: x"), 0);
	assert_int_equal(found_in("user: x\npassword: correct horse battery\n", "password: correct horse battery"), 1);
}

static void test_short_values_are_not_looked_for(void **state)
{
	struct mask *m = mask_new();

	(void)state;
	assert_int_equal(mask_add_for_files(m, "1234567", 7), 1);
	mask_free(&m);
}

static void test_a_value_is_found_across_any_cut(void **state)
{
	static const char text[] = "0123456789 a-secret-value and more";

	(void)state;
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct mask *m = mask_new();
		struct mask_cursor c = {0};
		uint64_t at = 0;

		assert_int_equal(mask_add_for_files(m, "a-secret-value", 14), 0);
		if (!mask_find(m, &c, text, cut, &at))
			assert_int_equal(mask_find(m, &c, text + cut, sizeof(text) - 1 - cut, &at), 1);
		assert_int_equal(at, 11);
		mask_free(&m);
	}
}

/* --- records --- */

/* What the reader makes of these bytes. */
static int records(const void *data, size_t len, struct leak_place *at_r)
{
	struct mask *m = mask_new();
	int p[2], rc;

	assert_int_equal(pipe(p), 0);
	assert_int_equal(write(p[1], data, len), (ssize_t)len);
	close(p[1]);
	assert_int_equal(mask_add_for_files(m, "a-secret-value", 14), 0);
	*at_r = (struct leak_place){0};
	rc = leaks_records(m, p[0], at_r);
	close(p[0]);
	mask_free(&m);
	return rc;
}
#define RECORDS(text, at) records(text, sizeof(text) - 1, at)

static void test_records_that_are_none_are_refused(void **state)
{
	struct leak_place at;

	(void)state;
	assert_int_equal(RECORDS("", &at), 0);
	assert_int_equal(RECORDS("B\1\0\0\1\0\0\0x", &at), 0);
	assert_int_equal(RECORDS("B\1\0\0\1\0\0\0x"
				 "D\1\0\0\x10\0\0\0--a-secret-value",
				 &at),
			 1);
	assert_string_equal(at.member, "x");
	assert_int_equal(at.offset, 2);
	assert_int_equal(RECORDS("L\0\0\0\0\0\0\0", &at), 0);
	assert_int_equal(at.limited, 1);
	assert_int_equal(RECORDS("B\1\0\0\4\0\0\0x", &at), -1);                 /* half */
	assert_int_equal(RECORDS("D\1\0\0\1\0\0\0x", &at), -1);                 /* of nothing */
	assert_int_equal(RECORDS("B\2\0\0\1\0\0\0x", &at), -1);                 /* in nothing */
	assert_int_equal(RECORDS("B\0\0\0\1\0\0\0x", &at), -1);                 /* the file itself */
	assert_int_equal(RECORDS("B\1\0\0\xff\xff\xff\xff", &at), -1);          /* too long */
	assert_int_equal(RECORDS("B\1\0\1\1\0\0\0x", &at), -1);                 /* no zeros */
	assert_int_equal(RECORDS("X\1\0\0\1\0\0\0x", &at), -1);                 /* unknown */
	assert_int_equal(RECORDS("B\1\0\0\1\0\0\0xB\7\0\0\1\0\0\0x", &at), -1); /* too deep */
}

struct unpacking {
	int file, out;
	uint64_t most;
	int rc;
};

static void *unpack(void *arg)
{
	struct unpacking *u = arg;

	u->rc = members_write(u->file, u->out, u->most);
	close(u->out);
	return NULL;
}

static void test_unpacking_ends_at_its_limit(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/zero.gz", dir);
	const char *const argv[] = {"gzip", "-c", NULL};
	struct child_opts o = {.argv = argv};
	struct buf zeros = BUF_INIT(4 << 20), packed = BUF_INIT(1 << 20);
	struct err e;
	static const uint64_t most[] = {100000, 1 << 30};

	(void)state;
	memset(buf_reserve(&zeros, 3000000), 0, 3000000);
	zeros.len = 3000000;
	assert_done(child_check(&o, &zeros, -1, &packed, &e), e);
	assert_done(fs_write_file(path, packed.data, packed.len, 0600, &e), e);
	buf_release(&zeros);
	buf_release(&packed);
	for (size_t i = 0; i < 2; i++) {
		struct unpacking u = {.file = open(path, O_RDONLY), .most = most[i]};
		struct mask *m = mask_new();
		struct leak_place at = {0};
		pthread_t t;
		int p[2];

		assert_int_equal(pipe(p), 0);
		u.out = p[1];
		assert_int_equal(mask_add_for_files(m, "a-secret-value", 14), 0);
		assert_int_equal(pthread_create(&t, NULL, unpack, &u), 0);
		assert_int_equal(leaks_records(m, p[0], &at), 0);
		pthread_join(t, NULL);
		assert_int_equal(u.rc, 0);
		assert_int_equal(at.limited, i == 0);
		close(p[0]);
		close(u.file);
		mask_free(&m);
	}
}

static void test_the_list_of_secrets_is_read(void **state)
{
	struct secret text = SECRET_INIT;
	struct leaks l = {0};
	struct err e;

	(void)state;
	secret_set(&text, "A=1=2\0B=\0", 9);
	assert_done(leaks_parse(&text, &l, &e), e);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.items[0].name, "A");
	assert_string_equal((char *)l.items[0].value.data, "1=2");
	assert_int_equal(l.items[1].value.len, 0);
	leaks_release(&l);
	secret_set(&text, "A=1\0B", 5);
	assert_refused(leaks_parse(&text, &l, &e), e, ERR_INPUT, "the list of secrets is damaged");
	leaks_release(&l);
	secret_set(&text, "=1", 3);
	assert_refused(leaks_parse(&text, &l, &e), e, ERR_INPUT, "the list of secrets is damaged");
	leaks_release(&l);
	secret_release(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_no_secret_is_no_leak),
		cmocka_unit_test(test_short_values_are_not_looked_for),
		cmocka_unit_test(test_a_value_is_found_across_any_cut),
		cmocka_unit_test(test_records_that_are_none_are_refused),
		cmocka_unit_test(test_unpacking_ends_at_its_limit),
		cmocka_unit_test(test_the_list_of_secrets_is_read),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
