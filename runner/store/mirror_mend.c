/* Keeping a mirror usable: what killed or starved gits leave is removed, one with something missing is made anew, refs
 * of old events are dropped, many packs become few. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/store/mirror_git.h"
#include "runner/trigger/git.h"

enum { CHECK_MS = 10 * 60 * 1000, PACK_MS = 30 * 60 * 1000, MANY_PACKS = 20 };

static void remove_half_packs(const char *dir)
{
	_cleanup_free_ char *packs = xasprintf("%s/objects/pack", dir);
	DIR *list = opendir(packs);

	if (!list) return;
	for (struct dirent *d; (d = readdir(list));)
		if (!strncmp(d->d_name, "tmp_", 4)) unlinkat(dirfd(list), d->d_name, 0);
	closedir(list);
}

void mirror_tidy(const char *dir, const char *keep)
{
	static const char *const names[] = {"shallow", "packed-refs", "config", "HEAD"};
	_cleanup_free_ char *kept = xasprintf("%s/refs/slipway/%s.lock", dir, keep);

	remove_half_packs(dir);
	unlink(kept);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s.lock", dir, names[i]);

		unlink(path);
	}
}

int mirror_is_damaged(const char *dir, const char *url)
{
	static const char *const check[] = {"rev-list", "--objects", "--quiet", "--all", NULL};
	_cleanup_vec_ struct vec heads = VEC_INIT;
	_cleanup_free_ char *head = NULL;
	struct err ignored;

	if (git_ls_remote(url, &heads, &head, &ignored)) return 0;
	return mirror_git(dir, check, &(struct mirror_run){.limit_ms = CHECK_MS}, &ignored) != 0;
}

/* "<id> <name>" of every ref below refs/slipway/; as far as git can still tell. */
static void list_kept(const char *dir, struct buf *out)
{
	struct err ignored;

	if (mirror_git(
		    dir,
		    (const char *const[]){"for-each-ref", "--format=%(objectname) %(refname)", "refs/slipway/", NULL},
		    &(struct mirror_run){.out = out}, &ignored))
		buf_clear(out);
}

static int fetch_ref(const char *dir, const char *from, const char *what, const char *ref)
{
	_cleanup_free_ char *spec = xasprintf("+%s:%s", what, ref);
	struct err ignored;

	return mirror_git(
		dir, (const char *const[]){"fetch", "-q", "--no-tags", "--no-write-fetch-head", "--", from, spec, NULL},
		&(struct mirror_run){.limit_ms = CHECK_MS}, &ignored);
}

/* What other events had: from the old mirror, else from the source by id. */
static void carry_over(const struct mirror_want *w, const char *fresh)
{
	_cleanup_buf_ struct buf list = BUF_INIT(16 << 20);
	_cleanup_free_ char *kept = xasprintf("refs/slipway/%s", w->keep);

	list_kept(w->dir, &list);
	for (char *line = list.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
		char *ref = strchr(line, ' ');

		*end = '\0';
		if (!ref) continue;
		*ref++ = '\0';
		if (!strcmp(ref, kept)) continue;
		if (fetch_ref(fresh, w->dir, ref, ref) && fetch_ref(fresh, w->url, line, ref)) continue;
	}
}

static int swap(const char *dir, const char *fresh, struct err *e)
{
	_cleanup_free_ char *broken = xasprintf("%s.broken", dir);

	if (fs_remove_tree(broken, e)) return -1;
	if (rename(dir, broken)) return err_sys(e, "cannot move '%s' aside", dir);
	return rename(fresh, dir) ? err_sys(e, "cannot rename '%s'", fresh) : 0;
}

int mirror_renew(const struct mirror_want *w, struct err *e)
{
	_cleanup_free_ char *fresh = xasprintf("%s.new", w->dir);
	struct err ignored;

	if (fs_remove_tree(fresh, e)) return -1;
	if (mirror_init(fresh, e) || mirror_bring(fresh, w, e)) {
		if (fs_remove_tree(fresh, &ignored)) return -1;
		return -1;
	}
	carry_over(w, fresh);
	return swap(w->dir, fresh, e);
}

static int is_among(int64_t id, const int64_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == id) return 1;
	return 0;
}

int mirror_prune(const char *dir, const int64_t *ids, size_t n, struct err *e)
{
	static const char prefix[] = "refs/slipway/events/";
	_cleanup_buf_ struct buf list = BUF_INIT(16 << 20), orders = BUF_INIT(16 << 20);
	_cleanup_free_ char *lock_path = xasprintf("%s.lock", dir);
	_cleanup_close_ int lock = -1;
	size_t count = 0;

	if (fs_lock(lock_path, 0, &lock, e)) return e->kind == ERR_BUSY ? 0 : -1; /* the next one will */
	list_kept(dir, &list);
	for (const char *p = buf_str(&list); (p = strchr(p, '\n')); p++) count++;
	if (count <= 2 * n) return 0;
	for (char *line = list.data, *end; line && (end = strchr(line, '\n')); line = end + 1) {
		char *ref = strchr(line, ' '), *stop;

		*end = '\0';
		if (!ref || strncmp(ref + 1, prefix, strlen(prefix))) continue;
		if (is_among(strtoll(ref + 1 + strlen(prefix), &stop, 10), ids, n) && !*stop) continue;
		buf_addf(&orders, "delete %s\n", ref + 1);
	}
	return mirror_git(dir, (const char *const[]){"update-ref", "--stdin", NULL},
			  &(struct mirror_run){.input = &orders}, e);
}

static int count_packs(const char *dir)
{
	_cleanup_free_ char *packs = xasprintf("%s/objects/pack", dir);
	DIR *list = opendir(packs);
	int n = 0;

	if (!list) return 0;
	for (struct dirent *d; (d = readdir(list));) {
		size_t len = strlen(d->d_name);

		n += len > 5 && !strcmp(d->d_name + len - 5, ".pack");
	}
	closedir(list);
	return n;
}

/* Geometric: each pack at least twice as large as all smaller ones, so that a large one is not written again for a few
 * small ones. Killed in between, git leaves its new pack beside the old ones, or a half one that mirror_tidy() knows.
 */
int mirror_pack(const char *dir, struct err *e)
{
	_cleanup_free_ char *lock_path = xasprintf("%s.lock", dir);
	_cleanup_close_ int lock = -1;

	if (count_packs(dir) <= MANY_PACKS) return 0;
	if (fs_lock(lock_path, 0, &lock, e)) return e->kind == ERR_BUSY ? 0 : -1;
	remove_half_packs(dir);
	if (mirror_git(dir, (const char *const[]){"repack", "--geometric=2", "-d", "-q", NULL},
		       &(struct mirror_run){.limit_ms = PACK_MS}, e))
		return err_wrap(e, "cannot pack the mirror '%s'", dir);
	return 0;
}
