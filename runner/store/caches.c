/* Caches on the disk.
 *
 *	<dir>/<tier>/.new-XXXXXX  ── written, hashed, synced ──→  <dir>/<tier>/<key>
 *
 * The temporary is locked by who writes it. The archive is a stranger's bytes and is only ever hashed here. */
#include "runner/store/caches.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"

enum { VERSION = 1, CHUNK = 1 << 17, TIDY_AFTER_S = 60 };

static const char new_prefix[] = ".new-";

static char *path_of(const char *dir, const char *tier, const char *key)
{
	return xasprintf("%s/%s/%s", dir, tier, key);
}

/* --- the head --- */

static void copy_text(char *to, size_t size, const json_t *json, const char *key)
{
	snprintf(to, size, "%s", json_string_or(json, key, ""));
}

static int parse_head(const char *bytes, struct cache_head *head, struct err *e)
{
	_cleanup_json_ json_t *json = NULL;

	if (json_parse("head", bytes, strnlen(bytes, CACHES_HEAD_BYTES), &json, e)) return -1;
	if (json_int_or(json, "version", 0) != VERSION) return err_set(e, ERR_INPUT, "its version is another");
	*head = (struct cache_head){.files = json_int_or(json, "files", 0),
				    .bytes = json_int_or(json, "bytes", 0),
				    .packed = json_int_or(json, "packed", -1),
				    .saved_ms = json_int_or(json, "saved_ms", 0)};
	copy_text(head->hash, sizeof(head->hash), json, "hash");
	copy_text(head->archive, sizeof(head->archive), json, "archive");
	copy_text(head->job, sizeof(head->job), json, "job");
	copy_text(head->label, sizeof(head->label), json, "label");
	return 0;
}

static int read_head(int fd, struct cache_head *head, struct err *e)
{
	char bytes[CACHES_HEAD_BYTES + 1] = "";
	ssize_t n = pread(fd, bytes, CACHES_HEAD_BYTES, 0);

	if (n < 0) return err_sys(e, "cannot read it");
	if (n != CACHES_HEAD_BYTES) return err_set(e, ERR_INPUT, "it is cut off");
	return parse_head(bytes, head, e);
}

static int write_head(int fd, const struct cache_head *h, struct err *e)
{
	char bytes[CACHES_HEAD_BYTES] = "";
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *json =
		json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "version", VERSION, "hash", h->hash,
			  "archive", h->archive, "files", (json_int_t)h->files, "bytes", (json_int_t)h->bytes, "packed",
			  (json_int_t)h->packed, "saved_ms", (json_int_t)h->saved_ms, "job", json_any_text(h->job),
			  "label", json_any_text(h->label));

	if (!json) die("cannot make a cache's head");
	text = json_text(json);
	if (strlen(text) >= sizeof(bytes)) return err_set(e, ERR_INPUT, "its head is too large");
	memcpy(bytes, text, strlen(text));
	if (pwrite(fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) return err_sys(e, "cannot write its head");
	return 0;
}

/* BLAKE2b of what is behind the head. */
static int hash_archive(int fd, char hex_r[65], int64_t *bytes_r, struct err *e)
{
	_cleanup_free_ unsigned char *chunk = xmalloc(CHUNK);
	unsigned char hash[crypto_generichash_BYTES];
	crypto_generichash_state state;
	off_t at = CACHES_HEAD_BYTES;
	ssize_t n;

	crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	while ((n = pread(fd, chunk, CHUNK, at)) != 0) {
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read it");
		crypto_generichash_update(&state, chunk, (size_t)n);
		at += n;
	}
	crypto_generichash_final(&state, hash, sizeof(hash));
	sodium_bin2hex(hex_r, 65, hash, sizeof(hash));
	*bytes_r = at - CACHES_HEAD_BYTES;
	return 0;
}

/* --- reading --- */

static int check(int fd, struct cache_head *head, struct err *e)
{
	int64_t bytes;
	char hash[65];

	if (read_head(fd, head, e) || hash_archive(fd, hash, &bytes, e)) return -1;
	if (bytes != head->packed || strcmp(hash, head->archive) != 0)
		return err_set(e, ERR_INPUT, "its bytes are not those that were saved");
	return lseek(fd, CACHES_HEAD_BYTES, SEEK_SET) < 0 ? err_sys(e, "cannot read it") : 0;
}

int caches_open(const char *dir, const char *tier, const char *key, struct cache_head *head_r, int *fd_r, struct err *e)
{
	_cleanup_free_ char *path = path_of(dir, tier, key);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0) return errno == ENOENT ? 1 : err_sys(e, "cannot open the cache '%s'", path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) return err_set(e, ERR_SYS, "the cache '%s' is not a file", path);
	if (check(fd, head_r, e)) {
		if (e->kind == ERR_INPUT) unlink(path);
		return err_wrap(e, "the cache '%.12s' is damaged", key);
	}
	*fd_r = fd;
	fd = -1;
	return 0;
}

void caches_touch(const char *dir, const char *tier, const char *key)
{
	_cleanup_free_ char *path = path_of(dir, tier, key);

	if (utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW)) errno = 0; /* only the order of eviction */
}

/* --- writing --- */

int caches_begin(const char *dir, const char *tier, struct cache_new *n, struct err *e)
{
	_cleanup_free_ char *folder = xasprintf("%s/%s", dir, tier);
	_cleanup_free_ char *path = xasprintf("%s/%sXXXXXX", folder, new_prefix);

	if (fs_mkdirs(folder, 0700, e)) return -1;
	n->fd = mkostemp(path, O_CLOEXEC);
	if (n->fd < 0) return err_sys(e, "cannot make a file in '%s'", folder);
	n->path = steal(path);
	if (flock(n->fd, LOCK_EX | LOCK_NB) || lseek(n->fd, CACHES_HEAD_BYTES, SEEK_SET) < 0) {
		err_sys(e, "cannot lock '%s'", n->path);
		caches_drop(n);
		return -1;
	}
	return 0;
}

void caches_drop(struct cache_new *n)
{
	if (n->path) unlink(n->path);
	free_p(&n->path);
	close_p(&n->fd);
}

static int sync_folder(const char *dir, const char *tier, struct err *e)
{
	_cleanup_free_ char *folder = xasprintf("%s/%s", dir, tier);
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) ? err_sys(e, "cannot sync '%s'", folder) : 0;
}

int caches_commit(const char *dir, const char *tier, const char *key, struct cache_new *n, struct cache_head *head,
		  struct err *e)
{
	_cleanup_free_ char *path = path_of(dir, tier, key);

	if (hash_archive(n->fd, head->archive, &head->packed, e) || write_head(n->fd, head, e)) return -1;
	if (fsync(n->fd)) return err_sys(e, "cannot sync '%s'", n->path);
	if (rename(n->path, path)) return err_sys(e, "cannot rename '%s'", n->path);
	free_p(&n->path);
	close_p(&n->fd);
	return sync_folder(dir, tier, e);
}

/* --- all of them --- */

static int is_key(const char *name)
{
	return strlen(name) == CACHES_KEY_BYTES - 1 && strspn(name, "0123456789abcdef") == CACHES_KEY_BYTES - 1;
}

static int64_t ms_of(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

struct list {
	struct cache_item *items;
	size_t n;
};

static void add_item(struct list *l, const char *dir, const char *tier, const char *key)
{
	_cleanup_free_ char *path = path_of(dir, tier, key);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct cache_item *it;
	struct err ignored;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) return; /* gone meanwhile */
	l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
	it = &l->items[l->n++];
	*it = (struct cache_item){.tier = xstrdup(tier),
				  .key = xstrdup(key),
				  .path = steal(path),
				  .disk_bytes = (int64_t)st.st_blocks * 512,
				  .used_ms = ms_of(&st)};
	if (read_head(fd, &it->head, &ignored)) it->head = (struct cache_head){0};
}

typedef void name_fn(void *arg, const char *dir, const char *tier, const char *name);

static int each(const char *dir, name_fn *fn, void *arg, struct err *e)
{
	DIR *tiers = opendir(dir);

	if (!tiers) return errno == ENOENT ? 0 : err_sys(e, "cannot list '%s'", dir);
	for (struct dirent *t; (t = readdir(tiers));) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, t->d_name);
		DIR *names = t->d_name[0] == '.' ? NULL : opendir(path);

		if (!names) continue;
		for (struct dirent *d; (d = readdir(names));) fn(arg, dir, t->d_name, d->d_name);
		closedir(names);
	}
	closedir(tiers);
	return 0;
}

static void list_one(void *arg, const char *dir, const char *tier, const char *name)
{
	if (is_key(name)) add_item(arg, dir, tier, name);
}

static int by_tier_and_key(const void *a, const void *b)
{
	const struct cache_item *x = a, *y = b;
	int order = strcmp(x->tier, y->tier);

	return order ? order : strcmp(x->key, y->key);
}

int caches_list(const char *dir, struct cache_item **items_r, size_t *n_r, struct err *e)
{
	struct list l = {0};

	if (each(dir, list_one, &l, e)) return -1;
	if (l.n) qsort(l.items, l.n, sizeof(*l.items), by_tier_and_key);
	*items_r = l.items;
	*n_r = l.n;
	return 0;
}

void cache_items_free(struct cache_item **items, size_t n)
{
	for (size_t i = 0; i < n && *items; i++) {
		free((*items)[i].tier);
		free((*items)[i].key);
		free((*items)[i].path);
	}
	free_p(items);
}

int cache_item_remove(const struct cache_item *item, struct err *e)
{
	return unlink(item->path) && errno != ENOENT ? err_sys(e, "cannot remove '%s'", item->path) : 0;
}

static int by_use(const void *a, const void *b)
{
	const struct cache_item *x = a, *y = b;

	return x->used_ms < y->used_ms ? -1 : x->used_ms > y->used_ms;
}

int caches_fit(const char *dir, int64_t most_bytes, int *removed_r, struct err *e)
{
	struct cache_item *items = NULL;
	int64_t sum[2] = {0, 0};
	int result = 0, removed = 0;
	size_t n = 0;

	if (caches_list(dir, &items, &n, e)) return -1;
	if (n) qsort(items, n, sizeof(*items), by_use);
	for (size_t i = 0; i < n; i++) sum[!strcmp(items[i].tier, CACHES_TRUSTED)] += items[i].disk_bytes;
	for (size_t i = 0; i < n && !result; i++) {
		int64_t *all = &sum[!strcmp(items[i].tier, CACHES_TRUSTED)];

		if (*all <= most_bytes) continue;
		result = cache_item_remove(&items[i], e);
		*all -= items[i].disk_bytes;
		removed += !result;
	}
	cache_items_free(&items, n);
	if (removed_r) *removed_r = removed;
	return result;
}

/* A file just made may not be locked yet. */
static void tidy_one(void *arg, const char *dir, const char *tier, const char *name)
{
	_cleanup_free_ char *path = path_of(dir, tier, name);
	_cleanup_close_ int fd = -1;
	struct stat st;

	(void)arg;
	if (strncmp(name, new_prefix, sizeof(new_prefix) - 1) != 0) return;
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) || clock_unix_ms() - ms_of(&st) < TIDY_AFTER_S * 1000LL) return;
	if (!flock(fd, LOCK_EX | LOCK_NB)) unlink(path);
}

void caches_tidy(const char *dir)
{
	struct err ignored;

	if (each(dir, tidy_one, NULL, &ignored)) return;
}
