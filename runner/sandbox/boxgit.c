/* A work tree in the box, owned by the container's root, with as much history as is asked for. The mirror stays
 * outside: the leader runs git-upload-pack there, and git's own protocol comes through a socket, so nothing here sees
 * the mirror's files, configuration or hooks. Only the host's git runs, with no configuration but what is given here; a
 * source has no way to name a program in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "lib/vec.h"
#include "runner/sandbox/box.h"
#include "runner/sandbox/tree.h"

enum { GIT_TIMEOUT_MS = 600000, PEER_FD = 5 };

static int run(const char *const *args, const char *tree, int peer, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
	struct child_fd fds[] = {{peer, PEER_FD}};
	struct child_opts o = {.cwd = tree, .fds = fds, .nfds = peer >= 0};
	const char *path = getenv("PATH");

	vec_add(&argv, "git");
	vec_add_all(&argv, args);
	vec_setenv(&env, "PATH", path ? path : "/usr/bin:/bin");
	vec_setenv(&env, "HOME", "/nonexistent");
	vec_setenv(&env, "LC_ALL", "C.UTF-8");
	vec_setenv(&env, "GIT_CONFIG_NOSYSTEM", "1");
	vec_setenv(&env, "GIT_CONFIG_GLOBAL", "/dev/null");
	vec_setenv(&env, "GIT_TERMINAL_PROMPT", "0");
	vec_setenv(&env, "GIT_ALLOW_PROTOCOL", "fd");
	vec_setenv(&env, "GIT_CEILING_DIRECTORIES", BOX_ROOT);
	o.argv = (const char *const *)argv.items;
	o.env = (const char *const *)env.items;
	return child_check(&o, NULL, GIT_TIMEOUT_MS, NULL, e);
}

static int is_commit(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");

	return !s[n] && (n == 40 || n == 64);
}

/* What a container left there could name programs to git, which would run outside of it. */
int box_check_empty(const char *tree, const char *path, struct err *e)
{
	DIR *list = opendir(tree);
	int found = 0;

	if (!list) return err_sys(e, "cannot read '%s' in the box", path);
	for (struct dirent *d; !found && (d = readdir(list));)
		found = strcmp(d->d_name, ".") && strcmp(d->d_name, "..");
	closedir(list);
	return found ? err_set(e, ERR_INPUT, "cannot check out into '%s': it is not empty", path) : 0;
}

static int fetch(const struct box_source *s, const char *tree, struct err *e)
{
	const char *const start[] = {
		"-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
		/* one pack, not a file an object; never synced: it is thrown away with the box */
		"-c", "fetch.unpackLimit=1", "-c", "core.fsync=none",
		/* git would follow tags by a second connection */
		"fetch", "-q", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", NULL};
	_cleanup_vec_ struct vec argv = VEC_INIT;

	vec_add_all(&argv, start);
	if (s->depth) vec_addf(&argv, "--depth=%lld", (long long)s->depth);
	vec_add(&argv, "fd::5");
	vec_add(&argv, s->commit);
	for (const char *const *tag = s->tags; *tag; tag++) {
		if (strncmp(*tag, "refs/tags/", 10)) return err_set(e, ERR_INPUT, "'%s' is not a tag", *tag);
		vec_addf(&argv, "%s:%s", *tag, *tag);
	}
	return run((const char *const *)argv.items, tree, s->peer, e);
}

int box_git(int root, const struct box_source *s, struct err *e)
{
	static const char *const init[] = {"init", "-q", "--template=", ".", NULL};
	const char *const checkout[] = {"-c",       "core.hooksPath=/dev/null",
					"-c",       "advice.detachedHead=false",
					"checkout", "-q",
					"--detach", s->commit,
					NULL};
	_cleanup_close_ int dir = -1;
	_cleanup_free_ char *tree = NULL;

	if (!is_commit(s->commit)) return err_set(e, ERR_INPUT, "'%s' is not a commit", s->commit);
	if (s->depth < 0) return err_set(e, ERR_INPUT, "%lld is no depth", (long long)s->depth);
	if (tree_mkdirs(root, s->path, &dir, e)) return -1;
	tree = xasprintf("/proc/self/fd/%d", dir);
	if (box_check_empty(tree, s->path, e)) return -1;
	if (run(init, tree, -1, e) || fetch(s, tree, e) || run(checkout, tree, -1, e))
		return err_wrap(e, "cannot check out %.12s into '%s'", s->commit, s->path);
	return 0;
}
