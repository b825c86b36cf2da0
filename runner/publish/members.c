/* Unpacks a stranger's file for the publisher, which holds keys and so does not do it itself. Any bytes may come in,
 * and whatever comes of it goes out: nobody trusts this process.
 *
 *   file ─→ archive (or a compressed stream somewhere in it) ─→ member ─→ record
 *                                                                 └─→ archive in it ─→ member ─→ record …
 *
 * The reader of an archive within a member pulls that member's bytes through the writer of records, so that each byte
 * is written once, whether an inner reader wants it or not. */
#include "runner/publish/members.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/err.h"
#include "lib/fs.h"

enum {
	CHUNK = 1 << 16,
	MAX_MEMBERS = 200000,
	MAX_STREAMS = 20000, /* tries to find one in the middle of a file */
	CPU_S = 300,
};

struct writer {
	int out;
	uint64_t left; /* bytes of members that may still be written */
	unsigned members;
	int closed, limited;
};

/* --- records --- */

int members_header(const unsigned char head[MEMBERS_HEADER], unsigned open_depth, struct members_record *r)
{
	r->kind = head[0];
	r->depth = head[1];
	r->len = head[4] | (size_t)head[5] << 8 | (size_t)head[6] << 16 | (size_t)head[7] << 24;
	if (head[2] || head[3]) return -1;
	switch (r->kind) {
	case 'B':
		return r->depth >= 1 && r->depth <= MEMBERS_MAX_DEPTH && r->depth <= open_depth + 1 &&
				       r->len <= MEMBERS_MAX_NAME
			       ? 0
			       : -1;
	case 'D': return r->depth >= 1 && r->depth <= open_depth && r->len <= MEMBERS_MAX_PAYLOAD ? 0 : -1;
	case 'L': return r->len ? -1 : 0;
	default: return -1;
	}
}

static void put(struct writer *w, int kind, unsigned depth, const void *data, size_t len)
{
	unsigned char head[MEMBERS_HEADER] = {
		(unsigned char)kind,       (unsigned char)depth,       0, 0, (unsigned char)(len & 255),
		(unsigned char)(len >> 8), (unsigned char)(len >> 16), 0};
	struct err e;

	if (w->closed) return;
	if (fs_write_all(w->out, head, sizeof(head), "records", &e) || fs_write_all(w->out, data, len, "records", &e))
		w->closed = 1;
}

static int is_over(const struct writer *w)
{
	return w->closed || w->limited;
}

static void limit(struct writer *w)
{
	if (!w->limited) put(w, 'L', 0, "", 0);
	w->limited = 1;
}

static void begin(struct writer *w, unsigned depth, const char *name)
{
	if (w->members++ >= MAX_MEMBERS) {
		limit(w);
		return;
	}
	put(w, 'B', depth, name, strnlen(name, MEMBERS_MAX_NAME));
}

static void put_data(struct writer *w, unsigned depth, const void *data, size_t len)
{
	if (len > w->left) {
		limit(w);
		return;
	}
	w->left -= len;
	put(w, 'D', depth, data, len);
}

/* --- archives --- */

/* The bytes of the member that `outer` is at. */
struct member {
	struct writer *w;
	struct archive *outer;
	unsigned depth;
	int ended;
	la_ssize_t ready; /* bytes of chunk that the inner reader has not seen; 0: none */
	char chunk[CHUNK];
};

static la_ssize_t pull(struct member *m)
{
	la_ssize_t n = m->ended || is_over(m->w) ? 0 : archive_read_data(m->outer, m->chunk, CHUNK);

	if (n <= 0) m->ended = 1;
	if (n > 0) put_data(m->w, m->depth, m->chunk, (size_t)n);
	return n < 0 ? 0 : n;
}

static la_ssize_t pull_for_inner(struct archive *a, void *arg, const void **buffer_r)
{
	struct member *m = arg;
	la_ssize_t n = m->ready;

	(void)a;
	m->ready = 0;
	*buffer_r = m->chunk;
	return n ? n : pull(m);
}

static int starts_stream(const unsigned char *p, size_t len)
{
	if (len < 18) return 0;
	return (p[0] == 0x1f && p[1] == 0x8b && p[2] == 8 && p[3] < 0x20) ||
	       !memcmp(p,
		       "\xfd"
		       "7zXZ\0",
		       6) ||
	       !memcmp(p, "\x28\xb5\x2f\xfd", 4) || !memcmp(p, "\x04\x22\x4d\x18", 4) ||
	       (!memcmp(p, "BZh", 3) && p[3] >= '1' && p[3] <= '9' && !memcmp(p + 4, "1AY&SY", 6));
}

/* A compressed stream or an archive, never both at once: an archive's reader stops where the archive says that it ends
 * (a tar of zeros at once), and what comes behind would not be seen. Filters of libarchive that start programs are left
 * out. */
static struct archive *new_reader(const void *start, size_t len)
{
	struct archive *a = archive_read_new();
	int rc;

	if (!a) die("out of memory");
	if (starts_stream(start, len))
		rc = archive_read_support_filter_gzip(a) | archive_read_support_filter_bzip2(a) |
		     archive_read_support_filter_xz(a) | archive_read_support_filter_zstd(a) |
		     archive_read_support_filter_lz4(a) | archive_read_support_format_raw(a);
	else
		rc = archive_read_support_format_tar(a) | archive_read_support_format_zip(a) |
		     archive_read_support_format_cpio(a) | archive_read_support_format_ar(a) |
		     archive_read_support_format_7zip(a) | archive_read_support_format_iso9660(a);
	if (rc < ARCHIVE_WARN) die("libarchive: %s", archive_error_string(a));
	return a;
}

static void walk(struct writer *w, struct archive *a, unsigned depth, const char *called);

static void look_inside(struct writer *w, struct archive *outer, unsigned depth)
{
	_cleanup_free_ struct member *m = xcalloc(1, sizeof(*m));
	struct archive *inner;

	m->w = w;
	m->outer = outer;
	m->depth = depth;
	m->ready = pull(m);
	if (depth < MEMBERS_MAX_DEPTH && m->ready) {
		inner = new_reader(m->chunk, (size_t)m->ready);
		if (archive_read_open(inner, m, NULL, pull_for_inner, NULL) == ARCHIVE_OK)
			walk(w, inner, depth + 1, NULL);
		archive_read_free(inner);
	}
	while (pull(m) > 0) continue;
}

/* called: the name of a stream's content; NULL: as the archive has it */
static void walk(struct writer *w, struct archive *a, unsigned depth, const char *called)
{
	struct archive_entry *entry;

	while (!is_over(w) && archive_read_next_header(a, &entry) >= ARCHIVE_WARN) {
		const char *name = archive_entry_pathname(entry);

		if (called || archive_format(a) == ARCHIVE_FORMAT_RAW) name = called ? called : "(unpacked)";
		begin(w, depth, name ? name : "?");
		look_inside(w, a, depth);
	}
}

/* --- one file --- */

static void look_at(struct writer *w, const unsigned char *p, size_t len, const char *called)
{
	struct archive *a = new_reader(p, len);

	if (archive_read_open_memory(a, p, len) == ARCHIVE_OK) walk(w, a, 1, called);
	archive_read_free(a);
}

/* In the middle of it: assets in a program, files of a disk image. */
static void find_streams(struct writer *w, const unsigned char *map, size_t len)
{
	unsigned tries = 0;

	for (size_t i = 1; i < len && !is_over(w); i++) {
		char name[64];

		if (!starts_stream(map + i, len - i)) continue;
		if (tries++ >= MAX_STREAMS) {
			limit(w);
			return;
		}
		snprintf(name, sizeof(name), "(stream at %zu)", i);
		look_at(w, map + i, len - i, name);
	}
}

int members_write(int fd, int out, uint64_t most_bytes)
{
	struct writer w = {.out = out, .left = most_bytes};
	struct stat st;
	void *map;

	if (fstat(fd, &st)) return -1;
	if (st.st_size <= 0) return 0;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) return -1;
	look_at(&w, map, (size_t)st.st_size, NULL);
	if (!w.members) find_streams(&w, map, (size_t)st.st_size);
	munmap(map, (size_t)st.st_size);
	return w.closed ? -1 : 0;
}

/* --- shut in --- */

/* Nothing here opens a file (newfstatat is glibc's fstat), makes a socket or a process, or reaches another one. */
static const char *const allowed[] = {
	"read",         "readv",        "write",       "writev",     "pread64",       "lseek",
	"_llseek",      "fstat",        "fstat64",     "newfstatat", "fstatat64",     "statx",
	"close",        "mmap",         "mmap2",       "munmap",     "mremap",        "mprotect",
	"brk",          "madvise",      "futex",       "getrandom",  "clock_gettime", "gettimeofday",
	"time",         "sched_yield",  "getpid",      "gettid",     "tgkill",        "rt_sigprocmask",
	"rt_sigaction", "rt_sigreturn", "sigaltstack", "exit",       "exit_group",    "restart_syscall"};

void members_confine(void)
{
	const struct rlimit cpu = {CPU_S, CPU_S}, none = {0, 0};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc = ctx ? 0 : -1;

	for (size_t i = 0; i < ARRAY_LEN(allowed) && !rc; i++) {
		int nr = seccomp_syscall_resolve_name(allowed[i]);

		if (nr == __NR_SCMP_ERROR) continue;
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, nr, 0);
		if (rc == -EDOM) rc = 0;
	}
	if (setrlimit(RLIMIT_CPU, &cpu) || setrlimit(RLIMIT_FSIZE, &none)) rc = -1;
	if (rc || seccomp_load(ctx)) die("cannot shut the unpacker in");
	seccomp_release(ctx);
}
