/* The folders of `cache:`, into the box before the script and out of it after one that passed. A cache is only ever a
 * gain of time: whatever is wrong with one is a line in the log, and the job goes on without it.
 *
 * Who may write what (tiers): a push writes the trusted tier, which all jobs of the repository read; a pull request
 * writes one of its own and reads that first. Tier and file name come from the event's row and from a hash made here:
 * nothing that a `.ci.yml` says is ever part of a path. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/job.h"
#include "runner/job_cache.h"
#include "runner/plan/config.h"
#include "runner/store/caches.h"
#include "runner/trigger/git.h"

enum { SHOWN_KEY = 12 };

static const char source_dir[] = "/build", home_dir[] = "/root";

int64_t cache_bytes_max(void)
{
	return size_from_env("SLIPWAY_MAX_CACHE", (int64_t)2 << 30);
}

int64_t cache_bytes_quota(void)
{
	return size_from_env("SLIPWAY_CACHE_QUOTA", (int64_t)10 << 30);
}

int64_t size_from_env(const char *name, int64_t otherwise)
{
	const char *set = getenv(name);
	int64_t bytes;

	return set && *set && !bad_size(set, &bytes) ? bytes : otherwise;
}

/* --- what it is of --- */

/* "~/.opam" → "/root/.opam", "./node_modules/" → "/build/node_modules" */
static char *folder_path(const char *s)
{
	const char *below = source_dir;
	_cleanup_free_ char *path = NULL;
	size_t len;

	if (!strncmp(s, "~/", 2) || !strncmp(s, "$HOME/", 6)) {
		below = home_dir;
		s = strchr(s, '/');
	} else if (*s == '/') {
		below = "";
	}
	while (*s == '/' || !strncmp(s, "./", 2)) s++;
	path = xasprintf("%s/%s", below, s);
	for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--) path[len - 1] = '\0';
	return steal(path);
}

static void add(crypto_generichash_state *state, const char *what, const char *text)
{
	/* Both with their NUL, so that no two lists of texts are one. */
	crypto_generichash_update(state, (const unsigned char *)what, strlen(what) + 1);
	crypto_generichash_update(state, (const unsigned char *)text, strlen(text) + 1);
}

static void add_cell(crypto_generichash_state *state, const struct job_spec *spec)
{
	add(state, "image", spec->image);
	add(state, "arch", spec->arch ? spec->arch : image_host_arch());
	if (spec->backend) add(state, "backend", spec->backend);
	for (size_t i = 0; i < spec->naxes; i++) {
		add(state, "axis", spec->axes[i].name);
		add(state, "value", spec->axes[i].value);
	}
	/* A sealed value counts by its name: it is another text each time it is sealed. */
	for (size_t i = 0; i < spec->nenv; i++)
		add(state, spec->env[i].text ? "env" : "sealed",
		    spec->env[i].text          ? spec->env[i].text
		    : spec->env[i].secret_name ? spec->env[i].secret_name
					       : "");
}

/* A file of the commit's by its blob's id; one that is not there is a state of its own. By the git program: the leader
 * is small, without a git of its own. */
static int add_file(crypto_generichash_state *state, const struct job *j, const char *path, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
	_cleanup_buf_ struct buf id = BUF_INIT(200), complaint = BUF_INIT(4096);
	struct child_opts o = {.die_with_parent = 1};
	struct child_status st;

	while (!strncmp(path, "./", 2)) path += 2;
	vec_add(&argv, "git");
	vec_addf(&argv, "--git-dir=%s", j->mirror);
	vec_add_all(&argv, (const char *const[]){"rev-parse", "--verify", "--quiet", "--end-of-options", NULL});
	vec_addf(&argv, "%s:%s", j->build.commit, path);
	git_environment(&env);
	o.argv = (const char *const *)vec_argv(&argv);
	o.env = (const char *const *)vec_argv(&env);
	if (child_run(&o, NULL, GIT_LOCAL_MS, &id, &complaint, &st, e)) return -1;
	if (!child_ok(st) && (st.end != CHILD_EXITED || st.code != 1))
		return err_set(e, ERR_REMOTE, "cannot look for '%s' in the commit: git %s", path, child_status_str(st));
	add(state, "file", path);
	add(state, "blob", child_ok(st) ? buf_str(&id) : "none");
	return 0;
}

static int make_key(struct job *j, struct err *e)
{
	const struct job_spec *spec = &j->spec;
	unsigned char hash[crypto_generichash_BYTES];
	crypto_generichash_state state;

	crypto_generichash_init(&state, NULL, 0, sizeof(hash));
	add(&state, "cache", "1");
	if (spec->cache_key)
		add(&state, "key", spec->cache_key);
	else
		add_cell(&state, spec);
	for (size_t i = 0; i < spec->cache_files.len; i++)
		if (add_file(&state, j, spec->cache_files.items[i], e)) return -1;
	for (size_t i = 0; i < spec->cache.len; i++) {
		vec_take(&j->cache.folders, folder_path(spec->cache.items[i]));
		add(&state, "folder", j->cache.folders.items[i]);
	}
	crypto_generichash_final(&state, hash, sizeof(hash));
	sodium_bin2hex(j->cache.key, sizeof(j->cache.key), hash, sizeof(hash));
	return 0;
}

/* What it writes, and reads first. */
static char *own_tier(const struct job *j)
{
	const struct event *ev = &j->event.ev;

	if (ev->kind == EVENT_PUSH && !ev->from_fork) return xstrdup(CACHES_TRUSTED);
	return xasprintf("pr-%d", ev->pr_number);
}

void job_cache_release(struct job *j)
{
	vec_release(&j->cache.folders);
	free_p(&j->cache.dir);
	free_p(&j->cache.tier);
}

/* --- lines for people --- */

static const char *size_text(int64_t bytes, char *text, size_t size)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double n = (double)bytes;
	size_t u = 0;

	while (n >= 1000 && u + 1 < ARRAY_LEN(units)) {
		n /= 1000;
		u++;
	}
	snprintf(text, size, u ? "%.1f %s" : "%.0f %s", n, units[u]);
	return text;
}

static void say(struct job *j, const char *what, int64_t files, int64_t bytes, int64_t packed, const char *tier,
		int64_t since_mono_ms)
{
	char all[32], on_disk[32];

	log_line(j->log, "slipway: cache %s: %lld files, %s (%s packed) in %.1f s, key %.*s, tier %s", what,
		 (long long)files, size_text(bytes, all, sizeof(all)), size_text(packed, on_disk, sizeof(on_disk)),
		 (double)(clock_mono_ms() - since_mono_ms) / 1000, SHOWN_KEY, j->cache.key, tier);
}

/* --- into the box --- */

static struct box_cache_limits limits(int64_t packed)
{
	return (struct box_cache_limits){.bytes = cache_bytes_max(), .packed = packed, .files = BOX_CACHE_MAX_FILES};
}

/* 1: there is none in this tier, or a damaged one, which is told */
static int restore_from(struct job *j, const char *tier, struct err *e)
{
	const struct box_cache_limits l = limits(INT64_MAX);
	int64_t began = clock_mono_ms();
	struct box_cache_report r;
	struct cache_head head;
	_cleanup_close_ int fd = -1;
	int rc = caches_open(j->cache.dir, tier, j->cache.key, &head, &fd, e);

	if (rc < 0) log_line(j->log, "slipway: cache not restored: %s", e->text);
	if (rc) return 1;
	if (sandbox_put_cache(j->box, fd, &j->cache.folders, source_dir, &l, &r, e)) return -1;
	snprintf(j->cache.mark, sizeof(j->cache.mark), "%s", r.mark);
	snprintf(j->cache.hash, sizeof(j->cache.hash), "%s", head.hash);
	caches_touch(j->cache.dir, tier, j->cache.key);
	say(j, "restored", r.files, r.bytes, head.packed, tier, began);
	if (r.left_out)
		log_line(j->log, "slipway: %lld of its files were left out: the commit has those itself",
			 (long long)r.left_out);
	return 0;
}

static int no_cache(struct job *j, const char *why)
{
	log_line(j->log, "slipway: no cache: %s", why);
	vec_release(&j->cache.folders); /* nor is one saved */
	return 0;
}

int job_cache_restore(struct job *j, struct err *e)
{
	int rc;

	if (!j->spec.cache.len || j->exec) return 0; /* of a person's own build all is thrown away */
	if (make_key(j, e)) return no_cache(j, e->text);
	j->cache.dir = home_repo(&j->home, j->repo.id, "cache");
	j->cache.tier = own_tier(j);
	job_says(j, "restoring the cache");
	rc = restore_from(j, j->cache.tier, e);
	if (rc == 1 && strcmp(j->cache.tier, CACHES_TRUSTED) != 0) rc = restore_from(j, CACHES_TRUSTED, e);
	if (rc == 1) log_line(j->log, "slipway: no cache of the key %.*s yet", SHOWN_KEY, j->cache.key);
	if (rc >= 0) return 0;
	if (e->kind == ERR_BUSY) return -1;
	/* Half of it may be in the box now. */
	no_cache(j, e->text);
	return 1;
}

/* --- out of the box --- */

/* What the archive may take of the disk: what other jobs and the store need stays free. */
static int64_t room(const struct job *j)
{
	struct statvfs v;
	int64_t left, reserve;

	if (statvfs(j->home.state, &v)) return 0;
	left = (int64_t)(v.f_bavail * v.f_frsize);
	reserve = (int64_t)(v.f_blocks * v.f_frsize / 20);
	if (reserve > (int64_t)1 << 30) reserve = (int64_t)1 << 30;
	left -= reserve;
	return left > cache_bytes_max() ? cache_bytes_max() : left;
}

static void describe(const struct job *j, const struct box_cache_report *r, struct cache_head *h)
{
	_cleanup_buf_ struct buf label = BUF_INIT(sizeof(h->label) - 1);

	*h = (struct cache_head){.files = r->files, .bytes = r->bytes, .saved_ms = clock_unix_ms()};
	snprintf(h->hash, sizeof(h->hash), "%s", r->hash);
	snprintf(h->job, sizeof(h->job), "%d.%d", j->build.number, j->row.number);
	buf_adds(&label, j->row.name);
	for (size_t i = 0; i < j->spec.cache.len; i++)
		buf_addf(&label, "%s%s", i ? ", " : ": ", j->spec.cache.items[i]);
	snprintf(h->label, sizeof(h->label), "%s", buf_str(&label));
}

static int save(struct job *j, struct cache_new *new, struct err *e)
{
	const struct box_cache_limits l = limits(room(j));
	_cleanup_close_ int secrets = -1;
	int64_t began = clock_mono_ms();
	struct box_cache_report r;
	struct cache_head head;
	int removed = 0;

	if (l.packed <= 0) return err_set(e, ERR_SYS, "the disk is nearly full");
	if (caches_begin(j->cache.dir, j->cache.tier, new, e) || job_secrets_fd(j, &secrets, e) ||
	    sandbox_get_cache(j->box, new->fd, secrets, &j->cache.folders, j->cache.mark, &l, &r, e))
		return -1;
	if (!r.folders) return err_set(e, ERR_MISSING, "none of its folders is there");
	if (r.left_out)
		log_line(j->log, "slipway: %lld devices, sockets or pipes are not kept in the cache",
			 (long long)r.left_out);
	if (r.unchanged || !strcmp(r.hash, j->cache.hash)) {
		log_line(j->log, "slipway: cache unchanged, key %.*s", SHOWN_KEY, j->cache.key);
		return 0;
	}
	describe(j, &r, &head);
	if (caches_commit(j->cache.dir, j->cache.tier, j->cache.key, new, &head, e)) return -1;
	say(j, "saved", r.files, r.bytes, head.packed, j->cache.tier, began);
	if (caches_fit(j->cache.dir, cache_bytes_quota(), &removed, e)) return -1;
	if (removed)
		log_line(j->log, "slipway: %d caches that were not used for longest made room (SLIPWAY_CACHE_QUOTA)",
			 removed);
	return 0;
}

void job_cache_save(struct job *j)
{
	struct cache_new new = CACHE_NEW_INIT;
	struct err e;

	if (!j->cache.folders.len) return;
	job_says(j, "saving the cache");
	if (save(j, &new, &e)) log_line(j->log, "slipway: cache not saved: %s", e.text);
	caches_drop(&new);
}
