/* Boxes with a busybox root file system, as root and as an ordinary user. The runner to be the box is $BIN/runner, or
 * the one built beside this test. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/fs.h"
#include "lib/secret.h"
#include "runner/sandbox/sandbox.h"
#include "runner/sandbox/userns.h"

enum { DEADLINE_MS = 20000 };

static struct {
	char runner[4200];
	char *top;   /* of all tests: layer/, box/ */
	char *layer; /* busybox */
	char *dir;   /* opts.dir */
	struct sandbox *s;
	struct vec notes;
	struct buf out; /* of the last run */
	int oom;
	const char *skip; /* why no box can be had here */
} fx = {.out = BUF_INIT(1 << 20)};

static struct err failure;

#define must(call)                                                                                                     \
	do {                                                                                                           \
		if (call) fail_msg("%s: %s", #call, failure.text);                                                     \
	} while (0)

static void find_runner(void)
{
	const char *bin = getenv("BIN"), *self = child_self();
	size_t len = strlen(self);

	for (int i = 0; i < 2; i++)
		while (len && self[--len] != '/') {}
	if (bin)
		snprintf(fx.runner, sizeof(fx.runner), "%s/runner", bin);
	else
		snprintf(fx.runner, sizeof(fx.runner), "%.*s/bin/runner", (int)len, self);
	sandbox_set_runner(fx.runner);
}

static void make_layer(void)
{
	const char *argv[] = {
		"sh", "-ec",
		"mkdir -p bin dev etc proc root sys tmp var; cp /bin/busybox bin/; chmod 1777 tmp; "
		"chroot . /bin/busybox --install -s /bin; echo root:x:0:0:root:/root:/bin/sh >etc/passwd; "
		"echo layer >etc/layer; chown 42:43 var",
		NULL};
	struct child_opts o = {.argv = argv, .cwd = fx.layer};

	must(userns_mkdir(fx.layer, &failure));
	must(userns_command(&o, NULL, DEADLINE_MS, NULL, &failure));
}

static int group_setup(void **state)
{
	struct err e;
	int fd;

	(void)state;
	find_runner();
	must(fs_temp_dir("/tmp", "box-", &fx.top, &failure));
	fx.layer = xasprintf("%s/layer", fx.top);
	fx.dir = xasprintf("%s/box", fx.top);
	if (!fs_exists(fx.runner)) fx.skip = "there is no runner beside this test";
	if (!fx.skip && userns_open(&fd, &e)) fx.skip = xstrdup(e.text);
	if (fx.skip) return 0;
	close(fd);
	make_layer();
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	if (userns_remove_tree(fx.layer, &failure) || fs_remove_tree(fx.top, &failure))
		print_error("%s\n", failure.text);
	return 0;
}

static int box_setup_(void **state)
{
	(void)state;
	must(fs_mkdirs(fx.dir, 0700, &failure));
	return 0;
}

static int box_teardown(void **state)
{
	(void)state;
	sandbox_close(&fx.s);
	vec_release(&fx.notes);
	buf_release(&fx.out);
	return rmdir(fx.dir); /* close emptied it */
}

static void open_box(struct sandbox_limits limits, int network)
{
	const char *layers[] = {fx.layer, NULL};
	struct sandbox_opts o = {.id = "t1-1", .dir = fx.dir, .layers = layers, .limits = limits, .network = network};

	if (fx.skip) {
		print_message("skip: %s\n", fx.skip);
		skip();
	}
	must(sandbox_open(&o, &fx.s, &fx.notes, &failure));
}

static const char *const plain_env[] = {"PATH=/bin", "HOME=/root", NULL};

static int start(const char *const *argv, const char *const *env, int grace_ms, int *out_r)
{
	int p[2], rc;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	struct sandbox_run r = {.argv = argv, .env = env, .cwd = "/root", .out = p[1], .stop_grace_ms = grace_ms};

	rc = sandbox_start(fx.s, &r, &failure);
	close(p[1]);
	if (rc) close(p[0]);
	*out_r = p[0];
	return rc;
}

/* Reads until the end of file: nobody holds the other end any more. */
static void drain(int fd)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	char chunk[4096];
	ssize_t n;

	do {
		struct pollfd pf = {.fd = fd, .events = POLLIN};

		if (poll(&pf, 1, (int)(end - clock_mono_ms())) < 1)
			fail_msg("no end of output: '%s'", buf_str(&fx.out));
		n = read(fd, chunk, sizeof(chunk));
		if (n > 0) buf_add(&fx.out, chunk, (size_t)n);
	} while (n > 0);
	close(fd);
}

static int finish(int fd, struct child_status *st)
{
	struct pollfd pf = {.fd = sandbox_fd(fx.s), .events = POLLIN};

	drain(fd);
	if (poll(&pf, 1, DEADLINE_MS) != 1) fail_msg("the container does not end");
	return sandbox_end(fx.s, st, &fx.oom, &failure);
}

static struct child_status sh(const char *script)
{
	const char *argv[] = {"sh", "-c", script, NULL};
	struct child_status st;
	int fd;

	buf_clear(&fx.out);
	must(start(argv, plain_env, 0, &fd));
	must(finish(fd, &st));
	return st;
}

#define assert_sh(script, end_, code_)                                                                                 \
	do {                                                                                                           \
		struct child_status st_ = sh(script);                                                                  \
		if (st_.end != (end_) || st_.code != (code_))                                                          \
			fail_msg("%s: %s, output '%s'", script, child_status_str(st_), buf_str(&fx.out));              \
	} while (0)

/* Waits for a word in the output, which stays open. */
static void await(int fd, const char *word)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	char chunk[4096];
	ssize_t n = 0;

	while (!fx.out.len || !strstr(fx.out.data, word)) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};

		if (poll(&pf, 1, (int)(end - clock_mono_ms())) < 1 || (n = read(fd, chunk, sizeof(chunk))) <= 0)
			fail_msg("no '%s' in '%s'", word, buf_str(&fx.out));
		buf_add(&fx.out, chunk, (size_t)n);
	}
}

/* --- how it ended --- */

static void test_exit_statuses_are_told_apart(void **state)
{
	const char *missing[] = {"no-such-program", NULL}, *folder[] = {"/root", NULL};
	struct child_status st;
	int fd;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_sh("echo hello; echo oops >&2", CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "hello\noops\n");
	assert_sh("exit 3", CHILD_EXITED, 3);
	assert_sh("kill -9 $$", CHILD_SIGNALLED, SIGKILL);
	assert_sh("kill -TERM $$", CHILD_SIGNALLED, SIGTERM);
	assert_sh("exit 127", CHILD_EXITED, 127);
	must(start(missing, plain_env, 0, &fd));
	assert_int_equal(finish(fd, &st), -1);
	assert_int_equal(failure.kind, ERR_REMOTE);
	assert_string_equal(failure.text, "the container cannot run its command: No such file or directory");
	must(start(folder, plain_env, 0, &fd));
	assert_int_equal(finish(fd, &st), -1);
	assert_string_equal(failure.text, "the container cannot run its command: Permission denied");
	assert_sh("true", CHILD_EXITED, 0);
}

static void test_environment_folder_and_input(void **state)
{
	const char *argv[] = {"sh", "-c", "pwd; env; cat; tr '\\0' '|' </proc/1/environ", NULL};
	const char *env[] = {"PATH=/bin", "SECRET=\xff s3cret\n", "EMPTY=", NULL};
	struct child_status st;
	int out[2], in[2];

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_int_equal(pipe2(out, O_CLOEXEC) | pipe2(in, O_CLOEXEC), 0);
	struct sandbox_run r = {.argv = argv, .env = env, .cwd = "/made/for/it", .in = in[0], .out = out[1]};

	must(sandbox_start(fx.s, &r, &failure));
	close(out[1]);
	close(in[0]);
	assert_int_equal(write(in[1], "typed\n", 6), 6);
	close(in[1]);
	must(finish(out[0], &st));
	assert_non_null(strstr(fx.out.data, "/made/for/it\n"));
	assert_non_null(strstr(fx.out.data, "SECRET=\xff s3cret\n"));
	assert_non_null(strstr(fx.out.data, "EMPTY=\n"));
	assert_non_null(strstr(fx.out.data, "typed\n"));
	assert_null(strstr(strstr(fx.out.data, "typed\n"), "s3cret")); /* /proc/1/environ is closed, and empty of it */
}

static void test_runs_share_files_and_nothing_else(void **state)
{
	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_sh("echo kept >/root/f; echo x >/dev/shm/f; rm /etc/layer; sleep 100 &", CHILD_EXITED, 0);
	assert_sh("cat /root/f; ls /dev/shm; test ! -e /etc/layer; ps | grep -c '[s]leep'", CHILD_EXITED, 1);
	assert_string_equal(buf_str(&fx.out), "kept\n0\n");
	assert_int_equal(access("/proc/self/ns/user", F_OK), 0);
	_cleanup_free_ char *layer_file = xasprintf("%s/etc/layer", fx.layer);
	assert_int_equal(access(layer_file, F_OK), 0); /* the layer itself is untouched */
}

/* --- how it is ended --- */

static void test_a_stop_reaches_the_command(void **state)
{
	const char *argv[] = {"sh", "-c", "trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
			      NULL};
	struct child_status st;
	int fd;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(start(argv, plain_env, DEADLINE_MS, &fd));
	await(fd, "ready");
	sandbox_stop(fx.s);
	must(finish(fd, &st));
	assert_non_null(strstr(fx.out.data, "\ngot it\n"));
	assert_int_equal(st.end, CHILD_EXITED);
	assert_int_equal(st.code, 5);
}

static void test_what_ignores_term_is_killed_after_the_grace(void **state)
{
	const char *argv[] = {"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done", NULL};
	struct child_status st;
	int64_t begin;
	int fd;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(start(argv, plain_env, 300, &fd));
	await(fd, "ready");
	begin = clock_mono_ms();
	sandbox_stop(fx.s);
	must(finish(fd, &st));
	assert_true(clock_mono_ms() - begin >= 290);
	assert_int_equal(st.end, CHILD_SIGNALLED);
	assert_int_equal(st.code, SIGKILL);
	assert_sh("echo again", CHILD_EXITED, 0);
	must(start(argv, plain_env, DEADLINE_MS, &fd));
	sandbox_kill(fx.s);
	must(finish(fd, &st));
	assert_int_equal(st.code, SIGKILL);
}

static void test_a_daemon_that_holds_stdout_dies_with_the_command(void **state)
{
	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_sh("(setsid sh -c 'trap \"\" TERM HUP; sleep 1000' & ) ; echo done", CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "done\n"); /* drain() saw the end of file */
}

static int count_processes(const char *mark)
{
	DIR *proc = opendir("/proc");
	int found = 0;

	for (struct dirent *d; (d = readdir(proc));) {
		_cleanup_buf_ struct buf line = BUF_INIT(1 << 16);
		_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", d->d_name);
		struct err e;

		if (d->d_name[0] < '0' || d->d_name[0] > '9' || fs_read_file(path, &line, &e)) continue;
		for (size_t i = 0; i < line.len; i++)
			if (!line.data[i]) line.data[i] = ' ';
		if (strstr(buf_str(&line), mark)) found++;
	}
	closedir(proc);
	return found;
}

/* A leader in a process of its own, to be killed. */
static _Noreturn void leader(int ready)
{
	const char *argv[] = {"sh", "-c", "(setsid sleep 4242 &); sleep 4242", NULL};
	const char *layers[] = {fx.layer, NULL};
	struct sandbox_opts o = {
		.id = "t1-1", .dir = fx.dir, .layers = layers, .limits = {.pids = 50, .memory_bytes = 64 << 20}};
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing */
	if (sandbox_open(&o, &fx.s, &fx.notes, &failure) || start(argv, plain_env, 0, &fd)) _exit(1);
	if (write(ready, "x", 1) != 1) _exit(1);
	for (;;) pause();
}

static int nobody_lives(const char *name, void *arg)
{
	(void)arg;
	return strcmp(name, "box") != 0;
}

static void await_count(const char *mark, int want)
{
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	struct timespec pause_ = {.tv_nsec = 5000000};

	while (count_processes(mark) != want) {
		if (clock_mono_ms() > end) fail_msg("%d of '%s', not %d", count_processes(mark), mark, want);
		nanosleep(&pause_, NULL);
	}
}

static void test_all_dies_with_the_leader_and_is_swept(void **state)
{
	_cleanup_free_ char *box = xasprintf("%s box 3 4", fx.runner), *data = xasprintf("%s/data", fx.dir),
			    *record = xasprintf("%s/cgroups", fx.dir);
	_cleanup_buf_ struct buf groups = BUF_INIT(65536);
	int p[2], begin = count_processes(box);
	char c;
	pid_t pid;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	sandbox_close(&fx.s);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) leader(p[1]);
	close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);
	close(p[0]);
	await_count("sleep 4242", 2);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	await_count("sleep 4242", 0);
	await_count(box, begin);
	assert_int_equal(access(data, F_OK), 0);
	if (fs_exists(record)) must(fs_read_file(record, &groups, &failure));
	sandbox_sweep(fx.top, ".", nobody_lives, NULL);
	assert_int_equal(access(data, F_OK), -1);
	assert_int_equal(access(record, F_OK), -1);
	for (char *dir = groups.data, *end; dir && (end = strchr(dir, '\n')); dir = end + 1) {
		*end = '\0';
		assert_int_equal(access(dir, F_OK), -1);
	}
}

int main(void)
{
#define box_test(f) cmocka_unit_test_setup_teardown(f, box_setup_, box_teardown)
	const struct CMUnitTest tests[] = {
		box_test(test_exit_statuses_are_told_apart),
		box_test(test_environment_folder_and_input),
		box_test(test_runs_share_files_and_nothing_else),
		box_test(test_a_stop_reaches_the_command),
		box_test(test_what_ignores_term_is_killed_after_the_grace),
		box_test(test_a_daemon_that_holds_stdout_dies_with_the_command),
		box_test(test_all_dies_with_the_leader_and_is_swept),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
