/* What a publication reads of the tip, before it is read: the clone has no files but those that were asked for. */
#include "runner/publish/prefetch.h"

#include <stdlib.h>
#include <string.h>

#include "runner/publish/layout.h"

enum { MAX_LIST = 2000 };

struct list {
	git_oid *blobs;
	size_t len;
};

static void list_release(struct list *l)
{
	free(l->blobs);
}

static void add(struct list *l, const git_tree_entry *entry)
{
	if (!entry || git_tree_entry_type(entry) != GIT_OBJECT_BLOB || l->len >= MAX_LIST) return;
	if (!l->blobs) l->blobs = xcalloc(MAX_LIST, sizeof(*l->blobs));
	git_oid_cpy(&l->blobs[l->len++], git_tree_entry_id(entry));
}

static int ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && !strcmp(name + n - m, end);
}

/* Beside the images: any file may be a pointer that keeps an image. */
static void add_top(struct list *l, const git_tree *folder, int all)
{
	static const char *const always[] = {"latest", "latest.minisig", "sequence"};

	for (size_t i = 0; i < ARRAY_LEN(always); i++) add(l, git_tree_entry_byname(folder, always[i]));
	for (size_t i = 0; all && i < git_tree_entrycount(folder); i++) add(l, git_tree_entry_byindex(folder, i));
}

static void add_papers(struct list *l, const git_tree *folder)
{
	for (size_t i = 0; i < git_tree_entrycount(folder); i++) {
		const git_tree_entry *entry = git_tree_entry_byindex(folder, i);
		const char *name = git_tree_entry_name(entry);

		if (ends_with(name, ".json") || ends_with(name, ".minisig")) add(l, entry);
	}
}

static int open_folder(git_repository *git, git_tree *tip, const char *path, const char *commit, git_tree **sub_r,
		       struct err *e)
{
	_cleanup_free_ char *full = commit ? xasprintf("%s/%s", path, commit) : xstrdup(path);

	return layout_folder(git, tip, full, sub_r, e);
}

int prefetch(struct deployrepo *d, git_tree *tip, const struct publish_request *r, struct err *e)
{
	__attribute__((cleanup(list_release))) struct list first = {0}, second = {0};
	_cleanup_git_(git_tree) git_tree *top = NULL, *ours = NULL, *named = NULL;
	git_repository *git = deployrepo_git(d);
	char latest[41];
	int rc;

	if (open_folder(git, tip, r->path, NULL, &top, e) || open_folder(git, tip, r->path, r->commit, &ours, e))
		return -1;
	if (top) add_top(&first, top, r->keep > 0);
	if (ours) add_papers(&first, ours);
	rc = deployrepo_need(d, first.blobs, first.len, e);
	if (rc) return rc;
	if (layout_latest(git, tip, r->path, latest, e)) return -1;
	if (!*latest || open_folder(git, tip, r->path, latest, &named, e)) return *latest ? -1 : 0;
	if (named) add(&second, git_tree_entry_byname(named, "manifest.json"));
	return deployrepo_need(d, second.blobs, second.len, e);
}
