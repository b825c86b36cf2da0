/* Packing an image by a program of its own. Which programs are there changes how fast it goes and, between bzip2's two,
 * which bytes come out; all that reads one reads the other. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/publish/compress.h"

static const struct packing {
	const char *name, *suffix;
	const char *const argv[6];
	int threads; /* -T, and never one: the stream of one differs from that of many */
} packings[] = {
	{"bzip2", ".bz2", {"lbzip2", "-9", "-c"}, 0},
	{"xz", ".xz", {"xz", "-6", "--check=crc64", "-c"}, 1},
	{"zstd", ".zst", {"zstd", "-q", "-19", "--check", "-c"}, 1},
	{"none", "", {NULL}, 0},
};

static const struct packing *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(packings); i++)
		if (!strcmp(packings[i].name, name ? name : "bzip2")) return &packings[i];
	return NULL;
}

char *compress_name(const char *packing, const char *name)
{
	const struct packing *p = find(packing);

	return p ? xasprintf("%s%s", name, p->suffix) : NULL;
}

static int copy(int in, int out, const char *from, struct err *e)
{
	return fs_copy_fd(in, out, from, NULL, e);
}

static int run(const struct packing *p, int in, int out, struct err *e)
{
	/* Nothing of our environment: XZ_OPT, LBZIP2 and ZSTD_CLEVEL would change the bytes. */
	_cleanup_free_ char *path = xasprintf("PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	const char *const env[] = {path, "LC_ALL=C", NULL};
	_cleanup_free_ char *threads =
		xasprintf("-T%ld", sysconf(_SC_NPROCESSORS_ONLN) > 1 ? sysconf(_SC_NPROCESSORS_ONLN) : 2);
	const char *argv[ARRAY_LEN(p->argv) + 2] = {NULL};
	struct child_opts o = {.argv = argv, .env = env, .in = in, .out = out, .die_with_parent = 1};

	for (size_t i = 0; p->argv[i]; i++) {
		argv[i] = p->argv[i];
		if (p->threads) argv[i + 1] = threads;
	}
	return child_check(&o, NULL, -1, NULL, e);
}

static int pack(const struct packing *p, const char *from, int in, const char *to, uint64_t *bytes_r, struct err *e)
{
	_cleanup_close_ int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	struct stat st;
	int fd;

	if (out < 0) return err_sys(e, "cannot create '%s'", to);
	if (p->argv[0] ? run(p, in, out, e) : copy(in, out, from, e)) return -1;
	if (fstat(out, &st)) return err_sys(e, "cannot look at '%s'", to);
	*bytes_r = (uint64_t)st.st_size;
	fd = out;
	out = -1;
	return close(fd) ? err_sys(e, "cannot close '%s'", to) : 0;
}

int compress_file(const char *packing, const char *from, const char *to, uint64_t *bytes_r, const char **by_r,
		  struct err *e)
{
	const struct packing *p = find(packing);
	_cleanup_close_ int in = -1;
	int failed;

	if (!p) return err_set(e, ERR_INPUT, "bad packing '%s'", packing);
	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0) return err_sys(e, "cannot open '%s'", from);
	*by_r = p->argv[0] ? p->argv[0] : "no compression";
	failed = pack(p, from, in, to, bytes_r, e);
	if (!failed) return 0;
	unlink(to);
	if (e->kind != ERR_MISSING) return -1;
	if (p == &packings[0]) {
		*by_r = "bzip2";
		return compress_bz2(from, to, bytes_r, e);
	}
	return err_set(e, ERR_MISSING, "'%s' is not installed, which `compress: %s` needs", p->argv[0], p->name);
}
