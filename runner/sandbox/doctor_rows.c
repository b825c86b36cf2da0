/* What `runner doctor` looks at, row by row: the thing itself is tried wherever that can be done without leaving a
 * trace, and only else asked for. */
#include "runner/sandbox/doctor_rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/binfmt.h"
#include "runner/sandbox/userns.h"

enum { LOOK_TIMEOUT_MS = 20000, WANT_FREE_MB = 4096 };

void finding_release(struct finding *f)
{
	for (size_t i = 0; i < f->ncommands; i++) vec_release(&f->commands[i]);
	*f = (struct finding){0};
}

void finding_command(struct finding *f, const char *fmt, ...)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	va_list ap;

	if (f->ncommands == FINDING_MAX_COMMANDS) die("too many commands");
	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	host_words(buf_str(&text), &f->commands[f->ncommands++]);
}

void finding_ok(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	f->ok = 1;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

void finding_lack(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	f->ok = 0;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

static void install(struct finding *f, const char *package)
{
	finding_command(f, "apt-get install -q -y --no-install-recommends %s", package);
}

/* A file's text, "" where it cannot be read. */
static void text_of(const char *path, struct buf *b)
{
	struct err ignored;

	if (fs_read_file(path, b, &ignored)) buf_clear(b);
}

static long number_in(const char *path)
{
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	long n;

	text_of(path, &b);
	return sscanf(buf_str(&b), "%ld", &n) == 1 ? n : -1;
}

/* --- the kernel --- */

static void look_kernel(struct patient *p, struct finding *f, const void *arg)
{
	char version[32];
	struct utsname u;

	(void)p, (void)arg;
	uname(&u);
	if (host_version_at_least(u.release, 5, 11, version)) {
		finding_ok(f, "%s", u.release);
		return;
	}
	finding_lack(f, "%s is older than 5.11, which has overlay mounts in user namespaces", u.release);
	snprintf(f->manual, sizeof(f->manual), "apt-get install linux-image-%s && reboot", host_arch());
}

static void look_seccomp(struct patient *p, struct finding *f, const void *arg)
{
	_cleanup_buf_ struct buf actions = BUF_INIT(4096);

	(void)p, (void)arg;
	text_of("/proc/sys/kernel/seccomp/actions_avail", &actions);
	if (strstr(buf_str(&actions), "errno")) {
		finding_ok(f, "%s", "");
		return;
	}
	finding_lack(f, "the kernel has no system call filter");
	snprintf(f->manual, sizeof(f->manual), "apt-get install linux-image-%s && reboot", host_arch());
}

/* --- programs --- */

struct program {
	const char *name;
	const char *package;
	unsigned major, minor; /* at least; 0: whatever is there, and it is not asked */
};

static void look_program(struct patient *p, struct finding *f, const void *arg)
{
	const struct program *want = arg;
	const char *argv[] = {want->name, "--version", NULL},
		   *where[] = {"sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; command -v \"$1\"", "sh", want->name, NULL};
	_cleanup_buf_ struct buf text = BUF_INIT(65536);
	struct child_opts o = {.argv = want->major ? argv : where};
	char version[32] = "";
	struct err e;

	(void)p;
	if (child_check(&o, NULL, LOOK_TIMEOUT_MS, &text, &e)) {
		finding_lack(f, "%s", want->major && e.kind != ERR_MISSING ? e.text : "not installed");
		install(f, want->package);
	} else if (!want->major || host_version_at_least(buf_str(&text), want->major, want->minor, version)) {
		finding_ok(f, "%s", version);
	} else {
		finding_lack(f, "%s is older than %u.%u", version, want->major, want->minor);
		install(f, want->package);
	}
}

/* crun is asked more than its version: it must start, and say so in a way that can be compared. */
static const struct program crun = {"crun", "crun", 1, 5}, mmdebstrap = {"mmdebstrap", "mmdebstrap", 1, 2},
			    git = {"git", "git", 2, 30}, newuidmap = {"newuidmap", "uidmap", 0, 0},
			    newgidmap = {"newgidmap", "uidmap", 0, 0}, skopeo = {"skopeo", "skopeo", 1, 5},
			    pasta = {"pasta", "passt", 0, 0}, nft = {"nft", "nftables", 0, 0},
			    arch_test = {"arch-test", "arch-test", 0, 0},
			    qemu_system = {"qemu-system-x86_64", "qemu-system-x86", 5, 0};

static void look_busybox(struct patient *p, struct finding *f, const void *arg)
{
	(void)p, (void)arg;
	if (fs_exists("/bin/busybox")) {
		finding_ok(f, "%s", "");
		return;
	}
	finding_lack(f, "no /bin/busybox: the smallest image is made of it");
	install(f, "busybox-static");
}

static void look_apt(struct patient *p, struct finding *f, const void *arg)
{
	static const char *const argv[] = {"apt-get",   "indextargets",         "--format",
					   "$(ORIGIN)", "Created-By: Packages", NULL};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct err e;

	(void)p, (void)arg;
	if (child_check(&(struct child_opts){.argv = argv}, NULL, LOOK_TIMEOUT_MS, &text, &e)) {
		finding_lack(f, "%s", e.text);
	} else if (!strncmp(buf_str(&text), "Debian\n", 7) || strstr(buf_str(&text), "\nDebian\n")) {
		finding_ok(f, "knows Debian's archive");
		return;
	} else {
		finding_lack(f, "has no package lists of Debian's archive, of which images are made");
	}
	finding_command(f, "apt-get update -q");
}

/* --- ids and namespaces --- */

void doctor_judge_subids(const char *subuid, const char *subgid, const char *user, unsigned long uid, struct finding *f)
{
	unsigned long first = 0, uids = 0, gids = 0, free_uid = host_subid_free(subuid),
		      free_gid = host_subid_free(subgid);
	int has_uids = !userns_find_range(subuid, user, uid, &first, &uids) && uids >= 65536;
	int has_gids = !userns_find_range(subgid, user, uid, &first, &gids) && gids >= 65536;

	if (has_uids && has_gids) {
		finding_ok(f, "%lu uids, %lu gids", uids, gids);
		return;
	}
	finding_lack(f, "'%s' has %s range of 65536 %s", user, uids || gids ? "no full" : "no",
		     has_uids ? "subordinate gids" : (has_gids ? "subordinate uids" : "subordinate uids and gids"));
	if (!has_uids) finding_command(f, "usermod --add-subuids %lu-%lu %s", free_uid, free_uid + 65535, user);
	if (!has_gids) finding_command(f, "usermod --add-subgids %lu-%lu %s", free_gid, free_gid + 65535, user);
}

static void look_subids(struct patient *p, struct finding *f, const void *arg)
{
	_cleanup_buf_ struct buf uids = BUF_INIT(1 << 20), gids = BUF_INIT(1 << 20);

	(void)arg;
	text_of("/etc/subuid", &uids);
	text_of("/etc/subgid", &gids);
	doctor_judge_subids(buf_str(&uids), buf_str(&gids), p->user, p->uid, f);
}

/* Switches that distributions put before user namespaces. */
static const struct {
	const char *name, *path;
	long bad, good;
	int ordinary_only;
	const char *why;
} switches[] = {
	{"user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", 0, 15000, 0, "allows none"},
	{"kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", 0, 1, 1,
	 "keeps them to root"},
	{"kernel.apparmor_restrict_unprivileged_userns", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1, 0,
	 1, "lets AppArmor refuse them"},
};

static void look_userns(struct patient *p, struct finding *f, const void *arg)
{
	_cleanup_close_ int fd = -1;
	struct err e;

	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
		if ((switches[i].ordinary_only && p->uid == 0) || number_in(switches[i].path) != switches[i].bad)
			continue;
		finding_lack(f, "%s %s", switches[i].name, switches[i].why);
		finding_command(f, "sysctl -w %s=%ld", switches[i].name, switches[i].good);
		return;
	}
	if (!userns_open(&fd, &e)) {
		finding_ok(f, "%s", "");
		p->userns_works = 1;
		return;
	}
	finding_lack(f, "%s", e.text);
	snprintf(f->manual, sizeof(f->manual), "%s",
		 e.kind == ERR_MISSING ? "runner doctor --fix, after the rows above are mended"
				       : "in a container, start that with: docker run --privileged");
}

static void look_overlay(struct patient *p, struct finding *f, const void *arg)
{
	static const char *const argv[] = {
		"sh", "-c",
		"mount -t tmpfs none /mnt && mkdir /mnt/l /mnt/u /mnt/w /mnt/m && "
		"mount -t overlay none -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w,userxattr /mnt/m",
		NULL};
	struct err e;

	(void)arg;
	if (!p->userns_works) {
		finding_lack(f, "cannot be tried without user namespaces");
	} else if (!userns_command(&(struct child_opts){.argv = argv, .cwd = "/"}, NULL, LOOK_TIMEOUT_MS, NULL, &e)) {
		finding_ok(f, "%s", "");
		return;
	} else {
		finding_lack(f, "%s", e.text);
	}
	if (fs_exists("/sys/module/overlay") || !p->userns_works)
		snprintf(f->manual, sizeof(f->manual), "runner doctor --fix, after the rows above are mended");
	else
		finding_command(f, "modprobe overlay");
}

/* --- devices, emulation, room --- */

static void look_tun(struct patient *p, struct finding *f, const void *arg)
{
	static const char path[] = "/dev/net/tun";
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC);

	(void)p, (void)arg;
	if (fd >= 0) {
		finding_ok(f, "%s", "");
		return;
	}
	finding_lack(f, "cannot open %s: %s; only jobs with `network: on` need it", path, strerror(errno));
	if (!fs_exists("/dev/net")) finding_command(f, "mkdir -p /dev/net");
	if (!fs_exists(path)) finding_command(f, "mknod /dev/net/tun c 10 200");
	finding_command(f, "chmod 666 /dev/net/tun");
}

/* Of the two arches that Slipway is made for, the one that this host is not. */
static const char *other_arch(void)
{
	return strcmp(host_arch(), "arm64") ? "arm64" : "amd64";
}

/* Since Linux 6.7 a box registers the program itself, where that is installed. */
static void look_emulation(struct patient *p, struct finding *f, const void *arg)
{
	static const char base[] = "/proc/sys/fs/binfmt_misc";
	const char *arch = other_arch(), *qemu = host_arch_qemu(arch), *how;
	_cleanup_free_ char *program = xasprintf("/usr/bin/%s-static", qemu), *entry = xasprintf("%s/%s", base, qemu);
	struct utsname u;
	char found[32];
	struct err e;

	(void)p, (void)arg;
	if (!binfmt_check(arch, &how, &e)) {
		finding_ok(f, "%s by %s, a registration %s", arch, qemu, how);
		return;
	}
	if (!host_binfmt(arch, &e)) return;
	finding_lack(f, "%s; only jobs for %s need it", e.text, arch);
	if (!fs_exists(program)) install(f, "qemu-user-static");
	if (!uname(&u) && host_version_at_least(u.release, 6, 7, found)) return;
	if (!fs_exists(base)) finding_command(f, "modprobe binfmt_misc");
	if (!fs_exists("/proc/sys/fs/binfmt_misc/status"))
		finding_command(f, "mount -t binfmt_misc binfmt_misc %s", base);
	if (!fs_exists("/usr/sbin/update-binfmts")) install(f, "binfmt-support");
	if (fs_exists(entry)) finding_command(f, "update-binfmts --disable %s", qemu);
	finding_command(f, "update-binfmts --enable %s", qemu);
}

static void look_room(struct patient *p, struct finding *f, const void *arg)
{
	struct statvfs v;
	unsigned long long mb;

	(void)arg;
	if (statvfs(p->cache, &v)) {
		finding_lack(f, "cannot look at '%s': %s", p->cache, strerror(errno));
		snprintf(f->manual, sizeof(f->manual), "export SLIPWAY_CACHE=/another/folder");
		return;
	}
	mb = (unsigned long long)v.f_bavail * v.f_frsize >> 20;
	if (mb >= WANT_FREE_MB) {
		finding_ok(f, "%llu MB at %s", mb, p->cache);
		return;
	}
	finding_lack(f, "%llu MB at %s; images and builds want %d MB", mb, p->cache, WANT_FREE_MB);
	snprintf(f->manual, sizeof(f->manual), "apt-get clean, or export SLIPWAY_CACHE=/another/disk");
}

/* In this order: a row may lean on those above it. */
const struct row doctor_rows[] = {
	{"kernel", ROW_NEEDED, ROW_ALL, look_kernel, NULL},
	{"seccomp", ROW_NEEDED, ROW_ALL, look_seccomp, NULL},
	{"crun", ROW_NEEDED, ROW_ALL, look_program, &crun},
	{"newuidmap", ROW_NEEDED, ROW_ORDINARY_USER, look_program, &newuidmap},
	{"newgidmap", ROW_NEEDED, ROW_ORDINARY_USER, look_program, &newgidmap},
	{"subids", ROW_NEEDED, ROW_ORDINARY_USER, look_subids, NULL},
	{"userns", ROW_NEEDED, ROW_ALL, look_userns, NULL},
	{"overlay", ROW_NEEDED, ROW_ALL, look_overlay, NULL},
	{"cgroups", ROW_NEEDED, ROW_ALL, look_cgroups, NULL},
	{"limits", ROW_WANTED, ROW_ORDINARY_USER, look_delegation, NULL},
	{"mmdebstrap", ROW_NEEDED, ROW_ALL, look_program, &mmdebstrap},
	{"apt", ROW_NEEDED, ROW_ALL, look_apt, NULL},
	{"git", ROW_NEEDED, ROW_ALL, look_program, &git},
	{"busybox", ROW_WANTED, ROW_ALL, look_busybox, NULL},
	{"emulation", ROW_WANTED, ROW_ALL, look_emulation, NULL},
	{"arch-test", ROW_WANTED, ROW_ALL, look_program, &arch_test},
	{"tun", ROW_WANTED, ROW_ALL, look_tun, NULL},
	{"pasta", ROW_WANTED, ROW_ALL, look_program, &pasta},
	{"nft", ROW_WANTED, ROW_ALL, look_program, &nft},
	{"skopeo", ROW_WANTED, ROW_ALL, look_program, &skopeo},
	{"qemu", ROW_WANTED, ROW_ALL, look_program, &qemu_system},
	{"room", ROW_WANTED, ROW_ALL, look_room, NULL},
};
const size_t doctor_nrows = ARRAY_LEN(doctor_rows);
