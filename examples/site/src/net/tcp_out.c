/* What TCP sends: segments of the answers, as fast as the peer's window and the network bear it, and again when they
 * were lost. */
#include <string.h>

#include "tcp.h"

enum {
	FIRST_RTO_MS = 1000,
	LEAST_RTO_MS = 200,
	MOST_RTO_MS = 60000,
	MOST_RESENDS = 8,
	FIRST_SEGMENTS = 10, /* RFC 6928 */
	DUPLICATES = 3,
	OPTIONS_MAX = 8,
};

static uint16_t window_of(const struct tcp *c)
{
	return (uint16_t)(c->ending ? HTTP_HEAD_MAX : HTTP_HEAD_MAX - c->in_len);
}

static void head_make(uint8_t *tcp, uint16_t to_port, uint32_t seq, uint32_t ack, size_t head_len, uint8_t flags,
		      uint16_t window)
{
	put16(tcp, net.options.port);
	put16(tcp + 2, to_port);
	put32(tcp + 4, seq);
	put32(tcp + 8, ack);
	tcp[12] = (uint8_t)(head_len / 4 << 4);
	tcp[13] = flags;
	put16(tcp + 14, window);
	put32(tcp + 16, 0);
}

/* One segment: `len` bytes of the answer from `seq` on. Returns 0: the card has no room. */
static int segment(struct tcp *c, uint32_t seq, size_t len, uint8_t flags)
{
	static uint8_t frame[NET_FRAME_MAX + OPTIONS_MAX];
	uint8_t *tcp = frame + LINK_HEAD;
	size_t head = TCP_HEAD, at = seq - c->answer_at, copied = 0;
	const unsigned char *body = NULL;
	uint32_t sum;

	if (flags & FLAG_SYN) {
		put32(tcp + TCP_HEAD, 2u << 24 | 4u << 16 | TCP_OUR_MSS);
		/* Ours is never scaled; said only to those who speak of it. */
		put32(tcp + TCP_HEAD + 4, c->window_shift ? 0x01030300 : 0x01010101);
		head += OPTIONS_MAX;
	}
	head_make(tcp, c->peer_port, seq, c->next_in, head, flags, window_of(c));
	if (len && at < c->answer.head_len) {
		copied = c->answer.head_len - at < len ? c->answer.head_len - at : len;
		memcpy(tcp + head, c->answer.head + at, copied);
	}
	if (len > copied) body = c->answer.body + (at + copied - c->answer.head_len);
	sum = sum_pseudo(net.address, c->peer.address, PROTOCOL_TCP, head + len);
	sum = sum_add(sum, tcp, head + copied);
	/* The body's words begin in the middle of a word where the part before is odd: it is added with its bytes
	 * swapped, RFC 1071 (B). */
	if (len > copied) {
		uint32_t rest = sum_add(0, body, len - copied);

		sum += (head + copied) % 2 ? (rest & 0xff) << 8 | rest >> 8 : rest;
	}
	put16(tcp + 16, sum_end(sum));
	return ip_send(frame, head + copied, body, len - copied, &c->peer, net.address, PROTOCOL_TCP);
}

void tcp_send_ack(struct tcp *c)
{
	segment(c, c->next_out, 0, FLAG_ACK);
}

static void timer_start(struct tcp *c, uint64_t now_ms)
{
	c->resend_at_ms = now_ms + c->rto_ms;
}

void tcp_send_syn(struct tcp *c, uint64_t now_ms)
{
	if (!c->rto_ms) c->rto_ms = FIRST_RTO_MS;
	segment(c, c->acked, 0, FLAG_SYN | FLAG_ACK);
	timer_start(c, now_ms);
}

/* Bytes of the answer that stand from `seq` on and go into one segment. */
static size_t piece(const struct tcp *c, uint32_t seq)
{
	uint32_t left = answer_end(c) - seq;

	return left < c->mss ? left : c->mss;
}

static int send_piece(struct tcp *c, uint32_t seq, size_t len, int end)
{
	uint8_t flags = FLAG_ACK;

	if (len && seq + len == answer_end(c)) flags |= FLAG_PSH;
	if (end) flags |= FLAG_FIN;
	return segment(c, seq, len, flags);
}

/* The part of a window that is not in flight yet. */
static uint32_t room(const struct tcp *c, uint32_t window)
{
	uint32_t flight = c->next_out - c->acked;

	return window > flight ? window - flight : 0;
}

void tcp_output(struct tcp *c, uint64_t now_ms)
{
	while (c->state == TCP_OPEN) {
		uint32_t may = room(c, c->congestion < c->window ? c->congestion : c->window);
		uint32_t end = answer_end(c);
		size_t len = before(c->next_out, end) ? piece(c, c->next_out) : 0;
		int fin;

		if (len > may) {
			/* A closed window is tried by a byte now and then (the timer does); a narrow one is not filled
			 * by crumbs as long as an answer to something sent will come (RFC 9293 3.8.6.2.1). */
			if (c->acked != c->next_out || !may) len = 0;
			if (len > may) len = may;
			if (!len) break;
		}
		fin = c->ending && c->next_out + len == end && (len || c->next_out == end);
		if (!len && !fin) break;
		if (!send_piece(c, c->next_out, len, fin)) break;
		if (!c->timing && c->next_out == c->last_out) {
			c->timing = 1;
			c->timed_seq = c->next_out + (uint32_t)len;
			c->timed_at_ms = now_ms;
		}
		c->next_out += (uint32_t)len + (uint32_t)fin;
		if (before(c->last_out, c->next_out)) c->last_out = c->next_out;
		if (!c->resend_at_ms) timer_start(c, now_ms);
	}
	/* There is something to say and nothing under way that would bring an answer. */
	if (c->state == TCP_OPEN && !c->resend_at_ms && (before(c->next_out, answer_end(c)))) timer_start(c, now_ms);
}

/* --- what came back --- */

static void measure(struct tcp *c, uint32_t ack, uint64_t now_ms)
{
	unsigned rtt;

	if (!c->timing || before(ack, c->timed_seq)) return;
	c->timing = 0;
	rtt = (unsigned)(now_ms - c->timed_at_ms < MOST_RTO_MS ? now_ms - c->timed_at_ms : MOST_RTO_MS);
	if (!c->srtt_ms) {
		c->srtt_ms = rtt ? rtt : 1;
		c->rttvar_ms = rtt / 2;
	} else {
		unsigned off = rtt > c->srtt_ms ? rtt - c->srtt_ms : c->srtt_ms - rtt;

		c->rttvar_ms = (3 * c->rttvar_ms + off) / 4;
		c->srtt_ms = (7 * c->srtt_ms + rtt + 7) / 8;
	}
	c->rto_ms = c->srtt_ms + 4 * c->rttvar_ms;
	if (c->rto_ms < LEAST_RTO_MS) c->rto_ms = LEAST_RTO_MS;
	if (c->rto_ms > MOST_RTO_MS) c->rto_ms = MOST_RTO_MS;
}

static void grow(struct tcp *c, uint32_t bytes)
{
	if (c->congestion < c->threshold)
		c->congestion += bytes < c->mss ? bytes : c->mss;
	else
		c->congestion += c->mss * c->mss / c->congestion + 1;
	if (c->congestion > 1 << 20) c->congestion = 1 << 20;
}

/* Sends the first thing that is not acknowledged, whatever the windows say. */
static void send_first(struct tcp *c)
{
	uint32_t end = answer_end(c);
	size_t len = before(c->acked, end) ? piece(c, c->acked) : 0;

	send_piece(c, c->acked, len, c->ending && c->acked + len == end);
	c->timing = 0; /* Karn: which of the two is answered is not known */
}

void tcp_acked(struct tcp *c, uint32_t ack, uint64_t now_ms)
{
	uint32_t bytes = ack - c->acked;

	measure(c, ack, now_ms);
	c->acked = ack;
	if (before(c->next_out, ack)) c->next_out = ack;
	c->duplicates = c->resends = 0;
	if (c->recovering && before(ack, c->recover)) {
		/* RFC 6582: the next hole is there. */
		c->congestion = c->congestion > bytes ? c->congestion - bytes + c->mss : c->mss;
		send_first(c);
	} else if (c->recovering) {
		c->recovering = 0;
		c->congestion = c->threshold;
	} else {
		grow(c, bytes);
	}
	c->resend_at_ms = 0;
	if (c->acked != c->last_out) timer_start(c, now_ms);
}

static void halve(struct tcp *c)
{
	uint32_t half = (c->last_out - c->acked) / 2;

	c->threshold = half > 2 * c->mss ? half : 2 * c->mss;
}

void tcp_duplicate_ack(struct tcp *c, uint64_t now_ms)
{
	c->duplicates++;
	if (c->recovering) {
		c->congestion += c->mss;
		tcp_output(c, now_ms);
	} else if (c->duplicates == DUPLICATES && !before(c->acked, c->recover)) {
		halve(c);
		c->recovering = 1;
		c->recover = c->last_out;
		c->congestion = c->threshold + DUPLICATES * c->mss;
		send_first(c);
		timer_start(c, now_ms);
	}
}

int tcp_resend(struct tcp *c, uint64_t now_ms)
{
	if (c->resends++ == MOST_RESENDS) return 0;
	c->rto_ms = c->rto_ms < MOST_RTO_MS / 2 ? 2 * c->rto_ms : MOST_RTO_MS;
	if (c->state == TCP_SYN_RECEIVED) {
		tcp_send_syn(c, now_ms);
		return 1;
	}
	timer_start(c, now_ms);
	c->recovering = 0;
	c->recover = c->last_out;
	c->timing = 0;
	if (!c->window && before(c->acked, answer_end(c))) {
		/* One byte makes the peer say whether it is still closed; it does not count as under way. */
		send_piece(c, c->acked, 1, 0);
		c->next_out = c->acked;
		if (c->last_out == c->acked) c->last_out++;
		return 1;
	}
	halve(c);
	c->congestion = c->mss;
	c->next_out = c->acked;
	tcp_output(c, now_ms);
	return 1;
}

void tcp_send_reset(const struct peer *to, const uint8_t *in, size_t len)
{
	uint8_t frame[LINK_HEAD + TCP_HEAD], *tcp = frame + LINK_HEAD;
	size_t taken = len - (size_t)(in[12] >> 4) * 4 + ((in[13] & FLAG_SYN) != 0) + ((in[13] & FLAG_FIN) != 0);

	put16(tcp, get16(in + 2));
	put16(tcp + 2, get16(in));
	put32(tcp + 4, in[13] & FLAG_ACK ? get32(in + 8) : 0);
	put32(tcp + 8, get32(in + 4) + (uint32_t)taken);
	tcp[12] = TCP_HEAD / 4 << 4;
	tcp[13] = in[13] & FLAG_ACK ? FLAG_RST : FLAG_RST | FLAG_ACK;
	put32(tcp + 14, 0);
	put16(tcp + 18, 0);
	put16(tcp + 16, sum_end(sum_add(sum_pseudo(net.address, to->address, PROTOCOL_TCP, TCP_HEAD), tcp, TCP_HEAD)));
	ip_send(frame, TCP_HEAD, NULL, 0, to, net.address, PROTOCOL_TCP);
}
