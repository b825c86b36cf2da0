/* GitHub's deliveries: the signature, and bodies that are right, wrong, hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/secret.h"
#include "runner/trigger/github.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ZERO "0000000000000000000000000000000000000000"
#define REPO "\"repository\":{\"full_name\":\"me/site\"},\"sender\":{\"login\":\"ann\"}"

static int parse(const char *event, const char *body, struct event *ev, struct err *e)
{
	return github_parse(event, "d-1", body, strlen(body), ev, e);
}

static void refuses(const char *event, const char *body, const char *part)
{
	struct event ev;
	struct err e = {0};

	if (parse(event, body, &ev, &e) != -1) fail_msg("taken: %s", body);
	assert_int_equal(e.kind, ERR_INPUT);
	if (!strstr(e.text, part)) fail_msg("'%s' does not say '%s'", e.text, part);
}

/* --- signature --- */

/* The example values of docs.github.com, "Testing the webhook payload validation". */
static const char example[] = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

static void test_githubs_own_example(void **state)
{
	struct secret s = SECRET_INIT;

	(void)state;
	secret_set(&s, "It's a Secret to Everybody", 26);
	assert_true(github_signature_ok(&s, "Hello, World!", 13, example));
	assert_false(github_signature_ok(&s, "Hello, World?", 13, example));
	assert_false(github_signature_ok(&s, "Hello, World!", 12, example));
	secret_release(&s);
}

static void test_other_forms_of_signature_are_refused(void **state)
{
	struct secret s = SECRET_INIT, none = SECRET_INIT;
	char text[128];

	(void)state;
	secret_set(&s, "It's a Secret to Everybody", 26);
	for (size_t i = 0; i < sizeof(example) - 1; i++) { /* any one character changed */
		memcpy(text, example, sizeof(example));
		text[i] = (char)(text[i] == '1' ? '2' : '1');
		assert_false(github_signature_ok(&s, "Hello, World!", 13, text));
	}
	memcpy(text, example, sizeof(example));
	text[sizeof(example) - 2] = '\0';
	assert_false(github_signature_ok(&s, "Hello, World!", 13, text));
	memcpy(text, example, sizeof(example));
	text[sizeof(example) - 1] = '7';
	text[sizeof(example)] = '\0';
	assert_false(github_signature_ok(&s, "Hello, World!", 13, text));
	assert_false(github_signature_ok(&s, "Hello, World!", 13, "sha256="));
	assert_false(github_signature_ok(&s, "Hello, World!", 13, "sha256=00"));
	assert_false(github_signature_ok(&s, "Hello, World!", 13, ""));
	assert_false(github_signature_ok(&s, "Hello, World!", 13, NULL));
	assert_false(github_signature_ok(&s, "Hello, World!", 13, example + 7));
	assert_false(github_signature_ok(&s, "Hello, World!", 13,
					 "SHA256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"));
	assert_false(github_signature_ok(&s, "Hello, World!", 13,
					 "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17"));
	/* HMAC-SHA256 of "" under the empty key: right, and still refused */
	assert_false(github_signature_ok(&none, "", 0,
					 "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"));
	secret_release(&s);
}

/* RFC 4231: keys shorter and longer than a block, bytes that are no text. */
static void test_rfc_4231(void **state)
{
	struct secret s = SECRET_INIT;
	unsigned char key[131], data[50];

	(void)state;
	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	secret_set(&s, key, 20);
	assert_true(github_signature_ok(&s, data, 50,
					"sha256=773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"));
	secret_set(&s, key, 131);
	assert_true(github_signature_ok(&s, "Test Using Larger Than Block-Size Key - Hash Key First", 54,
					"sha256=60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"));
	secret_release(&s);
}

/* --- push --- */

static void test_push_to_a_branch(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("push",
			       "{\"ref\":\"refs/heads/a/b\",\"before\":\"" A "\",\"after\":\"" B
			       "\",\"deleted\":false,\"head_commit\":{\"id\":\"" B
			       "\",\"message\":\"one\\n\\ntwo\\n\"},\"unknown\":[1,{}]," REPO "}",
			       &ev, &e),
			 0);
	assert_int_equal(ev.kind, EVENT_PUSH);
	assert_int_equal(ev.source, EVENT_FROM_GITHUB);
	assert_string_equal(ev.delivery, "d-1");
	assert_string_equal(ev.repo, "me/site");
	assert_string_equal(ev.ref, "refs/heads/a/b");
	assert_string_equal(ev.branch, "a/b");
	assert_null(ev.tag);
	assert_string_equal(ev.before, A);
	assert_string_equal(ev.commit, B);
	assert_string_equal(ev.message, "one\n\ntwo");
	assert_string_equal(ev.sender, "ann");
	assert_int_equal(ev.deleted, 0);
	assert_null(event_skip_reason(&ev));
	event_release(&ev);
}

static void test_push_of_a_new_branch_without_commits(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("push",
			       "{\"ref\":\"refs/heads/new\",\"before\":\"" ZERO "\",\"after\":\"" B
			       "\",\"created\":true,\"head_commit\":null,\"sender\":5,"
			       "\"repository\":{\"full_name\":\"me/site\"}}",
			       &ev, &e),
			 0);
	assert_true(event_commit_is_zero(ev.before));
	assert_string_equal(ev.commit, B);
	assert_null(ev.message);
	assert_null(ev.sender);
	event_release(&ev);
}

static void test_push_of_an_annotated_tag_builds_its_commit(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("push",
			       "{\"ref\":\"refs/tags/v1\",\"before\":\"" ZERO "\",\"after\":\"" A
			       "\",\"head_commit\":{\"id\":\"" B "\",\"message\":\"m\"}," REPO "}",
			       &ev, &e),
			 0);
	assert_string_equal(ev.tag, "v1");
	assert_string_equal(ev.branch, "v1");
	assert_string_equal(ev.commit, B);
	event_release(&ev);
}

static void test_deleted_refs(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("push",
			       "{\"ref\":\"refs/heads/x\",\"before\":\"" A "\",\"after\":\"" ZERO
			       "\",\"deleted\":true,\"head_commit\":null," REPO "}",
			       &ev, &e),
			 0);
	assert_int_equal(ev.deleted, 1);
	assert_null(ev.commit);
	assert_string_equal(event_skip_reason(&ev), "branch deleted");
	event_release(&ev);
	assert_int_equal(parse("push", "{\"ref\":\"refs/tags/x\",\"after\":\"" ZERO "\"," REPO "}", &ev, &e), 0);
	assert_string_equal(event_skip_reason(&ev), "tag deleted");
	event_release(&ev);
}

static void test_pushes_that_are_wrong(void **state)
{
	(void)state;
	refuses("push", "{}", "push: 'repository.full_name' is missing");
	refuses("push", "{" REPO "}", "'ref' is missing");
	refuses("push", "{\"ref\":7," REPO "}", "'ref' is not a string");
	refuses("push", "{\"ref\":\"main\"," REPO "}", "'ref' is not what it should be: 'main'");
	refuses("push", "{\"ref\":\"refs/notes/x\"," REPO "}", "'ref' is not what it should be");
	refuses("push", "{\"ref\":\"refs/heads/../x\"," REPO "}", "'ref' is not what it should be");
	refuses("push", "{\"ref\":\"refs/heads/x\"," REPO "}", "'after' is missing");
	refuses("push", "{\"ref\":\"refs/heads/x\",\"after\":null," REPO "}", "'after' is not a string");
	refuses("push", "{\"ref\":\"refs/heads/x\",\"after\":\"HEAD\"," REPO "}", "'after' is not what it should be");
	refuses("push", "{\"ref\":\"refs/heads/x\",\"after\":\"" A "\",\"before\":\"--x\"," REPO "}",
		"'before' is not what it should be");
	refuses("push", "{\"ref\":\"refs/heads/x\",\"after\":\"" A "\",\"before\":{}," REPO "}",
		"'before' is not a string");
	refuses("push", "{\"ref\":\"refs/heads/x\",\"after\":\"" A "\",\"head_commit\":{\"id\":1}," REPO "}",
		"'head_commit.id' is not a string");
	refuses("push", "{\"repository\":{\"full_name\":\"../etc\"}}",
		"'repository.full_name' is not what it should be");
	refuses("push", "{\"repository\":\"me/site\"}", "'repository.full_name' is missing");
	refuses("push", "{\"repository\":{\"full_name\":[\"me/site\"]}}", "'repository.full_name' is not a string");
}

/* --- pull request --- */

#define PULL(action, number, head_repo)                                                                                \
	"{\"action\":" action ",\"number\":" number ",\"pull_request\":{\"title\":\"t [skip ci]\","                    \
	"\"merge_commit_sha\":null,\"base\":{\"ref\":\"main\",\"repo\":{\"full_name\":\"me/site\"}},"                  \
	"\"head\":{\"ref\":\"topic\",\"sha\":\"" B "\",\"repo\":" head_repo "}}," REPO "}"

static void test_pull_request_of_the_same_repository(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("pull_request", PULL("\"opened\"", "7", "{\"full_name\":\"me/site\"}"), &ev, &e), 0);
	assert_int_equal(ev.kind, EVENT_PULL_REQUEST);
	assert_int_equal(ev.pr_number, 7);
	assert_string_equal(ev.pr_action, "opened");
	assert_string_equal(ev.ref, "refs/pull/7/merge");
	assert_string_equal(ev.branch, "main");
	assert_string_equal(ev.commit, B);
	assert_string_equal(ev.head_commit, B);
	assert_string_equal(ev.head_branch, "topic");
	assert_string_equal(ev.head_repo, "me/site");
	assert_string_equal(ev.message, "t [skip ci]");
	assert_int_equal(ev.from_fork, 0);
	assert_null(event_skip_reason(&ev));
	event_release(&ev);
}

static void test_pull_request_from_a_fork(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("pull_request", PULL("\"synchronize\"", "7", "{\"full_name\":\"you/site\"}"), &ev, &e),
			 0);
	assert_int_equal(ev.from_fork, 1);
	assert_string_equal(ev.head_repo, "you/site");
	event_release(&ev);
	/* the fork was deleted */
	assert_int_equal(parse("pull_request", PULL("\"reopened\"", "7", "null"), &ev, &e), 0);
	assert_int_equal(ev.from_fork, 1);
	assert_null(ev.head_repo);
	assert_null(event_skip_reason(&ev));
	event_release(&ev);
}

static void test_pull_request_actions_that_build_nothing(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("pull_request", PULL("\"labeled\"", "7", "{\"full_name\":\"me/site\"}"), &ev, &e), 0);
	assert_string_equal(event_skip_reason(&ev), "nothing to build for this action");
	event_release(&ev);
}

static void test_pull_requests_that_are_wrong(void **state)
{
	(void)state;
	refuses("pull_request", PULL("1", "7", "null"), "'action' is not a string");
	refuses("pull_request", PULL("\"Do it\"", "7", "null"), "'action' is not what it should be");
	refuses("pull_request", PULL("\"opened\"", "\"7\"", "null"), "'number' is not a whole number");
	refuses("pull_request", PULL("\"opened\"", "0", "null"), "'number' is no pull request");
	refuses("pull_request", PULL("\"opened\"", "-1", "null"), "'number' is no pull request");
	refuses("pull_request", PULL("\"opened\"", "2147483648", "null"), "'number' is no pull request");
	refuses("pull_request", PULL("\"opened\"", "99999999999999999999999", "null"), "too big integer");
	refuses("pull_request", PULL("\"opened\"", "1e400", "null"), "real number overflow");
	refuses("pull_request", PULL("\"opened\"", "7", "{\"full_name\":\"x\"}"),
		"'pull_request.head.repo.full_name' is not what it should be");
	refuses("pull_request", "{\"action\":\"opened\",\"number\":1," REPO "}", "'pull_request.base.ref' is missing");
	refuses("pull_request",
		"{\"action\":\"opened\",\"number\":1,\"pull_request\":{\"base\":{\"ref\":\"m\",\"repo\":{\"full_name\":"
		"\"you/other\"}},\"head\":{\"ref\":\"x\",\"sha\":\"" A "\",\"repo\":null}}," REPO "}",
		"is not the repository: 'you/other'");
}

/* --- the rest --- */

static void test_ping_and_others(void **state)
{
	struct event ev = {0};
	struct err e;

	(void)state;
	assert_int_equal(parse("ping", "{\"zen\":\"Keep it.\"," REPO "}", &ev, &e), 0);
	assert_int_equal(ev.kind, EVENT_PING);
	assert_string_equal(ev.message, "Keep it.");
	assert_non_null(event_skip_reason(&ev));
	event_release(&ev);
	assert_int_equal(parse("ping", "{\"zen\":\"x\",\"organization\":{}}", &ev, &e), 0);
	assert_null(ev.repo);
	event_release(&ev);
	assert_int_equal(parse("watch", "{}", &ev, &e), 1);
	refuses("watch", "{", "delivery:1:");
}

static void test_headers(void **state)
{
	struct event ev;
	struct err e;
	char longest[300];

	(void)state;
	memset(longest, 'x', sizeof(longest));
	longest[299] = '\0';
	assert_int_equal(github_parse(NULL, "d", "{}", 2, &ev, &e), -1);
	assert_string_equal(e.text, "the header X-GitHub-Event is missing");
	assert_int_equal(github_parse("pu\xffsh", "d", "{}", 2, &ev, &e), -1);
	assert_string_equal(e.text, "the header X-GitHub-Event is no event's name");
	assert_int_equal(github_parse("push", NULL, "{}", 2, &ev, &e), -1);
	assert_string_equal(e.text, "the header X-GitHub-Delivery is missing");
	assert_int_equal(github_parse("push", "a b", "{}", 2, &ev, &e), -1);
	assert_string_equal(e.text, "the header X-GitHub-Delivery is no delivery id");
	assert_int_equal(github_parse("push", longest, "{}", 2, &ev, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
}

static void test_bodies_that_are_no_json(void **state)
{
	struct buf deep = BUF_INIT(1 << 20);

	(void)state;
	refuses("push", "", "delivery:");
	refuses("push", "[]", "delivery: not an object");
	refuses("push", "{\"a\":1,\"a\":2}", "duplicate");
	refuses("push", "{} x", "delivery:1:");
	refuses("push", "{\"a\":\"\xff\"}", "delivery:1:");
	refuses("push", "{\"a\":\"\\u0000\"}", "delivery:1:");
	refuses("push", "{\"a\":\"\\ud800\"}", "delivery:1:");
	for (int i = 0; i < 100000; i++) buf_adds(&deep, "{\"a\":");
	refuses("push", buf_str(&deep), "nested more than 512 levels deep");
	buf_release(&deep);
}

static void test_form(void **state)
{
	struct event ev;
	struct err e;

	(void)state;
	assert_int_equal(parse("ping",
			       "payload=%7B%22zen%22%3A%22a+b%22%2c\"repository\":{\"full_name\":\"me%2Fsite\"}}&x=y",
			       &ev, &e),
			 0);
	assert_string_equal(ev.repo, "me/site");
	assert_string_equal(ev.message, "a b");
	event_release(&ev);
	refuses("ping", "payload=%7", "'%' without two hex digits");
	refuses("ping", "payload=%7g", "'%' without two hex digits");
	refuses("ping", "payload=%", "'%' without two hex digits");
	refuses("ping", "payload=", "delivery:");
}

static void test_long_and_odd_texts(void **state)
{
	struct buf body = BUF_INIT(1 << 20);
	struct event ev;
	struct err e;

	(void)state;
	buf_adds(&body,
		 "{\"ref\":\"refs/heads/x\",\"after\":\"" A "\",\"head_commit\":{\"id\":\"" A "\",\"message\":\"");
	for (int i = 0; i < 20000; i++) buf_adds(&body, "\xc3\xa4\\u001b");
	buf_adds(&body, "\"}," REPO "}");
	assert_int_equal(parse("push", buf_str(&body), &ev, &e), 0);
	assert_int_equal(strlen(ev.message), EVENT_MESSAGE_MAX); /* 16384 whole characters, no escape */
	assert_null(strchr(ev.message, '\x1b'));
	event_release(&ev);
	buf_release(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_githubs_own_example),
		cmocka_unit_test(test_other_forms_of_signature_are_refused),
		cmocka_unit_test(test_rfc_4231),
		cmocka_unit_test(test_push_to_a_branch),
		cmocka_unit_test(test_push_of_a_new_branch_without_commits),
		cmocka_unit_test(test_push_of_an_annotated_tag_builds_its_commit),
		cmocka_unit_test(test_deleted_refs),
		cmocka_unit_test(test_pushes_that_are_wrong),
		cmocka_unit_test(test_pull_request_of_the_same_repository),
		cmocka_unit_test(test_pull_request_from_a_fork),
		cmocka_unit_test(test_pull_request_actions_that_build_nothing),
		cmocka_unit_test(test_pull_requests_that_are_wrong),
		cmocka_unit_test(test_ping_and_others),
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_bodies_that_are_no_json),
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_long_and_odd_texts),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
