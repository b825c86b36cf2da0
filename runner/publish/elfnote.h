#ifndef RUNNER_PUBLISH_ELFNOTE_H
#define RUNNER_PUBLISH_ELFNOTE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* elfnote_pvh - where a PVH kernel starts: the Xen note XEN_ELFNOTE_PHYS32_ENTRY of an ELF image.
 *  in   data,len  the file, any bytes at all
 *  out  entry_r   physical address, inside a loaded segment
 *  err  ERR_REMOTE what is wrong with the image: "not an ELF file", "no PVH entry note (Xen note 18)", …
 *  src  Xen, public/elfnote.h and docs/misc/pvh.pandoc; System V ABI, chapter 5 */
int elfnote_pvh(const void *data, size_t len, uint32_t *entry_r, struct err *e) MUST_USE;

/* elfnote_solo5 - is it a Solo5 unikernel for that tender?
 *  err  ERR_REMOTE "not an ELF file", "no Solo5 note", "a Solo5 image for spt, not for hvt"
 *  src  Solo5, include/elf_abi.h */
enum elfnote_solo5 { ELFNOTE_SOLO5_HVT = 1, ELFNOTE_SOLO5_SPT = 2 };
int elfnote_solo5(const void *data, size_t len, enum elfnote_solo5 wanted, struct err *e) MUST_USE;

/* elf_arch - the arch that an ELF file is for, by Debian's name; "an unknown machine" where it has none here; NULL: not
 * an ELF file. Static. data: the file's first bytes, 20 are enough */
const char *elf_arch(const void *data, size_t len);

/* elf_fits - is such a file for a cell of that arch? A narrower one runs there too. */
int elf_fits(const char *elf, const char *arch);

#endif
