#ifndef RUNNER_PUBLISH_MEMBERS_H
#define RUNNER_PUBLISH_MEMBERS_H

#include <stddef.h>
#include <stdint.h>

/* What is packed in a file, as a stream of records: a process that knows no secret unpacks (`runner members`, shut in
 * by a system call filter), the publisher looks at what comes. Archives in archives, and compressed streams in the
 * middle of a file (assets in a program), as far as libarchive reads them.
 *
 *   record: kind (1 byte), depth (1 byte), 0 0, length (4 bytes, little endian), payload
 *     'B'  a member of the file (depth 1) or of the member that is open at depth - 1 begins; payload: its name
 *     'D'  bytes of the member that is open at this depth
 *     'L'  a limit was reached: the rest was not unpacked */
enum {
	MEMBERS_HEADER = 8,
	MEMBERS_MAX_DEPTH = 6,
	MEMBERS_MAX_PAYLOAD = 1 << 16,
	MEMBERS_MAX_NAME = 1000,
};

/* members_write - unpack `fd`, a regular file, and write records to `out`.
 *  out  0: all that could be read was; -1: it could not be read, or `out` was closed */
int members_write(int fd, int out, uint64_t most_bytes);

/* members_confine - from here on this process can read and write what is open, and no more. */
void members_confine(void);

struct members_record {
	unsigned char kind;
	unsigned depth;
	size_t len;
};
/* members_header - a record's header. in: the deepest member that is open. -1: it is none, or out of turn */
int members_header(const unsigned char head[MEMBERS_HEADER], unsigned open_depth, struct members_record *r);

#endif
