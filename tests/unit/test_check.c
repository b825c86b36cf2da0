/* Boot proof: the console, PVH kernels of a few instructions under QEMU, programs and commands in real boxes. */
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/secret.h"
#include "runner/publish/check_parts.h"
#include "runner/sandbox/image.h"
#include "runner/sandbox/sandbox.h"
#include "runner/sandbox/userns.h"
#include "tests/unit/runner.h"
#include "tests/unit/unit.h"

static struct buf heard = BUF_INIT(1 << 20);

static void hear(void *arg, const char *data, unsigned long len)
{
	(void)arg;
	buf_add(&heard, data, len);
}

/* --- the console --- */

static void test_expect_is_found_across_any_split(void **state)
{
	static const char text[] = "boot\nrea ready: readreadyy";

	(void)state;
	for (size_t cut = 0; cut <= strlen(text); cut++)
		for (size_t step = 1; step < 5; step++) {
			struct console k;
			struct err e;
			int out;

			buf_clear(&heard);
			assert_done(console_open(&k, "readyy", hear, NULL, &out, &e), e);
			console_feed(&k, text, cut);
			assert_int_equal(k.seen, cut == strlen(text));
			for (size_t i = cut; i < strlen(text); i += step)
				console_feed(&k, text + i, strlen(text) - i < step ? strlen(text) - i : step);
			assert_int_equal(k.seen, 1);
			assert_string_equal(buf_str(&heard), text);
			close(out);
			console_release(&k);
		}
}

/* --- kernels --- */

struct kernel {
	Elf32_Ehdr h;
	Elf32_Phdr load, note;
	uint32_t xen[5];
	unsigned char code[32];
	char text[64];
};

static const unsigned char halt[] = {0xfa, 0xf4, 0xeb, 0xfd};       /* cli; hlt; jmp hlt */
static const unsigned char undefined[] = {0x0f, 0x0b};              /* ud2, and no IDT: a triple fault */
static const unsigned char leave_3[] = {0xb0, 3, 0xe6, 0xf4, 0xf4}; /* 3 to isa-debug-exit */
static const unsigned char leave_0[] = {0xb0, 0, 0xe6, 0xf4, 0xf4};

/* A kernel that writes `text` to the serial port, then does what `end` says. */
static char *make_kernel(const char *dir, const char *text, const unsigned char *end, size_t len)
{
	enum { BASE = 0x100000 };
	static const unsigned char print[] = {0xbe, 0,    0,    0,    0,       /* mov $text, %esi */
					      0x66, 0xba, 0xf8, 3,             /* mov $0x3f8, %dx */
					      0xac, 0x84, 0xc0, 0x74, 3, 0xee, /* lodsb; test; jz; out */
					      0xeb, 0xf8};                     /* jmp lodsb */
	struct kernel k = {.h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
				 .e_type = ET_EXEC,
				 .e_machine = EM_386,
				 .e_version = EV_CURRENT,
				 .e_entry = BASE + offsetof(struct kernel, code),
				 .e_phoff = offsetof(struct kernel, load),
				 .e_ehsize = sizeof(Elf32_Ehdr),
				 .e_phentsize = sizeof(Elf32_Phdr),
				 .e_phnum = 2},
			   .load = {.p_type = PT_LOAD,
				    .p_vaddr = BASE,
				    .p_paddr = BASE,
				    .p_filesz = sizeof(struct kernel),
				    .p_memsz = sizeof(struct kernel),
				    .p_flags = 7,
				    .p_align = 4096},
			   .note = {.p_type = PT_NOTE,
				    .p_offset = offsetof(struct kernel, xen),
				    .p_vaddr = BASE + offsetof(struct kernel, xen),
				    .p_paddr = BASE + offsetof(struct kernel, xen),
				    .p_filesz = 20,
				    .p_memsz = 20,
				    .p_align = 4},
			   .xen = {4, 4, 18, 0x006e6558, BASE + offsetof(struct kernel, code)}};
	uint32_t where = BASE + offsetof(struct kernel, text);
	char *path = xasprintf("%s/kernel", dir);
	struct err e;

	memcpy(k.code, print, sizeof(print));
	memcpy(k.code + 1, &where, 4);
	memcpy(k.code + sizeof(print), end, len);
	snprintf(k.text, sizeof(k.text), "%s", text);
	assert_done(fs_write_file(path, &k, sizeof(k), 0644, &e), e);
	return path;
}

static int have(const char *program)
{
	const char *const argv[] = {program, "--version", NULL};
	struct child_opts o = {.argv = argv};
	_cleanup_buf_ struct buf out = BUF_INIT(65536);
	struct child_status st;
	struct err e;

	return !child_run(&o, NULL, 20000, &out, NULL, &st, &e) && child_ok(st);
}

static int boot(const char *file, const char *expect, int64_t timeout_ms, struct err *e)
{
	struct plan_check c = {.boot = BOOT_QEMU, .expect = (char *)(uintptr_t)expect, .timeout_ms = timeout_ms};
	struct check_env env = {.file = file, .dir = "/", .id = "x", .arch = "amd64"};

	buf_clear(&heard);
	return check_boot(&c, &env, hear, NULL, e);
}

static void test_kernels_under_qemu(void **state)
{
	static const struct {
		const char *text;
		const unsigned char *end;
		size_t len;
		const char *expect;
		const char *why; /* NULL: passes */
	} rows[] = {
		{"hello\nready\n", halt, sizeof(halt), "ready", NULL},
		{"hello\n", halt, sizeof(halt), NULL, NULL},
		{"ready\n", leave_0, sizeof(leave_0), "ready", NULL},
		{"hello\n", halt, sizeof(halt), "ready", "did not say 'ready' within 3 s"},
		{"", halt, sizeof(halt), NULL, "said nothing on its serial port"},
		{"hello\n", undefined, sizeof(undefined), "ready",
		 "the machine was reset (a triple fault?) before it said 'ready'"},
		{"ready\n", undefined, sizeof(undefined), "ready", "the machine was reset (a triple fault?)"},
		{"hello\n", undefined, sizeof(undefined), NULL, "the machine was reset (a triple fault?)"},
		{"hello\n", leave_3, sizeof(leave_3), "ready",
		 "the kernel gave up with status 3 before it said 'ready'"},
		{"ready\n", leave_3, sizeof(leave_3), "ready", "the kernel gave up with status 3"},
		{"hello\n", leave_0, sizeof(leave_0), NULL, "the machine was switched off"},
	};
	_cleanup_temp_ char *dir = unit_temp();
	struct err e;

	(void)state;
	if (!have("qemu-system-x86_64")) skip();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_free_ char *file = make_kernel(dir, rows[i].text, rows[i].end, rows[i].len);

		if (rows[i].why)
			assert_refused(boot(file, rows[i].expect, 3000, &e), e, ERR_REMOTE, rows[i].why);
		else
			assert_done(boot(file, rows[i].expect, 10000, &e), e);
		assert_non_null(strstr(buf_str(&heard), rows[i].text));
	}
}

static void test_what_is_no_kernel_is_not_run(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *file = xasprintf("%s/f", dir), *want = NULL;
	struct err e;

	(void)state;
	assert_done(fs_write_file(file, "", 0, 0644, &e), e);
	assert_refused(boot(file, NULL, 1000, &e), e, ERR_REMOTE, "the image is empty");
	assert_done(fs_write_file(file, "#!/bin/sh\n", 10, 0755, &e), e);
	assert_refused(boot(file, NULL, 1000, &e), e, ERR_REMOTE, "not an ELF file");
	assert_refused(boot("/bin/true", NULL, 1000, &e), e, ERR_REMOTE, "no PVH entry note (Xen note 18)");
	unlink(file);
	want = xasprintf("cannot find image '%s': No such file or directory", file);
	assert_refused(boot(file, NULL, 1000, &e), e, ERR_MISSING, want);
	assert_int_equal(heard.len, 0);
}

static void test_what_this_version_does_not_boot(void **state)
{
	struct plan_check c = {.boot = BOOT_SOLO5_SPT};
	struct check_env env = {.file = "/bin/true", .dir = "/", .id = "x", .arch = "amd64"};
	struct err e;

	(void)state;
	assert_refused(check_boot(&c, &env, hear, NULL, &e), e, ERR_INPUT,
		       "boot 'solo5-spt' is not supported by this version");
	c = (struct plan_check){.boot = BOOT_QEMU, .http_path = (char *)(uintptr_t) "/"};
	assert_refused(check_boot(&c, &env, hear, NULL, &e), e, ERR_INPUT,
		       "an HTTP check of boot 'qemu' is not supported by this version");
	c = (struct plan_check){.boot = BOOT_UNIX, .http_path = (char *)(uintptr_t) "x"};
	assert_refused(check_boot(&c, &env, hear, NULL, &e), e, ERR_INPUT,
		       "bad path 'x' of the HTTP check: it does not begin with a slash");
	c = (struct plan_check){.boot = BOOT_COMMAND};
	assert_refused(check_boot(&c, &env, hear, NULL, &e), e, ERR_INPUT, "the check has no command");
	c = (struct plan_check){.boot = BOOT_NONE};
	assert_done(check_boot(&c, &env, hear, NULL, &e), e);
}

/* --- programs and commands in boxes --- */

static struct {
	char runner[4200];
	char *top; /* cache/, box/, image */
	struct image image;
	struct err why; /* no box can be had here */
} fx;

static void find_runner(void)
{
	unit_runner_path(fx.runner, sizeof(fx.runner));
	sandbox_set_runner(fx.runner);
}

/* The runner makes the image: image_ensure starts the program it is in, which would be this test. */
static int make_image(void **state)
{
	_cleanup_vec_ struct vec none = VEC_INIT, env = VEC_INIT;
	_cleanup_free_ char *cache = NULL;
	const char *const argv[] = {fx.runner, "image", "busybox", NULL};
	struct child_opts o = {.argv = argv};

	(void)state;
	find_runner();
	fx.top = unit_temp();
	assert_int_equal(chmod(fx.top, 0755), 0);
	cache = xasprintf("%s/cache", fx.top);
	vec_setenv(&env, "SLIPWAY_CACHE", cache);
	vec_setenv(&env, "SLIPWAY_STATE", fx.top);
	vec_setenv(&env, "PATH", getenv("PATH"));
	o.env = (const char *const *)vec_argv(&env);
	if (child_check(&o, NULL, 120000, NULL, &fx.why) ||
	    image_ensure(cache, "busybox", NULL, &none, NULL, NULL, &fx.image, &fx.why))
		fx.image.digest = NULL;
	return 0;
}

static int remove_image(void **state)
{
	struct err e;

	(void)state;
	image_release(&fx.image);
	if (userns_remove_tree(fx.top, &e)) fprintf(stderr, "%s\n", e.text);
	free_p(&fx.top);
	return 0;
}

/* The box's first run tells whether this host can have one. */
static void need_box(void)
{
	if (!fx.image.digest) {
		print_message("skip: %s\n", fx.why.text);
		skip();
	}
}

static int boot_script(const char *script, struct plan_check c, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s/image", fx.top), *dir = xasprintf("%s/box", fx.top);
	_cleanup_free_ char *text = xasprintf("#!/bin/sh\n%s\n", script);
	struct check_env env = {.image = &fx.image, .id = "check-1", .dir = dir, .file = file, .arch = "amd64"};

	buf_clear(&heard);
	assert_done(fs_mkdirs(dir, 0700, e), *e);
	assert_done(fs_write_file(file, text, strlen(text), 0644, e), *e);
	return check_boot(&c, &env, hear, NULL, e);
}

#define SERVE "mkdir -p /www; echo '<h1>hi</h1>' >/www/index.html; exec httpd -f -p 127.0.0.1:$PORT -h /www"
#define HTTP(path, status, body)                                                                                       \
	.http_path = (char *)(uintptr_t)(path), .http_status = (status), .http_contains = (char *)(uintptr_t)(body)
#define EXPECT(text) .expect = (char *)(uintptr_t)(text)

static void test_unix_images(void **state)
{
	static const struct {
		const char *script;
		struct plan_check c;
		const char *why; /* NULL: passes */
	} rows[] = {
		{SERVE, {HTTP("/", 200, "<h1>")}, NULL},
		{SERVE, {HTTP("/index.html?q", 0, NULL)}, NULL},
		{SERVE, {HTTP("/none", 404, NULL)}, NULL},
		{"echo ready; " SERVE, {EXPECT("ready"), HTTP("/", 200, "hi")}, NULL},
		{SERVE, {HTTP("/", 200, "nowhere")}, "GET / answered without 'nowhere' in its body"},
		{SERVE, {HTTP("/none", 200, NULL)}, "GET /none answered 404, expected 200"},
		{SERVE, {EXPECT("ready"), HTTP("/", 200, NULL), .timeout_ms = 1500}, "did not say 'ready' within 2 s"},
		{"sleep 60", {HTTP("/", 200, NULL), .timeout_ms = 1000}, "did not answer GET / within 1 s"},
		{"nc -l -p $PORT -e true; " SERVE, {HTTP("/", 200, NULL)}, NULL},
		{"nc -l -p $PORT -e sh -c 'head -n 1 >/dev/null; printf \"HTTP/1.0 503 no\\r\\n\\r\\n\"'; " SERVE,
		 {HTTP("/", 200, NULL)},
		 NULL},
		{"exit 3", {HTTP("/", 200, NULL)}, "exited with 3 before it answered"},
		{"echo bye", {EXPECT("ready")}, "exited with 0 before it said 'ready'"},
		{"echo ready; exit 0", {EXPECT("ready")}, NULL},
		{"echo ready; sleep 0.1; exit 1", {EXPECT("ready")}, "exited with 1"},
		{"echo ready >&2; sleep 60", {EXPECT("ready")}, NULL},
		{"sleep 60", {.timeout_ms = 10000}, NULL},
		{"exit 0", {.timeout_ms = 10000}, NULL},
		{"exit 4", {.timeout_ms = 10000}, "exited with 4"},
		{"kill -9 $$", {.timeout_ms = 10000}, "killed by signal 9 (Killed)"},
		{"test -z \"$LISTEN_FDS\" && test $PORT = 8080 && test ! -e /proc/net/route -o $(wc -l "
		 "</proc/net/route) -lt 2",
		 {.timeout_ms = 10000},
		 NULL},
	};
	struct err e;

	(void)state;
	need_box();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct plan_check c = rows[i].c;
		int rc;

		c.boot = BOOT_UNIX;
		if (rows[i].why) {
			assert_refused(boot_script(rows[i].script, c, &e), e, ERR_REMOTE, rows[i].why);
			continue;
		}
		rc = boot_script(rows[i].script, c, &e);
		if (rc) fail_msg("row %zu: %s", i, e.text);
		assert_non_null(strstr(buf_str(&heard), "boot proof passed after "));
	}
}

static void test_commands_that_judge(void **state)
{
	static const struct {
		const char *command, *expect, *why;
	} rows[] = {
		{"test -x $IMAGE && $IMAGE", NULL, NULL},
		{"$IMAGE", "image ran", NULL},
		{"$IMAGE; exit 5", NULL, "exited with 5"},
		{"$IMAGE", "another", "exited with 0 before it said 'another'"},
		{"sleep 60", NULL, "did not end within 1 s"},
		{"/no/such/thing", NULL, "exited with 127"},
	};
	struct err e;

	(void)state;
	need_box();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct plan_check c = {.boot = BOOT_COMMAND,
				       .command = (char *)(uintptr_t)rows[i].command,
				       EXPECT(rows[i].expect),
				       .timeout_ms = rows[i].why ? 1000 : 10000};

		if (rows[i].why)
			assert_refused(boot_script("echo image ran", c, &e), e, ERR_REMOTE, rows[i].why);
		else
			assert_done(boot_script("echo image ran", c, &e), e);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_expect_is_found_across_any_split),
		cmocka_unit_test(test_kernels_under_qemu),
		cmocka_unit_test(test_what_is_no_kernel_is_not_run),
		cmocka_unit_test(test_what_this_version_does_not_boot),
		cmocka_unit_test(test_unix_images),
		cmocka_unit_test(test_commands_that_judge),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, make_image, remove_image);
}
