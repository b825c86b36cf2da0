/* The bare mirror of a source repository. Network work is done by the git program (it knows every transport and
 * the user's ssh set-up); objects are read by libgit2. */
#include "runner/store/mirror.h"

#include <git2.h>
#include <stdlib.h>
#include <string.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/trigger/git.h"

enum { FETCH_LIMIT_MS = 10 * 60 * 1000 };

static int git(const char *dir, const char *const *args, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
	struct child_opts o = {0};

	vec_add(&argv, "git");
	vec_addf(&argv, "--git-dir=%s", dir);
	vec_add_all(&argv, (const char *const[]){"-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null", NULL});
	vec_add_all(&argv, args);
	git_environment(&env);
	o.argv = (const char *const *)vec_argv(&argv);
	o.env = (const char *const *)vec_argv(&env);
	o.die_with_parent = 1;
	return child_check(&o, NULL, FETCH_LIMIT_MS, NULL, e);
}

static void repository_free(git_repository **r)
{
	git_repository_free(*r);
}
#define _cleanup_repository_ __attribute__((cleanup(repository_free)))

static void commit_free(git_commit **c)
{
	git_commit_free(*c);
}
#define _cleanup_commit_ __attribute__((cleanup(commit_free)))

static int git_failed(struct err *e, int rc, const char *what, const char *subject)
{
	const git_error *why = git_error_last();

	return err_set(e, rc == GIT_ENOTFOUND ? ERR_MISSING : ERR_REMOTE, "cannot %s '%s': %s", what, subject,
		       why ? why->message : "libgit2 says no more");
}

static int find_commit(const char *dir, const char *commit, git_repository **repo_r, git_commit **commit_r,
		       struct err *e)
{
	git_oid id;
	int rc;

	git_libgit2_init();
	rc = git_repository_open_bare(repo_r, dir);
	if (rc) return git_failed(e, rc, "open mirror", dir);
	if (git_oid_fromstr(&id, commit)) return err_set(e, ERR_INPUT, "'%s' is no commit id", commit);
	rc = git_commit_lookup(commit_r, *repo_r, &id);
	return rc ? git_failed(e, rc, "find commit", commit) : 0;
}

static int has_commit(const char *dir, const char *commit)
{
	_cleanup_repository_ git_repository *repo = NULL;
	_cleanup_commit_ git_commit *c = NULL;
	struct err ignored;

	return !find_commit(dir, commit, &repo, &c, &ignored);
}

/* The mirror, made where there is none, and locked while lock_r is open. */
static int open_locked(const char *dir, int *lock_r, struct err *e)
{
	_cleanup_free_ char *head = xasprintf("%s/HEAD", dir), *lock_path = xasprintf("%s.lock", dir);

	if (fs_lock(lock_path, 1, lock_r, e)) return -1;
	return fs_exists(head) ? 0 : git(dir, (const char *const[]){"init", "-q", "--bare", "--template=", NULL}, e);
}

static int fetch(const char *dir, const char *url, const char *ref, struct err *e)
{
	_cleanup_free_ char *spec = xasprintf("+%s:%s", ref, ref);

	if (git(dir, (const char *const[]){"fetch", "-q", "--no-tags", "--", url, spec, NULL}, e))
		return err_wrap(e, "cannot fetch '%s'", ref);
	return 0;
}

static int keep_commit(const char *dir, const char *keep, const char *commit, struct err *e)
{
	_cleanup_free_ char *kept = xasprintf("refs/slipway/%s", keep);

	return git(dir, (const char *const[]){"update-ref", kept, commit, NULL}, e);
}

int mirror_fetch(const char *dir, const char *url, const char *ref, const char *commit, const char *keep, struct err *e)
{
	_cleanup_close_ int lock = -1;

	if (open_locked(dir, &lock, e)) return -1;
	if (!has_commit(dir, commit)) {
		if (fetch(dir, url, ref, e)) return -1;
		/* Pushed over meanwhile: many servers hand out a commit by its id all the same. */
		if (!has_commit(dir, commit) &&
		    git(dir, (const char *const[]){"fetch", "-q", "--no-tags", "--", url, commit, NULL}, e))
			return err_set(e, ERR_MISSING, "commit %s is not in '%s' (any more)", commit, url);
	}
	if (!has_commit(dir, commit)) return err_set(e, ERR_MISSING, "commit %s is not in '%s'", commit, url);
	return keep_commit(dir, keep, commit, e);
}

/* Is `commit` head itself, or a merge of it into something? As the first parent it would be a commit upon head. */
static int merges(const char *dir, const char *commit, const char *head, int *yes_r, struct err *e)
{
	_cleanup_repository_ git_repository *repo = NULL;
	_cleanup_commit_ git_commit *c = NULL;
	char id[41] = "";

	if (find_commit(dir, commit, &repo, &c, e)) return -1;
	*yes_r = !strcmp(commit, head);
	for (unsigned i = 1; !*yes_r && i < git_commit_parentcount(c); i++) {
		git_oid_tostr(id, sizeof(id), git_commit_parent_id(c, i));
		*yes_r = !strcmp(id, head);
	}
	return 0;
}

int mirror_fetch_merge(const char *dir, const char *url, const char *ref, const char *head, const char *keep,
		       char **commit_r, struct err *e)
{
	_cleanup_free_ char *commit = NULL;
	_cleanup_close_ int lock = -1;
	int got, fits;

	if (open_locked(dir, &lock, e) || fetch(dir, url, ref, e)) return -1;
	got = git_commit_of(dir, ref, &commit, e);
	if (got) return got < 0 ? -1 : err_set(e, ERR_MISSING, "'%s' in '%s' is no commit", ref, url);
	if (merges(dir, commit, head, &fits, e)) return -1;
	if (!fits) return err_set(e, ERR_BUSY, "'%s' is no merge of %s (yet): conflicts, or pushed over", ref, head);
	if (keep_commit(dir, keep, commit, e)) return -1;
	*commit_r = steal(commit);
	return 0;
}

int mirror_file(const char *dir, const char *commit, const char *path, struct buf *b, struct err *e)
{
	_cleanup_repository_ git_repository *repo = NULL;
	_cleanup_commit_ git_commit *c = NULL;
	git_object *blob = NULL;
	git_object_size_t size;
	int rc;

	if (find_commit(dir, commit, &repo, &c, e)) return -1;
	rc = git_object_lookup_bypath(&blob, (git_object *)c, path, GIT_OBJECT_BLOB);
	if (rc) return err_set(e, ERR_MISSING, "there is no file '%s' at commit %s", path, commit);
	size = git_blob_rawsize((git_blob *)blob);
	if ((uint64_t)size > b->max) {
		git_object_free(blob);
		return err_set(e, ERR_INPUT, "'%s' is larger than %zu bytes", path, b->max);
	}
	buf_add(b, git_blob_rawcontent((git_blob *)blob), (size_t)size);
	git_object_free(blob);
	return 0;
}
