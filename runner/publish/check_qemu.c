/* Boot proof of a PVH kernel under QEMU's microvm, by TCG: no KVM, no network, one serial port.
 *
 * Passed: it said `expect` on the serial port and did not fall over right after; where nothing is expected, it said
 * something and still ran two seconds later. An isa-debug-exit device at 0xf4 lets a kernel end the machine: what
 * it writes, v, becomes QEMU's exit status 2v + 1; a triple fault ends it too (-no-reboot).
 * QEMU runs with its own seccomp filter where it has one, with bounded memory, and dies with us. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/publish/check_parts.h"
#include "runner/publish/elfnote.h"

enum {
	GUEST_MB = 64, /* and the image's own size */
	MAX_IMAGE_MB = 512,
	QEMU_MB = 2048, /* address space of QEMU itself; it uses a fraction */
	PROBE_MS = 20000,
	POWERED_OFF = 1, /* QEMU's exit status for 0 written to isa-debug-exit */
};

static const char qemu[] = "qemu-system-x86_64";
static const char filter[] = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

struct machine {
	pid_t pid;
	int pidfd;
	struct console console;
};

static void machine_release(struct machine *m)
{
	if (m->pid > 0) {
		kill(m->pid, SIGKILL);
		while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR) continue;
	}
	close_p(&m->pidfd);
	console_release(&m->console);
}

/* The note is looked at first: QEMU would run anything as a Linux kernel, and a Xen host nothing without it. */
static int check_note(const char *file, long *mb_r, struct err *e)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	uint32_t entry;
	struct stat st;
	void *map;
	int rc;

	if (fd < 0 || fstat(fd, &st)) return err_sys(e, "cannot open image '%s'", file);
	*mb_r = (long)((st.st_size + (1 << 20) - 1) >> 20);
	if (*mb_r > MAX_IMAGE_MB) return err_set(e, ERR_REMOTE, "the image is larger than %d MB", MAX_IMAGE_MB);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) return err_sys(e, "cannot map image '%s'", file);
	rc = elfnote_pvh(map, (size_t)st.st_size, &entry, e);
	munmap(map, (size_t)st.st_size);
	return rc;
}

static void limits(struct vec *argv, long mb)
{
	vec_add(argv, "prlimit");
	vec_add(argv, "--core=0");
	vec_add(argv, "--fsize=0");
	vec_addf(argv, "--as=%lld", (QEMU_MB + 2LL * mb) << 20);
	vec_add(argv, qemu);
}

static const char *const clean_env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
					"LC_ALL=C", NULL};

/* Does QEMU's filter work here? A machine without anything is told to quit. */
static int has_filter(void)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	_cleanup_buf_ struct buf quit = BUF_INIT(64), out = BUF_INIT(4096), words = BUF_INIT(4096);
	struct child_opts o = {.env = clean_env};
	struct child_status status;
	struct err e;

	limits(&argv, 0);
	vec_add_all(&argv, (const char *const[]){"-machine", "none", "-nodefaults", "-display", "none", "-monitor",
						 "stdio", "-sandbox", filter, NULL});
	o.argv = (const char *const *)vec_argv(&argv);
	buf_adds(&quit, "quit\n");
	return !child_run(&o, &quit, PROBE_MS, &out, &words, &status, &e) && child_ok(status);
}

static int boot(struct machine *m, const struct check_env *env, long image_mb, int out, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	struct child_opts o = {.env = clean_env, .cwd = "/", .out = out, .err = out, .setsid = 1, .die_with_parent = 1};
	_cleanup_free_ char *file = realpath(env->file, NULL);

	if (!file) return err_sys(e, "cannot find image '%s'", env->file);
	limits(&argv, GUEST_MB + image_mb);
	vec_add_all(&argv, (const char *const[]){"-accel", "tcg,thread=single,tb-size=32", "-machine", "microvm",
						 "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
						 "-chardev", "stdio,id=console,signal=off", "-serial",
						 "chardev:console", "-device", "isa-debug-exit,iobase=0xf4", NULL});
	vec_add(&argv, "-m");
	vec_addf(&argv, "%ld", GUEST_MB + image_mb);
	vec_add(&argv, "-kernel");
	vec_add(&argv, file);
	if (has_filter()) {
		vec_add(&argv, "-sandbox");
		vec_add(&argv, filter);
	} else {
		console_line(&m->console, "QEMU runs without its own seccomp filter: it does not work on this host");
	}
	o.argv = (const char *const *)vec_argv(&argv);
	return child_start(&o, &m->pid, &m->pidfd, e);
}

/* How the machine ended, in words. */
static char *how_it_ended(struct child_status s)
{
	if (s.end == CHILD_EXITED && s.code == 0) return xstrdup("the machine was reset (a triple fault?)");
	if (s.end == CHILD_EXITED && s.code == POWERED_OFF) return xstrdup("the machine was switched off");
	if (s.end == CHILD_EXITED && s.code & 1) return xasprintf("the kernel gave up with status %d", s.code >> 1);
	return xasprintf("QEMU %s", child_status_str(s));
}

static int judge(struct machine *m, const struct plan_check *c, int64_t began, int64_t deadline, struct err *e)
{
	int64_t calm = m->console.expect ? 0 : began + CHECK_ALIVE_MS;

	for (int64_t now; (now = clock_mono_ms()) < deadline;) {
		struct pollfd p[] = {{.fd = m->console.fd, .events = POLLIN}, {.fd = m->pidfd, .events = POLLIN}};
		int64_t until;

		if (m->console.seen && !calm) calm = now + CHECK_AFTER_MS;
		until = calm && calm < deadline ? calm : deadline;
		if (calm && now >= calm) break;
		poll(p, 2, (int)(until - now));
		console_read(&m->console);
		if (p[1].revents) {
			struct child_status s;
			_cleanup_free_ char *how = NULL;

			if (child_wait(m->pid, -1, &s, e)) return -1;
			m->pid = 0;
			console_read(&m->console);
			if (m->console.seen && s.end == CHILD_EXITED && s.code == POWERED_OFF) return 0;
			how = how_it_ended(s);
			return check_ended(c, &m->console, 0, how, e);
		}
	}
	if (m->console.expect && !m->console.seen) return check_late(c, &m->console, 0, "", deadline - began, e);
	if (!m->console.bytes) return err_set(e, ERR_REMOTE, "said nothing on its serial port");
	return 0;
}

int check_qemu(const struct plan_check *c, const struct check_env *env, check_say_fn *say, void *arg, struct err *e)
{
	__attribute__((cleanup(machine_release))) struct machine m = {.pidfd = -1, .console = {.fd = -1}};
	_cleanup_close_ int out = -1;
	int64_t began, ms = c->timeout_ms > 0 ? c->timeout_ms : CHECK_DEFAULT_MS;
	long mb = 0;

	if (check_note(env->file, &mb, e) || console_open(&m.console, c->expect, say, arg, &out, e)) return -1;
	if (boot(&m, env, mb, out, e)) return -1;
	close_p(&out);
	began = clock_mono_ms();
	if (judge(&m, c, began, began + ms, e)) return -1;
	console_line(&m.console, "boot proof passed after %lld ms", (long long)(clock_mono_ms() - began));
	return 0;
}
