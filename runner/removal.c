/* Taking a repository away. */
#include "runner/removal.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/checkout.h"
#include "runner/leader.h"
#include "runner/sandbox/sandbox.h"

enum { CANCEL_MS = 60 * 1000, LEADER_MS = 10 * 1000, LOOK_MS = 50 };

#define MARK "removing"

/* --- folders --- */

static int remove_job(const struct home *h, int64_t id, struct err *e)
{
	_cleanup_free_ char *dir = home_job(h, id, NULL), *lock_path = home_job(h, id, "lock");
	_cleanup_free_ char *box = home_job(h, id, "box");
	_cleanup_close_ int lock = -1;

	/* Its leader has written the last row, and is about to end. One that does not is the next sweep's. */
	for (int64_t end = clock_mono_ms() + LEADER_MS; fs_lock(lock_path, 0, &lock, e); poll(NULL, 0, LOOK_MS)) {
		if (e->kind != ERR_BUSY) return -1;
		if (clock_mono_ms() > end) return 0;
	}
	sandbox_discard(box);
	return fs_remove_tree(dir, e);
}

/* 1: there is no row */
static int job_is_gone(struct place *p, int64_t id, struct err *e)
{
	struct job_row row;

	if (store_job_get(p->store, id, &row, e)) return e->kind == ERR_MISSING ? 1 : -1;
	job_row_release(&row);
	return 0;
}

static int repo_is_gone(struct place *p, int64_t id, struct err *e)
{
	struct repo row;

	if (store_repo_get(p->store, id, &row, e)) return e->kind == ERR_MISSING ? 1 : -1;
	repo_release(&row);
	return 0;
}

/* A folder without a row and without the mark is not ours to judge: there is a key in it. */
static int sweep_repo(struct place *p, const char *name, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s/repos/%s", p->home.state, name), *mark = xasprintf("%s/" MARK, dir);
	_cleanup_free_ char *removed = xasprintf("%s.removed", dir);
	const char *dot = strchr(name, '.');
	int64_t id;
	int gone;

	if (dot) return strcmp(dot, ".removed") ? 0 : fs_remove_tree(dir, e);
	if (num_parse(name, 1, INT64_MAX, &id) || !fs_exists(mark)) return 0;
	gone = repo_is_gone(p, id, e);
	if (gone <= 0) return gone;
	if (fs_remove_tree(removed, e)) return -1;
	if (rename(dir, removed)) return errno == ENOENT ? 0 : err_sys(e, "cannot rename '%s'", dir);
	return fs_remove_tree(removed, e);
}

static int sweep_job(struct place *p, const char *name, struct err *e)
{
	int64_t id;
	int gone;

	if (num_parse(name, 1, INT64_MAX, &id)) return 0;
	gone = job_is_gone(p, id, e);
	return gone <= 0 ? gone : remove_job(&p->home, id, e);
}

static int sweep(struct place *p, const char *folder, int (*one)(struct place *, const char *, struct err *),
		 struct err *e)
{
	_cleanup_free_ char *path = home_file(&p->home, folder);
	DIR *dir = opendir(path);
	int rc = 0;

	if (!dir) return err_sys(e, "cannot list '%s'", path);
	for (struct dirent *d; !rc && (d = readdir(dir));)
		if (strchr("0123456789", d->d_name[0])) rc = one(p, d->d_name, e);
	closedir(dir);
	return rc;
}

int removal_sweep(struct place *p, struct err *e)
{
	return sweep(p, "jobs", sweep_job, e) || sweep(p, "repos", sweep_repo, e) ? -1 : 0;
}

/* --- what is not over --- */

/* 1: some of it still goes on */
static int cancel_jobs(struct place *p, const struct build_row *build, struct err *e)
{
	struct job_row *jobs;
	size_t n;
	int rc = 0;

	if (store_build_jobs(p->store, build->id, &jobs, &n, e)) return -1;
	for (size_t i = 0; i < n && rc >= 0; i++) {
		struct err why;
		int r;

		if (job_state_is_final(jobs[i].state)) continue;
		rc = 1;
		r = store_job_cancel(p->store, jobs[i].id, "its repository is removed", clock_unix_ms(), &why);
		/* It ended just now, or is published. */
		if (r < 0 && why.kind != ERR_DENIED && why.kind != ERR_BUSY) {
			*e = why;
			rc = -1;
		}
		if (r == 1 && leader_tell(&p->home, jobs[i].id, e)) rc = -1;
	}
	job_rows_free(&jobs, n);
	return rc;
}

static int cancel_all(struct place *p, int64_t repo_id, struct err *e)
{
	struct build_row *builds;
	size_t n;
	int some = 0;

	if (store_build_list(p->store, repo_id, INT64_MAX, &builds, &n, e)) return -1;
	for (size_t i = 0; i < n && some >= 0; i++) {
		int r = build_state_is_final(builds[i].state) ? 0 : cancel_jobs(p, &builds[i], e);

		some = r < 0 ? -1 : some | r;
	}
	build_rows_free(&builds, n);
	return some;
}

/* Until nothing goes on in the very transaction that removes the rows. */
static int remove_rows(struct place *p, int64_t id, int force, struct err *e)
{
	int64_t end = clock_mono_ms() + CANCEL_MS;

	for (;;) {
		if (force && cancel_all(p, id, e) < 0) return -1;
		if (!store_repo_remove(p->store, id, force, e)) return 0;
		if (e->kind != ERR_BUSY || !force || clock_mono_ms() > end) return -1;
		home_wake(&p->home);
		poll(NULL, 0, LOOK_MS);
	}
}

/* --- all of it --- */

/* 1: a removal of that name was cut off when its rows were gone. */
static int was_begun(struct place *p, const char *name, struct err *e)
{
	_cleanup_free_ char *path = home_file(&p->home, "repos");
	DIR *dir = opendir(path);
	int found = 0;

	if (!dir) return err_sys(e, "cannot list '%s'", path);
	for (struct dirent *d; !found && (d = readdir(dir));) {
		_cleanup_free_ char *mark = xasprintf("%s/%s/" MARK, path, d->d_name);
		_cleanup_buf_ struct buf text = BUF_INIT(1000);
		struct err ignored;

		found = d->d_name[0] != '.' && !fs_read_file(mark, &text, &ignored) && !strcmp(buf_str(&text), name);
	}
	closedir(dir);
	return found;
}

int removal_run(struct place *p, const char *name, int force, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *mark = NULL;
	struct repo r = {0};
	int64_t id;

	if (store_repo_find(p->store, name, &r, e)) {
		int begun = e->kind == ERR_MISSING ? was_begun(p, name, e) : -1;

		return begun == 1 ? removal_sweep(p, e) : -1;
	}
	id = r.id;
	repo_release(&r);
	dir = home_repo(&p->home, id, NULL);
	mark = home_repo(&p->home, id, MARK);
	if (fs_mkdirs(dir, 0700, e) || fs_write_file(mark, name, strlen(name), 0600, e)) return -1;
	if (remove_rows(p, id, force, e)) {
		unlink(mark);
		return -1;
	}
	home_wake(&p->home);
	if (removal_sweep(p, e)) return -1;
	checkout_sweep(&p->home, 0); /* its sources are in some */
	return 0;
}
