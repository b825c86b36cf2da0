/* Packages on top of an image: what its package manager writes is one layer more.
 *
 * What stands in debian:SUITE came from Debian's archive, and its package manager reaches that as mmdebstrap did: in a
 * user namespace, with this host's network and the settings of its apt. Any other image may be a stranger's, and so is
 * its package manager: that runs in a box, as a job with the network on does. */
#include "runner/sandbox/image_packages.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/layer_store.h"
#include "runner/sandbox/sandbox.h"

enum { SILENCE_MS = 600 * 1000, LINE_MAX_BYTES = 4000 };

struct task {
	const struct image_want *want;
	struct image *image;
	const char *key;
};

/* $@: the packages. Its lines are read as mmdebstrap's are. */
static const char script[] =
	"set -e\n"
	"if command -v apt-get >/dev/null; then\n"
	"  echo 'I: running apt-get update'\n"
	"  apt-get update\n"
	"  echo 'I: installing remaining packages'\n"
	"  apt-get install --yes --no-install-recommends -o Dpkg::Options::=--force-unsafe-io -- \"$@\"\n"
	"  apt-get clean\n"
	"  rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin\n"
	"elif command -v apk >/dev/null; then\n"
	"  echo 'I: installing remaining packages'\n"
	"  apk add --no-cache -- \"$@\"\n"
	"elif command -v dnf >/dev/null; then\n"
	"  echo 'I: installing remaining packages'\n"
	"  dnf --assumeyes --setopt=install_weak_deps=False --setopt=tsflags=nodocs install -- \"$@\"\n"
	"  dnf clean all\n"
	"elif command -v microdnf >/dev/null; then\n"
	"  echo 'I: installing remaining packages'\n"
	"  microdnf --assumeyes --setopt=install_weak_deps=0 install \"$@\"\n"
	"  microdnf clean all\n"
	"else\n"
	"  echo 'E: the image has no package manager: neither apt-get nor apk nor dnf'\n"
	"  exit 1\n"
	"fi\n";

/* Run in the folder where the layer grows: its overlay over the image, with what maintainer scripts expect of a
 * system. /mnt: the way to it that needs no right to the folders above. */
static const char enter[] =
	"set -e\n"
	"mount -c -t overlay overlay -o userxattr,lowerdir=l/0,upperdir=rootfs,workdir=work merged\n"
	"conf=$(cat apt.conf)\n"
	"mount -c --bind merged " LAYER_REACH "\n"
	"cd " LAYER_REACH "\n"
	"mount -t proc proc proc\n"
	"mount -t tmpfs -o mode=0755 dev dev\n"
	"mount -t tmpfs -o mode=1777 tmp tmp\n"
	"for d in null zero full random urandom tty; do : >dev/$d; mount --bind /dev/$d dev/$d; done\n"
	"ln -s /proc/self/fd dev/fd\n"
	"mkdir dev/shm dev/pts\n"
	"printf '%s\\n' \"$conf\" >tmp/slipway-apt.conf\n"
	"printf '#!/bin/sh\\nexit 101\\n' >tmp/policy-rc.d\n"
	"mount --bind /etc/resolv.conf etc/resolv.conf\n"
	"export APT_CONFIG=/tmp/slipway-apt.conf\n"
	"exec chroot . \"$@\"\n";

static void script_argv(const struct image_want *want, struct vec *argv)
{
	vec_add_all(argv, (const char *const[]){"/bin/sh", "-c", script, "packages", NULL});
	for (size_t i = 0; i < want->packages->len; i++) vec_add(argv, want->packages->items[i]);
}

static int in_chroot(struct layer *l, struct task *t, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, lowers = VEC_INIT;
	const char *tree = t->image->layers.items[0], *end = strrchr(tree, '/'), *key = end;

	/* <cache>/layers/<key>/rootfs */
	while (key > tree && key[-1] != '/') key--;
	vec_take(&lowers, xstrndup(key, (unsigned long)(end - key)));
	if (layer_name_lowers(l, &lowers, e)) return -1;
	vec_add_all(&argv, (const char *const[]){"unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh",
						 "-c", enter, "enter", NULL});
	script_argv(t->want, &argv);
	return debian_run(l, (const char *const *)vec_argv(&argv), e);
}

/* --- in a box --- */

struct output {
	struct layer *l;
	struct debian_progress progress;
	char line[LINE_MAX_BYTES];
	size_t len;
	int log;
	char last[300]; /* line that says something */
};

static void take_line(struct output *o)
{
	int news;

	o->line[o->len] = '\0';
	o->line[strcspn(o->line, "\r")] = '\0';
	o->len = 0;
	news = debian_progress_line(&o->progress, o->line);
	if (news) layer_tell(o->l, news == 2, o->progress.percent, "%s", o->progress.text);
	if (!strncmp(o->line, "(", 1) && strstr(o->line, ") Installing ")) layer_tell(o->l, 0, -1, "%.200s", o->line);
	if (o->line[0]) snprintf(o->last, sizeof(o->last), "%.290s", o->line);
}

static int take_output(struct output *o, int fd, struct err *e)
{
	char chunk[4096];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : err_sys(e, "cannot read the package manager's output");
	if (n == 0) return 1;
	if (fs_write_all(o->log, chunk, (size_t)n, "log of the package manager", e)) return -1;
	for (ssize_t i = 0; i < n; i++) {
		if (chunk[i] == '\n' || o->len + 1 == sizeof(o->line)) take_line(o);
		if (chunk[i] != '\n') o->line[o->len++] = chunk[i];
	}
	return 0;
}

/* Until the container has ended. */
static int follow(struct sandbox *s, struct output *o, int fd, struct child_status *st, struct err *e)
{
	for (int open = 1;;) {
		struct pollfd pf[2] = {{open ? fd : -1, POLLIN, 0}, {sandbox_fd(s), POLLIN, 0}};
		int r = poll(pf, 2, SILENCE_MS), end;

		if (r < 0 && errno != EINTR) return err_sys(e, "cannot wait for the package manager");
		if (r == 0)
			return err_set(e, ERR_REMOTE, "the package manager said nothing for %d minutes",
				       SILENCE_MS / 60000);
		if (r > 0 && pf[0].revents) {
			end = take_output(o, fd, e);
			if (end < 0) return -1;
			open = !end;
		} else if (r > 0 && pf[1].revents)
			return sandbox_end(s, st, &(int){0}, e);
	}
}

static int complain(const struct output *o, struct child_status st, struct err *e)
{
	static const char unknown[] = "Unable to locate package ";
	const char *why = o->progress.error[0] ? o->progress.error : o->last;

	if (!strncmp(why, unknown, strlen(unknown)))
		return err_set(e, ERR_INPUT, "the archive has no package '%s'", why + strlen(unknown));
	return err_set(e, ERR_REMOTE, "the package manager %s: %s (its output: %s)", child_status_str(st), why,
		       o->l->log);
}

static int run_in_box(struct sandbox *s, struct output *o, struct task *t, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
	_cleanup_close_ int in = -1, out = -1;
	struct sandbox_run run = {.cwd = "/"};
	struct child_status st;
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	in = p[0];
	out = p[1];
	vec_setenv(&env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	vec_setenv(&env, "HOME", "/root");
	vec_setenv(&env, "LC_ALL", "C");
	vec_setenv(&env, "DEBIAN_FRONTEND", "noninteractive");
	script_argv(t->want, &argv);
	run.argv = (const char *const *)vec_argv(&argv);
	run.env = (const char *const *)vec_argv(&env);
	run.out = out;
	if (sandbox_start(s, &run, e)) return -1;
	close_p(&out);
	if (follow(s, o, in, &st, e)) return -1;
	if (o->len) take_line(o);
	return child_ok(st) ? 0 : complain(o, st, e);
}

/* What the box itself put there: the image's own show again. */
static int tidy(const char *tree, struct err *e)
{
	static const char *const boxes_own[] = {".slipway", "etc/resolv.conf", "etc/hosts"};

	for (size_t i = 0; i < ARRAY_LEN(boxes_own); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", tree, boxes_own[i]);

		if (layer_discard(path, e)) return -1;
	}
	return 0;
}

static int in_box(struct layer *l, struct task *t, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s/box", l->temp), *log = xasprintf("%s/log", l->temp);
	_cleanup_free_ char *id = xasprintf("packages-%.16s", t->key), *tree = xasprintf("%s/rootfs", l->temp);
	_cleanup_vec_ struct vec notes = VEC_INIT;
	_cleanup_close_ int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct output o = {.l = l, .log = fd};
	struct sandbox_opts opts = {.id = id,
				    .dir = dir,
				    .layers = (const char *const *)vec_argv(&t->image->layers),
				    .arch = t->want->arch,
				    .network = 1,
				    .limits = {.pids = 1024}};
	struct sandbox *s = NULL;

	if (fd < 0) return err_sys(e, "cannot create '%s'", log);
	if (mkdir(dir, 0700)) return err_sys(e, "cannot make folder '%s'", dir);
	if (sandbox_open(&opts, &s, &notes, e)) return -1;
	if (run_in_box(s, &o, t, e)) {
		sandbox_close(&s);
		return -1;
	}
	if (layer_discard(tree, e)) {
		sandbox_close(&s);
		return -1;
	}
	return sandbox_take(&s, "", tree, e) || tidy(tree, e) ? -1 : 0;
}

static int make(struct layer *l, void *arg, struct err *e)
{
	struct task *t = arg;

	layer_tell(l, 1, 0, "installing %zu packages", t->want->packages->len);
	return t->want->ref.kind == IMAGEREF_DEBIAN ? in_chroot(l, t, e) : in_box(l, t, e);
}

int image_packages_check(const struct image_want *want, struct err *e)
{
	if (want->ref.kind != IMAGEREF_DEBIAN || !want->packages->len) return 0;
	return debian_check_packages(want->ref.of, want->packages, e);
}

int image_packages_get(const struct image_ask *ask, const struct image_want *want, const char *owner, int make_it,
		       struct image *image, struct err *e)
{
	char content[IMAGE_KEY_BYTES], key[IMAGE_KEY_BYTES];
	_cleanup_json_ json_t *note = NULL;
	_cleanup_vec_ struct vec layers = VEC_INIT;
	struct task t = {.want = want, .image = image, .key = key};
	json_t *names = json_array();
	_cleanup_close_ int hold = -1;

	image_packages_key(image->digest, want->arch, want->packages, NULL, content);
	image_packages_key(image->digest, want->arch, want->packages, owner, key);
	for (size_t i = 0; i < want->packages->len; i++)
		json_array_append_new(names, json_string(want->packages->items[i]));
	note = json_pack("{s:o, s:s, s:s, s:s, s:o}", "name", json_any_text(ask->name), "kind", "packages", "arch",
			 want->arch, "digest", image->digest, "packages", names);
	if (!note) die("json_pack");
	if (!layer_hold(ask->cache, key, &hold)) {
		struct layer_order o = {.cache = ask->cache,
					.key = key,
					.arch = want->arch,
					.label = ask->name,
					.note = note,
					.progress = ask->progress,
					.progress_arg = ask->arg,
					.make = make,
					.arg = &t};

		if (!make_it) return 1;
		if (layer_ensure(&o, &hold, e)) return -1;
	}
	image_take_hold(image, &hold);
	free_p(&image->digest);
	image->digest = xasprintf("sha256:%s", content);
	vec_take(&layers, layer_tree(ask->cache, key));
	for (size_t i = 0; i < image->layers.len; i++) vec_add(&layers, image->layers.items[i]);
	vec_release(&image->layers);
	image->layers = layers;
	layers = (struct vec)VEC_INIT;
	return 0;
}
