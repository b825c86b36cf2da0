/* What a stranger's program in a job tries in order to get out: each attempt prints "NAME refused (why)" or "NAME
 * ESCAPED (how)". Static, for a root file system with nothing in it. It is told what to look for on its command line:
 *   escape all           everything that needs no more than the kernel
 *   escape connect WHAT ADDRESS PORT   a TCP connection; with "!" before WHAT it is to be had
 *   escape hog           takes memory until it is killed
 *   escape forks         processes without end; says how many there were
 *   escape unlinked DIR  writes to a file without a name as much as it may, and keeps it */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int escaped;

static void told(const char *name, int worked)
{
	if (worked)
		printf("%s ESCAPED (it worked)\n", name);
	else
		printf("%s refused (%s)\n", name, strerror(errno));
	escaped |= worked;
	fflush(stdout);
}

/* A call that must fail. */
#define TRY(name, call)                                                                                                \
	do {                                                                                                           \
		errno = 0;                                                                                             \
		told(name, (call) >= 0);                                                                               \
	} while (0)

static int open_write(const char *path)
{
	return open(path, O_WRONLY | O_CLOEXEC);
}

/* A file that is masked reads as empty, if it opens at all. */
static int read_some(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte;
	ssize_t n;

	if (fd < 0) return -1;
	n = read(fd, &byte, 1);
	close(fd);
	if (n == 0) errno = ENODATA;
	return n == 1 ? 0 : -1;
}

static void mounts(void)
{
	unsigned long handle[32] = {0};

	mkdir("/tmp/m", 0755);
	TRY("mount-tmpfs", mount("none", "/tmp/m", "tmpfs", 0, NULL));
	TRY("mount-proc", mount("proc", "/tmp/m", "proc", 0, NULL));
	TRY("mount-bind", mount("/", "/tmp/m", NULL, MS_BIND, NULL));
	TRY("remount-sys", mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL));
	TRY("umount-proc-mask", umount2("/proc/sys", MNT_DETACH));
	TRY("pivot-root", syscall(SYS_pivot_root, "/tmp", "/tmp/m"));
	TRY("open-tree", syscall(428, AT_FDCWD, "/", 1));
	TRY("fsopen", syscall(430, "tmpfs", 0));
	handle[0] = 8;
	TRY("open-by-handle", syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY));
	TRY("chroot-out", chroot("/proc/1/root"));
}

static int clone3_user(void)
{
	struct {
		unsigned long long flags, pidfd, child, parent, exit, stack, size, tls;
	} a = {.flags = CLONE_NEWUSER, .exit = SIGCHLD};
	long pid = syscall(SYS_clone3, &a, sizeof(a));

	if (pid == 0) _exit(0);
	return (int)pid;
}

static int clone_user(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) _exit(0);
	return (int)pid;
}

static void namespaces(void)
{
	TRY("unshare-user", unshare(CLONE_NEWUSER));
	TRY("unshare-mount", unshare(CLONE_NEWNS));
	TRY("unshare-net", unshare(CLONE_NEWNET));
	TRY("clone-user", clone_user());
	TRY("clone3-user", clone3_user());
	TRY("setns-init", setns(open("/proc/1/ns/mnt", O_RDONLY), 0));
}

static void processes(void)
{
	struct iovec here = {&(int){0}, sizeof(int)}, there = {(void *)0x400000, sizeof(int)};

	TRY("ptrace-init", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
	TRY("ptrace-seize-init", ptrace(PTRACE_SEIZE, 1, NULL, NULL));
	TRY("read-inits-memory", syscall(SYS_process_vm_readv, 1, &here, 1, &there, 1, 0));
	TRY("open-inits-memory", open("/proc/1/mem", O_RDWR));
	TRY("inits-descriptors", open("/proc/1/fd/3", O_WRONLY));
	TRY("inits-environment", read_some("/proc/1/environ"));
	TRY("inits-program", open_write("/proc/1/exe"));
	TRY("our-init", open_write("/.slipway/init"));
	TRY("pidfd-getfd", syscall(438, (int)syscall(434, 1, 0), 3, 0));
}

static void kernel(void)
{
	union bpf_attr bpf = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
	struct timespec now = {.tv_sec = 1};
	struct timex adjust = {.modes = ADJ_OFFSET};
	unsigned char perf[128] = {0};

	TRY("sysrq", open_write("/proc/sysrq-trigger"));
	TRY("sysctl", open_write("/proc/sys/kernel/core_pattern"));
	TRY("sysctl-hostname", open_write("/proc/sys/kernel/hostname"));
	TRY("kcore", read_some("/proc/kcore"));
	TRY("kernel-keys", read_some("/proc/keys"));
	TRY("timer-list", read_some("/proc/timer_list"));
	TRY("firmware", open("/sys/firmware/acpi", O_RDONLY));
	TRY("uevent-helper", open_write("/sys/kernel/uevent_helper"));
	TRY("cgroup-release-agent", open_write("/sys/fs/cgroup/release_agent"));
	TRY("keyctl-session", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
	TRY("add-key", syscall(SYS_add_key, "user", "x", "y", 1, KEY_SPEC_USER_KEYRING));
	TRY("request-key", syscall(SYS_request_key, "user", "x", NULL, 0));
	TRY("bpf", syscall(SYS_bpf, BPF_MAP_CREATE, &bpf, sizeof(bpf)));
	TRY("perf", syscall(SYS_perf_event_open, perf, 0, -1, -1, 0));
	TRY("userfaultfd", syscall(SYS_userfaultfd, 0));
	TRY("io-uring", syscall(425, 1, perf));
	TRY("kernel-log", syscall(SYS_syslog, 3, perf, sizeof(perf)));
	TRY("module", syscall(SYS_finit_module, 0, "", 0));
	TRY("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
	TRY("swapon", swapon("/tmp/x", 0));
	TRY("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, 0));
	TRY("clock", clock_settime(CLOCK_REALTIME, &now));
	TRY("clock-of-day", settimeofday(&(struct timeval){.tv_sec = 1}, NULL));
	TRY("clock-adjust", adjtimex(&adjust));
	TRY("hostname", sethostname("x", 1));
	TRY("priority", setpriority(0, 0, -20));
}

static void devices(void)
{
	TRY("mknod-disk", mknod("/tmp/disk", S_IFBLK | 0666, makedev(254, 0)));
	TRY("mknod-loop", mknod("/tmp/loop", S_IFBLK | 0666, makedev(7, 0)));
	TRY("mknod-memory", mknod("/tmp/mem", S_IFCHR | 0666, makedev(1, 1)));
	TRY("mknod-kmsg", mknod("/tmp/kmsg", S_IFCHR | 0666, makedev(1, 11)));
	TRY("dev-mem", open("/dev/mem", O_RDONLY));
	TRY("dev-kmsg", open("/dev/kmsg", O_RDONLY));
	TRY("dev-disk", open("/dev/vda", O_RDONLY));
	TRY("dev-fuse", open("/dev/fuse", O_RDWR));
	TRY("dev-tun", open("/dev/net/tun", O_RDWR));
	TRY("dev-loop-control", open("/dev/loop-control", O_RDWR));
	TRY("typing-for-others", ioctl(0, TIOCSTI, "x"));
}

static void sockets(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = 0};
	int pair[2];

	TRY("raw-socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	TRY("packet-socket", socket(AF_PACKET, SOCK_RAW, 0));
	TRY("vsock", socket(40, SOCK_STREAM, 0));
	TRY("alg-socket", socket(38, SOCK_SEQPACKET, 0));
	TRY("can-socket", socket(29, SOCK_RAW, 1));
	TRY("tipc-pair", socketpair(30, SOCK_STREAM, 0, pair));
	TRY("rds-socket", socket(21, SOCK_SEQPACKET, 0));
	TRY("xdp-socket", socket(44, SOCK_RAW, 0));
	TRY("sctp-socket", socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP));
	TRY("loopback-down", ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &r));
	TRY("netfilter", setsockopt(socket(AF_INET, SOCK_DGRAM, 0), SOL_SOCKET, SO_MARK, &(int){1}, sizeof(int)));
}

/* Only 0 to 2 and, where the script has one, its own. */
static void descriptors(void)
{
	int found = 0;

	for (int fd = 3; fd < 1024; fd++)
		if (fd != 7 && fcntl(fd, F_GETFD) >= 0) found = 1;
	errno = EBADF;
	told("leaked-descriptors", found);
}

/* The bounding set, which a setuid program could not leave either. */
static void privileges(void)
{
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long bounding = ~0UL;
	int filter = 0, no_new = 0;

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "CapBnd: %lx", &bounding);
		sscanf(line, "Seccomp: %d", &filter);
		sscanf(line, "NoNewPrivs: %d", &no_new);
	}
	errno = EPERM;
	/* CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETFCAP */
	told("capabilities", (bounding & ~0x800000fbUL) != 0);
	told("no-system-call-filter", filter != 2);
	told("new-privileges", no_new != 1);
}

static void try_connect(const char *what, const char *address, const char *port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((unsigned short)strtol(port, NULL, 10))};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
	int six = strchr(address, ':') != NULL, fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
	    why = 0;
	struct pollfd pf = {fd, POLLOUT, 0};
	socklen_t len = sizeof(why);

	inet_pton(AF_INET, address, &v4.sin_addr);
	inet_pton(AF_INET6, address, &v6.sin6_addr);
	v6.sin6_scope_id = 2;
	if (connect(fd, six ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, six ? sizeof(v6) : sizeof(v4)))
		why = errno;
	if (why == EINPROGRESS && poll(&pf, 1, 3000) <= 0) why = ETIMEDOUT;
	if (why == EINPROGRESS) getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len);
	errno = why;
	if (*what == '!')
		printf("%s %s (%s)\n", what + 1, why ? "UNREACHABLE" : "reached", strerror(why));
	else
		told(what, !why);
	if (*what == '!' && why) escaped = 1;
	close(fd);
}

static void hog(void)
{
	for (;;) {
		char *p = malloc(1 << 20);

		if (!p) exit(3);
		memset(p, 1, 1 << 20);
	}
}

static void forks(void)
{
	int n = 0;

	for (;;) {
		pid_t pid = fork();

		if (pid < 0) break;
		if (pid == 0) {
			pause();
			_exit(0);
		}
		n++;
	}
	printf("forked %d (%s)\n", n, strerror(errno));
}

static void unlinked(const char *dir)
{
	static char block[1 << 20];
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600);

	signal(SIGXFSZ, SIG_IGN);
	memset(block, 1, sizeof(block));
	while (fd >= 0 && write(fd, block, sizeof(block)) > 0) {}
	printf("unlinked stopped (%s)\n", strerror(errno));
	fflush(stdout);
	pause(); /* its bytes stay as long as it is open */
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "all";

	if (!strcmp(what, "hog")) hog();
	if (!strcmp(what, "forks")) forks();
	if (!strcmp(what, "unlinked")) unlinked(argc > 2 ? argv[2] : ".");
	for (int i = 2; !strcmp(what, "connect") && i + 2 < argc; i += 3)
		try_connect(argv[i], argv[i + 1], argv[i + 2]);
	if (!strcmp(what, "all")) {
		descriptors(); /* before our own */
		mounts();
		namespaces();
		processes();
		kernel();
		devices();
		sockets();
		privileges();
	}
	return escaped;
}
