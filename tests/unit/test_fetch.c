/* Which URLs are asked at all. What is fetched is shown by tests/e2e/31-senv-asks-a-runner-for-its-key. */
#include "tests/unit/unit.h"

#include "lib/fetch.h"

static void test_only_https_or_this_machine(void **state)
{
	(void)state;
	static const char *const good[] = {
		"https://ci.example.org/api/v1/repos/me/site/key",
		"https://192.0.2.7:8443/x",
		"http://127.0.0.1:8700/x",
		"http://127.8.9.10/x",
		"http://localhost:1/x",
		"http://[::1]:80/x",
		"HTTPS://EXAMPLE.ORG/",
	};
	static const struct {
		const char *url, *text;
	} bad[] = {
		{"http://ci.example.org/x",
		 "'http://ci.example.org/x' is not safe: want https, or http on this machine"},
		{"http://128.0.0.1/x", "'http://128.0.0.1/x' is not safe: want https, or http on this machine"},
		{"http://127.0.0.1.example.org/", "'http://127.0.0.1.example.org/' is not safe: want https, or http on "
						  "this machine"},
		{"http://localhost.example.org/", "'http://localhost.example.org/' is not safe: want https, or http on "
						  "this machine"},
		{"http://[::2]/x", "'http://[::2]/x' is not safe: want https, or http on this machine"},
		{"ftp://127.0.0.1/x", "'ftp://127.0.0.1/x' is not safe: want https, or http on this machine"},
		{"file:///etc/passwd", "'file:///etc/passwd' is no URL"},
		{"https://", "'https://' is no URL"},
		{"http://127.0.0.1:pw@example.org/", "the URL for 'example.org' has a user name in it"},
		{"https://me:secret@example.org/", "the URL for 'example.org' has a user name in it"},
	};
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) assert_done(fetch_check_url(good[i], &e), e);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(fetch_check_url(bad[i].url, &e), e, ERR_INPUT, bad[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_only_https_or_this_machine)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
