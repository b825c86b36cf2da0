/* From the script's network to the image and nowhere else: each connection to the listening socket gets one of its own
 * to what the image serves, and bytes go both ways until both are done. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/publish/check_parts.h"

enum { MOST_CONNECTIONS = 256, CHUNK = 16384 };

struct side {
	int fd;
	int ended;       /* it said all: what is in data is the last of it */
	size_t from, to; /* what came from it and is not sent on yet */
	char data[CHUNK];
};

struct pair {
	struct relay *relay;
	struct side side[2]; /* script, image */
	int connecting;
};

struct relay {
	struct loop *loop;
	struct trial *trial;
	int listen;
	struct pair *pairs[MOST_CONNECTIONS];
};

static void drop(struct relay *r, size_t i)
{
	struct pair *p = r->pairs[i];

	if (!p) return;
	for (size_t k = 0; k < 2; k++) {
		loop_fd_remove(r->loop, p->side[k].fd);
		close_p(&p->side[k].fd);
	}
	free(p);
	r->pairs[i] = NULL;
}

static size_t place_of(const struct relay *r, const struct pair *p)
{
	size_t i = 0;

	while (r->pairs[i] != p) i++;
	return i;
}

static void on_side(int fd, short revents, void *arg);

static void watch(struct pair *p)
{
	for (size_t k = 0; k < 2; k++) {
		const struct side *s = &p->side[k], *other = &p->side[!k];
		short events = 0;

		if (!s->ended && s->from == s->to && !p->connecting) events |= POLLIN;
		if (other->from < other->to || (k == 1 && p->connecting)) events |= POLLOUT;
		/* One that has nothing to do would be called for its hang-up again and again. */
		if (events)
			loop_fd(p->relay->loop, s->fd, events, on_side, p);
		else
			loop_fd_remove(p->relay->loop, s->fd);
	}
}

/* As much as goes now, from one side to the other. -1: the connection is broken */
static int carry(struct side *from, struct side *to)
{
	ssize_t n;

	if (from->from == from->to && !from->ended) {
		n = recv(from->fd, from->data, CHUNK, MSG_DONTWAIT);
		if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
		from->from = 0;
		from->to = (size_t)n;
		if (n == 0) {
			from->ended = 1;
			return shutdown(to->fd, SHUT_WR) && errno != ENOTCONN ? -1 : 0;
		}
	}
	if (from->from == from->to) return 0;
	n = send(to->fd, from->data + from->from, from->to - from->from, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
	from->from += (size_t)n;
	return 0;
}

static void on_side(int fd, short revents, void *arg)
{
	struct pair *p = arg;
	struct relay *r = p->relay;
	socklen_t len = sizeof(int);
	int why = 0, broken = 0;

	(void)revents;
	if (p->connecting) {
		if (fd != p->side[1].fd) return;
		broken = getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) || why;
		p->connecting = 0;
	}
	broken = broken || carry(&p->side[0], &p->side[1]) || carry(&p->side[1], &p->side[0]);
	if (broken || (p->side[0].ended && p->side[1].ended))
		drop(r, place_of(r, p));
	else
		watch(p);
}

static void on_connection(int fd, short revents, void *arg)
{
	struct relay *r = arg;
	_cleanup_close_ int theirs = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), image = -1;
	struct pair *p;
	struct err ignored; /* the script sees a connection that is closed at once */
	size_t i = 0;

	(void)revents;
	while (i < MOST_CONNECTIONS && r->pairs[i]) i++;
	if (theirs < 0 || i == MOST_CONNECTIONS || trial_connect(r->trial, &image, &ignored)) return;
	if (connect(image, (const struct sockaddr *)&r->trial->address, sizeof(r->trial->address)) &&
	    errno != EINPROGRESS)
		return;
	p = r->pairs[i] = xcalloc(1, sizeof(*p));
	p->relay = r;
	p->connecting = 1;
	p->side[0].fd = theirs;
	p->side[1].fd = image;
	theirs = image = -1;
	watch(p);
}

struct relay *relay_new(struct loop *loop, int listen_fd, struct trial *t)
{
	struct relay *r = xcalloc(1, sizeof(*r));

	r->loop = loop;
	r->trial = t;
	r->listen = listen_fd;
	loop_fd(loop, listen_fd, POLLIN, on_connection, r);
	return r;
}

void relay_free(struct relay **rp)
{
	struct relay *r = *rp;

	if (!r) return;
	for (size_t i = 0; i < MOST_CONNECTIONS; i++) drop(r, i);
	loop_fd_remove(r->loop, r->listen);
	close_p(&r->listen);
	free(r);
	*rp = NULL;
}
