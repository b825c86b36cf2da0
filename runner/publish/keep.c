/* Which images of a path are one too many: the branch's history is walked from its tip. */
#include "runner/publish/keep.h"

#include <string.h>

/* The folder `path` in the commit's tree; *sub_r stays NULL when there is none. */
static int folder_of(git_repository *git, const git_commit *commit, const char *path, git_tree **sub_r, struct err *e)
{
	_cleanup_git_(git_tree) git_tree *tree = NULL;
	_cleanup_git_(git_tree_entry) git_tree_entry *entry = NULL;
	int rc;

	if (!commit) return 0;
	if (git_commit_tree(&tree, commit)) return git2_fail(e, ERR_SYS, "cannot read the history of '%s'", path);
	rc = git_tree_entry_bypath(&entry, tree, path);
	if (rc == GIT_ENOTFOUND) return 0;
	if (!rc && git_tree_entry_type(entry) != GIT_OBJECT_TREE) return 0;
	if (rc || git_tree_lookup(sub_r, git, git_tree_entry_id(entry)))
		return git2_fail(e, ERR_SYS, "cannot read the history of '%s'", path);
	return 0;
}

static int is_image(const git_tree_entry *entry)
{
	const char *name = git_tree_entry_name(entry);

	return git_tree_entry_type(entry) == GIT_OBJECT_TREE && strlen(name) == 40 &&
	       strspn(name, "0123456789abcdef") == 40;
}

static void list_images(const git_tree *folder, struct vec *names_r)
{
	for (size_t i = 0; i < git_tree_entrycount(folder); i++) {
		const git_tree_entry *entry = git_tree_entry_byindex(folder, i);

		if (is_image(entry)) vec_add(names_r, git_tree_entry_name(entry));
	}
}

/* What this commit added or changed is kept next, as long as there is room. */
static void keep_changed(const git_tree *now, const git_tree *before, const struct vec *there, size_t most,
			 struct vec *kept)
{
	for (size_t i = 0; i < git_tree_entrycount(now) && kept->len < most; i++) {
		const git_tree_entry *entry = git_tree_entry_byindex(now, i);
		const char *name = git_tree_entry_name(entry);
		const git_tree_entry *old = before ? git_tree_entry_byname(before, name) : NULL;

		if (!is_image(entry) || vec_has(kept, name) || !vec_has(there, name)) continue;
		if (!old || !git_oid_equal(git_tree_entry_id(entry), git_tree_entry_id(old))) vec_add(kept, name);
	}
}

static int same_folder(const git_tree *a, const git_tree *b)
{
	return a && b && git_oid_equal(git_tree_id(a), git_tree_id(b));
}

static int walk(git_repository *git, const git_commit *tip, const struct keep *k, const struct vec *there,
		struct vec *kept, struct err *e)
{
	_cleanup_git_(git_commit) git_commit *at = NULL;
	_cleanup_git_(git_tree) git_tree *now = NULL;

	if (git_commit_lookup(&at, git, git_commit_id(tip))) return git2_fail(e, ERR_SYS, "cannot read the tip");
	if (folder_of(git, at, k->path, &now, e)) return -1;
	while (at && kept->len < (size_t)k->most) {
		_cleanup_git_(git_commit) git_commit *parent = NULL;
		_cleanup_git_(git_tree) git_tree *before = NULL;

		if (git_commit_parentcount(at) && git_commit_parent(&parent, at, 0))
			return git2_fail(e, ERR_SYS, "cannot read the history of '%s'", k->path);
		if (folder_of(git, parent, k->path, &before, e)) return -1;
		if (now && !same_folder(now, before)) keep_changed(now, before, there, (size_t)k->most, kept);
		git_commit_free(at);
		git_tree_free(now);
		at = steal(parent);
		now = steal(before);
	}
	return 0;
}

int keep_choose(git_repository *git, const git_commit *tip, const struct keep *k, struct vec *gone_r, struct err *e)
{
	_cleanup_git_(git_tree) git_tree *folder = NULL;
	_cleanup_vec_ struct vec there = VEC_INIT, kept = VEC_INIT;
	size_t fresh = 0;

	if (!k->most || !tip || folder_of(git, tip, k->path, &folder, e)) return !k->most || !tip ? 0 : -1;
	if (folder) list_images(folder, &there);
	for (size_t i = 0; i < ARRAY_LEN(k->always); i++) {
		const char *name = k->always[i];

		if (!name || !*name || vec_has(&kept, name)) continue;
		vec_add(&kept, name);
		fresh += !vec_has(&there, name);
	}
	if (there.len + fresh <= (size_t)k->most) return 0;
	if (walk(git, tip, k, &there, &kept, e)) return -1;
	for (size_t i = 0; i < there.len; i++)
		if (!vec_has(&kept, there.items[i])) vec_add(gone_r, there.items[i]);
	return 0;
}
