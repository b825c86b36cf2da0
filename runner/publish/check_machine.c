/* Boot proof of a machine: a PVH kernel under QEMU's microvm (TCG, no KVM), or a Solo5 unikernel under its tender. It
 * runs on the host, not in a box, for that is what these programs are for; it has its console and, where something is
 * to be asked of it, a tap of a box's network, and no other device.
 *
 * An isa-debug-exit device at 0xf4 lets a kernel end QEMU's machine: what it writes, v, becomes QEMU's exit status
 * 2v + 1; a triple fault ends it too (-no-reboot). QEMU runs with its own seccomp filter where it has one, a tender
 * brings its own; both with bounded memory, and both die with us. */
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
#include "lib/json.h"
#include "runner/publish/check_parts.h"
#include "runner/publish/elfnote.h"

enum {
	GUEST_MB = 64, /* and the image's own size */
	MAX_IMAGE_MB = 512,
	QEMU_MB = 2048, /* address space of QEMU itself; it uses a fraction */
	PROBE_MS = 20000,
	POWERED_OFF = 1, /* QEMU's exit status for 0 written to isa-debug-exit */
	TAP_FD = 3,
};

static const char filter[] = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/* --- the image's bytes --- */

/* The notes are looked at first: QEMU would run anything as a Linux kernel, and a Xen host nothing without one. */
static int check_note(const struct trial *t, long *mb_r, struct err *e)
{
	_cleanup_close_ int fd = open(t->env->file, O_RDONLY | O_CLOEXEC);
	enum elfnote_solo5 wanted = t->c->boot == BOOT_SOLO5_SPT ? ELFNOTE_SOLO5_SPT : ELFNOTE_SOLO5_HVT;
	uint32_t entry;
	struct stat st;
	void *map;
	int rc;

	if (fd < 0 || fstat(fd, &st)) return err_sys(e, "cannot open image '%s'", t->env->file);
	*mb_r = (long)((st.st_size + (1 << 20) - 1) >> 20);
	if (*mb_r > MAX_IMAGE_MB) return err_set(e, ERR_REMOTE, "the image is larger than %d MB", MAX_IMAGE_MB);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED) return err_sys(e, "cannot map image '%s'", t->env->file);
	rc = machine_is_solo5(t->c) ? elfnote_solo5(map, (size_t)st.st_size, wanted, e)
				    : elfnote_pvh(map, (size_t)st.st_size, &entry, e);
	munmap(map, (size_t)st.st_size);
	return rc;
}

/* --- QEMU --- */

static const char *const clean_env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/",
					"LC_ALL=C", NULL};

static void limits(struct vec *argv, const char *name, long mb)
{
	vec_add(argv, "prlimit");
	vec_add(argv, "--core=0");
	vec_add(argv, "--fsize=0");
	vec_addf(argv, "--as=%lld", (QEMU_MB + 2LL * mb) << 20);
	vec_add(argv, name);
}

/* Does QEMU's filter work here? A machine without anything is told to quit. */
static int has_filter(void)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	_cleanup_buf_ struct buf quit = BUF_INIT(64), out = BUF_INIT(4096), words = BUF_INIT(4096);
	struct child_opts o = {.env = clean_env};
	struct child_status status;
	struct err e;

	limits(&argv, MACHINE_QEMU, 0);
	vec_add_all(&argv, (const char *const[]){"-machine", "none", "-nodefaults", "-display", "none", "-monitor",
						 "stdio", "-sandbox", filter, NULL});
	o.argv = (const char *const *)vec_argv(&argv);
	buf_adds(&quit, "quit\n");
	return !child_run(&o, &quit, PROBE_MS, &out, &words, &status, &e) && child_ok(status);
}

static void qemu_command(struct trial *t, const char *file, long image_mb, struct vec *argv)
{
	limits(argv, MACHINE_QEMU, GUEST_MB + image_mb);
	vec_add_all(argv, (const char *const[]){"-accel", "tcg,thread=single,tb-size=32", "-machine", "microvm",
						"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
						"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
						"-device", "isa-debug-exit,iobase=0xf4", NULL});
	vec_add(argv, "-m");
	vec_addf(argv, "%ld", GUEST_MB + image_mb);
	vec_add(argv, "-kernel");
	vec_add(argv, file);
	if (t->c->args) vec_add_all(argv, (const char *const[]){"-append", t->c->args, NULL});
	if (t->box) {
		vec_add(argv, "-netdev");
		vec_addf(argv, "tap,id=net,fd=%d", (int)TAP_FD);
		vec_add_all(argv, (const char *const[]){"-device", "virtio-net-device,netdev=net", NULL});
	}
	if (has_filter())
		vec_add_all(argv, (const char *const[]){"-sandbox", filter, NULL});
	else
		console_line(&t->console, "QEMU runs without its own seccomp filter: it does not work on this host");
}

/* --- Solo5 --- */

/* The manifest names the devices without which a tender does not start: one network at most can be given.
 *  out  net_r  its name, or NULL; caller frees */
static int read_manifest(const char *file, char **net_r, struct err *e)
{
	const char *const argv[] = {MACHINE_ELFTOOL, "query-manifest", file, NULL};
	struct child_opts o = {.argv = argv, .env = clean_env, .cwd = "/"};
	_cleanup_buf_ struct buf out = BUF_INIT(1 << 16);
	_cleanup_json_ json_t *manifest = NULL;
	json_t *devices;

	if (child_check(&o, NULL, PROBE_MS, &out, e) ||
	    json_parse("the image's manifest", buf_str(&out), out.len, &manifest, e))
		return -1;
	devices = json_object_get(manifest, "devices");
	for (size_t i = 0; i < json_array_size(devices); i++) {
		const json_t *device = json_array_get(devices, i);
		const char *name = json_string_or(device, "name", ""), *type = json_string_or(device, "type", "");

		if (strcmp(type, "NET_BASIC") != 0 || *net_r)
			return err_set(
				e, ERR_REMOTE,
				"the image wants the device '%s' (%s): boot proof gives one network and no other", name,
				type);
		*net_r = xstrdup(name);
	}
	return 0;
}

static void solo5_command(const struct trial *t, const char *file, const char *net, struct vec *argv)
{
	vec_add_all(argv, (const char *const[]){"prlimit", "--core=0", "--fsize=0", machine_program(t->c), NULL});
	vec_addf(argv, "--mem=%d", (int)GUEST_MB);
	if (net) vec_addf(argv, "--net:%s=@%d", net, (int)TAP_FD);
	vec_add(argv, "--");
	vec_add(argv, file);
	trial_add_args(t, argv);
}

/* --- both --- */

char *machine_how(const struct trial *t)
{
	struct child_status s = t->status;

	if (machine_is_solo5(t->c)) return xasprintf("%s %s", machine_program(t->c), child_status_str(s));
	if (s.end == CHILD_EXITED && s.code == 0) return xstrdup("the machine was reset (a triple fault?)");
	if (s.end == CHILD_EXITED && s.code == POWERED_OFF) return xstrdup("the machine was switched off");
	if (s.end == CHILD_EXITED && s.code & 1) return xasprintf("the kernel gave up with status %d", s.code >> 1);
	return xasprintf("QEMU %s", child_status_str(s));
}

int machine_quit_well(const struct trial *t)
{
	return machine_is_solo5(t->c) ? child_ok(t->status)
				      : t->status.end == CHILD_EXITED && t->status.code == POWERED_OFF;
}

int machine_boot(struct trial *t, struct err *e)
{
	_cleanup_close_ int tap = -1;
	_cleanup_vec_ struct vec argv = VEC_INIT;
	_cleanup_free_ char *file = realpath(t->env->file, NULL), *net = NULL;
	struct child_fd pass;
	struct child_opts o = {.env = clean_env,
			       .cwd = "/",
			       .out = t->out,
			       .err = t->out,
			       .fds = &pass,
			       .setsid = 1,
			       .die_with_parent = 1};
	long mb = 0;

	if (!file) return err_sys(e, "cannot find image '%s'", t->env->file);
	if (check_note(t, &mb, e) || (machine_is_solo5(t->c) && read_manifest(file, &net, e))) return -1;
	if ((trial_serves(t->c) || net) && trial_box(t, &tap, e)) return -1;
	if (machine_is_solo5(t->c))
		solo5_command(t, file, net, &argv);
	else
		qemu_command(t, file, mb, &argv);
	pass = (struct child_fd){tap, TAP_FD};
	o.nfds = tap >= 0;
	o.argv = (const char *const *)vec_argv(&argv);
	if (child_start(&o, &t->machine, &t->machine_fd, e)) return -1;
	close_p(&t->out);
	t->running = 1;
	return 0;
}
