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

#endif
