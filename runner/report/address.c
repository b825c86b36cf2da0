/* Which addresses are the internet's. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "runner/report/notify.h"

static const struct {
	const char *net;
	int bits;
} not_public4[] = {
	{"0.0.0.0", 8},     {"10.0.0.0", 8},      {"100.64.0.0", 10},  {"127.0.0.0", 8},    {"169.254.0.0", 16},
	{"172.16.0.0", 12}, {"192.0.0.0", 24},    {"192.0.2.0", 24},   {"192.88.99.0", 24}, {"192.168.0.0", 16},
	{"198.18.0.0", 15}, {"198.51.100.0", 24}, {"203.0.113.0", 24}, {"224.0.0.0", 4},    {"240.0.0.0", 4},
};

/* Of those that are given out at all (2000::/3): tunnels that end at any IPv4 address, and documentation. */
static const struct {
	const char *net;
	int bits;
} not_public6[] = {{"2001::", 23}, {"2001:db8::", 32}, {"2002::", 16}, {"3fff::", 20}};

static int within(const unsigned char *a, const unsigned char *net, int bits)
{
	if (memcmp(a, net, (size_t)bits / 8) != 0) return 0;
	return bits % 8 == 0 || (a[bits / 8] ^ net[bits / 8]) >> (8 - bits % 8) == 0;
}

int address_is_public(const struct sockaddr *sa)
{
	unsigned char a[16], net[16];

	if (sa->sa_family == AF_INET) {
		memcpy(a, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		for (size_t i = 0; i < ARRAY_LEN(not_public4); i++) {
			if (inet_pton(AF_INET, not_public4[i].net, net) != 1) die("a net of our own is none");
			if (within(a, net, not_public4[i].bits)) return 0;
		}
		return 1;
	}
	if (sa->sa_family != AF_INET6) return 0;
	memcpy(a, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	if (a[0] >> 5 != 1) return 0;
	for (size_t i = 0; i < ARRAY_LEN(not_public6); i++) {
		if (inet_pton(AF_INET6, not_public6[i].net, net) != 1) die("a net of our own is none");
		if (within(a, net, not_public6[i].bits)) return 0;
	}
	return 1;
}
