#ifndef RUNNER_SANDBOX_PROTO_H
#define RUNNER_SANDBOX_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/vec.h"

/* What a job's leader and the first process of its box say to each other: one record a packet over a
 * SOCK_SEQPACKET pair: a head {op, count of strings, length of the body, four numbers}, then the strings, each with
 * its NUL. Descriptors go beside it. Every request but STOP and KILL is answered by OK or FAIL; FILE comes any
 * number of times before the OK of a COLLECT. What may be asked when is a table in box.c. */

enum box_op {
	BOX_SETUP,    /* n: flags, fsize, nproc, disk; s: data folder, layers…; fds: init [data, layers…] → OK */
	BOX_RULES,    /* s: what its network does not reach, for nft; before the setup of one with a network */
	BOX_PUT_FILE, /* n: mode; s: path; fds: bytes */
	BOX_PUT_TAR,  /* s: path; fds: tar stream */
	BOX_PUT_GIT,  /* n: depth, 0: all; s: path, commit, tags…; fds: a git-upload-pack */
	BOX_PUT_TREE, /* s: path, name below the trees' folder; fds: it as a detached mount, or none */
	BOX_START,    /* n: grace ms, 1: ahead; s: folder to make, or none; fds: in, out, end pipe, what to run
			 (runner/sandbox/init/init.h) */
	BOX_GO,       /* s: folder to make; what was started ahead goes on, by what is written to its pipe */
	BOX_STOP,
	BOX_KILL,
	BOX_OFFLINE,   /* no network from here on */
	BOX_COLLECT,   /* s: root, glob */
	BOX_PUT_CACHE, /* n: most bytes, packed, files; s: source folder, folders…; fds: archive, pipe, runner
			  (boxcache.h) */
	BOX_GET_CACHE, /* likewise; s: mark, folders… */
	BOX_CONNECT,   /* n: port → OK with the socket */
	BOX_SOCKET,    /* → OK with a TCP socket of the box's network */
	BOX_TAP,       /* n: for a bad line → OK with a tap of the box's network */
	BOX_LINE,      /* n: delay ms, loss ppm, rate bit/s, on the tap's line */
	BOX_LINE_SHOW, /* n: the tap's line → OK with a file: its statistics */
	BOX_OK,
	BOX_FAIL, /* n: kind, errno; s: text */
	BOX_FILE, /* n: mode, size; s: path; fds: the file */
	BOX_OPS,  /* how many there are */
};

const char *box_op_name(enum box_op op);

enum { BOX_SETUP_NETWORK = 1, BOX_SETUP_TREES = 2 /* the last string is the folder of prepared trees */ };

enum { PROTO_MAX_FDS = 130, PROTO_MAX_BODY = 65536, PROTO_NUMBERS = 4 };

struct proto_msg {
	enum box_op op;
	int64_t n[PROTO_NUMBERS];
	struct vec s;
	int fds[PROTO_MAX_FDS];
	size_t nfds;
};

void proto_msg_init(struct proto_msg *m, enum box_op op);
void proto_msg_release(struct proto_msg *m);          /* closes the descriptors that are still in it */
int proto_msg_take_fd(struct proto_msg *m, size_t i); /* now the caller's; -1 if there is none */

/* proto_send - the descriptors in m are borrowed and stay open. err ERR_SYS; EPIPE: the other side is gone */
int proto_send(int sock, const struct proto_msg *m, struct err *e) MUST_USE;

/* proto_recv - the next record, blocking.
 *  out  m_r  released by the caller; untouched unless 0 is returned
 *  ret  0; 1 the other side closed; -1 err ERR_SYS, ERR_INPUT a record that breaks the rules above */
int proto_recv(int sock, struct proto_msg *m_r, struct err *e) MUST_USE;

/* proto_parse - the bytes of one packet; sets all of m_r but its descriptors. err ERR_INPUT */
int proto_parse(const void *bytes, size_t len, struct proto_msg *m_r, struct err *e) MUST_USE;

/* What the box writes to the end pipe, once, when a container has ended. */
enum box_end_how {
	BOX_END_EXITED,      /* code: status */
	BOX_END_SIGNALLED,   /* code: signal */
	BOX_END_NOT_STARTED, /* text says why */
};
struct box_end {
	enum box_end_how how;
	int code;
	int over_disk; /* 1: it was killed for what it wrote */
	char text[600];
};

#endif
