/* From a fresh process in the box's namespaces to one that can start containers. The order matters: what is the
 * host's is opened before the mounts that hide it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "runner/sandbox/box.h"
#include "runner/sandbox/oci.h"
#include "runner/sandbox/seccomp.h"
#include "runner/sandbox/tree.h"

enum { NOFILE = 65536 };

static int copy_to(int from, const char *path, mode_t mode, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0) return err_sys(e, "cannot create '%s' in the box", path);
	return fs_copy_fd(from, fd, path, NULL, e);
}

/* crun copies itself to sealed memory at each start, so that no container can overwrite it, unless it finds that it was
 * started from such a copy or, where it is told to believe that (box.c), from a read-only mount.
 * src: crun's cloned_binary.c */
static int mount_crun(int file)
{
	struct mount_attr ro = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
	_cleanup_close_ int fd =
		(int)syscall(SYS_open_tree, file, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int mine;

	if (fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &ro, sizeof(ro))) return -1;
	mine = fd;
	fd = -1;
	return mine;
}

static int load_crun(int *fd_r, struct err *e)
{
	const char *path = getenv("PATH");
	_cleanup_close_ int fd = -1, from = -1;

	if (!path || !*path) path = "/usr/local/bin:/usr/bin:/bin";
	for (const char *p = path; from < 0 && *p;) {
		size_t n = strcspn(p, ":");
		_cleanup_free_ char *full = xasprintf("%.*s/crun", (int)n, p);

		from = open(full, O_RDONLY | O_CLOEXEC);
		p += n + (p[n] == ':');
	}
	if (from < 0) return err_set(e, ERR_MISSING, "cannot run 'crun': it is not installed; run: runner doctor");
	*fd_r = mount_crun(from);
	if (*fd_r >= 0) return 0;
	fd = memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) return err_sys(e, "cannot make memory for crun");
	if (fs_copy_fd(from, fd, "crun", NULL, e)) return -1;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
		return err_sys(e, "cannot seal crun");
	*fd_r = fd;
	fd = -1;
	return 0;
}

static int mount_at(const char *type, const char *where, unsigned long flags, const char *options, struct err *e)
{
	if (mount(type, where, type, flags, options))
		return err_sys(e, "cannot mount %s in the box (run: runner doctor)", type);
	return 0;
}

/* The host's folders as descriptors in our own mount namespace, which overlayfs insists on, before our mounts hide
 * them. As root the leader sends detached mounts instead, for a path may lead through folders that only the host's
 * root may enter: those are attached later. */
static int open_folders(struct proto_msg *m, int *sent_r, struct err *e)
{
	*sent_r = m->nfds > 1;
	if (*sent_r)
		return m->nfds == m->s.len + 1
			       ? 0
			       : err_set(e, ERR_INPUT, "%zu folders for %zu names", m->nfds - 1, m->s.len);
	for (size_t i = 0; i < m->s.len; i++) {
		int fd = open(m->s.items[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0) return err_sys(e, "cannot open '%s'", m->s.items[i]);
		m->fds[m->nfds++] = fd;
	}
	return 0;
}

static int attach_folders(const struct proto_msg *m, struct err *e)
{
	for (size_t i = 0; i < m->s.len; i++) {
		_cleanup_free_ char *where = xasprintf(BOX_HOME "/host/%zu", i);

		if (mkdir(where, 0700)) return err_sys(e, "cannot make folder '%s' in the box", where);
		if (syscall(SYS_move_mount, m->fds[i + 1], "", AT_FDCWD, where, MOVE_MOUNT_F_EMPTY_PATH))
			return err_sys(e, "cannot mount '%s' in the box", m->s.items[i]);
	}
	return 0;
}

/* Options name descriptors, so no path needs quoting. The upper part is thrown away with the box: it is never synced
 * to the disk ("volatile", Linux 5.10; a user namespace may mount an overlay since 5.11). */
static int mount_overlay(const struct proto_msg *m, struct err *e)
{
	_cleanup_buf_ struct buf options = BUF_INIT(4096); /* mount(2) takes a page */

	buf_adds(&options, "userxattr,lowerdir=");
	for (size_t i = 1; i < m->s.len; i++) buf_addf(&options, "%s/proc/self/fd/%d", i > 1 ? ":" : "", m->fds[i + 1]);
	buf_addf(&options, ",upperdir=/proc/self/fd/%d/upper,workdir=/proc/self/fd/%d/work", m->fds[1], m->fds[1]);
	buf_adds(&options, ",volatile");
	if (buf_check(&options, "list of layers", e)) return -1;
	if (!mount("overlay", BOX_ROOT, "overlay", 0, options.data)) return 0;
	return err_sys(e, "cannot mount the box's file system (run: runner doctor)");
}

/* What we put beside the script is no part of what the job writes: it costs the disk nothing, and goes with the box. */
static int mount_own(int root, struct err *e)
{
	_cleanup_close_ int dir = -1;
	char at[32];

	if (tree_mkdirs(root, OCI_OWN_PATH, &dir, e)) return -1;
	snprintf(at, sizeof(at), "/proc/self/fd/%d", dir);
	return mount_at("tmpfs", at, MS_NOSUID | MS_NODEV, "mode=0755,size=64m", e);
}

/* Nothing of the box is seen outside, and unmounts outside are not held up by it. */
static int mount_proc(struct err *e)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return err_sys(e, "cannot make the box's mounts private");
	return mount_at("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, e);
}

/* What git, libarchive and nft have no business with when a stranger's bytes turn them: in an ordinary user's box they
 * are that user. What is needed of it was opened before. */
static int hide_homes(struct err *e)
{
	const char *const homes[] = {"/home", "/root"};

	for (size_t i = 0; i < ARRAY_LEN(homes); i++)
		if (fs_exists(homes[i]) &&
		    mount_at("tmpfs", homes[i], MS_RDONLY | MS_NOSUID | MS_NODEV, "mode=0555,size=4k", e))
			return -1;
	return 0;
}

static int mount_home(struct err *e)
{
	const char *const folders[] = {BOX_ROOT, BOX_BUNDLE, BOX_STATE, BOX_HOME "/host"};

	if (mount_at("tmpfs", BOX_HOME, MS_NOSUID | MS_NODEV, "mode=0700,size=64m", e)) return -1;
	/* The leader keeps the control groups. crun shall not see the host's: it refuses mixtures of version 1 and 2.
	 */
	if (fs_exists("/sys/fs/cgroup") &&
	    mount_at("tmpfs", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV, "mode=0555,size=4k", e))
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		if (mkdir(folders[i], 0700)) return err_sys(e, "cannot make folder '%s' in the box", folders[i]);
	return hide_homes(e);
}

static uint64_t hard_limit(int resource)
{
	struct rlimit r;

	return getrlimit((__rlimit_resource_t)resource, &r) || r.rlim_max == RLIM_INFINITY ? UINT64_MAX : r.rlim_max;
}

static int write_config(const struct proto_msg *m, struct err *e)
{
	_cleanup_buf_ struct buf bpf = BUF_INIT(1 << 20);
	_cleanup_free_ char *text = NULL;
	uint64_t fsize = m->n[1] > 0 ? (uint64_t)m->n[1] : UINT64_MAX,
		 nproc = m->n[2] > 0 ? (uint64_t)m->n[2] : UINT64_MAX;
	struct oci_rlimit rlimits[] = {
		{"RLIMIT_NOFILE", hard_limit(RLIMIT_NOFILE), NOFILE},
		{"RLIMIT_FSIZE", hard_limit(RLIMIT_FSIZE), fsize},
		{"RLIMIT_NPROC", hard_limit(RLIMIT_NPROC), nproc},
		{"RLIMIT_CORE", hard_limit(RLIMIT_CORE), 0},
	};
	struct oci_opts o = {
		.rootfs = BOX_ROOT, .init = BOX_INIT, .bpf = &bpf, .rlimits = rlimits, .nrlimits = ARRAY_LEN(rlimits)};
	_cleanup_close_ int fd = open(BOX_BUNDLE "/config.json", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (seccomp_filter(&bpf, e)) return -1;
	text = oci_config(&o);
	if (fd < 0) return err_sys(e, "cannot create '" BOX_BUNDLE "/config.json'");
	return fs_write_all(fd, text, strlen(text), "config.json", e);
}

/* Servers under test may have port 80: it is the box's own loopback. Not there in old kernels, and no harm then. */
static void free_ports(void)
{
	_cleanup_close_ int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && write(fd, "0", 1) != 1) errno = 0;
}

int box_setup(struct proto_msg *m, const char *rules, struct box_place *p_r, struct err *e)
{
	int network = !!(m->n[0] & BOX_SETUP_NETWORK), sent;
	struct box_net net;
	_cleanup_close_ int crun = -1, root = -1, trees = -1, init = proto_msg_take_fd(m, 0);

	if (network && !rules) return err_set(e, ERR_INPUT, "a box with a network needs rules for it");
	if (m->s.len < 2 || init < 0) return err_set(e, ERR_INPUT, "a box needs a folder, a layer and an init");
	if (m->n[0] & BOX_SETUP_TREES) {
		trees = open(m->s.items[m->s.len - 1], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (trees < 0) return err_sys(e, "cannot open '%s'", m->s.items[m->s.len - 1]);
		free(m->s.items[--m->s.len]);
	}
	if (load_crun(&crun, e) || mount_proc(e) || box_net_open(network, &net, e)) return -1;
	if (open_folders(m, &sent, e) || mount_home(e) || box_net_start(&net, rules, e)) return -1;
	if ((sent && attach_folders(m, e)) || mount_overlay(m, e) || copy_to(init, BOX_INIT, 0755, e)) return -1;
	root = open(BOX_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0) return err_sys(e, "cannot open the box's file system");
	free_ports();
	if (mount_own(root, e) || box_net_files(root, network, e) || write_config(m, e)) return -1;
	*p_r = (struct box_place){.root = root, .crun = crun, .data = proto_msg_take_fd(m, 1), .trees = trees};
	if (m->n[3] > 0 && box_disk_watch(p_r->data, m->n[3], &p_r->over_disk, &p_r->disk_watch, e)) return -1;
	root = crun = trees = -1;
	return 0;
}
