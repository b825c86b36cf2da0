/* Where layers are kept. One grows in <key>.tmp under the lock <key>.lock and is renamed to <key> when it is whole and
 * on the disk: whatever kills its maker, <key> is a whole layer or not there, and the next maker, who then gets the
 * lock, removes the rest. */
#include "runner/sandbox/layer_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/userns.h"

struct task {
	const struct layer_order *o;
	struct layer layer;
	char *dir, *place, *lock_path;
};

static void task_release(struct task *t)
{
	free_p(&t->layer.temp);
	free_p(&t->layer.log);
	free_p(&t->dir);
	free_p(&t->place);
	free_p(&t->lock_path);
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

int layer_there(const char *cache, const char *key)
{
	_cleanup_free_ char *note = xasprintf("%s/layers/%s/layer.json", cache, key);

	return !utimensat(AT_FDCWD, note, NULL, 0) || fs_exists(note);
}

static int sync_dir(const char *path, int whole_file_system, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot open folder '%s'", path);
	if (whole_file_system ? syncfs(fd) : fsync(fd)) return err_sys(e, "cannot sync '%s'", path);
	return 0;
}

/* Its facts, beside the tree: for people, and for whatever clears the cache. */
static int write_note(const struct task *t, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/layer.json", t->layer.temp), *text = NULL;

	json_object_set_new(t->o->note, "made_ms", json_integer(clock_unix_ms()));
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

static int under_lock(struct task *t, struct err *e)
{
	_cleanup_close_ int lock = -1;
	const struct layer_order *o = t->o;

	if (fs_lock(t->lock_path, 0, &lock, e)) {
		if (e->kind != ERR_BUSY) return -1;
		layer_tell(&t->layer, 1, -1, "waiting for another process that makes it");
		if (fs_lock(t->lock_path, 1, &lock, e)) return -1;
	}
	if (layer_there(o->cache, o->key)) return 0;
	layer_tell(&t->layer, 1, 0, "making it");
	if (make(t, e)) {
		clear_failed(t);
		return -1;
	}
	unlink(t->layer.log);
	return 0;
}

int layer_ensure(const struct layer_order *o, struct err *e)
{
	__attribute__((cleanup(task_release))) struct task t = {.o = o};

	if (layer_there(o->cache, o->key)) return 0;
	t.dir = xasprintf("%s/layers", o->cache);
	t.place = xasprintf("%s/%s", t.dir, o->key);
	t.lock_path = xasprintf("%s.lock", t.place);
	t.layer.temp = xasprintf("%s.tmp", t.place);
	t.layer.log = xasprintf("%s.log", t.place);
	t.layer.label = o->label;
	t.layer.arch = o->arch;
	t.layer.progress = o->progress;
	t.layer.arg = o->progress_arg;
	return fs_mkdirs(t.dir, 0755, e) || under_lock(&t, e) ? -1 : 0;
}
