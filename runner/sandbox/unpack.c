/* The internal command `runner unpack`: a tar archive on stdin becomes a tree in the folder `rootfs` of the working
 * folder. It runs as the box's root in a user namespace and shuts itself into that folder (chroot) before it reads
 * a byte: nothing in an archive can name a file outside. Devices are left out, and what is in /dev: a box gets its
 * own. `runner unpack --remove` empties the working folder instead. */
#include "runner/sandbox/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"

enum {
	EXTRACT = ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
		  ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_SECURE_NODOTDOT |
		  ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS,
};

/* "./usr//bin" and "/usr/bin" are "usr/bin"; the caller's string is not changed. */
static const char *relative(const char *path)
{
	while (*path == '/' || (path[0] == '.' && path[1] == '/')) path++;
	return path;
}

/* libarchive's SECURE flags look at an entry's own path, not at what a hard link names. */
static int climbs(const char *path)
{
	for (const char *p = path; *p; p += strcspn(p, "/"), p += *p == '/')
		if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2])) return 1;
	return 0;
}

static int is_wanted(struct archive_entry *entry, const char *path)
{
	if (!strncmp(path, "dev/", 4) && path[4]) return 0;
	switch (archive_entry_filetype(entry)) {
	case AE_IFBLK:
	case AE_IFCHR:
	case AE_IFSOCK: return 0;
	}
	return 1;
}

/* Only what a user namespace may set: the rest (trusted.*, other security.*) would fail, and means nothing here. */
static void drop_foreign_xattrs(struct archive_entry *entry)
{
	struct archive_entry *all;
	const char *name;
	const void *value;
	size_t size;

	if (archive_entry_xattr_reset(entry) <= 0) return;
	all = archive_entry_clone(entry);
	if (!all) die("archive_entry_clone");
	archive_entry_xattr_clear(entry);
	archive_entry_xattr_reset(all);
	while (archive_entry_xattr_next(all, &name, &value, &size) == ARCHIVE_OK)
		if (!strncmp(name, "user.", 5) || !strcmp(name, "security.capability"))
			archive_entry_xattr_add_entry(entry, name, value, size);
	archive_entry_free(all);
}

static int copy_data(struct archive *in, struct archive *out, struct err *e)
{
	const void *block;
	size_t size;
	la_int64_t offset;
	int r;

	while ((r = archive_read_data_block(in, &block, &size, &offset)) == ARCHIVE_OK)
		if (archive_write_data_block(out, block, size, offset) < ARCHIVE_OK)
			return err_set(e, ERR_SYS, "%s", archive_error_string(out));
	return r == ARCHIVE_EOF ? 0 : err_set(e, ERR_INPUT, "damaged archive: %s", archive_error_string(in));
}

static int put_entry(struct archive *in, struct archive *out, struct archive_entry *entry, struct err *e)
{
	_cleanup_free_ char *path = xstrdup(relative(archive_entry_pathname(entry)));
	const char *link = archive_entry_hardlink(entry);

	if (!*path || !strcmp(path, ".")) {
		archive_entry_set_pathname(entry, ".");
	} else if (!is_wanted(entry, path)) {
		return 0;
	} else
		archive_entry_set_pathname(entry, path);
	if (link) {
		_cleanup_free_ char *to = xstrdup(relative(link));

		if (climbs(to)) return err_set(e, ERR_INPUT, "'%s': a hard link to '%s'", path, to);
		archive_entry_set_hardlink(entry, to);
	}
	drop_foreign_xattrs(entry);
	if (archive_write_header(out, entry) != ARCHIVE_OK)
		return err_set(e, ERR_INPUT, "'%s': %s", path, archive_error_string(out));
	if (!link && archive_entry_size(entry) > 0 && copy_data(in, out, e)) return err_wrap(e, "'%s'", path);
	if (archive_write_finish_entry(out) != ARCHIVE_OK)
		return err_set(e, ERR_INPUT, "'%s': %s", path, archive_error_string(out));
	return 0;
}

static int unpack_all(struct archive *in, struct archive *out, struct err *e)
{
	struct archive_entry *entry;
	size_t entries = 0;
	int r;

	while ((r = archive_read_next_header(in, &entry)) == ARCHIVE_OK) {
		if (!archive_entry_pathname(entry)) return err_set(e, ERR_INPUT, "an entry has no name");
		if (put_entry(in, out, entry, e)) return -1;
		entries++;
	}
	if (r != ARCHIVE_EOF)
		return err_set(e, ERR_INPUT, "not a tar archive, or damaged: %s", archive_error_string(in));
	if (!entries) return err_set(e, ERR_INPUT, "the archive is empty");
	/* Times and modes of folders are set here. */
	return archive_write_close(out) == ARCHIVE_OK ? 0 : err_set(e, ERR_SYS, "%s", archive_error_string(out));
}

int unpack_tar(int fd, struct err *e)
{
	struct archive *in = archive_read_new(), *out = archive_write_disk_new();
	int result = 0;

	if (!in || !out) die("archive_read_new");
	archive_read_support_format_tar(in);
	archive_read_support_filter_gzip(in);
	archive_read_support_filter_bzip2(in);
	archive_read_support_filter_xz(in);
	archive_read_support_filter_zstd(in);
	archive_write_disk_set_options(out, EXTRACT);
	if (archive_read_open_fd(in, fd, 1 << 16) != ARCHIVE_OK)
		result = err_set(e, ERR_INPUT, "not a tar archive: %s", archive_error_string(in));
	else
		result = unpack_all(in, out, e);
	archive_read_free(in);
	archive_write_free(out);
	return result;
}

static int shut_in(const char *folder, struct err *e)
{
	umask(0);
	if (chdir(folder) || chroot(".") || chdir("/")) return err_sys(e, "cannot enter '%s'", folder);
	return 0;
}

static int empty_folder(struct err *e)
{
	DIR *dir = opendir(".");
	int result = 0;

	if (!dir) return err_sys(e, "cannot list the folder");
	for (struct dirent *d; !result && (d = readdir(dir));)
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, "..")) result = fs_remove_tree(d->d_name, e);
	closedir(dir);
	return result;
}

int unpack_main(int argc, char **argv, struct err *e)
{
	if (argc == 2 && !strcmp(argv[1], "--remove")) return shut_in(".", e) ? -1 : empty_folder(e);
	if (argc != 1) return err_set(e, ERR_INPUT, "unexpected argument '%s'", argv[1]);
	return shut_in("rootfs", e) ? -1 : unpack_tar(0, e);
}
