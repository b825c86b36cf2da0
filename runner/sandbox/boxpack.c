/* Cached folders → archive: what a script left, in one sorted pass. The limits are looked at by a walk before a byte is
 * written; while it is written they hold once more. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/boxwalk.h"

enum { CHUNK = 1 << 17 };

struct pack {
	struct archive *a;
	struct archive_entry_linkresolver *links;
	crypto_generichash_state content;
	char *chunk;
	int fd;
	int64_t packed, most_packed;
	struct mask *secrets;
	struct err failure; /* of writing; kind ERR_NONE: none */
};

static void pack_release(struct pack *p)
{
	if (p->a) archive_write_free(p->a);
	if (p->links) archive_entry_linkresolver_free(p->links);
	free(p->chunk);
}

static la_ssize_t put_bytes(struct archive *a, void *arg, const void *data, size_t len)
{
	struct pack *p = arg;

	p->packed += (int64_t)len;
	if (p->packed > p->most_packed)
		err_set(&p->failure, ERR_INPUT, "more than %lld bytes when packed", (long long)p->most_packed);
	else if (!fs_write_all(p->fd, data, len, "the archive", &p->failure))
		return (la_ssize_t)len;
	archive_set_error(a, EIO, "%s", p->failure.text);
	return -1;
}

static int pack_failed(const struct pack *p, const char *path, struct err *e)
{
	if (!p->failure.kind) return err_set(e, ERR_SYS, "cannot pack '%s': %s", path, archive_error_string(p->a));
	*e = p->failure;
	return -1;
}

static void digest(struct pack *p, const void *data, size_t len)
{
	crypto_generichash_update(&p->content, data, len);
}

/* What makes it another file for who gets it back. Times do not. */
static void digest_entry(struct pack *p, const struct box_walk_item *it, struct archive_entry *entry)
{
	const char *texts[] = {it->path, it->link, archive_entry_hardlink(entry)};
	int64_t facts[] = {it->st->st_mode & (S_IFMT | 0777), it->st->st_uid, it->st->st_gid,
			   S_ISREG(it->st->st_mode) ? it->st->st_size : 0};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		digest(p, texts[i] ? texts[i] : "", strlen(texts[i] ? texts[i] : "") + 1);
	digest(p, facts, sizeof(facts));
}

/* A cache outlives its build and is read by jobs that were not given its secrets. */
static int check_secrets(struct pack *p, const struct box_walk_item *it, struct mask_cursor *c, const void *data,
			 size_t len, struct err *e)
{
	uint64_t at;

	if (!p->secrets || !mask_find(p->secrets, c, data, len, &at)) return 0;
	return err_set(e, ERR_DENIED, "'%.300s' holds a secret of the build at byte %llu", it->path,
		       (unsigned long long)at);
}

static int pack_data(struct pack *p, const struct box_walk_item *it, struct err *e)
{
	_cleanup_close_ int fd = openat(it->dir, it->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct mask_cursor cursor = {0};
	int64_t left = it->st->st_size;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) return err_sys(e, "cannot open '%s'", it->path);
	if (!S_ISREG(st.st_mode) || st.st_size != left) return err_set(e, ERR_INPUT, "'%s' changes", it->path);
	while (left > 0) {
		ssize_t n = read(fd, p->chunk, left < CHUNK ? (size_t)left : CHUNK);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", it->path);
		if (n == 0) return err_set(e, ERR_INPUT, "'%s' changes", it->path);
		if (check_secrets(p, it, &cursor, p->chunk, (size_t)n, e)) return -1;
		digest(p, p->chunk, (size_t)n);
		if (archive_write_data(p->a, p->chunk, (size_t)n) != n) return pack_failed(p, it->path, e);
		left -= n;
	}
	return 0;
}

static void archive_entry_free_p(struct archive_entry **entry)
{
	if (*entry) archive_entry_free(*entry);
}

static int pack_item(void *arg, const struct box_walk_item *it, struct err *e)
{
	struct pack *p = arg;
	__attribute__((cleanup(archive_entry_free_p))) struct archive_entry *entry = archive_entry_new(), *spare = NULL;

	if (!entry) die("out of memory");
	archive_entry_copy_stat(entry, it->st);
	archive_entry_unset_atime(entry);
	archive_entry_unset_ctime(entry);
	archive_entry_set_perm(entry, it->st->st_mode & 0777);
	archive_entry_copy_pathname(entry, it->path);
	if (it->link) archive_entry_copy_symlink(entry, it->link);
	if (S_ISREG(it->st->st_mode) && it->st->st_nlink > 1) archive_entry_linkify(p->links, &entry, &spare);
	if (!entry) return err_set(e, ERR_SYS, "cannot pack the hard link '%s'", it->path);
	digest_entry(p, it, entry);
	if (archive_write_header(p->a, entry) < ARCHIVE_WARN) return pack_failed(p, it->path, e);
	if (!S_ISREG(it->st->st_mode) || archive_entry_hardlink(entry)) return 0;
	return pack_data(p, it, e);
}

static int open_archive(struct pack *p, struct err *e)
{
	p->a = archive_write_new();
	p->links = archive_entry_linkresolver_new();
	if (!p->a || !p->links) die("out of memory");
	archive_entry_linkresolver_set_strategy(p->links, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
	/* Names are bytes, whatever the locale. Level 1: a cache is to be quick rather than small. */
	if (archive_write_set_format_pax(p->a) ||
	    archive_write_set_format_option(p->a, "pax", "hdrcharset", "BINARY") ||
	    archive_write_add_filter_zstd(p->a) ||
	    archive_write_set_filter_option(p->a, "zstd", "compression-level", "1") ||
	    archive_write_set_bytes_in_last_block(p->a, 1) || archive_write_open(p->a, p, NULL, put_bytes, NULL))
		return err_set(e, ERR_SYS, "cannot make an archive: %s", archive_error_string(p->a));
	return 0;
}

int box_cache_pack(int root, const char *const *folders, size_t n, const char *mark, const struct box_cache_limits *l,
		   int archive, struct box_cache_report *r, struct err *e)
{
	__attribute__((cleanup(pack_release))) struct pack p = {
		.fd = archive, .most_packed = l->packed, .secrets = l->secrets};
	unsigned char hash[crypto_generichash_BYTES];

	*r = (struct box_cache_report){0};
	if (box_walk_mark(root, folders, n, l, r, e)) return -1;
	r->unchanged = *mark && !strcmp(mark, r->mark);
	if (r->unchanged || !r->folders) return 0;
	p.chunk = xmalloc(CHUNK);
	crypto_generichash_init(&p.content, NULL, 0, sizeof(hash));
	if (open_archive(&p, e) || box_walk(root, folders, n, l, pack_item, &p, r, e)) return -1;
	if (archive_write_close(p.a) != ARCHIVE_OK) return pack_failed(&p, "all", e);
	crypto_generichash_final(&p.content, hash, sizeof(hash));
	sodium_bin2hex(r->hash, sizeof(r->hash), hash, sizeof(hash));
	return 0;
}
