/* Images that are manifests and layers. Their documents are kept by digest in <cache>/documents and are checked each
 * time they are read; an image's configuration is put there last, when all its layers are: what has it was pulled as a
 * whole, and as the policy of the user wants it. */
#include "runner/sandbox/image_oci.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/layer_store.h"
#include "runner/sandbox/ociimage.h"
#include "runner/sandbox/skopeo.h"

struct source {
	const struct image_ask *ask;
	const struct image_want *want;
	struct layer *tell;
	char *layout;  /* folder of an OCI layout; NULL: a registry */
	char *scratch; /* what is removed when all is done: the folder of a pull */
	char *owner;
	int lock, scratch_lock;
	int *holds;     /* one for each layer; -1: not held */
	char *manifest; /* digest */
	struct oci_image image;
	char content[OCI_MAX_LAYERS][IMAGE_KEY_BYTES], key[OCI_MAX_LAYERS][IMAGE_KEY_BYTES];
	struct buf config; /* as it was fetched; empty: it was there */
};

static void source_free(struct source **sp)
{
	struct source *s = *sp;

	if (!s) return;
	free_p(&s->layout);
	free_p(&s->scratch);
	free_p(&s->owner);
	free_p(&s->manifest);
	close_p(&s->lock);
	close_p(&s->scratch_lock);
	for (size_t i = 0; s->holds && i < s->image.nlayers; i++) close_p(&s->holds[i]);
	free_p(&s->holds);
	oci_image_release(&s->image);
	buf_release(&s->config);
	free_p(sp);
}

static struct source *source_new(const struct image_ask *ask, const struct image_want *want, struct layer *tell)
{
	struct source *s = xcalloc(1, sizeof(*s));

	s->ask = ask;
	s->want = want;
	s->tell = tell;
	s->lock = s->scratch_lock = -1;
	s->config = (struct buf)BUF_INIT(OCI_MAX_DOCUMENT);
	if (want->ref.kind == IMAGEREF_OCI) s->layout = xstrdup(want->ref.of);
	return s;
}

/* --- documents --- */

static void hash_text(const struct buf *b, char digest_r[8 + 64])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, (const unsigned char *)buf_str(b), b->len);
	memcpy(digest_r, "sha256:", 8);
	sodium_bin2hex(digest_r + 7, 65, hash, sizeof(hash));
}

static char *document_path(const struct source *s, const char *digest)
{
	return xasprintf("%s/documents/%s", s->ask->cache, digest + 7);
}

static int check_document(const struct buf *text, const char *digest, struct err *e)
{
	char is[8 + 64];

	hash_text(text, is);
	return strcmp(is, digest) ? err_set(e, ERR_INPUT, "the document '%s' has the digest '%s'", digest, is) : 0;
}

static int save_document(const struct source *s, const char *digest, const struct buf *text, struct err *e)
{
	_cleanup_free_ char *path = document_path(s, digest), *dir = xasprintf("%s/documents", s->ask->cache);

	return fs_mkdirs(dir, 0755, e) || fs_write_file(path, buf_str(text), text->len, 0644, e) ? -1 : 0;
}

/* 1: it is not kept here. One that was damaged is as good as none. */
static int kept_document(const struct source *s, const char *digest, struct buf *out)
{
	_cleanup_free_ char *path = document_path(s, digest);
	struct err e;

	buf_clear(out);
	if (fs_read_file(path, out, &e) || check_document(out, digest, &e)) return 1;
	(void)!utimensat(AT_FDCWD, path, NULL, 0); /* when it was last asked for */
	return 0;
}

static struct skopeo registry(const struct source *s, char **name_r)
{
	*name_r = xasprintf("docker://%s", s->want->ref.of);
	return (struct skopeo){.image = *name_r, .anonymous = s->ask->anonymous, .tell = s->tell};
}

static int fetch_document(const struct source *s, const char *digest, int config, struct buf *out, struct err *e)
{
	_cleanup_free_ char *path = NULL, *name = NULL, *which = NULL;
	struct skopeo from;

	buf_clear(out);
	if (s->layout) {
		path = xasprintf("%s/blobs/sha256/%s", s->layout, digest + 7);
		return fs_read_file(path, out, e) || check_document(out, digest, e) ? -1 : 0;
	}
	from = registry(s, &name);
	which = xasprintf("@%s", config ? s->manifest : digest);
	return skopeo_inspect(&from, which, config, out, e) || check_document(out, digest, e) ? -1 : 0;
}

/* An index or manifest. 1: it is not here, and make is 0 */
static int get_document(const struct source *s, const char *digest, int make, struct buf *out, struct err *e)
{
	if (!kept_document(s, digest, out)) return 0;
	if (!make) return 1;
	return fetch_document(s, digest, 0, out, e) || save_document(s, digest, out, e) ? -1 : 0;
}

static int read_manifest(struct source *s, const char *pin, int make, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(OCI_MAX_DOCUMENT);
	int result = 0;

	s->manifest = xstrdup(pin);
	for (int depth = 0; !result; depth++) {
		char *next = NULL;

		if (depth > 3) return err_set(e, ERR_INPUT, "an index of indexes of indexes");
		result = get_document(s, s->manifest, make, &text, e);
		if (!result) result = oci_pick(buf_str(&text), text.len, s->want->arch, &next, e);
		if (result || !next) break;
		free_p(&s->manifest);
		s->manifest = next;
	}
	return result ? result : oci_read_manifest(buf_str(&text), text.len, &s->image, e);
}

static int read_config(struct source *s, int make, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(OCI_MAX_DOCUMENT);
	const struct buf *use = &text;

	if (kept_document(s, s->image.config_digest, &text)) {
		if (!make) return 1;
		if (fetch_document(s, s->image.config_digest, 1, &s->config, e)) return -1;
		use = &s->config;
	}
	if (oci_read_config(buf_str(use), use->len, &s->image, e)) return -1;
	if (!strcmp(s->image.arch, s->want->arch)) return 0;
	return err_set(e, ERR_MISSING, "the image is for %s, not for %s", s->image.arch, s->want->arch);
}

/* --- layers --- */

static int name_layers(struct source *s, struct err *e)
{
	if (layer_owner(&s->owner, e)) return -1;
	s->holds = xcalloc(s->image.nlayers + 1, sizeof(*s->holds));
	for (size_t i = 0; i < s->image.nlayers; i++) s->holds[i] = -1;
	for (size_t i = 0; i < s->image.nlayers; i++) {
		const char *below = i ? s->content[i - 1] : NULL;

		image_chain_key(below, s->image.layers[i].diff_id, NULL, s->content[i]);
		image_chain_key(below, s->image.layers[i].diff_id, s->owner, s->key[i]);
	}
	return 0;
}

/* The lowest layer that is not there; nlayers: all are. */
static size_t first_missing(struct source *s)
{
	size_t i = 0;

	while (i < s->image.nlayers && layer_hold(s->ask->cache, s->key[i], &s->holds[i])) i++;
	return i;
}

static int is_missing(const struct source *s, const char *blob)
{
	for (size_t i = 0; i < s->image.nlayers; i++)
		if (!strcmp(s->image.layers[i].digest, blob) && !layer_hold(s->ask->cache, s->key[i], &s->holds[i]))
			return 1;
	return 0;
}

/* One pull at a time of what stands on the same lowest layer: images of one family share those. What we waited for may
 * have brought all that we want. */
static int lock_pull(struct source *s, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s/pulls", s->ask->cache);

	if (fs_mkdirs(dir, 0755, e)) return -1;
	for (;;) {
		size_t i = first_missing(s);
		_cleanup_free_ char *path =
			xasprintf("%s/%s.lock", dir, i < s->image.nlayers ? s->key[i] : s->manifest + 7);
		int waited = 0;

		close_p(&s->lock);
		if (fs_lock(path, 0, &s->lock, e)) {
			if (e->kind != ERR_BUSY) return -1;
			layer_tell(s->tell, 1, -1, "waiting for another process that pulls it");
			if (fs_lock(path, 1, &s->lock, e)) return -1;
			waited = 1;
		}
		if (!waited || first_missing(s) == i) return 0;
	}
}

static int put_hole(const char *path, int64_t size, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) return err_sys(e, "cannot create '%s'", path);
	if (st.st_size != size && ftruncate(fd, size)) return err_sys(e, "cannot write '%s'", path);
	return 0;
}

/* Tells skopeo what need not be pulled: a file of the blob's size, without anything in it, for each layer that is
 * unpacked here. And what is such a file, of a layer that is not, is none. */
static int prepare_pull(const struct source *s, int64_t *bytes_r, struct err *e)
{
	_cleanup_free_ char *blobs = xasprintf("%s/blobs/sha256", s->scratch);
	uint64_t max = layer_max_bytes(), bytes = 0;

	if (fs_mkdirs(blobs, 0700, e)) return -1;
	for (size_t i = 0; i < s->image.nlayers; i++) {
		const struct oci_layer *l = &s->image.layers[i];
		_cleanup_free_ char *path = xasprintf("%s/%s", blobs, l->digest + 7);
		struct stat st;

		if (!is_missing(s, l->digest)) {
			if (put_hole(path, l->size, e)) return -1;
			continue;
		}
		if (!lstat(path, &st) && (st.st_size != l->size || (l->size && !st.st_blocks)) && unlink(path))
			return err_sys(e, "cannot remove '%s'", path);
		bytes += (uint64_t)l->size;
		if (bytes > max)
			return err_set(e, ERR_INPUT, "its layers have more than %llu MB, which is the limit",
				       (unsigned long long)(max >> 20));
	}
	*bytes_r = (int64_t)bytes;
	return 0;
}

/* The folder of a pull is kept when it breaks off; what clears the cache leaves it to us as long as we are here. */
static int hold_scratch(struct source *s, struct err *e)
{
	struct stat have, there;

	for (;;) {
		if (fs_mkdirs(s->scratch, 0700, e)) return -1;
		close_p(&s->scratch_lock);
		s->scratch_lock = open(s->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (s->scratch_lock < 0 && errno == ENOENT) continue;
		if (s->scratch_lock < 0) return err_sys(e, "cannot open folder '%s'", s->scratch);
		while (flock(s->scratch_lock, LOCK_SH))
			if (errno != EINTR) return err_sys(e, "cannot lock folder '%s'", s->scratch);
		if (fstat(s->scratch_lock, &have)) return err_sys(e, "cannot look at '%s'", s->scratch);
		if (!stat(s->scratch, &there) && have.st_ino == there.st_ino) return 0;
	}
}

static int pull(struct source *s, struct err *e)
{
	_cleanup_free_ char *name = NULL;
	struct skopeo from = registry(s, &name);
	int64_t bytes = 0;

	s->scratch = xasprintf("%s/pulls/%s", s->ask->cache, s->manifest + 7);
	if (hold_scratch(s, e) || prepare_pull(s, &bytes, e)) return -1;
	layer_tell(s->tell, 1, 0, "pulling %zu layers, %lld MB", s->image.nlayers, (long long)(bytes >> 20));
	return skopeo_pull(&from, s->manifest, s->scratch, bytes, e);
}

struct unpack_task {
	struct source *s;
	size_t i;
	uint64_t left;
};

static int make_layer(struct layer *l, void *arg, struct err *e)
{
	struct unpack_task *t = arg;
	struct source *s = t->s;
	const struct oci_layer *of = &s->image.layers[t->i];
	_cleanup_free_ char *path = xasprintf("%s/blobs/sha256/%s", s->layout ? s->layout : s->scratch, of->digest + 7);
	_cleanup_free_ char *name = xasprintf("layer %zu of %zu (%.19s)", t->i + 1, s->image.nlayers, of->digest);
	_cleanup_vec_ struct vec lowers = VEC_INIT;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct layer_source from = {.fd = fd,
				    .name = name,
				    .packed = of->digest + 7,
				    .plain = of->diff_id + 7,
				    .max_bytes = t->left,
				    .lowers = &lowers};
	uint64_t bytes = 0;
	struct stat st;

	if (fd < 0) return err_sys(e, "cannot open '%s'", path);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "'%s' is not a file", path);
	for (size_t k = t->i; k-- > 0;) vec_add(&lowers, s->key[k]);
	if (layer_unpack(l, &from, &bytes, e)) return -1;
	t->left = bytes < t->left ? t->left - bytes : 1;
	return 0;
}

static int unpack_layers(struct source *s, struct err *e)
{
	struct unpack_task t = {.s = s, .left = layer_max_bytes()};

	for (; t.i < s->image.nlayers; t.i++) {
		_cleanup_json_ json_t *note = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", s->ask->name, "kind",
							"layer", "digest", s->image.layers[t.i].digest, "diff_id",
							s->image.layers[t.i].diff_id, "arch", s->image.arch);
		struct layer_order o = {.cache = s->ask->cache,
					.key = s->key[t.i],
					.label = s->ask->name,
					.note = note,
					.progress = s->ask->progress,
					.progress_arg = s->ask->arg,
					.make = make_layer,
					.arg = &t};

		if (!note) return err_set(e, ERR_INPUT, "a name in the image is not UTF-8");
		if (layer_ensure(&o, &s->holds[t.i], e)) return -1;
	}
	return 0;
}

/* --- docker-archive --- */

int image_hash_fd(int fd, const char *name, char hex_r[IMAGE_KEY_BYTES], struct err *e)
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
	/* What cannot be read twice was hashed for its name alone. */
	(void)!lseek(fd, 0, SEEK_SET);
	return 0;
}

static int hash_archive(const struct image_want *want, char hex_r[IMAGE_KEY_BYTES], struct err *e)
{
	_cleanup_close_ int fd = open(want->ref.of, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0) return err_sys(e, "cannot open '%s'", want->ref.of);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "'%s' is not a file", want->ref.of);
	return image_hash_fd(fd, want->ref.of, hex_r, e);
}

static int named_in_layout(const char *layout, const char *tag, char **digest_r, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(OCI_MAX_DOCUMENT);
	_cleanup_free_ char *path = xasprintf("%s/index.json", layout);

	if (fs_read_file(path, &text, e)) return -1;
	return oci_find_named(buf_str(&text), text.len, tag, digest_r, e) ? err_wrap(e, "'%s'", layout) : 0;
}

/* The archive's digest says which image is in it, once it was looked at: <cache>/documents/<hash>.archive. */
static int archive_manifest(struct source *s, const char *pin, int make, char **digest_r, struct err *e)
{
	_cleanup_free_ char *note = xasprintf("%s/documents/%s.archive", s->ask->cache, pin + 7);
	_cleanup_free_ char *dir = xasprintf("%s/documents", s->ask->cache), *pulls = NULL, *lock = NULL;
	_cleanup_buf_ struct buf text = BUF_INIT(1000);
	char hash[IMAGE_KEY_BYTES];
	struct err unread;

	if (!fs_read_file(note, &text, &unread) && imageref_is_digest(buf_str(&text)) && !make) {
		(void)!utimensat(AT_FDCWD, note, NULL, 0);
		*digest_r = xstrdup(buf_str(&text));
		return 0;
	}
	if (!make) return 1;
	if (hash_archive(s->want, hash, e)) return -1;
	if (strcmp(hash, pin + 7) != 0)
		return err_set(e, ERR_INPUT, "'%s' was changed after the build had begun", s->want->ref.of);
	pulls = xasprintf("%s/pulls", s->ask->cache);
	s->scratch = xasprintf("%s/%s", pulls, hash);
	lock = xasprintf("%s.lock", s->scratch);
	s->layout = xstrdup(s->scratch);
	if (fs_mkdirs(pulls, 0755, e) || fs_lock(lock, 1, &s->lock, e) || fs_remove_tree(s->scratch, e) ||
	    hold_scratch(s, e))
		return -1;
	layer_tell(s->tell, 1, -1, "reading '%s'", s->want->ref.of);
	if (skopeo_unpack_archive(s->want->ref.of, s->scratch, s->tell, e)) return -1;
	if (named_in_layout(s->scratch, "x", digest_r, e) || fs_mkdirs(dir, 0755, e)) return -1;
	return fs_write_file(note, *digest_r, strlen(*digest_r), 0644, e);
}

/* --- all of it --- */

int image_oci_resolve(const struct image_ask *ask, const struct image_want *want, struct layer *tell, char **digest_r,
		      struct err *e)
{
	__attribute__((cleanup(source_free))) struct source *s = source_new(ask, want, tell);
	_cleanup_buf_ struct buf text = BUF_INIT(OCI_MAX_DOCUMENT);
	_cleanup_free_ char *name = NULL, *which = NULL;
	char hash[IMAGE_KEY_BYTES], digest[8 + 64];
	struct skopeo from;

	/* Who may not see an image shall not have it from the cache because he knows its digest. */
	if (want->ref.digest && !ask->anonymous) {
		*digest_r = xstrdup(want->ref.digest);
		return 0;
	}
	if (want->ref.kind == IMAGEREF_OCI) return named_in_layout(s->layout, want->ref.tag, digest_r, e);
	if (want->ref.kind == IMAGEREF_DOCKER_ARCHIVE) {
		if (hash_archive(want, hash, e)) return -1;
		*digest_r = xasprintf("sha256:%s", hash);
		return 0;
	}
	from = registry(s, &name);
	which = want->ref.digest ? xasprintf("@%s", want->ref.digest)
				 : xasprintf(":%s", want->ref.tag ? want->ref.tag : "latest");
	layer_tell(tell, 1, -1, "asking the registry for '%s%s'", want->ref.of, which);
	if (skopeo_inspect(&from, which, 0, &text, e)) return -1;
	hash_text(&text, digest);
	if (save_document(s, digest, &text, e)) return -1;
	*digest_r = xstrdup(digest);
	return 0;
}

static void fill(struct source *s, struct image *image_r)
{
	for (size_t i = 0; i < s->image.nlayers; i++) image_take_hold(image_r, &s->holds[i]);
	for (size_t i = s->image.nlayers; i-- > 0;) vec_take(&image_r->layers, layer_tree(s->ask->cache, s->key[i]));
	for (size_t i = 0; i < s->image.env.len; i++) vec_add(&image_r->env, s->image.env.items[i]);
}

/* Under the lock: another process may have brought all of it while we waited. */
static int pull_missing(struct source *s, struct err *e)
{
	_cleanup_buf_ struct buf kept = BUF_INIT(OCI_MAX_DOCUMENT);

	if (lock_pull(s, e)) return -1;
	if (s->config.len && !kept_document(s, s->image.config_digest, &kept)) buf_clear(&s->config);
	return !s->config.len && first_missing(s) == s->image.nlayers ? 0 : pull(s, e);
}

static int make_missing(struct source *s, struct err *e)
{
	struct err ignored;
	int failed;

	if (s->want->ref.kind == IMAGEREF_DOCKER && pull_missing(s, e)) return -1;
	failed = unpack_layers(s, e);
	/* Kept where the disk was full or we were killed; a blob that is not what it should be is no use. */
	if (s->scratch && (!failed || e->kind == ERR_INPUT)) (void)!fs_remove_tree(s->scratch, &ignored);
	if (failed) return -1;
	return s->config.len ? save_document(s, s->image.config_digest, &s->config, e) : 0;
}

int image_oci_get(const struct image_ask *ask, const struct image_want *want, const char *pin, int make,
		  struct layer *tell, struct image *image_r, struct err *e)
{
	__attribute__((cleanup(source_free))) struct source *s = source_new(ask, want, tell);
	_cleanup_free_ char *inner = NULL;
	int r = 0;

	if (make && !image_oci_get(ask, want, pin, 0, tell, image_r, e)) return 0;
	if (want->ref.kind == IMAGEREF_DOCKER_ARCHIVE) r = archive_manifest(s, pin, make, &inner, e);
	if (!r) r = read_manifest(s, inner ? inner : pin, make, e);
	if (!r) r = read_config(s, make, e);
	if (!r) r = name_layers(s, e);
	if (!r && !make && first_missing(s) < s->image.nlayers) r = 1;
	if (!r && make) r = make_missing(s, e);
	if (r) return r;
	image_r->digest = xstrdup(pin);
	fill(s, image_r);
	return 0;
}
