/* Any bytes as a unikernel image. */
#include <stdlib.h>

#include "runner/publish/elfnote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t entry = 0;
	struct err e = {.kind = ERR_NONE};

	if (elfnote_pvh(data, size, &entry, &e) == 0) {
		if (e.kind != ERR_NONE || size < 52) abort();
	} else if (e.kind != ERR_REMOTE || !e.text[0] || entry) {
		abort();
	}
	e = (struct err){.kind = ERR_NONE};
	if (elfnote_solo5(data, size, ELFNOTE_SOLO5_SPT, &e) && (e.kind != ERR_REMOTE || !e.text[0])) abort();
	if (elf_arch(data, size) && size < 20) abort();
	return 0;
}
