#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/fs.h"
#include "runner/sandbox/proto.h"

static int pair[2];

static int setup(void **state)
{
	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static int teardown(void **state)
{
	(void)state;
	close_p(&pair[0]);
	close_p(&pair[1]);
	return 0;
}

static void test_records_arrive_as_sent(void **state)
{
	struct proto_msg m, got;
	struct err e;
	char c = 0;
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	proto_msg_init(&m, BOX_FILE);
	m.n[0] = -5;
	m.n[3] = INT64_MAX;
	vec_add(&m.s, "a path");
	vec_add(&m.s, "");
	m.fds[m.nfds++] = p[1];
	assert_int_equal(proto_send(pair[0], &m, &e), 0);
	m.nfds = 0; /* they were borrowed */
	close(p[1]);
	assert_int_equal(proto_recv(pair[1], &got, &e), 0);
	assert_int_equal(got.op, BOX_FILE);
	assert_int_equal(got.n[0], -5);
	assert_int_equal(got.n[3], INT64_MAX);
	assert_int_equal(got.s.len, 2);
	assert_string_equal(got.s.items[0], "a path");
	assert_string_equal(got.s.items[1], "");
	assert_int_equal(got.nfds, 1);
	assert_int_equal(fcntl(got.fds[0], F_GETFD), FD_CLOEXEC);
	assert_int_equal(write(got.fds[0], "x", 1), 1);
	assert_int_equal(read(p[0], &c, 1), 1);
	proto_msg_release(&got);
	assert_int_equal(read(p[0], &c, 1), 0); /* released: closed */
	close(p[0]);
	proto_msg_release(&m);
}

static void test_the_other_side_gone(void **state)
{
	struct proto_msg m;
	struct err e;

	(void)state;
	close_p(&pair[0]);
	assert_int_equal(proto_recv(pair[1], &m, &e), 1);
	proto_msg_init(&m, BOX_STOP);
	assert_int_equal(proto_send(pair[1], &m, &e), -1);
	assert_int_equal(e.kind, ERR_SYS);
}

static void test_too_much_is_refused(void **state)
{
	_cleanup_free_ char *big = xcalloc(1, PROTO_MAX_BODY + 10);
	struct proto_msg m;
	struct err e;

	(void)state;
	memset(big, 'x', PROTO_MAX_BODY + 5);
	proto_msg_init(&m, BOX_PUT_TAR);
	vec_add(&m.s, big);
	assert_int_equal(proto_send(pair[0], &m, &e), -1);
	assert_string_equal(e.text, "cannot ask the box to put-tar: too much at once");
	proto_msg_release(&m);
}

static void refuse(const uint32_t head[4], const char *body, size_t len, const char *why)
{
	char bytes[256] = {0};
	struct proto_msg m;
	struct err e;

	memcpy(bytes, head, 16);
	memcpy(bytes + 48, body, len);
	proto_msg_init(&m, BOX_OK);
	assert_int_equal(proto_parse(bytes, 48 + len, &m, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_string_equal(e.text, why);
	assert_int_equal(m.s.len, 0);
	/* the same from a socket */
	assert_int_equal(write(pair[0], bytes, 48 + len), 48 + len);
	assert_int_equal(proto_recv(pair[1], &m, &e), -1);
}

static void test_broken_records_are_refused(void **state)
{
	_cleanup_free_ char *unknown = xasprintf("a record of the unknown kind %d", (int)BOX_OPS);
	struct proto_msg m;
	struct err e;

	(void)state;
	proto_msg_init(&m, BOX_OK);
	assert_int_equal(proto_parse("short", 5, &m, &e), -1);
	refuse((uint32_t[]){BOX_OPS, 0, 0, 0}, "", 0, unknown);
	refuse((uint32_t[]){BOX_OK, 0, 1, 0}, "", 0, "a broken 'ok' record");
	refuse((uint32_t[]){BOX_OK, 1, 2, 0}, "ab", 2, "a broken 'ok' record");
	refuse((uint32_t[]){BOX_OK, 0, 0, 7}, "", 0, "a broken 'ok' record");
	refuse((uint32_t[]){BOX_OK, 2, 2, 0}, "a", 2, "a 'ok' record with the wrong count of strings");
	refuse((uint32_t[]){BOX_FAIL, 0, 2, 0}, "a", 2, "a 'fail' record with the wrong count of strings");
	refuse((uint32_t[]){BOX_FAIL, 900, 2, 0}, "a", 2, "a broken 'fail' record");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_records_arrive_as_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_other_side_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_much_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_records_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
