/* A machine for the tests of boot proof and of deploys: a PVH kernel of 32 bits that serves one page over virtio-net,
 * its own command line in it, at port 8080 of 10.0.2.15 or of what "ip=" of the command line says. It keeps no state:
 * each segment is answered from what it says itself, so what the line loses the other side asks for again.
 *   gcc -m32 -march=i686 -O1 -ffreestanding -fno-pic -nostdlib -static -Wl,-Ttext=0x100000,--build-id=none
 *  src  virtio 1.2, 4.2.4 (legacy MMIO) and 5.1.6; Xen, public/elfnote.h and arch-x86/hvm/start_info.h */
#include <stddef.h>
#include <stdint.h>

__asm__(".section .note.Xen,\"a\",@note\n"
	".long 4, 4, 18\n.asciz \"Xen\"\n.long entry\n"
	".text\n.globl entry\nentry:\n"
	"cld\n movl $stack_top, %esp\n pushl %ebx\n call run\n"
	".bss\n.align 16\n.skip 16384\nstack_top:\n.previous\n");

enum { PORTS = 24, QUEUE = 8, FRAME = 2048, HEADER = 10, SERVES = 8080, SEQ = 1000 };
enum {
	MAGIC = 0,
	DEVICE = 2,
	GUEST_FEATURES = 8,
	PAGE_SIZE = 10,
	SELECT = 12,
	SIZE = 14,
	ALIGN = 15,
	PFN = 16,
	NOTIFY = 20,
	STATUS = 28
};
#ifndef PAGE
#define PAGE "<h1>a machine</h1>"
#endif
#ifndef ANSWER
#define ANSWER "200 OK"
#endif
#ifndef SERVES_PAGES /* of so many requests; the next one resets the machine */
#define SERVES_PAGES 0xffffffffU
#endif

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

struct queue { /* of QUEUE entries, as legacy devices want it: the used ring on a page of its own */
	struct {
		uint64_t at;
		uint32_t len;
		uint16_t flags, next;
	} desc[QUEUE];
	struct {
		uint16_t flags, idx, ring[QUEUE];
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[QUEUE];
	} used __attribute__((aligned(4096)));
} __attribute__((aligned(4096)));

static volatile struct queue queues[2]; /* in, out */
static uint8_t in[QUEUE][FRAME], out[FRAME];
static volatile uint32_t *device;
static uint8_t here[4] = {10, 0, 2, 15};
static const char *command_line;
static uint32_t served;

void run(const uint32_t *start);
void *memcpy(void *to, const void *from, size_t n);

void *memcpy(void *to, const void *from, size_t n)
{
	for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

static void say(const char *s)
{
	for (; *s; s++) __asm__ volatile("outb %0, %1" : : "a"(*s), "d"((uint16_t)0x3f8));
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint16_t checksum(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++) sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void open_queue(unsigned n)
{
	device[SELECT] = n;
	device[SIZE] = QUEUE;
	device[ALIGN] = 4096;
	device[PFN] = (uint32_t)(uintptr_t)&queues[n] / 4096;
}

static void offer(unsigned n, unsigned i, void *frame, uint32_t len, uint16_t flags)
{
	volatile struct queue *q = &queues[n];

	q->desc[i].at = (uintptr_t)frame;
	q->desc[i].len = len;
	q->desc[i].flags = flags;
	q->avail.ring[q->avail.idx % QUEUE] = (uint16_t)i;
	__sync_synchronize();
	q->avail.idx++;
	__sync_synchronize();
	device[NOTIFY] = n;
}

/* The frame in `out`, of len bytes behind its header; gone when this returns. */
static void send(uint32_t len)
{
	uint16_t before = queues[1].used.idx;

	offer(1, 0, out, HEADER + len, 0);
	while (queues[1].used.idx == before) __asm__ volatile("pause");
}

/* Back to where the frame f came from. */
static uint8_t *answer_to(const uint8_t *f)
{
	uint8_t *o = out + HEADER;

	memcpy(o, f + 6, 6);
	memcpy(o + 6, f, 6);
	memcpy(o + 12, f + 12, 2);
	return o;
}

static void answer_arp(const uint8_t *f, const uint8_t *mac)
{
	uint8_t *o = answer_to(f);

	memcpy(o + 6, mac, 6);
	memcpy(o + 14, f + 14, 6);
	put16(o + 20, 2);
	memcpy(o + 22, mac, 6);
	memcpy(o + 28, here, 4);
	memcpy(o + 32, f + 22, 10);
	send(42);
}

/* No table of interrupts is the end of a processor. */
static void reset(void)
{
	static const struct __attribute__((packed)) {
		uint16_t size;
		uint32_t at;
	} none;

	say("guest: fatal: gives up\n");
	__asm__ volatile("lidt %0\n int3" : : "m"(none));
}

static uint32_t page(uint8_t *to)
{
	const char *const parts[] = {"HTTP/1.0 " ANSWER "\r\nContent-Type: text/html\r\n\r\n" PAGE "\n", command_line,
				     "\n"};
	uint32_t n = 0;

	for (int i = 0; i < 3; i++)
		for (const char *p = parts[i]; *p && n < 1000; p++) to[n++] = (uint8_t)*p;
	return n;
}

static void answer_tcp(const uint8_t *f, uint32_t total)
{
	const uint8_t *ip = f + 14, *tcp = ip + (ip[0] & 15) * 4;
	uint32_t head = (uint32_t)(tcp[12] >> 4) * 4, data = total - (uint32_t)(tcp - ip) - head, len = 0, flags = ACK;
	uint8_t *o = answer_to(f), *oip = o + 14, *otcp = oip + 20;

	if (get16(tcp + 2) != SERVES || tcp[13] & RST || !(tcp[13] & (SYN | FIN) || data)) return;
	if (tcp[13] & SYN) flags |= SYN;
	if (data) {
		if (served++ == SERVES_PAGES) reset();
		len = page(otcp + 20);
		flags |= PSH | FIN;
	}
	put32(oip, 0x45000000 | (40 + len));
	put32(oip + 4, 0x4000);
	put32(oip + 8, 0x40060000);
	memcpy(oip + 12, ip + 16, 4);
	memcpy(oip + 16, ip + 12, 4);
	put16(oip + 10, checksum(oip, 20, 0));
	memcpy(otcp, tcp + 2, 2);
	memcpy(otcp + 2, tcp, 2);
	put32(otcp + 4, tcp[13] & SYN ? SEQ : get32(tcp + 8));
	put32(otcp + 8, get32(tcp + 4) + data + !!(tcp[13] & SYN) + !!(tcp[13] & FIN));
	put16(otcp + 12, 0x5000 | flags);
	put32(otcp + 14, 0x20000000);
	put16(otcp + 18, 0);
	put16(otcp + 16, 0);
	put16(otcp + 16,
	      checksum(otcp, 20 + len,
		       (uint32_t)get16(oip + 12) + get16(oip + 14) + get16(oip + 16) + get16(oip + 18) + 6 + 20 + len));
	send(54 + len);
}

static void serve(void)
{
	uint16_t seen = 0;
	uint8_t mac[6];

	for (int i = 0; i < 6; i++) mac[i] = ((volatile uint8_t *)device)[0x100 + i];
	for (unsigned i = 0; i < QUEUE; i++) offer(0, i, in[i], FRAME, 2);
	for (;;) {
		uint32_t id;
		const uint8_t *f;

		while (queues[0].used.idx == seen) __asm__ volatile("pause");
		id = queues[0].used.ring[seen++ % QUEUE].id;
		f = in[id] + HEADER;
		if (get16(f + 12) == 0x806 && get16(f + 20) == 1 && get32(f + 38) == get32(here)) answer_arp(f, mac);
		if (get16(f + 12) == 0x800 && f[23] == 6 && get32(f + 30) == get32(here)) answer_tcp(f, get16(f + 16));
		offer(0, id, in[id], FRAME, 2);
	}
}

static void read_address(const char *s)
{
	while (*s && !(s[0] == 'i' && s[1] == 'p' && s[2] == '=')) s++;
	if (!*s) return;
	s += 3;
	for (int i = 0; i < 4; i++, s += *s == '.')
		for (here[i] = 0; *s >= '0' && *s <= '9'; s++) here[i] = (uint8_t)(here[i] * 10 + (*s - '0'));
}

void run(const uint32_t *start)
{
	command_line = start[6] ? (const char *)(uintptr_t)start[6] : "";
	read_address(command_line);
	if (SERVES_PAGES == 0) reset();
	for (unsigned i = 0; i < PORTS && !device; i++) {
		volatile uint32_t *at = (volatile uint32_t *)(uintptr_t)(0xfeb00000 + i * 512);

		if (at[MAGIC] == 0x74726976 && at[DEVICE] == 1) device = at;
	}
	say(device ? "guest: ready\n" : "guest: no network device\n");
	if (device) {
		device[STATUS] = 0;
		device[STATUS] = 3;
		device[GUEST_FEATURES] = 0;
		device[PAGE_SIZE] = 4096;
		open_queue(0);
		open_queue(1);
		device[STATUS] = 7;
		serve();
	}
	for (;;) __asm__ volatile("cli; hlt");
}
