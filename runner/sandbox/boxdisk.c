/* How much a box writes, measured from inside of it, where its root may look at every file: an ordinary user has no
 * quotas to set. A process of its own walks the upper layer, at most a twentieth of its time; between two walks it asks
 * the file system how much room went, which costs nothing, and walks at once where that could have gone over the limit.
 * What it finds over the limit it ends itself: all processes of the box but the first. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/box.h"

enum {
	LOOK_MS = 100,
	WALK_MS = 1000,
	IDLE_FACTOR = 20,
	DEEPEST = 400,               /* a descriptor each */
	LOOK_FILES = 4096,           /* on a walk */
	LEAST_FREE_BYTES = 256 << 20 /* below this, what cannot be measured is taken to be this box's */
};

struct disk {
	int data; /* the box's folder on the host, with what overlays write below it */
	int64_t limit_bytes, limit_inodes;
	int64_t bytes, inodes; /* of the last walk */
	int too_deep, stop;
	int64_t free_at_start, free_at_walk;
};

static int64_t free_bytes(const struct disk *d)
{
	struct statvfs v;

	return fstatvfs(d->data, &v) ? 0 : (int64_t)v.f_bavail * (int64_t)v.f_frsize;
}

/* A walk through millions of files takes seconds, in which the disk could be filled: it ends when its end is known, or
 * when the limit went from the disk and little is left. */
static void look_up(struct disk *d)
{
	int64_t now;

	if (d->bytes > d->limit_bytes || (d->limit_inodes && d->inodes > d->limit_inodes)) d->stop = 1;
	if (d->stop || d->inodes % LOOK_FILES) return;
	now = free_bytes(d);
	if (d->free_at_start - now <= d->limit_bytes || now >= LEAST_FREE_BYTES) return;
	d->free_at_walk = now;
	d->too_deep = d->stop = 1;
}

/* A file with several names is counted once in all. */
static void count(struct disk *d, const struct stat *st)
{
	d->bytes += (int64_t)st->st_blocks * 512 / (S_ISDIR(st->st_mode) || !st->st_nlink ? 1 : (int64_t)st->st_nlink);
	d->inodes++;
	look_up(d);
}

static void walk(struct disk *d, int fd, int depth)
{
	DIR *list = fdopendir(fd);
	struct stat st;

	if (!list) {
		close(fd);
		return;
	}
	for (struct dirent *e; !d->stop && (e = readdir(list));) {
		int sub;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
		if (fstatat(dirfd(list), e->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue; /* gone meanwhile */
		count(d, &st);
		if (!S_ISDIR(st.st_mode)) continue;
		sub = openat(dirfd(list), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0 && depth < DEEPEST)
			walk(d, sub, depth + 1);
		else
			d->too_deep = 1;
		if (sub >= 0 && depth >= DEEPEST) close(sub);
	}
	closedir(list);
}

/* Files without a name that a process holds open; two who hold one count it twice. */
static void count_unlinked(struct disk *d, const char *pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%s/fd", pid);
	DIR *list = opendir(path);
	struct statfs fs;
	struct stat st;

	if (!list) return;
	for (struct dirent *e; (e = readdir(list));) {
		_cleanup_close_ int fd = -1;

		if (!isdigit((unsigned char)*e->d_name) || fstatat(dirfd(list), e->d_name, &st, 0)) continue;
		if (!S_ISREG(st.st_mode) || st.st_nlink) continue;
		fd = openat(dirfd(list), e->d_name, O_PATH | O_CLOEXEC);
		/* memory is limited elsewhere */
		if (fd >= 0 && !fstatfs(fd, &fs) && fs.f_type != TMPFS_MAGIC) count(d, &st);
	}
	closedir(list);
}

static void measure(struct disk *d)
{
	int all = openat(d->data, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *processes = opendir("/proc");

	d->bytes = d->inodes = d->too_deep = d->stop = 0;
	if (all >= 0) walk(d, all, 0);
	for (struct dirent *e; processes && (e = readdir(processes));)
		if (isdigit((unsigned char)*e->d_name)) count_unlinked(d, e->d_name);
	if (processes) closedir(processes);
}

static int is_over(const struct disk *d)
{
	int64_t now = d->free_at_walk;

	if (d->bytes > d->limit_bytes || (d->limit_inodes && d->inodes > d->limit_inodes)) return 1;
	/* Ways to hide from the walk are left: very deep folders, mapped files without a name. */
	return d->free_at_start - now > d->limit_bytes && (d->too_deep || now < LEAST_FREE_BYTES);
}

static _Noreturn void watch(struct disk *d, volatile int *over)
{
	for (;;) {
		int64_t began = clock_mono_ms(), next;

		d->free_at_walk = free_bytes(d);
		measure(d);
		if (is_over(d)) {
			*over = 1;
			kill(-1, SIGKILL); /* all but pid 1 and us */
			_exit(1);
		}
		next = clock_mono_ms() + (clock_mono_ms() - began) * IDLE_FACTOR;
		if (next < began + WALK_MS) next = began + WALK_MS;
		while (clock_mono_ms() < next) {
			poll(NULL, 0, LOOK_MS);
			if (d->free_at_walk - free_bytes(d) > (d->limit_bytes - d->bytes) / 2) break;
		}
	}
}

int box_disk_watch(int data, int64_t limit_bytes, volatile int **over_r, pid_t *pid_r, struct err *e)
{
	struct disk d = {.limit_bytes = limit_bytes};
	struct statvfs v;
	volatile int *over;
	pid_t pid;

	over = mmap(NULL, sizeof(*over), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (over == MAP_FAILED) return err_sys(e, "cannot share memory with the box's disk watch");
	/* What it was opened as may be a path only. */
	d.data = openat(data, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d.data < 0 || fstatvfs(d.data, &v)) return err_sys(e, "cannot look at the box's files");
	d.limit_inodes = (int64_t)v.f_favail / 2;
	d.free_at_start = free_bytes(&d);
	pid = fork();
	if (pid < 0) return err_sys(e, "cannot fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		watch(&d, over);
	}
	close(d.data);
	*over_r = over;
	*pid_r = pid;
	return 0;
}
