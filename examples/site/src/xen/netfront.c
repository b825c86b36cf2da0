/* Two rings of 256 places, requests in and responses out in the same place. Indices only grow; a place is the index
 * modulo 256. The backend is another domain: lengths and numbers in its responses are checked. */
#include "netfront.h"

#include <string.h>

#include "hyper.h"
#include "machine.h"
#include "store.h"

enum { PLACES = 256, RX_PAGES = 128, TX_PAGES = 128, FRAME_MAX = 1514, PATH_MAX = 128, WAIT_MS = 20, TRIES = 500 };
enum { STATE_INIT_WAIT = 2, STATE_CONNECTED = 4 };
enum { RX_VALIDATED = 1, RX_BLANK = 2, RX_MORE = 4 };

struct tx_request {
	uint32_t grant;
	uint16_t offset, flags, id, size;
};
struct rx_request {
	uint16_t id, pad;
	uint32_t grant;
};
struct rx_response {
	uint16_t id, offset, flags;
	int16_t status; /* bytes, or an error */
};

#define RING(type)                                                                                                     \
	{                                                                                                              \
		uint32_t req_prod, req_event, rsp_prod, rsp_event;                                                     \
		uint8_t pad[48];                                                                                       \
		type place[PLACES];                                                                                    \
	}
static volatile struct RING(struct tx_request) tx __attribute__((aligned(HYPER_PAGE)));
static volatile struct RING(union {
	struct rx_request request;
	struct rx_response response;
}) rx __attribute__((aligned(HYPER_PAGE)));
_Static_assert(sizeof tx <= HYPER_PAGE && sizeof rx <= HYPER_PAGE, "a ring is a page");

static uint8_t tx_pages[TX_PAGES][HYPER_PAGE] __attribute__((aligned(HYPER_PAGE)));
static uint8_t rx_pages[RX_PAGES][HYPER_PAGE] __attribute__((aligned(HYPER_PAGE)));
static uint32_t tx_grants[TX_PAGES], rx_grants[RX_PAGES];
static uint16_t tx_free[TX_PAGES];
static uint32_t tx_nfree, tx_prod, tx_cons, tx_told, rx_prod, rx_cons, channel;

static void join(char *path_r, const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	if (n + m >= PATH_MAX) n = 0;
	memcpy(path_r, a, n);
	memcpy(path_r + n, b, m + 1);
}

static int read_mac(uint8_t mac_r[6])
{
	char text[32];

	if (!store_read("device/vif/0/mac", text, sizeof text) || strlen(text) != 17) return 0;
	for (int i = 0; i < 12; i++) {
		char c = text[i / 2 * 3 + i % 2];
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 32) - 'a' + 10);

		if (digit > 15) return 0;
		mac_r[i / 2] = (uint8_t)(mac_r[i / 2] << 4 | digit);
	}
	return 1;
}

/* --- rings --- */

static void offer_page(uint16_t id)
{
	volatile struct rx_request *r = &rx.place[rx_prod++ % PLACES].request;

	r->id = id;
	r->grant = rx_grants[id];
}

static void offered(void)
{
	barrier();
	rx.req_prod = rx_prod;
}

static void take_back(void)
{
	while (tx_cons != tx.rsp_prod) {
		uint16_t id;

		barrier();
		/* A response is its request's id, and a status in the upper half. */
		id = (uint16_t)(*(volatile uint32_t *)&tx.place[tx_cons++ % PLACES] & 0xffff);
		if (id < TX_PAGES && tx_nfree < TX_PAGES) tx_free[tx_nfree++] = id;
	}
}

int netfront_send(const void *head, size_t head_len, const void *data, size_t data_len)
{
	volatile struct tx_request *r;
	uint16_t id;

	if (head_len + data_len > FRAME_MAX) return 1; /* could never be sent */
	take_back();
	if (!tx_nfree) { /* and wake us when there is room */
		tx.rsp_event = tx_cons + 1;
		fence();
		take_back();
		if (!tx_nfree) return 0;
	}
	id = tx_free[--tx_nfree];
	memcpy(tx_pages[id], head, head_len);
	memcpy(tx_pages[id] + head_len, data, data_len);
	r = &tx.place[tx_prod++ % PLACES];
	r->grant = tx_grants[id];
	r->offset = r->flags = 0;
	r->id = id;
	r->size = (uint16_t)(head_len + data_len);
	return 1;
}

void netfront_flush(void)
{
	uint32_t event;

	if (tx_prod == tx_told) return;
	barrier();
	tx.req_prod = tx_prod;
	fence();
	event = tx.req_event;
	if (tx_prod - event < tx_prod - tx_told) hyper_notify(channel);
	tx_told = tx_prod;
}

int netfront_receive(void (*take)(const uint8_t *frame, size_t len, int checked))
{
	uint32_t end = rx.rsp_prod;

	barrier();
	for (; rx_cons != end; rx_cons++) {
		struct rx_response r = rx.place[rx_cons % PLACES].response;

		if (r.id >= RX_PAGES) continue; /* not one of ours: the page is lost */
		if (r.status > 0 && !(r.flags & RX_MORE) && r.offset + r.status <= HYPER_PAGE)
			take(rx_pages[r.id] + r.offset, (size_t)r.status, (r.flags & (RX_VALIDATED | RX_BLANK)) != 0);
		offer_page(r.id);
		offered();
	}
	fence();
	if (rx_prod - rx.req_event < RX_PAGES) hyper_notify(channel);
	rx.rsp_event = rx_cons + 1;
	fence();
	return rx_cons != rx.rsp_prod;
}

/* --- connecting --- */

static int backend_waits(const char *backend)
{
	char path[PATH_MAX];

	join(path, backend, "/state");
	for (int i = 0; i < TRIES; i++) {
		uint64_t state = store_read_number(path);

		if (state == STATE_INIT_WAIT) return 1;
		if (state > STATE_CONNECTED) return 0;
		hyper_wait(NULL, 0, hyper_now_ms() + WAIT_MS); /* once, at the start: no watch for that */
	}
	return 0;
}

static int share_pages(uint16_t domain)
{
	for (uint16_t i = 0; i < TX_PAGES; i++) {
		if (!(tx_grants[i] = hyper_grant(domain, tx_pages[i]))) return 0;
		tx_free[tx_nfree++] = i;
	}
	for (uint16_t i = 0; i < RX_PAGES; i++) {
		if (!(rx_grants[i] = hyper_grant(domain, rx_pages[i]))) return 0;
		offer_page(i);
	}
	tx.req_event = tx.rsp_event = rx.req_event = rx.rsp_event = 1;
	offered();
	return 1;
}

int netfront_init(uint8_t mac_r[6])
{
	static const char *const wishes[] = {"request-rx-copy", "feature-rx-notify", "feature-no-csum-offload"};
	char backend[PATH_MAX], path[PATH_MAX];
	uint16_t domain;

	if (!store_read("device/vif/0/backend", backend, sizeof backend) || !read_mac(mac_r)) return 0;
	domain = (uint16_t)store_read_number("device/vif/0/backend-id");
	if (!backend_waits(backend) || !(channel = hyper_channel_for(domain)) || !share_pages(domain)) return 0;
	for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
		join(path, "device/vif/0/", wishes[i]);
		store_write_number(path, 1);
	}
	return store_write_number("device/vif/0/tx-ring-ref", hyper_grant(domain, (const void *)&tx)) &&
	       store_write_number("device/vif/0/rx-ring-ref", hyper_grant(domain, (const void *)&rx)) &&
	       store_write_number("device/vif/0/event-channel", channel) &&
	       store_write_number("device/vif/0/state", STATE_CONNECTED);
}

uint32_t netfront_channel(void)
{
	return channel;
}
