/* The deployment repositories on this box that a repository's jobs may publish to. */
#include "runner/deploypath.h"

#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "runner/permits.h"
#include "runner/publish/remote.h"

static int is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return !strncmp(path, dir, n) && (path[n] == '/' || !path[n]);
}

static int is_repository(const char *path)
{
	_cleanup_free_ char *head = xasprintf("%s/HEAD", path), *objects = xasprintf("%s/objects", path);

	return fs_exists(head) && fs_exists(objects);
}

static int real_path(const struct home *h, const char *path, char **real_r, struct err *e)
{
	_cleanup_free_ char *real = realpath(path, NULL);

	if (!real) return err_sys(e, "cannot find deployment repository '%s'", path);
	if (is_below(real, h->state) || is_below(real, h->cache))
		return err_set(e, ERR_DENIED,
			       "'%s' is below the runner's own '%s', where jobs' files are: nothing is published there",
			       path, is_below(real, h->state) ? h->state : h->cache);
	*real_r = steal(real);
	return 0;
}

int deploypath_real(const struct home *h, const char *path, char **real_r, struct err *e)
{
	_cleanup_remote_ struct remote where = {.kind = REMOTE_PATH};
	_cleanup_free_ char *real = NULL;

	if (remote_parse(path, &where, e)) return -1;
	if (where.kind != REMOTE_PATH) return err_set(e, ERR_INPUT, "'%s' is not a path on this box", path);
	if (real_path(h, where.url, &real, e)) return -1;
	if (!is_repository(real)) return err_set(e, ERR_INPUT, "'%s' is no bare git repository", path);
	if (strchr(real, '\n')) return err_set(e, ERR_INPUT, "bad path: it holds a line end");
	*real_r = steal(real);
	return 0;
}

int deploypath_allow(const struct home *h, int64_t repo_id, const char *real, struct err *e)
{
	return permit_add(h, repo_id, PERMIT_DEPLOY_PATHS, real, e);
}

int deploypath_check(const struct home *h, int64_t repo_id, const char *name, const char *remote, char **real_r,
		     struct err *e)
{
	_cleanup_remote_ struct remote where = {.kind = REMOTE_PATH};
	_cleanup_vec_ struct vec allowed = VEC_INIT;
	_cleanup_free_ char *real = NULL;

	if (real_r) *real_r = NULL;
	if (remote_parse(remote, &where, e)) return -1;
	if (where.kind != REMOTE_PATH) return 0;
	/* What is not there is refused in the same words: a `.ci.yml` is not to find out what there is on this box. */
	real = realpath(where.url, NULL);
	if (permit_list(h, repo_id, PERMIT_DEPLOY_PATHS, &allowed, e)) return -1;
	if (!real || !vec_has(&allowed, real))
		return err_set(e, ERR_DENIED,
			       "'%s' may not publish to a path on this box that is not allowed: '%s'. The runner's "
			       "owner allows it with: runner repo allow-path %s %s",
			       name, remote, name, where.url);
	free_p(&real);
	if (real_path(h, where.url, &real, e)) return -1;
	if (real_r) *real_r = steal(real);
	return 0;
}
