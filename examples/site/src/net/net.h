#ifndef SITE_NET_H
#define SITE_NET_H

#include <stddef.h>
#include <stdint.h>

/* A TCP/IP for one network card, one IPv4 address and one server: ARP, ICMP echo, DHCP, and a TCP that only answers. No
 * C library, no allocation, one caller: a Xen domain and a test on a Linux tap share it. Bytes of the wire are believed
 * in nothing. Every answer goes back to the Ethernet address that the question came from, so there is no table of
 * neighbours and no route. Fragments are dropped, IPv6 is not spoken.
 *
 *   driver ─net_input→ ARP, IP ─→ ICMP | DHCP | TCP ─→ http_next ─→ TCP ─link.send→ driver
 *
 *  src  RFC 826, 791, 792, 1122, 2131 (DHCP), 9293 (TCP), 6298 (retransmission timer), 5681 and 6582 (congestion),
 *       6928 (initial window), 7323 (window scale), 5961 (blind resets), 6528 (initial sequence numbers) */

enum { NET_FRAME_MAX = 1514, NET_MAC_BYTES = 6 };

struct net_link {
	uint8_t mac[NET_MAC_BYTES];
	/* Sends one frame, given in two parts. Returns 0 where there is no room: nothing was sent, and net_turn is
	 * called again when there is. */
	int (*send)(const void *head, size_t head_len, const void *data, size_t data_len);
};

struct net_options {
	uint32_t address; /* 0: DHCP is asked */
	uint16_t port;
	uint8_t seed[32]; /* nobody outside can guess it: sequence numbers and DHCP's transaction number come of it */
};

void net_init(const struct net_link *link, const struct net_options *o, uint64_t now_ms);

/* One frame from the wire.
 *  in  checked  1: the card vouches for the TCP checksum (it may be blank: the frame never was on a wire) */
void net_input(const uint8_t *frame, size_t len, int checked, uint64_t now_ms);

/* Does what is due. Returns when it wants to be called at the latest; time must not go back. */
uint64_t net_turn(uint64_t now_ms);

/* The address in use, in host order; 0: none yet. */
uint32_t net_address(void);

/* net_parse_address - "10.0.0.2" at the start of text. Returns 0 where it is none. */
uint32_t net_parse_address(const char *text);

#endif
