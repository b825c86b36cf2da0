/* The working tree as a commit, made by the user's own git with a copy of the index and an object folder of ours:
 *
 *   bare repository (borrows the user's objects) ←─ add -A ←─ working tree
 *                                                ←─ write-tree, commit-tree on HEAD
 *
 * What would write into the user's repository all the same is switched off: split and monitored indexes, the hook that
 * runs when an index changes. */
#include "runner/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/fs.h"
#include "lib/vec.h"
#include "runner/trigger/event.h"
#include "runner/trigger/git.h"

enum { MOST_OUTPUT = 64 << 20, ADD_MS = 10 * 60 * 1000 };

/* git with this environment beside the usual one; out_r gets its output without the last line end. */
struct git {
	const char *cwd;
	struct vec env;
};

static void git_init(struct git *g, const char *cwd)
{
	*g = (struct git){.cwd = cwd};
	git_environment(&g->env);
	/* Settings that somebody gave by these still count: this is the user's own git. */
	for (char **v = environ; *v; v++)
		if (!strncmp(*v, "GIT_CONFIG", 10)) vec_add(&g->env, *v);
}

static void git_release(struct git *g)
{
	vec_release(&g->env);
}
#define _cleanup_git_ __attribute__((cleanup(git_release)))

static int run(const struct git *g, const char *const *words, const struct buf *input, char **out_r, struct err *e)
{
	static const char *const start[] = {"git",
					    "-c",
					    "core.hooksPath=/dev/null",
					    "-c",
					    "core.splitIndex=false",
					    "-c",
					    "core.fsmonitor=false",
					    "-c",
					    "core.untrackedCache=false",
					    "-c",
					    "core.safecrlf=false",
					    "-c",
					    "advice.addEmbeddedRepo=false",
					    NULL};
	_cleanup_vec_ struct vec argv = VEC_INIT;
	_cleanup_buf_ struct buf out = BUF_INIT(MOST_OUTPUT);
	struct child_opts o = {
		.cwd = g->cwd, .env = (const char *const *)g->env.items, .die_with_parent = 1, .kill_group = 1};

	vec_add_all(&argv, start);
	vec_add_all(&argv, words);
	o.argv = (const char *const *)vec_argv(&argv);
	if (child_check(&o, input, ADD_MS, &out, e)) return -1;
	while (out.len && out.data[out.len - 1] == '\n') out.data[--out.len] = '\0';
	if (buf_check(&out, "git's answer", e)) return -1;
	if (out_r) *out_r = buf_steal(&out);
	return 0;
}

#define ask(g, out_r, e, ...) run(g, (const char *const[]){__VA_ARGS__, NULL}, NULL, out_r, e)

static int in_repository(const char *dir)
{
	_cleanup_free_ char *at = realpath(dir, NULL);

	while (at) {
		_cleanup_free_ char *git = xasprintf("%s/.git", at);
		char *slash = strrchr(at, '/');

		if (fs_exists(git)) return 1;
		if (!slash || !at[1]) return 0;
		slash[slash == at] = '\0';
	}
	return 0;
}

int snapshot_top(const char *dir, char **top_r, struct err *e)
{
	_cleanup_git_ struct git g = {0};

	if (!in_repository(dir)) {
		*top_r = realpath(dir, NULL);
		return *top_r ? 0 : err_sys(e, "cannot find '%s'", dir);
	}
	git_init(&g, dir);
	return ask(&g, top_r, e, "rev-parse", "--show-toplevel");
}

/* --- the repository of ours --- */

static int write_text(const char *dir, const char *name, const char *text, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	return fs_write_file(path, text, strlen(text), 0600, e);
}

static int copy_if_there(const char *from, const char *to, struct err *e)
{
	_cleanup_buf_ struct buf bytes = BUF_INIT((size_t)2 << 30);

	if (!fs_exists(from)) return 0;
	return fs_read_file(from, &bytes, e) || fs_write_file(to, buf_str(&bytes), bytes.len, 0600, e) ? -1 : 0;
}

static int make_bare(const char *bare, struct err *e)
{
	_cleanup_git_ struct git g = {0};

	if (fs_mkdirs(bare, 0700, e)) return -1;
	git_init(&g, bare);
	return ask(&g, NULL, e, "init", "-q", "--bare", "--template=", "--object-format=sha1", ".");
}

/* A path of the user's repository, as git knows it, absolute. */
static int git_path(const struct git *g, const char *name, char **path_r, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (ask(g, &path, e, "rev-parse", "--git-path", name)) return -1;
	*path_r = *path == '/' ? steal(path) : xasprintf("%s/%s", g->cwd, path);
	return 0;
}

static int borrow(const struct git *g, const char *bare, struct err *e)
{
	_cleanup_free_ char *objects = NULL, *real = NULL, *line = NULL, *shallow = NULL;
	_cleanup_free_ char *our_shallow = xasprintf("%s/shallow", bare);

	if (git_path(g, "objects", &objects, e) || git_path(g, "shallow", &shallow, e)) return -1;
	real = realpath(objects, NULL);
	if (!real) return err_sys(e, "cannot find '%s'", objects);
	if (strchr(real, '\n'))
		return err_set(e, ERR_INPUT, "cannot borrow from '%s': there is a line end in its name", real);
	line = xasprintf("%s\n", real);
	return write_text(bare, "objects/info/alternates", line, e) || copy_if_there(shallow, our_shallow, e) ? -1 : 0;
}

/* Builds ask for tags (git describe). Names alone: their objects are the user's. */
static int copy_tags(const struct git *g, const char *bare, struct err *e)
{
	_cleanup_git_ struct git ours = {0};
	_cleanup_free_ char *tags = NULL;
	_cleanup_buf_ struct buf in = BUF_INIT(MOST_OUTPUT);

	if (ask(g, &tags, e, "for-each-ref", "--format=create %(refname) %(objectname)", "refs/tags")) return -1;
	buf_addf(&in, "%s\n", tags);
	if (!*tags) return 0;
	git_init(&ours, bare);
	return run(&ours, (const char *const[]){"update-ref", "--stdin", NULL}, &in, NULL, e);
}

static int name_commit(const struct snapshot_want *w, const char *commit, struct err *e)
{
	_cleanup_git_ struct git ours = {0};

	git_init(&ours, w->bare);
	return ask(&ours, NULL, e, "update-ref", w->ref, commit);
}

/* --- the tree --- */

static void set_identity(struct git *g)
{
	const char *const pairs[][2] = {{"GIT_AUTHOR_NAME", "runner exec"},
					{"GIT_AUTHOR_EMAIL", "runner@localhost"},
					{"GIT_COMMITTER_NAME", "runner exec"},
					{"GIT_COMMITTER_EMAIL", "runner@localhost"}};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) vec_setenv(&g->env, pairs[i][0], pairs[i][1]);
}

/* HEAD's commit; NULL where there is none yet. */
static char *head_of(const struct git *g)
{
	struct err none;
	char *head = NULL;

	return ask(g, &head, &none, "rev-parse", "--quiet", "--verify", "HEAD^{commit}") ? NULL : head;
}

static int commit_tree(const struct git *g, const char *tree, const char *head, char **commit_r, struct err *e)
{
	_cleanup_free_ char *before = NULL, *message = NULL;

	if (!head) return ask(g, commit_r, e, "commit-tree", tree, "-m", "the folder as it stands");
	if (ask(g, &before, e, "log", "-1", "--format=%s", head)) return -1;
	message = xasprintf("uncommitted changes on top of: %s", before);
	return ask(g, commit_r, e, "commit-tree", tree, "-p", head, "-m", message);
}

/* The copy of the index knows which files are unchanged, so that only the others are read. */
static int take_tree(const struct snapshot_want *w, const struct git *g, struct snapshot *s, struct err *e)
{
	_cleanup_free_ char *index = NULL, *copy = xasprintf("%s/index", w->scratch), *tree = NULL, *was = NULL;
	_cleanup_free_ char *objects = xasprintf("%s/objects", w->bare), *head = head_of(g), *of_head = NULL;
	_cleanup_git_ struct git ours = {0};

	if (git_path(g, "index", &index, e) || copy_if_there(index, copy, e)) return -1;
	git_init(&ours, s->top);
	vec_setenv(&ours.env, "GIT_INDEX_FILE", copy);
	vec_setenv(&ours.env, "GIT_OBJECT_DIRECTORY", objects);
	set_identity(&ours);
	if (!fs_exists(copy) && head && ask(&ours, NULL, e, "read-tree", head)) return -1;
	if (ask(&ours, NULL, e, "add", "-A") || ask(&ours, &tree, e, "write-tree")) return -1;
	of_head = head ? xasprintf("%s^{tree}", head) : NULL;
	if (head && ask(&ours, &was, e, "rev-parse", of_head)) return -1;
	s->changed = !head || strcmp(was, tree) != 0;
	if (s->changed) return commit_tree(&ours, tree, head, &s->commit, e);
	s->commit = steal(head);
	return 0;
}

static int of_repository(const struct snapshot_want *w, struct snapshot *s, struct err *e)
{
	_cleanup_git_ struct git g = {0};
	_cleanup_free_ char *wanted = w->commit ? xasprintf("%s^{commit}", w->commit) : NULL;
	struct err none;

	git_init(&g, s->top);
	if (borrow(&g, w->bare, e)) return -1;
	if (wanted && ask(&g, &s->commit, &none, "rev-parse", "--quiet", "--verify", "--end-of-options", wanted))
		return err_set(e, ERR_INPUT, "'%s' has no commit '%s'", s->top, w->commit);
	if (!wanted && take_tree(w, &g, s, e)) return -1;
	if (!event_commit_ok(s->commit))
		return err_set(e, ERR_INPUT, "'%s' names commits in another way than SHA-1: that is not supported",
			       s->top);
	if (ask(&g, &s->branch, &none, "symbolic-ref", "--quiet", "--short", "HEAD")) s->branch = NULL;
	if (ask(&g, &s->origin, &none, "remote", "get-url", "origin")) s->origin = NULL;
	return copy_tags(&g, w->bare, e);
}

static int of_folder(const struct snapshot_want *w, struct snapshot *s, struct err *e)
{
	_cleanup_free_ char *index = xasprintf("%s/index", w->scratch), *tree = NULL;
	_cleanup_git_ struct git g = {0};

	if (w->commit) return err_set(e, ERR_INPUT, "'%s' is in no git repository: it has no commit", s->top);
	git_init(&g, s->top);
	vec_setenv(&g.env, "GIT_DIR", w->bare);
	vec_setenv(&g.env, "GIT_WORK_TREE", s->top);
	vec_setenv(&g.env, "GIT_INDEX_FILE", index);
	set_identity(&g);
	s->changed = 1;
	if (ask(&g, NULL, e, "add", "-A") || ask(&g, &tree, e, "write-tree")) return -1;
	return commit_tree(&g, tree, NULL, &s->commit, e);
}

int snapshot_take(const struct snapshot_want *w, struct snapshot *s, struct err *e)
{
	int failed;

	*s = (struct snapshot){0};
	if (snapshot_top(w->dir, &s->top, e)) return -1;
	failed = make_bare(w->bare, e) || (in_repository(s->top) ? of_repository(w, s, e) : of_folder(w, s, e)) ||
		 name_commit(w, s->commit, e);
	if (failed) snapshot_release(s);
	return failed ? -1 : 0;
}

void snapshot_release(struct snapshot *s)
{
	free_p(&s->top);
	free_p(&s->commit);
	free_p(&s->branch);
	free_p(&s->origin);
}
