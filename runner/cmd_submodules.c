/* `runner submodules STATE JOB` (internal): the submodules of a job's commit, and theirs, into mirrors of their own
 * (repos/<id>/modules/<hash of the address, and whose keys>.git). A step of the job's leader, outside of the box: git
 * speaks to the network here, and nothing of what it brings is run or checked out. What was brought goes to fd 3, outer
 * ones first:
 * [{"path": "vendor/x", "mirror": "/…", "commit": "…"}]. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "lib/num.h"
#include "runner/cmd.h"
#include "runner/permits.h"
#include "runner/place.h"
#include "runner/store/submodule.h"

enum {
	RESULT_FD = 3,
	ALL_MS = 30 * 60 * 1000,
	TRIES = 3,
	TRY_WAIT_MS = 1000,
	DEEPEST = 10,
	UNUSED_DAYS = 30, /* then a mirror goes */
};
static const rlim_t largest_pack = (rlim_t)4 << 30;

struct bringing {
	const char *dir; /* of the mirrors */
	struct vec allowed;
	const char *repo; /* its name, for messages */
	int stranger;
	int64_t end_mono_ms;
	size_t count;
	json_t *brought;
};

/* A mirror that was not asked for in a month goes, when nobody has its lock. The lock file stays: it is what two would
 * meet at. */
static void forget_unused(const char *dir)
{
	DIR *list = opendir(dir);
	int64_t limit_s = clock_unix_ms() / 1000 - UNUSED_DAYS * 24 * 3600LL;

	if (!list) return;
	for (struct dirent *d; (d = readdir(list));) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, d->d_name), *lock = xasprintf("%s.lock", path);
		const char *dot = strrchr(d->d_name, '.');
		_cleanup_close_ int held = -1;
		struct stat st;
		struct err e;

		if (!dot || strcmp(dot, ".git") != 0 || stat(lock, &st) || st.st_mtime > limit_s) continue;
		if (fs_lock(lock, 0, &held, &e)) continue;
		if (fs_remove_tree(path, &e)) fprintf(stderr, "an unused mirror is kept: %s\n", e.text);
	}
	closedir(list);
}

/* What the runner's own keys opened is not lent to who may only fetch as nobody: another mirror, with the address's NUL
 * in its name. */
static char *mirror_of(const struct bringing *b, const char *url, int anonymous)
{
	unsigned char hash[16];
	char hex[2 * sizeof(hash) + 1];

	crypto_generichash(hash, sizeof(hash), (const unsigned char *)url, strlen(url) + !anonymous, NULL, 0);
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	return xasprintf("%s/%s.git", b->dir, hex);
}

/* It is only a copy: where it may itself be what is wrong, the last try begins with none. */
static int fetch(const struct bringing *b, const char *mirror, const char *url, const char *commit, int anonymous,
		 struct err *e)
{
	_cleanup_free_ char *lock = xasprintf("%s.lock", mirror);

	for (int try = 1;; try++) {
		int64_t left = b->end_mono_ms - clock_mono_ms();

		if (left <= 0) return err_set(e, ERR_BUSY, "cannot fetch '%s': the time is over", url);
		if (!submodule_fetch(mirror, url, commit, anonymous, (int)left, e)) {
			utimensat(AT_FDCWD, lock, NULL, 0);
			return 0;
		}
		if (try == TRIES || e->kind == ERR_MISSING) return -1;
		fprintf(stderr, "%s; tried again\n", e->text);
		if (try + 1 == TRIES && fs_remove_tree(mirror, e)) return -1;
		poll(NULL, 0, TRY_WAIT_MS);
	}
}

static int bring_all(struct bringing *b, const char *mirror, const char *commit, const char *source, const char *below,
		     int depth, struct err *e);

static int bring(struct bringing *b, const struct submodule *m, const char *source, const char *below, int depth,
		 struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s%s", below, m->path), *url = NULL, *mirror = NULL, *inner = NULL;
	const struct submodule_rules rules = {b->repo, source, &b->allowed, b->stranger};
	int anonymous;

	if (!m->url) return err_set(e, ERR_INPUT, "the submodule '%s' is not in .gitmodules", path);
	if (++b->count > SUBMODULES_MAX)
		return err_set(e, ERR_INPUT, "there are more than %d submodules", (int)SUBMODULES_MAX);
	if (submodule_url(&rules, m->url, &url, &anonymous, e)) return err_wrap(e, "'%s'", path);
	printf("slipway: submodule %s at %.12s from %s\n", path, m->commit, url);
	fflush(stdout);
	mirror = mirror_of(b, url, anonymous);
	if (fetch(b, mirror, url, m->commit, anonymous, e)) return err_wrap(e, "'%s'", path);
	if (json_array_append_new(b->brought,
				  json_pack("{s:s, s:s, s:s}", "path", path, "mirror", mirror, "commit", m->commit)))
		return err_set(e, ERR_INPUT, "the path of a submodule is not UTF-8");
	inner = xasprintf("%s/", path);
	return bring_all(b, mirror, m->commit, url, inner, depth + 1, e);
}

static int bring_all(struct bringing *b, const char *mirror, const char *commit, const char *source, const char *below,
		     int depth, struct err *e)
{
	struct submodule *list;
	size_t n;
	int failed = 0;

	if (depth > DEEPEST) return err_set(e, ERR_INPUT, "submodules are nested deeper than %d", (int)DEEPEST);
	if (submodule_list(mirror, commit, &list, &n, e)) return -1;
	for (size_t i = 0; i < n && !failed; i++) failed = bring(b, &list[i], source, below, depth, e);
	submodules_free(&list, n);
	return failed;
}

static int tell(const json_t *brought, struct err *e)
{
	_cleanup_free_ char *text = json_text(brought);

	return fs_write_all(RESULT_FD, text, strlen(text), "the result", e);
}

static int run(const struct place *p, int64_t job_id, struct err *e)
{
	__attribute__((cleanup(job_row_release))) struct job_row job = {0};
	__attribute__((cleanup(build_row_release))) struct build_row build = {0};
	__attribute__((cleanup(event_row_release))) struct event_row event = {0};
	__attribute__((cleanup(repo_release))) struct repo repo = {0};
	_cleanup_free_ char *dir = NULL, *mirror = NULL;
	_cleanup_json_ json_t *brought = json_array();
	struct bringing b = {.brought = brought, .end_mono_ms = clock_mono_ms() + ALL_MS};
	int failed;

	if (store_job_get(p->store, job_id, &job, e) || store_build_get(p->store, job.build_id, &build, e) ||
	    store_repo_get(p->store, build.repo_id, &repo, e) || store_event_get(p->store, build.event_id, &event, e))
		return -1;
	dir = home_repo(&p->home, repo.id, "modules");
	mirror = home_repo(&p->home, repo.id, "mirror.git");
	if (fs_mkdirs(dir, 0700, e) || permit_list(&p->home, repo.id, PERMIT_SUBMODULES, &b.allowed, e)) return -1;
	forget_unused(dir);
	b.dir = dir;
	b.repo = repo.name;
	b.stranger = event.ev.from_fork;
	failed = bring_all(&b, mirror, build.commit, repo.url, "", 1, e);
	vec_release(&b.allowed);
	return failed || tell(brought, e) ? -1 : 0;
}

int cmd_submodules(int argc, char **argv)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	const struct rlimit most = {largest_pack, largest_pack};
	struct err e;
	int64_t id;

	if (argc != 3 || num_parse(argv[2], 1, INT64_MAX, &id)) return cmd_usage(argv[0]);
	/* Only files grow that a stranger's server sends. */
	if (setrlimit(RLIMIT_FSIZE, &most)) return cmd_fail(argv[0], "cannot set a limit");
	if (place_open(argv[1], &p, &e) || run(&p, id, &e)) return cmd_fail(argv[0], e.text);
	return 0;
}
