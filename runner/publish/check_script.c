/* check.script: tests of the repository's own against the image that has just booted, in a box of their own with the
 * sources, the job's image as root, and a network in which there is one thing: what the image serves, at the same port
 * of 127.0.0.1. The script is as much a stranger as the image. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

enum { MOST_WAITING = 128, EOF_GRACE_MS = 3000 };

static const char source_dir[] = "/build", script_path[] = "/.slipway/check";

struct script {
	struct trial *t;
	struct sandbox *box;
	struct loop *loop;
	struct relay *relay;
	int out;     /* what it says; -1 at its end */
	int running; /* the script */
	int is_late;
	struct child_status status;
	int oom;
	struct err failure; /* kind ERR_NONE: none */
};

static void script_release(struct script *s)
{
	relay_free(&s->relay);
	close_p(&s->out);
	sandbox_close(&s->box);
	loop_free(&s->loop);
}

static int open_box(struct script *s, struct err *e)
{
	const struct check_env *env = s->t->env;
	struct vec layers = env->image->layers; /* borrowed: vec_argv only reads it */
	_cleanup_vec_ struct vec notes = VEC_INIT;
	_cleanup_free_ char *id = xasprintf("%s-script", env->id);
	const char *text = s->t->c->script;
	struct sandbox_git sources = {
		.mirror = env->mirror, .commit = env->commit, .path = source_dir, .depth = env->depth};
	struct sandbox_opts o = {.id = id,
				 .dir = env->script_dir,
				 .layers = (const char *const *)vec_argv(&layers),
				 .arch = env->arch,
				 .limits = {.memory_bytes = 1LL << 30, .disk_bytes = 1LL << 30, .pids = 256}};

	if (sandbox_open(&o, &s->box, &notes, e)) return -1;
	if (env->mirror && sandbox_put_git(s->box, &sources, e)) return -1;
	return sandbox_put_file(s->box, script_path, text, strlen(text), 0644, e);
}

static int open_relay(struct script *s, struct err *e)
{
	struct sockaddr_in here = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = s->t->address.sin_port};
	_cleanup_close_ int fd = -1;

	if (sandbox_socket(s->box, &fd, e)) return -1;
	if (bind(fd, (const struct sockaddr *)&here, sizeof(here)) || listen(fd, MOST_WAITING))
		return err_sys(e, "cannot listen in the script's box");
	s->relay = relay_new(s->loop, fd, s->t);
	fd = -1;
	return 0;
}

static void environment(const struct script *s, struct vec *env)
{
	const struct check_env *from = s->t->env;
	int port = ntohs(s->t->address.sin_port);

	for (size_t i = 0; from->exports && from->exports[i]; i++) vec_add(env, from->exports[i]);
	vec_setenv(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	vec_setenv(env, "HOME", "/root");
	vec_addf(env, "CHECK_URL=http://127.0.0.1:%d", port);
	vec_add(env, "CHECK_HOST=127.0.0.1");
	vec_addf(env, "CHECK_PORT=%d", port);
}

static int start(struct script *s, struct err *e)
{
	static const char *const argv[] = {
		"/bin/sh", "-c",
		"if command -v bash >/dev/null 2>&1; then exec bash -e \"$0\"; else exec sh -e \"$0\"; fi", script_path,
		NULL};
	_cleanup_vec_ struct vec env = VEC_INIT;
	_cleanup_close_ int theirs = -1;
	struct sandbox_run run = {.argv = argv, .cwd = source_dir};
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	s->out = p[0];
	theirs = p[1];
	environment(s, &env);
	run.env = (const char *const *)vec_argv(&env);
	run.out = theirs;
	if (sandbox_start(s->box, &run, e)) return -1;
	s->running = 1;
	return 0;
}

/* --- while it runs --- */

static void all_said(void *arg)
{
	struct script *s = arg;

	if (s->out >= 0) loop_fd_remove(s->loop, s->out);
	close_p(&s->out);
	if (!s->running) loop_stop(s->loop);
}

static void on_words(int fd, short revents, void *arg)
{
	struct script *s = arg;
	char chunk[16384];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	(void)revents;
	if (n < 0 && errno == EINTR) return;
	if (n > 0) console_say(&s->t->console, chunk, (size_t)n);
	if (n <= 0) all_said(s);
}

static void on_end(int fd, short revents, void *arg)
{
	struct script *s = arg;
	struct err late; /* what made us kill it is the reason */

	(void)revents;
	loop_fd_remove(s->loop, fd);
	s->running = 0;
	if (sandbox_end(s->box, &s->status, &s->oom, &late) && !s->failure.kind) s->failure = late;
	if (s->out < 0)
		loop_stop(s->loop);
	else
		loop_timer(s->loop, EOF_GRACE_MS, all_said, s);
}

static void on_late(void *arg)
{
	struct script *s = arg;

	s->is_late = 1;
	sandbox_kill(s->box);
}

static void on_console(int fd, short revents, void *arg)
{
	struct script *s = arg;

	(void)revents;
	console_read(&s->t->console);
	if (s->t->console.fd < 0) loop_fd_remove(s->loop, fd);
}

static void on_image_end(int fd, short revents, void *arg)
{
	struct script *s = arg;
	struct trial *t = s->t;
	_cleanup_free_ char *how = NULL;

	(void)revents;
	loop_fd_remove(s->loop, fd);
	if (!trial_reap(t, &s->failure)) {
		how = trial_how(t);
		err_set(&s->failure, ERR_REMOTE, "%s while its script ran", how);
	}
	sandbox_kill(s->box);
}

/* --- the whole of it --- */

static int judge(const struct script *s, struct err *e)
{
	if (s->failure.kind) {
		*e = s->failure;
		return -1;
	}
	if (s->is_late)
		return err_set(e, ERR_REMOTE, "the script ran longer than %lld s",
			       (long long)(trial_limit(s->t) + 999) / 1000);
	if (child_ok(s->status)) return 0;
	return err_set(e, ERR_REMOTE, "the script %s%s", child_status_str(s->status),
		       s->oom ? " (it ran out of memory)" : "");
}

static void tell_console(struct console *k)
{
	if (!k->tail.len) return;
	console_line(k, "--- the image's console while the script ran");
	console_say(k, buf_str(&k->tail), k->tail.len);
	console_line(k, "---");
}

static int run(struct script *s, struct err *e)
{
	struct trial *t = s->t;

	s->loop = loop_new();
	if (open_box(s, e) || open_relay(s, e) || start(s, e)) return -1;
	loop_fd(s->loop, s->out, POLLIN, on_words, s);
	loop_fd(s->loop, sandbox_fd(s->box), POLLIN, on_end, s);
	loop_fd(s->loop, trial_end_fd(t), POLLIN, on_image_end, s);
	if (t->console.fd >= 0) loop_fd(s->loop, t->console.fd, POLLIN, on_console, s);
	loop_timer(s->loop, trial_limit(t), on_late, s);
	return loop_run(s->loop, e) ? -1 : judge(s, e);
}

int script_run(struct trial *t, struct err *e)
{
	__attribute__((cleanup(script_release))) struct script s = {.t = t, .out = -1};
	int rc;

	console_line(&t->console, "ready after %lld ms; check.script:", (long long)(clock_mono_ms() - t->began));
	t->console.quiet = 1;
	rc = run(&s, e);
	t->console.quiet = 0;
	if (rc) tell_console(&t->console);
	t->script_passed = !rc;
	return rc;
}
