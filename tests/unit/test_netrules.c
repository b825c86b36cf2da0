#include "tests/unit/unit.h"

#include "lib/fs.h"
#include "runner/sandbox/netrules.h"

static int at(const char *text, const char *what)
{
	const char *p = strstr(text, what);

	if (!p) fail_msg("no '%s' in\n%s", what, text);
	return (int)(p - text);
}

/* The first rule that fits decides. */
static void test_the_order_of_the_rules(void **state)
{
	struct netrules r = {0};
	_cleanup_free_ char *text = NULL;
	struct err e;

	(void)state;
	vec_add(&r.own, "192.0.2.7");
	vec_add(&r.own, "2001:db8::7");
	vec_add(&r.servers, "169.254.169.253");
	vec_add(&r.allow, " 192.0.2.7\t22 ");
	vec_add(&r.allow, "2001:db8::/64");
	vec_add(&r.refuse, "10.0.0.0/8");
	assert_done(netrules_text(&r, &text, &e), e);
	assert_true(at(text, "oifname \"lo\" accept") < at(text, "ip daddr 10.0.0.0/8 reject"));
	assert_true(at(text, "ip daddr 10.0.0.0/8 reject") <
		    at(text, "ip daddr 169.254.169.253 meta l4proto { tcp, udp } th dport 53 accept"));
	assert_true(at(text, "ip daddr 192.0.2.7 meta l4proto { tcp, udp } th dport 22 accept") <
		    at(text, "ip daddr 192.0.2.7 reject"));
	assert_true(at(text, "ip6 daddr 2001:db8::/64 accept") < at(text, "ip6 daddr 2001:db8::7 reject"));
	at(text, "ip6 daddr 64:ff9b::c000:207 reject");
	at(text, "ip daddr 169.254.0.0/16 reject");
	at(text, "ip6 daddr fe80::/10 reject");
	netrules_release(&r);
}

/* Whatever the text, nft sees addresses and numbers alone. */
static void test_what_is_no_address_is_refused(void **state)
{
	static const char *const rows[] = {"example.org",    "10.0.0.0/33",  "10.0.0.0/8x", "10.0.0.0/",
					   "::1/129",        "10.0.0.1 0",   "10.0.0.1 x",  "10.0.0.1 65536",
					   "10.0.0.1 1 2",   "1.2.3.4;drop", "accept",      "10.0.0.1 22;flush",
					   "fe80::1%eth0 1", "10.0.0.1/-1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct netrules r = {0};
		char *text = NULL;
		struct err e;

		vec_add(&r.allow, rows[i]);
		if (!netrules_text(&r, &text, &e)) fail_msg("'%s' was taken:\n%s", rows[i], text);
		assert_int_equal(e.kind, ERR_INPUT);
		netrules_release(&r);
	}
}

static void test_an_owners_list(void **state)
{
	_cleanup_vec_ struct vec rows = VEC_INIT;
	static const char good[] = "# mirrors\n \n  10.0.0.1 80 # apt\n2001:db8::1\n", bad[] = "10.0.0.1\nnowhere\n";
	char *dir = NULL;
	_cleanup_free_ char *path = NULL;
	struct err e;

	(void)state;
	assert_done(fs_temp_dir("/tmp", "netrules-", &dir, &e), e);
	path = xasprintf("%s/list", dir);
	assert_done(netrules_list(path, &rows, &e), e);
	assert_int_equal(rows.len, 0);
	assert_done(fs_write_file(path, good, sizeof(good) - 1, 0600, &e), e);
	assert_done(netrules_list(path, &rows, &e), e);
	assert_int_equal(rows.len, 2);
	assert_string_equal(rows.items[0], "10.0.0.1 80");
	assert_done(fs_write_file(path, bad, sizeof(bad) - 1, 0600, &e), e);
	assert_int_equal(netrules_list(path, &rows, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_non_null(strstr(e.text, "'nowhere' is no address and no network"));
	assert_done(fs_remove_tree(dir, &e), e);
	free(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_order_of_the_rules),
		cmocka_unit_test(test_what_is_no_address_is_refused),
		cmocka_unit_test(test_an_owners_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
