/* Exceptions. There is nothing to recover: whoever deployed the image shall see what happened and where. */
#include "trap.h"

#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "hyper.h"

enum { VECTORS = 32, STUB_BYTES = 16, CODE_SELECTOR = 8, INTERRUPT_GATE = 0x8e, PAGE_FAULT = 14 };

struct gate {
	uint16_t offset_low, selector;
	uint8_t stack, type;
	uint16_t offset_middle;
	uint32_t offset_high, zero;
};

extern const char trap_stubs[];
_Noreturn void trap(uint64_t vector, uint64_t error, uint64_t address); /* called by the stubs in boot.S */

static struct gate gates[VECTORS];

void trap_init(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) where = {sizeof gates - 1, (uintptr_t)gates};

	for (size_t i = 0; i < VECTORS; i++) {
		uintptr_t stub = (uintptr_t)trap_stubs + i * STUB_BYTES;

		gates[i] = (struct gate){.offset_low = (uint16_t)stub,
					 .selector = CODE_SELECTOR,
					 .type = INTERRUPT_GATE,
					 .offset_middle = (uint16_t)(stub >> 16),
					 .offset_high = (uint32_t)((uint64_t)stub >> 32)};
	}
	__asm__ volatile("lidt %0" : : "m"(where));
}

void trap(uint64_t vector, uint64_t error, uint64_t address)
{
	static int told;

	if (!told++) { /* a fault while telling of one: only the end is left */
		console_put("site: exception ");
		console_number(vector);
		console_put(" at ");
		console_hex(address);
		console_put(", error ");
		console_hex(error);
		if (vector == PAGE_FAULT) {
			uint64_t touched;

			__asm__ volatile("movq %%cr2, %0" : "=r"(touched));
			console_put(", touching ");
			console_hex(touched);
		}
		console_put("\n");
	}
	hyper_end(3);
}
