/* A deployment repository over libgit2.
 *
 *   open ─→ tip ─→ push ─→ 0 done
 *            ↑       └───→ 1 lost race
 *            └────────────┘
 *
 * tip connects for pushing and reads what the remote advertises; only when that commit is not in the clone does a
 * second connection fetch it. The push goes over the first one, so a publisher that is alone needs one connection in
 * all. The remote compares the advertised tip with its branch under its own lock: that is what makes a race safe. src:
 * git's pack-protocol, receive-pack.c (status texts); libgit2 1.5.1 */
#include "runner/publish/deployrepo.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "runner/publish/hostkey.h"
#include "runner/publish/transport.h"

enum { MAX_WORDS = 4096, SAY_EVERY_MS = 10000, BIG_FILE = 1 << 18 };

struct deployrepo {
	struct deployrepo_opts o;
	char *dir, *label, *tip_ref, *new_ref, *branch_ref;
	int lock;
	git_repository *git;
	git_remote *push;       /* connected, or NULL */
	int checked;            /* the clone has shown a tip: it is no longer made anew */
	int keys_asked;         /* on this connection */
	struct err why;         /* set by a callback that said no */
	char *status;           /* the remote's word about our ref; NULL: it took it */
	int answered;           /* it had a word */
	struct buf words, line; /* the remote's sideband text while pushing: all of it, the line under way */
	int64_t said_ms;
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
	d->said_ms = clock_mono_ms();
	if (d->o.say) d->o.say(d->o.arg, buf_str(&line));
}

/* --- callbacks --- */

static int on_credentials(git_credential **out, const char *url, const char *user, unsigned allowed, void *payload)
{
	struct deployrepo *d = payload;

	(void)url;
	if (!user) user = d->o.remote->user;
	if (allowed & GIT_CREDENTIAL_USERNAME) return git_credential_username_new(out, user);
	if (!d->o.key || !(allowed & GIT_CREDENTIAL_SSH_MEMORY)) {
		err_set(&d->why, ERR_DENIED, "'%s' does not take a key for user '%s'", d->label, user);
		return GIT_EAUTH;
	}
	/* Asked again means refused: libssh2 would go on for ever. */
	if (d->keys_asked++) {
		err_set(&d->why, ERR_DENIED, "the deploy key was refused by '%s' for user '%s'", d->label, user);
		return GIT_EAUTH;
	}
	return git_credential_ssh_key_memory_new(out, user, NULL, (const char *)d->o.key->data, NULL);
}

/* libgit2's own verdict (`valid`) tells an unknown host and a changed key not apart: the pins decide alone. */
static int on_host_key(git_cert *cert, int valid, const char *host, void *payload)
{
	const git_cert_hostkey *key = (const git_cert_hostkey *)cert;
	struct deployrepo *d = payload;
	_cleanup_free_ char *print = NULL;
	int known;

	(void)valid;
	(void)host;
	if (cert->cert_type != GIT_CERT_HOSTKEY_LIBSSH2 || !(key->type & GIT_CERT_SSH_SHA256)) {
		err_set(&d->why, ERR_DENIED, "'%s' shows no host key that could be checked", d->label);
		return GIT_ECERTIFICATE;
	}
	print = hostkey_fingerprint(key->hash_sha256);
	known = hostkey_check(d->o.known_hosts, d->o.remote->host, d->o.remote->port, print, &d->why);
	if (known < 0) return GIT_ECERTIFICATE;
	if (known == 1) say(d, "host key of '%s' seen for the first time, pinned: %s", d->label, print);
	return 0;
}

static void end_line(struct deployrepo *d)
{
	while (d->line.len && d->line.data[d->line.len - 1] == ' ') d->line.data[--d->line.len] = '\0';
	if (d->line.len) {
		say(d, "remote: %s", buf_str(&d->line));
		if (d->words.len) buf_adds(&d->words, "; ");
		buf_add(&d->words, d->line.data, d->line.len);
	}
	buf_clear(&d->line);
}

/* Counters end in \r and are dropped. The text is a stranger's: nothing in it may steer a terminal. */
static int on_words(const char *text, int len, void *payload)
{
	struct deployrepo *d = payload;

	for (int i = 0; i < len; i++) {
		if (text[i] == '\n')
			end_line(d);
		else if (text[i] == '\r')
			buf_clear(&d->line);
		else
			buf_addch(&d->line, (unsigned char)text[i] < ' ' || text[i] == 127 ? '?' : text[i]);
	}
	return 0;
}

static int on_status(const char *ref, const char *status, void *payload)
{
	struct deployrepo *d = payload;

	if (strcmp(ref, d->branch_ref) != 0) return 0;
	d->answered = 1;
	free_p(&d->status);
	if (status) d->status = xstrdup(status);
	return 0;
}

static int on_sent(unsigned current, unsigned total, size_t bytes, void *payload)
{
	struct deployrepo *d = payload;

	if (clock_mono_ms() - d->said_ms >= SAY_EVERY_MS)
		say(d, "sent %u of %u objects, %zu kB", current, total, bytes / 1000);
	return 0;
}

static int on_received(const git_indexer_progress *p, void *payload)
{
	struct deployrepo *d = payload;

	if (clock_mono_ms() - d->said_ms >= SAY_EVERY_MS)
		say(d, "received %u of %u objects, %zu kB", p->received_objects, p->total_objects,
		    p->received_bytes / 1000);
	return 0;
}

static git_remote_callbacks callbacks(struct deployrepo *d)
{
	git_remote_callbacks cb;

	if (git_remote_init_callbacks(&cb, GIT_REMOTE_CALLBACKS_VERSION)) die("libgit2 of another version");
	cb.credentials = on_credentials;
	cb.certificate_check = on_host_key;
	cb.transfer_progress = on_received;
	cb.push_transfer_progress = on_sent;
	cb.push_update_reference = on_status;
	if (d->o.remote->kind == REMOTE_PATH) cb.transport = transport_local;
	cb.payload = d;
	d->keys_asked = 0;
	d->why.kind = ERR_NONE;
	return cb;
}

/* What went wrong on the wire: what a callback said, else libgit2's words. ERR_BUSY: it may work later. */
static int wire_fail(struct deployrepo *d, int rc, const char *what, struct err *e)
{
	enum err_kind kind = rc == GIT_EAUTH || rc == GIT_ECERTIFICATE ? ERR_DENIED : ERR_BUSY;

	if (d->why.kind != ERR_NONE) {
		*e = d->why;
		return -1;
	}
	return git2_fail(e, kind, "cannot %s '%s'", what, d->label);
}

/* --- the clone --- */

static int make_clone(struct deployrepo *d, struct err *e)
{
	_cleanup_git_(git_config) git_config *config = NULL;
	_cleanup_free_ char *path = xasprintf("%s/repo.git", d->dir);

	if (fs_remove_tree(path, e)) return -1;
	/* Images do not delta: trying costs seconds and finds nothing. */
	if (git_repository_init(&d->git, path, 1) || git_repository_config(&config, d->git) ||
	    git_config_set_int32(config, "core.bigFileThreshold", BIG_FILE))
		return git2_fail(e, ERR_SYS, "cannot make a clone in '%s'", path);
	return 0;
}

static int open_clone(struct deployrepo *d, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/repo.git", d->dir), *lock = xasprintf("%s/lock", d->dir);

	if (fs_mkdirs(d->dir, 0700, e)) return -1;
	if (fs_lock(lock, 0, &d->lock, e)) {
		if (e->kind != ERR_BUSY) return -1;
		say(d, "another publisher of this box is at work on '%s': waiting", d->label);
		if (fs_lock(lock, 1, &d->lock, e)) return -1;
	}
	futimens(d->lock, NULL); /* when it was last of use: the oldest ones are removed first */
	if (fs_exists(path) && !git_repository_open_bare(&d->git, path)) return 0;
	return make_clone(d, e);
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

/* No configuration but the clone's own: a url.insteadOf of the user's would move the remote past the pins. */
static int start_libgit2(struct err *e)
{
	static const int levels[] = {GIT_CONFIG_LEVEL_PROGRAMDATA, GIT_CONFIG_LEVEL_SYSTEM, GIT_CONFIG_LEVEL_XDG,
				     GIT_CONFIG_LEVEL_GLOBAL};

	if (git_libgit2_init() < 0) return git2_fail(e, ERR_SYS, "cannot start libgit2");
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		if (git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "")) die("libgit2 refuses a search path");
	if (git_libgit2_opts(GIT_OPT_ENABLE_FSYNC_GITDIR, 1)) die("libgit2 refuses to sync");
	return 0;
}

int deployrepo_open(const struct deployrepo_opts *o, struct deployrepo **d_r, struct err *e)
{
	struct deployrepo *d;
	int valid = 0;

	if (start_libgit2(e)) return -1;
	d = xcalloc(1, sizeof(*d));
	d->o = *o;
	d->lock = -1;
	d->said_ms = clock_mono_ms();
	d->label = o->remote->host ? xasprintf("%s:%d", o->remote->host, o->remote->port) : xstrdup(o->remote->url);
	d->dir = clone_dir(o->cache, o->remote->url);
	d->branch_ref = xasprintf("refs/heads/%s", o->branch);
	d->tip_ref = xasprintf("refs/tips/%s", o->branch);
	d->new_ref = xasprintf("refs/new/%s", o->branch);
	buf_init(&d->words, MAX_WORDS);
	buf_init(&d->line, MAX_WORDS);
	if (git_reference_name_is_valid(&valid, d->branch_ref) || !valid)
		err_set(e, ERR_INPUT, "bad deployment branch '%s'", o->branch);
	else if (!open_clone(d, e)) {
		*d_r = d;
		return 0;
	}
	deployrepo_close(&d);
	return -1;
}

static void drop_connection(struct deployrepo *d)
{
	if (d->push) git_remote_disconnect(d->push);
	git_remote_free(d->push);
	d->push = NULL;
}

void deployrepo_close(struct deployrepo **dp)
{
	struct deployrepo *d = *dp;

	if (!d) return;
	drop_connection(d);
	git_repository_free(d->git);
	close_p(&d->lock);
	free(d->dir);
	free(d->label);
	free(d->branch_ref);
	free(d->tip_ref);
	free(d->new_ref);
	free(d->status);
	buf_release(&d->words);
	buf_release(&d->line);
	free(d);
	*dp = NULL;
	git_libgit2_shutdown();
}

git_repository *deployrepo_git(struct deployrepo *d)
{
	return d->git;
}

/* --- the tip --- */

static int advertised(struct deployrepo *d, git_oid *tip_r, struct err *e)
{
	const git_remote_head **heads;
	size_t n;

	if (git_remote_ls(&heads, &n, d->push)) return wire_fail(d, -1, "list the branches of", e);
	memset(tip_r, 0, sizeof(*tip_r));
	for (size_t i = 0; i < n; i++)
		if (!strcmp(heads[i]->name, d->branch_ref)) git_oid_cpy(tip_r, &heads[i]->oid);
	return 0;
}

static int connect_push(struct deployrepo *d, struct err *e)
{
	git_remote_callbacks cb = callbacks(d);
	int rc;

	drop_connection(d);
	if (git_remote_create_anonymous(&d->push, d->git, d->o.remote->url))
		return git2_fail(e, ERR_INPUT, "bad remote '%s'", d->o.remote->url);
	rc = git_remote_connect(d->push, GIT_DIRECTION_PUSH, &cb, NULL, NULL);
	return rc ? wire_fail(d, rc, "connect to", e) : 0;
}

/* Is libgit2's last error one of our own objects, not of the wire? */
static int is_damage(void)
{
	const git_error *last = git_error_last();

	switch (last ? last->klass : GIT_ERROR_NONE) {
	case GIT_ERROR_ODB:
	case GIT_ERROR_OBJECT:
	case GIT_ERROR_TREE:
	case GIT_ERROR_REFERENCE:
	case GIT_ERROR_REPOSITORY:
	case GIT_ERROR_CONFIG:
	case GIT_ERROR_INDEXER:
	case GIT_ERROR_ZLIB: return 1;
	default: return 0;
	}
}

static int fetch(struct deployrepo *d, struct err *e)
{
	_cleanup_free_ char *spec = xasprintf("+%s:%s", d->branch_ref, d->tip_ref);
	git_strarray specs = {.strings = &spec, .count = 1};
	git_fetch_options o;
	_cleanup_git_(git_remote) git_remote *remote = NULL;
	int rc;

	if (git_fetch_options_init(&o, GIT_FETCH_OPTIONS_VERSION)) die("libgit2 of another version");
	o.callbacks = callbacks(d);
	o.download_tags = GIT_REMOTE_DOWNLOAD_TAGS_NONE;
	o.update_fetchhead = 0;
	if (git_remote_create_anonymous(&remote, d->git, d->o.remote->url))
		return git2_fail(e, ERR_INPUT, "bad remote '%s'", d->o.remote->url);
	rc = git_remote_fetch(remote, &specs, &o, NULL);
	if (!rc) return 0;
	if (!is_damage()) return wire_fail(d, rc, "fetch from", e);
	return git2_fail(e, ERR_SYS, "cannot fetch '%s' into '%s'", d->label, d->dir);
}

/* 1 when the commit and its tree are here */
static int have(struct deployrepo *d, const git_oid *oid)
{
	_cleanup_git_(git_commit) git_commit *commit = NULL;
	_cleanup_git_(git_tree) git_tree *tree = NULL;

	return !git_commit_lookup(&commit, d->git, oid) && !git_commit_tree(&tree, commit);
}

static int remember(struct deployrepo *d, const char *ref, const git_oid *oid, struct err *e)
{
	_cleanup_git_(git_reference) git_reference *r = NULL;

	if (git_reference_create(&r, d->git, ref, oid, 1, NULL))
		return git2_fail(e, ERR_SYS, "cannot write '%s' in '%s'", ref, d->dir);
	return 0;
}

/* Fetched, and still not there: the branch was moved away in between (1), or the clone lacks what it believes to
 * have, which making it anew mends. */
static int fetch_tip(struct deployrepo *d, const git_oid *tip, struct err *e)
{
	if (fetch(d, e)) {
		if (d->checked || e->kind != ERR_SYS) return -1;
	} else if (have(d, tip)) {
		return 0;
	}
	if (d->checked) return 1;
	say(d, "the clone of '%s' cannot be brought up to date: making it anew", d->label);
	drop_connection(d);
	git_repository_free(d->git);
	d->git = NULL;
	if (make_clone(d, e) || connect_push(d, e)) return -1;
	d->checked = 1;
	return fetch(d, e) ? -1 : have(d, tip) ? 0 : 1;
}

int deployrepo_tip(struct deployrepo *d, git_oid *tip_r, struct err *e)
{
	enum { TRIES = 10 };

	for (int i = 0; i < TRIES; i++) {
		int gone = 0;

		if (connect_push(d, e) || advertised(d, tip_r, e)) return -1;
		if (!git_oid_is_zero(tip_r) && !have(d, tip_r)) gone = fetch_tip(d, tip_r, e);
		if (gone < 0) return -1;
		if (gone) continue;
		d->checked = 1;
		return git_oid_is_zero(tip_r) ? 0 : remember(d, d->tip_ref, tip_r, e);
	}
	return err_set(e, ERR_REMOTE, "branch '%s' of '%s' is moved away faster than it can be fetched", d->o.branch,
		       d->label);
}

/* --- push --- */

const char *deployrepo_status(const struct deployrepo *d)
{
	return d->status ? d->status : "non-fast-forward";
}

const char *deployrepo_words(const struct deployrepo *d)
{
	return buf_str(&d->words);
}

/* Words of receive-pack that mean no more than "somebody else was there first". */
static int is_race(const char *status)
{
	static const char *const words[] = {"failed to update ref", "cannot lock ref", "failed to lock",
					    "non-fast-forward",     "fetch first",     "stale info",
					    "already exists"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strstr(status, words[i])) return 1;
	return 0;
}

int deployrepo_push(struct deployrepo *d, const git_oid *commit, struct err *e)
{
	_cleanup_free_ char *spec = xasprintf("%s:%s", d->new_ref, d->branch_ref);
	git_strarray specs = {.strings = &spec, .count = 1};
	git_push_options o;
	int rc;

	if (!d->push) die("deployrepo_push before deployrepo_tip");
	if (git_push_options_init(&o, GIT_PUSH_OPTIONS_VERSION)) die("libgit2 of another version");
	if (remember(d, d->new_ref, commit, e)) return -1;
	o.callbacks = callbacks(d);
	o.callbacks.sideband_progress = on_words;
	o.pb_parallelism = 0; /* all cores */
	buf_clear(&d->words);
	free_p(&d->status);
	d->answered = 0;
	rc = git_remote_upload(d->push, &specs, &o);
	end_line(d);
	drop_connection(d);
	if (rc == GIT_ENONFASTFORWARD) return 1;
	if (rc) return wire_fail(d, rc, "push to", e);
	/* A refused ref is a success to libgit2: only the status tells. */
	if (!d->answered)
		return err_set(e, ERR_REMOTE, "push to '%s': it did not say whether it took '%s'", d->label,
			       d->o.branch);
	if (d->status && is_race(d->status)) return 1;
	if (d->status)
		return err_set(e, ERR_REMOTE, "push to '%s' was refused: %s%s%s", d->label, d->status,
			       d->words.len ? ": " : "", buf_str(&d->words));
	return remember(d, d->tip_ref, commit, e);
}
