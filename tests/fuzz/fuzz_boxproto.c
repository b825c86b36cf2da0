/* Records between a leader and its box: what is accepted, is what would be sent again. */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runner/sandbox/proto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int pair[2] = {-1, -1};
	static char again[1 << 17];
	struct proto_msg m;
	struct err e;
	ssize_t n;

	if (pair[0] < 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair)) return 0;
	proto_msg_init(&m, BOX_OK);
	if (!proto_parse(data, size, &m, &e) && !proto_send(pair[0], &m, &e)) {
		n = read(pair[1], again, sizeof(again));
		if (n != (ssize_t)size || memcmp(again, data, size)) __builtin_trap();
	}
	proto_msg_release(&m);
	return 0;
}
