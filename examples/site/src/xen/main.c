/* The site as a unikernel: boots, proves that what it carries is whole and that its request core answers, says so, and
 * serves under Xen; under QEMU it waits. Words of the command line: `ip=ADDRESS` or `ip=dhcp` (which it is without),
 * `port=N`; `exit=N` ends with that status after the banner, `crash` by an exception. */
#include <stdint.h>
#include <string.h>

#include "../http.h"
#include "../net/net.h"
#include "../sha256.h"
#include "../site.h"
#include "console.h"
#include "hyper.h"
#include "machine.h"
#include "netfront.h"
#include "store.h"
#include "trap.h"

enum { START_MAGIC = 0x336ec578, COMMAND_MAX = 1024, SHORT_COMMIT = 12 };

/*  src  xen/include/public/arch-x86/hvm/start_info.h */
struct start_info {
	uint32_t magic, version, flags, nmodules;
	uint64_t modules, command_line, rsdp, memory_map;
	uint32_t nmemory_map, reserved;
};

_Noreturn void start(const struct start_info *info); /* called by boot.S */

/* The rest of the word of the command line that begins with `name`; NULL: there is none. */
static const char *word_after(const char *line, const char *name)
{
	size_t len = strlen(name);

	while (*line) {
		const char *end = strchr(line, ' ');

		if (strlen(line) >= len && memcmp(line, name, len) == 0) return line + len;
		if (!end) break;
		line = end + 1;
	}
	return NULL;
}

/* Asks for a file as a client would: the answer must carry the very bytes. */
static int answers(const struct site_file *file)
{
	static struct http_answer answer;
	static char request[HTTP_HEAD_MAX];
	static const char before[] = "GET ", after[] = " HTTP/1.1\r\nHost: self\r\n\r\n", hex[] = "0123456789abcdef";
	size_t len = sizeof before - 1;

	memcpy(request, before, len);
	request[len++] = '/';
	for (const char *p = file->path + 1; *p; p++) {
		request[len++] = '%';
		request[len++] = hex[(unsigned char)*p >> 4];
		request[len++] = hex[*p & 15];
	}
	memcpy(request + len, after, sizeof after - 1);
	len += sizeof after - 1;
	return http_next(request, len, NULL, 0, &answer) == 1 && answer.status == 200 && answer.consumed == len &&
	       answer.body == file->data && answer.body_len == file->size;
}

static _Noreturn void refuse(const char *why, const char *path)
{
	console_put("site: ");
	console_put(why);
	console_put(" '");
	console_put(path);
	console_put("'\n");
	hyper_end(4);
}

static void check(void)
{
	const struct site_file *damaged = site_damaged();

	if (damaged) refuse("damaged file", damaged->path);
	for (size_t i = 0; i < site_nfiles; i++)
		if (!answers(&site_files[i])) refuse("no answer for", site_files[i].path);
}

static void banner(void)
{
	char commit[SHORT_COMMIT + 1] = {0};
	size_t len = strlen(site_commit);

	memcpy(commit, site_commit, len < SHORT_COMMIT ? len : SHORT_COMMIT);
	console_put("site: ready, ");
	console_number(site_nfiles);
	console_put(" files, commit ");
	console_put(commit);
	console_put("\n");
}

static unsigned number(const char *text)
{
	unsigned n = 0;

	while (*text >= '0' && *text <= '9') n = n * 10 + (unsigned)(*text++ - '0');
	return n;
}

static void obey(const char *command_line)
{
	const char *status = word_after(command_line, "exit=");

	if (word_after(command_line, "crash")) __asm__ volatile("ud2");
	if (status) hyper_end((uint8_t)number(status));
}

/* --- serving --- */

/* There is no better source here: the processor's own, where it has one, and the jitter of its clock. */
static void make_seed(uint8_t seed_r[32], const uint8_t mac[6])
{
	struct {
		uint64_t noise[64];
		uint8_t mac[6];
	} all = {0};
	uint32_t regs[4];

	cpuid(1, regs);
	for (size_t i = 0; i < sizeof all.noise / sizeof *all.noise; i++) {
		uint64_t n = 0;

		if (regs[2] >> 30 & 1) __asm__ volatile("rdrand %0" : "=r"(n) : : "cc");
		all.noise[i] = n ^ cycles();
		hyper_yield();
	}
	memcpy(all.mac, mac, sizeof all.mac);
	sha256((const unsigned char *)&all, sizeof all, seed_r);
}

static void tell(uint32_t address, unsigned port)
{
	if (!address) {
		console_put("site: no address\n");
		return;
	}
	console_put("site: serving at ");
	for (int shift = 24; shift >= 0; shift -= 8) {
		console_number(address >> shift & 255);
		console_put(shift ? "." : ":");
	}
	console_number(port);
	console_put("\n");
}

static void take_frame(const uint8_t *frame, size_t len, int checked)
{
	net_input(frame, len, checked, hyper_now_ms());
}

static _Noreturn void serve(const char *command_line)
{
	const char *ip = word_after(command_line, "ip="), *port = word_after(command_line, "port=");
	struct net_options o = {.port = (uint16_t)(port ? number(port) : 80)};
	struct net_link link = {.send = netfront_send};
	uint32_t channels[2], told = 0;

	if (ip && memcmp(ip, "dhcp", 4) != 0 && !(o.address = net_parse_address(ip)))
		refuse("ip= is neither dhcp nor an address", ip);
	if (!hyper_share()) refuse("Xen shares no page", "");
	store_init();
	if (!netfront_init(link.mac)) {
		console_put("site: there is no network card that works, nobody is served\n");
		hyper_wait_forever();
	}
	make_seed(o.seed, link.mac);
	channels[0] = store_channel();
	channels[1] = netfront_channel();
	net_init(&link, &o, hyper_now_ms());
	for (;;) {
		int more = netfront_receive(take_frame);
		uint64_t at = net_turn(hyper_now_ms());

		netfront_flush();
		if (net_address() != told) tell(told = net_address(), o.port);
		if (store_shutdown_asked()) hyper_end(0);
		if (more) continue;
		hyper_wait(channels, 2, at);
		for (int i = 0; i < 2; i++) hyper_happened(channels[i]);
	}
}

void start(const struct start_info *info)
{
	static char command_line[COMMAND_MAX];
	const char *given = info->magic == START_MAGIC ? (const char *)(uintptr_t)info->command_line : NULL;

	hyper_init();
	console_init();
	trap_init();
	for (size_t i = 0; given && i < COMMAND_MAX - 1 && given[i]; i++) command_line[i] = given[i];
	console_put(hyper_is_xen() ? "site: starting under Xen\n" : "site: starting\n");
	check();
	banner();
	obey(command_line);
	if (hyper_is_xen()) serve(command_line);
	hyper_wait_forever();
}
