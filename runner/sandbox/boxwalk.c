/* The walk over cached folders: sorted, so that the same files give the same archive and marks, and bounded before a
 * byte is read: names, depth and sizes are a stranger's. */
#include "runner/sandbox/boxwalk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/vec.h"

struct walk {
	const struct box_cache_limits *limits;
	box_walk_fn *fn;
	void *arg;
	struct box_cache_report *r;
	int64_t seen;
};

static int walk_folder(struct walk *w, int dir, const char *path, int depth, struct err *e);

static void closedir_p(DIR **d)
{
	if (*d) closedir(*d);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int too_many(const struct walk *w, struct err *e)
{
	return err_set(e, ERR_INPUT, "more than %lld files", (long long)w->limits->files);
}

static int list_names(const struct walk *w, int dir, const char *path, struct vec *names, struct err *e)
{
	__attribute__((cleanup(closedir_p))) DIR *list = NULL;
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 3);

	list = copy < 0 ? NULL : fdopendir(copy);
	if (!list) return err_sys(e, "cannot read the folder '%s'", path);
	for (struct dirent *d; (d = readdir(list));) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")) continue;
		if (w->seen + (int64_t)names->len >= w->limits->files) return too_many(w, e);
		vec_add(names, d->d_name);
	}
	if (names->len) qsort(names->items, names->len, sizeof(char *), by_name);
	return 0;
}

static int count(struct walk *w, const struct stat *st, const char *path, struct err *e)
{
	if (++w->seen > w->limits->files) return too_many(w, e);
	if (S_ISDIR(st->st_mode)) return 0;
	w->r->files++;
	if (!S_ISREG(st->st_mode)) return 0;
	if (st->st_size > w->limits->bytes - w->r->bytes)
		return err_set(e, ERR_INPUT, "more than %lld bytes, at '%s'", (long long)w->limits->bytes, path);
	w->r->bytes += st->st_size;
	return 0;
}

static int walk_name(struct walk *w, int dir, const char *name, const char *path, int depth, struct err *e)
{
	struct box_walk_item it = {.path = path, .dir = dir, .name = name};
	char link[4097];
	struct stat st;
	ssize_t n;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) return err_sys(e, "cannot look at '%s'", path);
	it.st = &st;
	if (S_ISDIR(st.st_mode)) {
		_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd < 0) return err_sys(e, "cannot open the folder '%s'", path);
		return walk_folder(w, fd, path, depth + 1, e);
	}
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) {
		w->r->left_out++;
		return 0;
	}
	if (count(w, &st, path, e)) return -1;
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(dir, name, link, sizeof(link) - 1);
		if (n < 0) return err_sys(e, "cannot read the link '%s'", path);
		link[n] = '\0';
		it.link = link;
	}
	return w->fn(w->arg, &it, e);
}

static int walk_folder(struct walk *w, int dir, const char *path, int depth, struct err *e)
{
	struct box_walk_item it = {.path = path, .dir = dir};
	_cleanup_vec_ struct vec names = VEC_INIT;
	struct stat st;

	if (depth > BOX_CACHE_MAX_DEPTH)
		return err_set(e, ERR_INPUT, "more than %d folders in each other", (int)BOX_CACHE_MAX_DEPTH);
	if (fstat(dir, &st)) return err_sys(e, "cannot look at '%s'", path);
	if (count(w, &st, path, e) || list_names(w, dir, path, &names, e)) return -1;
	for (size_t i = 0; i < names.len; i++) {
		_cleanup_free_ char *below = xasprintf("%s/%s", path, names.items[i]);

		if (walk_name(w, dir, names.items[i], below, depth, e)) return -1;
	}
	it.st = &st;
	return w->fn(w->arg, &it, e);
}

/* The folder itself, and the way to it, may be links of the tree's own. -1: it is not there, or no folder. */
static int open_folder(int root, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int fd, tries = 0;

	while (*path == '/') path++;
	do fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && ++tries < 64);
	return fd;
}

int box_walk(int root, const char *const *folders, size_t n, const struct box_cache_limits *l, box_walk_fn *fn,
	     void *arg, struct box_cache_report *r, struct err *e)
{
	struct walk w = {.limits = l, .fn = fn, .arg = arg, .r = r};

	r->folders = r->files = r->bytes = r->left_out = 0;
	for (size_t i = 0; i < n; i++) {
		_cleanup_close_ int fd = open_folder(root, folders[i]);
		_cleanup_free_ char *path = xasprintf("%zu", i);

		if (fd < 0) continue;
		r->folders++;
		if (walk_folder(&w, fd, path, 0, e)) return err_wrap(e, "'%s'", folders[i]);
	}
	return 0;
}

/* --- the mark --- */

/* Folders have no times in it: what comes and goes in one leaves none behind. */
static int mark_item(void *arg, const struct box_walk_item *it, struct err *e)
{
	const struct stat *st = it->st;
	struct {
		int64_t mode, uid, gid, size, mtime, mtime_ns, ctime, ctime_ns;
	} facts = {.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid};

	(void)e;
	if (!S_ISDIR(st->st_mode)) {
		facts.size = st->st_size;
		facts.mtime = st->st_mtim.tv_sec;
		facts.mtime_ns = st->st_mtim.tv_nsec;
		facts.ctime = st->st_ctim.tv_sec;
		facts.ctime_ns = st->st_ctim.tv_nsec;
	}
	crypto_generichash_update(arg, (const unsigned char *)it->path, strlen(it->path) + 1);
	crypto_generichash_update(arg, (const unsigned char *)&facts, sizeof(facts));
	return 0;
}

int box_walk_mark(int root, const char *const *folders, size_t n, const struct box_cache_limits *l,
		  struct box_cache_report *r, struct err *e)
{
	unsigned char hash[crypto_generichash_BYTES];
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	if (box_walk(root, folders, n, l, mark_item, &state, r, e)) return -1;
	crypto_generichash_final(&state, hash, sizeof(hash));
	sodium_bin2hex(r->mark, sizeof(r->mark), hash, sizeof(hash));
	return 0;
}
