/* Records between a leader and its box. The box's first process is our own code, but it stands nearer to strangers:
 * the leader checks every record as if anybody had sent it. */
#include "runner/sandbox/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"

struct head {
	uint32_t op;
	uint32_t strings;
	uint32_t body_len;
	uint32_t zero;
	int64_t n[PROTO_NUMBERS];
};

static const char *const op_names[BOX_OPS] = {
	[BOX_SETUP] = "setup",
	[BOX_PUT_FILE] = "put-file",
	[BOX_PUT_TAR] = "put-tar",
	[BOX_PUT_GIT] = "put-git",
	[BOX_START] = "start",
	[BOX_STOP] = "stop",
	[BOX_KILL] = "kill",
	[BOX_COLLECT] = "collect",
	[BOX_CONNECT] = "connect",
	[BOX_RULES] = "rules",
	[BOX_OFFLINE] = "offline",
	[BOX_OK] = "ok",
	[BOX_FAIL] = "fail",
	[BOX_FILE] = "file",
	[BOX_PUT_TREE] = "put-tree",
	[BOX_PUT_CACHE] = "put-cache",
	[BOX_GET_CACHE] = "get-cache",
	[BOX_SOCKET] = "socket",
	[BOX_TAP] = "tap",
	[BOX_LINE] = "line",
	[BOX_LINE_SHOW] = "line-show",
	[BOX_GO] = "go",
};

const char *box_op_name(enum box_op op)
{
	return op < BOX_OPS ? op_names[op] : "unknown";
}

void proto_msg_init(struct proto_msg *m, enum box_op op)
{
	*m = (struct proto_msg){.op = op};
}

void proto_msg_release(struct proto_msg *m)
{
	for (size_t i = 0; i < m->nfds; i++) close_p(&m->fds[i]);
	m->nfds = 0;
	vec_release(&m->s);
}

int proto_msg_take_fd(struct proto_msg *m, size_t i)
{
	int fd = i < m->nfds ? m->fds[i] : -1;

	if (fd >= 0) m->fds[i] = -1;
	return fd;
}

int proto_send(int sock, const struct proto_msg *m, struct err *e)
{
	_cleanup_buf_ struct buf bytes = BUF_INIT(sizeof(struct head) + PROTO_MAX_BODY);
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(PROTO_MAX_FDS * sizeof(int))];
	} control = {0};
	struct head h = {.op = (uint32_t)m->op, .strings = (uint32_t)m->s.len};
	struct iovec iov;
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	memcpy(h.n, m->n, sizeof(h.n));
	buf_add(&bytes, &h, sizeof(h));
	for (size_t i = 0; i < m->s.len; i++) buf_add(&bytes, m->s.items[i], strlen(m->s.items[i]) + 1);
	if (bytes.overflow || m->nfds > PROTO_MAX_FDS)
		return err_set(e, ERR_INPUT, "cannot ask the box to %s: too much at once", box_op_name(m->op));
	((struct head *)(void *)bytes.data)->body_len = (uint32_t)(bytes.len - sizeof(h));
	iov = (struct iovec){bytes.data, bytes.len};
	if (m->nfds) {
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(m->nfds * sizeof(int));
		control.align = (struct cmsghdr){CMSG_LEN(m->nfds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.align), m->fds, m->nfds * sizeof(int));
	}
	do n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(e, "cannot send '%s' to the other side of the box", box_op_name(m->op)) : 0;
}

int proto_parse(const void *bytes, size_t len, struct proto_msg *m_r, struct err *e)
{
	const char *body = (const char *)bytes + sizeof(struct head), *end = (const char *)bytes + len;
	struct head h;

	if (len < sizeof(h)) return err_set(e, ERR_INPUT, "a record of %zu bytes", len);
	memcpy(&h, bytes, sizeof(h));
	if (h.op >= BOX_OPS) return err_set(e, ERR_INPUT, "a record of the unknown kind %u", h.op);
	if (h.zero || h.body_len != len - sizeof(h) || h.strings > h.body_len || (h.body_len && end[-1]))
		return err_set(e, ERR_INPUT, "a broken '%s' record", op_names[h.op]);
	m_r->op = (enum box_op)h.op;
	memcpy(m_r->n, h.n, sizeof(h.n));
	vec_release(&m_r->s);
	while (body < end) {
		vec_add(&m_r->s, body);
		body += strlen(body) + 1;
	}
	if (m_r->s.len == h.strings) return 0;
	vec_release(&m_r->s);
	return err_set(e, ERR_INPUT, "a '%s' record with the wrong count of strings", op_names[h.op]);
}

/* Takes all descriptors out of a received message; -1 when some did not fit. */
static int take_fds(struct msghdr *msg, struct proto_msg *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (m->nfds < PROTO_MAX_FDS)
				m->fds[m->nfds++] = fd;
			else
				close(fd);
		}
	}
	return msg->msg_flags & (MSG_CTRUNC | MSG_TRUNC) ? -1 : 0;
}

int proto_recv(int sock, struct proto_msg *m_r, struct err *e)
{
	_cleanup_free_ char *bytes = xmalloc(sizeof(struct head) + PROTO_MAX_BODY);
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(PROTO_MAX_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {bytes, sizeof(struct head) + PROTO_MAX_BODY};
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control)};
	struct proto_msg m;
	ssize_t n;

	proto_msg_init(&m, BOX_OK);
	do n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != ECONNRESET) return err_sys(e, "cannot read from the other side of the box");
	if (n <= 0) return 1;
	if (take_fds(&msg, &m)) {
		proto_msg_release(&m);
		return err_set(e, ERR_INPUT, "a record that is too large");
	}
	if (proto_parse(bytes, (size_t)n, &m, e)) {
		proto_msg_release(&m);
		return -1;
	}
	*m_r = m;
	return 0;
}
