/* The PVH entry note of an ELF image, read from bytes that are trusted in nothing: every offset is checked against
 * the file before it is followed, and all sums are made in 64 bits after both parts were bounded. */
#include "runner/publish/elfnote.h"

#include <elf.h>
#include <string.h>

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18, SOLO5_ABI1 = 0x31494241, MAX_SEGMENTS = 1024 };

struct image {
	const unsigned char *data;
	size_t len;
	int is64;
	unsigned machine;
};

/* What is needed of a program header, whichever class. */
struct segment {
	uint32_t type;
	uint64_t offset, paddr, filesz, memsz, align;
};

static int bad(struct err *e, const char *why)
{
	return err_set(e, ERR_REMOTE, "%s", why);
}

/* 1 when [offset, offset + n) lies in the file */
static int inside(const struct image *i, uint64_t offset, uint64_t n)
{
	return offset <= i->len && n <= i->len - offset;
}

static uint32_t u32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void segment_at(const struct image *i, uint64_t at, struct segment *s)
{
	if (i->is64) {
		Elf64_Phdr p;

		memcpy(&p, i->data + at, sizeof(p));
		*s = (struct segment){p.p_type, p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz, p.p_align};
	} else {
		Elf32_Phdr p;

		memcpy(&p, i->data + at, sizeof(p));
		*s = (struct segment){p.p_type, p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz, p.p_align};
	}
}

/* The program header table: where, how many, how far apart. */
static int read_header(struct image *i, uint64_t *table_r, unsigned *n_r, unsigned *step_r, struct err *e)
{
	unsigned type, least;

	if (i->len < EI_NIDENT || memcmp(i->data, ELFMAG, SELFMAG) != 0) return bad(e, "not an ELF file");
	if (i->data[EI_DATA] != ELFDATA2LSB) return bad(e, "not a little-endian ELF file");
	i->is64 = i->data[EI_CLASS] == ELFCLASS64;
	if (!i->is64 && i->data[EI_CLASS] != ELFCLASS32) return bad(e, "ELF file of unknown class");
	if (!inside(i, 0, i->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr))) return bad(e, "ELF header is cut short");
	if (i->is64) {
		Elf64_Ehdr h;

		memcpy(&h, i->data, sizeof(h));
		type = h.e_type, i->machine = h.e_machine, *table_r = h.e_phoff, *n_r = h.e_phnum,
		*step_r = h.e_phentsize;
		least = sizeof(Elf64_Phdr);
	} else {
		Elf32_Ehdr h;

		memcpy(&h, i->data, sizeof(h));
		type = h.e_type, i->machine = h.e_machine, *table_r = h.e_phoff, *n_r = h.e_phnum,
		*step_r = h.e_phentsize;
		least = sizeof(Elf32_Phdr);
	}
	if (type != ET_EXEC && type != ET_DYN) return bad(e, "ELF file is not an executable");
	if (!*n_r || *n_r > MAX_SEGMENTS) return bad(e, "ELF file has no sensible number of program headers");
	if (*step_r < least || !inside(i, *table_r, (uint64_t)*n_r * *step_r))
		return bad(e, "ELF program headers lie outside the file");
	return 0;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* A note that is looked for, and its description where it was found. */
struct note {
	const char *name;
	uint32_t type;
	uint64_t desc, descsz;
};

/* Notes of one segment. Returns 1 when it is among them. */
static int find_in(const struct image *i, const struct segment *s, struct note *n, struct err *e)
{
	uint64_t at = s->offset, end, pad = s->align == 8 ? 8 : 4, want = strlen(n->name) + 1;

	if (!inside(i, s->offset, s->filesz)) return bad(e, "ELF notes lie outside the file");
	end = s->offset + s->filesz;
	while (end - at >= 12) {
		uint64_t namesz = u32(i->data + at), descsz = u32(i->data + at + 4), name = at + 12;
		uint32_t type = u32(i->data + at + 8);
		uint64_t desc = at + round_up(12 + namesz, pad), next = desc + round_up(descsz, pad);

		/* The last note may lack its padding. */
		if (name + namesz > end || desc > end || desc + descsz > end) return bad(e, "an ELF note is cut short");
		if (type == n->type && namesz == want && !memcmp(i->data + name, n->name, want)) {
			n->desc = desc;
			n->descsz = descsz;
			return 1;
		}
		if (next >= end) break;
		at = next;
	}
	return 0;
}

/* Reads the file's header and looks through all its notes. Returns 1 when it is among them. */
static int find_note(struct image *i, struct note *note, uint64_t *table_r, unsigned *n_r, unsigned *step_r,
		     struct err *e)
{
	int found = 0;

	if (!i->len) return bad(e, "the file is empty");
	if (read_header(i, table_r, n_r, step_r, e)) return -1;
	for (unsigned k = 0; k < *n_r && !found; k++) {
		struct segment s;

		segment_at(i, *table_r + (uint64_t)k * *step_r, &s);
		if (s.type == PT_NOTE) found = find_in(i, &s, note, e);
	}
	return found;
}

int elfnote_pvh(const void *data, size_t len, uint32_t *entry_r, struct err *e)
{
	struct image i = {.data = data, .len = len};
	struct note note = {.name = "Xen", .type = XEN_ELFNOTE_PHYS32_ENTRY};
	uint64_t table = 0;
	unsigned n = 0, step = 0;
	uint32_t entry;
	int found = find_note(&i, &note, &table, &n, &step, e);

	if (found < 0) return -1;
	if (i.machine != EM_X86_64 && i.machine != EM_386) return bad(e, "ELF file is not for x86");
	if (!found) return bad(e, "no PVH entry note (Xen note 18)");
	if (note.descsz != 4 && note.descsz != 8) return bad(e, "the PVH entry note has a strange size");
	if (note.descsz == 8 && u32(i.data + note.desc + 4)) return bad(e, "the PVH entry lies above 4 GiB");
	entry = u32(i.data + note.desc);
	for (unsigned k = 0; k < n; k++) {
		struct segment s;

		segment_at(&i, table + (uint64_t)k * step, &s);
		if (s.type != PT_LOAD || entry < s.paddr || entry - s.paddr >= s.filesz) continue;
		if (!inside(&i, s.offset, s.filesz)) return bad(e, "an ELF segment lies outside the file");
		*entry_r = entry;
		return 0;
	}
	return bad(e, "the PVH entry lies in no loaded segment");
}

int elfnote_solo5(const void *data, size_t len, enum elfnote_solo5 wanted, struct err *e)
{
	static const char *const targets[] = {"?", "hvt", "spt", "virtio", "muen", "genode", "xen"};
	struct image i = {.data = data, .len = len};
	struct note note = {.name = "Solo5", .type = SOLO5_ABI1};
	uint64_t table = 0;
	unsigned n = 0, step = 0;
	int found = find_note(&i, &note, &table, &n, &step, e);
	uint32_t target;

	if (found < 0) return -1;
	if (!found || note.descsz < 4) return bad(e, "no Solo5 note");
	target = u32(i.data + note.desc);
	if (target == (uint32_t)wanted) return 0;
	return err_set(e, ERR_REMOTE, "a Solo5 image for %s, not for %s",
		       targets[target < sizeof(targets) / sizeof(*targets) ? target : 0], targets[wanted]);
}

const char *elf_arch(const void *data, size_t len)
{
	static const struct {
		unsigned machine;
		const char *arch;
	} names[] = {{EM_X86_64, "amd64"},  {EM_386, "i386"},   {EM_AARCH64, "arm64"}, {EM_ARM, "armhf"},
		     {EM_RISCV, "riscv64"}, {EM_S390, "s390x"}, {EM_PPC64, "ppc64el"}};
	const unsigned char *p = data;
	unsigned machine;

	if (len < 20 || memcmp(p, ELFMAG, SELFMAG) != 0) return NULL;
	machine = p[EI_DATA] == ELFDATA2MSB ? (unsigned)p[18] << 8 | p[19] : (unsigned)p[19] << 8 | p[18];
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].machine == machine) return names[i].arch;
	return "an unknown machine";
}

int elf_fits(const char *elf, const char *arch)
{
	static const char *const also[][2] = {{"i386", "amd64"}, {"armhf", "armel"}};

	for (size_t i = 0; i < sizeof(also) / sizeof(*also); i++)
		if (!strcmp(elf, also[i][0]) && !strcmp(arch, also[i][1])) return 1;
	return !strcmp(elf, arch);
}
