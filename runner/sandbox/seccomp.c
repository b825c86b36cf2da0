/* The system call filter, compiled by libseccomp in this process (0.3 ms; crun would take 25 to 30 for its own). */
#include "runner/sandbox/seccomp.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fs.h"

/* Names that this libseccomp or this arch does not know are left out: there is nothing to refuse. */
static const char *const refused[] = {
	/* mounts and namespaces: what cannot be made needs no rule about what is in it */
	"mount", "umount", "umount2", "pivot_root", "mount_setattr", "move_mount", "open_tree", "fsopen", "fspick",
	"fsconfig", "fsmount", "unshare", "setns", "quotactl", "quotactl_fd", "swapon", "swapoff",
	/* other processes */
	"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
	/* the kernel itself: modules, tracing, large young interfaces */
	"bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "init_module",
	"finit_module", "delete_module", "create_module", "get_kernel_syms", "query_module", "kexec_load",
	"kexec_file_load", "lookup_dcookie", "syslog", "acct", "nfsservctl", "uselib", "ustat", "sysfs", "_sysctl",
	"vm86", "vm86old",
	/* keys are in no namespace but the user's */
	"add_key", "keyctl", "request_key",
	/* files by handle lead out of a mount */
	"name_to_handle_at", "open_by_handle_at",
	/* the machine: clocks, ports, power, address space layout */
	"settimeofday", "stime", "clock_settime", "clock_settime64", "iopl", "ioperm", "reboot", "vhangup",
	"personality"};

/* Sockets are of these families. Of all others the kernel loads the module when anybody asks for one, a container too,
 * and few have looked at it. The kernel looks at 32 bits of the argument, a filter at 64: the upper ones are masked
 * off. For 32-bit x86, libseccomp refuses the whole of socketcall(SYS_SOCKET) with the same rules, and that is meant:
 * its family is in memory, where a filter cannot look, so to let it through would let every family through, to 64-bit
 * programs too (int 0x80). A 32-bit program that makes sockets by socket(2) (musl) has them; one that only knows
 * socketcall (glibc for i386) has none. */
static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
enum { FAMILIES = 64 }; /* the kernel refuses larger numbers itself */

/* Likewise modules, of families that are had; no namespace makes them safer. */
static const int refused_protocols[] = {IPPROTO_SCTP, IPPROTO_DCCP, IPPROTO_UDPLITE, 115 /* L2TP */, 256 /* SMC */};

/* Typing into a terminal that somebody else reads. */
static const unsigned long refused_ioctls[] = {TIOCSTI, TIOCLINUX};

static void release_p(scmp_filter_ctx *ctx)
{
	if (*ctx) seccomp_release(*ctx);
}

static int refuse_32(scmp_filter_ctx ctx, int error, int nr, unsigned arg, uint32_t mask, uint32_t value)
{
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO((uint32_t)error), nr, 1,
				SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, mask, value));
}

/* The families from `first` on, `count` of them, a power of two: halved until all or none of them is let through, so
 * that some ten rules do for all. */
static int refuse_families(scmp_filter_ctx ctx, int nr, unsigned first, unsigned count)
{
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		if (families[i] < first || families[i] >= first + count) continue;
		if (count == 1) return 0;
		rc = refuse_families(ctx, nr, first, count / 2);
		return rc ? rc : refuse_families(ctx, nr, first + count / 2, count / 2);
	}
	return refuse_32(ctx, EAFNOSUPPORT, nr, 0, FAMILIES - count, first);
}

static int add_values(scmp_filter_ctx ctx)
{
	int rc = refuse_families(ctx, SCMP_SYS(socket), 0, FAMILIES);

	if (!rc) rc = refuse_families(ctx, SCMP_SYS(socketpair), 0, FAMILIES);
	for (size_t i = 0; i < ARRAY_LEN(refused_protocols) && !rc; i++)
		rc = refuse_32(ctx, EPROTONOSUPPORT, SCMP_SYS(socket), 2, UINT32_MAX, (uint32_t)refused_protocols[i]);
	for (size_t i = 0; i < ARRAY_LEN(refused_ioctls) && !rc; i++)
		rc = refuse_32(ctx, EPERM, SCMP_SYS(ioctl), 1, UINT32_MAX, (uint32_t)refused_ioctls[i]);
	return rc ? rc : refuse_32(ctx, EPERM, SCMP_SYS(clone), 0, CLONE_NEWUSER, CLONE_NEWUSER);
}

static int add_rules(scmp_filter_ctx ctx)
{
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(refused) && !rc; i++) {
		int nr = seccomp_syscall_resolve_name(refused[i]);

		if (nr == __NR_SCMP_ERROR) continue;
		rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 0);
		if (rc == -EDOM) rc = 0;
	}
	if (!rc) rc = add_values(ctx);
	/* Its flags are in memory, where a filter cannot look; libc falls back to clone. */
	if (!rc) rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return rc;
}

/* 32-bit programs run, under the same rules; other foreign calls (x32) end the program. */
static int add_sibling(scmp_filter_ctx ctx)
{
	uint32_t native = seccomp_arch_native(), sibling = 0;
	int rc;

	if (native == SCMP_ARCH_X86_64) sibling = SCMP_ARCH_X86;
	if (native == SCMP_ARCH_AARCH64) sibling = SCMP_ARCH_ARM;
	if (!sibling) return 0;
	rc = seccomp_arch_add(ctx, sibling);
	return rc == -EEXIST ? 0 : rc;
}

int seccomp_filter(struct buf *bpf_r, struct err *e)
{
	__attribute__((cleanup(release_p))) scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	int rc;

	if (!ctx) return err_set(e, ERR_SYS, "cannot start a system call filter");
	if (fd < 0) return err_sys(e, "cannot make memory for the system call filter");
	rc = add_sibling(ctx);
	if (!rc) rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: fewer steps a call */
	if (!rc) rc = add_rules(ctx);
	if (!rc) rc = seccomp_export_bpf(ctx, fd);
	if (rc) {
		errno = -rc;
		return err_sys(e, "cannot make the system call filter");
	}
	if (lseek(fd, 0, SEEK_SET)) return err_sys(e, "cannot read the system call filter");
	return fs_read_fd(fd, "system call filter", bpf_r, e);
}
