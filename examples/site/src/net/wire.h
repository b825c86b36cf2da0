#ifndef SITE_NET_WIRE_H
#define SITE_NET_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "net.h"

/* Shared by the files of this folder: numbers as they stand on the wire, and the layer below UDP and TCP. */

enum {
	ETHER_HEAD = 14,
	IP_HEAD = 20,
	LINK_HEAD = ETHER_HEAD + IP_HEAD,
	UDP_HEAD = 8,
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17
};

static inline uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put16(uint8_t *p, uint32_t n)
{
	p[0] = (uint8_t)(n >> 8);
	p[1] = (uint8_t)n;
}

static inline void put32(uint8_t *p, uint32_t n)
{
	put16(p, n >> 16);
	put16(p + 2, n & 0xffff);
}

/* The sum of 16-bit words that checksums are made of. Parts but the last must be of even length. */
uint32_t sum_add(uint32_t sum, const void *data, size_t len);
/* The checksum; of bytes that hold their own, 0 if it is right. */
uint16_t sum_end(uint32_t sum);
/* The start of a TCP or UDP sum, over the addresses. */
uint32_t sum_pseudo(uint32_t from, uint32_t to, uint8_t protocol, size_t len);

/* Where a packet came from, and where its answer goes. */
struct peer {
	uint8_t mac[NET_MAC_BYTES];
	uint32_t address;
};

/* ip_send - `head` has LINK_HEAD bytes of room for us before head_len bytes of the protocol's own. Returns 0: no room
 */
int ip_send(uint8_t *head, size_t head_len, const void *data, size_t data_len, const struct peer *to, uint32_t from,
	    uint8_t protocol);

extern struct net {
	struct net_link link;
	struct net_options options;
	uint32_t address;
} net;

/* From now on this is the address, and the neighbours are told; 0: there is none any more. */
void net_use(uint32_t address);

void dhcp_init(uint64_t now_ms);
void dhcp_input(const uint8_t *packet, size_t len, uint64_t now_ms);
uint64_t dhcp_turn(uint64_t now_ms);

void tcp_input(const struct peer *from, const uint8_t *segment, size_t len, int checked, uint64_t now_ms);
uint64_t tcp_turn(uint64_t now_ms);
void tcp_forget(void); /* our address is another: no connection can go on */

#endif
