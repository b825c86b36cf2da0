/* The daemon's side of a leader that waits for its job. */
#include "runner/spare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "lib/json.h"
#include "runner/leader.h"
#include "runner/sandbox/sandbox.h"

enum {
	QUIET_MS = 300,           /* without a job's start, so that no job waits for it */
	IDLE_MS = 10 * 60 * 1000, /* then it is given up: its network's rules and its memory are of then */
	END_MS = 5000,
};

struct spare {
	struct loop *loop;
	const struct home *home;
	int (*may)(void *arg);
	void *arg;
	int64_t like; /* the job it is to be like; 0: none yet */
	char *want;   /* that one's key */
	char *have;   /* the key of the one that lives */
	pid_t pid;    /* 0: none lives */
	int pidfd, sock;
	int ready, again;
	uint64_t timer;
};

/* What two jobs have in common that can do with the same box. The leader looks closer. */
static char *key_of(const struct job_row *row)
{
	static const char *const members[] = {"image", "packages", "arch", "network", "limits"};
	_cleanup_json_ json_t *spec = NULL, *key = json_object();
	struct err ignored;

	if (json_parse("job", row->spec, strlen(row->spec), &spec, &ignored)) return NULL;
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		json_t *value = json_object_get(spec, members[i]);

		if (value) json_object_set(key, members[i], value);
	}
	return json_text(key);
}

static void set_timer(struct spare *s, int ms);

static void forget(struct spare *s)
{
	if (s->pidfd >= 0) loop_fd_remove(s->loop, s->pidfd);
	if (s->sock >= 0) loop_fd_remove(s->loop, s->sock);
	close_p(&s->pidfd);
	close_p(&s->sock);
	free_p(&s->have);
	s->pid = 0;
	s->ready = 0;
}

static void ended(int fd, short revents, void *arg)
{
	struct spare *s = arg;
	int let_go = s->sock < 0;

	(void)fd;
	(void)revents;
	waitpid(s->pid, NULL, 0);
	forget(s);
	if (let_go && s->again) set_timer(s, QUIET_MS); /* else the next job's start asks for another */
}

/* It sees the end of file, closes its box and ends. again: another is wanted then */
static void give_up(struct spare *s, int again)
{
	if (!s->pid) return;
	if (s->sock >= 0) {
		loop_fd_remove(s->loop, s->sock);
		close_p(&s->sock);
		kill(s->pid, SIGTERM);
	}
	s->ready = 0;
	s->again = again;
}

static void is_ready(int fd, short revents, void *arg)
{
	struct spare *s = arg;
	char byte;

	(void)revents;
	s->ready = recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
	loop_fd_remove(s->loop, fd);
	if (s->ready) set_timer(s, IDLE_MS);
}

static int start(struct spare *s, struct err *e)
{
	_cleanup_free_ char *program = child_beside("slipway-job"), *like = xasprintf("%lld", (long long)s->like);
	_cleanup_close_ int ours = -1, theirs = -1, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	struct child_fd pass[1];
	struct child_opts o = {.argv = (const char *const[]){program, "spare", s->home->state, like, NULL},
			       .setsid = 1,
			       .out = null,
			       .err = null,
			       .fds = pass,
			       .nfds = 1};
	int pair[2];

	if (!program) return err_set(e, ERR_MISSING, "there is no slipway-job");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) return err_sys(e, "cannot make a socket pair");
	ours = pair[0];
	theirs = pair[1];
	pass[0] = (struct child_fd){theirs, LEADER_ORDER_FD};
	if (child_start(&o, &s->pid, &s->pidfd, e)) return -1;
	s->sock = ours;
	ours = -1;
	s->have = xstrdup(s->want);
	loop_fd(s->loop, s->pidfd, POLLIN, ended, s);
	loop_fd(s->loop, s->sock, POLLIN, is_ready, s);
	return 0;
}

static void on_timer(void *arg)
{
	struct spare *s = arg;
	struct err ignored; /* jobs start without one, too */

	s->timer = 0;
	if (s->pid && s->ready) {
		give_up(s, 0);
		return;
	}
	if (s->pid || !s->like) return;
	if (!s->may(s->arg))
		set_timer(s, QUIET_MS);
	else if (start(s, &ignored))
		s->pid = 0;
}

static void set_timer(struct spare *s, int ms)
{
	loop_timer_cancel(s->loop, s->timer);
	s->timer = loop_timer(s->loop, ms, on_timer, s);
}

struct spare *spare_new(struct loop *loop, const struct home *h, int (*may)(void *arg), void *arg)
{
	struct spare *s = xcalloc(1, sizeof(*s));

	*s = (struct spare){.loop = loop, .home = h, .may = may, .arg = arg, .pidfd = -1, .sock = -1};
	return s;
}

void spare_free(struct spare **sp)
{
	struct spare *s = *sp;
	struct child_status st;
	struct err ignored;

	if (!s) return;
	loop_timer_cancel(s->loop, s->timer);
	give_up(s, 0);
	if (s->pid && child_wait(s->pid, END_MS, &st, &ignored)) errno = 0;
	forget(s);
	free(s->want);
	free_p(sp);
}

void spare_remember(struct spare *s, const struct job_row *row)
{
	free(s->want);
	s->want = key_of(row);
	s->like = s->want ? row->id : 0;
	if (s->pid && s->want && strcmp(s->want, s->have) != 0) give_up(s, 1);
	if (!s->pid) set_timer(s, QUIET_MS);
}

static int send_order(int sock, const struct leader_order *o, int lock)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
	struct iovec iov = {(void *)(uintptr_t)o, sizeof(*o)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.room)};

	memcpy(CMSG_DATA(&control.head), &lock, sizeof(lock));
	return sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof(*o) ? 0 : -1;
}

int spare_give(struct spare *s, const struct job_row *row, int lock, pid_t *pid_r, int *pidfd_r)
{
	const struct leader_order o = {.job_id = row->id, .attempt = row->attempt};
	_cleanup_free_ char *key = s->ready ? key_of(row) : NULL;

	if (!key || strcmp(key, s->have) != 0) return 0;
	if (send_order(s->sock, &o, lock)) {
		give_up(s, 1);
		return 0;
	}
	/* It is a leader now: it has the lock, and from here its end is its job's. */
	*pid_r = s->pid;
	*pidfd_r = s->pidfd;
	loop_fd_remove(s->loop, s->pidfd);
	s->pidfd = -1;
	close_p(&s->sock);
	free_p(&s->have);
	s->pid = 0;
	s->ready = 0;
	return 1;
}

static int lives(const char *name, void *arg)
{
	const struct home *h = arg;
	_cleanup_free_ char *path = xasprintf("%s/spare/%s/lock", h->state, name);
	_cleanup_close_ int lock = -1;
	struct err e;

	return fs_exists(path) && fs_lock(path, 0, &lock, &e);
}

void spare_sweep(const struct home *h)
{
	_cleanup_free_ char *dir = home_file(h, "spare");
	DIR *list = opendir(dir);

	if (!list) return;
	sandbox_sweep(dir, "box", lives, (void *)(uintptr_t)h);
	for (struct dirent *d; (d = readdir(list));) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, d->d_name);
		struct err e;

		if (d->d_name[0] == '.' || lives(d->d_name, (void *)(uintptr_t)h)) continue;
		if (fs_remove_tree(path, &e)) fprintf(stderr, "sweep: %s\n", e.text);
	}
	closedir(list);
}
