/* The bare mirror of a source repository. Network work is done by the git program (it knows every transport and
 * the user's ssh set-up); objects are read by libgit2. */
#include "runner/store/mirror.h"

#include <git2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/store/mirror_git.h"
#include "runner/trigger/git.h"

enum {
	FETCH_MS = 5 * 60 * 1000,
	FIRST_FETCH_MS = 30 * 60 * 1000, /* a mirror that has nothing yet */
	LOCK_MS = 60 * 1000,
	LOCK_STEP_MS = 50,
};

/* --- git --- */

/* The line that says what went wrong: git's last ones are often advice. */
static void first_complaint(const struct buf *text, char *line_r, size_t size)
{
	const char *s = buf_str(text), *best = s;

	for (const char *p = s; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (*p != '\n' && strncasecmp(p, "warning:", 8)) {
			best = p;
			break;
		}
	snprintf(line_r, size, "%.*s", (int)strcspn(best, "\n"), best);
}

/* git tells these apart in words only; another git's words would make it a failure that is tried again. */
static enum mirror_refusal read_refusal(const struct buf *text)
{
	const char *s = buf_str(text);

	if (strstr(s, "couldn't find remote ref")) return REFUSED_NO_REF;
	if (strstr(s, "not our ref") || strstr(s, "does not allow request for unadvertised object"))
		return REFUSED_NO_COMMIT;
	return REFUSED_NONE;
}

/* curl takes ~/.netrc, git ~/.gitconfig and its credential helpers. */
static void be_nobody(struct vec *env)
{
	vec_setenv(env, "HOME", "/nonexistent");
	vec_setenv(env, "XDG_CONFIG_HOME", "/nonexistent");
	vec_setenv(env, "GIT_CONFIG_NOSYSTEM", "1");
	vec_setenv(env, "GIT_CONFIG_GLOBAL", "/dev/null");
	vec_setenv(env, "GIT_ALLOW_PROTOCOL", "https");
}

int mirror_git(const char *dir, const char *const *args, const struct mirror_run *how, struct err *e)
{
	static const char *const settings[] = {
		"-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null", "-c", "maintenance.auto=false",
		/* a pack comes whole or not at all, single objects do not */
		"-c", "fetch.unpackLimit=1", "-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60", NULL};
	_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
	_cleanup_buf_ struct buf complaint = BUF_INIT(65536);
	struct child_opts o = {.die_with_parent = 1, .kill_group = 1};
	struct child_status st;
	char line[600];

	vec_add(&argv, "git");
	vec_addf(&argv, "--git-dir=%s", dir);
	vec_add_all(&argv, settings);
	vec_add_all(&argv, args);
	git_environment(&env);
	if (how->anonymous) be_nobody(&env);
	o.argv = (const char *const *)vec_argv(&argv);
	o.env = (const char *const *)vec_argv(&env);
	if (how->refusal_r) *how->refusal_r = REFUSED_NONE;
	if (child_run(&o, how->input, how->limit_ms ? how->limit_ms : GIT_LOCAL_MS, how->out, &complaint, &st, e))
		return -1;
	if (child_ok(st)) return how->out ? buf_check(how->out, "git", e) : 0;
	if (how->refusal_r) *how->refusal_r = read_refusal(&complaint);
	first_complaint(&complaint, line, sizeof(line));
	return err_set(e, ERR_REMOTE, "'git' %s%s%s", child_status_str(st), *line ? ": " : "", line);
}

static int git(const char *dir, const char *const *args, struct err *e)
{
	return mirror_git(dir, args, &(struct mirror_run){0}, e);
}

int mirror_init(const char *dir, struct err *e)
{
	return git(dir, (const char *const[]){"init", "-q", "--bare", "--template=", NULL}, e);
}

/* --- fetching --- */

int mirror_open_locked(const char *dir, int *lock_r, struct err *e)
{
	_cleanup_free_ char *head = xasprintf("%s/HEAD", dir), *lock_path = xasprintf("%s.lock", dir);
	int64_t end = clock_mono_ms() + LOCK_MS;

	while (fs_lock(lock_path, 0, lock_r, e)) {
		if (e->kind != ERR_BUSY) return -1;
		if (clock_mono_ms() > end)
			return err_set(e, ERR_BUSY, "another process has had the mirror '%s' for long", dir);
		poll(NULL, 0, LOCK_STEP_MS);
	}
	return fs_exists(head) ? 0 : mirror_init(dir, e);
}

static int fetch(const char *dir, const char *url, const char *what, const char *kept, enum mirror_refusal *refusal_r,
		 struct err *e)
{
	_cleanup_free_ char *spec = xasprintf("+%s:%s", what, kept);
	_cleanup_buf_ struct buf any = BUF_INIT(1 << 20);
	struct err ignored;
	int first = mirror_git(dir, (const char *const[]){"for-each-ref", "--count=1", NULL},
			       &(struct mirror_run){.out = &any}, &ignored) ||
		    !any.len;
	const struct mirror_run how = {.limit_ms = first ? FIRST_FETCH_MS : FETCH_MS, .refusal_r = refusal_r};

	if (mirror_git(dir,
		       (const char *const[]){"fetch", "-q", "--no-tags", "--no-write-fetch-head",
					     "--recurse-submodules=no", "--", url, spec, NULL},
		       &how, e))
		return err_wrap(e, "cannot fetch '%s'", what);
	return 0;
}

/* Does the ref lead to the commit? An unknown commit or ref: no. */
static int leads_to(const char *dir, const char *kept, const char *commit)
{
	struct err ignored;

	return !git(dir, (const char *const[]){"merge-base", "--is-ancestor", commit, kept, NULL}, &ignored);
}

int mirror_has(const char *dir, const char *commit)
{
	_cleanup_free_ char *contains = xasprintf("--contains=%s", commit);
	_cleanup_buf_ struct buf out = BUF_INIT(65536);
	struct err ignored;

	return !mirror_git(dir, (const char *const[]){"for-each-ref", "--count=1", contains, "refs/slipway/", NULL},
			   &(struct mirror_run){.out = &out}, &ignored) &&
	       out.len;
}

static int point(const char *dir, const char *ref, const char *at, struct err *e)
{
	return git(dir, (const char *const[]){"update-ref", ref, at, NULL}, e);
}

static void drop(const char *dir, const char *ref)
{
	struct err ignored;

	if (git(dir, (const char *const[]){"update-ref", "-d", ref, NULL}, &ignored)) return;
}

/* A tag that was fetched gets its own name, for builds that ask git for it. Names that are in its way are of tags that
 * are gone. */
static void name_tag(const char *dir, const char *tag, const char *kept)
{
	_cleanup_free_ char *below = xasprintf("%s/", tag), *above = xstrdup(tag);
	_cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
	struct err ignored;

	if (strncmp(tag, "refs/tags/", 10) || !point(dir, tag, kept, &ignored)) return;
	for (char *slash; (slash = strrchr(above, '/')) > above + 9;) {
		*slash = '\0';
		drop(dir, above);
	}
	if (!mirror_git(dir, (const char *const[]){"for-each-ref", "--format=%(refname)", below, NULL},
			&(struct mirror_run){.out = &out}, &ignored))
		for (char *line = out.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			drop(dir, line);
		}
	if (point(dir, tag, kept, &ignored)) return; /* the build has its commit all the same */
}

int mirror_bring(const char *dir, const struct mirror_want *w, struct err *e)
{
	_cleanup_free_ char *kept = xasprintf("refs/slipway/%s", w->keep);
	enum mirror_refusal refusal;
	int has_tip = !fetch(dir, w->url, w->ref, kept, &refusal, e);

	if (!has_tip && refusal != REFUSED_NO_REF) return -1;
	if (has_tip) name_tag(dir, w->ref, kept);
	/* Pushed over or deleted meanwhile: many servers hand out a commit by its id all the same. */
	if ((!has_tip || !leads_to(dir, kept, w->commit)) && fetch(dir, w->url, w->commit, kept, &refusal, e)) {
		drop(dir, kept);
		if (refusal == REFUSED_NO_COMMIT)
			err_set(e, ERR_MISSING, "commit %s is not in '%s' (any more)", w->commit, w->url);
		return -1;
	}
	return point(dir, kept, w->commit, e);
}

/* What failed, failed for good or will work later; unless the mirror itself is what is wrong. 1: made anew */
static int mend_after(const struct mirror_want *w, struct err *e)
{
	struct err ignored;

	mirror_tidy(w->dir, w->keep);
	if (e->kind != ERR_REMOTE || !mirror_is_damaged(w->dir, w->url) || mirror_renew(w, &ignored)) return -1;
	return 1;
}

int mirror_fetch(const struct mirror_want *w, struct err *e)
{
	_cleanup_free_ char *kept = xasprintf("refs/slipway/%s", w->keep);
	_cleanup_close_ int lock = -1;
	struct err ignored;

	if (mirror_open_locked(w->dir, &lock, e)) return -1;
	if (mirror_has(w->dir, w->commit) && !point(w->dir, kept, w->commit, &ignored)) return 0;
	return mirror_bring(w->dir, w, e) ? mend_after(w, e) : 0;
}

int mirror_mend(const struct mirror_want *w, struct err *e)
{
	_cleanup_close_ int lock = -1;

	if (mirror_open_locked(w->dir, &lock, e)) return -1;
	if (!mirror_is_damaged(w->dir, w->url)) return 0;
	return mirror_renew(w, e) ? -1 : 1;
}

/* --- objects --- */

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

static void tree_free(git_tree **t)
{
	git_tree_free(*t);
}
#define _cleanup_tree_ __attribute__((cleanup(tree_free)))

static int git_failed(struct err *e, const char *what, const char *subject)
{
	const git_error *why = git_error_last();

	return err_set(e, ERR_REMOTE, "cannot %s '%s': %s", what, subject, why ? why->message : "libgit2 says no more");
}

static int find_commit(const char *dir, const char *commit, git_repository **repo_r, git_commit **commit_r,
		       struct err *e)
{
	git_oid id;

	git_libgit2_init();
	if (git_oid_fromstr(&id, commit)) return err_set(e, ERR_INPUT, "'%s' is no commit id", commit);
	if (git_repository_open_bare(repo_r, dir)) return git_failed(e, "open mirror", dir);
	return git_commit_lookup(commit_r, *repo_r, &id) ? git_failed(e, "find commit", commit) : 0;
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

static int bring_merge(const struct mirror_want *w, const char *kept, char **commit_r, struct err *e)
{
	enum mirror_refusal refusal;
	int got, fits;

	if (fetch(w->dir, w->url, w->ref, kept, &refusal, e)) {
		if (refusal == REFUSED_NO_REF)
			err_set(e, ERR_MISSING, "there is no '%s' in '%s' (yet)", w->ref, w->url);
		return -1;
	}
	got = git_commit_of(w->dir, kept, commit_r, e);
	if (got) return got < 0 ? -1 : err_set(e, ERR_MISSING, "'%s' in '%s' is no commit", w->ref, w->url);
	if (merges(w->dir, *commit_r, w->commit, &fits, e)) return -1;
	if (!fits)
		return err_set(e, ERR_MISSING, "'%s' is no merge of %s (yet): conflicts, or pushed over", w->ref,
			       w->commit);
	return 0;
}

int mirror_fetch_merge(const struct mirror_want *w, char **commit_r, struct err *e)
{
	_cleanup_free_ char *kept = xasprintf("refs/slipway/%s", w->keep), *commit = NULL;
	_cleanup_close_ int lock = -1;
	struct err ignored;
	int renewed = 0;

	if (mirror_open_locked(w->dir, &lock, e)) return -1;
	if (bring_merge(w, kept, &commit, e)) {
		/* Made anew with the head alone; the merge is then asked for again. */
		drop(w->dir, kept);
		renewed = mend_after(w, e);
		free_p(&commit);
		if (renewed < 0) return -1;
		if (bring_merge(w, kept, &commit, e)) {
			drop(w->dir, kept);
			return -1;
		}
	}
	if (point(w->dir, kept, commit, &ignored)) return err_set(e, ERR_REMOTE, "%s", ignored.text);
	*commit_r = steal(commit);
	return renewed;
}

/* A blob by its path, component by component: that a name is not in a tree is another answer than that the tree is not
 * there, and libgit2's own walk gives one code for both. */
static int find_blob(git_commit *c, const char *path, git_blob **blob_r, struct err *e)
{
	_cleanup_tree_ git_tree *tree = NULL;
	git_repository *repo = git_commit_owner(c);

	if (git_commit_tree(&tree, c)) return git_failed(e, "read the tree for", path);
	for (const char *at = path;;) {
		size_t len = strcspn(at, "/");
		_cleanup_free_ char *name = xstrndup(at, len);
		const git_tree_entry *entry = git_tree_entry_byname(tree, name);
		git_object_t wanted = at[len] ? GIT_OBJECT_TREE : GIT_OBJECT_BLOB;
		git_tree *below = NULL;

		if (!entry || git_tree_entry_type(entry) != wanted) return 1;
		if (!at[len])
			return git_blob_lookup(blob_r, repo, git_tree_entry_id(entry)) ? git_failed(e, "read", path)
										       : 0;
		if (git_tree_lookup(&below, repo, git_tree_entry_id(entry))) return git_failed(e, "read", path);
		git_tree_free(tree);
		tree = below;
		at += len + 1;
	}
}

int mirror_file(const char *dir, const char *commit, const char *path, struct buf *b, struct err *e)
{
	_cleanup_repository_ git_repository *repo = NULL;
	_cleanup_commit_ git_commit *c = NULL;
	git_blob *blob = NULL;
	git_object_size_t size;
	int got;

	if (find_commit(dir, commit, &repo, &c, e)) return -1;
	got = find_blob(c, path, &blob, e);
	if (got) return got < 0 ? -1 : err_set(e, ERR_MISSING, "there is no file '%s' at commit %s", path, commit);
	size = git_blob_rawsize(blob);
	if ((uint64_t)size > b->max) {
		git_blob_free(blob);
		return err_set(e, ERR_INPUT, "'%s' is larger than %zu bytes", path, b->max);
	}
	buf_add(b, git_blob_rawcontent(blob), (size_t)size);
	git_blob_free(blob);
	return 0;
}
