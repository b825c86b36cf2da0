#ifndef SITE_NET_TCP_H
#define SITE_NET_TCP_H

#include <stddef.h>
#include <stdint.h>

#include "../http.h"
#include "wire.h"

/* Shared by tcp*.c: the table of connections. A connection's output is the stream of its answers; what was sent is read
 * again from the answer where it must be sent again, so there is no send buffer. */

enum {
	TCP_HEAD = 20,
	TCP_CONNECTIONS = 128,
	TCP_OUR_MSS = 1460,
	FLAG_FIN = 1,
	FLAG_SYN = 2,
	FLAG_RST = 4,
	FLAG_PSH = 8,
	FLAG_ACK = 16,
};

enum tcp_state {
	TCP_FREE,
	TCP_SYN_RECEIVED,
	TCP_OPEN,      /* either side may have ended its stream: peer_ended, ending */
	TCP_TIME_WAIT, /* all is said; late segments are still answered */
};

struct tcp {
	enum tcp_state state;
	struct peer peer;
	uint16_t peer_port;

	/* in: what came and was not answered yet */
	uint32_t next_in; /* the sequence number expected next */
	int peer_ended;
	size_t in_len;
	char in[HTTP_HEAD_MAX];

	/* out: the answer under way covers [answer_at, answer_at + its length), our FIN comes after it */
	struct http_answer answer;
	uint32_t answer_at;
	int ending;                         /* no answer comes after this one */
	uint32_t acked, next_out, last_out; /* last_out: next_out at its highest; after a loss next_out goes back */
	uint32_t window, window_seq, window_ack;
	unsigned window_shift, mss;

	/* congestion, RFC 5681 and 6582 */
	uint32_t congestion, threshold, recover;
	unsigned duplicates;
	int recovering;

	/* the retransmission timer, RFC 6298; 0: off */
	uint64_t resend_at_ms, idle_at_ms, timed_at_ms;
	uint32_t timed_seq;
	unsigned srtt_ms, rttvar_ms, rto_ms, resends;
	int timing;
};

/* a is before b in the circle of sequence numbers */
static inline int before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline uint32_t answer_end(const struct tcp *c)
{
	return c->answer_at + (uint32_t)(c->answer.head_len + c->answer.body_len);
}

/* --- tcp_out.c --- */

void tcp_output(struct tcp *c, uint64_t now_ms); /* sends what the windows allow */
void tcp_send_ack(struct tcp *c);
void tcp_send_syn(struct tcp *c, uint64_t now_ms); /* SYN and ACK; again, where it was lost */
void tcp_acked(struct tcp *c, uint32_t ack, uint64_t now_ms);
void tcp_duplicate_ack(struct tcp *c, uint64_t now_ms);
/* The timer has run out. Returns 0 where the peer is given up. */
int tcp_resend(struct tcp *c, uint64_t now_ms);
/* To a segment that belongs to no connection. */
void tcp_send_reset(const struct peer *to, const uint8_t *segment, size_t len);

#endif
