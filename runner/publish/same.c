/* Two files side by side, one of them packed. The packed one is a stranger's: no more of it is unpacked than its
 * manifest says, and only by filters that libarchive has itself. */
#include "runner/publish/same.h"

#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"

enum { CHUNK = 1 << 16 };

static void archive_p(struct archive **a)
{
	if (*a) archive_read_free(*a);
}

static int add_filter(struct archive *a, const char *packing)
{
	if (!strcmp(packing, "none")) return archive_read_support_filter_none(a);
	if (!strcmp(packing, "bzip2")) return archive_read_support_filter_bzip2(a);
	if (!strcmp(packing, "xz")) return archive_read_support_filter_xz(a);
	if (!strcmp(packing, "zstd")) return archive_read_support_filter_zstd(a);
	return ARCHIVE_FATAL;
}

/* As many as there are, up to CHUNK. -1: *e */
static ssize_t read_full(int fd, unsigned char *to, const char *name, struct err *e)
{
	size_t got = 0;

	while (got < CHUNK) {
		ssize_t n = read(fd, to + got, CHUNK - got);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", name);
		if (n == 0) break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static void count(struct same *s, uint64_t offset, const unsigned char *a, const unsigned char *b, size_t len)
{
	if (!memcmp(a, b, len)) return;
	for (size_t i = 0; i < len; i++) {
		if (a[i] == b[i]) continue;
		if (s->bytes < SAME_PLACES) {
			s->at[s->bytes] = offset + i;
			s->was[s->bytes] = a[i];
			s->is[s->bytes] = b[i];
		}
		s->bytes++;
	}
}

struct sides {
	struct archive *published;
	int rebuilt;
	const char *names[2];
	uint64_t most;
	crypto_hash_sha256_state hash[2];
};

static int compare(struct sides *x, struct same *s, struct err *e)
{
	_cleanup_free_ unsigned char *a = xmalloc(CHUNK), *b = xmalloc(CHUNK);

	for (uint64_t offset = 0;; offset += CHUNK) {
		la_ssize_t n = archive_read_data(x->published, a, CHUNK);
		ssize_t m = read_full(x->rebuilt, b, x->names[1], e);

		if (n < 0)
			return err_set(e, ERR_INPUT, "'%s' cannot be unpacked: %s", x->names[0],
				       archive_error_string(x->published));
		if (m < 0) return -1;
		if (!n && !m) return 0;
		s->size[0] += (uint64_t)n;
		s->size[1] += (uint64_t)m;
		if (s->size[0] > x->most)
			return err_set(e, ERR_INPUT, "'%s' unpacks to more than its manifest says", x->names[0]);
		crypto_hash_sha256_update(&x->hash[0], a, (unsigned long long)n);
		crypto_hash_sha256_update(&x->hash[1], b, (unsigned long long)m);
		count(s, offset, a, b, (size_t)(n < m ? n : m));
	}
}

int same_compare(const char *published, const char *packing, uint64_t most, const char *rebuilt, struct same *s_r,
		 struct err *e)
{
	__attribute__((cleanup(archive_p))) struct archive *a = archive_read_new();
	_cleanup_close_ int fd = open(rebuilt, O_RDONLY | O_CLOEXEC);
	struct sides x = {.published = a, .rebuilt = fd, .names = {published, rebuilt}, .most = most};
	struct archive_entry *entry;
	struct same s = {.bytes = 0};

	if (fd < 0) return err_sys(e, "cannot open '%s'", rebuilt);
	if (!a || add_filter(a, packing) == ARCHIVE_FATAL)
		return err_set(e, ERR_INPUT, "'%s' is packed by '%s', which is not known", published, packing);
	if (archive_read_support_format_raw(a) || archive_read_support_format_empty(a) ||
	    archive_read_open_filename(a, published, CHUNK))
		return err_set(e, ERR_INPUT, "'%s' cannot be unpacked: %s", published, archive_error_string(a));
	if (archive_read_next_header(a, &entry) < ARCHIVE_OK)
		return err_set(e, ERR_INPUT, "'%s' cannot be unpacked: %s", published, archive_error_string(a));
	for (int i = 0; i < 2; i++) crypto_hash_sha256_init(&x.hash[i]);
	if (compare(&x, &s, e)) return -1;
	for (int i = 0; i < 2; i++) {
		unsigned char sum[crypto_hash_sha256_BYTES];

		crypto_hash_sha256_final(&x.hash[i], sum);
		sodium_bin2hex(s.sha256[i], sizeof(s.sha256[i]), sum, sizeof(sum));
	}
	*s_r = s;
	return s.bytes || s.size[0] != s.size[1];
}
