/* A DHCP client: finds an address, keeps it for as long as the server lets it, and asks anew when it does not. It only
 * ever broadcasts: then neither an address nor a neighbour must be known.
 *  src  RFC 2131, RFC 2132 */
#include <string.h>

#include "wire.h"

enum { FIXED = 240, PACKET = 300, SERVER_PORT = 67, CLIENT_PORT = 68, MAGIC = 0x63825363 };
enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };
enum {
	OPT_MASK = 1,
	OPT_ROUTER = 3,
	OPT_WANTED = 50,
	OPT_LEASE = 51,
	OPT_KIND = 53,
	OPT_SERVER = 54,
	OPT_ASK_FOR = 55,
	OPT_END = 255
};
enum { FIRST_WAIT_MS = 1000, LAST_WAIT_MS = 32000, LEAST_LEASE_S = 60, MOST_LEASE_S = 7 * 86400 };

static struct dhcp {
	enum { SEARCHING, ASKING, BOUND } state;
	uint32_t xid, offered, server;
	uint64_t at_ms, wait_ms, expires_ms;
} dhcp;

struct reply {
	uint8_t kind;
	uint32_t address, server, lease_s;
};

static uint8_t *option(uint8_t *at, uint8_t kind, uint8_t len, uint32_t value)
{
	*at++ = kind;
	*at++ = len;
	if (len == 1) *at = (uint8_t)value;
	if (len == 4) put32(at, value);
	return at + len;
}

static void send(uint8_t kind)
{
	uint8_t frame[LINK_HEAD + UDP_HEAD + PACKET] = {0}, *udp = frame + LINK_HEAD, *p = udp + UDP_HEAD,
					     *opt = p + FIXED;
	const struct peer all = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0xffffffff};

	p[0] = 1; /* a request */
	p[1] = 1; /* Ethernet */
	p[2] = NET_MAC_BYTES;
	put32(p + 4, dhcp.xid);
	put16(p + 10, 0x8000); /* answer by broadcast */
	if (dhcp.state == BOUND) put32(p + 12, net.address);
	memcpy(p + 28, net.link.mac, NET_MAC_BYTES);
	put32(p + 236, MAGIC);
	opt = option(opt, OPT_KIND, 1, kind);
	if (kind == REQUEST && dhcp.state == ASKING) {
		opt = option(opt, OPT_WANTED, 4, dhcp.offered);
		opt = option(opt, OPT_SERVER, 4, dhcp.server);
	}
	*opt++ = OPT_ASK_FOR;
	*opt++ = 2;
	*opt++ = OPT_MASK;
	*opt++ = OPT_ROUTER;
	*opt = OPT_END;
	put16(udp, CLIENT_PORT);
	put16(udp + 2, SERVER_PORT);
	put16(udp + 4, UDP_HEAD + PACKET);
	put16(udp + 6, sum_end(sum_add(sum_pseudo(dhcp.state == BOUND ? net.address : 0, all.address, PROTOCOL_UDP,
						  UDP_HEAD + PACKET),
				       udp, UDP_HEAD + PACKET)));
	ip_send(frame, UDP_HEAD + PACKET, NULL, 0, &all, dhcp.state == BOUND ? net.address : 0, PROTOCOL_UDP);
}

static void search(uint64_t now_ms)
{
	dhcp.state = SEARCHING;
	dhcp.wait_ms = FIRST_WAIT_MS;
	dhcp.at_ms = now_ms;
}

void dhcp_init(uint64_t now_ms)
{
	dhcp = (struct dhcp){.xid = get32(net.options.seed) ^ get32(net.link.mac + 2)};
	search(now_ms);
}

/* Returns 0 where it is no reply to us. */
static int read_reply(const uint8_t *p, size_t len, struct reply *r)
{
	*r = (struct reply){0};
	if (len < FIXED || p[0] != 2 || get32(p + 4) != dhcp.xid || get32(p + 236) != MAGIC ||
	    memcmp(p + 28, net.link.mac, NET_MAC_BYTES) != 0)
		return 0;
	r->address = get32(p + 16);
	for (size_t i = FIXED; i < len && p[i] != OPT_END;) {
		size_t n;

		if (!p[i]) { /* padding */
			i++;
			continue;
		}
		if (i + 2 > len || (n = p[i + 1], i + 2 + n > len)) return 0;
		if (p[i] == OPT_KIND && n == 1) r->kind = p[i + 2];
		if (p[i] == OPT_SERVER && n == 4) r->server = get32(p + i + 2);
		if (p[i] == OPT_LEASE && n == 4) r->lease_s = get32(p + i + 2);
		i += 2 + n;
	}
	return r->kind != 0;
}

static void bind(const struct reply *r, uint64_t now_ms)
{
	uint64_t lease_s = r->lease_s < LEAST_LEASE_S  ? LEAST_LEASE_S
			   : r->lease_s > MOST_LEASE_S ? MOST_LEASE_S
						       : r->lease_s;

	if (net.address != r->address) net_use(r->address);
	dhcp.state = BOUND;
	dhcp.expires_ms = now_ms + lease_s * 1000;
	dhcp.at_ms = now_ms + lease_s * 500; /* RFC 2131 4.4.5: at half the time it is asked for more */
}

static int usable(uint32_t address)
{
	return address && address >> 24 != 127 && address >> 28 < 14;
}

void dhcp_input(const uint8_t *packet, size_t len, uint64_t now_ms)
{
	struct reply r;

	if (net.options.address || !read_reply(packet, len, &r)) return;
	if (r.kind == OFFER && dhcp.state == SEARCHING && usable(r.address)) {
		dhcp.offered = r.address;
		dhcp.server = r.server;
		dhcp.state = ASKING;
		dhcp.wait_ms = FIRST_WAIT_MS;
		dhcp.at_ms = now_ms;
	} else if (r.kind == ACK && dhcp.state != SEARCHING && usable(r.address)) {
		bind(&r, now_ms);
	} else if (r.kind == NAK && dhcp.state != SEARCHING) {
		net_use(0);
		search(now_ms);
	}
}

uint64_t dhcp_turn(uint64_t now_ms)
{
	if (dhcp.state == BOUND && now_ms >= dhcp.expires_ms) {
		net_use(0);
		search(now_ms);
	}
	if (now_ms < dhcp.at_ms) return dhcp.at_ms;
	if (dhcp.state == BOUND) {
		uint64_t left_ms = dhcp.expires_ms - now_ms;

		send(REQUEST);
		dhcp.at_ms = now_ms + (left_ms / 2 > LAST_WAIT_MS ? left_ms / 2 : LAST_WAIT_MS);
		if (dhcp.at_ms > dhcp.expires_ms) dhcp.at_ms = dhcp.expires_ms;
		return dhcp.at_ms;
	}
	if (dhcp.state == ASKING && dhcp.wait_ms > LAST_WAIT_MS / 4) search(now_ms); /* that server has gone */
	send(dhcp.state == SEARCHING ? DISCOVER : REQUEST);
	dhcp.at_ms = now_ms + dhcp.wait_ms;
	if (dhcp.wait_ms < LAST_WAIT_MS) dhcp.wait_ms *= 2;
	return dhcp.at_ms;
}
