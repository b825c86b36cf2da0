/* Hypercalls: each is a call into a page that Xen fills in, at 32 bytes times its number. */
#include "hyper.h"

#include <string.h>

#include "machine.h"

enum { CALL_CONSOLE_IO = 18, CALL_SCHED_OP = 29, CALL_EVENT_CHANNEL_OP = 32, CALL_HVM_OP = 34 };
enum { SCHED_YIELD = 0, SCHED_SHUTDOWN = 2, SCHED_POLL = 3 };
enum { SHUTDOWN_POWEROFF = 0, SHUTDOWN_CRASH = 3 };
enum { CONSOLE_WRITE = 0, EVENT_SEND = 4, HVM_GET_PARAM = 1 };
enum { DOMID_SELF = 0x7ff0, DEBUG_EXIT_PORT = 0xf4 };

extern char hypercall_page[];

static int is_xen;

static int64_t hypercall(unsigned number, uint64_t a, const volatile void *b, uint64_t c)
{
	int64_t result;

	__asm__ volatile("call *%[entry]"
			 : "=a"(result), "+D"(a), "+S"(b), "+d"(c)
			 : [entry] "r"(hypercall_page + (uint64_t)number * 32)
			 : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}

int hyper_init(void)
{
	uint32_t leaf, regs[4];

	/* Its leaves may be moved up where another interface stands first. */
	for (leaf = 0x40000000; leaf < 0x40010000 && !is_xen; leaf += 0x100) {
		cpuid(leaf, regs);
		is_xen = memcmp(regs + 1, "XenVMMXenVMM", 12) == 0;
		if (!is_xen) continue;
		cpuid(leaf + 2, regs); /* ebx: the MSR that takes the page's address */
		msr_write(regs[1], (uintptr_t)hypercall_page);
	}
	return is_xen;
}

int hyper_is_xen(void)
{
	return is_xen;
}

uint64_t hyper_param(uint32_t index)
{
	struct {
		uint16_t domain;
		uint32_t index;
		uint64_t value;
	} param = {DOMID_SELF, index, 0};

	return hypercall(CALL_HVM_OP, HVM_GET_PARAM, &param, 0) == 0 ? param.value : 0;
}

void hyper_console(const char *text, uint32_t len)
{
	hypercall(CALL_CONSOLE_IO, CONSOLE_WRITE, (const void *)(uintptr_t)len, (uintptr_t)text);
}

void hyper_notify(uint32_t event_channel)
{
	hypercall(CALL_EVENT_CHANNEL_OP, EVENT_SEND, &event_channel, 0);
}

void hyper_yield(void)
{
	hypercall(CALL_SCHED_OP, SCHED_YIELD, NULL, 0);
}

void hyper_wait_forever(void)
{
	const struct {
		void *ports;
		uint32_t nports;
		uint64_t timeout;
	} nothing = {NULL, 0, 0};

	/* Not HLT: with interrupts off Xen takes that for the end of the domain. */
	for (;;) {
		if (is_xen)
			hypercall(CALL_SCHED_OP, SCHED_POLL, &nothing, 0);
		else
			halt();
	}
}

void hyper_end(uint8_t status)
{
	const uint32_t reason = status ? SHUTDOWN_CRASH : SHUTDOWN_POWEROFF;
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) no_idt = {0, 0};

	if (is_xen) hypercall(CALL_SCHED_OP, SCHED_SHUTDOWN, &reason, 0);
	port_write(DEBUG_EXIT_PORT, status);
	/* Neither: an exception that has no handler resets the machine, and `qemu -no-reboot` ends. */
	for (;;) __asm__ volatile("lidt %0; int3" : : "m"(no_idt));
}
