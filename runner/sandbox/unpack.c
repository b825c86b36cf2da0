/* The internal command `runner unpack`: a tar archive on stdin becomes a tree in the folder `rootfs` of the working
 * folder. It runs as the box's root in a user namespace and shuts itself into that folder (chroot) before it reads
 * a byte: nothing in an archive can name a file outside. Devices are left out, and what is in /dev: a box gets its
 * own. `runner unpack --remove` empties the working folder instead.
 *
 * A layer above others is unpacked through an overlay of them, `rootfs` being its upper folder: what it takes away is
 * removed, and the kernel notes that as it wants to find it in a box; a folder that it only passes through keeps its
 * owner and mode; a link below it leads where it leads in the box. */
#include "runner/sandbox/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/feed.h"
#include "runner/sandbox/whiteout.h"

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

/* Only what a user namespace may set: the rest (trusted.*, other security.*) would fail, and means nothing here. What
 * overlayfs keeps for itself is never an archive's to say. */
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
		if ((!strncmp(name, "user.", 5) && strncmp(name, "user.overlay.", 13) != 0) ||
		    !strcmp(name, "security.capability"))
			archive_entry_xattr_add_entry(entry, name, value, size);
	archive_entry_free(all);
}

/* A folder that is there already, of this layer or one below, becomes what its new entry says: libarchive adds to the
 * attributes that it has. Of the overlay itself none is shown here. */
static int forget_xattrs(struct archive_entry *entry, const char *path, struct err *e)
{
	_cleanup_free_ char *names = NULL;
	ssize_t n;

	if (archive_entry_filetype(entry) != AE_IFDIR || archive_entry_hardlink(entry)) return 0;
	n = llistxattr(path, NULL, 0);
	if (n <= 0) return 0;
	names = xmalloc((size_t)n);
	n = llistxattr(path, names, (size_t)n);
	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1)
		if (!strncmp(name, "user.", 5) && lremovexattr(path, name))
			return err_sys(e, "'%s': cannot remove the attribute '%s'", path, name);
	return 0;
}

struct unpacking {
	struct feed *feed;
	struct err feed_err; /* what the feed had to say, which libarchive would tell in its own words */
	struct archive *in, *out;
	uint64_t max, bytes, entries;
	struct whiteout whiteout;
};

enum { MAX_ENTRIES = 4000000 };

static int copy_data(struct unpacking *u, struct err *e)
{
	const void *block;
	size_t size;
	la_int64_t offset;
	int r;

	while ((r = archive_read_data_block(u->in, &block, &size, &offset)) == ARCHIVE_OK)
		if (archive_write_data_block(u->out, block, size, offset) < ARCHIVE_OK)
			return err_set(e, ERR_SYS, "%s", archive_error_string(u->out));
	return r == ARCHIVE_EOF ? 0 : err_set(e, ERR_INPUT, "damaged archive: %s", archive_error_string(u->in));
}

/* Sparse files too count with their size: what a box copies of them has no holes. */
static int count(struct unpacking *u, struct archive_entry *entry, struct err *e)
{
	la_int64_t size = archive_entry_size(entry);

	if (++u->entries > MAX_ENTRIES) return err_set(e, ERR_INPUT, "more than %d files", (int)MAX_ENTRIES);
	if (size > 0 && !archive_entry_hardlink(entry)) u->bytes += (uint64_t)size;
	if (u->max && u->bytes > u->max)
		return err_set(e, ERR_INPUT, "it unpacks to more than %llu MB, which is the limit",
			       (unsigned long long)(u->max >> 20));
	return 0;
}

/* The entry's name and what it links to, as they are below our root. */
static int settle_names(struct unpacking *u, struct archive_entry *entry, struct err *e)
{
	const char *link = archive_entry_hardlink(entry);
	_cleanup_free_ char *path = xstrdup(relative(archive_entry_pathname(entry))), *to = NULL;

	if (climbs(path)) return err_set(e, ERR_INPUT, "'%s': the name leads outside", path);
	if (link) {
		to = xstrdup(relative(link));
		if (climbs(to)) return err_set(e, ERR_INPUT, "'%s': a hard link to '%s'", path, to);
		if (whiteout_resolve(&u->whiteout, &to, e)) return -1;
		archive_entry_set_hardlink(entry, to);
	}
	if (whiteout_resolve(&u->whiteout, &path, e)) return -1;
	archive_entry_set_pathname(entry, *path ? path : ".");
	return 0;
}

static int put_entry(struct unpacking *u, struct archive_entry *entry, struct err *e)
{
	const char *path;
	int r;

	if (count(u, entry, e) || settle_names(u, entry, e)) return -1;
	path = archive_entry_pathname(entry);
	if (strcmp(path, ".") != 0 && !is_wanted(entry, path)) return 0;
	r = whiteout_apply(&u->whiteout, path, archive_entry_filetype(entry) == AE_IFDIR, e);
	if (r) return r < 0 ? -1 : 0;
	drop_foreign_xattrs(entry);
	if (forget_xattrs(entry, path, e)) return -1;
	if (archive_write_header(u->out, entry) != ARCHIVE_OK)
		return err_set(e, ERR_INPUT, "'%s': %s", path, archive_error_string(u->out));
	if (!archive_entry_hardlink(entry) && archive_entry_size(entry) > 0 && copy_data(u, e))
		return err_wrap(e, "'%s'", path);
	if (archive_write_finish_entry(u->out) != ARCHIVE_OK)
		return err_set(e, ERR_INPUT, "'%s': %s", path, archive_error_string(u->out));
	return 0;
}

static int unpack_all(struct unpacking *u, struct err *e)
{
	struct archive_entry *entry;
	int r;

	while ((r = archive_read_next_header(u->in, &entry)) == ARCHIVE_OK) {
		if (!archive_entry_pathname(entry)) return err_set(e, ERR_INPUT, "an entry has no name");
		if (put_entry(u, entry, e)) return -1;
	}
	if (r != ARCHIVE_EOF)
		return err_set(e, ERR_INPUT, "not a tar archive, or damaged: %s", archive_error_string(u->in));
	if (!u->entries && !u->whiteout.wanted) return err_set(e, ERR_INPUT, "the archive is empty");
	/* Times and modes of folders are set here. */
	return archive_write_close(u->out) == ARCHIVE_OK ? 0 : err_set(e, ERR_SYS, "%s", archive_error_string(u->out));
}

static la_ssize_t read_plain(struct archive *a, void *arg, const void **data_r)
{
	struct unpacking *u = arg;
	size_t len = 0;

	(void)a;
	if (feed_read(u->feed, data_r, &len, &u->feed_err) < 0) return -1;
	return (la_ssize_t)len;
}

/* The digests are known when all is unpacked: who has asked for it keeps it only then. */
static int check_digests(struct unpacking *u, const struct unpack_opts *o, struct err *e)
{
	char packed[FEED_DIGEST_BYTES], plain[FEED_DIGEST_BYTES];

	if (feed_finish(u->feed, packed, plain, e)) return -1;
	if (o->packed && strcmp(o->packed, packed) != 0)
		return err_set(e, ERR_INPUT, "its SHA-256 is %s, not %s", packed, o->packed);
	if (o->plain && strcmp(o->plain, plain) != 0)
		return err_set(e, ERR_INPUT, "the SHA-256 of the unpacked archive is %s, not %s", plain, o->plain);
	return 0;
}

int unpack_tar(const struct unpack_opts *o, struct err *e)
{
	struct unpacking u = {.max = o->max_bytes, .whiteout = {.wanted = o->whiteouts, .upper = o->upper_fd}};
	int result = 0;

	/* A tar archive has headers and padding too: the stream may be larger than what is in it. */
	if (feed_open(o->fd, o->max_bytes ? o->max_bytes + o->max_bytes / 4 : 0, &u.feed, e)) return -1;
	u.in = archive_read_new();
	u.out = archive_write_disk_new();
	if (!u.in || !u.out) die("archive_read_new");
	archive_read_support_format_tar(u.in);
	archive_read_support_format_empty(u.in);
	archive_write_disk_set_options(u.out, EXTRACT);
	if (archive_read_open(u.in, &u, NULL, read_plain, NULL) != ARCHIVE_OK)
		result = err_set(e, ERR_INPUT, "not a tar archive: %s", archive_error_string(u.in));
	else
		result = unpack_all(&u, e);
	if (result && u.feed_err.text[0]) *e = u.feed_err;
	if (!result) result = check_digests(&u, o, e);
	if (!result && o->bytes_r) *o->bytes_r = u.bytes;
	archive_read_free(u.in);
	archive_write_free(u.out);
	feed_close(&u.feed);
	whiteout_release(&u.whiteout);
	return result;
}

/* The layers below are named by the links l/0, l/1, … in the working folder, top first: mount(2) takes one page. */
static int mount_merged(size_t lowers, struct err *e)
{
	_cleanup_buf_ struct buf options = BUF_INIT(4000);

	buf_adds(&options, "userxattr,lowerdir=");
	for (size_t i = 0; i < lowers; i++) buf_addf(&options, "%sl/%zu", i ? ":" : "", i);
	buf_adds(&options, ",upperdir=rootfs,workdir=work");
	if (buf_check(&options, "list of layers", e)) return -1;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) return err_sys(e, "cannot make the mounts private");
	if (mount("overlay", "merged", "overlay", 0, options.data))
		return err_sys(e, "cannot mount the layers below (run: runner doctor)");
	return 0;
}

static int shut_in(const char *folder, struct err *e)
{
	umask(022); /* of folders that no entry tells of: all else has the mode that its entry says */
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

static int read_number(const char *name, const char *text, uint64_t *n_r, struct err *e)
{
	char *end;

	errno = 0;
	*n_r = strtoull(text, &end, 10);
	return *end || errno || *text < '0' || *text > '9' ? err_set(e, ERR_INPUT, "bad %s '%s'", name, text) : 0;
}

static int unpack_layer(int argc, char **argv, struct err *e)
{
	uint64_t lowers = 0, bytes = 0;
	struct unpack_opts o = {.upper_fd = -1, .bytes_r = &bytes};
	_cleanup_close_ int upper = -1;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--layer")) {
			o.whiteouts = 1;
			continue;
		}
		i++;
		if (!strcmp(argv[i - 1], "--packed"))
			o.packed = value;
		else if (!strcmp(argv[i - 1], "--plain"))
			o.plain = value;
		else if (!strcmp(argv[i - 1], "--max")) {
			if (read_number("limit", value, &o.max_bytes, e)) return -1;
		} else if (!strcmp(argv[i - 1], "--lowers")) {
			if (read_number("count", value, &lowers, e)) return -1;
		} else
			return err_set(e, ERR_INPUT, "unexpected argument '%s'", argv[i - 1]);
	}
	if (lowers) {
		upper = open("rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (upper < 0) return err_sys(e, "cannot open 'rootfs'");
		o.upper_fd = upper;
		if (mount_merged(lowers, e)) return -1;
	}
	if (shut_in(lowers ? "merged" : "rootfs", e) || unpack_tar(&o, e)) return -1;
	printf("%llu\n", (unsigned long long)bytes);
	return 0;
}

int unpack_main(int argc, char **argv, struct err *e)
{
	if (argc == 2 && !strcmp(argv[1], "--remove")) return shut_in(".", e) ? -1 : empty_folder(e);
	return unpack_layer(argc, argv, e);
}
