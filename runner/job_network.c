/* `network: install`: the network of a job ends with its install phase. The script that the box is given ends there
 * too; it asks for the rest by one byte, whoever sends it and whatever it is, and the rest is sent when the box has no
 * network any more. A script that never asks keeps its network and gets no further. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/job.h"

int job_network_open(struct job *j, int *in_r, struct err *e)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return err_sys(e, "cannot make a socket pair");
	j->network_sock = pair[0];
	*in_r = pair[1];
	return fcntl(j->network_sock, F_SETFL, O_NONBLOCK) ? err_sys(e, "cannot set up a socket") : 0;
}

static void done(struct job *j)
{
	if (j->network_sock <= 0) return;
	loop_fd_remove(j->loop, j->network_sock);
	close(j->network_sock);
	j->network_sock = 0;
}

static void on_room(int fd, short revents, void *arg)
{
	struct job *j = arg;
	const char *rest = j->second_half + j->second_given;
	ssize_t n = send(fd, rest, strlen(rest), MSG_NOSIGNAL);

	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n > 0) j->second_given += (size_t)n;
	if (n < 0 || !j->second_half[j->second_given]) done(j); /* the end of file, or nobody is there to read */
}

static void on_asked(int fd, short revents, void *arg)
{
	struct job *j = arg;
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);
	struct err e;

	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
	if (n <= 0) {
		done(j); /* the script has ended before that */
		return;
	}
	if (sandbox_offline(j->box, &e)) {
		log_line(j->log, "\nslipway: %s", e.text);
		if (!j->over) j->over = "its network could not be switched off";
		done(j);
		sandbox_kill(j->box);
		return;
	}
	loop_fd(j->loop, fd, POLLOUT, on_room, j);
}

void job_network_watch(struct job *j)
{
	if (j->network_sock > 0) loop_fd(j->loop, j->network_sock, POLLIN, on_asked, j);
}

void job_network_release(struct job *j)
{
	done(j);
	free_p(&j->second_half);
}
