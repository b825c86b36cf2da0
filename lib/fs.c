/* Files and folders: whole reads, atomic writes, trees removed without following links, locks, clocks. */
#include "lib/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void close_p(int *fd)
{
	if (*fd >= 0) close(*fd);
	*fd = -1;
}

int fs_read_fd(int fd, const char *name, struct buf *b, struct err *e)
{
	for (;;) {
		/* A file just at the ceiling needs one more byte of room to show that it ends there. */
		size_t room = b->max - b->len < 65536 ? b->max - b->len : 65536;
		char probe, *p = room ? buf_reserve(b, room) : &probe;
		ssize_t n;

		n = read(fd, p, room ? room : 1);
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", name);
		if (n == 0) return 0;
		if (!room) return err_set(e, ERR_INPUT, "'%s' is larger than %zu bytes", name, b->max);
		b->len += (size_t)n;
		b->data[b->len] = '\0';
	}
}

int fs_read_file(const char *path, struct buf *b, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot open '%s'", path);
	return fs_read_fd(fd, path, b, e);
}

int fs_write_all(int fd, const void *data, size_t len, const char *name, struct err *e)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot write '%s'", name);
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int sync_parent(const char *path, struct err *e)
{
	_cleanup_free_ char *dir = xstrdup(path);
	char *slash = strrchr(dir, '/');
	_cleanup_close_ int fd = -1;

	if (slash == dir) slash++;
	if (slash) *slash = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) return err_sys(e, "cannot open folder of '%s'", path);
	if (fsync(fd)) return err_sys(e, "cannot sync folder of '%s'", path);
	return 0;
}

static int write_temp(const char *temp, const void *data, size_t len, mode_t mode, struct err *e)
{
	_cleanup_close_ int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int closed;

	if (fd < 0) return err_sys(e, "cannot create '%s'", temp);
	if (fs_write_all(fd, data, len, temp, e)) return -1;
	if (fchmod(fd, mode)) return err_sys(e, "cannot set mode of '%s'", temp);
	if (fsync(fd)) return err_sys(e, "cannot sync '%s'", temp);
	closed = close(fd);
	fd = -1;
	return closed ? err_sys(e, "cannot close '%s'", temp) : 0;
}

int fs_write_file(const char *path, const void *data, size_t len, mode_t mode, struct err *e)
{
	static unsigned serial;
	_cleanup_free_ char *temp = xasprintf("%s.%d.%u.tmp", path, (int)getpid(), serial++);

	unlink(temp);
	if (write_temp(temp, data, len, mode, e)) {
		unlink(temp);
		return -1;
	}
	if (rename(temp, path)) {
		err_sys(e, "cannot rename '%s' to '%s'", temp, path);
		unlink(temp);
		return -1;
	}
	return sync_parent(path, e);
}

int fs_copy_fd(int from, int to, const char *name, uint64_t *bytes_r, struct err *e)
{
	enum { CHUNK = 1 << 17 };
	_cleanup_free_ char *chunk = xmalloc(CHUNK);
	uint64_t total = 0;

	for (;;) {
		ssize_t n = read(from, chunk, CHUNK);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", name);
		if (n == 0) break;
		if (fs_write_all(to, chunk, (size_t)n, name, e)) return -1;
		total += (uint64_t)n;
	}
	if (bytes_r) *bytes_r = total;
	return 0;
}

int fs_mkdirs(const char *path, mode_t mode, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(path);

	if (!mkdir(path, mode) || errno == EEXIST) return 0; /* mostly only the last is new, if that */
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/') continue;
		*p = '\0';
		if (mkdir(copy, mode) && errno != EEXIST) return err_sys(e, "cannot make folder '%s'", copy);
		*p = '/';
	}
	if (mkdir(copy, mode) && errno != EEXIST) return err_sys(e, "cannot make folder '%s'", copy);
	return 0;
}

static int remove_at(int parent, const char *name, dev_t dev, const char *root, struct err *e)
{
	struct stat st;
	DIR *dir;
	int fd, result = 0;

	if (!unlinkat(parent, name, 0) || errno == ENOENT) return 0;
	if (errno != EISDIR && errno != EPERM) return err_sys(e, "cannot remove '%s' in '%s'", name, root);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == EACCES && !fchmodat(parent, name, 0700, 0))
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) return err_sys(e, "cannot open '%s' in '%s'", name, root);
	if (fstat(fd, &st) || (dev && st.st_dev != dev)) {
		close(fd);
		return err_set(e, ERR_BUSY, "cannot remove '%s' in '%s': something is mounted there", name, root);
	}
	if ((st.st_mode & 0700) != 0700 && fchmod(fd, 0700)) errno = 0; /* unlinkat below says what is wrong */
	dir = fdopendir(fd);
	if (!dir) die("fdopendir");
	for (struct dirent *d; !result && (d = readdir(dir));) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")) continue;
		result = remove_at(dirfd(dir), d->d_name, st.st_dev, root, e);
	}
	closedir(dir);
	if (result) return -1;
	if (unlinkat(parent, name, AT_REMOVEDIR) && errno != ENOENT)
		return err_sys(e, "cannot remove folder '%s' in '%s'", name, root);
	return 0;
}

int fs_remove_tree(const char *path, struct err *e)
{
	return remove_at(AT_FDCWD, path, 0, path, e);
}

int fs_lock(const char *path, int wait, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0) return err_sys(e, "cannot open lock '%s'", path);
	while (flock(fd, LOCK_EX | (wait ? 0 : LOCK_NB))) {
		if (errno == EINTR) continue;
		if (errno == EWOULDBLOCK) return err_set(e, ERR_BUSY, "'%s' is held by another process", path);
		return err_sys(e, "cannot lock '%s'", path);
	}
	*fd_r = fd;
	fd = -1;
	return 0;
}

int fs_temp_dir(const char *dir, const char *prefix, char **path_r, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%sXXXXXX", dir, prefix);

	if (!mkdtemp(path)) return err_sys(e, "cannot make a folder in '%s'", dir);
	*path_r = steal(path);
	return 0;
}

int fs_exists(const char *path)
{
	return !access(path, F_OK);
}

static int64_t clock_ms(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t)) die("clock_gettime");
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_unix_ms(void)
{
	return clock_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}
