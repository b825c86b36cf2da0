/* Boot proof in a box of its own: the image as a Unix program that serves, or a command that judges it.
 *
 *   unix     passed: `expect` was said and the HTTP check answered, and it did not fall over right after; where neither
 *            is asked for, it ran for two seconds or ended with 0
 *   command  passed: it ended with 0, and `expect` was said
 *
 * The image is a stranger: it gets the job's image as its root, no network, limits, and nothing of ours. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"
#include "runner/sandbox/sandbox.h"

enum { RETRY_MS = 50, TICK_MS = 200 };

struct trial {
	const struct plan_check *c;
	struct sandbox *box;
	struct console console;
	struct probe *probe;
	int running, answered, status_known;
	struct child_status status;
	int oom;
	int64_t began, deadline, next_try;
};

static void trial_release(struct trial *t)
{
	probe_free(&t->probe);
	sandbox_close(&t->box);
	console_release(&t->console);
}

static int put_image(struct sandbox *box, const char *file, struct err *e)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *map;
	int rc;

	if (fd < 0 || fstat(fd, &st)) return err_sys(e, "cannot open image '%s'", file);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) return err_sys(e, "cannot map image '%s'", file);
	rc = sandbox_put_file(box, "/image", map, (size_t)st.st_size, 0755, e);
	munmap(map, (size_t)st.st_size);
	return rc;
}

static int open_box(struct trial *t, const struct check_env *env, struct err *e)
{
	struct vec layers = env->image->layers; /* borrowed: vec_argv only reads it */
	_cleanup_vec_ struct vec notes = VEC_INIT;
	struct sandbox_opts o = {.id = env->id,
				 .dir = env->dir,
				 .layers = (const char *const *)vec_argv(&layers),
				 .limits = {.memory_bytes = 1LL << 30, .disk_bytes = 1LL << 30, .pids = 256}};

	if (sandbox_open(&o, &t->box, &notes, e)) return -1;
	return put_image(t->box, env->file, e);
}

static int start(struct trial *t, const struct check_env *env, int out, struct err *e)
{
	const char *const unix_argv[] = {"/image", NULL};
	const char *const command_argv[] = {"/bin/sh", "-c", t->c->command, NULL};
	_cleanup_free_ char *port = xasprintf("PORT=%d", CHECK_PORT), *arch = xasprintf("ARCH=%s", env->arch);
	const char *const vars[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				    "HOME=/",
				    "IMAGE=/image",
				    port,
				    arch,
				    NULL};
	struct sandbox_run run = {
		.argv = t->c->boot == BOOT_COMMAND ? command_argv : unix_argv, .env = vars, .cwd = "/", .out = out};

	if (sandbox_start(t->box, &run, e)) return -1;
	t->running = 1;
	return 0;
}

static void connect_probe(struct trial *t, int64_t now)
{
	struct err ignored; /* ERR_BUSY: nothing listens yet */
	int fd;

	if (t->answered || !t->running || !probe_idle(t->probe) || now < t->next_try) return;
	t->next_try = now + RETRY_MS;
	if (!sandbox_connect(t->box, CHECK_PORT, &fd, &ignored)) probe_start(t->probe, fd, t->deadline - now);
}

/* One turn: wait, read, look whether it ended. */
static int turn(struct trial *t, int64_t until, struct err *e)
{
	int64_t now = clock_mono_ms(), left = until > now ? until - now : 0;
	int fds[] = {t->console.fd, t->running ? sandbox_fd(t->box) : -1};
	struct pollfd ended = {.fd = fds[1], .events = POLLIN};
	int rc;

	if (t->c->http_path) {
		connect_probe(t, now);
		if (!t->answered && left > RETRY_MS) left = RETRY_MS;
	}
	rc = probe_wait(t->probe, fds, ARRAY_LEN(fds), left < TICK_MS ? left : TICK_MS, e);
	console_read(&t->console);
	if (rc < 0) return -1;
	if (rc == 1) t->answered = 1;
	if (!t->running || poll(&ended, 1, 0) <= 0) return 0;
	t->running = 0;
	if (sandbox_end(t->box, &t->status, &t->oom, e)) return -1;
	console_read(&t->console);
	return 0;
}

static int ended_badly(struct trial *t, struct err *e)
{
	_cleanup_free_ char *how =
		xasprintf("%s%s", child_status_str(t->status), t->oom ? " (it ran out of memory)" : "");

	return check_ended(t->c, &t->console, t->answered, how, e);
}

/* 1: all that was asked for has come */
static int satisfied(const struct trial *t)
{
	return (!t->console.expect || t->console.seen) && (!t->c->http_path || t->answered);
}

static int judge_unix(struct trial *t, struct err *e)
{
	int asked = t->console.expect || t->c->http_path;
	int64_t calm = asked ? 0 : t->began + CHECK_ALIVE_MS;

	for (int64_t now; (now = clock_mono_ms()) < t->deadline;) {
		if (!t->running && (!satisfied(t) || !child_ok(t->status))) return ended_badly(t, e);
		if (!t->running) return 0;
		if (satisfied(t) && !calm) calm = now + CHECK_AFTER_MS;
		if (calm && now >= calm) return 0;
		if (turn(t, calm ? calm : t->deadline, e)) return -1;
	}
	/* The time was over within the calm at the end: it had done all it had to. */
	return calm && satisfied(t) && t->running
		       ? 0
		       : check_late(t->c, &t->console, t->answered, probe_last(t->probe), t->deadline - t->began, e);
}

static int judge_command(struct trial *t, struct err *e)
{
	while (t->running) {
		if (clock_mono_ms() >= t->deadline)
			return check_late(t->c, &t->console, 0, "", t->deadline - t->began, e);
		if (turn(t, t->deadline, e)) return -1;
	}
	return satisfied(t) && child_ok(t->status) ? 0 : ended_badly(t, e);
}

int check_box(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg, struct err *e)
{
	__attribute__((cleanup(trial_release))) struct trial t = {.c = c, .console = {.fd = -1}};
	_cleanup_close_ int out = -1;
	int rc;

	t.probe = probe_new(c);
	if (console_open(&t.console, c->expect, say, arg, &out, e) || open_box(&t, env, e) || start(&t, env, out, e))
		return -1;
	close_p(&out);
	t.began = clock_mono_ms();
	t.deadline = t.began + (c->timeout_ms > 0 ? c->timeout_ms : CHECK_DEFAULT_MS);
	rc = c->boot == BOOT_COMMAND ? judge_command(&t, e) : judge_unix(&t, e);
	if (!rc) console_line(&t.console, "boot proof passed after %lld ms", (long long)(clock_mono_ms() - t.began));
	if (t.running) sandbox_kill(t.box);
	return rc;
}
