/* The two consoles. What was said before a console is there is lost: console_init comes first. */
#include "console.h"

#include <stddef.h>
#include <string.h>

#include "hyper.h"
#include "machine.h"

enum { COM1 = 0x3f8, COM_LINE_STATUS = COM1 + 5, COM_ROOM = 0x20, ROOM_TRIES = 1000000 };

/* Shared with the console daemon: it moves in_prod and out_cons, we the other two.
 *  src  xen/include/public/io/console.h */
struct ring {
	char in[1024], out[2048];
	uint32_t in_cons, in_prod, out_cons, out_prod;
};
static volatile struct ring *ring;
static uint32_t event_channel;

void console_init(void)
{
	static const uint8_t setup[][2] = {{3, 0x80}, {0, 1}, {1, 0}, {3, 3}}; /* 115200 baud, 8 bits, no parity */

	if (hyper_is_xen()) {
		ring = (volatile struct ring *)(uintptr_t)(hyper_param(HVM_PARAM_CONSOLE_PFN) << 12);
		event_channel = (uint32_t)hyper_param(HVM_PARAM_CONSOLE_EVTCHN);
		return;
	}
	for (size_t i = 0; i < sizeof setup / sizeof *setup; i++) port_write(COM1 + setup[i][0], setup[i][1]);
}

static void serial_put(char c)
{
	/* A port that is never ready must not stop the machine. */
	for (int i = 0; i < ROOM_TRIES && !(port_read(COM_LINE_STATUS) & COM_ROOM); i++) continue;
	port_write(COM1, (uint8_t)c);
}

static void ring_put(char c)
{
	uint32_t at = ring->out_prod;

	while (at - ring->out_cons >= sizeof ring->out) {
		hyper_notify(event_channel);
		hyper_yield();
	}
	ring->out[at % sizeof ring->out] = c;
	barrier();
	ring->out_prod = at + 1;
}

void console_put(const char *text)
{
	if (hyper_is_xen()) hyper_console(text, (uint32_t)strlen(text));
	for (const char *p = text; *p; p++) {
		if (ring && *p == '\n') ring_put('\r');
		if (ring) ring_put(*p);
		if (!hyper_is_xen() && *p == '\n') serial_put('\r');
		if (!hyper_is_xen()) serial_put(*p);
	}
	if (ring) hyper_notify(event_channel);
}

static void put_in_base(uint64_t n, unsigned base)
{
	char digits[21], *p = digits + sizeof digits - 1;

	*p = '\0';
	do {
		*--p = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	console_put(p);
}

void console_number(uint64_t n)
{
	put_in_base(n, 10);
}

void console_hex(uint64_t n)
{
	console_put("0x");
	put_in_base(n, 16);
}
