/* Which images of a path are one too many: the branch's history is walked from its tip. */
#include "runner/publish/keep.h"

#include <string.h>

enum { MAX_LIST = 1 << 20 };

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

/* --- what is never taken away --- */

static int is_commit(const char *s, size_t len)
{
	return len == 40 && strspn(s, "0123456789abcdef") >= 40;
}

/* A commit a line; white space and what stands behind it, and lines that start with #, are remarks. */
static int read_list(const struct keep *k, const char *name, const char *text, struct vec *held, struct err *e)
{
	size_t number = 1;

	for (const char *p = text; *p; number++) {
		size_t line = strcspn(p, "\n"), blank = strspn(p, " \t\r"), n = strcspn(p + blank, " \t\r\n");

		if (blank < line && p[blank] != '#') {
			if (!is_commit(p + blank, n))
				return err_set(e, ERR_INPUT, "'%s/%s' line %zu is not a commit of 40 hex digits",
					       k->path, name, number);
			vec_take(held, xstrndup(p + blank, n));
		}
		p += line + (p[line] == '\n');
	}
	return 0;
}

/* Files beside the images: a pointer is 40 hex digits and a newline, whatever its name; `pins` and `holds` are lists.
 */
static int list_held(git_repository *git, git_tree *folder, const struct keep *k, struct vec *held, struct err *e)
{
	for (size_t i = 0; i < git_tree_entrycount(folder); i++) {
		const git_tree_entry *entry = git_tree_entry_byindex(folder, i);
		const char *name = git_tree_entry_name(entry);
		_cleanup_git_(git_blob) git_blob *blob = NULL;
		_cleanup_free_ char *text = NULL;
		int list = !strcmp(name, "pins") || !strcmp(name, "holds");

		/* `latest` itself is about to move: what it will name is in always. */
		if (git_tree_entry_type(entry) != GIT_OBJECT_BLOB || !strcmp(name, "latest")) continue;
		if (git_blob_lookup(&blob, git, git_tree_entry_id(entry)))
			return git2_fail(e, ERR_SYS, "cannot read '%s/%s'", k->path, name);
		if (git_blob_rawsize(blob) > MAX_LIST) {
			if (!list) continue;
			return err_set(e, ERR_INPUT, "'%s/%s' is larger than %d bytes", k->path, name, MAX_LIST);
		}
		text = xstrndup(git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob));
		if (list && read_list(k, name, text, held, e)) return -1;
		if (!list && strlen(text) == 41 && text[40] == '\n' && is_commit(text, 40)) {
			text[40] = '\0';
			vec_add(held, text);
		}
	}
	return 0;
}

/* Those that may go: not the held ones, which take no place of the newest either. */
static void list_images(const git_tree *folder, const struct vec *held, const struct keep *k, struct vec *names_r)
{
	for (size_t i = 0; i < git_tree_entrycount(folder); i++) {
		const git_tree_entry *entry = git_tree_entry_byindex(folder, i);

		const char *name = git_tree_entry_name(entry);
		int counts = 0;

		for (size_t n = 0; n < ARRAY_LEN(k->always); n++) counts |= k->always[n] && !strcmp(k->always[n], name);
		if (is_image(entry) && (counts || !vec_has(held, name))) vec_add(names_r, name);
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

/* *parent_r stays NULL at the end of the history. */
static int parent_of(const git_commit *at, const struct keep *k, git_commit **parent_r, struct err *e)
{
	int rc, more = 0;

	if (!git_commit_parentcount(at)) return 0;
	while ((rc = git_commit_parent(parent_r, at, 0)) == GIT_ENOTFOUND && k->deeper && !more) {
		more = k->deeper(k->arg, e);
		if (more < 0) return -1;
	}
	return rc ? git2_fail(e, ERR_SYS, "cannot read the history of '%s'", k->path) : 0;
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

		if (parent_of(at, k, &parent, e)) return -1;
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
	_cleanup_vec_ struct vec there = VEC_INIT, kept = VEC_INIT, held = VEC_INIT;
	size_t fresh = 0;

	if (!k->most || !tip || folder_of(git, tip, k->path, &folder, e)) return !k->most || !tip ? 0 : -1;
	if (folder && list_held(git, folder, k, &held, e)) return -1;
	if (folder) list_images(folder, &held, k, &there);
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
