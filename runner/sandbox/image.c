/* Images: name → layer folders. A layer grows in <cache>/layers/<key>.tmp under the lock <key>.lock and is renamed to
 * <key> when it is whole and on the disk: whatever kills its maker, <key> is a whole layer or not there, and the
 * next maker, who then gets the lock, removes the rest. */
#include "runner/sandbox/image.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "runner/sandbox/host.h"
#include "runner/sandbox/image_key.h"
#include "runner/sandbox/layer.h"
#include "runner/sandbox/userns.h"

struct task {
	const char *name;
	struct image_want want;
	struct layer layer;
	char *dir;   /* <cache>/layers */
	char *place; /* dir/<key> */
	char *lock_path;
	char digest[IMAGE_KEY_BYTES]; /* of the content; the key in `place` is that for this owner */
	int fd;                       /* rootfs: the open file */
};

static void task_release(struct task *t)
{
	free_p(&t->layer.temp);
	free_p(&t->layer.log);
	free_p(&t->dir);
	free_p(&t->place);
	free_p(&t->lock_path);
	close_p(&t->fd);
}

void image_release(struct image *i)
{
	free_p(&i->name);
	free_p(&i->digest);
	vec_release(&i->layers);
}

const char *image_host_arch(void)
{
	return host_arch();
}

/* SHA-256 of an open file, in hex; leaves it at its start. */
static int hash_file(int fd, const char *name, char hex_r[IMAGE_KEY_BYTES], struct err *e)
{
	enum { CHUNK = 1 << 17 };
	_cleanup_free_ unsigned char *chunk = xmalloc(CHUNK);
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	ssize_t n;

	crypto_hash_sha256_init(&state);
	while ((n = read(fd, chunk, CHUNK)) != 0) {
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", name);
		crypto_hash_sha256_update(&state, chunk, (size_t)n);
	}
	crypto_hash_sha256_final(&state, hash);
	sodium_bin2hex(hex_r, IMAGE_KEY_BYTES, hash, sizeof(hash));
	return lseek(fd, 0, SEEK_SET) ? err_sys(e, "cannot read '%s' twice", name) : 0;
}

static int open_file(struct task *t, char hash_r[IMAGE_KEY_BYTES], struct err *e)
{
	struct stat st;

	t->fd = open(t->want.of, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (t->fd < 0) return err_sys(e, "cannot open '%s'", t->want.of);
	if (fstat(t->fd, &st)) return err_sys(e, "cannot look at '%s'", t->want.of);
	if (!S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "'%s' is not a file", t->want.of);
	return hash_file(t->fd, t->want.of, hash_r, e);
}

static int prepare(struct task *t, const char *cache, struct err *e)
{
	char file_hash[IMAGE_KEY_BYTES] = "", key[IMAGE_KEY_BYTES];
	_cleanup_free_ char *owner = NULL;
	struct userns_map uids[2] = {{0}}, gids[2] = {{0}};
	int n;

	if (t->want.kind == IMAGE_ROOTFS && open_file(t, file_hash, e)) return -1;
	if (userns_layout(uids, gids, &n, e)) return -1;
	owner = xasprintf("%lu %lu %lu %lu", uids[0].outside, gids[0].outside, uids[1].outside, gids[1].outside);
	image_key(&t->want, file_hash, NULL, t->digest);
	image_key(&t->want, file_hash, owner, key);
	t->dir = xasprintf("%s/layers", cache);
	t->place = xasprintf("%s/%s", t->dir, key);
	t->lock_path = xasprintf("%s.lock", t->place);
	t->layer.temp = xasprintf("%s.tmp", t->place);
	t->layer.log = xasprintf("%s.log", t->place);
	return fs_mkdirs(t->dir, 0755, e);
}

static int is_there(const struct task *t)
{
	_cleanup_free_ char *note = xasprintf("%s/layer.json", t->place);

	return fs_exists(note);
}

/* Its facts, beside the tree: for people, and for whatever clears the cache. */
static int write_note(const struct task *t, struct err *e)
{
	_cleanup_json_ json_t *note = NULL;
	json_t *packages = json_array();
	_cleanup_free_ char *path = xasprintf("%s/layer.json", t->layer.temp), *text = NULL;
	_cleanup_free_ char *digest = xasprintf("sha256:%s", t->digest);

	for (size_t i = 0; i < t->want.packages->len; i++)
		json_array_append_new(packages, json_string(t->want.packages->items[i]));
	note = json_pack("{s:s, s:s, s:s, s:s, s:o, s:I}", "name", t->name, "kind", image_kind_name(t->want.kind),
			 "arch", t->want.arch, "digest", digest, "packages", packages, "made_ms",
			 (json_int_t)clock_unix_ms());
	if (!note) die("json_pack");
	text = json_text(note);
	return fs_write_file(path, text, strlen(text), 0644, e);
}

static int sync_dir(const char *path, int whole_file_system, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot open folder '%s'", path);
	if (whole_file_system ? syncfs(fd) : fsync(fd)) return err_sys(e, "cannot sync '%s'", path);
	return 0;
}

static int make_temp(const struct task *t, struct err *e)
{
	_cleanup_free_ char *root = xasprintf("%s/rootfs", t->layer.temp);

	return layer_discard(t->layer.temp, e) || userns_mkdir(t->layer.temp, e) || userns_mkdir(root, e) ? -1 : 0;
}

/* The maker's own leavings beside the tree. */
static int tidy(const struct task *t, struct err *e)
{
	static const char *const extra[] = {"tmp", "extract", "busybox", "apt.conf"};

	for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", t->layer.temp, extra[i]);

		if (layer_discard(path, e)) return -1;
	}
	return 0;
}

static int make(struct task *t, struct err *e)
{
	struct layer_want w = {t->want.of, t->want.arch, t->want.packages, t->fd, t->want.of};
	int failed = make_temp(t, e);

	if (failed) return -1;
	switch (t->want.kind) {
	case IMAGE_DEBIAN: failed = layer_make_debian(&t->layer, &w, e); break;
	case IMAGE_BUSYBOX: failed = layer_make_busybox(&t->layer, &w, e); break;
	case IMAGE_ROOTFS: failed = layer_make_rootfs(&t->layer, &w, e); break;
	}
	if (failed || tidy(t, e) || write_note(t, e) || sync_dir(t->layer.temp, 1, e)) return -1;
	if (rename(t->layer.temp, t->place)) return err_sys(e, "cannot rename '%s'", t->layer.temp);
	return sync_dir(t->dir, 0, e);
}

static void clear_failed(const struct task *t)
{
	_cleanup_free_ char *log = xasprintf("%s/log", t->layer.temp);
	struct err ignored;

	if (rename(log, t->layer.log)) unlink(t->layer.log);
	/* What cannot be removed now is tried again by the next maker, who says so. */
	if (layer_discard(t->layer.temp, &ignored)) return;
}

static int ensure_made(struct task *t, struct err *e)
{
	_cleanup_close_ int lock = -1;

	if (is_there(t)) return 0;
	if (fs_lock(t->lock_path, 0, &lock, e)) {
		if (e->kind != ERR_BUSY) return -1;
		layer_tell(&t->layer, 1, -1, "waiting for another process that makes it");
		if (fs_lock(t->lock_path, 1, &lock, e)) return -1;
		if (is_there(t)) return 0;
	}
	if (is_there(t)) return 0;
	layer_tell(&t->layer, 1, 0, "making it");
	if (make(t, e)) {
		clear_failed(t);
		return -1;
	}
	unlink(t->layer.log);
	return 0;
}

/* Emulation is asked for before anything is made: minutes later is too late to hear of it. */
static int check_arch(const char *arch, int *emulated_r, struct err *e)
{
	struct err why = {0};

	*emulated_r = !host_arch_native(host_arch(), arch);
	if (!*emulated_r) return 0;
	if (!host_binfmt(arch, &why)) return 0;
	return err_set(e, why.kind, "cannot run programs for '%s' here: %s; run: runner doctor --fix", arch, why.text);
}

static void task_init(struct task *t, const char *name, image_progress_fn *progress, void *arg)
{
	*t = (struct task){.name = name, .fd = -1};
	t->layer.label = name;
	t->layer.progress = progress;
	t->layer.arg = arg;
}

static void fill(const struct task *t, int emulated, struct image *image_r)
{
	*image_r = (struct image){.name = xstrdup(t->name), .emulated = emulated};
	image_r->digest = xasprintf("sha256:%s", t->digest);
	vec_addf(&image_r->layers, "%s/rootfs", t->place);
}

int image_find(const char *cache, const char *name, const char *arch, const struct vec *packages, struct image *image_r,
	       struct err *e)
{
	__attribute__((cleanup(task_release))) struct task t = {.fd = -1};

	task_init(&t, name, NULL, NULL);
	if (!arch) arch = host_arch();
	if (image_want_parse(name, arch, packages, &t.want, e)) return -1;
	if (prepare(&t, cache, e)) return err_wrap(e, "image '%.200s'", name);
	if (!is_there(&t)) return 1;
	fill(&t, !host_arch_native(host_arch(), arch), image_r);
	return 0;
}

int image_ensure(const char *cache, const char *name, const char *arch, const struct vec *packages,
		 image_progress_fn *progress, void *arg, struct image *image_r, struct err *e)
{
	__attribute__((cleanup(task_release))) struct task t = {.fd = -1};
	int emulated;

	task_init(&t, name, progress, arg);
	if (!arch) arch = host_arch();
	if (image_want_parse(name, arch, packages, &t.want, e) || check_arch(arch, &emulated, e)) return -1;
	if (prepare(&t, cache, e) || ensure_made(&t, e)) return err_wrap(e, "image '%.200s'", name);
	fill(&t, emulated, image_r);
	return 0;
}
