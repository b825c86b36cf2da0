/* Server-sent events on libmicrohttpd. A stream is
 *
 *   asked (its source has something) → sent → suspended (nothing new) → resumed by a poke or a beat → asked …
 *
 * A suspended connection is not watched by the library: that its peer has gone is seen by looking, every PEEK_MS. */
#include "runner/web/stream.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/fs.h"

enum {
	PEEK_MS = 2000,
	MAX_SAID = 1 << 20,
	SEND_BUFFER = 64 << 10, /* the kernel would keep megabytes for a peer that reads nothing */
};

struct stream {
	struct streams *all;
	struct stream *next;
	struct MHD_Connection *connection;
	const struct stream_source *source;
	void *state;
	struct buf said;
	size_t sent; /* of said */
	int64_t begun_mono_ms, said_mono_ms;
	int fd;
	int suspended, is_last, has_ended;
};

struct streams {
	struct loop *loop;
	struct stream *first;
	size_t n;
	uint64_t timer;
	void (*turn)(void *arg);
	void *arg;
};

/* A comment for the peer, long enough that curl's --speed-limit of one byte a second is content with it. */
static const char beat[] = ": nothing is new, the line is up\n\n";

static void resume(struct stream *s)
{
	if (!s->suspended) return;
	s->suspended = 0;
	MHD_resume_connection(s->connection);
}

static void ask(struct stream *s)
{
	int64_t now = clock_mono_ms();

	buf_clear(&s->said);
	s->sent = 0;
	s->is_last |= s->source->next(s->state, &s->said) || now - s->begun_mono_ms > STREAM_LIFE_S * 1000LL;
	if (!s->said.len && !s->is_last && now - s->said_mono_ms >= STREAM_BEAT_S * 1000LL) buf_adds(&s->said, beat);
	if (s->said.len) s->said_mono_ms = now;
}

static ssize_t read_stream(void *cls, uint64_t pos, char *to, size_t max)
{
	struct stream *s = cls;
	size_t n;

	(void)pos;
	if (s->has_ended) return MHD_CONTENT_READER_END_OF_STREAM;
	if (s->sent == s->said.len && !s->is_last) ask(s);
	n = s->said.len - s->sent;
	if (!n && s->is_last) return MHD_CONTENT_READER_END_OF_STREAM;
	if (!n) {
		s->suspended = 1;
		MHD_suspend_connection(s->connection);
		return 0;
	}
	if (n > max) n = max;
	memcpy(to, s->said.data + s->sent, n);
	s->sent += n;
	return (ssize_t)n;
}

static void free_stream(void *cls)
{
	struct stream *s = cls;

	for (struct stream **p = &s->all->first; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			s->all->n--;
			break;
		}
	s->source->release(s->state);
	buf_release(&s->said);
	free(s);
}

static int is_gone(const struct stream *s)
{
	char byte;
	ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void look(void *arg)
{
	struct streams *all = arg;
	int64_t now = clock_mono_ms();

	all->timer = loop_timer(all->loop, PEEK_MS, look, all);
	for (struct stream *s = all->first; s; s = s->next) {
		if (!s->suspended) continue;
		s->has_ended = is_gone(s);
		if (s->has_ended || now - s->said_mono_ms >= STREAM_BEAT_S * 1000LL) resume(s);
	}
	all->turn(all->arg);
}

static void turn(void *arg)
{
	struct streams *all = arg;

	all->turn(all->arg);
}

/* The library takes notice in its next turn, which is not to be inside of another one. */
void streams_poke(struct streams *all)
{
	if (!all->first) return;
	for (struct stream *s = all->first; s; s = s->next) resume(s);
	loop_timer(all->loop, 0, turn, all);
}

void streams_end(struct streams *all)
{
	for (struct stream *s = all->first; s; s = s->next) {
		s->has_ended = 1;
		resume(s);
	}
	all->turn(all->arg);
}

struct streams *streams_new(struct loop *l, void (*on_turn)(void *arg), void *arg)
{
	struct streams *all = xcalloc(1, sizeof(*all));

	*all = (struct streams){.loop = l, .turn = on_turn, .arg = arg};
	all->timer = loop_timer(l, PEEK_MS, look, all);
	return all;
}

void streams_free(struct streams **ap)
{
	if (!*ap) return;
	loop_timer_cancel((*ap)->loop, (*ap)->timer);
	free_p(ap);
}

int streams_full(const struct streams *all)
{
	return all->n >= STREAM_MOST;
}

/* The server's idle limit is for those who ask; here it is how long a peer may take nothing. */
static void set_limits(struct stream *s)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(s->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	int bytes = SEND_BUFFER, stall_ms = STREAM_STALL_S * 1000;

	s->fd = info ? info->connect_fd : -1;
	setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(s->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall_ms, sizeof(stall_ms));
	MHD_set_connection_option(s->connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)STREAM_STALL_S);
}

void *streams_open(struct streams *all, void *connection, const struct stream_source *source, void *state)
{
	struct stream *s = xcalloc(1, sizeof(*s));
	struct MHD_Response *resp;

	*s = (struct stream){.all = all,
			     .next = all->first,
			     .connection = connection,
			     .source = source,
			     .state = state,
			     .said = BUF_INIT(MAX_SAID),
			     .begun_mono_ms = clock_mono_ms()};
	set_limits(s);
	all->first = s;
	all->n++;
	resp = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_stream, s, free_stream);
	if (!resp) die("out of memory for an answer");
	return resp;
}
