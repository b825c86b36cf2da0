/* User namespaces of boxes and image makers. A short-lived child makes the namespace and waits; its maps are written
 * from outside (directly as root, by newuidmap and newgidmap otherwise); a descriptor keeps the namespace when the
 * child is gone. /etc/subuid is trusted as the system's own file. */
#include "runner/sandbox/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/vec.h"
#include "runner/sandbox/host.h"

enum { COUNT = 65536, HELPER_TIMEOUT_MS = 20000 };

/* One row "name:first:count"; 0 when all of it is well formed. */
static int parse_row(const char *row, size_t len, const char *name, unsigned long id, unsigned long *first_r,
		     unsigned long *count_r)
{
	_cleanup_free_ char *copy = xstrndup(row, len), *number = xasprintf("%lu", id);
	char *first = strchr(copy, ':'), *count = first ? strchr(first + 1, ':') : NULL, *end;

	if (!count) return 1;
	*first++ = '\0';
	*count++ = '\0';
	if (strcmp(copy, number) && (!name || strcmp(copy, name))) return 1;
	if (*first < '0' || *first > '9' || *count < '0' || *count > '9') return 1;
	errno = 0;
	*first_r = strtoul(first, &end, 10);
	if (*end || errno) return 1;
	*count_r = strtoul(count, &end, 10);
	return *end || errno || !*count_r || *first_r > 0xfffffffeUL || *count_r > 0xffffffffUL - *first_r;
}

int userns_find_range(const char *text, const char *name, unsigned long id, unsigned long *first_r,
		      unsigned long *count_r)
{
	unsigned long first, count, best = 0;

	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");

		if (!parse_row(p, len, name, id, &first, &count) && count > best) {
			*first_r = first;
			*count_r = best = count;
		}
		p += len + (p[len] == '\n');
	}
	return best == 0;
}

/* 1 when the user has no row there. */
static int range_of(const char *file, unsigned long *first_r, unsigned long *count_r, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	struct passwd *pw = getpwuid(geteuid());

	if (!fs_exists(file)) return 1;
	if (fs_read_file(file, &text, e)) return -1;
	return userns_find_range(buf_str(&text), pw ? pw->pw_name : NULL, geteuid(), first_r, count_r);
}

/* Ids that are no user's: a process that got out of root's box would be that user. */
static int root_range(unsigned long *first_r, struct err *e)
{
	static const char *const files[] = {"/etc/subuid", "/etc/subgid"};
	_cleanup_buf_ struct buf text = BUF_INIT(2 << 20);

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		if (fs_exists(files[i]) && fs_read_file(files[i], &text, e)) return -1;
		buf_addch(&text, '\n');
	}
	*first_r = host_subid_root(buf_str(&text));
	if (*first_r) return 0;
	return err_set(e, ERR_DENIED,
		       "there are no ids left for root's boxes; give root a range in '/etc/subuid' and "
		       "'/etc/subgid'");
}

static int layout_of(const char *file, unsigned long own, struct userns_map rows_r[2], struct err *e)
{
	unsigned long first = 0, count = COUNT;
	int found = range_of(file, &first, &count, e);

	if (found < 0 || (found && geteuid() == 0 && root_range(&first, e))) return -1;
	if (geteuid() == 0) {
		rows_r[0] = (struct userns_map){0, first, count < COUNT ? count : COUNT};
		return 0;
	}
	if (found)
		return err_set(e, ERR_DENIED, "user %lu has no subordinate ids in '%s'; run: runner doctor",
			       (unsigned long)geteuid(), file);
	rows_r[0] = (struct userns_map){0, own, 1};
	rows_r[1] = (struct userns_map){1, first, count < COUNT ? count : COUNT};
	return 0;
}

/* Read once by a process: a box asks some ten times. */
int userns_layout(struct userns_map uids_r[2], struct userns_map gids_r[2], int *n_r, struct err *e)
{
	static struct userns_map uids[2], gids[2];
	static uid_t asked_by;
	static int known;

	if (!known || asked_by != geteuid()) {
		if (layout_of("/etc/subuid", geteuid(), uids, e) || layout_of("/etc/subgid", getegid(), gids, e))
			return -1;
		asked_by = geteuid();
		known = 1;
	}
	memcpy(uids_r, uids, sizeof(uids));
	memcpy(gids_r, gids, sizeof(gids));
	*n_r = geteuid() == 0 ? 1 : 2;
	return 0;
}

int userns_owner(uid_t *uid_r, gid_t *gid_r, struct err *e)
{
	struct userns_map uids[2], gids[2];
	int n;

	if (userns_layout(uids, gids, &n, e)) return -1;
	*uid_r = (uid_t)uids[0].outside;
	*gid_r = (gid_t)gids[0].outside;
	return 0;
}

int userns_mkdir(const char *path, struct err *e)
{
	uid_t uid;
	gid_t gid;

	if (userns_owner(&uid, &gid, e)) return -1;
	if (mkdir(path, 0755)) return err_sys(e, "cannot make folder '%s'", path);
	if (chmod(path, 0755) || (geteuid() == 0 && chown(path, uid, gid)))
		return err_sys(e, "cannot set owner of '%s'", path);
	return 0;
}

static int write_map(pid_t pid, const char *which, const struct userns_map *m, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/%s", (int)pid, which);
	_cleanup_free_ char *row = xasprintf("%lu %lu %lu", m->inside, m->outside, m->count);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot open '%s'", path);
	return fs_write_all(fd, row, strlen(row), path, e);
}

static int run_helper(const char *helper, pid_t pid, const struct userns_map *rows, int n, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	struct child_opts o = {0};

	vec_add(&argv, helper);
	vec_addf(&argv, "%d", (int)pid);
	for (int i = 0; i < n; i++) {
		vec_addf(&argv, "%lu", rows[i].inside);
		vec_addf(&argv, "%lu", rows[i].outside);
		vec_addf(&argv, "%lu", rows[i].count);
	}
	o.argv = (const char *const *)argv.items;
	if (child_check(&o, NULL, HELPER_TIMEOUT_MS, &out, e))
		return err_wrap(e, "cannot map ids (run: runner doctor)");
	return 0;
}

static int write_maps(pid_t pid, struct err *e)
{
	struct userns_map uids[2], gids[2];
	int n;

	if (userns_layout(uids, gids, &n, e)) return -1;
	if (geteuid() == 0) return write_map(pid, "uid_map", uids, e) || write_map(pid, "gid_map", gids, e) ? -1 : 0;
	return run_helper("newuidmap", pid, uids, n, e) || run_helper("newgidmap", pid, gids, n, e) ? -1 : 0;
}

/* Makes the namespace, tells errno on `up`, and waits until `down` is closed. */
static _Noreturn void hold(int up, int down)
{
	int failed = unshare(CLONE_NEWUSER) ? errno : 0;
	char end;

	/* newuidmap, and we who open its namespace, want /proc/PID to be the user's; not so while core dumps are off */
	prctl(PR_SET_DUMPABLE, 1);

	if (write(up, &failed, sizeof(failed)) != sizeof(failed)) _exit(1);
	while (read(down, &end, 1) < 0 && errno == EINTR) {}
	_exit(0);
}

static int take(pid_t pid, int up, int *fd_r, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/ns/user", (int)pid);
	int failed = ECHILD;
	ssize_t n;

	do n = read(up, &failed, sizeof(failed));
	while (n < 0 && errno == EINTR);
	if (failed)
		return err_set(e, ERR_DENIED, "cannot make a user namespace: %s; run: runner doctor", strerror(failed));
	if (write_maps(pid, e)) return -1;
	*fd_r = open(path, O_RDONLY | O_CLOEXEC);
	return *fd_r < 0 ? err_sys(e, "cannot open '%s'", path) : 0;
}

int userns_open(int *fd_r, struct err *e)
{
	_cleanup_close_ int up_in = -1, up_out = -1, down_in = -1, down_out = -1;
	int up[2], down[2], result;
	pid_t pid;

	if (pipe2(up, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	up_in = up[0];
	up_out = up[1];
	if (pipe2(down, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	down_in = down[0];
	down_out = down[1];
	pid = fork();
	if (pid < 0) return err_sys(e, "cannot fork");
	if (pid == 0) {
		close(down_out); /* else it would wait for itself when we are killed */
		hold(up_out, down_in);
	}
	close_p(&up_out);
	result = take(pid, up_in, fd_r, e);
	close_p(&down_out);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
	return result;
}

int userns_command(const struct child_opts *opts, const struct buf *input, int timeout_ms, struct buf *out_r,
		   struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct child_opts o = *opts;

	if (userns_open(&fd, e)) return -1;
	o.userns_fd = fd;
	return child_check(&o, input, timeout_ms, out_r, e);
}

int userns_remove_tree(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = slash ? xstrndup(path, (unsigned long)(slash - path + 1)) : xstrdup(".");
	const char *argv[] = {"rm", "-rf", "--one-file-system", "--", slash ? slash + 1 : path, NULL};
	struct child_opts o = {.argv = argv, .cwd = parent};
	struct stat st;

	if (lstat(path, &st) && errno == ENOENT) return 0;
	if (geteuid() == 0) return fs_remove_tree(path, e);
	return userns_command(&o, NULL, -1, NULL, e);
}
