/* The PVH note of good images, and of everything that only looks like one. */
#include <elf.h>

#include "runner/publish/elfnote.h"
#include "tests/unit/unit.h"

/* A small PVH image: header, two program headers, the note, code. */
struct tiny {
	Elf64_Ehdr h;
	Elf64_Phdr load, note;
	struct {
		uint32_t namesz, descsz, type;
		char name[4];
		uint32_t desc, desc_high;
	} first, xen;
	unsigned char code[16];
};

static struct tiny good(void)
{
	struct tiny t = {
		.h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		      .e_type = ET_EXEC,
		      .e_machine = EM_X86_64,
		      .e_phoff = offsetof(struct tiny, load),
		      .e_phentsize = sizeof(Elf64_Phdr),
		      .e_phnum = 2},
		.load = {.p_type = PT_LOAD, .p_offset = 0, .p_paddr = 0x100000, .p_filesz = sizeof(struct tiny)},
		.note = {.p_type = PT_NOTE,
			 .p_offset = offsetof(struct tiny, first),
			 .p_filesz = sizeof(struct tiny) - offsetof(struct tiny, first) - 16,
			 .p_align = 4},
		.first = {4, 8, 6, "GNU", 0, 0},
		.xen = {4, 8, 18, "Xen", 0x100000 + offsetof(struct tiny, code), 0},
	};

	return t;
}

static void test_the_entry_is_found(void **state)
{
	struct tiny t = good();
	uint32_t entry = 0;
	struct err e;

	(void)state;
	assert_done(elfnote_pvh(&t, sizeof(t), &entry, &e), e);
	assert_int_equal(entry, 0x100000 + offsetof(struct tiny, code));
	t.note.p_align = 8; /* as notes of 64-bit objects may be: names are padded with their header, not alone */
	assert_done(elfnote_pvh(&t, sizeof(t), &entry, &e), e);
	t.note.p_align = 4;
	t.xen.descsz = 4;
	t.note.p_filesz -= 4;
	assert_done(elfnote_pvh(&t, sizeof(t), &entry, &e), e);
}

static void test_a_32_bit_image(void **state)
{
	struct {
		Elf32_Ehdr h;
		Elf32_Phdr load, note;
		uint32_t xen[5];
	} t = {.h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
		     .e_type = ET_EXEC,
		     .e_machine = EM_386,
		     .e_phoff = sizeof(Elf32_Ehdr),
		     .e_phentsize = sizeof(Elf32_Phdr),
		     .e_phnum = 2},
	       .load = {.p_type = PT_LOAD, .p_paddr = 0x200000, .p_filesz = 64},
	       .note = {.p_type = PT_NOTE, .p_filesz = 20, .p_align = 4},
	       .xen = {4, 4, 18, 0x006e6558, 0x200010}};
	uint32_t entry = 0;
	struct err e;

	(void)state;
	t.note.p_offset = (uint32_t)((char *)t.xen - (char *)&t);
	assert_done(elfnote_pvh(&t, sizeof(t), &entry, &e), e);
	assert_int_equal(entry, 0x200010);
}

/* One thing is wrong with each. */
static void test_bad_images_are_refused(void **state)
{
	static const struct {
		size_t offset;
		unsigned size;
		uint64_t value;
		const char *why;
	} rows[] = {
#define SET(member, value, why) {offsetof(struct tiny, member), sizeof(((struct tiny *)0)->member), value, why}
		SET(h.e_ident[0], 0x7e, "not an ELF file"),
		SET(h.e_ident[EI_DATA], ELFDATA2MSB, "not a little-endian ELF file"),
		SET(h.e_ident[EI_CLASS], 3, "ELF file of unknown class"),
		SET(h.e_type, ET_REL, "ELF file is not an executable"),
		SET(h.e_machine, EM_AARCH64, "ELF file is not for x86"),
		SET(h.e_phnum, 0, "ELF file has no sensible number of program headers"),
		SET(h.e_phnum, 0xffff, "ELF file has no sensible number of program headers"),
		SET(h.e_phnum, 1000, "ELF program headers lie outside the file"),
		SET(h.e_phentsize, 8, "ELF program headers lie outside the file"),
		SET(h.e_phoff, UINT64_MAX, "ELF program headers lie outside the file"),
		SET(h.e_phoff, UINT64_MAX - 100, "ELF program headers lie outside the file"),
		SET(note.p_type, PT_NULL, "no PVH entry note (Xen note 18)"),
		SET(note.p_offset, UINT64_MAX, "ELF notes lie outside the file"),
		SET(note.p_filesz, UINT64_MAX, "ELF notes lie outside the file"),
		SET(note.p_filesz, 11, "no PVH entry note (Xen note 18)"),
		SET(first.namesz, UINT32_MAX, "an ELF note is cut short"),
		SET(first.descsz, UINT32_MAX, "an ELF note is cut short"),
		SET(xen.descsz, 0, "the PVH entry note has a strange size"),
		SET(xen.descsz, 9, "an ELF note is cut short"),
		SET(xen.type, 17, "no PVH entry note (Xen note 18)"),
		SET(xen.name[0], 'Y', "no PVH entry note (Xen note 18)"),
		SET(xen.desc_high, 1, "the PVH entry lies above 4 GiB"),
		SET(xen.desc, 0xfffff, "the PVH entry lies in no loaded segment"),
		SET(xen.desc, 0x100000 + sizeof(struct tiny), "the PVH entry lies in no loaded segment"),
		SET(load.p_filesz, 0, "the PVH entry lies in no loaded segment"),
		SET(load.p_filesz, UINT64_MAX, "an ELF segment lies outside the file"),
		SET(load.p_offset, UINT64_MAX, "an ELF segment lies outside the file"),
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tiny t = good();
		uint32_t entry = 7;

		memcpy((char *)&t + rows[i].offset, &rows[i].value, rows[i].size);
		assert_refused(elfnote_pvh(&t, sizeof(t), &entry, &e), e, ERR_REMOTE, rows[i].why);
		assert_int_equal(entry, 7);
	}
}

static void test_cut_short_anywhere(void **state)
{
	struct tiny t = good();
	uint32_t entry;
	struct err e;

	(void)state;
	assert_refused(elfnote_pvh(&t, 0, &entry, &e), e, ERR_REMOTE, "the file is empty");
	assert_refused(elfnote_pvh("#!/bin/sh\nexit 0\n", 17, &entry, &e), e, ERR_REMOTE, "not an ELF file");
	for (size_t n = 1; n < sizeof(t); n++) {
		char *exact = xmalloc(n); /* so that a sanitizer sees a byte too many */

		memcpy(exact, &t, n);
		assert_int_equal(elfnote_pvh(exact, n, &entry, &e), -1);
		assert_int_equal(e.kind, ERR_REMOTE);
		free(exact);
	}
}

/* The same place, with Solo5's note in it. */
static void test_solo5_images(void **state)
{
	struct {
		Elf64_Ehdr h;
		Elf64_Phdr note;
		uint32_t head[3];
		char name[8];
		uint32_t info[4];
	} t = {.h = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		     .e_type = ET_EXEC,
		     .e_machine = EM_AARCH64,
		     .e_phoff = sizeof(Elf64_Ehdr),
		     .e_phentsize = sizeof(Elf64_Phdr),
		     .e_phnum = 1},
	       .note = {.p_type = PT_NOTE,
			.p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
			.p_filesz = 36,
			.p_align = 4},
	       .head = {6, 16, 0x31494241},
	       .name = "Solo5",
	       .info = {2, 2, 0, 0}};
	struct err e;

	(void)state;
	assert_done(elfnote_solo5(&t, sizeof(t), ELFNOTE_SOLO5_SPT, &e), e);
	assert_refused(elfnote_solo5(&t, sizeof(t), ELFNOTE_SOLO5_HVT, &e), e, ERR_REMOTE,
		       "a Solo5 image for spt, not for hvt");
	t.info[0] = 77;
	assert_refused(elfnote_solo5(&t, sizeof(t), ELFNOTE_SOLO5_HVT, &e), e, ERR_REMOTE,
		       "a Solo5 image for ?, not for hvt");
	t.head[2] = 1;
	assert_refused(elfnote_solo5(&t, sizeof(t), ELFNOTE_SOLO5_SPT, &e), e, ERR_REMOTE, "no Solo5 note");
	t.head[1] = 17;
	assert_refused(elfnote_solo5(&t, sizeof(t), ELFNOTE_SOLO5_SPT, &e), e, ERR_REMOTE, "an ELF note is cut short");
}

static void test_whose_program_it_is(void **state)
{
	static const struct {
		unsigned char data, low, high;
		const char *arch;
	} rows[] = {{ELFDATA2LSB, EM_X86_64, 0, "amd64"},
		    {ELFDATA2LSB, EM_386, 0, "i386"},
		    {ELFDATA2LSB, EM_AARCH64, 0, "arm64"},
		    {ELFDATA2LSB, EM_ARM, 0, "armhf"},
		    {ELFDATA2MSB, 0, EM_S390, "s390x"},
		    {ELFDATA2LSB, EM_RISCV, 0, "riscv64"},
		    {ELFDATA2LSB, 0xff, 0xff, "an unknown machine"}};
	unsigned char head[20] = {0x7f, 'E', 'L', 'F'};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		head[EI_DATA] = rows[i].data;
		head[18] = rows[i].low;
		head[19] = rows[i].high;
		assert_string_equal(elf_arch(head, sizeof(head)), rows[i].arch);
	}
	assert_null(elf_arch(head, 19));
	assert_null(elf_arch("#!/bin/sh\necho not a program\n", 30));
	assert_true(elf_fits("amd64", "amd64") && elf_fits("i386", "amd64") && elf_fits("armhf", "armel"));
	assert_false(elf_fits("amd64", "i386") || elf_fits("armhf", "arm64") ||
		     elf_fits("an unknown machine", "amd64"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_entry_is_found),     cmocka_unit_test(test_a_32_bit_image),
		cmocka_unit_test(test_bad_images_are_refused), cmocka_unit_test(test_cut_short_anywhere),
		cmocka_unit_test(test_solo5_images),           cmocka_unit_test(test_whose_program_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
