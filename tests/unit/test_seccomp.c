#include <errno.h>
#include <linux/filter.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/sandbox/seccomp.h"

/* Each returns what the call failed with, 0 when it went through. */
static int try_unshare(void)
{
	return unshare(CLONE_NEWUSER) ? errno : 0;
}
static int try_mount(void)
{
	return mount("none", "/tmp", "tmpfs", 0, NULL) ? errno : 0;
}
static int try_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) ? errno : 0;
}
static int try_clone_newuser(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0) _exit(0);
	return pid < 0 ? errno : 0;
}
static int try_clone3(void)
{
	return syscall(SYS_clone3, NULL, 0) ? errno : 0;
}
static int try_keyctl(void)
{
	return syscall(SYS_keyctl, 0, -3, 0, 0, 0) < 0 ? errno : 0;
}
static int try_io_uring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL) < 0 ? errno : 0;
}
static int try_vsock(void)
{
	return socket(AF_VSOCK, SOCK_STREAM, 0) < 0 ? errno : 0;
}
static int try_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0) < 0 ? errno : 0;
}
static int try_fork(void)
{
	pid_t pid = fork();

	if (pid == 0) _exit(0);
	return pid < 0 || waitpid(pid, NULL, 0) < 0 ? errno : 0;
}
static int try_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? errno : close(fd);
}
static int try_access(void)
{
	return access("/", F_OK) ? errno : 0;
}

/* errno of the call in a child under the filter; 255: the filter could not be set, or killed it */
static int under_filter(int (*call)(void))
{
	struct buf bpf = BUF_INIT(1 << 20);
	struct sock_fprog prog;
	struct err e;
	int ws;
	pid_t pid;

	assert_int_equal(seccomp_filter(&bpf, &e), 0);
	assert_int_equal(bpf.len % sizeof(struct sock_filter), 0);
	prog = (struct sock_fprog){(unsigned short)(bpf.len / sizeof(struct sock_filter)),
				   (struct sock_filter *)(void *)bpf.data};
	pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &prog)) _exit(255);
		_exit(call());
	}
	buf_release(&bpf);
	assert_int_equal(waitpid(pid, &ws, 0), pid);
	return WIFEXITED(ws) ? WEXITSTATUS(ws) : 255;
}

static void test_filter_refuses(void **state)
{
	(void)state;
	assert_int_equal(under_filter(try_unshare), EPERM);
	assert_int_equal(under_filter(try_mount), EPERM);
	assert_int_equal(under_filter(try_ptrace), EPERM);
	assert_int_equal(under_filter(try_clone_newuser), EPERM);
	assert_int_equal(under_filter(try_clone3), ENOSYS);
	assert_int_equal(under_filter(try_keyctl), EPERM);
	assert_int_equal(under_filter(try_io_uring), EPERM);
	assert_int_equal(under_filter(try_vsock), EAFNOSUPPORT);
	assert_int_equal(under_filter(try_bpf), EPERM);
}

static void test_filter_lets_ordinary_calls_through(void **state)
{
	(void)state;
	assert_int_equal(under_filter(try_fork), 0);
	assert_int_equal(under_filter(try_socket), 0);
	assert_int_equal(under_filter(try_access), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_filter_refuses),
		cmocka_unit_test(test_filter_lets_ordinary_calls_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
