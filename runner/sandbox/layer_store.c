/* Where layers are kept. One grows in <key>.tmp under the lock <key>.lock and is renamed to <key> when it is whole and
 * on the disk: whatever kills its maker, <key> is a whole layer or not there, and the next maker, who then gets the
 * lock, removes the rest. */
#include "runner/sandbox/layer_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/userns.h"

struct task {
	const struct layer_order *o;
	struct layer layer;
	char *dir, *place;
};

static void task_release(struct task *t)
{
	free_p(&t->layer.temp);
	free_p(&t->layer.log);
	free_p(&t->dir);
	free_p(&t->place);
}

char *layer_tree(const char *cache, const char *key)
{
	return xasprintf("%s/layers/%s/rootfs", cache, key);
}

int layer_owner(char **owner_r, struct err *e)
{
	struct userns_map uids[2] = {{0}}, gids[2] = {{0}};
	int n;

	if (userns_layout(uids, gids, &n, e)) return -1;
	*owner_r = xasprintf("%lu %lu %lu %lu", uids[0].outside, gids[0].outside, uids[1].outside, gids[1].outside);
	return 0;
}

static int is_there(const char *cache, const char *key)
{
	_cleanup_free_ char *note = xasprintf("%s/layers/%s/layer.json", cache, key);

	return fs_exists(note);
}

static int open_lock(const char *cache, const char *key, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/layers/%s.lock", cache, key);
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

	return fd < 0 ? err_sys(e, "cannot open '%s'", path) : fd;
}

/* 1: not without waiting, and how has LOCK_NB */
static int lock_it(int fd, int how, struct err *e)
{
	while (flock(fd, how)) {
		if (errno == EWOULDBLOCK) return 1;
		if (errno != EINTR) return err_sys(e, "cannot lock a layer");
	}
	return 0;
}

int layer_hold(const char *cache, const char *key, int *hold)
{
	_cleanup_close_ int fd = -1;
	struct err ignored;

	if (*hold >= 0) return 1;
	if (!is_there(cache, key)) return 0;
	fd = open_lock(cache, key, &ignored);
	if (fd < 0 || lock_it(fd, LOCK_SH | LOCK_NB, &ignored) || !is_there(cache, key)) return 0;
	*hold = fd;
	fd = -1;
	return 1;
}

void layer_used(const char *tree, int64_t at_unix_us)
{
	_cleanup_free_ char *note = xasprintf("%s/../layer.json", tree);
	const struct timespec at = {.tv_sec = at_unix_us / 1000000, .tv_nsec = at_unix_us % 1000000 * 1000};

	(void)!utimensat(AT_FDCWD, note, (const struct timespec[]){at, at}, 0);
}

int layer_remove(const char *cache, const char *key, struct err *e)
{
	_cleanup_free_ char *place = xasprintf("%s/layers/%s", cache, key), *temp = xasprintf("%s.tmp", place);
	_cleanup_close_ int lock = open_lock(cache, key, e);
	int busy;

	if (lock < 0) return -1;
	busy = lock_it(lock, LOCK_EX | LOCK_NB, e);
	if (busy) return busy;
	if (layer_discard(temp, e)) return -1;
	/* Whole or not there, also when we are killed. */
	if (rename(place, temp) && errno != ENOENT) return err_sys(e, "cannot rename '%s'", place);
	return layer_discard(temp, e);
}

static int sync_dir(const char *path, int whole_file_system, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot open folder '%s'", path);
	if (whole_file_system ? syncfs(fd) : fsync(fd)) return err_sys(e, "cannot sync '%s'", path);
	return 0;
}

/* What it takes on the disk: only the box's root may look into all of its folders. */
static int measure(struct task *t, int64_t *bytes_r, struct err *e)
{
	_cleanup_buf_ struct buf said = BUF_INIT(4096);
	_cleanup_close_ int says = memfd_create("du", MFD_CLOEXEC);
	struct child_status st;
	pid_t pid;

	if (says < 0) return err_sys(e, "cannot make a file in memory");
	if (layer_start(&t->layer, (const char *const[]){"du", "-s", "--block-size=1", "rootfs", NULL}, NULL, 0, 0,
			says, &pid, e) ||
	    child_wait(pid, -1, &st, e))
		return -1;
	if (lseek(says, 0, SEEK_SET) || fs_read_fd(says, "du's output", &said, e)) return -1;
	if (!child_ok(st)) return err_set(e, ERR_REMOTE, "'du' %s: %s", child_status_str(st), buf_str(&said));
	*bytes_r = strtoll(buf_str(&said), NULL, 10);
	return 0;
}

/* Its facts, beside the tree: for people, and for whatever clears the cache. */
static int write_note(struct task *t, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/layer.json", t->layer.temp), *text = NULL;
	int64_t bytes = 0;

	if (measure(t, &bytes, e)) return -1;
	json_object_set_new(t->o->note, "made_ms", json_integer(clock_unix_ms()));
	json_object_set_new(t->o->note, "disk_bytes", json_integer(bytes));
	text = json_text(t->o->note);
	return fs_write_file(path, text, strlen(text), 0644, e);
}

static int make_temp(const struct task *t, struct err *e)
{
	_cleanup_free_ char *root = xasprintf("%s/rootfs", t->layer.temp);

	return layer_discard(t->layer.temp, e) || userns_mkdir(t->layer.temp, e) || userns_mkdir(root, e) ? -1 : 0;
}

/* The maker's own leavings beside the tree. */
static int tidy(const struct task *t, struct err *e)
{
	static const char *const extra[] = {"tmp", "extract", "busybox", "apt.conf", "l", "merged", "work", "box"};

	for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", t->layer.temp, extra[i]);

		if (layer_discard(path, e)) return -1;
	}
	return 0;
}

static int make(struct task *t, struct err *e)
{
	if (make_temp(t, e) || t->o->make(&t->layer, t->o->arg, e)) return -1;
	if (tidy(t, e) || write_note(t, e) || sync_dir(t->layer.temp, 1, e)) return -1;
	if (rename(t->layer.temp, t->place)) return err_sys(e, "cannot rename '%s'", t->layer.temp);
	return sync_dir(t->dir, 0, e);
}

static void clear_failed(const struct task *t)
{
	_cleanup_free_ char *log = xasprintf("%s/log", t->layer.temp);
	struct err ignored;

	if (rename(log, t->layer.log)) unlink(t->layer.log);
	/* What cannot be removed now is tried again by the next maker, who says so. */
	if (layer_discard(t->layer.temp, &ignored)) return;
}

/* 1: whoever had the lock has not made it; to be tried again */
static int wait_for_other(struct task *t, int lock, struct err *e)
{
	int busy = lock_it(lock, LOCK_SH | LOCK_NB, e);

	if (busy == 1) {
		layer_tell(&t->layer, 1, -1, "waiting for another process that makes it");
		busy = lock_it(lock, LOCK_SH, e);
	}
	return busy ? busy : !is_there(t->o->cache, t->o->key);
}

/* Its lock changes from exclusive to shared in two steps: somebody may come in between, so it is looked for again. */
static int try_once(struct task *t, int lock, struct err *e)
{
	const struct layer_order *o = t->o;
	int busy = lock_it(lock, LOCK_EX | LOCK_NB, e);

	if (busy) return busy < 0 ? -1 : wait_for_other(t, lock, e);
	if (!is_there(o->cache, o->key)) {
		layer_tell(&t->layer, 1, 0, "making it");
		if (make(t, e)) {
			clear_failed(t);
			return -1;
		}
		unlink(t->layer.log);
	}
	return lock_it(lock, LOCK_SH, e) ? -1 : !is_there(o->cache, o->key);
}

int layer_ensure(const struct layer_order *o, int *hold_r, struct err *e)
{
	__attribute__((cleanup(task_release))) struct task t = {.o = o};
	int rc;

	if (layer_hold(o->cache, o->key, hold_r)) return 0;
	t.dir = xasprintf("%s/layers", o->cache);
	t.place = xasprintf("%s/%s", t.dir, o->key);
	t.layer.temp = xasprintf("%s.tmp", t.place);
	t.layer.log = xasprintf("%s.log", t.place);
	t.layer.label = o->label;
	t.layer.arch = o->arch;
	t.layer.progress = o->progress;
	t.layer.arg = o->progress_arg;
	if (fs_mkdirs(t.dir, 0755, e)) return -1;
	do {
		_cleanup_close_ int lock = open_lock(o->cache, o->key, e);

		if (lock < 0) return -1;
		rc = try_once(&t, lock, e);
		if (!rc) {
			*hold_r = lock;
			lock = -1;
		}
	} while (rc == 1);
	return rc;
}
