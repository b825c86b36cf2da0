/* The throw-away state folder of `runner exec`. It lies in the cache, where the file system is known to carry overlays,
 * and is locked for as long as its owner lives: a free lock means a killed one, and the next to come removes it. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/exec.h"
#include "runner/sandbox/userns.h"

enum { SWEEP_MS = 60000 };

static const char prefix[] = "run.";

static void remove_home(const char *dir)
{
	struct child_opts o = {.argv = (const char *const[]){child_self(), "sweep", dir, NULL}};
	struct err e;

	if (child_check(&o, NULL, SWEEP_MS, NULL, &e)) return; /* the next one tries again */
	/* A checkout that a killed leader left has mapped owners. */
	if (fs_remove_tree(dir, &e) && userns_remove_tree(dir, &e)) return;
}

/* Those whose owner is gone. Under the lock of the folder above, so that none is just being made. */
static void remove_dead(const char *top)
{
	DIR *list = opendir(top);

	if (!list) return;
	for (struct dirent *d; (d = readdir(list));) {
		_cleanup_free_ char *dir = xasprintf("%s/%s", top, d->d_name), *path = xasprintf("%s/exec.lock", dir);
		_cleanup_close_ int lock = -1;
		struct err e;

		if (strncmp(d->d_name, prefix, strlen(prefix)) != 0) continue;
		if (!fs_lock(path, 0, &lock, &e)) remove_home(dir);
	}
	closedir(list);
}

/* Pins of host keys outlive the build: a deployment host is seen for the first time only once. */
static int share_publish(const char *top, const char *dir, struct err *e)
{
	_cleanup_free_ char *shared = xasprintf("%s/publish", top), *link = xasprintf("%s/publish", dir);

	if (fs_mkdirs(shared, 0700, e)) return -1;
	return symlink(shared, link) ? err_sys(e, "cannot make '%s'", link) : 0;
}

int exec_home_open(struct exec *x, struct err *e)
{
	_cleanup_free_ char *cache = NULL, *top = NULL, *all = NULL, *dir = NULL, *lock = NULL;
	_cleanup_close_ int making = -1;

	if (home_cache(&cache, e)) return -1;
	top = xasprintf("%s/exec", cache);
	all = xasprintf("%s/lock", top);
	if (fs_mkdirs(top, 0700, e) || fs_lock(all, 1, &making, e)) return -1;
	remove_dead(top);
	if (fs_temp_dir(top, prefix, &dir, e)) return -1;
	lock = xasprintf("%s/exec.lock", dir);
	if (fs_lock(lock, 0, &x->lock, e) || share_publish(top, dir, e) || home_open(dir, &x->home, e)) return -1;
	x->own_home = &x->home;
	return 0;
}

void exec_home_sweep(const struct exec *x)
{
	struct child_opts o = {.argv = (const char *const[]){child_self(), "sweep", x->home.state, NULL}};
	struct err ignored;

	if (child_check(&o, NULL, SWEEP_MS, NULL, &ignored)) return;
}

void exec_home_close(struct exec *x)
{
	if (x->own_home) remove_home(x->home.state);
	close_p(&x->lock);
	home_release(&x->home);
	x->own_home = NULL;
}
