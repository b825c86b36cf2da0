/* `runner box`: the first process of a box, and the one that stands at its door.
 *
 *   leader ──socket── outer (waits) ── inner: pid 1 of the box ── crun → init of a container
 *
 * outer enters the user namespace and forks inner into new pid, mount, ipc and uts namespaces; it is only there
 * because a pid namespace begins with a child. When the leader ends in any way, outer gets SIGKILL, so does inner, and
 * the kernel kills all that is in the pid namespace; inner also ends at the end of file on its socket or on the pipe
 * that outer holds, for a death before the signal was asked for.
 *
 *   NEW ──setup──→ IDLE ──start──→ RUNNING ──the container ended──→ IDLE
 *                    └──start ahead──→ READY ──go──→ RUNNING
 *
 * READY: the container is there, nothing of a stranger's runs in it yet, its init waits for what to run.
 *
 * The leader is trusted; files and processes of containers are not. */
#include "runner/sandbox/box.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <locale.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/child.h"
#include "lib/fs.h"
#include "lib/loop.h"
#include "runner/sandbox/boxcache.h"
#include "runner/sandbox/init/init.h"
#include "runner/sandbox/proto.h"
#include "runner/sandbox/sandbox.h"
#include "runner/sandbox/tree.h"

enum { CRUN_TIMEOUT_MS = 60000, DEFAULT_GRACE_MS = 5000, CRUN_FD = 5 };

enum state { NEW = 1, IDLE = 2, RUNNING = 4, READY = 8 };

struct box {
	enum state state;
	struct loop *loop;
	int sock;
	struct box_place place;
	char *rules;   /* for its network */
	unsigned runs; /* so that each container has an id of its own */
	struct {
		pid_t pid; /* of the container's init, as we see it */
		int report;
		int end;
		int grace_ms;
		int stopped;
		uint64_t timer;
	} run;
};

static void answer(struct box *b, int failed, const struct err *e, int fd)
{
	struct proto_msg m;
	struct err gone;

	proto_msg_init(&m, failed ? BOX_FAIL : BOX_OK);
	if (failed) {
		m.n[0] = e->kind;
		m.n[1] = e->sys_errno;
		vec_add(&m.s, e->text);
	}
	if (fd >= 0) m.fds[m.nfds++] = fd;
	if (proto_send(b->sock, &m, &gone)) _exit(1); /* the leader is gone */
	vec_release(&m.s);
}

static int want(const struct proto_msg *m, size_t strings, size_t fds, struct err *e)
{
	if (m->s.len == strings && m->nfds == fds) return 0;
	return err_set(e, ERR_INPUT, "a '%s' with %zu strings and %zu descriptors", box_op_name(m->op), m->s.len,
		       m->nfds);
}

static int over_disk(const struct box *b)
{
	return b->place.over_disk && *b->place.over_disk;
}

/* --- one container --- */

static void end_run(struct box *b, struct box_end *end)
{
	ssize_t n;

	end->over_disk = over_disk(b);
	do n = write(b->run.end, end, sizeof(*end));
	while (n < 0 && errno == EINTR);
	close_p(&b->run.end);
	close_p(&b->run.report);
	loop_timer_cancel(b->loop, b->run.timer);
	b->run.timer = 0;
	b->run.pid = 0;
	b->state = IDLE;
}

static void kill_run(struct box *b)
{
	/* Pid 1 of the container's pid namespace: the kernel takes all the others with it. */
	if (b->state & (RUNNING | READY)) kill(b->run.pid, SIGKILL);
}

/* What the container's init said, or, when it was killed before it could, how it ended itself. */
static struct box_end read_end(struct box *b, struct child_status st)
{
	struct box_end end = {.how = BOX_END_SIGNALLED, .code = SIGKILL};
	struct init_report r = {0};
	ssize_t n;

	do n = read(b->run.report, &r, sizeof(r));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(r)) {
		if (st.end == CHILD_SIGNALLED) end.code = st.code;
		return end;
	}
	end.code = r.code;
	switch ((enum init_what)r.what) {
	case INIT_EXITED: end.how = BOX_END_EXITED; break;
	case INIT_SIGNALLED: end.how = BOX_END_SIGNALLED; break;
	case INIT_NO_FOLDER:
		end.how = BOX_END_NOT_STARTED;
		snprintf(end.text, sizeof(end.text), "cannot enter its folder: %s", strerror(r.code));
		break;
	case INIT_NO_PROGRAM:
		end.how = BOX_END_NOT_STARTED;
		snprintf(end.text, sizeof(end.text), "cannot run its command: %s", strerror(r.code));
		break;
	case INIT_FAILED:
		end.how = BOX_END_NOT_STARTED;
		snprintf(end.text, sizeof(end.text), "cannot start its command: %s", strerror(r.code));
		break;
	}
	return end;
}

/* Reaps what ended: containers' inits, and whatever crun and pasta left to pid 1. */
static void on_child(int sig, void *arg)
{
	struct box *b = arg;
	struct box_end end;
	pid_t pid;
	int ws;

	(void)sig;
	while ((pid = waitpid(-1, &ws, WNOHANG)) > 0) {
		if (pid == b->place.disk_watch) {
			/* Nothing of the box goes on unwatched, whatever ended it. */
			*b->place.over_disk = 1;
			b->place.disk_watch = 0;
			kill_run(b);
		}
		if (!(b->state & (RUNNING | READY)) || pid != b->run.pid) continue;
		end = read_end(b, child_decode(ws));
		end_run(b, &end);
	}
}

/* crun's log file says why; its first line is the reason. */
static int crun_failed(const char *log, struct child_status st, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	struct err ignored;
	char *line;

	if (fs_read_file(log, &text, &ignored) || !text.len)
		return err_set(e, ERR_REMOTE, "cannot start the container: crun %s", child_status_str(st));
	line = text.data;
	line[strcspn(line, "\n")] = '\0';
	return err_set(e, ERR_REMOTE, "cannot start the container: crun: %s", line);
}

static int read_pid(const char *path, pid_t *pid_r, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(64);

	if (fs_read_file(path, &text, e)) return -1;
	*pid_r = (pid_t)strtol(buf_str(&text), NULL, 10);
	return *pid_r > 1 ? 0 : err_set(e, ERR_REMOTE, "cannot read the container's pid");
}

/* crun detaches: it has gone when this returns, and the container's init is our child, as we are pid 1. */
static int run_crun(struct box *b, const struct proto_msg *m, int report, struct err *e)
{
	_cleanup_free_ char *id = xasprintf("c%u", ++b->runs), *log = xasprintf(BOX_STATE "/%s.log", id),
			    *pid_file = xasprintf(BOX_STATE "/%s.pid", id);
	const char *argv[] = {"/proc/self/fd/5",
			      "--root",
			      BOX_STATE,
			      "--log",
			      log,
			      "--cgroup-manager=disabled",
			      "run",
			      "-d",
			      "--bundle",
			      BOX_BUNDLE,
			      "--pid-file",
			      pid_file,
			      "--preserve-fds=2",
			      id,
			      NULL};
	/* The last: it need not copy itself (load_crun()). */
	const char *env[] = {"PATH=/usr/bin:/bin", "XDG_RUNTIME_DIR=" BOX_STATE, "_LIBCONTAINER_CLONED_BINARY=1", NULL};
	struct child_fd fds[] = {{report, INIT_REPORT_FD}, {m->fds[3], INIT_SPEC_FD}, {b->place.crun, CRUN_FD}};
	struct child_opts o = {.argv = argv,
			       .env = env,
			       .cwd = BOX_BUNDLE,
			       .in = m->fds[0],
			       .out = m->fds[1],
			       .err = m->fds[1],
			       .fds = fds,
			       .nfds = ARRAY_LEN(fds)};
	struct child_status st;
	pid_t pid;

	if (child_start(&o, &pid, NULL, e)) return -1;
	if (child_wait(pid, CRUN_TIMEOUT_MS, &st, e)) return -1;
	if (!child_ok(st)) return crun_failed(log, st, e);
	return read_pid(pid_file, &b->run.pid, e);
}

static int do_start(struct box *b, struct proto_msg *m, struct err *e)
{
	_cleanup_close_ int report_in = -1, report_out = -1;
	int p[2];

	if (want(m, m->s.len == 1, 4, e)) return -1;
	if (over_disk(b)) return err_set(e, ERR_INPUT, "the box is over its disk limit");
	if (m->s.len && tree_mkdirs(b->place.root, m->s.items[0], NULL, e)) return -1;
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	report_in = p[0];
	report_out = p[1];
	if (run_crun(b, m, report_out, e)) return -1;
	b->run.report = report_in;
	report_in = -1;
	b->run.end = proto_msg_take_fd(m, 2);
	b->run.grace_ms = m->n[0] > 0 ? (int)m->n[0] : DEFAULT_GRACE_MS;
	b->run.stopped = 0;
	b->state = m->n[1] ? READY : RUNNING;
	return 0;
}

static int go(struct box *b, const struct proto_msg *m, struct err *e)
{
	if (want(m, 1, 0, e) || tree_mkdirs(b->place.root, m->s.items[0], NULL, e)) return -1;
	b->state = RUNNING;
	return 0;
}

static void on_grace_over(void *arg)
{
	kill_run(arg);
}

static void stop_run(struct box *b)
{
	if (!(b->state & (RUNNING | READY)) || b->run.stopped) return;
	b->run.stopped = 1;
	kill(b->run.pid, SIGTERM);
	b->run.timer = loop_timer(b->loop, b->run.grace_ms, on_grace_over, b);
}

/* --- requests --- */

static int send_file(void *arg, const char *path, int fd, mode_t mode, uint64_t size, struct err *e)
{
	struct box *b = arg;
	struct proto_msg m;
	int result;

	proto_msg_init(&m, BOX_FILE);
	m.n[0] = mode;
	m.n[1] = (int64_t)size;
	vec_add(&m.s, path);
	m.fds[m.nfds++] = fd;
	result = proto_send(b->sock, &m, e);
	vec_release(&m.s);
	return result;
}

/* By a program of its own, which the leader sent as it may lie where we cannot look; it tells the leader itself. */
static int do_cache(struct box *b, const struct proto_msg *m, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	struct child_fd fds[] = {{b->place.root, BOX_CACHE_ROOT_FD},
				 {m->fds[0], BOX_CACHE_ARCHIVE_FD},
				 {m->fds[1], BOX_CACHE_TOLD_FD},
				 {m->fds[2], BOX_CACHE_PROGRAM_FD},
				 {m->fds[3], BOX_CACHE_SECRETS_FD}};
	const char *env[] = {"PATH=/usr/bin:/bin", NULL};
	size_t nfds = m->op == BOX_GET_CACHE ? 4 : 3; /* and the root */
	struct child_opts o = {.env = env, .cwd = "/", .fds = fds, .nfds = nfds + 1};
	struct child_status st;
	pid_t pid;

	if (want(m, m->s.len > 2 ? m->s.len : 2, nfds, e)) return -1;
	vec_addf(&argv, "/proc/self/fd/%d", (int)BOX_CACHE_PROGRAM_FD);
	vec_add_all(&argv, (const char *const[]){"box-cache", m->op == BOX_PUT_CACHE ? "put" : "get", NULL});
	for (size_t i = 0; i < 3; i++) vec_addf(&argv, "%lld", (long long)m->n[i]);
	vec_add_all(&argv, (const char *const *)m->s.items);
	o.argv = (const char *const *)vec_argv(&argv);
	if (child_start(&o, &pid, NULL, e) || child_wait(pid, -1, &st, e)) return -1;
	return child_ok(st) ? 0 : err_set(e, ERR_REMOTE, "the packer %s", child_status_str(st));
}

static int do_request(struct box *b, struct proto_msg *m, int *fd_r, struct err *e)
{
	switch (m->op) {
	case BOX_RULES:
		if (want(m, 1, 0, e)) return -1;
		free_p(&b->rules);
		b->rules = xstrdup(m->s.items[0]);
		return 0;
	case BOX_OFFLINE: return box_net_off(e);
	case BOX_SETUP:
		if (box_setup(m, b->rules, &b->place, e)) return -1;
		b->state = IDLE;
		return 0;
	case BOX_PUT_FILE:
		if (want(m, 1, 1, e)) return -1;
		return tree_put_file(b->place.root, m->s.items[0], m->fds[0], (mode_t)m->n[0], e);
	case BOX_PUT_TAR:
		if (want(m, 1, 1, e)) return -1;
		return tree_put_tar(b->place.root, m->fds[0], m->s.items[0], e);
	case BOX_PUT_GIT:
		if (want(m, m->s.len > 2 ? m->s.len : 2, 1, e)) return -1;
		return box_git(b->place.root,
			       &(struct box_source){.path = m->s.items[0],
						    .commit = m->s.items[1],
						    .tags = (const char *const *)(uintptr_t)(m->s.items + 2),
						    .depth = m->n[0],
						    .peer = m->fds[0]},
			       e);
	case BOX_PUT_TREE:
		if (want(m, 2, m->nfds ? 1 : 0, e)) return -1;
		return box_tree(&b->place, m->s.items[0], m->s.items[1], m->nfds ? m->fds[0] : -1,
				b->state == READY ? b->run.pid : 0, e);
	case BOX_START: return do_start(b, m, e);
	case BOX_GO: return go(b, m, e);
	case BOX_STOP: stop_run(b); return 0;
	case BOX_KILL: kill_run(b); return 0;
	case BOX_COLLECT:
		if (want(m, 2, 0, e)) return -1;
		return tree_collect(b->place.root, m->s.items[0], m->s.items[1], send_file, b, e);
	case BOX_PUT_CACHE:
	case BOX_GET_CACHE: return do_cache(b, m, e);
	case BOX_CONNECT: return box_net_connect((int)m->n[0], fd_r, e);
	case BOX_SOCKET: return box_line_socket(fd_r, e);
	case BOX_TAP: return box_line_tap(m->n[0] != 0, fd_r, e);
	case BOX_LINE: {
		struct sandbox_line l = {m->n[0], (int)m->n[1], m->n[2], m->n[3] != 0};

		return box_line_set(&l, e);
	}
	case BOX_LINE_SHOW: return box_line_show(m->n[0] != 0, fd_r, e);
	case BOX_OK:
	case BOX_FAIL:
	case BOX_FILE:
	case BOX_OPS: break;
	}
	return err_set(e, ERR_INPUT, "a box is not asked to %s", box_op_name(m->op));
}

/* What may be asked when. A collect waits for the end of a run: strangers who still write could keep it busy for ever.
 */
static const struct {
	enum state in;
	int answered;
} rules[BOX_OPS] = {
	[BOX_RULES] = {NEW, 1},
	[BOX_OFFLINE] = {IDLE | READY | RUNNING, 1},
	[BOX_SETUP] = {NEW, 1},
	[BOX_PUT_FILE] = {IDLE | READY, 1},
	[BOX_PUT_TAR] = {IDLE | READY, 1},
	[BOX_PUT_GIT] = {IDLE | READY, 1},
	[BOX_START] = {IDLE, 1},
	[BOX_STOP] = {IDLE | READY | RUNNING, 0},
	[BOX_KILL] = {IDLE | READY | RUNNING, 0},
	[BOX_COLLECT] = {IDLE, 1},
	[BOX_CONNECT] = {IDLE | READY | RUNNING, 1},
	[BOX_PUT_TREE] = {IDLE | READY, 1},
	[BOX_SOCKET] = {IDLE | READY | RUNNING, 1},
	[BOX_PUT_CACHE] = {IDLE | READY, 1},
	[BOX_GET_CACHE] = {IDLE, 1},
	[BOX_TAP] = {IDLE, 1},
	[BOX_LINE] = {IDLE, 1},
	[BOX_LINE_SHOW] = {IDLE | READY | RUNNING, 1},
	[BOX_GO] = {READY, 1},
};

static const char *state_name(enum state s)
{
	switch (s) {
	case NEW: return "not set up";
	case IDLE: return "idle";
	case READY: return "about to run a container";
	case RUNNING: return "running a container";
	}
	return "?";
}

static void on_request(int fd, short revents, void *arg)
{
	struct box *b = arg;
	struct proto_msg m;
	struct err e;
	int rc = proto_recv(fd, &m, &e), result = -1, out = -1;

	(void)revents;
	if (rc) _exit(rc == 1 ? 0 : 1);
	if (!(rules[m.op].in & b->state))
		err_set(&e, ERR_BUSY, "a box that is %s cannot %s", state_name(b->state), box_op_name(m.op));
	else
		result = do_request(b, &m, &out, &e);
	if (result && over_disk(b)) err_set(&e, ERR_INPUT, "it used more disk than its limit and was killed");
	if (rules[m.op].answered || result) answer(b, result, &e, out);
	close_p(&out);
	proto_msg_release(&m);
}

static void on_outer_gone(int fd, short revents, void *arg)
{
	(void)fd;
	(void)revents;
	(void)arg;
	_exit(1);
}

/* --- the two processes --- */

static _Noreturn void inner(int sock, int life)
{
	struct box b = {.state = NEW,
			.sock = sock,
			.place = {.root = -1, .crun = -1, .data = -1, .trees = -1},
			.run = {.report = -1, .end = -1}};
	struct err e;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL)) _exit(1);
	b.loop = loop_new();
	if (loop_signal(b.loop, SIGCHLD, on_child, &b, &e)) _exit(1);
	loop_fd(b.loop, sock, POLLIN, on_request, &b);
	loop_fd(b.loop, life, 0, on_outer_gone, &b);
	_exit(loop_run(b.loop, &e) ? 1 : 0);
}

static int enter(int userns)
{
	if (setns(userns, CLONE_NEWUSER)) return -1;
	if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0)) return -1;
	/* The change of user made /proc/self root's; pasta is to open our network namespace there. No secret is here.
	 */
	if (prctl(PR_SET_DUMPABLE, 1)) return -1;
	return unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS);
}

/* Waits until the leader has put us into the control groups, which it shows by the first request. */
static int await_leader(int sock)
{
	struct pollfd pf = {.fd = sock, .events = POLLIN};
	int n;

	do n = poll(&pf, 1, -1);
	while (n < 0 && errno == EINTR);
	return n == 1 && (pf.revents & POLLIN) ? 0 : -1;
}

static void refuse(int sock, const char *why)
{
	struct box b = {.sock = sock};
	struct err e;

	err_sys(&e, "cannot %s for a box (run: runner doctor)", why);
	answer(&b, -1, &e, -1);
}

int sandbox_box_main(int argc, char **argv)
{
	int sock, userns, life[2];
	pid_t pid;

	if (argc != 4) _exit(2);
	sock = (int)strtol(argv[1], NULL, 10);
	userns = (int)strtol(argv[2], NULL, 10);
	setlocale(LC_CTYPE, "C.UTF-8"); /* names in archives are what they are, not what the host's locale can say */
	signal(SIGPIPE, SIG_IGN);
	fcntl(sock, F_SETFD, FD_CLOEXEC);
	if (await_leader(sock)) _exit(0);
	if (enter(userns)) {
		refuse(sock, "make namespaces");
		_exit(1);
	}
	close(userns);
	/* After the change of user, which clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != (pid_t)strtol(argv[3], NULL, 10)) _exit(1);
	if (pipe2(life, O_CLOEXEC)) _exit(1);
	pid = fork();
	if (pid < 0) {
		refuse(sock, "fork");
		_exit(1);
	}
	if (pid == 0) {
		close(life[1]);
		inner(sock, life[0]);
	}
	close(sock); /* so that the leader sees the end of inner */
	close(life[0]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {}
	_exit(0);
}
