/* Submodules of a commit, and their mirrors. The tree says which there are and at which commits; .gitmodules, read by
 * git itself, says where from. */
#include "runner/store/submodule.h"

#include <git2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/fs.h"
#include "runner/store/mirror_git.h"

enum {
	ENTRIES_MAX = 2000000, /* a tree may hold itself many times over */
	GITMODULES_MAX = 1 << 20,
	PATH_BYTES_MAX = 2000,
};

void submodules_free(struct submodule **list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free((*list)[i].path);
		free((*list)[i].commit);
		free((*list)[i].url);
	}
	free_p(list);
}

/* --- the tree --- */

struct walk {
	struct submodule *list;
	size_t n, entries;
	struct err *e;
	int failed;
};

static int bad_path(const char *path)
{
	for (const char *p = path;; p++) {
		size_t n = strcspn(p, "/");

		if (!n || (n == 1 && *p == '.') || (n == 2 && !strncmp(p, "..", 2))) return 1;
		if (n == 4 && !strncasecmp(p, ".git", 4)) return 1;
		p += n;
		if (!*p) return strlen(path) > PATH_BYTES_MAX;
	}
}

static int stop(struct walk *w, int rc)
{
	w->failed = rc;
	return -1;
}

static int on_entry(const char *root, const git_tree_entry *entry, void *arg)
{
	struct walk *w = arg;
	struct submodule *m;
	char id[GIT_OID_HEXSZ + 1];

	if (++w->entries > ENTRIES_MAX)
		return stop(w, err_set(w->e, ERR_INPUT, "the tree has more than %d entries", (int)ENTRIES_MAX));
	if (git_tree_entry_type(entry) != GIT_OBJECT_COMMIT) return 0;
	if (w->n == SUBMODULES_MAX)
		return stop(w, err_set(w->e, ERR_INPUT, "there are more than %d submodules", (int)SUBMODULES_MAX));
	w->list = xrealloc(w->list, (w->n + 1) * sizeof(*w->list));
	m = &w->list[w->n++];
	git_oid_tostr(id, sizeof(id), git_tree_entry_id(entry));
	*m = (struct submodule){.path = xasprintf("%s%s", root, git_tree_entry_name(entry)), .commit = xstrdup(id)};
	if (bad_path(m->path)) return stop(w, err_set(w->e, ERR_INPUT, "a submodule cannot be at '%.300s'", m->path));
	return 0;
}

static void tree_free(git_tree **t)
{
	git_tree_free(*t);
}

static void object_free(git_object **o)
{
	git_object_free(*o);
}

static void repository_free(git_repository **r)
{
	git_repository_free(*r);
}

static int find_links(const char *mirror, const char *commit, struct walk *w, struct err *e)
{
	__attribute__((cleanup(repository_free))) git_repository *repo = NULL;
	__attribute__((cleanup(object_free))) git_object *found = NULL;
	__attribute__((cleanup(tree_free))) git_tree *tree = NULL;
	const git_error *why;
	git_oid id;

	git_libgit2_init();
	if (git_oid_fromstr(&id, commit)) return err_set(e, ERR_INPUT, "'%s' is no commit id", commit);
	if (!git_repository_open_bare(&repo, mirror) && !git_object_lookup(&found, repo, &id, GIT_OBJECT_COMMIT) &&
	    !git_commit_tree(&tree, (git_commit *)found) && !git_tree_walk(tree, GIT_TREEWALK_PRE, on_entry, w))
		return 0;
	if (w->failed) return -1;
	why = git_error_last();
	return err_set(e, ERR_REMOTE, "cannot read the tree of %s: %s", commit, why ? why->message : "no reason given");
}

/* --- .gitmodules --- */

struct module {
	const char *name, *path, *url;
	size_t name_len;
};

static struct module *find_module(struct module *all, size_t *n, const char *name, size_t len)
{
	for (size_t i = 0; i < *n; i++)
		if (all[i].name_len == len && !memcmp(all[i].name, name, len)) return &all[i];
	if (*n == SUBMODULES_MAX * 4) return NULL; /* those that are in no tree may stand there too, for a while */
	all[*n] = (struct module){.name = name, .name_len = len};
	return &all[(*n)++];
}

/* "submodule.<name>.path\nvalue\0…", as `git config -z --list` has it; the last value counts. */
static size_t read_modules(char *text, size_t len, struct module *all)
{
	static const char section[] = "submodule.";
	size_t n = 0;

	for (char *at = text; at < text + len; at += strlen(at) + 1) {
		char *end = strchr(at, '\n'), *dot;
		struct module *m;

		if (!end || strncmp(at, section, strlen(section)) != 0) continue;
		dot = memrchr(at, '.', (size_t)(end - at));
		if (dot < at + strlen(section)) continue;
		m = find_module(all, &n, at + strlen(section), (size_t)(dot - at) - strlen(section));
		if (m && end - dot == 5 && !strncmp(dot, ".path", 5)) m->path = end + 1;
		if (m && end - dot == 4 && !strncmp(dot, ".url", 4)) m->url = end + 1;
	}
	return n;
}

static int name_urls(const char *mirror, const char *commit, struct submodule *list, size_t n, struct err *e)
{
	_cleanup_buf_ struct buf file = BUF_INIT(GITMODULES_MAX), text = BUF_INIT(4 * GITMODULES_MAX);
	_cleanup_free_ struct module *modules = xcalloc(SUBMODULES_MAX * 4, sizeof(*modules));
	size_t have;

	if (mirror_file(mirror, commit, ".gitmodules", &file, e)) return e->kind == ERR_MISSING ? 0 : -1;
	if (mirror_git(mirror, (const char *const[]){"config", "--file=-", "--no-includes", "-z", "--list", NULL},
		       &(struct mirror_run){.input = &file, .out = &text}, e)) {
		if (e->kind == ERR_REMOTE) e->kind = ERR_INPUT;
		return err_wrap(e, ".gitmodules");
	}
	have = read_modules(text.data, text.len, modules);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < have && !list[i].url; k++)
			if (modules[k].path && modules[k].url && !strcmp(modules[k].path, list[i].path))
				list[i].url = xstrdup(modules[k].url);
	return 0;
}

int submodule_list(const char *mirror, const char *commit, struct submodule **list_r, size_t *n_r, struct err *e)
{
	struct walk w = {.e = e};

	if (find_links(mirror, commit, &w, e) || (w.n && name_urls(mirror, commit, w.list, w.n, e))) {
		submodules_free(&w.list, w.n);
		return -1;
	}
	*list_r = w.list;
	*n_r = w.n;
	return 0;
}

/* --- mirrors --- */

int submodule_fetch(const char *mirror, const char *url, const char *commit, int anonymous, int limit_ms, struct err *e)
{
	_cleanup_free_ char *one = xasprintf("+%s:refs/slipway/commits/%s", commit, commit);
	const int64_t end = clock_mono_ms() + limit_ms;
	enum mirror_refusal refusal = REFUSED_NONE;
	const char *const all[] = {"fetch",
				   "-q",
				   "--prune",
				   "--no-tags",
				   "--no-write-fetch-head",
				   "--recurse-submodules=no",
				   "--",
				   url,
				   "+refs/heads/*:refs/slipway/heads/*",
				   "+refs/tags/*:refs/tags/*",
				   NULL};
	const char *const single[] = {
		"fetch", "-q", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--", url, one, NULL};
	struct mirror_run how = {.limit_ms = limit_ms, .anonymous = anonymous, .refusal_r = &refusal};
	_cleanup_close_ int lock = -1;

	if (mirror_open_locked(mirror, &lock, e)) return -1;
	if (mirror_has(mirror, commit)) return 0;
	if (mirror_git(mirror, all, &how, e)) return err_wrap(e, "cannot fetch '%s'", url);
	if (mirror_has(mirror, commit)) return 0;
	/* Of no branch any more: many servers hand out a commit by its id all the same. */
	how.limit_ms = (int)(end - clock_mono_ms());
	if (how.limit_ms <= 0) return err_set(e, ERR_BUSY, "cannot fetch '%s': the time is over", url);
	if (!mirror_git(mirror, single, &how, e)) return 0;
	if (refusal == REFUSED_NO_COMMIT || refusal == REFUSED_NO_REF)
		return err_set(e, ERR_MISSING, "commit %s is not in '%s' (any more)", commit, url);
	return err_wrap(e, "cannot fetch '%s'", url);
}
