/* Hypercalls: each is a call into a page that Xen fills in, at 32 bytes times its number. */
#include "hyper.h"

#include <string.h>

#include "machine.h"

enum { CALL_MEMORY_OP = 12, CALL_CONSOLE_IO = 18, CALL_SCHED_OP = 29, CALL_EVENT_CHANNEL_OP = 32, CALL_HVM_OP = 34 };
enum { SCHED_YIELD = 0, SCHED_SHUTDOWN = 2, SCHED_POLL = 3 };
enum { SHUTDOWN_POWEROFF = 0, SHUTDOWN_CRASH = 3 };
enum { CONSOLE_WRITE = 0, EVENT_SEND = 4, EVENT_ALLOC_UNBOUND = 6, HVM_GET_PARAM = 1, ADD_TO_PHYSMAP = 7 };
enum { SPACE_SHARED_INFO = 0, SPACE_GRANTS = 1, GRANT_ACCESS = 1, FIRST_GRANT = 8 };
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

/* Not HLT: with interrupts off Xen takes that for the end of the domain. */
static void poll(const uint32_t *ports, uint32_t n, uint64_t until_ns)
{
	const struct {
		const uint32_t *ports;
		uint32_t nports;
		uint64_t timeout;
	} what = {ports, n, until_ns};

	hypercall(CALL_SCHED_OP, SCHED_POLL, &what, 0);
}

void hyper_wait_forever(void)
{
	for (;;) {
		if (is_xen)
			poll(NULL, 0, 0);
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

/* --- what is shared with the hypervisor --- */

/*  src  xen/include/public/xen.h: shared_info, of a 64-bit domain; arch-x86/xen.h: vcpu_time_info */
struct shared {
	struct {
		uint8_t events[32];
		struct {
			uint32_t version, pad;
			uint64_t cycles, time_ns;
			uint32_t multiply;
			int8_t shift;
			uint8_t flags, pad2[2];
		} clock;
	} processors[32];
	uint64_t pending[64], mask[64];
};

struct grant {
	uint16_t flags, domain;
	uint32_t frame;
};

static uint8_t shared_page[HYPER_PAGE] __attribute__((aligned(HYPER_PAGE)));
static uint8_t grant_page[HYPER_PAGE] __attribute__((aligned(HYPER_PAGE)));
static volatile struct shared *const shared = (volatile struct shared *)shared_page;
static volatile struct grant *const grants = (volatile struct grant *)grant_page;
static uint32_t next_grant = FIRST_GRANT; /* those before are the toolstack's */

static int put_there(uint32_t space, const void *page)
{
	const struct {
		uint16_t domain, size;
		uint32_t space;
		uint64_t index, frame;
	} what = {DOMID_SELF, 0, space, 0, (uintptr_t)page / HYPER_PAGE};

	return hypercall(CALL_MEMORY_OP, ADD_TO_PHYSMAP, &what, 0) == 0;
}

int hyper_share(void)
{
	return put_there(SPACE_SHARED_INFO, shared_page) && put_there(SPACE_GRANTS, grant_page);
}

uint32_t hyper_grant(uint16_t domain, const void *page)
{
	if (next_grant == HYPER_PAGE / sizeof(struct grant)) return 0;
	grants[next_grant].domain = domain;
	grants[next_grant].frame = (uint32_t)((uintptr_t)page / HYPER_PAGE);
	barrier();
	grants[next_grant].flags = GRANT_ACCESS;
	return next_grant++;
}

uint32_t hyper_channel_for(uint16_t domain)
{
	struct {
		uint16_t ours, theirs;
		uint32_t channel;
	} what = {DOMID_SELF, domain, 0};

	return hypercall(CALL_EVENT_CHANNEL_OP, EVENT_ALLOC_UNBOUND, &what, 0) == 0 ? what.channel : 0;
}

int hyper_happened(uint32_t event_channel)
{
	uint8_t was;

	__asm__ volatile("lock btrq %2, %0\n\tsetc %1"
			 : "+m"(shared->pending[event_channel / 64]), "=q"(was)
			 : "r"((uint64_t)event_channel % 64)
			 : "cc");
	return was;
}

void hyper_wait(const uint32_t *event_channels, uint32_t n, uint64_t until_ms)
{
	poll(event_channels, n, until_ms * 1000000);
}

uint64_t hyper_now_ms(void)
{
	uint32_t version, multiply;
	uint64_t ns, passed;

	do { /* odd while Xen writes */
		version = shared->processors[0].clock.version & ~1u;
		barrier();
		passed = cycles() - shared->processors[0].clock.cycles;
		passed = shared->processors[0].clock.shift < 0 ? passed >> -shared->processors[0].clock.shift
							       : passed << shared->processors[0].clock.shift;
		multiply = shared->processors[0].clock.multiply;
		ns = shared->processors[0].clock.time_ns + (passed >> 32) * multiply +
		     ((passed & 0xffffffff) * multiply >> 32);
		barrier();
	} while (version != shared->processors[0].clock.version);
	return ns / 1000000;
}
