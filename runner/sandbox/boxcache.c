/* Archive → cached folders. The archive was checked against its hash, so it is one that box_cache_pack made; even so no
 * name in it leads out of the folder it belongs to, and the limits hold again. */
#include "runner/sandbox/boxcache.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/boxwalk.h"
#include "runner/sandbox/tree.h"

struct unpack {
	int root;
	const char *const *folders;
	size_t n;
	const char *source;
	const struct box_cache_limits *limits;
	struct box_cache_report *r;
	struct archive *a;
	/* the folder an entry belongs to, opened once for all that follow */
	size_t folder;
	int top;
	char *parent; /* likewise the one it lies in */
	int dir;
	int64_t seen, bytes;
	int keeps; /* what is there stays */
};

static void unpack_release(struct unpack *u)
{
	if (u->a) archive_read_free(u->a);
	close_p(&u->top);
	close_p(&u->dir);
	free_p(&u->parent);
}

static int is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return !strncmp(path, folder, n) && (!path[n] || path[n] == '/');
}

static int bad_name(const char *name, struct err *e)
{
	return err_set(e, ERR_INPUT, "an entry with the bad name '%.200s'", name ? name : "");
}

/* "12/a/b" → the folder with the number 12, and "a/b"; "" for itself. */
static int parse(const struct unpack *u, const char *name, size_t *folder_r, const char **rest_r, struct err *e)
{
	char *end = NULL;
	unsigned long i = name && *name >= '0' && *name <= '9' ? strtoul(name, &end, 10) : u->n;

	if (i >= u->n || (*end && *end != '/')) return bad_name(name, e);
	*folder_r = i;
	*rest_r = end + (*end == '/');
	for (const char *p = *rest_r; *p;) {
		size_t len = strcspn(p, "/");

		if (!len || (len <= 2 && !strncmp(p, "..", len))) return bad_name(name, e);
		p += len + (p[len] == '/');
	}
	return 0;
}

/* The same, with the folder opened. */
static int enter(struct unpack *u, const char *name, const char **rest_r, struct err *e)
{
	size_t i;

	if (parse(u, name, &i, rest_r, e)) return -1;
	if (u->top >= 0 && u->folder == i) return 0;
	close_p(&u->top);
	free_p(&u->parent);
	u->folder = i;
	u->keeps = is_below(u->folders[i], u->source);
	return tree_mkdirs(u->root, u->folders[i], &u->top, e);
}

static int open_parent(struct unpack *u, const char *rest, const char **name_r, struct err *e)
{
	const char *slash = strrchr(rest, '/');
	_cleanup_free_ char *parent = slash ? xstrndup(rest, (size_t)(slash - rest)) : xstrdup(".");

	*name_r = slash ? slash + 1 : rest;
	if (u->parent && !strcmp(u->parent, parent)) return 0;
	close_p(&u->dir);
	free_p(&u->parent);
	if (tree_mkdirs(u->top, parent, &u->dir, e)) return -1;
	u->parent = steal(parent);
	return 0;
}

/* An owner that this box has no number for is left as it is. */
static int set_owner(int dir, const char *name, int flags, struct archive_entry *entry)
{
	if (!fchownat(dir, name, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry), flags)) return 0;
	return errno == EINVAL || errno == EPERM ? 0 : -1;
}

static void times_of(struct archive_entry *entry, struct timespec times_r[2])
{
	times_r[0] = (struct timespec){.tv_nsec = UTIME_NOW};
	times_r[1] =
		(struct timespec){.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)};
}

static int put_regular(struct unpack *u, struct archive_entry *entry, const char *name, struct err *e)
{
	_cleanup_close_ int fd = openat(u->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	struct timespec times[2];
	struct stat st;

	if (fd < 0) return err_sys(e, "cannot create '%s'", name);
	if (archive_read_data_into_fd(u->a, fd) != ARCHIVE_OK)
		return err_set(e, ERR_INPUT, "cannot unpack '%s': %s", name, archive_error_string(u->a));
	times_of(entry, times);
	if (set_owner(fd, "", AT_EMPTY_PATH, entry) || fchmod(fd, archive_entry_perm(entry) & 0777) ||
	    futimens(fd, times) || fstat(fd, &st))
		return err_sys(e, "cannot set mode of '%s'", name);
	return st.st_size == archive_entry_size(entry) ? 0 : err_set(e, ERR_INPUT, "'%s' is cut off", name);
}

static int put_symlink(struct unpack *u, struct archive_entry *entry, const char *name, struct err *e)
{
	const char *target = archive_entry_symlink(entry);
	struct timespec times[2];

	if (!target || symlinkat(target, u->dir, name)) return err_sys(e, "cannot make the link '%s'", name);
	times_of(entry, times);
	if (set_owner(u->dir, name, AT_SYMLINK_NOFOLLOW, entry) || utimensat(u->dir, name, times, AT_SYMLINK_NOFOLLOW))
		return err_sys(e, "cannot set owner of the link '%s'", name);
	return 0;
}

/* To a file of the same archive, which is in an earlier folder or this one. */
static int put_hardlink(struct unpack *u, const char *target, const char *name, struct err *e)
{
	const char *rest, *last;
	_cleanup_close_ int top = -1, dir = -1;
	_cleanup_free_ char *parent = NULL;
	size_t i;

	if (parse(u, target, &i, &rest, e)) return -1;
	last = strrchr(rest, '/');
	parent = last ? xstrndup(rest, (size_t)(last - rest)) : xstrdup(".");
	if (tree_mkdirs(u->root, u->folders[i], &top, e) || tree_mkdirs(top, parent, &dir, e)) return -1;
	return linkat(dir, last ? last + 1 : rest, u->dir, name, 0)
		       ? err_sys(e, "cannot link '%s' to '%s'", name, target)
		       : 0;
}

static int put_folder(struct unpack *u, struct archive_entry *entry, const char *rest, struct err *e)
{
	_cleanup_free_ char *path = xstrdup(*rest ? rest : ".");
	_cleanup_close_ int fd = -1;
	struct timespec times[2];

	for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = '\0';
	if (tree_mkdirs(u->top, path, &fd, e)) return -1;
	times_of(entry, times);
	if (set_owner(fd, "", AT_EMPTY_PATH, entry) || fchmodat(fd, ".", archive_entry_perm(entry) & 0777, 0) ||
	    utimensat(fd, ".", times, 0))
		return err_sys(e, "cannot set mode of '%s'", rest);
	return 0;
}

/* Whether the entry is to be made: what is in its place is removed or, below the source, is what the commit has. */
static int make_room(struct unpack *u, const char *name, int *wanted_r, struct err *e)
{
	struct stat st;

	*wanted_r = 1;
	if (fstatat(u->dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : err_sys(e, "cannot look at '%s'", name);
	if (u->keeps) {
		*wanted_r = 0;
		u->r->left_out++;
		return 0;
	}
	return unlinkat(u->dir, name, 0) ? err_sys(e, "cannot replace '%s'", name) : 0;
}

static int put_file(struct unpack *u, struct archive_entry *entry, const char *rest, struct err *e)
{
	const char *name, *hard = archive_entry_hardlink(entry);
	int wanted;

	if (!*rest) return bad_name(archive_entry_pathname(entry), e);
	if (open_parent(u, rest, &name, e) || make_room(u, name, &wanted, e)) return -1;
	if (!wanted) return 0;
	if (hard) return put_hardlink(u, hard, name, e);
	switch (archive_entry_filetype(entry)) {
	case AE_IFREG: return put_regular(u, entry, name, e);
	case AE_IFLNK: return put_symlink(u, entry, name, e);
	default: return bad_name(rest, e);
	}
}

static int put_entry(struct unpack *u, struct archive_entry *entry, struct err *e)
{
	const char *rest = "";
	int failed = enter(u, archive_entry_pathname(entry), &rest, e);

	if (!failed && archive_entry_filetype(entry) == AE_IFDIR)
		failed = put_folder(u, entry, rest, e);
	else if (!failed)
		failed = put_file(u, entry, rest, e);
	if (!failed) return 0;
	/* The commit has a file or a link where the cache had a folder. */
	if (!u->keeps || (e->sys_errno != ENOTDIR && e->sys_errno != ELOOP && e->sys_errno != EEXIST)) return -1;
	u->r->left_out++;
	return 0;
}

static int unpack_all(struct unpack *u, struct err *e)
{
	struct archive_entry *entry;
	int rc;

	while ((rc = archive_read_next_header(u->a, &entry)) == ARCHIVE_OK || rc == ARCHIVE_WARN) {
		u->bytes += archive_entry_size(entry);
		if (++u->seen > u->limits->files || u->bytes > u->limits->bytes)
			return err_set(e, ERR_INPUT, "the archive has more files or bytes than a cache may");
		if (put_entry(u, entry, e)) return -1;
	}
	return rc == ARCHIVE_EOF ? 0 : err_set(e, ERR_INPUT, "broken archive: %s", archive_error_string(u->a));
}

int box_cache_unpack(int root, const char *const *folders, size_t n, const char *source,
		     const struct box_cache_limits *l, int archive, struct box_cache_report *r, struct err *e)
{
	__attribute__((cleanup(unpack_release))) struct unpack u = {.root = root,
								    .folders = folders,
								    .n = n,
								    .source = source,
								    .limits = l,
								    .r = r,
								    .a = archive_read_new(),
								    .top = -1,
								    .dir = -1};
	int64_t left_out;

	*r = (struct box_cache_report){0};
	if (!u.a) die("out of memory");
	if (archive_read_support_format_tar(u.a) || archive_read_support_format_empty(u.a) ||
	    archive_read_support_filter_zstd(u.a) || archive_read_open_fd(u.a, archive, 1 << 17))
		return err_set(e, ERR_INPUT, "broken archive: %s", archive_error_string(u.a));
	if (unpack_all(&u, e)) return -1;
	left_out = r->left_out;
	if (box_walk_mark(root, folders, n, l, r, e)) return -1;
	r->left_out = left_out;
	return 0;
}
