/* The site as a unikernel: boots, proves that what it carries is whole and that its request core answers, says so, and
 * waits. Words of the command line: `exit=N` ends with that status after the banner, `crash` by an exception. */
#include <stdint.h>
#include <string.h>

#include "../http.h"
#include "../site.h"
#include "console.h"
#include "hyper.h"
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

static void obey(const char *command_line)
{
	const char *status = word_after(command_line, "exit=");
	unsigned n = 0;

	if (word_after(command_line, "crash")) __asm__ volatile("ud2");
	if (!status) return;
	while (*status >= '0' && *status <= '9') n = n * 10 + (unsigned)(*status++ - '0');
	hyper_end((uint8_t)n);
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
	hyper_wait_forever();
}
