/* Work trees that the jobs of a commit share.
 *
 *   (nothing) ─ lock exclusive ─→ box/ ─ rename ─→ tree ─ lock exclusive ─→ <name>.gone ─→ (nothing)
 *
 * A maker that is killed leaves box/, which the next one or the sweep removes; the lock goes with the process. */
#include "runner/checkout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"

enum { LOOK_EVERY_MS = 5, BOOT_CHARS = 8 };

char *checkout_folder(const struct home *h)
{
	return home_file(h, "trees");
}

static char *inside(const struct home *h, const char *name, const char *file)
{
	return xasprintf("%s/trees/%s%s%s", h->state, name, *file ? "/" : "", file);
}

static int boot(char id_r[BOOT_CHARS + 1], struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(256);

	if (fs_read_file("/proc/sys/kernel/random/boot_id", &text, e)) return -1;
	snprintf(id_r, BOOT_CHARS + 1, "%s", buf_str(&text));
	return 0;
}

/* Opens and locks a tree's lock file. ERR_BUSY: held. 1: the folder is another one meanwhile, or none. */
static int take_lock(const char *path, int how, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat have, there;

	if (fd < 0) return errno == ENOENT ? 1 : err_sys(e, "cannot open '%s'", path);
	while (flock(fd, how | LOCK_NB)) {
		if (errno == EINTR) continue;
		if (errno == EWOULDBLOCK) return err_set(e, ERR_BUSY, "'%s' is in use", path);
		return err_sys(e, "cannot lock '%s'", path);
	}
	if (fstat(fd, &have)) return err_sys(e, "cannot look at '%s'", path);
	if (stat(path, &there) || have.st_ino != there.st_ino || have.st_dev != there.st_dev) return 1;
	*fd_r = fd;
	fd = -1;
	return 0;
}

static int make(const struct home *h, const struct checkout_want *w, const char *name, struct err *e)
{
	_cleanup_free_ char *dir = inside(h, name, "box"), *empty = inside(h, name, "empty"),
			    *tree = inside(h, name, "tree"), *id = xasprintf("t%.40s", name);
	const char *layers[] = {empty, NULL};
	struct sandbox_opts o = {.id = id, .dir = dir, .layers = layers, .limits = w->limits, .abort_fd = w->abort_fd};
	const struct sandbox_git git = {w->mirror, w->commit, "/build", w->depth};
	__attribute__((cleanup(sandbox_close))) struct sandbox *box = NULL;
	_cleanup_vec_ struct vec notes = VEC_INIT;

	sandbox_discard(dir);
	if (fs_mkdirs(dir, 0700, e) || fs_mkdirs(empty, 0755, e) || sandbox_open(&o, &box, &notes, e) ||
	    sandbox_put_git(box, &git, e))
		return -1;
	return sandbox_take(&box, "/build", tree, e);
}

static int stopped(int abort_fd, struct err *e)
{
	struct pollfd pf = {abort_fd > 0 ? abort_fd : -1, POLLIN, 0};

	return poll(&pf, 1, LOOK_EVERY_MS) == 1 ? err_set(e, ERR_BUSY, "stopped") : 0;
}

/* One look: 0 the tree is there and locked, 1 to be looked at again, -1. */
static int look(const struct home *h, const struct checkout_want *w, struct checkout *c, struct err *e)
{
	_cleanup_free_ char *dir = inside(h, c->name, ""), *lock = inside(h, c->name, "lock"),
			    *tree = inside(h, c->name, "tree");
	int there, rc;

	if (fs_mkdirs(dir, 0700, e)) return -1;
	there = fs_exists(tree);
	rc = take_lock(lock, there ? LOCK_SH : LOCK_EX, &c->lock, e);
	if (rc < 0 && e->kind == ERR_BUSY) return stopped(w->abort_fd, e) ? -1 : 1;
	if (rc) return rc;
	if (!fs_exists(tree)) {
		if (there) return 1;
		if (make(h, w, c->name, e)) return -1;
	}
	if (flock(c->lock, LOCK_SH)) return err_sys(e, "cannot lock '%s'", lock);
	if (futimens(c->lock, NULL)) errno = 0; /* when it was last used: only the sweep asks */
	return fs_exists(tree) ? 0 : 1;
}

int checkout_ensure(const struct home *h, const struct checkout_want *w, struct checkout *c_r, struct err *e)
{
	struct checkout c = CHECKOUT_INIT;
	char id[BOOT_CHARS + 1];
	int rc;

	if (boot(id, e)) return -1;
	c.name = xasprintf("%s-%lld-%s-%d", id, (long long)w->repo_id, w->commit, w->depth);
	do {
		close_p(&c.lock);
		rc = look(h, w, &c, e);
	} while (rc == 1);
	if (rc) {
		checkout_release(h, &c, 1);
		return -1;
	}
	*c_r = c;
	return 0;
}

/* Removes a tree unless somebody uses it. */
static void remove_free(const struct home *h, const char *name)
{
	_cleanup_free_ char *dir = inside(h, name, ""), *lock_path = inside(h, name, "lock"),
			    *box = inside(h, name, "box"), *gone = xasprintf("%s.gone", dir);
	_cleanup_close_ int lock = -1;
	size_t len = strlen(name);
	struct err e;

	if (len > 5 && !strcmp(name + len - 5, ".gone")) {
		if (fs_remove_tree(dir, &e)) return; /* the next sweep's */
		return;
	}
	if (take_lock(lock_path, LOCK_EX, &lock, &e)) return;
	sandbox_discard(box);
	if (fs_exists(gone) && fs_remove_tree(gone, &e)) return;
	if (!rename(dir, gone) && fs_remove_tree(gone, &e)) return;
}

void checkout_release(const struct home *h, struct checkout *c, int last)
{
	close_p(&c->lock);
	if (c->name && last) remove_free(h, c->name);
	free_p(&c->name);
}

static int is_stale(const struct home *h, const char *name, const char *id, int64_t idle_ms)
{
	_cleanup_free_ char *lock = inside(h, name, "lock"), *tree = inside(h, name, "tree");
	struct stat st;

	if (strncmp(name, id, BOOT_CHARS) != 0 || strstr(name, ".gone") || !fs_exists(tree)) return 1;
	return !stat(lock, &st) && clock_unix_ms() - (int64_t)st.st_mtim.tv_sec * 1000 > idle_ms;
}

void checkout_sweep(const struct home *h, int64_t idle_ms)
{
	_cleanup_free_ char *dir = checkout_folder(h);
	DIR *list = opendir(dir);
	char id[BOOT_CHARS + 1];
	struct err e;

	if (!list) return;
	if (!boot(id, &e))
		for (struct dirent *d; (d = readdir(list));)
			if (d->d_name[0] != '.' && is_stale(h, d->d_name, id, idle_ms)) remove_free(h, d->d_name);
	closedir(list);
}
