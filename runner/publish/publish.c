/* One publication, from files to a pushed commit.
 *
 *   files ─→ compress ─→ measure ─→ blobs ─┐
 *                             tip ─→ tree ─→ commit ─→ push ─→ done
 *                              ↑                        │
 *                              └──── lost race ─────────┘
 *
 * The blobs are made once; a lost race costs only trees and a commit on the new tip. Nothing is trusted of the remote
 * but that its branch is what it says: the tree there may hold anything. */
#include "runner/publish/publish.h"

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/compress.h"
#include "runner/publish/deploykey.h"
#include "runner/publish/deployrepo.h"
#include "runner/publish/keep.h"
#include "runner/publish/layout.h"
#include "runner/publish/manifest.h"
#include "runner/publish/prefetch.h"
#include "runner/publish/signkey.h"
#include "runner/publish/turn.h"

enum {
	MAX_STUCK = 8, /* lost, yet the branch did not move: a stale lock, no right to write */
	BACKOFF_MS =
		20, /* or what the try took, doubled after each loss up to BACKOFF_MAX_MS; a random part is slept */
	BACKOFF_MAX_MS = 5000,
	OUTAGE_MS = 250, /* the same for a connection that failed */
	OUTAGE_MAX_MS = 60000,
};

struct work {
	const struct publish_request *r;
	struct remote remote;
	struct secret key;
	struct deployrepo *repo;
	int64_t until_ms; /* outages and races are waited for */
	char *dir;        /* of our own in r->cache */
	int dir_fd;       /* locked */
	struct manifest_image image;
	struct manifest_file *others;
	struct layout_file *files; /* packed image, others */
	json_t *manifest;          /* but for its turn */
	struct secret sign_key;
	char *packed_name, *packed_path;
	publish_say_fn *say_fn;
	void *say_arg;
};

static void work_release(struct work *w)
{
	struct err e;

	deployrepo_close(&w->repo);
	remote_release(&w->remote);
	secret_release(&w->key);
	secret_release(&w->sign_key);
	json_decref(w->manifest);
	if (w->dir && fs_remove_tree(w->dir, &e) && w->say_fn) w->say_fn(w->say_arg, e.text);
	close_p(&w->dir_fd);
	free(w->dir);
	free(w->others);
	free(w->files);
	free(w->packed_name);
	free(w->packed_path);
}

static void say(struct work *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct work *w, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(2000);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (w->say_fn) w->say_fn(w->say_arg, buf_str(&line));
}

/* --- before anything is connected --- */

/* Work folders whose lock nobody holds: their publishers were killed. */
static void sweep(const char *cache)
{
	DIR *dir = opendir(cache);

	for (struct dirent *d; dir && (d = readdir(dir));) {
		_cleanup_free_ char *path = xasprintf("%s/%s", cache, d->d_name);
		_cleanup_close_ int fd = -1;
		struct err ignored;

		if (strncmp(d->d_name, "work-", 5) != 0) continue;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) continue;
		if (fs_remove_tree(path, &ignored)) continue; /* the next one tries again */
	}
	if (dir) closedir(dir);
}

/* A folder of our own, locked while we live. The lock around it all keeps a sweeper away from one just made. */
static int make_work(struct work *w, struct err *e)
{
	_cleanup_free_ char *lock = xasprintf("%s/work.lock", w->r->cache);
	_cleanup_close_ int held = -1;

	if (fs_mkdirs(w->r->cache, 0700, e) || fs_lock(lock, 1, &held, e)) return -1;
	sweep(w->r->cache);
	if (fs_temp_dir(w->r->cache, "work-", &w->dir, e)) return -1;
	w->dir_fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (w->dir_fd < 0 || flock(w->dir_fd, LOCK_EX | LOCK_NB)) return err_sys(e, "cannot lock '%s'", w->dir);
	return 0;
}

static int pack(struct work *w, struct err *e)
{
	const struct publish_request *r = w->r;
	const struct publish_file *image = &r->files[0];
	unsigned mode = r->mode ? (unsigned)r->mode : image->mode;
	const char *by = "";
	uint64_t bytes;

	w->packed_name = compress_name(r->packing, image->name);
	w->packed_path = xasprintf("%s/packed", w->dir);
	if (compress_file(r->packing, image->file, w->packed_path, &bytes, &by, e) ||
	    manifest_measure(image->file, mode, &w->image.plain, e) ||
	    manifest_measure(w->packed_path, mode, &w->image.packed, e))
		return err_wrap(e, "image '%s'", image->name);
	w->image.plain.name = image->name;
	w->image.packed.name = w->packed_name;
	if (!w->image.plain.size) return err_set(e, ERR_INPUT, "image '%s' is empty", image->name);
	say(w, "packed %s: %llu bytes, %llu with %s", image->name, (unsigned long long)w->image.plain.size,
	    (unsigned long long)bytes, by);
	w->others = xcalloc(r->nfiles, sizeof(*w->others));
	for (size_t i = 1; i < r->nfiles; i++) {
		if (manifest_measure(r->files[i].file, r->files[i].mode, &w->others[i - 1], e))
			return err_wrap(e, "file '%s'", r->files[i].name);
		w->others[i - 1].name = r->files[i].name;
	}
	return 0;
}

/* The remote as it is used: paths absolute, so that a clone is found again from any folder. */
static int find_remote(struct work *w, const struct secret *key, struct err *e)
{
	char *real;

	if (remote_parse(w->r->remote, &w->remote, e)) return -1;
	switch (w->remote.kind) {
	case REMOTE_SSH:
		if (!key) return err_set(e, ERR_INPUT, "'%s' needs a deploy key, and none was given", w->r->remote);
		return deploykey_prepare(key, &w->key, e);
	case REMOTE_HTTPS:
		if (!key) return err_set(e, ERR_INPUT, "'%s' needs a token, and none was given", w->r->remote);
		return deploykey_token(key, &w->key, e);
	case REMOTE_PATH: break;
	}
	real = realpath(w->remote.url, NULL);
	if (!real) return err_sys(e, "cannot find deployment repository '%s'", w->remote.url);
	free(w->remote.url);
	w->remote.url = real;
	return 0;
}

/* --- objects --- */

static int add_blob(git_repository *git, const char *path, const char *name, unsigned mode, struct layout_file *f_r,
		    struct err *e)
{
	if (git_blob_create_from_disk(&f_r->blob, git, path)) return git2_fail(e, ERR_SYS, "cannot store '%s'", name);
	f_r->name = name;
	f_r->mode = mode;
	return 0;
}

static int add_blobs(struct work *w, struct err *e)
{
	const struct publish_request *r = w->r;
	git_repository *git = deployrepo_git(w->repo);

	w->files = xcalloc(r->nfiles, sizeof(*w->files));
	if (add_blob(git, w->packed_path, w->packed_name, w->image.packed.mode, &w->files[0], e)) return -1;
	for (size_t i = 1; i < r->nfiles; i++)
		if (add_blob(git, r->files[i].file, r->files[i].name, w->others[i - 1].mode, &w->files[i], e))
			return -1;
	return 0;
}

/* --- the commit --- */

/* "{name}" → its value; other braces stay. */
static char *fill_message(const struct publish_request *r)
{
	const char *const values[][2] = {{"{commit}", r->commit},
					 {"{backend}", r->backend},
					 {"{arch}", r->arch},
					 {"{branch}", r->source_branch},
					 {"{repository}", r->source_repo},
					 {"{path}", r->path},
					 {"{job}", r->job}};
	struct buf b = BUF_INIT(1 << 20);

	for (const char *p = r->message; *p;) {
		size_t i = 0;

		while (i < ARRAY_LEN(values) && strncmp(p, values[i][0], strlen(values[i][0])) != 0) i++;
		if (i < ARRAY_LEN(values)) {
			buf_adds(&b, values[i][1] ? values[i][1] : "");
			p += strlen(values[i][0]);
		} else {
			buf_addch(&b, *p++);
		}
	}
	if (!b.len || b.data[b.len - 1] != '\n') buf_addch(&b, '\n');
	return buf_steal(&b);
}

static char *message_of(const struct publish_request *r)
{
	int n = r->backend && *r->backend ? (int)strlen(r->backend) : (int)strcspn(r->path, "/");

	if (r->message) return fill_message(r);
	return xasprintf("adding %s built for %.*s\n", r->commit, n, r->backend && *r->backend ? r->backend : r->path);
}

static int author_of(const struct publish_request *r, git_signature **who_r, struct err *e)
{
	const char *author = r->author ? r->author : "Slipway <slipway@localhost>", *less = strchr(author, '<');
	_cleanup_free_ char *name = xstrndup(author, (size_t)(less - author)), *mail = xstrdup(less + 1);

	mail[strcspn(mail, ">")] = '\0';
	if (git_signature_now(who_r, name, mail)) return git2_fail(e, ERR_INPUT, "bad author '%s'", author);
	return 0;
}

static int write_commit(struct work *w, git_commit *parent, const git_oid *tree_id, git_oid *commit_r, struct err *e)
{
	const struct publish_request *r = w->r;
	git_repository *git = deployrepo_git(w->repo);
	_cleanup_git_(git_signature) git_signature *who = NULL;
	_cleanup_git_(git_tree) git_tree *tree = NULL;
	const git_commit *parents[] = {parent};
	_cleanup_free_ char *message = message_of(r);

	if (author_of(r, &who, e)) return -1;
	if (git_tree_lookup(&tree, git, tree_id) ||
	    git_commit_create(commit_r, git, NULL, who, who, NULL, message, tree, parent ? 1 : 0, parents))
		return git2_fail(e, ERR_SYS, "cannot write a commit for the deployment repository");
	return 0;
}

static void tell_turn(const struct turn *t, struct publish_result *res)
{
	res->latest_moved = t->latest_moves;
	res->sequence = t->sequence;
	res->note[0] = '\0';
	if (t->note) {
		size_t n = strnlen(t->note, sizeof(res->note) - 1);

		memcpy(res->note, t->note, n);
		res->note[n] = '\0';
	}
}

static int deeper(void *arg, struct err *e)
{
	return deployrepo_deepen(arg, e);
}

/* The commit that publishes on this tip; *commit_r is the tip itself when there is nothing to add. 1: the
 * branch has moved on already. */
static int build_on(struct work *w, const git_oid *tip, git_oid *commit_r, struct publish_result *res, struct err *e)
{
	const struct publish_request *r = w->r;
	git_repository *git = deployrepo_git(w->repo);
	_cleanup_git_(git_commit) git_commit *parent = NULL;
	_cleanup_git_(git_tree) git_tree *base = NULL;
	__attribute__((cleanup(turn_release))) struct turn t = TURN_INIT;
	struct turn_order order = {.r = r,
				   .manifest = w->manifest,
				   .blobs = w->files,
				   .nblobs = r->nfiles,
				   .sign_key = w->sign_key.len ? &w->sign_key : NULL,
				   .say = w->say_fn,
				   .arg = w->say_arg};
	struct layout l = {.path = r->path, .commit = r->commit};
	struct keep k = {.path = r->path, .most = r->keep, .always = {r->commit}, .deeper = deeper, .arg = w->repo};
	_cleanup_vec_ struct vec gone = VEC_INIT;
	struct err why;
	git_oid tree;
	int rc;

	if (!git_oid_is_zero(tip) && (git_commit_lookup(&parent, git, tip) || git_commit_tree(&base, parent)))
		return git2_fail(e, ERR_SYS, "cannot read the tip of the deployment repository");
	rc = base ? prefetch(w->repo, base, r, e) : 0;
	if (rc) return rc;
	if (turn_make(git, base, &order, &t, e)) return -1;
	tell_turn(&t, res);
	if (!t.latest_moves) k.always[1] = t.named;
	/* An image that is one too many is no reason to fail: the next publication counts again. */
	if (keep_choose(git, parent, &k, &gone, &why)) {
		say(w, "%s: no image is taken away", why.text);
		vec_release(&gone);
	}
	res->pruned = (int)gone.len;
	if (t.unchanged && !gone.len) {
		git_oid_cpy(commit_r, tip);
		return 0;
	}
	l.files = t.files;
	l.nfiles = t.nfiles;
	l.top = t.top;
	l.ntop = t.ntop;
	l.dropped = &t.dropped;
	l.gone = &gone;
	if (layout_tree(git, base, &l, &tree, e)) return -1;
	return write_commit(w, parent, &tree, commit_r, e);
}

/* --- the race --- */

static void sleep_ms(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

/* A random part of first_ms doubled `times` times. */
static void back_off(int times, unsigned first_ms, unsigned most_ms)
{
	unsigned most = first_ms;

	while (times-- > 1 && most < most_ms) most *= 2;
	sleep_ms(1 + randombytes_uniform(most < most_ms ? most : most_ms));
}

/* Tip, commit, push, once. 0: published; 1: a race was lost. *mine is the commit that was last pushed: a push whose
 * answer was lost on the way is found at the tip again, and is no second publication. */
static int try_once(struct work *w, git_oid *tip_r, git_oid *mine, struct publish_result *res, struct err *e)
{
	git_oid tip, commit;
	int lost = 0;

	if (deployrepo_tip(w->repo, &tip, e)) return -1;
	git_oid_cpy(tip_r, &tip);
	if (!w->files && add_blobs(w, e)) return -1;
	lost = build_on(w, &tip, &commit, res, e);
	if (lost) return lost;
	res->unchanged = git_oid_equal(&commit, &tip) && !git_oid_equal(&commit, mine);
	if (!git_oid_equal(&commit, &tip)) {
		git_oid_cpy(mine, &commit);
		lost = deployrepo_push(w->repo, &commit, e);
	}
	git_oid_tostr(res->commit, sizeof(res->commit), &commit);
	return lost;
}

/* A race was lost. -1 when that can hardly be. */
static int lose(struct work *w, int losses, int stuck, int64_t took_ms, struct err *e)
{
	const char *words = deployrepo_words(w->repo);

	if (stuck >= MAX_STUCK)
		return err_set(e, ERR_REMOTE, "push to '%s' was refused %d times, and nobody else pushed: %s%s%s",
			       w->r->remote, stuck, deployrepo_status(w->repo), *words ? ": " : "", words);
	if (clock_mono_ms() >= w->until_ms)
		return err_set(e, ERR_REMOTE, "%d others were faster in pushing to '%s'", losses, w->r->remote);
	say(w, "somebody else pushed in between: once more on the new tip");
	back_off(losses, took_ms > BACKOFF_MS ? (unsigned)took_ms : BACKOFF_MS, BACKOFF_MAX_MS);
	return 0;
}

/* A server that is started again, a network that is away: waited for. -1 when that was long enough. */
static int wait_out(struct work *w, int outages, struct err *e)
{
	if (w->remote.kind == REMOTE_PATH || clock_mono_ms() >= w->until_ms) {
		e->kind = ERR_REMOTE;
		return -1;
	}
	say(w, "%s: once more", e->text);
	back_off(outages, OUTAGE_MS, OUTAGE_MAX_MS);
	return 0;
}

static int race(struct work *w, struct publish_result *res, struct err *e)
{
	int losses = 0, stuck = 0, outages = 0;
	git_oid mine = {{0}}, before = {{0}}, tip = {{0}};

	for (;;) {
		int64_t start = clock_mono_ms();
		int rc = try_once(w, &tip, &mine, res, e);

		if (rc == 0) return 0;
		if (rc == 1) {
			stuck = losses && git_oid_equal(&tip, &before) ? stuck + 1 : 1;
			git_oid_cpy(&before, &tip);
			if (lose(w, ++losses, stuck, clock_mono_ms() - start, e)) return -1;
			outages = 0;
		} else if (e->kind != ERR_BUSY || wait_out(w, ++outages, e)) {
			return -1;
		}
	}
}

static void tell_result(struct work *w, const struct publish_result *res)
{
	const struct publish_request *r = w->r;

	if (res->unchanged)
		say(w, "%s/%s was published before: nothing to add to %s", r->path, r->commit, res->commit);
	else
		say(w, "published %s/%s as %s of %s", r->path, r->commit, res->commit, r->branch);
	if (res->pruned) say(w, "%d older images taken away: %s keeps %d", res->pruned, r->path, r->keep);
	if (*res->note) say(w, "%s", res->note);
}

static int open_sign_key(struct work *w, struct err *e)
{
	struct minisign_public pub;
	char id[17];

	if (!w->r->sign_key) return 0;
	if (w->r->make_sign_key && signkey_make(w->r->sign_key, &pub, e)) return -1;
	if (signkey_read(w->r->sign_key, &w->sign_key, e)) return -1;
	minisign_public_of(&w->sign_key, &pub);
	minisign_id_text(pub.id, id);
	say(w, "signed by key %s", id);
	return 0;
}

/* Absolute: git and ssh are run in the work folder. */
static int find_pins(const struct publish_request *r, char **pins_r, struct err *e)
{
	_cleanup_free_ char *cache = realpath(r->cache, NULL), *here = realpath(".", NULL);

	if (!cache || !here) return err_sys(e, "cannot find '%s'", r->cache);
	if (!r->known_hosts)
		*pins_r = xasprintf("%s/known_hosts", cache);
	else
		*pins_r = *r->known_hosts == '/' ? xstrdup(r->known_hosts) : xasprintf("%s/%s", here, r->known_hosts);
	return 0;
}

int publish_run(const struct publish_request *r, const struct secret *key, publish_say_fn *say_fn, void *arg,
		struct publish_result *result_r, struct err *e)
{
	__attribute__((cleanup(work_release))) struct work w = {
		.r = r, .dir_fd = -1, .key = SECRET_INIT, .sign_key = SECRET_INIT, .say_fn = say_fn, .say_arg = arg};
	_cleanup_free_ char *pins = NULL;
	struct deployrepo_opts o = {
		.remote = &w.remote, .branch = r->branch, .cache = r->cache, .say = say_fn, .arg = arg};
	struct publish_result res = {.unchanged = 0};

	if (publish_request_check(r, e) || find_remote(&w, key, e)) return -1;
	if (open_sign_key(&w, e) || make_work(&w, e) || find_pins(r, &pins, e) || pack(&w, e)) return -1;
	w.manifest = manifest_json(r, &w.image, w.others, r->nfiles - 1);
	w.until_ms = clock_mono_ms() + (int64_t)1000 * (r->patience_s ? r->patience_s : PUBLISH_PATIENCE_S);
	o.work = w.dir;
	o.known_hosts = pins;
	o.key = w.key.len ? &w.key : NULL;
	o.stall_s = r->stall_s ? r->stall_s : PUBLISH_STALL_S;
	o.until_ms = w.until_ms;
	if (deployrepo_open(&o, &w.repo, e) || race(&w, &res, e)) return -1;
	tell_result(&w, &res);
	*result_r = res;
	return 0;
}
