/* The box's network: loopback of its own and, where asked for, the internet by pasta. pasta runs in the box's pid
 * namespace, so it dies with the box, but must start in the host's network namespace: its starter is forked before
 * the box leaves that. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/box.h"
#include "runner/sandbox/oci.h"
#include "runner/sandbox/tree.h"

enum { PASTA_TIMEOUT_MS = 15000, CONNECT_TIMEOUT_MS = 2000, NFT_TIMEOUT_MS = 15000, OFF_TIMEOUT_MS = 5000 };

static const char pasta_pid[] = BOX_STATE "/pasta.pid";

static int lo_up(struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_name = "lo"};

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r)) return err_sys(e, "cannot look at the box's loopback");
	r.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &r) ? err_sys(e, "cannot start the box's loopback") : 0;
}

/* In the starter: waits for the namespace, runs pasta (which goes to the background when the interface is set up) and
 * tells on `up` what went wrong, nothing when all is well. */
static _Noreturn void start_pasta(int down, int up)
{
	/* Neither the host's loopback is reached from the box, by the gateway's address or by a forwarded port, nor the
	 * box's from the host. The box has an address of its own, so that the host's, where its owner lets a job have
	 * it, is the host's. */
	const char *argv[] = {"pasta",       "-q",      "--config-net", "--no-netns-quit",
			      "--no-map-gw", "-a",      "10.213.97.2",  "-n",
			      "30",          "-g",      "10.213.97.1",  "-t",
			      "none",        "-u",      "none",         "-T",
			      "none",        "-U",      "none",         "-P",
			      pasta_pid,     "--netns", BOX_NETNS,      NULL};
	struct child_opts o = {.argv = argv};
	struct err e;
	char go;

	if (read(down, &go, 1) != 1) _exit(1);
	if (child_check(&o, NULL, PASTA_TIMEOUT_MS, NULL, &e) && write(up, e.text, strlen(e.text)) < 0) _exit(1);
	_exit(0);
}

static int fork_starter(struct box_net *n, struct err *e)
{
	int down[2], up[2];

	if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	n->starter = fork();
	if (n->starter < 0) return err_sys(e, "cannot fork");
	if (n->starter == 0) {
		close(down[1]);
		start_pasta(down[0], up[1]);
	}
	close(down[0]);
	close(up[1]);
	n->down = down[1];
	n->up = up[0];
	return 0;
}

int box_net_open(int network, struct box_net *n_r, struct err *e)
{
	*n_r = (struct box_net){0, -1, -1};
	if (network && fork_starter(n_r, e)) return -1;
	if (unshare(CLONE_NEWNET)) return err_sys(e, "cannot make a network namespace");
	return lo_up(e);
}

/* Before anything of a stranger runs: what the box may not reach (netrules.h). */
static int load_rules(const char *rules, struct err *e)
{
	/* Debian's, which an ordinary user's PATH does not lead to. */
	const char *argv[] = {fs_exists("/usr/sbin/nft") ? "/usr/sbin/nft" : "nft", "-f", "-", NULL};
	_cleanup_buf_ struct buf in = BUF_INIT(1 << 20);
	struct child_opts o = {.argv = argv, .cwd = "/"};

	buf_adds(&in, rules);
	if (child_check(&o, &in, NFT_TIMEOUT_MS, NULL, e))
		return err_wrap(e, "cannot keep the box from this host's addresses (run: runner doctor)");
	return 0;
}

int box_net_start(struct box_net *n, const char *rules, struct err *e)
{
	_cleanup_close_ int down = n->down, up = n->up, file = -1;
	_cleanup_buf_ struct buf why = BUF_INIT(4096);
	int status;

	if (!n->starter) return 0;
	/* pasta leaves our user namespace before it opens the network's, so it cannot have it by /proc/PID/ns. */
	file = open(BOX_NETNS, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0 || mount("/proc/self/ns/net", BOX_NETNS, NULL, MS_BIND, NULL))
		return err_sys(e, "cannot name the box's network namespace");
	if (write(down, "x", 1) != 1) return err_sys(e, "cannot start pasta");
	if (fs_read_fd(up, "pasta's starter", &why, e)) return -1;
	while (waitpid(n->starter, &status, 0) < 0 && errno == EINTR) {}
	if (why.len) return err_set(e, ERR_REMOTE, "cannot connect the box to the network: %s", buf_str(&why));
	return load_rules(rules, e);
}

/* How many interfaces are there beside loopback; each is taken down. */
static int take_down(struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct if_nameindex *list = if_nameindex();
	int n = 0;

	if (fd < 0 || !list) return err_sys(e, "cannot list the box's network interfaces");
	for (struct if_nameindex *p = list; p->if_index; p++) {
		struct ifreq r = {0};

		if (!strcmp(p->if_name, "lo")) continue;
		snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", p->if_name);
		if (ioctl(fd, SIOCGIFFLAGS, &r)) continue; /* it has just gone */
		n++;
		r.ifr_flags &= ~IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &r) && errno != ENODEV) n = err_sys(e, "cannot take '%s' down", r.ifr_name);
		if (n < 0) break;
	}
	if_freenameindex(list);
	return n;
}

/* First the interface, which stops what is under way at once; with pasta it goes for ever. */
int box_net_off(struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(64);
	int64_t deadline = clock_mono_ms() + OFF_TIMEOUT_MS;
	struct timespec pause = {.tv_nsec = 1000000};
	pid_t pid;
	int left;

	if (!fs_exists(pasta_pid)) return 0;
	if (take_down(e) < 0 || fs_read_file(pasta_pid, &text, e)) return -1;
	pid = (pid_t)strtol(buf_str(&text), NULL, 10);
	if (pid > 1) kill(pid, SIGKILL);
	while ((left = take_down(e)) > 0 && clock_mono_ms() < deadline) nanosleep(&pause, NULL);
	if (left < 0) return -1;
	if (left) return err_set(e, ERR_BUSY, "cannot cut the box off the network: pasta does not end");
	return unlink(pasta_pid) ? err_sys(e, "cannot remove '%s'", pasta_pid) : 0;
}

char *box_net_resolv(const char *text)
{
	_cleanup_buf_ struct buf out = BUF_INIT(65536);

	for (const char *p = text; *p;) {
		size_t len = strcspn(p, "\n");
		char address[64];

		if (sscanf(p, "nameserver %63[0-9a-fA-F.:]", address) == 1 && strncmp(address, "127.", 4) &&
		    strcmp(address, "::1") && strcmp(address, "0.0.0.0"))
			buf_addf(&out, "nameserver %s\n", address);
		if (!strncmp(p, "search ", 7) || !strncmp(p, "options ", 8)) {
			buf_add(&out, p, len);
			buf_addch(&out, '\n');
		}
		p += len + (p[len] == '\n');
	}
	return strstr(buf_str(&out), "nameserver") ? buf_steal(&out) : xstrdup("");
}

static int put_text(int root, const char *path, const char *text, struct err *e)
{
	_cleanup_close_ int fd = open(BOX_HOME, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) return err_sys(e, "cannot make a file in the box");
	if (fs_write_all(fd, text, strlen(text), path, e)) return -1;
	if (lseek(fd, 0, SEEK_SET)) return err_sys(e, "cannot make a file in the box");
	return tree_put_file(root, path, fd, 0644, e);
}

char *box_net_servers(void)
{
	/* With systemd-resolved the first names its stub on the host's loopback, the second the servers behind it. */
	const char *const sources[] = {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"};
	char *servers = xstrdup("");
	struct err ignored;

	for (size_t i = 0; i < ARRAY_LEN(sources) && !*servers; i++) {
		_cleanup_buf_ struct buf text = BUF_INIT(65536);

		if (fs_read_file(sources[i], &text, &ignored)) continue;
		free_p(&servers);
		servers = box_net_resolv(buf_str(&text));
	}
	return servers;
}

int box_net_files(int root, int network, struct err *e)
{
	_cleanup_free_ char *servers = NULL;

	/* Where the image has the very same, its folder need not be copied up. */
	if (!tree_has_text(root, "/etc/hosts", OCI_HOSTS) && put_text(root, "/etc/hosts", OCI_HOSTS, e)) return -1;
	if (!network) return 0;
	servers = box_net_servers();
	return put_text(root, "/etc/resolv.conf", servers, e);
}

int box_net_connect(int port, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct pollfd pf = {.fd = fd, .events = POLLOUT};
	int why = 0, n;
	socklen_t len = sizeof(why);

	if (port < 1 || port > 65535) return err_set(e, ERR_INPUT, "no such port: %d", port);
	if (fd < 0) return err_sys(e, "cannot make a socket");
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a))) {
		if (errno != EINPROGRESS) {
			why = errno;
		} else {
			do n = poll(&pf, 1, CONNECT_TIMEOUT_MS);
			while (n < 0 && errno == EINTR);
			if (n == 0) return err_set(e, ERR_BUSY, "cannot connect to port %d: no answer", port);
			if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len)) why = errno;
		}
	}
	if (why == ECONNREFUSED) return err_set(e, ERR_BUSY, "cannot connect to port %d: %s", port, strerror(why));
	errno = why;
	if (why) return err_sys(e, "cannot connect to port %d", port);
	if (fcntl(fd, F_SETFL, 0)) return err_sys(e, "cannot set up a socket");
	*fd_r = fd;
	fd = -1;
	return 0;
}
