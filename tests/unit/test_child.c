/* lib/child, lib/loop: processes and the poll loop. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/loop.h"

#define SH(script)                                                                                                     \
	.argv = (const char *const[])                                                                                  \
	{                                                                                                              \
		"/bin/sh", "-c", script, NULL                                                                          \
	}

static void test_run_feeds_and_collects(void **state)
{
	_cleanup_buf_ struct buf in = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), err = BUF_INIT(100);
	struct child_opts o = {SH("cat; echo done >&2")};
	struct child_status st;
	struct err e;

	(void)state;
	for (int i = 0; i < 100000; i++) buf_adds(&in, "0123456\n"); /* more than any pipe holds */
	assert_done(child_run(&o, &in, 20000, &out, &err, &st, &e), e);
	assert_true(child_ok(st));
	assert_int_equal(out.len, in.len);
	assert_memory_equal(out.data, in.data, in.len);
	assert_string_equal(buf_str(&err), "done\n");
}

static void test_a_killed_child_is_no_success(void **state)
{
	static const struct {
		const char *script;
		enum child_end end;
		int code;
		const char *text;
	} cases[] = {
		{"exit 0", CHILD_EXITED, 0, "exited with 0"},
		{"exit 3", CHILD_EXITED, 3, "exited with 3"},
		{"kill -9 $$", CHILD_SIGNALLED, 9, "killed by signal 9 (Killed)"},
		{"kill -TERM $$", CHILD_SIGNALLED, 15, "killed by signal 15 (Terminated)"},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct child_opts o = {SH(cases[i].script)};
		struct child_status st;

		assert_done(child_run(&o, NULL, 20000, NULL, NULL, &st, &e), e);
		assert_int_equal(st.end, cases[i].end);
		assert_int_equal(st.code, cases[i].code);
		assert_string_equal(child_status_str(st), cases[i].text);
		assert_int_equal(child_ok(st), i == 0);
	}
}

static void test_time_limit_kills(void **state)
{
	struct child_opts o = {SH("exec sleep 100")};
	struct child_status st;
	int64_t start = clock_mono_ms();
	struct err e;

	(void)state;
	assert_done(child_run(&o, NULL, 100, NULL, NULL, &st, &e), e);
	assert_int_equal(st.end, CHILD_TIMED_OUT);
	assert_true(clock_mono_ms() - start < 50000);
}

/* What a script's child wrote of itself into `path`, once it is there. */
static pid_t told_pid(const char *path)
{
	int64_t end = clock_mono_ms() + 20000;

	while (clock_mono_ms() < end) {
		_cleanup_buf_ struct buf text = BUF_INIT(100);
		struct err e;

		if (!fs_read_file(path, &text, &e) && strchr(buf_str(&text), '\n'))
			return (pid_t)strtol(buf_str(&text), NULL, 10);
		poll(NULL, 0, 5);
	}
	fail_msg("nothing in '%s'", path);
	return 0;
}

/* Gone, or dead and only not reaped yet by whoever got it. */
static void assert_dies_soon(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/stat", (int)pid);
	int64_t end = clock_mono_ms() + 20000;

	while (clock_mono_ms() < end) {
		_cleanup_buf_ struct buf text = BUF_INIT(4096);
		struct err e;

		if (fs_read_file(path, &text, &e) || strstr(buf_str(&text), ") Z ")) return;
		poll(NULL, 0, 5);
	}
	kill(pid, SIGKILL);
	fail_msg("process %d lives on", (int)pid);
}

static void test_a_group_is_killed_when_the_time_is_over(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/pid", dir);
	struct child_opts o = {SH("sleep 1000 & echo $! >pid; wait"), .cwd = dir, .kill_group = 1};
	struct child_status st;
	struct err e;

	(void)state;
	assert_done(child_run(&o, NULL, 300, NULL, NULL, &st, &e), e);
	assert_int_equal(st.end, CHILD_TIMED_OUT);
	assert_dies_soon(told_pid(path));
}

static void test_a_group_ends_with_its_program(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/pid", dir);
	struct child_opts o = {SH("sleep 1000 & echo $! >pid; exit 3"), .cwd = dir, .kill_group = 1};
	struct child_status st;
	struct err e;

	(void)state;
	assert_done(child_run(&o, NULL, 20000, NULL, NULL, &st, &e), e);
	assert_int_equal(st.end, CHILD_EXITED);
	assert_int_equal(st.code, 3);
	assert_dies_soon(told_pid(path));
}

static void test_a_group_is_killed_when_we_are(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/pid", dir);
	struct child_opts o = {SH("sleep 1000 & echo $! >pid.new; mv pid.new pid; wait"), .cwd = dir, .kill_group = 1};
	struct child_status st;
	struct err e;
	pid_t middle = fork(), deep;

	(void)state;
	if (middle == 0) _exit(child_run(&o, NULL, -1, NULL, NULL, &st, &e) ? 1 : 0);
	deep = told_pid(path);
	kill(middle, SIGKILL);
	assert_int_equal(waitpid(middle, NULL, 0), middle);
	assert_dies_soon(deep);
}

static void test_missing_program_is_an_error_here(void **state)
{
	struct child_opts o = {.argv = (const char *const[]){"no-such-program-here", NULL}};
	struct child_opts abs = {.argv = (const char *const[]){"/no/such/program", NULL}};
	struct child_status st;
	struct err e;

	(void)state;
	assert_refused(child_run(&o, NULL, 1000, NULL, NULL, &st, &e), e, ERR_MISSING,
		       "cannot run 'no-such-program-here': it is not installed");
	assert_refused(child_run(&abs, NULL, 1000, NULL, NULL, &st, &e), e, ERR_MISSING,
		       "cannot start '/no/such/program' (run it): No such file or directory");
}

static void test_check_gives_the_last_line_of_the_complaint(void **state)
{
	struct child_opts o = {SH("echo first >&2; echo 'the last words' >&2; exit 2")};
	struct err e;

	(void)state;
	assert_refused(child_check(&o, NULL, 20000, NULL, &e), e, ERR_REMOTE,
		       "'/bin/sh' exited with 2: the last words");
}

static void test_only_named_descriptors_are_passed(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1000);
	int leaky = open("/dev/null", O_RDONLY); /* without CLOEXEC, as a library might */
	int p[2];
	struct child_fd pass[1];
	struct child_opts o = {SH("echo hello >&5; ls /proc/self/fd | tr '\\n' ' '"), .fds = pass, .nfds = 1};
	struct child_status st;
	char got[16] = "";
	struct err e;

	(void)state;
	assert_true(leaky > 2);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pass[0] = (struct child_fd){p[1], 5};
	assert_done(child_run(&o, NULL, 20000, &out, NULL, &st, &e), e);
	assert_string_equal(buf_str(&out), "0 1 2 3 5 "); /* 3: ls reads the folder with it */
	assert_int_equal(read(p[0], got, sizeof(got)), 6);
	assert_string_equal(got, "hello\n");
	close(p[0]);
	close(p[1]);
	close(leaky);
}

struct ticks {
	struct loop *l;
	char order[16];
	int n;
	uint64_t canceled;
};

static void tick_a(void *arg)
{
	struct ticks *t = arg;

	t->order[t->n++] = 'a';
	loop_timer_cancel(t->l, t->canceled);
}

static void tick_b(void *arg)
{
	struct ticks *t = arg;

	t->order[t->n++] = 'b';
	loop_stop(t->l);
}

static void tick_never(void *arg)
{
	struct ticks *t = arg;

	t->order[t->n++] = '!';
}

static void test_timers_in_order_and_canceled(void **state)
{
	struct ticks t = {.l = loop_new()};
	struct err e;

	(void)state;
	loop_timer(t.l, 30, tick_b, &t);
	t.canceled = loop_timer(t.l, 20, tick_never, &t);
	loop_timer(t.l, 1, tick_a, &t);
	assert_done(loop_run(t.l, &e), e);
	assert_string_equal(t.order, "ab");
	loop_free(&t.l);
}

static void on_signal(int sig, void *arg)
{
	struct ticks *t = arg;

	t->n = sig;
	loop_stop(t->l);
}

static void raise_it(void *arg)
{
	(void)arg;
	kill(getpid(), SIGUSR1);
}

static void test_signal_arrives_in_the_loop(void **state)
{
	struct ticks t = {.l = loop_new()};
	struct err e;

	(void)state;
	assert_done(loop_signal(t.l, SIGUSR1, on_signal, &t, &e), e);
	loop_timer(t.l, 0, raise_it, &t);
	assert_done(loop_run(t.l, &e), e);
	assert_int_equal(t.n, SIGUSR1);
	loop_free(&t.l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_feeds_and_collects),
		cmocka_unit_test(test_a_killed_child_is_no_success),
		cmocka_unit_test(test_time_limit_kills),
		cmocka_unit_test(test_a_group_is_killed_when_the_time_is_over),
		cmocka_unit_test(test_a_group_ends_with_its_program),
		cmocka_unit_test(test_a_group_is_killed_when_we_are),
		cmocka_unit_test(test_missing_program_is_an_error_here),
		cmocka_unit_test(test_check_gives_the_last_line_of_the_complaint),
		cmocka_unit_test(test_only_named_descriptors_are_passed),
		cmocka_unit_test(test_timers_in_order_and_canceled),
		cmocka_unit_test(test_signal_arrives_in_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
