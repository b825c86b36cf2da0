/* Ethernet, ARP, IPv4 and ICMP echo: what lies below TCP and DHCP. */
#include <string.h>

#include "wire.h"

enum { TYPE_IP = 0x0800, TYPE_ARP = 0x0806, ARP_BYTES = 28, ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { DHCP_CLIENT_PORT = 68, ICMP_ECHO = 8, TTL = 64 };

static const uint8_t everybody[NET_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct net net;

/* --- checksums (RFC 1071) --- */

uint32_t sum_add(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t wide = sum;

	for (; len > 1; p += 2, len -= 2) wide += (uint32_t)p[0] << 8 | p[1];
	if (len) wide += (uint32_t)p[0] << 8;
	while (wide >> 16) wide = (wide & 0xffff) + (wide >> 16);
	return (uint32_t)wide;
}

uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

uint32_t sum_pseudo(uint32_t from, uint32_t to, uint8_t protocol, size_t len)
{
	return (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + protocol + (uint32_t)len;
}

/* --- out --- */

static void ether_head(uint8_t *frame, const uint8_t *to, uint16_t type)
{
	memcpy(frame, to, NET_MAC_BYTES);
	memcpy(frame + NET_MAC_BYTES, net.link.mac, NET_MAC_BYTES);
	put16(frame + 12, type);
}

int ip_send(uint8_t *head, size_t head_len, const void *data, size_t data_len, const struct peer *to, uint32_t from,
	    uint8_t protocol)
{
	uint8_t *ip = head + ETHER_HEAD;

	ether_head(head, to->mac, TYPE_IP);
	memset(ip, 0, IP_HEAD);
	ip[0] = 0x45; /* no options; and no "don't fragment": a smaller link on the way is a router's matter */
	put16(ip + 2, (uint32_t)(IP_HEAD + head_len + data_len));
	ip[8] = TTL;
	ip[9] = protocol;
	put32(ip + 12, from);
	put32(ip + 16, to->address);
	put16(ip + 10, sum_end(sum_add(0, ip, IP_HEAD)));
	return net.link.send(head, LINK_HEAD + head_len, data, data_len);
}

static void arp_send(uint16_t kind, const uint8_t *to_mac, uint32_t to)
{
	uint8_t frame[ETHER_HEAD + ARP_BYTES] = {0}, *arp = frame + ETHER_HEAD;

	ether_head(frame, to_mac, TYPE_ARP);
	put16(arp, 1); /* Ethernet */
	put16(arp + 2, TYPE_IP);
	arp[4] = NET_MAC_BYTES;
	arp[5] = 4;
	put16(arp + 6, kind);
	memcpy(arp + 8, net.link.mac, NET_MAC_BYTES);
	put32(arp + 14, net.address);
	if (kind == ARP_REPLY) memcpy(arp + 18, to_mac, NET_MAC_BYTES);
	put32(arp + 24, to);
	net.link.send(frame, sizeof frame, NULL, 0);
}

void net_use(uint32_t address)
{
	if (address != net.address) tcp_forget();
	net.address = address;
	/* Whoever knew this address by another card (the image that was here before) shall forget it. */
	if (address) arp_send(ARP_REQUEST, everybody, address);
}

/* --- in --- */

static void arp_input(const uint8_t *arp, size_t len)
{
	if (len < ARP_BYTES || get16(arp) != 1 || get16(arp + 2) != TYPE_IP || arp[4] != NET_MAC_BYTES || arp[5] != 4)
		return;
	if (get16(arp + 6) == ARP_REQUEST && net.address && get32(arp + 24) == net.address)
		arp_send(ARP_REPLY, arp + 8, get32(arp + 14));
}

static void icmp_input(const struct peer *from, const uint8_t *icmp, size_t len)
{
	static uint8_t answer[NET_FRAME_MAX];

	if (len < 8 || icmp[0] != ICMP_ECHO || icmp[1] || LINK_HEAD + len > sizeof answer ||
	    sum_end(sum_add(0, icmp, len)))
		return;
	memcpy(answer + LINK_HEAD, icmp, len);
	answer[LINK_HEAD] = 0; /* echo reply */
	put16(answer + LINK_HEAD + 2, 0);
	put16(answer + LINK_HEAD + 2, sum_end(sum_add(0, answer + LINK_HEAD, len)));
	ip_send(answer, len, NULL, 0, from, net.address, PROTOCOL_ICMP);
}

static void udp_input(const uint8_t *udp, size_t len, uint64_t now_ms)
{
	if (len < UDP_HEAD || get16(udp + 4) < UDP_HEAD || get16(udp + 4) > len) return;
	if (get16(udp + 2) == DHCP_CLIENT_PORT) dhcp_input(udp + UDP_HEAD, get16(udp + 4) - UDP_HEAD, now_ms);
}

static void ip_input(const uint8_t *from_mac, const uint8_t *ip, size_t len, int checked, uint64_t now_ms)
{
	struct peer from;
	size_t head, total;

	if (len < IP_HEAD || ip[0] >> 4 != 4) return;
	head = (size_t)(ip[0] & 15) * 4;
	total = get16(ip + 2);
	if (head < IP_HEAD || total < head || total > len || sum_end(sum_add(0, ip, head))) return;
	if (get16(ip + 6) & 0x3fff) return; /* a fragment */
	memcpy(from.mac, from_mac, NET_MAC_BYTES);
	from.address = get32(ip + 12);
	if (ip[9] == PROTOCOL_UDP) udp_input(ip + head, total - head, now_ms); /* before we have an address, too */
	if (!net.address || get32(ip + 16) != net.address) return;
	/* An answer to a broadcast or to nobody would be sent to the wrong ones. */
	if (from.address == 0 || from.address >> 28 >= 14 || from_mac[0] & 1) return;
	if (ip[9] == PROTOCOL_ICMP) icmp_input(&from, ip + head, total - head);
	if (ip[9] == PROTOCOL_TCP) tcp_input(&from, ip + head, total - head, checked, now_ms);
}

void net_input(const uint8_t *frame, size_t len, int checked, uint64_t now_ms)
{
	if (len < ETHER_HEAD) return;
	if (memcmp(frame, net.link.mac, NET_MAC_BYTES) != 0 && memcmp(frame, everybody, NET_MAC_BYTES) != 0) return;
	if (get16(frame + 12) == TYPE_ARP) arp_input(frame + ETHER_HEAD, len - ETHER_HEAD);
	if (get16(frame + 12) == TYPE_IP)
		ip_input(frame + NET_MAC_BYTES, frame + ETHER_HEAD, len - ETHER_HEAD, checked, now_ms);
}

/* --- the whole --- */

void net_init(const struct net_link *link, const struct net_options *o, uint64_t now_ms)
{
	net = (struct net){.link = *link, .options = *o};
	if (o->address)
		net_use(o->address);
	else
		dhcp_init(now_ms);
}

uint64_t net_turn(uint64_t now_ms)
{
	uint64_t first = tcp_turn(now_ms), other = net.options.address ? first : dhcp_turn(now_ms);

	return first < other ? first : other;
}

uint32_t net_address(void)
{
	return net.address;
}

uint32_t net_parse_address(const char *text)
{
	uint32_t address = 0;

	for (int part = 0; part < 4; part++) {
		unsigned n = 0;

		if (part && *text++ != '.') return 0;
		if (*text < '0' || *text > '9') return 0;
		while (*text >= '0' && *text <= '9' && n < 256) n = n * 10 + (unsigned)(*text++ - '0');
		if (n > 255) return 0;
		address = address << 8 | n;
	}
	return address;
}
