/* What is told of a build's end, and which addresses a webhook may lead to. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "runner/report/notify.h"
#include "tests/unit/unit.h"

static int is_public(const char *text)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &a4.sin_addr) == 1) return address_is_public((struct sockaddr *)&a4);
	assert_int_equal(inet_pton(AF_INET6, text, &a6.sin6_addr), 1);
	return address_is_public((struct sockaddr *)&a6);
}

static void test_which_addresses_are_public(void **state)
{
	static const char *const yes[] = {"1.1.1.1",       "172.15.255.255", "172.32.0.1",      "100.63.255.255",
					  "100.128.0.0",   "192.167.1.1",    "223.255.255.255", "169.253.0.1",
					  "2606:4700::11", "2a00::1",        "2001:4860::8888"};
	static const char *const no[] = {"0.0.0.0",
					 "10.1.2.3",
					 "100.64.0.1",
					 "100.127.255.255",
					 "127.0.0.1",
					 "127.255.255.255",
					 "169.254.169.254",
					 "172.16.0.1",
					 "172.31.255.255",
					 "192.168.0.1",
					 "198.18.0.1",
					 "198.19.255.255",
					 "203.0.113.9",
					 "224.0.0.1",
					 "255.255.255.255",
					 "::",
					 "::1",
					 "::ffff:127.0.0.1",
					 "::ffff:8.8.8.8",
					 "64:ff9b::7f00:1",
					 "fe80::1",
					 "fc00::1",
					 "fd12::1",
					 "ff02::1",
					 "2002:7f00:1::",
					 "2001::1",
					 "2001:db8::1"};
	struct sockaddr other = {.sa_family = AF_UNIX};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(yes); i++)
		if (!is_public(yes[i])) fail_msg("%s is not public", yes[i]);
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		if (is_public(no[i])) fail_msg("%s is public", no[i]);
	assert_int_equal(address_is_public(&other), 0);
}

static void test_a_mail_of_strange_names(void **state)
{
	static char repo[] = "demo/site", branch[] = "x\r\nBcc: all@example.org", commit[] = "0123456789ab",
		    ref[] = "r";
	static char accents[] = "br\xc3\xa4nch", message[] = "one\r\n.\r\ntwo", name[] = "n\nX: y";
	struct build_row b = {.number = 3,
			      .repo = repo,
			      .ref = ref,
			      .branch = branch,
			      .commit = commit,
			      .message = message,
			      .state = BUILD_FAILED};
	struct job_row j = {.number = 1, .name = name, .state = JOB_FAILED};
	_cleanup_free_ char *mail = NULL, *other = NULL;

	(void)state;
	mail = notify_mail(&b, &j, 1, "d1", "https://ci/builds/3", "me@example.org", "ci@example.org", 1000);
	assert_non_null(strstr(mail,
			       "From: ci@example.org\nTo: me@example.org\nSubject: [demo/site] build 3 failed: x  "
			       "Bcc: all@example.org 01234567\nDate: Thu, 01 Jan 1970 00:00:01 +0000\n"));
	assert_null(strstr(mail, "\nBcc:"));
	assert_null(strstr(mail, "\nX: y"));
	assert_null(strstr(mail, "\n.\n"));
	assert_null(strchr(mail, '\r'));
	assert_non_null(strstr(mail, "\n\nhttps://ci/builds/3\n"));
	b.branch = accents;
	other = notify_mail(&b, &j, 1, "d1", NULL, "me@example.org", NULL, 1000);
	assert_non_null(strstr(other, "Subject: =?UTF-8?B?W2RlbW8vc2l0ZV0gYnVpbGQgMyBmYWlsZWQ6IGJyw6RuY2ggMDEyMzQ1?=\n "
				      "=?UTF-8?B?Njc=?=\nDate:"));
	assert_null(strstr(other, "From:"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_addresses_are_public),
		cmocka_unit_test(test_a_mail_of_strange_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
