/* The terminal for --shell-on-failure. The shell gets one of its own, a pseudo terminal: job control works there, and
 * nothing in the container ever holds the person's. While it runs, bytes go to and fro between the two, unmasked and
 * not logged; the leader's row says when that is.
 *
 *   terminal (raw) ←→ master ═ slave ←→ leader ─→ container */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/exec.h"

enum { STUCK_MS = 200 };

void exec_shell_resize(struct exec *x)
{
	struct winsize size;

	if (x->master >= 0 && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && ioctl(x->master, TIOCSWINSZ, &size))
		errno = 0;
}

int exec_shell_open(struct exec *x, struct err *e)
{
	char name[100];

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return err_set(e, ERR_INPUT, "--shell-on-failure needs a terminal on standard input and output");
	if (tcgetattr(STDIN_FILENO, &x->before)) return err_sys(e, "cannot look at the terminal");
	x->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (x->master < 0 || grantpt(x->master) || unlockpt(x->master) || ptsname_r(x->master, name, sizeof(name)))
		return err_sys(e, "cannot make a pseudo terminal");
	x->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return x->slave < 0 ? err_sys(e, "cannot open '%s'", name) : 0;
}

static void write_out(struct exec *x, int fd, const char *data, size_t len)
{
	while (len) {
		struct pollfd pf = {fd, POLLOUT, 0};
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR) continue;
		/* A shell that reads nothing for so long does not get what is typed. */
		if (n < 0 && errno == EAGAIN && poll(&pf, 1, STUCK_MS) == 1) continue;
		if (n < 0 && errno == EAGAIN) return;
		if (n <= 0) {
			exec_interrupt(x, SIGHUP);
			return;
		}
		data += n;
		len -= (size_t)n;
	}
}

static void on_typed(int fd, short revents, void *arg)
{
	struct exec *x = arg;
	char bytes[4096];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	(void)revents;
	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
	if (n <= 0) {
		loop_fd_remove(x->loop, fd);
		exec_interrupt(x, SIGHUP);
		return;
	}
	write_out(x, x->master, bytes, (size_t)n);
}

/* 0: nothing more now */
static int pump(struct exec *x)
{
	char bytes[16384];
	ssize_t n = read(x->master, bytes, sizeof(bytes));

	if (n <= 0) return n < 0 && errno == EINTR;
	write_out(x, STDOUT_FILENO, bytes, (size_t)n);
	return 1;
}

static void on_shown(int fd, short revents, void *arg)
{
	(void)fd;
	(void)revents;
	(void)!pump(arg);
}

void exec_shell_begin(struct exec *x)
{
	struct termios raw = x->before;

	if (x->on_terminal) return;
	x->on_terminal = 1;
	exec_shell_resize(x);
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw)) errno = 0; /* it is gone: the read says so */
	loop_fd(x->loop, STDIN_FILENO, POLLIN, on_typed, x);
	loop_fd(x->loop, x->master, POLLIN, on_shown, x);
}

void exec_shell_end(struct exec *x)
{
	if (!x->on_terminal) return;
	while (pump(x)) {}
	loop_fd_remove(x->loop, STDIN_FILENO);
	loop_fd_remove(x->loop, x->master);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &x->before)) errno = 0;
	/* The next job's shell finds it as this one did. */
	if (tcsetattr(x->slave, TCSANOW, &x->before)) errno = 0;
	x->on_terminal = 0;
}

void exec_shell_close(struct exec *x)
{
	exec_shell_end(x);
	close_p(&x->master);
	close_p(&x->slave);
}
