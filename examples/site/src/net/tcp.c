/* What TCP receives: who may connect, what is in order, and where a request goes. Only bytes that come in order are
 * kept: requests are short, and the peer sends again what is missing. */
#include "tcp.h"

#include <string.h>

#include "../sha256.h"

enum {
	IDLE_MS = 30000,  /* a connection without an answer under way, and a request that does not become whole */
	STUCK_MS = 60000, /* an answer of which nothing more arrives */
	LEAVE_MS = 20000, /* we have ended our stream and the peer does not end its own */
	TIME_WAIT_MS =
		10000, /* shorter than RFC 9293's 4 minutes: the table is small, and the port is the peer's choice */
};
enum { LEAST_MSS = 88, USUAL_MSS = 536, MOST_SHIFT = 14 };

static struct tcp connections[TCP_CONNECTIONS];

/* RFC 6528: of whom it is with, a secret, and a clock of 4 µs. */
static uint32_t first_seq(const struct peer *from, uint16_t port, uint64_t now_ms)
{
	uint8_t text[sizeof net.options.seed + 6], hash[32];

	memcpy(text, net.options.seed, sizeof net.options.seed);
	put32(text + sizeof net.options.seed, from->address);
	put16(text + sizeof net.options.seed + 4, port);
	sha256(text, sizeof text, hash);
	return get32(hash) + (uint32_t)now_ms * 250;
}

/* --- the table --- */

static struct tcp *find(const struct peer *from, uint16_t port)
{
	for (struct tcp *c = connections; c < connections + TCP_CONNECTIONS; c++)
		if (c->state != TCP_FREE && c->peer_port == port && c->peer.address == from->address) return c;
	return NULL;
}

static int is_idle(const struct tcp *c)
{
	return c->state == TCP_OPEN && !c->in_len && c->acked == answer_end(c);
}

/* How well we can do without it; of equals the one that would be over soonest. */
static int spare(const struct tcp *c)
{
	return c->state == TCP_FREE           ? 4
	       : c->state == TCP_TIME_WAIT    ? 3
	       : c->state == TCP_SYN_RECEIVED ? 2 /* of a flood of them each pushes out an older one */
	       : is_idle(c)                   ? 1
					      : 0;
}

/* Room for one more; NULL: all are at work, and whoever asked will ask again. */
static struct tcp *take(void)
{
	struct tcp *best = NULL;

	for (struct tcp *c = connections; c < connections + TCP_CONNECTIONS; c++) {
		if (!spare(c)) continue;
		if (!best || spare(c) > spare(best) || (spare(c) == spare(best) && c->idle_at_ms < best->idle_at_ms))
			best = c;
	}
	return best;
}

/* --- a segment --- */

struct segment {
	uint32_t seq, ack, window;
	uint16_t port;
	uint8_t flags;
	const uint8_t *data, *options;
	size_t len, options_len;
};

static void read_options(struct tcp *c, const struct segment *s)
{
	c->mss = USUAL_MSS;
	for (size_t i = 0; i < s->options_len && s->options[i];) {
		size_t n;

		if (s->options[i] == 1) { /* padding */
			i++;
			continue;
		}
		if (i + 2 > s->options_len || (n = s->options[i + 1]) < 2 || i + n > s->options_len) break;
		if (s->options[i] == 2 && n == 4) c->mss = get16(s->options + i + 2);
		if (s->options[i] == 3 && n == 3) c->window_shift = s->options[i + 2];
		i += n;
	}
	if (c->mss > TCP_OUR_MSS) c->mss = TCP_OUR_MSS;
	if (c->mss < LEAST_MSS) c->mss = LEAST_MSS;
	if (c->window_shift > MOST_SHIFT) c->window_shift = MOST_SHIFT;
}

static void open_one(const struct peer *from, const struct segment *s, uint64_t now_ms)
{
	struct tcp *c = take();
	uint32_t first = first_seq(from, s->port, now_ms);

	if (!c) return;
	memset(c, 0, sizeof *c);
	c->state = TCP_SYN_RECEIVED;
	c->peer = *from;
	c->peer_port = s->port;
	c->next_in = s->seq + 1;
	c->acked = first;
	c->answer_at = c->next_out = c->last_out = c->recover = first + 1;
	c->idle_at_ms = now_ms + IDLE_MS;
	c->threshold = 1 << 20;
	read_options(c, s);
	c->window = s->window;
	c->window_seq = s->seq;
	c->window_ack = first;
	c->congestion = 10 * c->mss;
	tcp_send_syn(c, now_ms);
}

/* Both sides have said all. */
static void finish(struct tcp *c, uint64_t now_ms)
{
	c->state = TCP_TIME_WAIT;
	c->resend_at_ms = 0;
	c->idle_at_ms = now_ms + TIME_WAIT_MS;
}

static int all_is_acked(const struct tcp *c)
{
	return c->acked == answer_end(c) + (uint32_t)(c->ending != 0);
}

/* For how long nothing may happen. A request that comes in crumbs gets no more time by them. */
static void patience(struct tcp *c, uint64_t now_ms)
{
	c->idle_at_ms = now_ms + (c->acked != answer_end(c) ? STUCK_MS : c->ending ? LEAVE_MS : IDLE_MS);
}

/* Answers what was asked, one after the other: the next when the one before has arrived whole. */
static void serve(struct tcp *c, uint64_t now_ms)
{
	uint32_t at = answer_end(c);

	if (!c->ending && c->acked == at) {
		c->answer_at = at;
		if (c->in_len && http_next(c->in, c->in_len, NULL, 0, &c->answer)) {
			c->in_len -= c->answer.consumed;
			memmove(c->in, c->in + c->answer.consumed, c->in_len);
			c->ending = c->answer.close;
			patience(c, now_ms);
		} else {
			c->answer.head_len = c->answer.body_len = 0;
			c->ending = c->peer_ended; /* nobody will ask more */
		}
		if (c->ending) c->in_len = 0;
	}
	tcp_output(c, now_ms);
}

/* Returns 0 where the segment's acknowledgement makes it worth nothing. */
static int take_ack(struct tcp *c, const struct segment *s, uint64_t now_ms)
{
	if (before(c->last_out, s->ack)) { /* of what was never sent */
		tcp_send_ack(c);
		return 0;
	}
	if (before(s->ack, c->acked)) return 1; /* old */
	if (s->ack == c->acked && !s->len && !(s->flags & FLAG_FIN) && s->window == c->window && c->window &&
	    c->acked != c->last_out)
		tcp_duplicate_ack(c, now_ms);
	if (before(c->window_seq, s->seq) || (c->window_seq == s->seq && !before(s->ack, c->window_ack))) {
		c->window = s->window;
		c->window_seq = s->seq;
		c->window_ack = s->ack;
	}
	if (s->ack != c->acked) {
		tcp_acked(c, s->ack, now_ms);
		patience(c, now_ms);
	}
	return 1;
}

/* Keeps what of the segment is new and in order; where that is nothing, the peer is told what was expected. */
static void take_data(struct tcp *c, struct segment *s)
{
	uint32_t old = c->next_in - s->seq;
	size_t space = c->ending ? HTTP_HEAD_MAX : HTTP_HEAD_MAX - c->in_len;
	int fin = (s->flags & FLAG_FIN) != 0;

	if (!s->len && !fin) return;
	if (before(c->next_in, s->seq) || old > s->len || (old == s->len && !fin) || c->peer_ended) {
		tcp_send_ack(c);
		return;
	}
	s->data += old;
	s->len -= old;
	if (s->len > space) {
		s->len = space;
		fin = 0;
	}
	if (!c->ending) {
		memcpy(c->in + c->in_len, s->data, s->len);
		c->in_len += s->len;
	}
	c->next_in += (uint32_t)s->len + (uint32_t)fin;
	c->peer_ended = fin;
}

/* A blind attacker can guess a window, not a number (RFC 5961). */
static void take_reset(struct tcp *c, const struct segment *s)
{
	if (s->seq == c->next_in)
		c->state = TCP_FREE;
	else if (s->seq - c->next_in < HTTP_HEAD_MAX)
		tcp_send_ack(c);
}

static void known(struct tcp *c, const struct peer *from, struct segment *s, uint64_t now_ms)
{
	uint32_t sent, in;

	if (s->flags & FLAG_RST) {
		take_reset(c, s);
		return;
	}
	if (s->flags & FLAG_SYN) {
		if (c->state == TCP_SYN_RECEIVED && s->seq + 1 == c->next_in)
			tcp_send_syn(c, now_ms); /* ours was lost */
		else if (c->state == TCP_TIME_WAIT && before(c->next_in, s->seq)) {
			c->state = TCP_FREE;
			open_one(from, s, now_ms);
		} else
			tcp_send_ack(c);
		return;
	}
	if (!(s->flags & FLAG_ACK)) return;
	if (c->state == TCP_SYN_RECEIVED) {
		if (s->ack != c->next_out) return;
		c->state = TCP_OPEN;
		c->acked = s->ack;
		c->resend_at_ms = c->resends = 0;
		c->window = s->window << c->window_shift;
		c->window_seq = s->seq;
		c->window_ack = s->ack;
	}
	s->window <<= c->window_shift;
	c->peer = *from; /* the way to it may have changed */
	if (c->state == TCP_TIME_WAIT) {
		if (s->len || s->flags & FLAG_FIN) tcp_send_ack(c);
		return;
	}
	if (!take_ack(c, s, now_ms)) return;
	sent = c->last_out;
	in = c->next_in;
	take_data(c, s);
	serve(c, now_ms);
	if (c->ending && c->peer_ended && all_is_acked(c)) finish(c, now_ms);
	/* What was sent just now has acknowledged it as well. */
	if (in != c->next_in && sent == c->last_out) tcp_send_ack(c);
}

void tcp_input(const struct peer *from, const uint8_t *tcp, size_t len, int checked, uint64_t now_ms)
{
	struct segment s;
	struct tcp *c;
	size_t head;

	if (len < TCP_HEAD || (head = (size_t)(tcp[12] >> 4) * 4) < TCP_HEAD || head > len) return;
	if (!checked && sum_end(sum_add(sum_pseudo(from->address, net.address, PROTOCOL_TCP, len), tcp, len))) return;
	s = (struct segment){.seq = get32(tcp + 4),
			     .ack = get32(tcp + 8),
			     .window = get16(tcp + 14),
			     .port = get16(tcp),
			     .flags = tcp[13],
			     .data = tcp + head,
			     .options = tcp + TCP_HEAD,
			     .len = len - head,
			     .options_len = head - TCP_HEAD};
	if (get16(tcp + 2) != net.options.port) {
		if (!(s.flags & FLAG_RST)) tcp_send_reset(from, tcp, len);
		return;
	}
	c = find(from, s.port);
	if (c)
		known(c, from, &s, now_ms);
	else if ((s.flags & (FLAG_SYN | FLAG_ACK | FLAG_RST | FLAG_FIN)) == FLAG_SYN)
		open_one(from, &s, now_ms);
	else if (!(s.flags & FLAG_RST))
		tcp_send_reset(from, tcp, len);
}

void tcp_forget(void)
{
	memset(connections, 0, sizeof connections);
}

/* --- time --- */

static void idle_is_over(struct tcp *c, uint64_t now_ms)
{
	if (is_idle(c) && !c->ending) {
		c->ending = 1;
		c->idle_at_ms = now_ms + LEAVE_MS;
		tcp_output(c, now_ms);
	} else {
		c->state = TCP_FREE;
	}
}

uint64_t tcp_turn(uint64_t now_ms)
{
	uint64_t next = now_ms + IDLE_MS;

	for (struct tcp *c = connections; c < connections + TCP_CONNECTIONS; c++) {
		if (c->state == TCP_FREE) continue;
		if (c->resend_at_ms && now_ms >= c->resend_at_ms && !tcp_resend(c, now_ms)) c->state = TCP_FREE;
		if (c->state != TCP_FREE && now_ms >= c->idle_at_ms) idle_is_over(c, now_ms);
		if (c->state == TCP_OPEN) tcp_output(c, now_ms); /* the card may have had no room before */
		if (c->state == TCP_FREE) continue;
		if (c->resend_at_ms && c->resend_at_ms < next) next = c->resend_at_ms;
		if (c->idle_at_ms < next) next = c->idle_at_ms;
	}
	return next;
}
