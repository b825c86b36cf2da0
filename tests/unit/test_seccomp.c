#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runner/sandbox/seccomp.h"

#ifdef __x86_64__
#define NATIVE AUDIT_ARCH_X86_64
#else
#define NATIVE AUDIT_ARCH_AARCH64
#endif

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

/* --- what the filter says of calls that this kernel may not make --- */

/* The few instructions that a filter is made of. src: seccomp(2), linux/filter.h */
static uint32_t answer(const struct buf *bpf, const struct seccomp_data *call)
{
	const struct sock_filter *prog = (const void *)bpf->data;
	size_t n = bpf->len / sizeof(*prog);
	uint32_t acc = 0;

	for (size_t pc = 0; pc < n; pc++) {
		const struct sock_filter *f = &prog[pc];
		int jump;

		switch (f->code) {
		case BPF_LD | BPF_W | BPF_ABS: memcpy(&acc, (const char *)call + f->k, sizeof(acc)); continue;
		case BPF_ALU | BPF_AND | BPF_K: acc &= f->k; continue;
		case BPF_JMP | BPF_JA: pc += f->k; continue;
		case BPF_JMP | BPF_JEQ | BPF_K: jump = acc == f->k; break;
		case BPF_JMP | BPF_JGT | BPF_K: jump = acc > f->k; break;
		case BPF_JMP | BPF_JGE | BPF_K: jump = acc >= f->k; break;
		case BPF_JMP | BPF_JSET | BPF_K: jump = (acc & f->k) != 0; break;
		case BPF_RET | BPF_K: return f->k;
		default: fail_msg("instruction %#x is not known here", f->code); return 0;
		}
		pc += jump ? f->jt : f->jf;
	}
	fail_msg("the filter has no end");
	return 0;
}

static void test_filter_lets_four_families_through(void **state)
{
	const int calls[] = {SYS_socket, SYS_socketpair};
	struct buf bpf = BUF_INIT(1 << 20);
	struct err e;

	(void)state;
	assert_int_equal(seccomp_filter(&bpf, &e), 0);
	for (size_t i = 0; i < 2; i++)
		for (uint64_t family = 0; family < 64; family++) {
			int had = family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
			struct seccomp_data call = {.nr = calls[i], .arch = NATIVE, .args = {family}};
			uint32_t want = had ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EAFNOSUPPORT;

			assert_int_equal(answer(&bpf, &call), want);
			/* the kernel looks at 32 bits */
			call.args[0] |= 0x100000000;
			assert_int_equal(answer(&bpf, &call), want);
			call.args[0] |= 0xffffffff00000000;
			assert_int_equal(answer(&bpf, &call), want);
		}
	buf_release(&bpf);
}

static void test_filter_refuses_protocols_and_typing(void **state)
{
	struct seccomp_data call = {.nr = SYS_socket, .arch = NATIVE, .args = {AF_INET, SOCK_STREAM, IPPROTO_SCTP}};
	struct buf bpf = BUF_INIT(1 << 20);
	struct err e;

	(void)state;
	assert_int_equal(seccomp_filter(&bpf, &e), 0);
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ERRNO | EPROTONOSUPPORT);
	call.args[2] |= 0x700000000;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ERRNO | EPROTONOSUPPORT);
	call.args[2] = IPPROTO_TCP;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ALLOW);
	call = (struct seccomp_data){.nr = SYS_ioctl, .arch = NATIVE, .args = {0, TIOCSTI | 0x100000000}};
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ERRNO | EPERM);
	call.args[1] = TIOCLINUX;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ERRNO | EPERM);
	call.args[1] = TIOCGWINSZ;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ALLOW);
	buf_release(&bpf);
}

static void test_filter_masks_clone_flags(void **state)
{
	struct seccomp_data call = {.nr = SYS_clone, .arch = NATIVE, .args = {CLONE_NEWUSER | 0x700000000}};
	struct buf bpf = BUF_INIT(1 << 20);
	struct err e;

	(void)state;
	assert_int_equal(seccomp_filter(&bpf, &e), 0);
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ERRNO | EPERM);
	call.args[0] = SIGCHLD;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ALLOW);
	buf_release(&bpf);
}

#ifdef __x86_64__
/* 32-bit x86: socket(2) by family; socketcall's family cannot be seen, so that makes no socket at all. */
static void test_filter_of_32_bit_sockets(void **state)
{
	enum { I386_SOCKETCALL = 102, I386_SOCKET = 359, CALL_SOCKET = 1, CALL_CONNECT = 3 };
	struct seccomp_data call = {.nr = I386_SOCKET, .arch = AUDIT_ARCH_I386, .args = {AF_INET}};
	struct buf bpf = BUF_INIT(1 << 20);
	struct err e;

	(void)state;
	assert_int_equal(seccomp_filter(&bpf, &e), 0);
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ALLOW);
	call.args[0] = AF_ALG;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ERRNO | EAFNOSUPPORT);
	call.nr = I386_SOCKETCALL;
	call.args[0] = CALL_SOCKET;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ERRNO | EAFNOSUPPORT);
	call.args[0] = CALL_CONNECT;
	assert_int_equal(answer(&bpf, &call), SECCOMP_RET_ALLOW);
	buf_release(&bpf);
}
#endif

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
		cmocka_unit_test(test_filter_lets_four_families_through),
		cmocka_unit_test(test_filter_refuses_protocols_and_typing),
		cmocka_unit_test(test_filter_masks_clone_flags),
#ifdef __x86_64__
		cmocka_unit_test(test_filter_of_32_bit_sockets),
#endif
		cmocka_unit_test(test_filter_lets_ordinary_calls_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
