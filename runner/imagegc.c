/* Evicting of images: layers, what broken pulls left, documents. */
#include "runner/imagegc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "runner/sandbox/layer_store.h"

#define HEX "0123456789abcdef"

enum {
	KEY_CHARS = 64,
	MAX_NOTE = 1 << 20,
	MAKING_MS = 3600 * 1000, /* a maker without a lock would be a killed one; this spares us most of the asking */
	PULL_MS = 24 * 3600 * 1000, /* a pull that broke off is taken up again by the next build, or never */
};
#define DOCUMENT_MS (30 * 24 * INT64_C(3600000))

struct item {
	char key[KEY_CHARS + 1];
	char *what;
	int pull; /* or a layer */
	int64_t used_us, bytes;
};

struct run {
	const struct imagegc *g;
	struct item *items;
	size_t n;
	int64_t total, freed;
	int removed, failed;
};

static void run_release(struct run *r)
{
	for (size_t i = 0; i < r->n; i++) free(r->items[i].what);
	free(r->items);
}

static void complain(struct run *r, const struct err *e)
{
	fprintf(stderr, "runner gc: %s\n", e->text);
	r->failed = 1;
}

static int64_t modified_us(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000000 + st->st_mtim.tv_nsec / 1000;
}

static int is_idle(const struct stat *st, int64_t ms)
{
	return clock_unix_ms() - modified_us(st) / 1000 > ms;
}

/* --- what there is --- */

static struct item *add(struct run *r, const char *key)
{
	struct item *it;

	r->items = xrealloc(r->items, (r->n + 1) * sizeof(*r->items));
	it = &r->items[r->n++];
	*it = (struct item){0};
	snprintf(it->key, sizeof(it->key), "%s", key);
	return it;
}

/* Only its maker could look into all of its folders, and has written down what they take. */
static void add_layer(struct run *r, const char *key)
{
	_cleanup_free_ char *path = xasprintf("%s/layers/%s/layer.json", r->g->cache, key);
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_NOTE);
	_cleanup_json_ json_t *note = NULL;
	const char *name = NULL;
	json_int_t bytes = 0;
	struct item *it;
	struct stat st;
	struct err ignored;

	if (stat(path, &st) || fs_read_file(path, &text, &ignored)) return;
	if (json_parse("note", buf_str(&text), text.len, &note, &ignored) ||
	    json_unpack(note, "{s?s, s?I}", "name", &name, "disk_bytes", &bytes))
		name = NULL;
	it = add(r, key);
	it->what = xasprintf("layer %.12s%s%s%s", key, name ? " (" : "", name ? name : "", name ? ")" : "");
	it->used_us = modified_us(&st);
	it->bytes = bytes;
	r->total += bytes;
}

/* A killed maker's. */
static void clear_temp(struct run *r, int dir, const char *name)
{
	char key[KEY_CHARS + 1];
	struct stat st;
	struct err e;

	snprintf(key, sizeof(key), "%.64s", name);
	if (r->g->dry || fstatat(dir, key, &st, 0) == 0) return;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !is_idle(&st, MAKING_MS)) return;
	if (layer_remove(r->g->cache, key, &e) < 0) complain(r, &e);
}

static int64_t blocks_below(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int64_t sum = 0;

	if (!dir) {
		close_p(&fd);
		return 0;
	}
	for (struct dirent *d; (d = readdir(dir));) {
		struct stat st;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")) continue;
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
		sum += S_ISDIR(st.st_mode) ? blocks_below(dirfd(dir), d->d_name) : (int64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return sum;
}

static void add_pull(struct run *r, int dir, const char *key)
{
	struct stat st;
	struct item *it;

	if (fstatat(dir, key, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode)) return;
	it = add(r, key);
	it->what = xasprintf("pull %.12s that broke off", key);
	it->pull = 1;
	it->used_us = modified_us(&st);
	it->bytes = blocks_below(dir, key);
	r->total += it->bytes;
}

static void clear_document(struct run *r, int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) || !is_idle(&st, DOCUMENT_MS)) return;
	if (!r->g->dry) unlinkat(dir, name, 0);
}

static int is_key(const char *name)
{
	return strlen(name) == KEY_CHARS && strspn(name, HEX) == KEY_CHARS;
}

static int list(struct run *r, const char *folder, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", r->g->cache, folder);
	int layers = !strcmp(folder, "layers"), pulls = !strcmp(folder, "pulls");
	DIR *dir = opendir(path);

	if (!dir) return errno == ENOENT ? 0 : err_sys(e, "cannot list '%s'", path);
	for (struct dirent *d; (d = readdir(dir));) {
		if (strspn(d->d_name, HEX) != KEY_CHARS) continue;
		if (layers && is_key(d->d_name))
			add_layer(r, d->d_name);
		else if (layers && !strcmp(d->d_name + KEY_CHARS, ".tmp"))
			clear_temp(r, dirfd(dir), d->d_name);
		else if (pulls && is_key(d->d_name))
			add_pull(r, dirfd(dir), d->d_name);
		else if (!layers && !pulls)
			clear_document(r, dirfd(dir), d->d_name);
	}
	closedir(dir);
	return 0;
}

/* --- what goes --- */

/* 1: somebody pulls into it. */
static int remove_pull(const struct run *r, const char *key, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/pulls/%s", r->g->cache, key);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) return errno == ENOENT ? 0 : err_sys(e, "cannot open '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB)) return 1;
	return fs_remove_tree(path, e);
}

static void evict(struct run *r, struct item *it)
{
	struct err e;
	int busy = 0;

	if (!r->g->dry) busy = it->pull ? remove_pull(r, it->key, &e) : layer_remove(r->g->cache, it->key, &e);
	if (busy < 0) complain(r, &e);
	if (busy) return;
	printf("gc: %s %s, %lld kB\n", r->g->dry ? "would remove" : "removed", it->what, (long long)(it->bytes / 1000));
	r->total -= it->bytes;
	r->freed += it->bytes;
	r->removed++;
	it->bytes = -1;
}

static int by_use(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->used_us < y->used_us ? -1 : x->used_us > y->used_us;
}

static int64_t budget_of(const struct imagegc *g)
{
	const int64_t least = INT64_C(4) << 30;
	struct statvfs v;
	int64_t fifth;

	if (g->budget_bytes >= 0) return g->budget_bytes;
	if (statvfs(g->cache, &v)) return 0;
	fifth = (int64_t)(v.f_blocks / 5 * v.f_frsize);
	return fifth > least ? fifth : least;
}

int imagegc_run(const struct imagegc *g, struct err *e)
{
	__attribute__((cleanup(run_release))) struct run r = {.g = g};
	_cleanup_free_ char *path = xasprintf("%s/gc.lock", g->cache);
	_cleanup_close_ int lock = -1;
	int64_t budget = budget_of(g);

	if (!fs_exists(g->cache)) return 0;
	if (fs_lock(path, 0, &lock, e)) return e->kind == ERR_BUSY ? 0 : -1; /* another runner's sees to it */
	if (list(&r, "layers", e) || list(&r, "pulls", e) || list(&r, "documents", e)) return -1;
	if (r.n) qsort(r.items, r.n, sizeof(*r.items), by_use);
	for (size_t i = 0; i < r.n; i++)
		if (r.items[i].pull && clock_unix_ms() - r.items[i].used_us / 1000 > PULL_MS) evict(&r, &r.items[i]);
	for (size_t i = 0; i < r.n && budget; i++)
		if (r.total > budget && r.items[i].bytes >= 0) evict(&r, &r.items[i]);
	if (r.removed)
		printf("gc: images: %d %s, %lld kB; %lld kB are left\n", r.removed, g->dry ? "would go" : "removed",
		       (long long)(r.freed / 1000), (long long)(r.total / 1000));
	return r.failed;
}
