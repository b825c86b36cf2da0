/* Names of a layer that mean the layers below it. Through an overlay it is enough to remove what they name. */
#include "runner/sandbox/whiteout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"

#define PREFIX ".wh."
#define OPAQUE ".wh..wh..opq"

static int in_layer(const struct whiteout *w, const char *path, struct stat *st_r)
{
	return !fstatat(w->upper, path, st_r, AT_SYMLINK_NOFOLLOW);
}

/* The folder `dir` as it is found from the root, each link of a layer below followed. What is not there yet is as it
 * is named. */
static int resolve_dir(const struct whiteout *w, const char *dir, char **real_r, struct err *e)
{
	_cleanup_free_ char *path = xstrdup(dir);
	size_t at = 0;

	for (int links = 0; path[at];) {
		_cleanup_free_ char *head = NULL, *real = NULL;
		struct stat st, own;

		at += strspn(path + at, "/");
		at += strcspn(path + at, "/");
		head = xstrndup(path, at);
		if (!*head) break;
		if (lstat(head, &st)) {
			if (errno == ENOENT) break;
			return err_sys(e, "cannot look at '%s'", head);
		}
		if (!S_ISLNK(st.st_mode)) continue;
		if (in_layer(w, head, &own) && S_ISLNK(own.st_mode))
			return err_set(e, ERR_INPUT, "'%s': its own link '%s' is in the way", dir, head);
		real = realpath(head, NULL);
		if (!real) return err_sys(e, "cannot follow '%s'", head);
		if (++links > 40) return err_set(e, ERR_INPUT, "'%s': too many links", dir);
		free_p(&head);
		head = path;
		path = xasprintf("%s%s", real + 1, head + at);
		at = strlen(real + 1);
	}
	*real_r = steal(path);
	return 0;
}

int whiteout_resolve(struct whiteout *w, char **path, struct err *e)
{
	const char *slash = strrchr(*path, '/');
	_cleanup_free_ char *dir = NULL, *last = NULL, *whole = NULL;

	/* "usr/lib/" is a folder's name too */
	while (slash && !slash[1] && slash > *path) {
		(*path)[slash - *path] = '\0';
		slash = strrchr(*path, '/');
	}
	if (w->upper < 0 || !slash) return 0;
	dir = xstrndup(*path, (unsigned long)(slash - *path));
	last = xstrdup(slash + 1);
	if (!w->from || strcmp(w->from, dir) != 0) {
		char *to = NULL;

		if (resolve_dir(w, dir, &to, e)) return -1;
		free_p(&w->from);
		free_p(&w->to);
		w->from = steal(dir);
		w->to = to;
	}
	whole = *w->to ? xasprintf("%s/%s", w->to, last) : xstrdup(last);
	free(*path);
	*path = steal(whole);
	return 0;
}

static void closedir_p(DIR **d)
{
	if (*d) closedir(*d);
}

/* All of a folder that came from below: what this layer has put there stays, in whatever order its entries come. */
static int make_opaque(const struct whiteout *w, const char *dir, struct err *e)
{
	__attribute__((cleanup(closedir_p))) DIR *list = opendir(dir);

	if (!list && errno == ENOENT) return 0;
	if (!list) return err_sys(e, "cannot read folder '%s'", dir);
	for (struct dirent *d; (d = readdir(list));) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, d->d_name);
		struct stat st;
		int failed;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")) continue;
		if (!in_layer(w, path, &st))
			failed = fs_remove_tree(path, e);
		else
			failed = S_ISDIR(st.st_mode) && make_opaque(w, path, e);
		if (failed) return -1;
	}
	return 0;
}

/* A folder gives way to what is none; libarchive sees to the rest. */
static int make_way(const struct whiteout *w, const char *path, int is_dir, struct err *e)
{
	struct stat st;

	if (w->upper < 0 || is_dir || lstat(path, &st) || !S_ISDIR(st.st_mode)) return 0;
	return fs_remove_tree(path, e);
}

int whiteout_apply(struct whiteout *w, const char *path, int is_dir, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = slash ? xstrndup(path, (unsigned long)(slash - path)) : xstrdup(".");
	_cleanup_free_ char *target = NULL;

	if (!w->wanted || strncmp(name, PREFIX, strlen(PREFIX)) != 0) return make_way(w, path, is_dir, e) ? -1 : 0;
	if (!strcmp(name, OPAQUE)) return w->upper >= 0 && make_opaque(w, dir, e) ? -1 : 1;
	name += strlen(PREFIX);
	/* Others that begin with .wh..wh. are aufs' own. */
	if (!strncmp(name, PREFIX, strlen(PREFIX))) return 1;
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(e, ERR_INPUT, "'%s' takes away what has no name", path);
	target = xasprintf("%s/%s", dir, name);
	return w->upper >= 0 && fs_remove_tree(target, e) ? -1 : 1;
}

void whiteout_release(struct whiteout *w)
{
	free_p(&w->from);
	free_p(&w->to);
}
