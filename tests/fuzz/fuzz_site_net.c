/* The example unikernel's TCP/IP: any frames at any times. What it sends is well formed, its checksums are right, and
 * the bytes it sends of an answer are those of the answer. Input: [kind and milliseconds][length][bytes]…; a kind may
 * turn the bytes into a segment of a connection that is there, so that the deep places are reached. */
#include "examples/site/src/http.c"
#include "examples/site/src/net/dhcp.c"
#include "examples/site/src/net/ip.c"
#include "examples/site/src/net/tcp.c"
#include "examples/site/src/net/tcp_out.c"
#include "examples/site/src/sha256.c"
#include "examples/site/src/site.c"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char large[20000] = "large";
const struct site_file site_files[] = {
	{"/index.html", "text/html", "\"i\"", (const unsigned char *)"<h1>", 4, NULL},
	{"/large", "text/plain", "\"l\"", large, sizeof large, NULL},
};
const size_t site_nfiles = sizeof site_files / sizeof *site_files;
const char site_commit[] = "0123456";

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) abort();                                                                             \
	} while (0)

static const uint8_t our_mac[6] = {0, 0x16, 0x3e, 0, 0, 1}, their_mac[6] = {2, 0, 0, 0, 0, 9};
enum { OURS = 0x0a000002, THEIRS = 0x0a000001, PORT = 80 };
static unsigned sent;

static int take_frame(const void *head, size_t head_len, const void *data, size_t data_len)
{
	static uint8_t frame[NET_FRAME_MAX];
	const uint8_t *ip_packet = frame + ETHER_HEAD, *tcp = frame + LINK_HEAD;
	size_t len = head_len + data_len;

	MUST(len <= NET_FRAME_MAX && head_len >= ETHER_HEAD);
	memcpy(frame, head, head_len);
	if (data_len) memcpy(frame + head_len, data, data_len);
	MUST(memcmp(frame + 6, our_mac, 6) == 0);
	sent++;
	if (get16(frame + 12) != 0x0800) return 1;
	MUST(get16(ip_packet + 2) + (size_t)ETHER_HEAD == len && sum_end(sum_add(0, ip_packet, IP_HEAD)) == 0);
	if (ip_packet[9] != PROTOCOL_TCP) return 1;
	MUST(sum_end(sum_add(sum_pseudo(get32(ip_packet + 12), get32(ip_packet + 16), PROTOCOL_TCP, len - LINK_HEAD),
			     tcp, len - LINK_HEAD)) == 0);
	return sent % 7 != 0; /* now and then the card is full */
}

/* A segment of theirs for the table's place `i`, or from a new port. */
static void segment_in(const uint8_t *p, size_t len, uint64_t now_ms)
{
	uint8_t frame[NET_FRAME_MAX] = {0}, *ip_packet = frame + ETHER_HEAD, *tcp = frame + LINK_HEAD;
	const struct tcp *c = &connections[p[0] % 4];
	size_t n = len - 6 < 1400 ? len - 6 : 1400;

	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, their_mac, 6);
	put16(frame + 12, 0x0800);
	ip_packet[0] = 0x45;
	put16(ip_packet + 2, (uint32_t)(IP_HEAD + TCP_HEAD + n));
	ip_packet[9] = PROTOCOL_TCP;
	put32(ip_packet + 12, THEIRS);
	put32(ip_packet + 16, OURS);
	put16(ip_packet + 10, sum_end(sum_add(0, ip_packet, IP_HEAD)));
	put16(tcp, c->state ? c->peer_port : 1000u + p[0]);
	put16(tcp + 2, PORT);
	put32(tcp + 4, c->next_in + (uint32_t)(int8_t)p[1]);
	put32(tcp + 8, (p[2] & 1 ? c->last_out : c->acked) + (uint32_t)(int8_t)p[3]);
	tcp[12] = p[2] & 64 && n >= 8 ? 7 << 4 : 5 << 4;
	tcp[13] = p[4];
	put16(tcp + 14, p[5] * 257u);
	memcpy(tcp + TCP_HEAD, p + 6, n);
	net_input(frame, LINK_HEAD + TCP_HEAD + n, 1, now_ms);
}

static void check(void)
{
	for (const struct tcp *c = connections; c < connections + TCP_CONNECTIONS; c++) {
		if (c->state == TCP_FREE) continue;
		MUST(c->in_len <= HTTP_HEAD_MAX);
		MUST(!before(c->last_out, c->next_out) && !before(c->next_out, c->acked));
		MUST(!before(answer_end(c) + 1, c->last_out));
		MUST(c->mss >= LEAST_MSS && c->mss <= TCP_OUR_MSS && c->congestion);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_link link = {.send = take_frame};
	struct net_options o = {.address = size && data[0] & 1 ? 0 : OURS, .port = PORT};
	uint64_t now_ms = 1000;

	memcpy(link.mac, our_mac, sizeof our_mac);
	tcp_forget();
	sent = 0;
	net_init(&link, &o, now_ms);
	for (size_t at = 1; at + 4 <= size;) {
		size_t len = get16(data + at + 2) % 2000;

		if (len > size - at - 4) len = size - at - 4;
		now_ms += (uint64_t)data[at + 1] * data[at + 1];
		if (data[at] & 1 && len >= 6)
			segment_in(data + at + 4, len, now_ms);
		else
			net_input(data + at + 4, len, data[at] & 2, now_ms);
		net_turn(now_ms);
		check();
		at += 4 + len;
	}
	return 0;
}
