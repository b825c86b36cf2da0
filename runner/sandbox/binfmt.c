/* qemu-user for a box. The kernel asks the binfmt_misc of the innermost user namespace that has one, and that one
 * alone: a mount there hides all of the host's registrations, so it is only made where the program to register was
 * found. The mount is attached nowhere: its descriptor holds it, and with it the registration. */
#include "runner/sandbox/binfmt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/host.h"
#include "runner/sandbox/proto.h"
#include "runner/sandbox/userns.h"

/* Debian's name for it says that the kernel is to keep argv[0], which qemu hears from the kernel besides. Static, for
 * no root file system holds its libraries. */
static char *find_program(const char *qemu)
{
	const char *const patterns[] = {"/usr/libexec/qemu-binfmt/%s-binfmt-P", "/usr/bin/qemu-%s-static",
					"/usr/local/bin/qemu-%s-static"};
	const char *cpu = qemu + strlen("qemu-");

	for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
		const char *at = strstr(patterns[i], "%s");
		char *path = xasprintf("%.*s%s%s", (int)(at - patterns[i]), patterns[i], cpu, at + 2);

		if (!access(path, X_OK)) return path;
		free(path);
	}
	return NULL;
}

static int close_quietly(int fd)
{
	int was = errno;

	if (fd >= 0) close(fd);
	errno = was;
	return -1;
}

/* In the namespace: the mount, with the rule in it; -1 and errno, and whether the host's registrations are hidden. */
static int make(int userns, const char *rule, int *hidden_r)
{
	int fs, mounted, reg;

	if (setns(userns, CLONE_NEWUSER) || setresgid(0, 0, 0) || setresuid(0, 0, 0) || unshare(CLONE_NEWNS)) return -1;
	fs = (int)syscall(SYS_fsopen, "binfmt_misc", FSOPEN_CLOEXEC);
	if (fs < 0) return -1;
	if (syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0)) return close_quietly(fs);
	mounted = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	close_quietly(fs);
	*hidden_r = 1;
	if (mounted < 0) return -1;
	reg = openat(mounted, "register", O_WRONLY | O_CLOEXEC);
	if (reg < 0 || write(reg, rule, strlen(rule)) < 0) {
		close_quietly(reg);
		return close_quietly(mounted);
	}
	close(reg);
	return mounted;
}

static _Noreturn void make_and_tell(int sock, int userns, const char *rule)
{
	int hidden = 0, fd = make(userns, rule, &hidden);
	struct proto_msg m;
	struct err e;

	proto_msg_init(&m, fd < 0 ? BOX_FAIL : BOX_OK);
	m.n[0] = errno;
	m.n[1] = hidden;
	if (fd >= 0) m.fds[m.nfds++] = fd;
	_exit(proto_send(sock, &m, &e) ? 1 : 0);
}

/* src: of an EPERM: before 6.7 binfmt_misc was for the first user namespace only */
static int hear(int sock, const char *arch, int *fd_r, struct err *e)
{
	struct proto_msg m;
	int rc = proto_recv(sock, &m, e);

	if (rc) return rc < 0 ? -1 : err_set(e, ERR_MISSING, "who should register '%s' ended", arch);
	*fd_r = proto_msg_take_fd(&m, 0);
	rc = m.op == BOX_OK && *fd_r >= 0 ? 0 : -1;
	if (rc && m.n[0] == EPERM)
		err_set(e, ERR_MISSING, "this kernel has no binfmt_misc in user namespaces (Linux 6.7 has)");
	else if (rc)
		err_set(e, m.n[1] ? ERR_SYS : ERR_MISSING, "cannot register a program for '%s' in a user namespace: %s",
			arch, strerror((int)m.n[0]));
	proto_msg_release(&m);
	return rc;
}

int binfmt_own(int userns, const char *arch, int *fd_r, struct err *e)
{
	const char *qemu = host_arch_qemu(arch);
	_cleanup_free_ char *program = NULL, *rule = NULL;
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], rc;
	pid_t pid;

	if (!qemu) return err_set(e, ERR_MISSING, "unknown arch '%s'", arch);
	program = find_program(qemu);
	if (!program) return err_set(e, ERR_MISSING, "there is no '%s-static'", qemu);
	rule = host_binfmt_rule(arch, program);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) return err_sys(e, "cannot make a socket pair");
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0) return err_sys(e, "cannot fork");
	if (pid == 0) make_and_tell(theirs, userns, rule);
	close_p(&theirs);
	rc = hear(ours, arch, fd_r, e);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
	return rc;
}

static int try_own(const char *arch, struct err *e)
{
	_cleanup_close_ int userns = -1, fd = -1;

	return userns_open(&userns, e) || binfmt_own(userns, arch, &fd, e) ? -1 : 0;
}

static int host_has(const char *arch, const struct err *own, struct err *e)
{
	struct err host = {0};

	if (!host_binfmt(arch, &host)) return 0;
	return err_set(e, ERR_MISSING,
		       "cannot run programs for '%s' here: %s, and of this host's own: %s; run: runner doctor --fix",
		       arch, own->text, host.text);
}

int binfmt_check(const char *arch, const char **how_r, struct err *e)
{
	struct err own = {0};

	if (!host_arch_known(arch)) return err_set(e, ERR_INPUT, "unknown arch '%s'", arch);
	*how_r = "native";
	if (host_arch_native(host_arch(), arch)) return 0;
	*how_r = "of its own";
	if (!try_own(arch, &own)) return 0;
	*how_r = "of this host";
	return host_has(arch, &own, e);
}

int binfmt_open(int userns, const char *arch, int *fd_r, struct err *e)
{
	struct err own = {0};

	*fd_r = -1;
	if (!arch || host_arch_native(host_arch(), arch)) return 0;
	if (!binfmt_own(userns, arch, fd_r, &own)) return 0;
	if (own.kind != ERR_MISSING) {
		*e = own;
		return -1;
	}
	return host_has(arch, &own, e);
}
