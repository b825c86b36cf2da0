#ifndef RUNNER_WEB_STREAM_H
#define RUNNER_WEB_STREAM_H

#include "lib/buf.h"
#include "lib/loop.h"

/* Answers that do not end: server-sent events. What is to be said is asked of its source when the peer has taken what
 * was said before, so nothing is queued for a slow peer; one that takes nothing for STREAM_STALL_S is dropped. A peer
 * that is gone is noticed within seconds, and each is told something every STREAM_BEAT_S, so that it notices too. */

enum {
	STREAM_MOST = 128, /* of HTTP_MAX_CONNECTIONS */
	STREAM_BEAT_S = 15,
	STREAM_STALL_S = 20,
	STREAM_LIFE_S = 3600, /* then it ends, and a peer that wants more comes again */
};

struct stream_source {
	int (*next)(void *state, struct buf *out); /* adds what is new, perhaps nothing; 1: this is the end */
	void (*release)(void *state);
};

struct streams;
struct streams *streams_new(struct loop *l, void (*turn)(void *arg), void *arg);
void streams_free(struct streams **s); /* after streams_end and the server's own end */
/* Each is asked whether there is something new. */
void streams_poke(struct streams *s);
/* All of them end; needed before the server is stopped. */
void streams_end(struct streams *s);
int streams_full(const struct streams *s);
/* streams_open - an MHD_Response, to be queued on this MHD_Connection. Takes state. */
void *streams_open(struct streams *s, void *connection, const struct stream_source *source, void *state);

#endif
