/* `runner gc`: evicts the files of jobs that have ended, oldest first, and clones of deployment repositories, least
 * recently used first. Rows stay: what was built and how it ended is known for ever. A job's folder goes as a whole, a
 * job that has not ended and the newest job of a repository never. Mirrors and work trees count, too: mirrors are kept
 * small by packing, trees that no job uses go first.
 *
 *   jobs/ ─→ beyond --keep-jobs of their repository ─→ removed
 *     └───→ with publish/'s clones and repos/'s caches, oldest first, until --disk-budget holds ─→ removed
 *   images ─→ imagegc.h, by --image-budget
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/checkout.h"
#include "runner/cmd.h"
#include "runner/gc.h"
#include "runner/imagegc.h"
#include "runner/job_cache.h"
#include "runner/place.h"
#include "runner/removal.h"
#include "runner/store/caches.h"
#include "runner/store/mirror.h"

enum { NOTICE_DAYS = 30 };           /* that notices are known of after they were sent or given up */
enum { IDLE_TREE_MS = 3600 * 1000 }; /* a build's last job removes its tree; this is for those that never came so far */

struct item {
	char *what;              /* "job 12 of demo/site" */
	char *path;              /* what would be removed */
	char *lock;              /* held by whoever uses it; NULL: a file, whose users have it open */
	int64_t job_id, repo_id; /* 0: no job's */
	int64_t time_ms, bytes;  /* when it was last of use */
	int fixed;               /* never evicted */
};

struct gc_run {
	struct place place;
	struct gc_settings settings;
	int dry;
	struct item *items;
	size_t n;
	int64_t total, freed;
	int removed, failed;
};

static void gc_run_release(struct gc_run *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->items[i].what);
		free(r->items[i].path);
		free(r->items[i].lock);
	}
	free(r->items);
	place_release(&r->place);
}

/* --- what there is --- */

/* Bytes that a tree takes on the disk. What vanishes or cannot be read meanwhile counts as nothing. */
static int64_t tree_bytes(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	int64_t sum = 0;

	if (!dir) {
		close_p(&fd);
		return 0;
	}
	for (struct dirent *d; (d = readdir(dir));) {
		struct stat st;

		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..")) continue;
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
		sum += S_ISDIR(st.st_mode) ? tree_bytes(dirfd(dir), d->d_name) : (int64_t)st.st_blocks * 512;
	}
	closedir(dir);
	return sum;
}

static struct item *add_item(struct gc_run *r, char *path, char *lock)
{
	struct item *it;

	r->items = xrealloc(r->items, (r->n + 1) * sizeof(*r->items));
	it = &r->items[r->n++];
	*it = (struct item){.path = path, .lock = lock, .bytes = tree_bytes(AT_FDCWD, path)};
	r->total += it->bytes;
	return it;
}

static int add_job(struct gc_run *r, int64_t id, struct err *e)
{
	__attribute__((cleanup(job_row_release))) struct job_row row = {0};
	__attribute__((cleanup(build_row_release))) struct build_row build = {0};
	struct item *it;

	if (store_job_get(r->place.store, id, &row, e)) return e->kind == ERR_MISSING ? 0 : -1;
	if (store_build_get(r->place.store, row.build_id, &build, e)) return -1;
	it = add_item(r, home_job(&r->place.home, id, NULL), home_job(&r->place.home, id, "lock"));
	it->what = xasprintf("job %d.%d of %s", build.number, row.number, build.repo);
	it->job_id = id;
	it->repo_id = build.repo_id;
	it->time_ms = row.finished_ms;
	it->fixed = !job_state_is_final(row.state);
	return 0;
}

static int add_clone(struct gc_run *r, const char *name)
{
	_cleanup_free_ char *dir = xasprintf("%s/publish/%s", r->place.home.state, name);
	char *lock = xasprintf("%s/lock", dir);
	struct stat st;
	struct item *it;

	if (stat(lock, &st)) {
		free(lock);
		return 0;
	}
	/* The folder and its lock stay: another publisher may wait for it. */
	it = add_item(r, xasprintf("%s/repo.git", dir), lock);
	it->what = xasprintf("clone %s of a deployment repository", name);
	it->time_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return 0;
}

/* A repository's caches: first what killed savers left and what is beyond its quota, then what there is. */
static int add_caches(struct gc_run *r, const struct repo *repo, struct err *e)
{
	_cleanup_free_ char *dir = home_repo(&r->place.home, repo->id, "cache");
	struct cache_item *items = NULL;
	size_t n = 0;
	int removed = 0;

	if (!r->dry) {
		caches_tidy(dir);
		if (caches_fit(dir, cache_bytes_quota(), &removed, e)) return -1;
		if (removed) printf("gc: removed %d caches of %s beyond its quota\n", removed, repo->name);
	}
	if (caches_list(dir, &items, &n, e)) return -1;
	for (size_t i = 0; i < n; i++) {
		struct item *it = add_item(r, xstrdup(items[i].path), NULL);

		it->what = xasprintf("cache %.12s of %s (%s)", items[i].key, repo->name, items[i].tier);
		it->time_ms = items[i].used_ms;
		r->total += items[i].disk_bytes - it->bytes;
		it->bytes = items[i].disk_bytes;
	}
	cache_items_free(&items, n);
	return 0;
}

/* What is fetched from sources is kept; one that was found damaged and laid aside is not. */
static int add_mirror(struct gc_run *r, const struct repo *repo, struct err *e)
{
	_cleanup_free_ char *dir = home_repo(&r->place.home, repo->id, "mirror.git");
	_cleanup_free_ char *modules = home_repo(&r->place.home, repo->id, "modules");
	_cleanup_free_ char *broken = xasprintf("%s.broken", dir);
	struct err why;
	struct stat st;
	struct item *it;

	if (!r->dry && fs_exists(dir) && mirror_pack(dir, &why)) r->failed = cmd_fail("gc", why.text);
	r->total += tree_bytes(AT_FDCWD, dir) + tree_bytes(AT_FDCWD, modules);
	if (lstat(broken, &st)) return errno == ENOENT ? 0 : err_sys(e, "cannot look at '%s'", broken);
	it = add_item(r, xstrdup(broken), xasprintf("%s.lock", dir));
	it->what = xasprintf("damaged mirror of %s", repo->name);
	it->time_ms = (int64_t)st.st_ctim.tv_sec * 1000; /* it was renamed then */
	return 0;
}

static int list_repos(struct gc_run *r, struct err *e)
{
	struct repo *repos = NULL;
	size_t n = 0;
	int rc = 0;

	if (store_repo_list(r->place.store, &repos, &n, e)) return -1;
	for (size_t i = 0; i < n && !rc; i++) rc = add_caches(r, &repos[i], e) || add_mirror(r, &repos[i], e) ? -1 : 0;
	repos_free(&repos, n);
	return rc;
}

static int list(struct gc_run *r, const char *folder, struct err *e)
{
	_cleanup_free_ char *path = home_file(&r->place.home, folder);
	int jobs = !strcmp(folder, "jobs"), rc = 0;
	DIR *dir = opendir(path);

	if (!dir) return err_sys(e, "cannot list '%s'", path);
	for (struct dirent *d; !rc && (d = readdir(dir));) {
		size_t len = strlen(d->d_name);

		if (jobs && len < 19 && strspn(d->d_name, "0123456789") == len)
			rc = add_job(r, strtoll(d->d_name, NULL, 10), e);
		else if (!jobs && len == 32 && strspn(d->d_name, "0123456789abcdef") == len)
			rc = add_clone(r, d->d_name);
	}
	closedir(dir);
	return rc;
}

/* --- what goes --- */

static void evict(struct gc_run *r, struct item *it)
{
	_cleanup_close_ int lock = -1;
	struct err e;

	it->fixed = 1; /* once is enough */
	if (!it->bytes && !fs_exists(it->path)) return;
	if (!r->dry && it->lock && fs_lock(it->lock, 0, &lock, &e)) {
		if (e.kind != ERR_BUSY) r->failed = cmd_fail("gc", e.text);
		return;
	}
	if (!r->dry && fs_remove_tree(it->path, &e)) {
		r->failed = cmd_fail("gc", e.text);
		return;
	}
	printf("gc: %s %s, %lld kB\n", r->dry ? "would remove" : "removed", it->what, (long long)(it->bytes / 1000));
	r->total -= it->bytes;
	r->freed += it->bytes;
	r->removed++;
}

/* By repository, newest first. */
static int by_repository(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->repo_id != y->repo_id) return x->repo_id < y->repo_id ? -1 : 1;
	return x->job_id > y->job_id ? -1 : x->job_id < y->job_id;
}

static int by_time(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->time_ms != y->time_ms) return x->time_ms < y->time_ms ? -1 : 1;
	return x->job_id < y->job_id ? -1 : x->job_id > y->job_id;
}

static void keep_newest(struct gc_run *r)
{
	int64_t repo = 0;
	int ended = 0;

	qsort(r->items, r->n, sizeof(*r->items), by_repository);
	for (size_t i = 0; i < r->n; i++) {
		struct item *it = &r->items[i];

		if (!it->repo_id || it->fixed) continue;
		if (it->repo_id != repo) ended = 0;
		repo = it->repo_id;
		if (++ended > 1 && r->settings.keep_jobs && ended > r->settings.keep_jobs) evict(r, it);
		if (ended == 1) it->fixed = 1;
	}
}

/* Trees are the cheapest to make again. */
static void sweep_trees(struct gc_run *r, int64_t idle_ms)
{
	_cleanup_free_ char *dir = checkout_folder(&r->place.home);
	int64_t before = tree_bytes(AT_FDCWD, dir);

	checkout_sweep(&r->place.home, idle_ms);
	r->total += tree_bytes(AT_FDCWD, dir) - before;
}

static void keep_budget(struct gc_run *r)
{
	int64_t budget = r->settings.disk_budget_bytes;

	if (!r->dry && budget && r->total > budget) sweep_trees(r, 0);
	qsort(r->items, r->n, sizeof(*r->items), by_time);
	for (size_t i = 0; i < r->n && budget; i++)
		if (r->total > budget && !r->items[i].fixed) evict(r, &r->items[i]);
}

static int fit_images(struct gc_run *r, struct err *e)
{
	const struct imagegc g = {r->place.home.cache, r->settings.image_budget_bytes, r->dry};
	int rc = imagegc_run(&g, e);

	r->failed |= rc == 1;
	return rc < 0 ? -1 : 0;
}

static int forget_notices(struct gc_run *r, struct err *e)
{
	int64_t before = clock_unix_ms() - NOTICE_DAYS * 24LL * 3600 * 1000;
	int n = 0;

	if (r->dry) return 0;
	if (store_notices_forget(r->place.store, before, &n, e)) return -1;
	if (n) printf("gc: forgot %d notices older than %d days\n", n, (int)NOTICE_DAYS);
	return 0;
}

static int run(struct gc_run *r, struct err *e)
{
	_cleanup_free_ char *path = home_file(&r->place.home, "gc.lock"), *trees = checkout_folder(&r->place.home);
	_cleanup_close_ int lock = -1;

	if (fs_lock(path, 1, &lock, e) || (!r->dry && removal_sweep(&r->place, e)) || fit_images(r, e)) return -1;
	if (list(r, "jobs", e) || list(r, "publish", e) || list_repos(r, e)) return -1;
	if (forget_notices(r, e)) return -1;
	r->total += tree_bytes(AT_FDCWD, trees);
	if (!r->dry) sweep_trees(r, IDLE_TREE_MS);
	if (!r->n) return 0;
	keep_newest(r);
	keep_budget(r);
	if (r->removed || r->dry)
		printf("gc: %d %s, %lld kB; %lld kB are left\n", r->removed, r->dry ? "would go" : "removed",
		       (long long)(r->freed / 1000), (long long)(r->total / 1000));
	return 0;
}

int cmd_gc(int argc, char **argv)
{
	static const struct option known[] = {
		{"state", required_argument, NULL, 's'}, {"dry-run", no_argument, NULL, 'n'}, GC_OPTIONS, {0}};
	__attribute__((cleanup(gc_run_release))) struct gc_run r = {.settings = GC_SETTINGS_INIT};
	const char *state = NULL;
	struct err e;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 's': state = optarg; break;
		case 'n': r.dry = 1; break;
		case GC_OPT_KEEP_JOBS:
		case GC_OPT_DISK_BUDGET:
		case GC_OPT_IMAGE_BUDGET:
			if (gc_take_option(c, optarg, &r.settings, &e)) return cmd_fail(argv[0], e.text);
			break;
		default: return cmd_usage(argv[0]);
		}
	if (optind != argc) return cmd_usage(argv[0]);
	if (place_open(state, &r.place, &e) || run(&r, &e)) return cmd_fail(argv[0], e.text);
	return r.failed;
}
