/* The busybox image: Debian's static busybox, a link for each of its applets, and the few files a shell wants. The
 * binary is this host's where the arches agree, else the archive's, unpacked without running any of it. */
#include <archive.h>
#include <archive_entry.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/host.h"
#include "runner/sandbox/layer.h"
#include "runner/sandbox/oci.h"

enum { MAX_BINARY = 16 << 20 };

static const struct {
	const char *path;
	unsigned mode;
} folders[] = {
	{"bin", 0755},  {"sbin", 0755}, {"usr", 0755},  {"usr/bin", 0755}, {"usr/sbin", 0755},
	{"etc", 0755},  {"dev", 0755},  {"proc", 0755}, {"sys", 0755},     {"run", 0755},
	{"root", 0700}, {"home", 0755}, {"tmp", 01777}, {"var", 0755},     {"var/tmp", 01777},
};

static const struct {
	const char *path;
	const char *text;
} files[] = {
	{"etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"},
	{"etc/group", "root:x:0:\nnogroup:x:65534:\n"},
	{"etc/hosts", OCI_HOSTS},
	{"etc/resolv.conf", ""},
};

/* Static: it names no interpreter (ld.so), which the image would not have. */
static int is_static(const struct buf *b)
{
	const Elf64_Ehdr *h = (const void *)b->data;

	if (b->len < sizeof(*h) || memcmp(h->e_ident, ELFMAG, SELFMAG)) return 0;
	if (h->e_ident[EI_CLASS] != ELFCLASS64) return 1; /* another arch's: it came from the package itself */
	if (h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff > b->len) return 0;
	if ((b->len - h->e_phoff) / sizeof(Elf64_Phdr) < h->e_phnum) return 0;
	for (unsigned i = 0; i < h->e_phnum; i++) {
		Elf64_Phdr ph;

		memcpy(&ph, b->data + h->e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_INTERP) return 0;
	}
	return 1;
}

static int fetch_binary(struct layer *l, const struct layer_want *w, struct buf *binary, struct err *e)
{
	_cleanup_vec_ struct vec package = VEC_INIT;
	struct layer_want want = {.arch = w->arch, .packages = &package};
	_cleanup_free_ char *path = xasprintf("%s/extract/bin/busybox", l->temp);

	vec_add(&package, "busybox-static");
	if (debian_bootstrap(l, &want, "extract", "extract", e)) return -1;
	return fs_read_file(path, binary, e);
}

/* The binary at <temp>/busybox, for whoever is box root. */
static int find_binary(struct layer *l, const struct layer_want *w, struct buf *binary, struct err *e)
{
	static const char host[] = "/bin/busybox";
	_cleanup_free_ char *path = xasprintf("%s/busybox", l->temp);

	if (strcmp(w->arch, host_arch())) {
		if (fetch_binary(l, w, binary, e)) return -1;
	} else if (fs_read_file(host, binary, e))
		return err_wrap(e, "package 'busybox-static' is not installed");
	if (!is_static(binary)) return err_set(e, ERR_MISSING, "'%s' is not static: install 'busybox-static'", host);
	return fs_write_file(path, buf_str(binary), binary->len, 0755, e);
}

/* Asks the very binary for its applets' paths, inside: it is of the archive's making, not ours. */
static int list_applets(struct layer *l, struct vec *paths, struct err *e)
{
	static const char *const argv[] = {"./busybox", "--list-full", NULL}, *const env[] = {NULL};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	struct child_status st;
	int p[2], failed;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	failed = layer_start(l, argv, env, 0, 0, p[1], &pid, e);
	close(p[1]);
	if (!failed) {
		struct err read_error = {0};

		failed = fs_read_fd(p[0], "busybox --list-full", &text, &read_error);
		if (child_wait(pid, 10000, &st, e))
			failed = -1;
		else if (!child_ok(st))
			failed = err_set(e, ERR_REMOTE, "'busybox --list-full' %s: %.200s", child_status_str(st),
					 buf_str(&text));
		else if (failed)
			*e = read_error;
	}
	close(p[0]);
	if (failed) return -1;
	host_words(buf_str(&text), paths);
	return paths->len > 50 ? 0 : err_set(e, ERR_REMOTE, "'busybox --list-full' names only %zu applets", paths->len);
}

struct tar {
	struct archive *a;
	struct err *e;
	int failed;
};

static void put(struct tar *t, const char *path, mode_t type, unsigned mode, const void *data, size_t len)
{
	struct archive_entry *entry = archive_entry_new();

	if (!entry) die("archive_entry_new");
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, mode);
	archive_entry_set_mtime(entry, 0, 0);
	if (type == AE_IFLNK)
		archive_entry_set_symlink(entry, data);
	else
		archive_entry_set_size(entry, (la_int64_t)len);
	if (!t->failed && archive_write_header(t->a, entry) != ARCHIVE_OK) t->failed = 1;
	if (!t->failed && type == AE_IFREG && len && archive_write_data(t->a, data, len) != (la_ssize_t)len)
		t->failed = 1;
	archive_entry_free(entry);
}

/* The whole image as a tar file in memory, so that it takes the same way in as any other. */
static int write_tar(int fd, const struct buf *binary, const struct vec *applets, struct err *e)
{
	struct tar t = {.a = archive_write_new()};

	if (!t.a) die("archive_write_new");
	archive_write_set_format_pax_restricted(t.a);
	if (archive_write_open_fd(t.a, fd) != ARCHIVE_OK) t.failed = 1;
	for (size_t i = 0; i < ARRAY_LEN(folders); i++) put(&t, folders[i].path, AE_IFDIR, folders[i].mode, NULL, 0);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		put(&t, files[i].path, AE_IFREG, 0644, files[i].text, strlen(files[i].text));
	put(&t, "bin/busybox", AE_IFREG, 0755, binary->data, binary->len);
	for (size_t i = 0; i < applets->len; i++)
		if (strcmp(applets->items[i], "bin/busybox"))
			put(&t, applets->items[i], AE_IFLNK, 0777, "/bin/busybox", 0);
	if (archive_write_close(t.a) != ARCHIVE_OK) t.failed = 1;
	if (t.failed) err_set(e, ERR_SYS, "cannot write the busybox image: %s", archive_error_string(t.a));
	archive_write_free(t.a);
	return t.failed ? -1 : 0;
}

int layer_make_busybox(struct layer *l, const struct layer_want *w, struct err *e)
{
	_cleanup_buf_ struct buf binary = BUF_INIT(MAX_BINARY);
	_cleanup_vec_ struct vec applets = VEC_INIT;
	_cleanup_close_ int fd = memfd_create("busybox.tar", MFD_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot make a file in memory");
	if (find_binary(l, w, &binary, e) || list_applets(l, &applets, e)) return -1;
	if (write_tar(fd, &binary, &applets, e)) return -1;
	if (lseek(fd, 0, SEEK_SET)) return err_sys(e, "cannot read a file in memory");
	return layer_unpack(l, &(struct layer_source){.fd = fd, .name = "busybox"}, NULL, e);
}
