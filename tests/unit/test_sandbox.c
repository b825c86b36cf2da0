/* Boxes with a busybox root file system, as root and as an ordinary user. The runner to be the box is
 * $BIN/slipway-runner, or
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
#include "tests/unit/runner.h"

enum { DEADLINE_MS = 20000 };

static struct {
	char runner[4200];
	char *top;   /* of all tests: layer/, box/ */
	char *layer; /* busybox */
	char *dir;   /* opts.dir */
	struct sandbox *s;
	struct vec notes;
	struct buf out;   /* of the last run */
	int over;         /* enum sandbox_over */
	const char *skip; /* why no box can be had here */
} fx = {.out = BUF_INIT(1 << 20)};

static struct err failure;

#define must(call)                                                                                                     \
	do {                                                                                                           \
		if (call) fail_msg("%s: %s", #call, failure.text);                                                     \
	} while (0)

static void find_runner(void)
{
	unit_runner_path(fx.runner, sizeof(fx.runner));
	sandbox_set_runner(fx.runner);
}

static void make_layer(void)
{
	const char *argv[] = {"sh", "-ec",
			      "mkdir -p bin dev etc proc root sys tmp var; cp /bin/busybox bin/; chmod 1777 tmp; "
			      "PATH=$PATH:/usr/sbin:/sbin chroot . /bin/busybox --install -s /bin; echo "
			      "root:x:0:0:root:/root:/bin/sh >etc/passwd; "
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
	while (waitpid(-1, NULL, WNOHANG) > 0) {}
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
	return sandbox_end(fx.s, st, &fx.over, &failure);
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
	const char *argv[] = {
		"sh", "-c",
		"pwd; env; cat /dev/stdin; echo again >/dev/stderr; echo >/dev/stdout; tr '\\0' '|' </proc/1/environ",
		NULL};
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
	assert_non_null(strstr(fx.out.data, "typed\nagain\n"));
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

/* Of our own: other tests may run beside this one. Orphans are ours too (PR_SET_CHILD_SUBREAPER). */
static int descends_from_us(const char *pid)
{
	int parent = (int)strtol(pid, NULL, 10);

	while (parent > 1 && parent != getpid()) {
		_cleanup_free_ char *path = xasprintf("/proc/%d/stat", parent);
		_cleanup_buf_ struct buf b = BUF_INIT(4096);
		const char *name_end;
		struct err e;

		if (fs_read_file(path, &b, &e) || !(name_end = strrchr(b.data, ')'))) return 0;
		parent = (int)strtol(name_end + 4, NULL, 10); /* ") S 123" */
	}
	return parent == getpid();
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
		if (strstr(buf_str(&line), mark) && descends_from_us(d->d_name)) found++;
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

/* --- what it cannot do --- */

static void test_privileges_are_dropped(void **state)
{
	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_sh("grep -E '^(Seccomp|NoNewPrivs|CapEff|CapBnd|CapInh|CapAmb):' /proc/self/status | tr -d '\t\n'",
		  CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "CapInh:0000000000000000CapEff:00000000800000fbCapBnd:00000000800000fb"
					      "CapAmb:0000000000000000NoNewPrivs:1Seccomp:2");
	assert_sh("mount -t tmpfs x /tmp 2>&1", CHILD_EXITED, 1);
	assert_non_null(strstr(fx.out.data, "permission denied"));
	assert_sh("unshare -U true 2>&1 || unshare -m true 2>&1", CHILD_EXITED, 1);
	assert_sh("echo x >/proc/sys/kernel/hostname", CHILD_EXITED, 1);
	assert_sh("echo b >/proc/sysrq-trigger", CHILD_EXITED, 1);
	assert_sh("mknod /root/null c 1 3 2>/dev/null", CHILD_EXITED, 1);
	assert_sh("hostname other 2>/dev/null", CHILD_EXITED, 1);
	assert_sh("date -s 2001-01-01 2>&1 | grep -c 'not permitted'", CHILD_EXITED, 0);
	assert_sh("rm /.slipway/init 2>/dev/null", CHILD_EXITED, 1);
	assert_sh("echo x >/.slipway/init", CHILD_EXITED, 1);
	assert_sh("echo x >/proc/1/fd/3", CHILD_EXITED, 1); /* the report of how the command ended */
	assert_sh("readlink /proc/1/fd/3 /proc/1/exe; cat /proc/1/maps /proc/1/mem", CHILD_EXITED, 1);
	assert_null(strstr(fx.out.data, "[stack]"));
	assert_sh("chown 7:8 /root && stat -c %u:%g /root /var", CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "7:8\n42:43\n");
	assert_sh("hostname; grep -c localhost /etc/hosts; ps >/root/ps; wc -l </root/ps", CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "slipway\n2\n4\n"); /* a head, init, sh, ps */
}

static void test_the_host_is_not_seen(void **state)
{
	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	_cleanup_free_ char *look = xasprintf(
		"ls -d %s /home /usr %s 2>/dev/null; cut -d' ' -f5 /proc/self/mountinfo | sort -u | tr '\n' ' '",
		fx.top, fx.runner);
	assert_sh(look, CHILD_EXITED, 0);
	assert_null(strstr(fx.out.data, "/home"));
	assert_null(strstr(fx.out.data, fx.top));
	assert_null(strstr(fx.out.data, "cgroup"));
	assert_sh("ls /proc/self/fd | wc -l; ls -l /proc/self/fd 2>/dev/null | grep -c 'memfd\\|/tmp'", CHILD_EXITED,
		  1);
	assert_string_equal(buf_str(&fx.out), "4\n0\n"); /* 0, 1, 2 and the folder it lists */
}

static int listen_here(int *port_r)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, len) | listen(fd, 5), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port_r = ntohs(a.sin_port);
	return fd;
}

static void test_no_network_unless_asked(void **state)
{
	int port, fd = listen_here(&port);
	_cleanup_free_ char *reach = xasprintf("nc -w 2 127.0.0.1 %d </dev/null", port);

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_sh("ls /sys/class/net; cat /proc/net/route | wc -l", CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "lo\n1\n");
	assert_sh(reach, CHILD_EXITED, 1);
	assert_non_null(strstr(fx.out.data, "refused"));
	close(fd);
}

static void test_network_by_pasta_never_reaches_the_hosts_loopback(void **state)
{
	int port, fd = listen_here(&port);
	_cleanup_free_ char *reach =
		xasprintf("nc -w 2 127.0.0.1 %d </dev/null; "
			  "nc -w 1 $(ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p') %d </dev/null",
			  port, port);

	(void)state;
	if (access("/dev/net/tun", R_OK | W_OK)) {
		print_message("skip: /dev/net/tun cannot be opened\n");
		skip();
	}
	open_box((struct sandbox_limits){0}, 1);
	assert_sh("ls /sys/class/net | wc -l; grep -c nameserver /etc/resolv.conf; ip route | grep -c default",
		  CHILD_EXITED, 0);
	assert_sh(reach, CHILD_EXITED, 1);
	close(fd);
	await_count("pasta -q --config-net", 1);
	sandbox_close(&fx.s);
	await_count("pasta -q --config-net", 0);
}

/* The first of pid's children. */
static int child_of(int pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/task/%d/children", pid, pid);
	_cleanup_buf_ struct buf text = BUF_INIT(4096);

	must(fs_read_file(path, &text, &failure));
	return (int)strtol(buf_str(&text), NULL, 10);
}

/* What git and libarchive could read of the user's own, who they are in an ordinary user's box. */
static void test_the_boxs_own_programs_see_no_homes(void **state)
{
	static const char *const homes[] = {"home", "root"};

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	for (size_t i = 0; i < ARRAY_LEN(homes); i++) {
		_cleanup_free_ char *path = xasprintf("/proc/%d/root/%s", child_of(child_of((int)getpid())), homes[i]);
		DIR *list = opendir(path);
		int n = 0;

		if (!list) fail_msg("cannot open '%s'", path);
		while (readdir(list)) n++;
		closedir(list);
		assert_int_equal(n, 2); /* . and .. */
	}
}

/* --- limits --- */

static int has_note(const char *start_)
{
	for (size_t i = 0; i < fx.notes.len; i++)
		if (!strncmp(fx.notes.items[i], start_, strlen(start_))) return 1;
	return 0;
}

static void test_pids_limit(void **state)
{
	(void)state;
	open_box((struct sandbox_limits){.pids = 20}, 0);
	assert_sh("i=0; while [ $i -lt 60 ]; do sleep 5 & i=$((i+1)); done; wait", CHILD_EXITED, 2);
	assert_non_null(strstr(fx.out.data, "can't fork"));
	assert_sh("echo again", CHILD_EXITED, 0);
}

static void test_memory_limit_and_its_kill(void **state)
{
	const char *hog = "dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null; echo $?";

	(void)state;
	open_box((struct sandbox_limits){.memory_bytes = 64 << 20}, 0);
	if (has_note("no memory limit: ")) {
		print_message("skip: %s\n", fx.notes.items[0]);
		skip();
	}
	assert_sh("echo quiet", CHILD_EXITED, 0);
	assert_int_equal(fx.over, 0);
	assert_sh(hog, CHILD_EXITED, 0);
	assert_non_null(strstr(fx.out.data, "137")); /* the script goes on */
	assert_int_equal(fx.over, 1);
	assert_sh("echo fine", CHILD_EXITED, 0);
	assert_int_equal(fx.over, 0);
}

static void test_what_cannot_be_limited_is_noted(void **state)
{
	_cleanup_free_ char *record = xasprintf("%s/cgroups", fx.dir);
	_cleanup_buf_ struct buf groups = BUF_INIT(65536);
	size_t n = 0;

	(void)state;
	open_box(
		(struct sandbox_limits){.memory_bytes = 64 << 20, .pids = 30, .cpus_milli = 500, .disk_bytes = 1 << 20},
		0);
	assert_sh("dd if=/dev/zero of=/root/f bs=64k count=32 2>&1; ls -s /root/f", CHILD_EXITED, 0);
	assert_non_null(strstr(fx.out.data, "1024 /root/f"));
	if (fs_exists(record)) must(fs_read_file(record, &groups, &failure));
	sandbox_close(&fx.s);
	for (char *dir = groups.data, *end; dir && (end = strchr(dir, '\n')); dir = end + 1) {
		*end = '\0';
		assert_int_equal(access(dir, F_OK), -1);
		n++;
	}
	assert_true(n >= 3 || has_note("no memory limit: ") || has_note("no cpu limit: ") ||
		    has_note("no pids limit: "));
}

/* What is written is found wherever it is: in many files, in one without a name, below many folders. */
static void test_disk_limit(void **state)
{
	static const char *const fillers[] = {
		"i=0; while dd if=/dev/zero of=/var/f$i bs=64k count=16 2>/dev/null; do i=$((i+1)); done; sleep 30",
		"exec 8<>/var/a 9<>/var/b; rm /var/?; for i in 8 9; do dd if=/dev/zero bs=1M count=7 >&$i 2>/dev/null; "
		"done; exec sleep 30",
		"cd /var; for i in $(seq 30); do mkdir d; cd d; done; for i in $(seq 9); do "
		"dd if=/dev/zero of=f$i bs=1M count=1 2>/dev/null; ln f$i g$i; done; sleep 30",
	};
	struct child_status st;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
		int fd;

		must(fs_mkdirs(fx.dir, 0700, &failure));
		open_box((struct sandbox_limits){.disk_bytes = 8 << 20}, 0);
		assert_sh("for i in 1 2 3 4; do dd if=/dev/zero of=/var/f bs=1M count=5 2>/dev/null; done; echo fine",
			  CHILD_EXITED, 0);
		assert_int_equal(fx.over, SANDBOX_OVER_NOTHING);
		must(start((const char *const[]){"sh", "-c", fillers[i], NULL}, plain_env, 0, &fd));
		drain(fd);
		must(sandbox_end(fx.s, &st, &fx.over, &failure));
		assert_int_equal(st.end, CHILD_SIGNALLED);
		assert_int_equal(fx.over, SANDBOX_OVER_DISK);
		assert_int_equal(start((const char *const[]){"true", NULL}, plain_env, 0, &fd), -1);
		sandbox_close(&fx.s);
	}
}

/* --- files --- */

static int keep(void *arg, const char *path, int fd, unsigned mode, uint64_t size, struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);

	if (fs_read_fd(fd, path, &b, e)) return -1;
	vec_addf(arg, "%s %o %d %s", path, mode, (int)size, buf_str(&b));
	return strcmp(path, "stop") ? 0 : err_set(e, ERR_INPUT, "enough");
}

static void test_files_put_and_collected(void **state)
{
	_cleanup_vec_ struct vec got = VEC_INIT;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(sandbox_put_file(fx.s, "/src/a/one", "1\n", 2, 0640, &failure));
	assert_sh("cd /src/a; stat -c '%u %a' one; cat one; echo 22 >b.x; echo 3 >a.x; mkdir d d.x; echo 4 >d/c.x; ln "
		  "-s /etc/passwd l.x; "
		  "ln -s d e; mkfifo p.x; ln -s / r",
		  CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "0 640\n1\n");
	must(sandbox_collect(fx.s, "/src/a", "*.x", keep, &got, &failure));
	assert_int_equal(got.len, 2);
	assert_string_equal(got.items[0], "a.x 644 2 3\n");
	assert_string_equal(got.items[1], "b.x 644 3 22\n");
	vec_release(&got);
	must(sandbox_collect(fx.s, "/src", "a/[de]/*", keep, &got, &failure));
	assert_int_equal(got.len, 1);
	assert_string_equal(got.items[0], "a/d/c.x 644 2 4\n");
	vec_release(&got);
	must(sandbox_collect(fx.s, "/src/a", "r/etc/*", keep, &got, &failure));
	must(sandbox_collect(fx.s, "/src/a", "none", keep, &got, &failure));
	assert_int_equal(got.len, 0);
	assert_int_equal(sandbox_collect(fx.s, "/src/a/r", "etc/*", keep, &got, &failure), -1);
	assert_non_null(strstr(failure.text, "cannot open '/src/a/r' in the box"));
	assert_int_equal(sandbox_collect(fx.s, "/src/a", "../*", keep, &got, &failure), -1);
	assert_int_equal(failure.kind, ERR_INPUT);
	must(sandbox_put_file(fx.s, "/src/stop", "", 0, 0600, &failure));
	assert_int_equal(sandbox_collect(fx.s, "/src", "*", keep, &got, &failure), -1);
	assert_string_equal(failure.text, "enough");
	assert_sh("echo the line is free", CHILD_EXITED, 0);
}

static void test_a_laid_link_does_not_lead_a_put_out(void **state)
{
	_cleanup_free_ char *victim = xasprintf("%s/victim", fx.top);

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(fs_write_file(victim, "host\n", 5, 0666, &failure));
	_cleanup_free_ char *lay =
		xasprintf("mkdir -p /src %s; ln -s %s /src/f; ln -s %s /src/d; ln -s ../../../../../../../.. /src/up",
			  fx.top, victim, fx.top);
	assert_sh(lay, CHILD_EXITED, 0);
	must(sandbox_put_file(fx.s, "/src/f", "box\n", 4, 0644, &failure));
	must(sandbox_put_file(fx.s, "/src/d/victim", "box\n", 4, 0644, &failure));
	_cleanup_free_ char *up = xasprintf("/src/up%s", victim);
	must(sandbox_put_file(fx.s, up, "box\n", 4, 0644, &failure));
	_cleanup_free_ char *see = xasprintf("cat /src/f %s", victim);
	assert_sh(see, CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "box\nbox\n");
	_cleanup_buf_ struct buf b = BUF_INIT(100);
	must(fs_read_file(victim, &b, &failure));
	assert_string_equal(buf_str(&b), "host\n");
	unlink(victim);
}

static int tar_of(const char *script)
{
	_cleanup_free_ char *file = xasprintf("%s/tar", fx.top);
	const char *argv[] = {"bash", "-ec", script, "-", file, NULL};
	struct child_opts o = {.argv = argv, .cwd = fx.top};
	int fd;

	must(child_check(&o, NULL, DEADLINE_MS, NULL, &failure));
	fd = open(file, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	unlink(file);
	return fd;
}

static void test_tar_streams(void **state)
{
	int fd;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	fd = tar_of("mkdir -p t/d; echo x >t/d/f; ln -s f t/d/l; ln t/d/f t/h; printf '#!/bin/sh\\necho ran' >t/run; "
		    "chmod 755 t/run; chmod 4755 t/d/f;"
		    "printf u >t/$'\\u00e4'; tar -C t -cf \"$1\" .; rm -r t");
	must(sandbox_put_tar(fx.s, fd, "/src", &failure));
	close(fd);
	assert_sh("cd /src; /src/run; cat d/l h $(printf '\\303\\244'); stat -c '%u %g %a %h' d/f", CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "ran\nx\nx\nu0 0 755 2\n");
	fd = tar_of("echo x >f; tar -P --transform 's,f,../../f,' -cf \"$1\" f; rm f");
	assert_int_equal(sandbox_put_tar(fx.s, fd, "/src", &failure), -1);
	close(fd);
	assert_int_equal(failure.kind, ERR_INPUT);
	assert_string_equal(failure.text, "into '/src': cannot unpack '../../f': the name leads outside");
	fd = tar_of("mkdir t; ln -s /etc t/l; tar -C t -cf \"$1\" l; rm t/l; mkdir t/l; echo x >t/l/f; tar -C t -rf "
		    "\"$1\" l/f; rm -r t");
	assert_int_equal(sandbox_put_tar(fx.s, fd, "/src", &failure), -1);
	close(fd);
	assert_sh("test ! -e /etc/f", CHILD_EXITED, 0);
	fd = tar_of("head -c 5000 /dev/urandom >\"$1\"");
	assert_int_equal(sandbox_put_tar(fx.s, fd, "/src", &failure), -1);
	close(fd);
	assert_int_equal(failure.kind, ERR_INPUT);
}

static int put_git(const char *mirror, const char *commit, const char *path, int depth)
{
	return sandbox_put_git(fx.s,
			       &(struct sandbox_git){.mirror = mirror, .commit = commit, .path = path, .depth = depth},
			       &failure);
}

static void test_a_work_tree_at_a_commit(void **state)
{
	const char *argv[] = {"bash", "-ec",
			      "export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE='2020-01-01 00:00Z' "
			      "GIT_COMMITTER_DATE='2020-01-01 00:00Z'; "
			      "git init -q -b main w; cd w; git config user.name n; git config user.email e@e; "
			      "echo 'hidden export-ignore' >.gitattributes; echo x >hidden; echo one >f; ln -s f l; "
			      "mkdir d; echo '#!/bin/sh' >d/run; "
			      "chmod 755 d/run; git add .; git commit -qm one; git tag v1; echo two >f; git commit "
			      "-qam two; git rev-parse HEAD; "
			      "echo three >f; git commit -qam three; cd ..; git clone -q --bare w mirror.git; "
			      "printf '#!/bin/sh\\ntouch /tmp/hook-ran' >mirror.git/hooks/post-checkout; chmod 755 "
			      "mirror.git/hooks/*; rm -rf w",
			      NULL};
	struct child_opts o = {.argv = argv, .cwd = fx.top};
	_cleanup_free_ char *mirror = xasprintf("%s/mirror.git", fx.top);
	_cleanup_buf_ struct buf commit = BUF_INIT(100);

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(child_check(&o, NULL, DEADLINE_MS, &commit, &failure));
	commit.data[strcspn(commit.data, "\n")] = '\0';
	must(put_git(mirror, commit.data, "/src", 50));
	assert_sh(
		"cd /src; cat f hidden l; stat -c '%u %a' d/run .git f; cat .git/HEAD; cd .git; ls refs/tags; ls hooks",
		CHILD_EXITED, 1);
	_cleanup_free_ char *want = xasprintf("two\nx\ntwo\n0 755\n0 755\n0 644\n%s\nv1\n", commit.data);
	assert_memory_equal(buf_str(&fx.out), want, strlen(want));
	assert_int_equal(put_git(mirror, commit.data, "/src", 50), -1);
	assert_int_equal(failure.kind, ERR_INPUT);
	assert_string_equal(failure.text, "cannot check out into '/src': it is not empty");
	assert_int_equal(put_git(mirror, "HEAD", "/other", 50), -1);
	assert_int_equal(failure.kind, ERR_INPUT);
	assert_int_equal(put_git(mirror, "0123456789012345678901234567890123456789", "/other", 50), -1);
	assert_int_equal(failure.kind, ERR_REMOTE);
	must(put_git(mirror, commit.data, "/one", 1));
	must(put_git(mirror, commit.data, "/all", 0));
	assert_sh("ls /one/.git/refs/tags; test -s /one/.git/shallow; test ! -e /all/.git/shallow; ls "
		  "/all/.git/refs/tags",
		  CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "v1\n");
	must(fs_remove_tree(mirror, &failure));
}

static void test_the_environment_is_on_no_disk(void **state)
{
	const char *find[] = {"grep", "-r", "very-s3cret", ".", NULL},
		   *argv[] = {"sh", "-c", "echo ready; sleep 100", NULL};
	const char *env[] = {"PATH=/bin", "KEY=very-s3cret", NULL};
	_cleanup_free_ char *data = xasprintf("%s/data", fx.dir);
	struct child_opts o = {.argv = find, .cwd = data};
	struct child_status st;
	struct err e;
	int fd;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(start(argv, env, 0, &fd));
	await(fd, "ready");
	assert_int_equal(userns_command(&o, NULL, DEADLINE_MS, NULL, &e), -1);
	assert_string_equal(e.text, "'grep' exited with 1");
	assert_int_equal(count_processes("very-s3cret"), 0); /* nor in anybody's arguments */
	sandbox_kill(fx.s);
	must(finish(fd, &st));
}

/* --- other --- */

static void test_connections_to_a_server_in_the_box(void **state)
{
	const char *argv[] = {"sh", "-c",
			      "echo page >/root/index.html; echo ready; exec httpd -f -p 127.0.0.1:80 -h /root", NULL};
	int64_t end = clock_mono_ms() + DEADLINE_MS;
	const char *ask = "GET / HTTP/1.0\r\n\r\n";
	struct child_status st;
	int out, fd = -1;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_int_equal(sandbox_connect(fx.s, 80, &fd, &failure), -1);
	assert_int_equal(failure.kind, ERR_BUSY);
	must(start(argv, plain_env, 0, &out));
	await(out, "ready");
	while (sandbox_connect(fx.s, 80, &fd, &failure))
		if (failure.kind != ERR_BUSY || clock_mono_ms() > end) fail_msg("%s", failure.text);
	assert_int_equal(write(fd, ask, strlen(ask)), strlen(ask));
	drain(fd);
	assert_non_null(strstr(fx.out.data, "200 OK"));
	assert_non_null(strstr(fx.out.data, "page"));
	assert_int_equal(sandbox_put_file(fx.s, "/x", "", 0, 0644, &failure), -1);
	assert_int_equal(failure.kind, ERR_BUSY);
	assert_string_equal(failure.text, "a box that is running a container cannot put-file");
	sandbox_stop(fx.s);
	must(finish(out, &st));
}

static void test_a_box_that_dies_is_an_error(void **state)
{
	const char *argv[] = {"sleep", "1000", NULL};
	_cleanup_free_ char *list = xasprintf("/proc/self/task/%d/children", (int)getpid());
	_cleanup_buf_ struct buf pids = BUF_INIT(4096);
	struct child_status st;
	int fd;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(start(argv, plain_env, 0, &fd));
	must(fs_read_file(list, &pids, &failure));
	assert_int_equal(kill((pid_t)strtol(buf_str(&pids), NULL, 10), SIGKILL), 0);
	assert_int_equal(finish(fd, &st), -1);
	assert_int_equal(failure.kind, ERR_REMOTE);
	assert_string_equal(failure.text, "the box is gone");
	assert_int_equal(sandbox_put_file(fx.s, "/x", "", 0, 0644, &failure), -1);
	assert_string_equal(failure.text, "the box is gone");
}

/* What one box put together is the sources of two others, one after the other, and neither changes it. */
static void test_a_work_tree_is_shared(void **state)
{
	_cleanup_free_ char *trees = xasprintf("%s/trees", fx.top), *kept = xasprintf("%s/kept", trees);
	_cleanup_free_ char *page = xasprintf("%s/page", kept), *more = xasprintf("%s/more", kept);
	const char *layers[] = {fx.layer, NULL};
	struct sandbox_opts o = {.id = "t2-1", .dir = fx.dir, .layers = layers, .trees = trees};

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(fs_mkdirs(trees, 0700, &failure));
	must(sandbox_put_file(fx.s, "/build/page", "one\n", 4, 0644, &failure));
	must(sandbox_take(&fx.s, "/build", kept, &failure));
	assert_null(fx.s);
	for (int i = 0; i < 2; i++) {
		must(sandbox_open(&o, &fx.s, &fx.notes, &failure));
		must(sandbox_put_tree(fx.s, "kept/", "/build", &failure));
		assert_sh("cd /build && cat page && test ! -e more && echo two >page && echo >more && cat page && rm "
			  "page",
			  CHILD_EXITED, 0);
		assert_string_equal(buf_str(&fx.out), "one\ntwo\n");
		assert_true(fs_exists(page) && !fs_exists(more));
		assert_int_equal(sandbox_put_tree(fx.s, "kept/", "/build", &failure), -1);
		assert_string_equal(failure.text, "cannot check out into '/build': it is not empty");
		sandbox_close(&fx.s);
	}
}

/* All is there before it is known what is to run; what is put meanwhile is seen by it, and by a run after it. */
static void test_a_container_started_ahead(void **state)
{
	_cleanup_free_ char *trees = xasprintf("%s/ahead", fx.top), *kept = xasprintf("%s/kept", trees);
	const char *layers[] = {fx.layer, NULL};
	const char *argv[] = {"sh", "-c", "cat page note; echo two >page; pwd; echo $TOKEN", NULL};
	const char *env[] = {"PATH=/bin", "TOKEN=hidden", NULL};
	struct sandbox_opts o = {.id = "t3-1", .dir = fx.dir, .layers = layers, .trees = trees};
	struct sandbox_run r = {.argv = argv, .env = env, .cwd = "/build"};
	struct child_status st;
	int p[2];

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	must(fs_mkdirs(trees, 0700, &failure));
	must(sandbox_put_file(fx.s, "/build/page", "one\n", 4, 0644, &failure));
	must(sandbox_take(&fx.s, "/build", kept, &failure));
	must(sandbox_open(&o, &fx.s, &fx.notes, &failure));
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	must(sandbox_ready(fx.s, 0, p[1], 0, &failure));
	close(p[1]);
	must(sandbox_put_tree(fx.s, "kept/", "/build", &failure));
	must(sandbox_put_file(fx.s, "/build/note", "note\n", 5, 0644, &failure));
	must(sandbox_start(fx.s, &r, &failure));
	must(finish(p[0], &st));
	assert_int_equal(st.end, CHILD_EXITED);
	assert_int_equal(st.code, 0);
	assert_string_equal(buf_str(&fx.out), "one\nnote\n/build\nhidden\n");
	assert_sh("cat /build/page", CHILD_EXITED, 0);
	assert_string_equal(buf_str(&fx.out), "two\n");
}

/* It was not wanted: nothing of it is left. */
static void test_a_container_that_waits_in_vain(void **state)
{
	struct pollfd pf;
	int p[2];
	char c;

	(void)state;
	open_box((struct sandbox_limits){0}, 0);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	must(sandbox_ready(fx.s, 0, p[1], 0, &failure));
	close(p[1]);
	sandbox_close(&fx.s);
	pf = (struct pollfd){.fd = p[0], .events = POLLIN};
	assert_int_equal(poll(&pf, 1, DEADLINE_MS), 1);
	assert_int_equal(read(p[0], &c, 1), 0);
	close(p[0]);
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
		box_test(test_privileges_are_dropped),
		box_test(test_the_host_is_not_seen),
		box_test(test_the_boxs_own_programs_see_no_homes),
		box_test(test_no_network_unless_asked),
		box_test(test_network_by_pasta_never_reaches_the_hosts_loopback),
		box_test(test_pids_limit),
		box_test(test_memory_limit_and_its_kill),
		box_test(test_disk_limit),
		box_test(test_what_cannot_be_limited_is_noted),
		box_test(test_files_put_and_collected),
		box_test(test_a_laid_link_does_not_lead_a_put_out),
		box_test(test_tar_streams),
		box_test(test_a_work_tree_at_a_commit),
		box_test(test_a_work_tree_is_shared),
		box_test(test_a_container_started_ahead),
		box_test(test_a_container_that_waits_in_vain),
		box_test(test_the_environment_is_on_no_disk),
		box_test(test_connections_to_a_server_in_the_box),
		box_test(test_a_box_that_dies_is_an_error),
	};

	secret_setup();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
