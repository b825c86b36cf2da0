/* Boot proof: one image from its start to the verdict, whatever runs it.
 *
 *   start ─→ ready: `expect` said, pages answered ─→ script ─→ it still runs a moment later ─→ passed
 *
 * Every wait has a deadline; the image is a stranger, and so is what it says. */
#include "runner/publish/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

enum { TICK_MS = 200, FIRST_TRY_MS = 20, SLOWEST_TRY_MS = 500 };

/* --- what was asked for --- */

int64_t trial_limit(const struct trial *t)
{
	return t->c->timeout_ms > 0 ? t->c->timeout_ms : CHECK_DEFAULT_MS;
}

int trial_serves(const struct plan_check *c)
{
	return c->nhttp || c->script;
}

int trial_judges(const struct plan_check *c)
{
	return c->boot == BOOT_COMMAND && !trial_serves(c);
}

/* Something must connect before it counts as ready: pages are to be answered, or a script could not begin. */
static int wants_answer(const struct trial *t)
{
	return t->c->nhttp || (t->c->script && !t->console.expect);
}

static int is_ready(const struct trial *t)
{
	return (!t->console.expect || t->console.seen) && (!wants_answer(t) || t->answered);
}

static int asks_nothing(const struct trial *t)
{
	return !t->console.expect && !trial_serves(t->c);
}

/* --- the image under way --- */

int trial_end_fd(const struct trial *t)
{
	if (!t->running) return -1;
	return t->machine ? t->machine_fd : sandbox_fd(t->box);
}

int trial_reap(struct trial *t, struct err *e)
{
	int rc = t->machine ? child_wait(t->machine, -1, &t->status, e) : sandbox_end(t->box, &t->status, &t->oom, e);

	t->running = 0;
	console_read(&t->console);
	return rc;
}

char *trial_how(const struct trial *t)
{
	if (t->machine) return machine_how(t);
	return xasprintf("%s%s", child_status_str(t->status),
			 t->oom == SANDBOX_OVER_DISK ? " (it wrote too much)"
			 : t->oom                    ? " (it ran out of memory)"
						     : "");
}

static int quit_well(const struct trial *t)
{
	return t->machine ? machine_quit_well(t) : child_ok(t->status);
}

int trial_connect(struct trial *t, int *fd_r, struct err *e)
{
	return sandbox_socket(t->box, fd_r, e);
}

static void trial_release(struct trial *t)
{
	if (t->machine && t->running) {
		kill(t->machine, SIGKILL);
		while (waitpid(t->machine, NULL, 0) < 0 && errno == EINTR) continue;
	}
	close_p(&t->machine_fd);
	close_p(&t->out);
	probe_free(&t->probe);
	sandbox_close(&t->box);
	console_release(&t->console);
}

void trial_add_args(const struct trial *t, struct vec *argv)
{
	for (const char *p = t->c->args ? t->c->args : ""; *p;) {
		size_t n = strcspn(p, " ");

		if (n) vec_addf(argv, "%.*s", (int)n, p);
		p += n + (p[n] == ' ');
	}
}

/* --- the line --- */

static int bad_line(const struct plan_check *c)
{
	return c->delay_ms || c->loss_ppm || c->rate_bit;
}

static void say_line(struct trial *t, const struct sandbox_line *l)
{
	_cleanup_buf_ struct buf what = BUF_INIT(200);

	if (l->delay_ms) buf_addf(&what, ", delay %lld ms", (long long)l->delay_ms);
	if (l->loss_ppm) buf_addf(&what, ", loss %d.%04d %%", l->loss_ppm / 10000, l->loss_ppm % 10000);
	if (l->rate_bit) buf_addf(&what, ", rate %lld bit/s", (long long)l->rate_bit);
	console_line(&t->console, "the line to it, each way: %s", buf_str(&what) + 2);
}

/* What the kernel cannot do is said, and the proof goes on without: the image is still run. */
static int make_line(struct trial *t, int tap, struct err *e)
{
	struct sandbox_line l = {t->c->delay_ms, t->c->loss_ppm, t->c->rate_bit, tap};
	struct err why;

	while (sandbox_line(t->box, &l, &why)) {
		int netem = l.delay_ms || l.loss_ppm;

		if (why.kind != ERR_MISSING) {
			*e = why;
			return err_wrap(e, "check.network");
		}
		console_line(&t->console, "check.network: %s not applied: %s",
			     netem ? "delay and loss are" : "the rate is", why.text);
		if (!netem || !l.rate_bit) return 0;
		l.delay_ms = l.loss_ppm = 0;
	}
	say_line(t, &l);
	return 0;
}

int trial_box(struct trial *t, int *tap_r, struct err *e)
{
	struct vec layers = t->env->image->layers; /* borrowed: vec_argv only reads it */
	_cleanup_vec_ struct vec notes = VEC_INIT;
	struct sandbox_opts o = {.id = t->env->id,
				 .dir = t->env->dir,
				 .layers = (const char *const *)vec_argv(&layers),
				 .arch = t->env->arch,
				 .limits = {.memory_bytes = 1LL << 30, .disk_bytes = 1LL << 30, .pids = 256}};

	if (sandbox_open(&o, &t->box, &notes, e)) return -1;
	if (tap_r && sandbox_tap(t->box, bad_line(t->c), tap_r, e)) return -1;
	return bad_line(t->c) ? make_line(t, tap_r != NULL, e) : 0;
}

/* tc's own counters: that the line was as bad as it says. */
static void show_line(struct trial *t)
{
	_cleanup_free_ char *text = NULL;
	struct err ignored;
	int ours = 0;

	if (!t->box || !bad_line(t->c) || sandbox_line_show(t->box, t->machine != 0, &text, &ignored)) return;
	for (char *p = text, *end; (end = strchr(p, '\n')); p = end + 1) {
		*end = '\0';
		if (!strncmp(p, "qdisc ", 6)) ours = !strncmp(p, "qdisc netem ", 12) || !strncmp(p, "qdisc tbf ", 10);
		if (ours && strstr(p, "Sent ")) console_line(&t->console, "the line: %s", p + strspn(p, " "));
	}
}

/* --- verdicts --- */

static int late(const struct trial *t, struct err *e)
{
	long long s = (long long)(t->deadline - t->began + 999) / 1000;
	const char *last = probe_last(t->probe);

	if (t->console.expect && !t->console.seen)
		return err_set(e, ERR_REMOTE, "did not say '%s' within %lld s", t->console.expect, s);
	if (wants_answer(t) && !t->answered)
		return err_set(e, ERR_REMOTE, "%s within %lld s%s%s", probe_what(t->probe), s, *last ? ": " : "", last);
	return err_set(e, ERR_REMOTE, "did not end within %lld s", s);
}

static int ended_badly(const struct trial *t, struct err *e)
{
	_cleanup_free_ char *how = trial_how(t);

	if (t->console.expect && !t->console.seen)
		return err_set(e, ERR_REMOTE, "%s before it said '%s'", how, t->console.expect);
	if (wants_answer(t) && !t->answered) return err_set(e, ERR_REMOTE, "%s before it answered", how);
	if (t->c->script && !t->script_passed) return err_set(e, ERR_REMOTE, "%s before its script was run", how);
	return err_set(e, ERR_REMOTE, "%s", how);
}

/* --- waiting --- */

/* Again and again until it is answered, at first soon: most images need a few milliseconds. */
static void try_to_connect(struct trial *t, int64_t now)
{
	int64_t left = t->deadline - now;
	struct err ignored;
	int fd;

	if (t->answered || !t->running || !probe_idle(t->probe) || now < t->next_try) return;
	t->wait_ms = !t->wait_ms                           ? FIRST_TRY_MS
		     : t->wait_ms * 3 / 2 > SLOWEST_TRY_MS ? SLOWEST_TRY_MS
							   : t->wait_ms * 3 / 2;
	t->next_try = now + t->wait_ms;
	if (!trial_connect(t, &fd, &ignored)) probe_start(t->probe, fd, &t->address, left);
}

/* One turn: wait, read, look whether it ended. */
static int turn(struct trial *t, int64_t until, struct err *e)
{
	int64_t now = clock_mono_ms(), left = until > now ? until - now : 0;
	int fds[] = {t->console.fd, trial_end_fd(t)};
	struct pollfd ended = {.fd = fds[1], .events = POLLIN};
	int rc;

	if (wants_answer(t) && !t->answered) {
		try_to_connect(t, now);
		if (probe_idle(t->probe) && t->next_try > now && left > t->next_try - now) left = t->next_try - now;
	}
	rc = probe_wait(t->probe, fds, ARRAY_LEN(fds), left < TICK_MS ? left : TICK_MS, e);
	console_read(&t->console);
	if (rc < 0) return -1;
	if (rc == 1) t->answered = 1;
	return t->running && poll(&ended, 1, 0) > 0 ? trial_reap(t, e) : 0;
}

/* It has ended by itself: was that what it was to do? */
static int after_its_end(const struct trial *t, struct err *e)
{
	int may = trial_judges(t->c) || t->c->boot != BOOT_QEMU || !asks_nothing(t);

	return is_ready(t) && may && quit_well(t) && (!t->c->script || t->script_passed) ? 0 : ended_badly(t, e);
}

/* Until it is ready, or has ended as it was to. */
static int wait_ready(struct trial *t, struct err *e)
{
	int64_t alive = asks_nothing(t) && !trial_judges(t->c) ? t->began + CHECK_ALIVE_MS : 0;

	for (int64_t now; t->running;) {
		now = clock_mono_ms();
		if (!trial_judges(t->c) && is_ready(t) && now >= alive) break;
		if (now >= t->deadline) return late(t, e);
		if (turn(t, alive && alive < t->deadline ? alive : t->deadline, e)) return -1;
	}
	if (!t->running) return after_its_end(t, e);
	if (t->c->boot == BOOT_QEMU && !t->console.bytes)
		return err_set(e, ERR_REMOTE, "said nothing on its serial port");
	return 0;
}

static int stay_calm(struct trial *t, struct err *e)
{
	int64_t until = clock_mono_ms() + (asks_nothing(t) ? 0 : CHECK_AFTER_MS);

	while (t->running && clock_mono_ms() < until)
		if (turn(t, until, e)) return -1;
	return t->running ? 0 : after_its_end(t, e);
}

/* --- the whole of it --- */

static int look_at_file(const char *file, struct err *e)
{
	struct stat st;

	if (stat(file, &st)) return err_sys(e, "cannot find image '%s'", file);
	if (!S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "image '%s' is not a regular file", file);
	if (!st.st_size) return err_set(e, ERR_REMOTE, "the image is empty");
	return 0;
}

static int go(struct trial *t, struct err *e)
{
	t->began = clock_mono_ms();
	t->deadline = t->began + trial_limit(t);
	if (wait_ready(t, e)) return -1;
	if (!t->running) return 0;
	if (t->c->script && script_run(t, e)) return -1;
	return stay_calm(t, e);
}

int check_boot(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg, struct err *e)
{
	__attribute__((cleanup(trial_release))) struct trial t = {
		.c = c, .env = env, .console = {.fd = -1}, .out = -1, .machine_fd = -1};
	int rc;

	if (c->boot == BOOT_NONE) return 0;
	for (size_t i = 0; i < c->nhttp; i++)
		if (c->http[i].path[0] != '/')
			return err_set(e, ERR_INPUT, "bad path '%s' of the HTTP check: it does not begin with a slash",
				       c->http[i].path);
	if (c->boot == BOOT_COMMAND && !c->command) return err_set(e, ERR_INPUT, "the check has no command");
	if (look_at_file(env->file, e) || check_can(c, e)) return -1;
	t.probe = probe_new(c);
	t.address = (struct sockaddr_in){.sin_family = AF_INET,
					 .sin_port = htons((uint16_t)(c->port ? c->port : CHECK_PORT))};
	if (inet_pton(AF_INET, machine_is(c) ? SANDBOX_TAP_THERE : "127.0.0.1", &t.address.sin_addr) != 1)
		die("inet_pton");
	if (console_open(&t.console, c->expect, say, arg, &t.out, e)) return -1;
	t.console.keep_fd = env->console_fd;
	if (machine_is(c) ? machine_boot(&t, e) : box_boot(&t, e)) return -1;
	rc = go(&t, e);
	console_read(&t.console);
	show_line(&t);
	if (!rc) console_line(&t.console, "boot proof passed after %lld ms", (long long)(clock_mono_ms() - t.began));
	return rc;
}
