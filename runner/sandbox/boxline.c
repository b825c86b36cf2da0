/* The line to what a box serves: sockets of its network, a tap for a machine that runs outside of it, and a bad line in
 * between, by tc.
 *
 *   a program in the box    lo, whose packets go one way each
 *   a machine               the leader ── 10.0.2.2 tap0 ── machine; where the line is to be bad, with a pair between
 *                           them: line1 10.0.2.2 ══ line0 ── br0 ── tap0, so that each way has an end to queue at
 *
 * ip and tc are the host's, run as the box's root in the box's namespaces, and see nothing that a container wrote. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/box.h"
#include "runner/sandbox/sandbox.h"

enum { TOOL_TIMEOUT_MS = 10000, LEAST_BURST = 6000, LATENCY_MS = 1000, QUEUE_PACKETS = 10000 };

int box_line_socket(int *fd_r, struct err *e)
{
	*fd_r = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return *fd_r < 0 ? err_sys(e, "cannot make a socket") : 0;
}

static int tool(const char *const *argv, const struct buf *input, struct buf *out_r, struct err *e)
{
	static const char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
					  "LC_ALL=C", NULL};
	struct child_opts o = {.argv = argv, .env = env, .cwd = "/"};
	_cleanup_buf_ struct buf out = BUF_INIT(1 << 16);

	return child_check(&o, input, TOOL_TIMEOUT_MS, out_r ? out_r : &out, e);
}

static int ip(const char *commands, struct err *e)
{
	const char *const argv[] = {"ip", "-batch", "-", NULL};
	_cleanup_buf_ struct buf input = BUF_INIT(4096);

	buf_adds(&input, commands);
	return tool(argv, &input, NULL, e);
}

int box_line_tap(int bad_line, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq r = {.ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI};
	const char *commands = bad_line ? "link add br0 type bridge\nlink add line0 type veth peer name line1\n"
					  "link set tap0 master br0 up\nlink set line0 master br0 up\nlink set br0 up\n"
					  "addr add " SANDBOX_TAP_HERE "/24 dev line1\nlink set line1 up\n"
					: "addr add " SANDBOX_TAP_HERE "/24 dev tap0\nlink set tap0 up\n";

	if (fd < 0) return err_sys(e, "cannot open '/dev/net/tun' (run: runner doctor)");
	if (ioctl(fd, TUNSETIFF, &r)) return err_sys(e, "cannot make a tap in the box");
	if (ip(commands, e)) return -1;
	*fd_r = fd;
	fd = -1;
	return 0;
}

/* Where each way's packets are queued; NULL at the end. */
static const char *const *ends(int tap)
{
	static const char *const machine[] = {"line0", "line1", NULL}, *const program[] = {"lo", NULL};

	return tap ? machine : program;
}

static void netem(struct vec *argv, const struct sandbox_line *l)
{
	vec_add(argv, "netem");
	vec_add(argv, "limit");
	vec_addf(argv, "%d", (int)QUEUE_PACKETS);
	if (l->delay_ms) vec_add(argv, "delay");
	if (l->delay_ms) vec_addf(argv, "%lldms", (long long)l->delay_ms);
	if (l->loss_ppm) vec_add(argv, "loss");
	if (l->loss_ppm) vec_addf(argv, "%d.%04d%%", l->loss_ppm / 10000, l->loss_ppm % 10000);
	if (l->rate_bit) vec_add(argv, "rate");
	if (l->rate_bit) vec_addf(argv, "%lldbit", (long long)l->rate_bit);
}

/* A rate alone needs no netem, which fewer kernels have. A hundredth of a second's bytes at once: tbf's timer is as
 * coarse as that. */
static void tbf(struct vec *argv, const struct sandbox_line *l)
{
	long long burst = l->rate_bit / 800 > LEAST_BURST ? l->rate_bit / 800 : LEAST_BURST;

	vec_add(argv, "tbf");
	vec_add(argv, "rate");
	vec_addf(argv, "%lldbit", (long long)l->rate_bit);
	vec_add(argv, "burst");
	vec_addf(argv, "%lldb", burst);
	vec_add(argv, "latency");
	vec_addf(argv, "%dms", (int)LATENCY_MS);
}

int box_line_set(const struct sandbox_line *l, struct err *e)
{
	for (const char *const *end = ends(l->tap); *end; end++) {
		_cleanup_vec_ struct vec argv = VEC_INIT;
		/* A packet that is lost or queued is to be one of the network's, not one of loopback's 64 kB. */
		_cleanup_free_ char *small = xasprintf("link set %s mtu 1500 gso_max_segs 1\n", *end);

		if (ip(small, e)) return -1;
		vec_add_all(&argv, (const char *const[]){"tc", "qdisc", "replace", "dev", *end, "root", NULL});
		if (l->delay_ms || l->loss_ppm)
			netem(&argv, l);
		else
			tbf(&argv, l);
		if (!tool((const char *const *)vec_argv(&argv), NULL, NULL, e)) continue;
		if (!strstr(e->text, "qdisc kind is unknown")) return -1;
		return err_set(e, ERR_MISSING, "this host's kernel has no sch_%s",
			       l->delay_ms || l->loss_ppm ? "netem" : "tbf");
	}
	return 0;
}

int box_line_show(int tap, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("line", MFD_CLOEXEC);
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);

	for (const char *const *end = ends(tap); *end; end++) {
		const char *const argv[] = {"tc", "-s", "qdisc", "show", "dev", *end, NULL};

		if (tool(argv, NULL, &text, e)) return -1;
	}
	if (fd < 0) return err_sys(e, "cannot make a memory file");
	if (fs_write_all(fd, buf_str(&text), text.len, "memory file", e)) return -1;
	if (lseek(fd, 0, SEEK_SET)) return err_sys(e, "cannot rewind a memory file");
	*fd_r = fd;
	fd = -1;
	return 0;
}
