/* A deployment repository: objects by libgit2, the wire by git.
 *
 *   open ─→ tip ─→ need ─→ push ─→ 0 done
 *            ↑              └────→ 1 lost race
 *            └───────────────┘
 *
 * The clone has the tip's commit and trees, and no file but those that were asked for: what a publication moves does
 * not grow with the images that are there. A server without filters sends all files of the tip, once. The remote
 * compares the tip that it told with its branch under its own lock: that is what makes a race safe.
 *
 * Nothing of the clone is synced to the disk: it is made anew when the box was started again since, when it is damaged,
 * and when it has become large. src: git-fetch(1), partial-clone in git's technical docs; receive-pack.c (its words) */
#include "runner/publish/deployrepo.h"

#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "lib/vec.h"
#include "runner/publish/wire.h"

enum {
	LARGE_BYTES = 64 << 20,
	MANY_PACKS = 80,
	LOCK_EVERY_MS = 50,
	DEEPEN = 50, /* commits */
	MAX_NEED = 4096,
};

struct deployrepo {
	struct deployrepo_opts o;
	char *dir, *git_dir, *tip_ref, *branch_ref;
	int lock;
	git_repository *git;
	struct wire *wire;
	git_oid tip;  /* as deployrepo_tip told it */
	int checked;  /* the clone has shown a tip: it is no longer made anew */
	int warm;     /* it had a tip before: what is fetched is little */
	int whole;    /* the server knows no filters: every file of the tip is here */
	char *status; /* the remote's word about our branch; NULL: it took it */
	struct wire_said said;
};

int git2_fail(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	const git_error *last = git_error_last();
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	buf_addf(&text, ": %s", last && last->message ? last->message : "no reason given");
	/* A server's words may be part of it: one line, and nothing that steers a terminal. */
	while (text.len && (unsigned char)text.data[text.len - 1] <= ' ') text.data[--text.len] = '\0';
	for (char *p = text.data; p && *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127) *p = ' ';
	return err_set(e, kind, "%s", buf_str(&text));
}

static void say(struct deployrepo *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct deployrepo *d, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(2000);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (d->o.say) d->o.say(d->o.arg, buf_str(&line));
}

/* --- the clone --- */

static const char *boot_id(void)
{
	static char id[64];
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, id, sizeof(id) - 1);

	id[n > 0 ? n : 0] = '\0';
	return id;
}

static int configure(git_repository *git, const char *url)
{
	_cleanup_git_(git_config) git_config *config = NULL;

	return git_repository_config(&config, git) || git_config_set_string(config, "remote.origin.url", url) ||
	       git_config_set_bool(config, "remote.origin.promisor", 1) ||
	       git_config_set_string(config, "slipway.boot", boot_id());
}

/* Made beside it and renamed: one that is there is one that was finished. */
static int make_clone(struct deployrepo *d, struct err *e)
{
	_cleanup_free_ char *fresh = xasprintf("%s/new.git", d->dir);

	git_repository_free(d->git);
	d->git = NULL;
	d->warm = d->whole = 0;
	if (fs_remove_tree(d->git_dir, e) || fs_remove_tree(fresh, e)) return -1;
	if (git_repository_init(&d->git, fresh, 1) || configure(d->git, d->o.remote->url))
		return git2_fail(e, ERR_SYS, "cannot make a clone in '%s'", fresh);
	git_repository_free(d->git);
	d->git = NULL;
	if (rename(fresh, d->git_dir)) return err_sys(e, "cannot make a clone in '%s'", d->git_dir);
	return git_repository_open_bare(&d->git, d->git_dir)
		       ? git2_fail(e, ERR_SYS, "cannot open the clone '%s'", d->git_dir)
		       : 0;
}

static uint64_t folder_bytes(const char *path, int *packs)
{
	DIR *dir = opendir(path);
	uint64_t sum = 0;

	for (struct dirent *f; dir && (f = readdir(dir));) {
		const char *dot = strrchr(f->d_name, '.');
		struct stat st;

		if (*f->d_name == '.' || fstatat(dirfd(dir), f->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
		*packs += dot && !strcmp(dot, ".pack");
		if (S_ISDIR(st.st_mode)) {
			_cleanup_free_ char *below = xasprintf("%s/%s", path, f->d_name);

			sum += folder_bytes(below, packs);
		} else {
			sum += (uint64_t)st.st_size;
		}
	}
	if (dir) closedir(dir);
	return sum;
}

/* What a whole clone had when it was new cannot be saved by making it anew. */
static int is_large(struct deployrepo *d, git_config *config)
{
	_cleanup_free_ char *objects = xasprintf("%s/objects", d->git_dir);
	int64_t base = 0;
	int packs = 0;
	uint64_t bytes = folder_bytes(objects, &packs);

	if (git_config_get_int64(&base, config, "slipway.base") || base < 0) base = 0;
	return bytes > LARGE_BYTES + 2 * (uint64_t)base || (!d->whole && packs > MANY_PACKS);
}

/* Is the clone there, and of use? What a killed git left locked nobody holds now: we have the clone's lock. */
static int use_clone(struct deployrepo *d)
{
	static const char *const locks[] = {"shallow.lock", "config.lock", "packed-refs.lock"};
	_cleanup_git_(git_config) git_config *config = NULL;
	_cleanup_git_(git_reference) git_reference *tip = NULL;
	_cleanup_free_ char *ref_lock = xasprintf("%s/%s.lock", d->git_dir, d->tip_ref);
	const char *boot;

	for (size_t i = 0; i < ARRAY_LEN(locks); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", d->git_dir, locks[i]);

		unlink(path);
	}
	unlink(ref_lock);
	if (!fs_exists(d->git_dir) || git_repository_open_bare(&d->git, d->git_dir) ||
	    git_repository_config_snapshot(&config, d->git) || git_config_get_string(&boot, config, "slipway.boot") ||
	    strcmp(boot, boot_id()) != 0)
		return 0;
	if (git_config_get_bool(&d->whole, config, "slipway.whole")) d->whole = 0;
	d->warm = !git_reference_lookup(&tip, d->git, d->tip_ref);
	return !is_large(d, config);
}

static int take_lock(struct deployrepo *d, struct err *e)
{
	_cleanup_free_ char *lock = xasprintf("%s/lock", d->dir);
	int said = 0;

	while (fs_lock(lock, 0, &d->lock, e)) {
		struct timespec t = {.tv_nsec = (LOCK_EVERY_MS / 2 + randombytes_uniform(LOCK_EVERY_MS)) * 1000000L};

		if (e->kind != ERR_BUSY) return -1;
		if (!said++) say(d, "another publisher of this box is at work on '%s': waiting", wire_label(d->wire));
		if (d->o.until_ms && clock_mono_ms() > d->o.until_ms)
			return err_set(e, ERR_REMOTE, "another publisher of this box is still at work on '%s'",
				       wire_label(d->wire));
		nanosleep(&t, NULL);
	}
	futimens(d->lock, NULL); /* when it was last of use: the oldest ones are removed first */
	return 0;
}

static int open_clone(struct deployrepo *d, struct err *e)
{
	if (take_lock(d, e)) return -1;
	return use_clone(d) ? 0 : make_clone(d, e);
}

/* One clone for each remote; its name must not be steered by the remote's text. */
static char *clone_dir(const char *cache, const char *url)
{
	unsigned char hash[16];
	char hex[2 * sizeof(hash) + 1];

	crypto_generichash(hash, sizeof(hash), (const unsigned char *)url, strlen(url), NULL, 0);
	sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
	return xasprintf("%s/%s", cache, hex);
}

/* No configuration but the clone's own. */
static int start_libgit2(struct err *e)
{
	static const int levels[] = {GIT_CONFIG_LEVEL_PROGRAMDATA, GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG,
				     GIT_CONFIG_LEVEL_GLOBAL};

	if (git_libgit2_init() < 0) return git2_fail(e, ERR_SYS, "cannot start libgit2");
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "")) die("libgit2 refuses a search path");
	return 0;
}

/* git runs in the work folder: it must be told an absolute one. */
static int absolute(const char *path, char **real_r, struct err *e)
{
	*real_r = realpath(path, NULL);
	return *real_r ? 0 : err_sys(e, "cannot find '%s'", path);
}

static int open_wire(struct deployrepo *d, struct err *e)
{
	_cleanup_free_ char *real = NULL;
	struct wire_opts o = {.remote = d->o.remote,
			      .work = d->o.work,
			      .known_hosts = d->o.known_hosts,
			      .key = d->o.key,
			      .stall_s = d->o.stall_s,
			      .say = d->o.say,
			      .arg = d->o.arg};

	if (fs_mkdirs(d->dir, 0700, e) || absolute(d->dir, &real, e)) return -1;
	free(d->dir);
	d->dir = steal(real);
	d->git_dir = xasprintf("%s/repo.git", d->dir);
	o.git_dir = d->git_dir;
	return wire_open(&o, &d->wire, e);
}

int deployrepo_open(const struct deployrepo_opts *o, struct deployrepo **d_r, struct err *e)
{
	struct deployrepo *d;
	int valid = 0;

	if (start_libgit2(e)) return -1;
	d = xcalloc(1, sizeof(*d));
	d->o = *o;
	d->lock = -1;
	d->dir = clone_dir(o->cache, o->remote->url);
	d->branch_ref = xasprintf("refs/heads/%s", o->branch);
	d->tip_ref = xasprintf("refs/tips/%s", o->branch);
	wire_said_init(&d->said);
	if (git_reference_name_is_valid(&valid, d->branch_ref) || !valid)
		err_set(e, ERR_INPUT, "bad deployment branch '%s'", o->branch);
	else if (!open_wire(d, e) && !open_clone(d, e)) {
		*d_r = d;
		return 0;
	}
	deployrepo_close(&d);
	return -1;
}

void deployrepo_close(struct deployrepo **dp)
{
	struct deployrepo *d = *dp;

	if (!d) return;
	wire_close(&d->wire);
	git_repository_free(d->git);
	close_p(&d->lock);
	free(d->dir);
	free(d->git_dir);
	free(d->branch_ref);
	free(d->tip_ref);
	free(d->status);
	wire_said_release(&d->said);
	free(d);
	*dp = NULL;
	git_libgit2_shutdown();
}

git_repository *deployrepo_git(struct deployrepo *d)
{
	return d->git;
}

/* --- fetch --- */

/* The repository on this box may be trusted by a setting of the user's, and its hooks are run as the user's. */
static const char upload_pack[] = "--upload-pack=env -u GIT_CONFIG_GLOBAL -u GIT_CONFIG_NOSYSTEM git-upload-pack";
static const char receive_pack[] = "--receive-pack=env -u GIT_CONFIG_GLOBAL -u GIT_CONFIG_NOSYSTEM git-receive-pack";

/* What a server without filters says, it says and goes on. */
static void learn_filters(struct deployrepo *d)
{
	_cleanup_git_(git_config) git_config *config = NULL;
	_cleanup_free_ char *objects = xasprintf("%s/objects", d->git_dir);
	int packs = 0;

	if (d->whole || !strstr(buf_str(&d->said.lines), "filtering not recognized")) return;
	d->whole = 1;
	if (git_repository_config(&config, d->git) || git_config_set_bool(config, "slipway.whole", 1) ||
	    git_config_set_int64(config, "slipway.base", (int64_t)folder_bytes(objects, &packs)))
		git_error_clear(); /* it is found out again the next time */
}

/* `git fetch` with these options; specs: what. */
static int fetch(struct deployrepo *d, const char *const *options, const struct vec *specs, struct err *e)
{
	static const char *const always[] = {
		"fetch", "--no-tags", "--no-write-fetch-head", "--progress", "--recurse-submodules=no", NULL};
	_cleanup_vec_ struct vec args = VEC_INIT;

	vec_add_all(&args, always);
	if (d->o.remote->kind == REMOTE_PATH) vec_add(&args, upload_pack);
	vec_add_all(&args, options);
	vec_add(&args, "origin");
	for (size_t i = 0; i < specs->len; i++) vec_add(&args, specs->items[i]);
	if (wire_git(d->wire, "fetch from", (const char *const *)vec_argv(&args), 0, &d->said, e)) return -1;
	learn_filters(d);
	return 0;
}

static int forget_tip(struct deployrepo *d, git_oid *tip_r)
{
	git_reference_remove(d->git, d->tip_ref);
	memset(tip_r, 0, sizeof(*tip_r));
	return 0;
}

/* out: 1 the clone cannot take it: damaged */
static int fetch_branch(struct deployrepo *d, git_oid *tip_r, struct err *e)
{
	/* Into a clone that is nearly up to date the small files come along: they are few, and will be read. */
	const char *filter = d->warm ? "--filter=blob:limit=16k" : "--filter=blob:none";
	_cleanup_vec_ struct vec specs = VEC_INIT;
	int rc;

	vec_addf(&specs, "+%s:%s", d->branch_ref, d->tip_ref);
	rc = fetch(d, (const char *const[]){"--depth=1", filter, NULL}, &specs, e);
	if (rc && strstr(buf_str(&d->said.lines), "couldn't find remote ref")) return forget_tip(d, tip_r);
	if (rc && strstr(buf_str(&d->said.lines), "does not support shallow"))
		rc = fetch(d, (const char *const[]){NULL}, &specs, e);
	if (rc) return -1;
	if (git_reference_name_to_id(tip_r, d->git, d->tip_ref))
		return git2_fail(e, ERR_REMOTE, "cannot read what '%s' was fetched as", d->branch_ref);
	d->warm = 1;
	return 0;
}

/* 1 when the commit and its tree are here */
static int have(struct deployrepo *d, const git_oid *oid)
{
	_cleanup_git_(git_commit) git_commit *commit = NULL;
	_cleanup_git_(git_tree) git_tree *tree = NULL;

	return !git_commit_lookup(&commit, d->git, oid) && !git_commit_tree(&tree, commit);
}

int deployrepo_tip(struct deployrepo *d, git_oid *tip_r, struct err *e)
{
	int rc;

	if (wire_connect(d->wire, e)) return -1;
	rc = fetch_branch(d, tip_r, e);
	if (rc && (d->checked || e->kind != ERR_REMOTE)) return -1;
	if (!rc && (git_oid_is_zero(tip_r) || have(d, tip_r))) {
		git_oid_cpy(&d->tip, tip_r);
		d->checked = 1;
		return 0;
	}
	if (d->checked) return git2_fail(e, ERR_SYS, "cannot read the tip of '%s'", wire_label(d->wire));
	/* A clone that is damaged fails in git's words, which are many: it is tried once with a new one. */
	d->checked = 1;
	if (!d->warm) return rc ? -1 : git2_fail(e, ERR_SYS, "cannot read the tip of '%s'", wire_label(d->wire));
	say(d, "the clone of '%s' cannot be brought up to date: making it anew", wire_label(d->wire));
	return make_clone(d, e) ? -1 : deployrepo_tip(d, tip_r, e);
}

/* --- files, history --- */

static int list_missing(struct deployrepo *d, const git_oid *blobs, size_t n, struct vec *list, struct err *e)
{
	_cleanup_git_(git_odb) git_odb *odb = NULL;

	if (git_repository_odb(&odb, d->git)) return git2_fail(e, ERR_SYS, "cannot read '%s'", d->git_dir);
	for (size_t i = 0; i < n && list->len < MAX_NEED; i++) {
		char hex[GIT_OID_HEXSZ + 1];

		if (git_odb_exists(odb, &blobs[i])) continue;
		git_oid_tostr(hex, sizeof(hex), &blobs[i]);
		if (!vec_has(list, hex)) vec_add(list, hex);
	}
	return 0;
}

int deployrepo_need(struct deployrepo *d, const git_oid *blobs, size_t n, struct err *e)
{
	/* A server of protocol 0 gives no single files: then all small ones of the tip, and at last all files. */
	static const char *const ways[][4] = {{"--filter=blob:none", NULL},
					      {"--refetch", "--depth=1", "--filter=blob:limit=64k", NULL},
					      {"--refetch", "--depth=1", "--no-filter", NULL}};

	git_oid tip;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		_cleanup_vec_ struct vec missing = VEC_INIT, specs = VEC_INIT;

		if (list_missing(d, blobs, n, &missing, e)) return -1;
		if (!missing.len) return 0;
		if (i) vec_addf(&specs, "+%s:%s", d->branch_ref, d->tip_ref);
		if (fetch(d, ways[i], i ? &specs : &missing, e) && (i || e->kind != ERR_REMOTE)) return -1;
	}
	/* Asking for the tip again may have got another one. */
	if (git_reference_name_to_id(&tip, d->git, d->tip_ref) || !git_oid_equal(&tip, &d->tip)) return 1;
	return 0; /* what is not there now shows where it is read */
}

int deployrepo_deepen(struct deployrepo *d, struct err *e)
{
	_cleanup_vec_ struct vec specs = VEC_INIT;
	_cleanup_buf_ struct buf before = BUF_INIT(1 << 24), after = BUF_INIT(1 << 24);
	_cleanup_free_ char *shallow = xasprintf("%s/shallow", d->git_dir), *by = xasprintf("--deepen=%d", DEEPEN);
	struct err ignored;

	if (fs_read_file(shallow, &before, &ignored)) return 1;
	vec_addf(&specs, "+%s:%s", d->branch_ref, d->tip_ref);
	if (fetch(d, (const char *const[]){by, "--filter=blob:none", NULL}, &specs, e)) return -1;
	return !fs_read_file(shallow, &after, &ignored) && !strcmp(buf_str(&before), buf_str(&after));
}

/* --- push --- */

const char *deployrepo_status(const struct deployrepo *d)
{
	return d->status ? d->status : "non-fast-forward";
}

const char *deployrepo_words(const struct deployrepo *d)
{
	return buf_str(&d->said.words);
}

/* Words of git and receive-pack that mean no more than "somebody else was there first". */
static int is_race(const char *status)
{
	static const char *const words[] = {"failed to update ref", "cannot lock ref", "failed to lock",
					    "non-fast-forward",     "fetch first",     "stale info",
					    "already exists",       "needs force",     "shallow update not allowed"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strstr(status, words[i])) return 1;
	return 0;
}

/* Our line of `push --porcelain`: "<flag>\t<from>:<to>\t<summary> (<why>)". Returns its flag, 0: there is none. */
static char take_status(struct deployrepo *d)
{
	_cleanup_free_ char *mark = xasprintf(":%s\t", d->branch_ref);

	free_p(&d->status);
	for (const char *p = buf_str(&d->said.out); *p;) {
		_cleanup_free_ char *line = xstrndup(p, strcspn(p, "\n"));
		char *at = strstr(line, mark), *open, *close;

		p += strlen(line) + (p[strlen(line)] == '\n');
		if (!at || line[1] != '\t') continue;
		if (*line != '!') return *line;
		open = strchr(at, '(');
		close = strrchr(at, ')');
		d->status = open && close ? xstrndup(open + 1, (size_t)(close - open) - 1) : xstrdup(at);
		return *line;
	}
	return 0;
}

static int remember(struct deployrepo *d, const git_oid *oid, struct err *e)
{
	_cleanup_git_(git_reference) git_reference *r = NULL;

	if (git_reference_create(&r, d->git, d->tip_ref, oid, 1, NULL))
		return git2_fail(e, ERR_SYS, "cannot write '%s' in '%s'", d->tip_ref, d->dir);
	return 0;
}

int deployrepo_push(struct deployrepo *d, const git_oid *commit, struct err *e)
{
	char hex[GIT_OID_HEXSZ + 1];
	_cleanup_free_ char *spec = xasprintf("%s:%s", git_oid_tostr(hex, sizeof(hex), commit), d->branch_ref);
	const char *const args[] = {
		"push",      "--porcelain", "--progress",
		"--no-thin", "--no-verify", d->o.remote->kind == REMOTE_PATH ? receive_pack : "--no-follow-tags",
		"origin",    spec,          NULL};
	int rc = wire_git(d->wire, "push to", args, 1, &d->said, e);
	char flag = take_status(d);

	if (!rc) return remember(d, commit, e);
	if (flag != '!') return -1;
	if (is_race(d->status)) return 1;
	if (strstr(d->status, "remote failed to report")) {
		e->kind = ERR_BUSY;
		return -1;
	}
	return err_set(e, ERR_REMOTE, "push to '%s' was refused: %s%s%s", wire_label(d->wire), d->status,
		       d->said.words.len ? ": " : "", buf_str(&d->said.words));
}
