/* site.tap NAME ADDRESS|dhcp PORT [LOSS] - the unikernel's TCP/IP on a Linux tap device, so that it can be tried
 * against a real TCP without a hypervisor, under sanitizers and with LOSS of 100 frames lost in each direction, as many
 * sent twice. Not part of any image. Ends on SIGTERM or when its standard input ends. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

static int tap;
static unsigned long loss;

/* xorshift: the same losses in each run. */
static int chance(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % 100 < loss;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int send_frame(const void *head, size_t head_len, const void *data, size_t data_len)
{
	const struct iovec parts[2] = {{(void *)(uintptr_t)head, head_len}, {(void *)(uintptr_t)data, data_len}};

	if (chance()) return 1;
	if (chance() && writev(tap, parts, 2) < 0) return 0;
	return writev(tap, parts, 2) > 0;
}

static void tap_open(const char *name)
{
	struct ifreq want = {.ifr_flags = IFF_TAP | IFF_NO_PI};

	snprintf(want.ifr_name, sizeof want.ifr_name, "%s", name);
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap >= 0 && !ioctl(tap, TUNSETIFF, &want)) return;
	fprintf(stderr, "site.tap: cannot open tap '%s': %s\n", name, strerror(errno));
	exit(1);
}

int main(int argc, char **argv)
{
	struct net_options o = {0};
	struct net_link link = {.mac = {0x00, 0x16, 0x3e, 0, 0, 1}, .send = send_frame};
	uint8_t frame[2048];
	uint32_t told = 0;

	if (argc < 4 || argc > 5) {
		fprintf(stderr, "usage: site.tap NAME ADDRESS|dhcp PORT [LOSS]\n");
		return 2;
	}
	o.address = net_parse_address(argv[2]);
	o.port = (uint16_t)strtoul(argv[3], NULL, 10);
	loss = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	if (getrandom(o.seed, sizeof o.seed, 0) != sizeof o.seed) return 1;
	tap_open(argv[1]);
	net_init(&link, &o, now_ms());
	for (;;) {
		struct pollfd pf[2] = {{.fd = tap, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
		uint64_t at = net_turn(now_ms()), now = now_ms();
		uint32_t address = net_address();
		ssize_t n;

		if (address != told) {
			printf("serving at %u.%u.%u.%u:%u\n", address >> 24, address >> 16 & 255, address >> 8 & 255,
			       address & 255, o.port);
			fflush(stdout);
			told = address;
		}
		if (poll(pf, 2, at > now ? (int)(at - now) : 0) < 0 && errno != EINTR) return 1;
		if (pf[1].revents) return 0;
		while ((n = read(tap, frame, sizeof frame)) > 0)
			for (int times = chance() ? 0 : chance() ? 2 : 1; times; times--)
				net_input(frame, (size_t)n, 0, now_ms());
	}
}
