/* Trees of a deployment repository. Only the trees on the way to the new files are written anew. */
#include "runner/publish/layout.h"

#include <string.h>

static int bad_tree(struct err *e)
{
	return git2_fail(e, ERR_SYS, "cannot write a tree of the deployment repository");
}

/* The folder `name` in `tree`; *sub_r stays NULL when there is none. */
static int get_folder(git_repository *git, const git_tree *tree, const char *name, git_tree **sub_r, struct err *e)
{
	const git_tree_entry *entry = tree ? git_tree_entry_byname(tree, name) : NULL;

	if (!entry) return 0;
	if (git_tree_entry_type(entry) != GIT_OBJECT_TREE)
		return err_set(e, ERR_INPUT, "'%s' in the deployment repository is not a folder", name);
	if (git_tree_lookup(sub_r, git, git_tree_entry_id(entry)))
		return git2_fail(e, ERR_SYS, "cannot read folder '%s' of the deployment repository", name);
	return 0;
}

static int put_file(git_treebuilder *b, const char *name, const git_oid *blob, unsigned mode, struct err *e)
{
	const git_tree_entry *old = git_treebuilder_get(b, name);

	if (old && git_tree_entry_type(old) == GIT_OBJECT_TREE)
		return err_set(e, ERR_INPUT, "'%s' in the deployment repository is a folder", name);
	if (git_treebuilder_insert(NULL, b, name, blob, mode & 0111 ? GIT_FILEMODE_BLOB_EXECUTABLE : GIT_FILEMODE_BLOB))
		return bad_tree(e);
	return 0;
}

static int drop(git_treebuilder *b, const struct vec *names, struct err *e)
{
	for (size_t i = 0; names && i < names->len; i++)
		if (git_treebuilder_get(b, names->items[i]) && git_treebuilder_remove(b, names->items[i]))
			return bad_tree(e);
	return 0;
}

static int put_all(git_treebuilder *b, const struct layout_file *files, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (put_file(b, files[i].name, &files[i].blob, files[i].mode, e)) return -1;
	return 0;
}

static int commit_folder(git_repository *git, const git_tree *old, const struct layout *l, git_oid *tree_r,
			 struct err *e)
{
	_cleanup_git_(git_treebuilder) git_treebuilder *b = NULL;

	if (git_treebuilder_new(&b, git, old)) return bad_tree(e);
	if (drop(b, l->dropped, e) || put_all(b, l->files, l->nfiles, e)) return -1;
	return git_treebuilder_write(tree_r, b) ? bad_tree(e) : 0;
}

/* `old` with the rest of the path, l->path from `rest` on, below it. */
static int rewrite(git_repository *git, const git_tree *old, const char *rest, const struct layout *l, git_oid *tree_r,
		   struct err *e)
{
	_cleanup_git_(git_treebuilder) git_treebuilder *b = NULL;
	_cleanup_git_(git_tree) git_tree *sub = NULL;
	size_t n = strcspn(rest, "/");
	_cleanup_free_ char *name = *rest ? xstrndup(rest, n) : xstrdup(l->commit);
	git_oid below;

	if (get_folder(git, old, name, &sub, e)) return -1;
	if (*rest ? rewrite(git, sub, rest + n + (rest[n] == '/'), l, &below, e)
		  : commit_folder(git, sub, l, &below, e))
		return -1;
	if (git_treebuilder_new(&b, git, old) || git_treebuilder_insert(NULL, b, name, &below, GIT_FILEMODE_TREE))
		return bad_tree(e);
	if (!*rest && (drop(b, l->gone, e) || put_all(b, l->top, l->ntop, e))) return -1;
	return git_treebuilder_write(tree_r, b) ? bad_tree(e) : 0;
}

int layout_tree(git_repository *git, const git_tree *base, const struct layout *l, git_oid *tree_r, struct err *e)
{
	return rewrite(git, base, l->path, l, tree_r, e);
}

int layout_read(git_repository *git, git_tree *tree, const char *path, struct buf *text, struct err *e)
{
	_cleanup_git_(git_tree_entry) git_tree_entry *entry = NULL;
	_cleanup_git_(git_blob) git_blob *blob = NULL;
	int rc;

	if (!tree) return 1;
	rc = git_tree_entry_bypath(&entry, tree, path);
	if (rc == GIT_ENOTFOUND) return 1;
	if (rc) return git2_fail(e, ERR_SYS, "cannot read '%s' of the deployment repository", path);
	if (git_tree_entry_type(entry) != GIT_OBJECT_BLOB || git_tree_entry_filemode(entry) == GIT_FILEMODE_LINK)
		return 1;
	if (git_blob_lookup(&blob, git, git_tree_entry_id(entry)))
		return git2_fail(e, ERR_SYS, "cannot read '%s' of the deployment repository", path);
	buf_add(text, git_blob_rawcontent(blob), (size_t)git_blob_rawsize(blob));
	return buf_check(text, path, e);
}

int layout_folder(git_repository *git, git_tree *tree, const char *path, git_tree **sub_r, struct err *e)
{
	_cleanup_git_(git_tree_entry) git_tree_entry *entry = NULL;
	int rc;

	if (!tree) return 0;
	rc = git_tree_entry_bypath(&entry, tree, path);
	if (rc == GIT_ENOTFOUND) return 0;
	if (!rc && git_tree_entry_type(entry) != GIT_OBJECT_TREE) return 0;
	if (rc || git_tree_lookup(sub_r, git, git_tree_entry_id(entry)))
		return git2_fail(e, ERR_SYS, "cannot read folder '%s' of the deployment repository", path);
	return 0;
}

int layout_latest(git_repository *git, git_tree *tree, const char *path, char commit_r[41], struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s/latest", path);
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	int rc = layout_read(git, tree, name, &text, e);

	commit_r[0] = '\0';
	if (rc) return rc < 0 ? -1 : 0;
	if (text.len < 40 || strspn(buf_str(&text), "0123456789abcdef") != 40) return 0;
	memcpy(commit_r, text.data, 40);
	commit_r[40] = '\0';
	return 0;
}
