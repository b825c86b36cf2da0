/* Images: reference → layer folders. What each kind is made of is in image_*.c, where layers are kept in
 * layer_store.c. */
#include "runner/sandbox/image.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/binfmt.h"
#include "runner/sandbox/host.h"
#include "runner/sandbox/image_key.h"
#include "runner/sandbox/image_oci.h"
#include "runner/sandbox/image_packages.h"
#include "runner/sandbox/layer_store.h"

struct task {
	const struct image_ask *ask;
	struct image_want want;
	struct layer tell; /* for what is told outside of the making of a layer */
	char *pin;         /* NULL: the name says all */
	char *owner;
	struct image image;
	int fd; /* rootfs: the open file */
	pid_t packer;
};

static void task_release(struct task *t)
{
	struct child_status st;
	struct err e;

	image_want_release(&t->want);
	free_p(&t->pin);
	free_p(&t->owner);
	image_release(&t->image);
	close_p(&t->fd);
	if (t->packer > 0 && child_wait(t->packer, 0, &st, &e)) t->packer = -1;
}

void image_release(struct image *i)
{
	free_p(&i->name);
	free_p(&i->digest);
	vec_release(&i->layers);
	vec_release(&i->env);
	for (size_t k = 0; k < i->nholds; k++) close(i->holds[k]);
	free_p(&i->holds);
	i->nholds = 0;
}

void image_take_hold(struct image *i, int *hold)
{
	i->holds = xrealloc(i->holds, (i->nholds + 1) * sizeof(*i->holds));
	i->holds[i->nholds++] = *hold;
	*hold = -1;
}

const char *image_host_arch(void)
{
	return host_arch();
}

/* --- rootfs: a tar file, or a folder that is packed into one --- */

/* Sorted and without names of users: the same tree gives the same bytes. */
static int pack_folder(struct task *t, struct err *e)
{
	const char *const argv[] = {"tar",
				    "-C",
				    t->want.ref.of,
				    "--sort=name",
				    "--numeric-owner",
				    "--format=pax",
				    "--xattrs",
				    "--pax-option=delete=atime,delete=ctime",
				    "--one-file-system",
				    "-cf",
				    "-",
				    ".",
				    NULL};
	_cleanup_close_ int in = -1, out = -1;
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	in = p[0];
	out = p[1];
	if (child_start(&(struct child_opts){.argv = argv, .out = out, .die_with_parent = 1}, &t->packer, NULL, e))
		return -1;
	t->fd = in;
	in = -1;
	return 0;
}

static int packed_well(struct task *t, struct err *e)
{
	struct child_status st;
	pid_t pid = t->packer;

	if (pid <= 0) return 0;
	t->packer = -1;
	if (child_wait(pid, 10000, &st, e)) return -1;
	return child_ok(st) ? 0 : err_set(e, ERR_REMOTE, "'tar' %s", child_status_str(st));
}

static int open_rootfs(struct task *t, struct err *e)
{
	const char *path = t->want.ref.of;
	struct stat st;

	close_p(&t->fd);
	if (stat(path, &st)) return err_sys(e, "cannot open '%s'", path);
	if (S_ISDIR(st.st_mode)) return pack_folder(t, e);
	t->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (t->fd < 0) return err_sys(e, "cannot open '%s'", path);
	if (fstat(t->fd, &st)) return err_sys(e, "cannot look at '%s'", path);
	return S_ISREG(st.st_mode) ? 0 : err_set(e, ERR_INPUT, "'%s' is not a file or folder", path);
}

static int resolve_rootfs(struct task *t, char **digest_r, struct err *e)
{
	char hash[IMAGE_KEY_BYTES];

	if (open_rootfs(t, e) || image_hash_fd(t->fd, t->want.ref.of, hash, e) || packed_well(t, e)) return -1;
	close_p(&t->fd);
	*digest_r = xasprintf("sha256:%s", hash);
	return 0;
}

/* --- the kinds of one layer --- */

static int make_single(struct layer *l, void *arg, struct err *e)
{
	struct task *t = arg;
	static const struct vec none = VEC_INIT;
	struct layer_want w = {
		.suite = t->want.ref.of, .arch = t->want.arch, .packages = &none, .fd = t->fd, .file = t->want.ref.of};

	switch (t->want.ref.kind) {
	case IMAGEREF_DEBIAN: return layer_make_debian(l, &w, e);
	case IMAGEREF_BUSYBOX: return layer_make_busybox(l, &w, e);
	case IMAGEREF_ROOTFS:
		if (open_rootfs(t, e)) return -1;
		w.fd = t->fd;
		w.hash = t->pin + 7;
		return layer_make_rootfs(l, &w, e) || packed_well(t, e) ? -1 : 0;
	case IMAGEREF_CATALOGUE:
	case IMAGEREF_DOCKER:
	case IMAGEREF_OCI:
	case IMAGEREF_DOCKER_ARCHIVE: break;
	}
	return err_set(e, ERR_INPUT, "'%s' is not of one layer", t->ask->name);
}

static int get_single(struct task *t, int make, struct err *e)
{
	char content[IMAGE_KEY_BYTES], key[IMAGE_KEY_BYTES];
	const char *hash = t->pin ? t->pin + 7 : NULL;
	_cleanup_close_ int hold = -1;

	image_key(&t->want, hash, NULL, content);
	image_key(&t->want, hash, t->owner, key);
	if (!layer_hold(t->ask->cache, key, &hold)) {
		_cleanup_free_ char *digest = xasprintf("sha256:%s", content);
		_cleanup_json_ json_t *note =
			json_pack("{s:o, s:s, s:s, s:s}", "name", json_any_text(t->ask->name), "kind",
				  imageref_kind_name(t->want.ref.kind), "arch", t->want.arch, "digest", digest);
		struct layer_order o = {.cache = t->ask->cache,
					.key = key,
					.label = t->ask->name,
					.arch = t->want.arch,
					.note = note,
					.progress = t->ask->progress,
					.progress_arg = t->ask->arg,
					.make = make_single,
					.arg = t};

		if (!make) return 1;
		if (!note) die("json_pack");
		if (layer_ensure(&o, &hold, e)) return -1;
	}
	image_take_hold(&t->image, &hold);
	t->image.digest = xasprintf("sha256:%s", content);
	vec_take(&t->image.layers, layer_tree(t->ask->cache, key));
	return 0;
}

/* --- all kinds --- */

static int is_oci(const struct task *t)
{
	return t->want.ref.kind == IMAGEREF_DOCKER || t->want.ref.kind == IMAGEREF_OCI ||
	       t->want.ref.kind == IMAGEREF_DOCKER_ARCHIVE;
}

static int resolve(struct task *t, struct err *e)
{
	const char *pin = t->ask->pin;

	if (pin && !imageref_is_digest(pin)) return err_set(e, ERR_INPUT, "'%.100s' is not a digest", pin);
	if (pin) t->pin = xstrdup(pin);
	if (pin || (!is_oci(t) && t->want.ref.kind != IMAGEREF_ROOTFS)) return 0;
	return is_oci(t) ? image_oci_resolve(t->ask, &t->want, &t->tell, &t->pin, e) : resolve_rootfs(t, &t->pin, e);
}

/* Emulation is asked for before anything is made: minutes later is too late to hear of it. */
static int check_arch(const char *arch, struct err *e)
{
	const char *how;

	return binfmt_check(arch, &how, e);
}

static int get(struct task *t, int make, struct err *e)
{
	int r;

	/* A slip of the pen shall not cost the making of a base. */
	if (make && t->want.packages->len && (r = get(t, 0, e)) <= 0) return r;
	if (make && !t->image.layers.len && image_packages_check(&t->want, e)) return -1;
	image_release(&t->image);
	if (is_oci(t))
		r = image_oci_get(t->ask, &t->want, t->pin, make, &t->tell, &t->image, e);
	else
		r = get_single(t, make, e);
	if (r || !t->want.packages->len) return r;
	return image_packages_get(t->ask, &t->want, t->owner, make, &t->image, e);
}

static int begin(struct task *t, const struct image_ask *ask, struct err *e)
{
	static const struct vec none = VEC_INIT;
	const char *arch = ask->arch ? ask->arch : host_arch();

	*t = (struct task){.ask = ask, .fd = -1, .packer = -1};
	t->tell = (struct layer){.label = ask->name, .progress = ask->progress, .arg = ask->arg};
	return image_want_parse(ask->name, arch, ask->packages ? ask->packages : &none, &t->want, e);
}

/* The lower a layer, the more stands on it: of one image the topmost is the one that was used first. */
static void note_use(const struct image *i)
{
	int64_t now_us = clock_unix_ms() * 1000;

	for (size_t k = 0; k < i->layers.len; k++) layer_used(i->layers.items[k], now_us + (int64_t)k);
}

static void hand_over(struct task *t, struct image *image_r)
{
	note_use(&t->image);
	t->image.name = xstrdup(t->ask->name);
	t->image.emulated = !host_arch_native(host_arch(), t->want.arch);
	*image_r = t->image;
	t->image = (struct image){0};
}

int image_resolve(const struct image_ask *ask, char **digest_r, struct err *e)
{
	__attribute__((cleanup(task_release))) struct task t = {.fd = -1};

	if (begin(&t, ask, e)) return -1;
	if (resolve(&t, e)) return err_wrap(e, "image '%.200s'", ask->name);
	*digest_r = steal(t.pin);
	return 0;
}

int image_find(const struct image_ask *ask, struct image *image_r, struct err *e)
{
	__attribute__((cleanup(task_release))) struct task t = {.fd = -1};
	int r = 0;

	if (begin(&t, ask, e)) return -1;
	/* What a tag names now only its registry can say. */
	if (!ask->pin && t.want.ref.kind == IMAGEREF_DOCKER && !t.want.ref.digest) return 1;
	if (resolve(&t, e) || layer_owner(&t.owner, e) || (r = get(&t, 0, e)) < 0)
		return err_wrap(e, "image '%.200s'", ask->name);
	if (!r) hand_over(&t, image_r);
	return r;
}

int image_ensure(const struct image_ask *ask, struct image *image_r, struct err *e)
{
	__attribute__((cleanup(task_release))) struct task t = {.fd = -1};

	if (begin(&t, ask, e) || check_arch(t.want.arch, e)) return -1;
	if (resolve(&t, e) || layer_owner(&t.owner, e) || get(&t, 1, e))
		return err_wrap(e, "image '%.200s'", ask->name);
	hand_over(&t, image_r);
	return 0;
}
