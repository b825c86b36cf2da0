/* What this host is and lets us do: readers for the kernel's and Debian's own texts. They look at lines that other
 * programs wrote: a line that makes no sense is passed over, never trusted. */
#include "runner/sandbox/host.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "lib/fs.h"

struct arch {
	const char *name;
	const char *qemu;
	const char *native_on;         /* a wider arch that runs it as it is; NULL */
	int bits, big_endian, machine; /* of its programs. src: elf(5) */
};

static const struct arch arches[] = {
	{"amd64", "qemu-x86_64", NULL, 64, 0, EM_X86_64},   {"arm64", "qemu-aarch64", NULL, 64, 0, EM_AARCH64},
	{"armhf", "qemu-arm", NULL, 32, 0, EM_ARM},         {"armel", "qemu-arm", NULL, 32, 0, EM_ARM},
	{"i386", "qemu-i386", "amd64", 32, 0, EM_386},      {"ppc64el", "qemu-ppc64le", NULL, 64, 0, EM_PPC64},
	{"riscv64", "qemu-riscv64", NULL, 64, 0, EM_RISCV}, {"s390x", "qemu-s390x", NULL, 64, 1, EM_S390},
};

const char *host_arch(void)
{
#if defined(__x86_64__)
	return "amd64";
#elif defined(__aarch64__)
	return "arm64";
#elif defined(__riscv)
	return "riscv64";
#elif defined(__powerpc64__)
	return "ppc64el";
#elif defined(__s390x__)
	return "s390x";
#elif defined(__i386__)
	return "i386";
#elif defined(__arm__)
	return "armhf";
#else
#error "no Debian name for this arch"
#endif
}

static const struct arch *find_arch(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(arches); i++)
		if (!strcmp(arches[i].name, name)) return &arches[i];
	return NULL;
}

int host_arch_known(const char *arch)
{
	return find_arch(arch) != NULL;
}

int host_arch_native(const char *host, const char *arch)
{
	const struct arch *a = find_arch(arch);

	return !strcmp(host, arch) || (a && a->native_on && !strcmp(a->native_on, host));
}

const char *host_arch_qemu(const char *arch)
{
	const struct arch *a = find_arch(arch);

	return a ? a->qemu : NULL;
}

/* src: Documentation/admin-guide/binfmt-misc.rst. Flag F: the kernel keeps the interpreter open, so that a root file
 * system that does not hold it can use it. */
int host_binfmt_check(const char *text, const char **why_r)
{
	const char *flags = strstr(text, "\nflags:");

	if (strncmp(text, "enabled", 7)) {
		*why_r = "it is switched off";
		return -1;
	}
	if (!flags || !memchr(flags + 7, 'F', strcspn(flags + 7, "\n"))) {
		*why_r = "it is registered without the flag F, so that containers do not see it";
		return -1;
	}
	return 0;
}

/* The first 20 bytes of an ELF file: executable or shared object (2, 3), by whatever ABI. Only hexadecimal escapes: a
 * NUL would end the text, and a colon a field. src: Documentation/admin-guide/binfmt-misc.rst, elf(5) */
char *host_binfmt_rule(const char *arch, const char *program)
{
	const struct arch *a = find_arch(arch);
	unsigned char magic[20] = {0x7f, 'E', 'L', 'F', 0, 0, EV_CURRENT}, mask[20];
	struct buf b = BUF_INIT(1900);

	if (!a) return NULL;
	memset(mask, 0xff, sizeof(mask));
	mask[EI_OSABI] = 0;
	magic[EI_CLASS] = a->bits == 64 ? ELFCLASS64 : ELFCLASS32;
	magic[EI_DATA] = a->big_endian ? ELFDATA2MSB : ELFDATA2LSB;
	magic[16 + a->big_endian] = ET_EXEC;
	mask[16 + a->big_endian] = 0xfe;
	magic[19 - a->big_endian] = (unsigned char)(a->machine >> 8);
	magic[18 + a->big_endian] = (unsigned char)a->machine;
	buf_addf(&b, ":%s:M::", a->qemu);
	for (size_t i = 0; i < sizeof(magic); i++) buf_addf(&b, "\\x%02x", magic[i]);
	buf_adds(&b, ":");
	for (size_t i = 0; i < sizeof(mask); i++) buf_addf(&b, "\\x%02x", mask[i]);
	buf_addf(&b, ":%s:PF", program);
	return buf_steal(&b);
}

int host_binfmt(const char *arch, struct err *e)
{
	static const char base[] = "/proc/sys/fs/binfmt_misc";
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	_cleanup_free_ char *path = NULL;
	const char *qemu = host_arch_qemu(arch), *why;

	if (!qemu) return err_set(e, ERR_INPUT, "unknown arch '%s'", arch);
	path = xasprintf("%s/status", base);
	if (!fs_exists(path)) return err_set(e, ERR_MISSING, "binfmt_misc is not mounted at %s", base);
	free_p(&path);
	path = xasprintf("%s/%s", base, qemu);
	if (!fs_exists(path)) return err_set(e, ERR_MISSING, "'%s' is not registered in binfmt_misc", qemu);
	if (fs_read_file(path, &text, e)) return -1;
	if (host_binfmt_check(buf_str(&text), &why)) return err_set(e, ERR_MISSING, "'%s': %s", qemu, why);
	return 0;
}

const char *cgroup_mode_name(enum cgroup_mode mode)
{
	static const char *const names[] = {"none", "version 1", "version 2", "hybrid"};

	return names[mode];
}

/* One line of mountinfo: "36 35 98:0 ROOT POINT OPTIONS [FIELD…] - TYPE SOURCE SUPER". */
static void view_line(const char *line, size_t len, struct cgroup_view *view, int *unified)
{
	static const char base[] = "/sys/fs/cgroup";
	_cleanup_free_ char *copy = xstrndup(line, len);
	char *point = copy, *type = strstr(copy, " - ");
	size_t n;

	for (int field = 0; point && field < 4; field++) {
		point = strchr(point, ' ');
		if (point) point++;
	}
	if (!point || !type || type < point || strncmp(point, base, sizeof(base) - 1)) return;
	type += 3;
	type[strcspn(type, " ")] = '\0';
	point[strcspn(point, " ")] = '\0';
	point += sizeof(base) - 1;
	n = strlen(point);
	if (!strcmp(type, "cgroup2") && n == 0)
		view->mode = CGROUP_V2;
	else if (!strcmp(type, "cgroup2") && !strcmp(point, "/unified"))
		*unified = 1;
	else if (!strcmp(type, "cgroup") && n > 1 && *point == '/' && !vec_has(&view->v1, point + 1))
		vec_add(&view->v1, point + 1);
}

void host_cgroup_view(const char *mountinfo, struct cgroup_view *view_r)
{
	struct cgroup_view view = {.mode = CGROUP_NONE};
	int unified = 0;

	for (const char *p = mountinfo; *p;) {
		size_t n = strcspn(p, "\n");

		view_line(p, n, &view, &unified);
		p += n + (p[n] == '\n');
	}
	if (view.mode != CGROUP_V2 && view.v1.len) view.mode = unified ? CGROUP_HYBRID : CGROUP_V1;
	*view_r = view;
}

void cgroup_view_release(struct cgroup_view *view)
{
	vec_release(&view->v1);
}

unsigned long host_subid_free(const char *text)
{
	unsigned long behind = 100000, first, count;

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, "\n");
		_cleanup_free_ char *line = xstrndup(p, n);
		const char *colon = strchr(line, ':');

		p += n + (p[n] == '\n');
		if (!colon || sscanf(colon, ":%lu:%lu", &first, &count) != 2) continue;
		if (first <= 0xffffffffUL && count <= 0xffffffffUL && first + count > behind) behind = first + count;
	}
	return behind;
}

static int is_taken(const char *text, unsigned long from, unsigned long n)
{
	unsigned long first, count;

	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		_cleanup_free_ char *line = xstrndup(p, len);
		const char *colon = strchr(line, ':');

		p += len + (p[len] == '\n');
		if (!colon || sscanf(colon, ":%lu:%lu", &first, &count) != 2) continue;
		if (first <= 0xffffffffUL && count <= 0xffffffffUL && first < from + n && from < first + count)
			return 1;
	}
	return 0;
}

unsigned long host_subid_root(const char *text)
{
	enum { FIRST = 0x70000000, END = 0x7fff0000, COUNT = 0x10000 };

	for (unsigned long at = FIRST; at < END; at += COUNT)
		if (!is_taken(text, at, COUNT)) return at;
	return 0;
}

int host_version_at_least(const char *text, unsigned major, unsigned minor, char found_r[32])
{
	const char *p = text;
	unsigned long a, b;
	size_t n;
	char *stop;

	for (;; p++) {
		p += strcspn(p, "0123456789");
		if (!*p) break;
		n = strspn(p, "0123456789.");
		if (memchr(p, '.', n)) break;
		p += n - 1;
	}
	n = strspn(p, "0123456789.");
	if (!*p || n >= 32) {
		found_r[0] = '\0';
		return 0;
	}
	memcpy(found_r, p, n);
	found_r[n] = '\0';
	a = strtoul(found_r, &stop, 10);
	b = *stop == '.' ? strtoul(stop + 1, NULL, 10) : 0;
	return a > major || (a == major && b >= minor);
}

void host_words(const char *text, struct vec *words)
{
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, " \t\n");

		if (n) vec_take(words, xstrndup(p, n));
		p += n + (p[n] != '\0');
	}
}
