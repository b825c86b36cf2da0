/* `runner check STATE ID FILE` (internal): the boot proof of a job's files, in a process of its own that holds no key.
 * `runner sweep STATE [ID]` (internal): removes what the boxes of killed leaders left on the disk. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/home.h"
#include "runner/images.h"
#include "runner/plan/plan.h"
#include "runner/publish/check.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/sandbox.h"
#include "runner/spare.h"
#include "runner/store/store.h"

/* The folder of check.script's box; the leader takes what the image says from the other. */
#define SCRIPT_BOX "script-box"
enum { CONSOLE_FD = 3 };

static void say(void *arg, const char *data, unsigned long len)
{
	(void)arg;
	fwrite(data, 1, len, stdout);
	fflush(stdout);
}

struct check {
	struct home home;
	struct store *store;
	struct job_row row;
	struct build_row build;
	struct job_spec spec;
	struct image image;
	int console_fd; /* 0: nobody takes it */
};

static void check_release(struct check *c)
{
	image_release(&c->image);
	job_spec_release(&c->spec);
	build_row_release(&c->build);
	job_row_release(&c->row);
	store_close(&c->store);
	home_release(&c->home);
}

static int load(struct check *c, const char *state, int64_t id, struct err *e)
{
	_cleanup_free_ char *db = NULL;
	_cleanup_json_ json_t *spec = NULL;
	_cleanup_images_choice_ struct images_choice choice = {0};

	if (home_open(state, &c->home, e)) return -1;
	db = home_db(&c->home);
	if (store_open(db, &c->store, e) || store_job_get(c->store, id, &c->row, e) ||
	    store_build_get(c->store, c->row.build_id, &c->build, e) ||
	    json_parse("job", c->row.spec, strlen(c->row.spec), &spec, e) || job_spec_from_json(spec, &c->spec, e))
		return -1;
	if (images_choose(&c->home, c->store, c->row.build_id, 0, c->spec.image, &choice, e)) return -1;
	if (image_find(&(struct image_ask){.cache = c->home.cache,
					   .name = choice.reference,
					   .arch = c->spec.arch,
					   .packages = &c->spec.packages,
					   .pin = choice.pin},
		       &c->image, e) == 1)
		return err_set(e, ERR_MISSING, "the image '%s' is not there any more", c->spec.image);
	return c->image.digest ? 0 : -1;
}

static int run(struct check *c, const char *file, struct err *e)
{
	_cleanup_free_ char *out = home_job(&c->home, c->row.id, "out"), *dir = home_job(&c->home, c->row.id, "box");
	_cleanup_free_ char *script_dir = home_job(&c->home, c->row.id, SCRIPT_BOX);
	_cleanup_free_ char *mirror = home_repo(&c->home, c->build.repo_id, "mirror.git");
	_cleanup_vec_ struct vec exports = VEC_INIT;
	_cleanup_free_ char *image = xasprintf("%s/%s", out, file);
	_cleanup_free_ char *id = xasprintf("j%lld-%d-check", (long long)c->row.id, c->row.attempt);
	struct check_env env = {.image = &c->image,
				.id = id,
				.dir = dir,
				.file = image,
				.arch = c->spec.arch ? c->spec.arch : image_host_arch(),
				.console_fd = c->console_fd,
				.script_dir = script_dir,
				.mirror = mirror,
				.commit = c->build.commit,
				.depth = c->spec.git.depth};

	if (fs_remove_tree(dir, e) || fs_mkdirs(dir, 0700, e)) return -1;
	if (fs_remove_tree(script_dir, e) || fs_mkdirs(script_dir, 0700, e)) return -1;
	vec_setenv(&exports, "CI", "true");
	vec_setenv(&exports, "CI_COMMIT", c->build.commit);
	vec_setenv(&exports, "ARCH", env.arch);
	if (c->spec.backend) vec_setenv(&exports, "BACKEND", c->spec.backend);
	env.exports = (const char *const *)vec_argv(&exports);
	return check_boot(&c->spec.check, &env, say, NULL, e);
}

/* Before anything else is opened, which could get that number. */
static int find_console(void)
{
	struct stat st;

	if (fstat(CONSOLE_FD, &st) || !S_ISFIFO(st.st_mode) || fcntl(CONSOLE_FD, F_SETFD, FD_CLOEXEC)) return 0;
	return CONSOLE_FD;
}

int cmd_check(int argc, char **argv)
{
	__attribute__((cleanup(check_release))) struct check c = {0};
	int64_t id = argc == 4 ? strtoll(argv[2], NULL, 10) : 0;
	struct err e;

	if (id <= 0) return cmd_usage(argv[0]);
	c.console_fd = find_console();
	if (load(&c, argv[1], id, &e) || run(&c, argv[3], &e)) {
		printf("%s\n", e.text);
		return 1;
	}
	return 0;
}

struct sweep {
	const struct home *home;
	const char *only; /* this job; NULL: all */
};

/* A leader that lives holds its job's lock. */
static int is_not_to_be_swept(const char *name, void *arg)
{
	const struct sweep *s = arg;
	_cleanup_free_ char *path = home_job(s->home, strtoll(name, NULL, 10), "lock");
	_cleanup_close_ int lock = -1;
	struct err e;

	if (s->only && strcmp(name, s->only) != 0) return 1;
	return fs_exists(path) && fs_lock(path, 0, &lock, &e);
}

int cmd_sweep(int argc, char **argv)
{
	__attribute__((cleanup(home_release))) struct home h = {0};
	struct sweep s = {&h, argc == 3 ? argv[2] : NULL};
	_cleanup_free_ char *jobs = NULL;
	struct err e;

	if (argc != 2 && argc != 3) return cmd_usage(argv[0]);
	if (home_open(argv[1], &h, &e)) return cmd_fail(argv[0], e.text);
	jobs = home_file(&h, "jobs");
	sandbox_sweep(jobs, "box", is_not_to_be_swept, &s);
	spare_sweep(&h);
	sandbox_sweep(jobs, SCRIPT_BOX, is_not_to_be_swept, &s);
	return 0;
}
