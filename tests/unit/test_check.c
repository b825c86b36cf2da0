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
	struct plan_http odd = {.path = (char *)(uintptr_t) "x"};
	struct check_env env = {.file = "/bin/true", .dir = "/", .id = "x", .arch = "amd64"};
	struct err e;

	(void)state;
	if (have("solo5-spt"))
		assert_refused(check_boot(&c, &env, hear, NULL, &e), e, ERR_REMOTE, "no Solo5 note");
	else
		assert_refused(
			check_boot(&c, &env, hear, NULL, &e), e, ERR_MISSING,
			"boot proof 'solo5-spt' needs 'solo5-spt', which is not installed on the runner's box: it "
			"is no Debian package; build Solo5 from https://github.com/Solo5/solo5 and install its "
			"programs in /usr/local/bin");
	c = (struct plan_check){.boot = BOOT_UNIX, .http = &odd, .nhttp = 1};
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
	_cleanup_vec_ struct vec env = VEC_INIT;
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
	    image_ensure(&(struct image_ask){.cache = cache, .name = "busybox"}, &fx.image, &fx.why))
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

static int console_fd;

static int boot_script(const char *script, struct plan_check c, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s/image", fx.top), *dir = xasprintf("%s/box", fx.top);
	_cleanup_free_ char *script_dir = xasprintf("%s/script-box", fx.top);
	_cleanup_free_ char *text = xasprintf("#!/bin/sh\n%s\n", script);
	struct check_env env = {.image = &fx.image,
				.id = "check-1",
				.dir = dir,
				.file = file,
				.arch = "amd64",
				.console_fd = console_fd,
				.script_dir = script_dir,
				.exports = (const char *const[]){"ARCH=amd64", NULL}};

	buf_clear(&heard);
	assert_done(fs_mkdirs(dir, 0700, e) || fs_mkdirs(script_dir, 0700, e), *e);
	assert_done(fs_write_file(file, text, strlen(text), 0644, e), *e);
	return check_boot(&c, &env, hear, NULL, e);
}

#define HI_SHA256 "737e6daf77521604fc482aa91e8bed8c47f4815c624e61e49c45ecbb5832f708"
#define HO_SHA256 "56cc5eec55dc58c7043ac724f962e41892ef591552dd023a9b81f95958bfff63"
#define SERVE "mkdir -p /www; echo '<h1>hi</h1>' >/www/index.html; exec httpd -f -p 127.0.0.1:$PORT -h /www"
#define TEXT(text) (char *)(uintptr_t)(text)
#define PAGE(path_, status_, ...)                                                                                      \
	{                                                                                                              \
		.path = TEXT(path_), .status = (status_), __VA_ARGS__                                                  \
	}
#define HTTP(path, status, body) .http = (struct plan_http[]){PAGE(path, status, .contains = TEXT(body))}, .nhttp = 1
#define PAGES(...)                                                                                                     \
	.http = (struct plan_http[]){__VA_ARGS__},                                                                     \
	.nhttp = sizeof((struct plan_http[]){__VA_ARGS__}) / sizeof(struct plan_http)
#define GET "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc 127.0.0.1 $CHECK_PORT"
#define EXPECT(text) .expect = (char *)(uintptr_t)(text)

static void test_unix_images(void **state)
{
	const struct {
		const char *script;
		struct plan_check c;
		const char *why; /* NULL: passes */
	} rows[] = {
		{SERVE, {HTTP("/", 200, "<h1>")}, NULL},
		{SERVE, {HTTP("/index.html?q", 0, NULL)}, NULL},
		{SERVE, {HTTP("/none", 404, NULL)}, NULL},
		{"echo ready; " SERVE, {EXPECT("ready"), HTTP("/", 200, "hi")}, NULL},
		{SERVE,
		 {PAGES(PAGE("/", 200, .header = TEXT("content-type: text/html")), PAGE("/none", 404, 0))},
		 NULL},
		{SERVE, {PAGES(PAGE("/", 200, 0), PAGE("/none", 200, 0))}, "GET /none answered 404, expected 200"},
		{SERVE,
		 {PAGES(PAGE("/", 200, .header = TEXT("X-None")))},
		 "GET / answered without the header 'X-None'"},
		{SERVE,
		 {PAGES(PAGE("/", 200, .header = TEXT("Content-Type: image/")))},
		 "GET / answered without the header 'Content-Type: image/'"},
		{SERVE, {PAGES(PAGE("/", 200, .sha256 = TEXT(HI_SHA256)))}, NULL},
		{"mkdir -p /www; echo ho >/www/index.html; exec httpd -f -p 127.0.0.1:$PORT -h /www",
		 {PAGES(PAGE("/", 200, .sha256 = TEXT(HI_SHA256)))},
		 "GET / answered a body with the sha256 " HO_SHA256 ", expected " HI_SHA256},
		{"test \"$1 $2\" = '-v x' && test $PORT = 81 && " SERVE,
		 {HTTP("/", 200, NULL), .args = TEXT("-v  x"), .port = 81},
		 NULL},
		{SERVE, {HTTP("/", 200, "nowhere")}, "GET / answered without 'nowhere' in its body"},
		{SERVE, {HTTP("/none", 200, NULL)}, "GET /none answered 404, expected 200"},
		{SERVE, {EXPECT("ready"), HTTP("/", 200, NULL), .timeout_ms = 1500}, "did not say 'ready' within 2 s"},
		{"sleep 60",
		 {HTTP("/", 200, NULL), .timeout_ms = 1000},
		 "did not answer GET / within 1 s: nothing listens there"},
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

/* check.script runs beside the image, over a line of its own to it; there is no mirror here, so no sources. */
static void test_scripts(void **state)
{
	const struct {
		const char *image, *script;
		struct plan_check c;
		const char *why; /* NULL: passes */
		const char *said;
	} rows[] = {
		{SERVE, GET " | grep '<h1>hi'", {HTTP("/", 200, NULL)}, NULL, "<h1>hi</h1>"},
		{SERVE, GET " | grep '<h1>hi'", {.port = 81}, NULL, "<h1>hi</h1>"},
		{"sleep 0.3; " SERVE, GET " | grep '<h1>hi'", {0}, NULL, "<h1>hi</h1>"},
		{"echo ready; " SERVE,
		 "echo checking; false; echo never",
		 {EXPECT("ready")},
		 "the script exited with 1",
		 "checking"},
		{SERVE,
		 "echo $CHECK_HOST $CHECK_PORT $ARCH; exit 7",
		 {0},
		 "the script exited with 7",
		 "127.0.0.1 8080 "},
		{SERVE, "echo waiting; sleep 60", {.timeout_ms = 1500}, "the script ran longer than 2 s", "waiting"},
		/* Nothing else is there: no other port, no way out. */
		{SERVE,
		 "! nc -w 1 127.0.0.1 81 </dev/null && ! nc -w 1 192.0.2.1 80 </dev/null && ! ls /www",
		 {0},
		 NULL,
		 "check.script"},
		{"(sleep 1; kill $$) & " SERVE,
		 "sleep 30",
		 {0},
		 "killed by signal 15 (Terminated) while its script ran",
		 "check.script"},
		/* Many at once, and more than a chunk each. */
		{"mkdir /www; dd if=/dev/zero of=/www/index.html bs=100k count=3 2>/dev/null; exec httpd -f -p "
		 "127.0.0.1:$PORT -h /www",
		 "for i in 1 2 3 4 5; do " GET " | wc -c >/tmp/$i & done; wait; cat /tmp/? | sort -u",
		 {0},
		 NULL,
		 "\n307"},
		{"echo one; echo two >&2; " SERVE,
		 "sleep 0.1; exit 1",
		 {EXPECT("one")},
		 "the script exited with 1",
		 "two"},
	};
	struct err e;

	(void)state;
	need_box();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct plan_check c = rows[i].c;
		int rc;

		c.boot = BOOT_UNIX;
		c.script = TEXT(rows[i].script);
		if (rows[i].why) {
			assert_refused(boot_script(rows[i].image, c, &e), e, ERR_REMOTE, rows[i].why);
		} else {
			rc = boot_script(rows[i].image, c, &e);
			if (rc) fail_msg("row %zu: %s: %s", i, e.text, buf_str(&heard));
		}
		if (!strstr(buf_str(&heard), rows[i].said)) fail_msg("row %zu: not heard: %s", i, buf_str(&heard));
	}
}

/* 100 kB at 400 kbit/s take two seconds, whatever else this host does; without the line there is nothing to wait for.
 */
static void test_bad_lines(void **state)
{
	static const char image[] = "mkdir /www; dd if=/dev/zero of=/www/index.html bs=100k count=1 2>/dev/null; exec "
				    "httpd -f -p 127.0.0.1:$PORT -h /www";
	struct plan_check c = {.boot = BOOT_UNIX, HTTP("/", 200, NULL)};
	int64_t began, plain_ms, slow_ms;
	struct err e;

	(void)state;
	need_box();
	began = clock_mono_ms();
	assert_done(boot_script(image, c, &e), e);
	plain_ms = clock_mono_ms() - began;
	assert_null(strstr(buf_str(&heard), "the line"));

	c.rate_bit = 400000;
	began = clock_mono_ms();
	assert_done(boot_script(image, c, &e), e);
	slow_ms = clock_mono_ms() - began;
	if (strstr(buf_str(&heard), "the rate is not applied")) {
		print_message("skip: %s\n", buf_str(&heard));
	} else {
		assert_non_null(strstr(buf_str(&heard), "the line to it, each way: rate 400000 bit/s\n"));
		assert_non_null(strstr(buf_str(&heard), "the line: Sent "));
		assert_true(slow_ms > 1800);
	}
	print_message("plain %lld ms, at 400 kbit/s %lld ms\n", (long long)plain_ms, (long long)slow_ms);

	c.rate_bit = 0;
	c.delay_ms = 300;
	began = clock_mono_ms();
	assert_done(boot_script(image, c, &e), e);
	slow_ms = clock_mono_ms() - began;
	if (strstr(buf_str(&heard), "delay and loss are not applied: this host's kernel has no sch_netem")) {
		print_message("no sch_netem here: it was said\n");
		assert_null(strstr(buf_str(&heard), "the line:"));
		return;
	}
	assert_non_null(strstr(buf_str(&heard), "the line to it, each way: delay 300 ms\n"));
	assert_true(slow_ms >= 2 * 300 * 2); /* a round trip to connect, and one for the page */
}

static void test_console_is_kept(void **state)
{
	struct plan_check c = {.boot = BOOT_UNIX, EXPECT("ready"), .script = TEXT("sleep 0.2")};
	_cleanup_buf_ struct buf kept = BUF_INIT(1 << 16);
	struct err e;
	int p[2];

	(void)state;
	need_box();
	assert_int_equal(pipe(p), 0);
	console_fd = p[1];
	assert_done(boot_script("echo one; echo ready; echo during", c, &e) == -1 ? 0 : -1, e);
	assert_done(boot_script("echo ready; sleep 0.1; echo during; sleep 60", c, &e), e);
	console_fd = 0;
	close(p[1]);
	assert_done(fs_read_fd(p[0], "console", &kept, &e), e);
	close(p[0]);
	assert_string_equal(buf_str(&kept), "one\nready\nduring\nready\nduring\n");
	/* While its script spoke it was kept, not shown. */
	assert_null(strstr(buf_str(&heard), "during"));
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
		cmocka_unit_test(test_scripts),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_console_is_kept),
		cmocka_unit_test(test_commands_that_judge),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, make_image, remove_image);
}
