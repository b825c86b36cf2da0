/* Contained file operations. All of them start at a descriptor and go on by openat2, with RESOLVE_IN_ROOT where the
 * tree's own links may be followed and RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS where none may. */
#include "runner/sandbox/tree.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "lib/vec.h"

enum {
	STRICT = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	IN_TREE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
};

static int open2(int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
	int fd, tries = 0;

	/* EAGAIN: a rename elsewhere made the kernel unsure about ".."; openat2(2) says to try again */
	do fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && ++tries < 64);
	return fd;
}

static const char *relative(const char *path)
{
	while (*path == '/') path++;
	return *path ? path : ".";
}

static int mkdirs(int root, const char *path, uint64_t resolve, int *fd_r, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(relative(path));
	_cleanup_close_ int parent = open2(root, ".", O_PATH | O_DIRECTORY, 0, resolve);

	if (parent < 0) return err_sys(e, "cannot open the top of the tree for '%s'", path);
	for (char *p = copy, *name = copy;; p++) {
		char was = *p;
		int fd;

		if (was && was != '/') continue;
		*p = '\0';
		fd = open2(root, copy, O_PATH | O_DIRECTORY, 0, resolve);
		if (fd < 0 && errno == ENOENT && !mkdirat(parent, name, 0755))
			fd = open2(root, copy, O_PATH | O_DIRECTORY, 0, resolve);
		if (fd < 0) return err_sys(e, "cannot make folder '%s'", path);
		close_p(&parent);
		parent = fd;
		if (!was) break;
		*p = was;
		while (p[1] == '/') p++;
		name = p + 1;
		if (!*name) break;
	}
	if (fd_r) {
		*fd_r = parent;
		parent = -1;
	}
	return 0;
}

int tree_mkdirs(int root, const char *path, int *fd_r, struct err *e)
{
	return mkdirs(root, path, IN_TREE, fd_r, e);
}

/* The folder a path lies in, made; and its last part, borrowed. */
static int open_parent(int root, const char *path, uint64_t resolve, int *fd_r, const char **name_r, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = slash ? xstrndup(path, (unsigned long)(slash - path)) : xstrdup(".");

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(e, ERR_INPUT, "'%s' does not name a file", path);
	*name_r = name;
	return mkdirs(root, dir, resolve, fd_r, e);
}

static int new_file(int dir, const char *name, const char *path, struct err *e)
{
	int fd;

	if (unlinkat(dir, name, 0) && errno != ENOENT) return err_sys(e, "cannot replace '%s'", path);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, "cannot create '%s'", path) : fd;
}

int tree_put_file(int root, const char *path, int data, mode_t mode, struct err *e)
{
	_cleanup_close_ int dir = -1, fd = -1;
	const char *name;

	if (open_parent(root, relative(path), IN_TREE, &dir, &name, e)) return -1;
	fd = new_file(dir, name, path, e);
	if (fd < 0 || fs_copy_fd(data, fd, path, NULL, e)) return -1;
	return fchmod(fd, mode & 0777) ? err_sys(e, "cannot set mode of '%s'", path) : 0;
}

int tree_has_text(int root, const char *path, const char *text)
{
	_cleanup_close_ int fd = open2(root, relative(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0, IN_TREE);
	_cleanup_buf_ struct buf b = BUF_INIT(4096);
	size_t len = strlen(text);
	struct stat st;
	struct err e;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || (size_t)st.st_size != len) return 0;
	return !fs_read_fd(fd, path, &b, &e) && b.len == len && !memcmp(b.data, text, len);
}

/* A name in an archive without its leading "./"; NULL when it leads elsewhere. */
static const char *member_name(const char *name)
{
	if (!name || *name == '/') return NULL;
	while (!strncmp(name, "./", 2)) {
		name += 2;
		while (*name == '/') name++;
	}
	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && !strncmp(p, "..", 2)) return NULL;
		p += n + (p[n] == '/');
	}
	return name;
}

static int copy_member(struct archive *a, int fd, const char *path, struct err *e)
{
	const void *block;
	size_t len;
	int64_t at;
	int rc;

	while ((rc = archive_read_data_block(a, &block, &len, &at)) == ARCHIVE_OK)
		for (size_t done = 0; done < len;) {
			ssize_t n = pwrite(fd, (const char *)block + done, len - done, at + (int64_t)done);

			if (n < 0) return err_sys(e, "cannot write '%s'", path);
			done += (size_t)n;
		}
	if (rc != ARCHIVE_EOF) return err_set(e, ERR_INPUT, "cannot unpack '%s': %s", path, archive_error_string(a));
	return 0;
}

static int put_regular(struct archive *a, struct archive_entry *entry, int dir, const char *name, const char *path,
		       struct err *e)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = archive_entry_mtime(entry)}};
	_cleanup_close_ int fd = new_file(dir, name, path, e);

	if (fd < 0 || copy_member(a, fd, path, e)) return -1;
	if (archive_entry_size_is_set(entry) && ftruncate(fd, archive_entry_size(entry)))
		return err_sys(e, "cannot set size of '%s'", path); /* sparse at its end */
	if (fchmod(fd, archive_entry_perm(entry) & 0777) || futimens(fd, times))
		return err_sys(e, "cannot set mode of '%s'", path);
	return 0;
}

static int put_hardlink(int top, const char *target, int dir, const char *name, const char *path, struct err *e)
{
	const char *from = member_name(target), *slash = from ? strrchr(from, '/') : NULL;
	_cleanup_free_ char *parent = slash ? xstrndup(from, (unsigned long)(slash - from)) : xstrdup(".");
	_cleanup_close_ int fd = -1;

	if (!from) return err_set(e, ERR_INPUT, "cannot unpack '%s': it links to '%s' outside", path, target);
	fd = open2(top, parent, O_PATH | O_DIRECTORY, 0, STRICT);
	if (fd < 0 || (unlinkat(dir, name, 0) && errno != ENOENT) || linkat(fd, slash ? slash + 1 : from, dir, name, 0))
		return err_sys(e, "cannot link '%s' to '%s'", path, target);
	return 0;
}

static int put_member(struct archive *a, struct archive_entry *entry, int top, struct err *e)
{
	const char *full = archive_entry_pathname(entry), *name = member_name(full), *last;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int dir = -1;
	size_t len;

	if (!name) return err_set(e, ERR_INPUT, "cannot unpack '%s': the name leads outside", full ? full : "?");
	path = xstrdup(name);
	len = strlen(path);
	while (len && path[len - 1] == '/') path[--len] = '\0';
	if (!len || !strcmp(path, ".")) return 0;
	if (archive_entry_filetype(entry) == AE_IFDIR && !archive_entry_hardlink(entry)) {
		if (mkdirs(top, path, STRICT, &dir, e)) return -1;
		if (fchmodat(dir, ".", archive_entry_perm(entry) & 0777, 0))
			return err_sys(e, "cannot set mode of '%s'", path);
		return 0;
	}
	if (open_parent(top, path, STRICT, &dir, &last, e)) return -1;
	if (archive_entry_hardlink(entry)) return put_hardlink(top, archive_entry_hardlink(entry), dir, last, path, e);
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG: return put_regular(a, entry, dir, last, path, e);
	case AE_IFLNK:
		if ((unlinkat(dir, last, 0) && errno != ENOENT) || symlinkat(archive_entry_symlink(entry), dir, last))
			return err_sys(e, "cannot make link '%s'", path);
		return 0;
	default: return err_set(e, ERR_INPUT, "cannot unpack '%s': not a file, folder or link", path);
	}
}

static void archive_free_p(struct archive **a)
{
	archive_read_free(*a);
}

int tree_put_tar(int root, int tar, const char *path, struct err *e)
{
	__attribute__((cleanup(archive_free_p))) struct archive *a = archive_read_new();
	_cleanup_close_ int top = -1;
	struct archive_entry *entry;
	int rc;

	if (!a) die("out of memory");
	if (tree_mkdirs(root, path, &top, e)) return -1;
	if (archive_read_support_format_tar(a) || archive_read_support_format_empty(a) ||
	    archive_read_open_fd(a, tar, 1 << 16))
		return err_set(e, ERR_INPUT, "cannot unpack into '%s': %s", path, archive_error_string(a));
	while ((rc = archive_read_next_header(a, &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN)
		if (put_member(a, entry, top, e)) return err_wrap(e, "into '%s'", path);
	if (rc != ARCHIVE_EOF)
		return err_set(e, ERR_INPUT, "cannot unpack into '%s': %s", path, archive_error_string(a));
	return 0;
}

/* One part of a glob at a time: a folder is only read where a part has something to match. */
struct walk {
	int base;
	struct vec found;
};

static int walk_part(struct walk *w, int dir, const char *prefix, const char *glob, struct err *e);

static int walk_name(struct walk *w, int dir, const char *prefix, const char *name, const char *rest, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s%s", prefix, name);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (*rest) {
		_cleanup_free_ char *deeper = xasprintf("%s/", path);

		fd = open2(dir, name, O_RDONLY | O_DIRECTORY, 0, STRICT);
		return fd < 0 ? 0 : walk_part(w, fd, deeper, rest, e);
	}
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode)) return 0;
	if (w->found.len >= TREE_MAX_FOUND)
		return err_set(e, ERR_INPUT, "more than %d files match", (int)TREE_MAX_FOUND);
	vec_take(&w->found, steal(path));
	return 0;
}

static void closedir_p(DIR **d)
{
	if (*d) closedir(*d);
}

static int walk_part(struct walk *w, int dir, const char *prefix, const char *glob, struct err *e)
{
	size_t len = strcspn(glob, "/");
	_cleanup_free_ char *part = xstrndup(glob, len);
	__attribute__((cleanup(closedir_p))) DIR *list = NULL;
	const char *rest = glob + len;
	int copy;

	while (*rest == '/') rest++;
	if (!strpbrk(part, "*?[\\")) return walk_name(w, dir, prefix, part, rest, e);
	copy = fcntl(dir, F_DUPFD_CLOEXEC, 3);
	list = copy < 0 ? NULL : fdopendir(copy);
	if (!list) return err_sys(e, "cannot read folder '%s'", prefix);
	for (struct dirent *d; (d = readdir(list));) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") || fnmatch(part, d->d_name, FNM_PATHNAME))
			continue;
		if (walk_name(w, dir, prefix, d->d_name, rest, e)) return -1;
	}
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int walk_done(struct walk *w, tree_file_fn *fn, void *arg, struct err *e)
{
	if (w->found.len) qsort(w->found.items, w->found.len, sizeof(char *), by_name);
	for (size_t i = 0; i < w->found.len; i++) {
		_cleanup_close_ int fd = open2(w->base, w->found.items[i], O_RDONLY | O_NONBLOCK | O_NOCTTY, 0, STRICT);
		struct stat st;

		/* It may have become a link or a pipe since it was listed. */
		if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) continue;
		if (fn(arg, w->found.items[i], fd, st.st_mode & 07777, (uint64_t)st.st_size, e)) return -1;
	}
	return 0;
}

int tree_collect(int root, const char *base, const char *glob, tree_file_fn *fn, void *arg, struct err *e)
{
	_cleanup_close_ int top = -1;
	struct walk w = {0};
	int result;

	if (!*glob || *glob == '/' || !member_name(glob) || glob[strlen(glob) - 1] == '/')
		return err_set(e, ERR_INPUT, "the pattern '%s' does not name files below '%s'", glob, base);
	while (!strncmp(glob, "./", 2)) glob = member_name(glob);
	top = open2(root, relative(base), O_RDONLY | O_DIRECTORY, 0,
		    RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
	if (top < 0) return err_sys(e, "cannot open '%s' in the box", base);
	w.base = top;
	result = walk_part(&w, top, "", glob, e);
	if (!result) result = walk_done(&w, fn, arg, e);
	vec_release(&w.found);
	return result;
}
