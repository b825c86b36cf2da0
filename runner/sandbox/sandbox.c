/* The leader's side of a box. It makes the control groups and the user namespace, starts the box's first process in
 * them, asks it for everything else, and removes what is left on the disk: only it may. After it was killed itself
 * there are files and empty control groups, no processes and no mounts; sandbox_sweep finds them. */
#include "runner/sandbox/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "runner/sandbox/binfmt.h"
#include "runner/sandbox/cgroup.h"
#include "runner/sandbox/init/init.h"
#include "runner/sandbox/netrules.h"
#include "runner/sandbox/proto.h"
#include "runner/sandbox/userns.h"

/* The box's own processes count too: outer, inner, pasta, the disk's watch, and crun and init while a container starts.
 */
enum {
	OWN_PIDS = 9,
	CLOSE_TIMEOUT_MS = 10000,
	SPEC_MAX = 64 << 20,
	MAX_FILES_AT_ONCE = 8,
	MAX_LAYERS = PROTO_MAX_FDS - 2
};

struct sandbox {
	struct cgroup cgroup;
	char *dir, *trees;
	char *rules; /* of its network; NULL: it has none */
	int sock;
	int pidfd;
	pid_t pid;
	int go;       /* what a container that was started ahead reads what to run from; -1: none waits */
	int end;      /* of the run in progress; -1 between runs */
	int abort_fd; /* the caller's; 0: none */
	int binfmt;   /* holds the registration of what runs its programs; -1: none */
};

static const char *runner_path;

void sandbox_set_runner(const char *path)
{
	runner_path = path;
}

static const char *runner(void)
{
	static char *path;

	if (runner_path) return runner_path;
	if (!path) path = child_beside("slipway-job");
	return path ? path : child_self();
}

static int open_init(int *fd_r, struct err *e)
{
	const char *self = runner(), *slash = strrchr(self, '/');
	int len = slash ? (int)(slash - self) : 0;
	_cleanup_free_ char *beside = xasprintf("%.*s/slipway-init", len, self);
	_cleanup_free_ char *installed = xasprintf("%.*s/../libexec/slipway/slipway-init", len, self);

	*fd_r = open(beside, O_RDONLY | O_CLOEXEC);
	if (*fd_r < 0) *fd_r = open(installed, O_RDONLY | O_CLOEXEC);
	return *fd_r < 0 ? err_sys(e, "cannot open '%s'", beside) : 0;
}

/* --- opening --- */

static char *record_path(const char *dir)
{
	return xasprintf("%s/cgroups", dir);
}

static int make_folders(const char *dir, struct err *e)
{
	const char *const names[] = {"data", "data/upper", "data/work", "data/tree", "data/tree-work"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, names[i]);

		if (userns_mkdir(path, e)) return -1;
	}
	return 0;
}

static void limit(struct sandbox *s, const struct sandbox_opts *o, struct vec *notes)
{
	int64_t values[CGROUP_LIMITS] = {[CGROUP_MEMORY] = o->limits.memory_bytes,
					 [CGROUP_PIDS] = o->limits.pids ? o->limits.pids + OWN_PIDS : 0,
					 [CGROUP_CPU] = o->limits.cpus_milli};
	_cleanup_free_ char *record = record_path(o->dir), *name = NULL;
	struct stat st = {0};

	/* Two runners on one box may both have a job of this id; no two have this folder. */
	if (stat(o->dir, &st)) st.st_ino = 0;
	name = xasprintf("%s.%llx", o->id, (unsigned long long)st.st_ino);
	cgroup_make(name, values, record, &s->cgroup, notes);
}

static int start_box(struct sandbox *s, int userns, struct err *e)
{
	_cleanup_free_ char *parent = xasprintf("%d", (int)getpid());
	const char *argv[] = {runner(), "box", "3", "4", parent, NULL};
	_cleanup_close_ int ours = -1, theirs = -1, null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int pair[2];

	if (null < 0) return err_sys(e, "cannot open '/dev/null'");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) return err_sys(e, "cannot make a socket pair");
	ours = pair[0];
	theirs = pair[1];

	struct child_fd fds[] = {{theirs, 3}, {userns, 4}};
	struct child_opts o = {.argv = argv,
			       .cwd = "/",
			       .out = null,
			       .fds = fds,
			       .nfds = ARRAY_LEN(fds),
			       .setsid = 1,
			       .die_with_parent = 1};

	if (child_start(&o, &s->pid, &s->pidfd, e)) return -1;
	s->sock = ours;
	ours = -1;
	return 0;
}

static int gone(struct sandbox *s, struct err *e)
{
	return err_set(e, ERR_REMOTE, "the box is gone%s", cgroup_oom(&s->cgroup) ? ": out of memory" : "");
}

/* Until the box says something; what asks us to stop comes first. */
static int wait_for_box(struct sandbox *s, struct err *e)
{
	struct pollfd pf[2] = {{s->sock, POLLIN, 0}, {s->abort_fd > 0 ? s->abort_fd : -1, POLLIN, 0}};

	while (poll(pf, 2, -1) < 0)
		if (errno != EINTR) return err_sys(e, "cannot wait for the box");
	if (!pf[1].revents) return 0;
	kill(s->pid, SIGKILL);
	return err_set(e, ERR_BUSY, "stopped");
}

/* Takes what the box says next; a FAIL becomes *e. */
static int hear(struct sandbox *s, struct proto_msg *m_r, struct err *e)
{
	struct proto_msg m;
	int rc = wait_for_box(s, e) ? -1 : proto_recv(s->sock, &m, e);

	if (rc < 0) return -1;
	if (rc) return gone(s, e);
	if (m.op == BOX_FAIL) {
		enum err_kind kind = m.n[0] > ERR_NONE && m.n[0] <= ERR_SYS ? (enum err_kind)m.n[0] : ERR_REMOTE;

		err_set(e, kind, "%s", m.s.len ? m.s.items[0] : "the box refused");
		e->sys_errno = (int)m.n[1];
		proto_msg_release(&m);
		return -1;
	}
	*m_r = m;
	return 0;
}

static int ask(struct sandbox *s, const struct proto_msg *m, int *fd_r, struct err *e)
{
	struct proto_msg reply;
	int ok;

	if (proto_send(s->sock, m, e)) return e->sys_errno == EPIPE || e->sys_errno == ECONNRESET ? gone(s, e) : -1;
	if (hear(s, &reply, e)) return -1;
	ok = reply.op == BOX_OK;
	if (ok && fd_r) *fd_r = proto_msg_take_fd(&reply, 0);
	proto_msg_release(&reply);
	return ok ? 0 : err_set(e, ERR_REMOTE, "the box gave no answer to '%s'", box_op_name(m->op));
}

/* Adds a folder of the host; as root, as a detached mount (boxsetup.c, grab()). */
static int add_folder(struct proto_msg *m, const char *path, struct err *e)
{
	_cleanup_free_ char *full = realpath(path, NULL);
	int fd;

	if (!full) return err_sys(e, "cannot open '%s'", path);
	vec_add(&m->s, full);
	if (geteuid()) return 0;
	fd = (int)syscall(SYS_open_tree, AT_FDCWD, full, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0) return err_sys(e, "cannot open '%s'", path);
	m->fds[m->nfds++] = fd;
	return 0;
}

static void note_limits(const struct sandbox *s, const struct sandbox_opts *o, struct proto_msg *m, struct vec *notes)
{
	/* Of one file at once, by the kernel; of all together, measured. */
	m->n[1] = m->n[3] = o->limits.disk_bytes;
	if (o->limits.disk_bytes)
		vec_addf(notes,
			 "disk limit %lld MB: measured, not rationed; what goes over it is ended, some tenths of a "
			 "second late",
			 (long long)(o->limits.disk_bytes >> 20));
	if (o->limits.pids && !s->cgroup.dir[CGROUP_PIDS]) {
		m->n[2] = o->limits.pids + OWN_PIDS;
		vec_addf(notes, "pids limit for each user in the container only: %d", o->limits.pids);
	}
}

static int rules_now(const struct sandbox_opts *o, char **text_r, struct err *e)
{
	__attribute__((cleanup(netrules_release))) struct netrules rules = {0};

	if (o->allow && netrules_list(o->allow, &rules.allow, e)) return -1;
	if (o->refuse && netrules_list(o->refuse, &rules.refuse, e)) return -1;
	return netrules_look(&rules, e) || netrules_text(&rules, text_r, e) ? -1 : 0;
}

int sandbox_rules_hold(const struct sandbox *s, const struct sandbox_opts *o)
{
	_cleanup_free_ char *now = NULL;
	struct err ignored;

	if (!o->network) return !s->rules;
	return s->rules && !rules_now(o, &now, &ignored) && !strcmp(now, s->rules);
}

/* What its network does not reach, before there is one. */
static int send_rules(struct sandbox *s, const struct sandbox_opts *o, struct err *e)
{
	struct proto_msg m;
	int result;

	if (rules_now(o, &s->rules, e)) return -1;
	proto_msg_init(&m, BOX_RULES);
	vec_add(&m.s, s->rules);
	result = ask(s, &m, NULL, e);
	proto_msg_release(&m);
	return result;
}

static int set_up(struct sandbox *s, const struct sandbox_opts *o, struct vec *notes, struct err *e)
{
	_cleanup_free_ char *data = xasprintf("%s/data", o->dir);
	struct proto_msg m;
	int init, result;
	size_t n = 0;

	while (o->layers[n]) n++;
	if (n < 1 || n > MAX_LAYERS)
		return err_set(e, ERR_INPUT, "a box has 1 to %d layers, not %zu", (int)MAX_LAYERS, n);
	proto_msg_init(&m, BOX_SETUP);
	if (o->network) m.n[0] |= BOX_SETUP_NETWORK;
	note_limits(s, o, &m, notes);
	result = open_init(&init, e);
	if (!result) {
		m.fds[m.nfds++] = init;
		result = add_folder(&m, data, e);
	}
	for (size_t i = 0; i < n && !result; i++) result = add_folder(&m, o->layers[i], e);
	if (!result && o->trees && geteuid()) {
		m.n[0] |= BOX_SETUP_TREES;
		vec_add(&m.s, o->trees);
	}
	if (!result) result = ask(s, &m, NULL, e);
	proto_msg_release(&m);
	return result;
}

int sandbox_open(const struct sandbox_opts *o, struct sandbox **s_r, struct vec *notes, struct err *e)
{
	__attribute__((cleanup(sandbox_close))) struct sandbox *s = xcalloc(1, sizeof(*s));
	_cleanup_close_ int userns = -1;

	s->sock = s->pidfd = s->end = s->go = s->binfmt = -1;
	s->dir = xstrdup(o->dir);
	s->trees = o->trees ? xstrdup(o->trees) : NULL;
	s->abort_fd = o->abort_fd;
	if (userns_open(&userns, e) || binfmt_open(userns, o->arch, &s->binfmt, e) || make_folders(o->dir, e))
		return err_wrap(e, "box '%s'", o->id);
	limit(s, o, notes);
	if (start_box(s, userns, e)) return err_wrap(e, "box '%s'", o->id);
	cgroup_join(&s->cgroup, s->pid, notes);
	if ((o->network && send_rules(s, o, e)) || set_up(s, o, notes, e)) return err_wrap(e, "box '%s'", o->id);
	*s_r = steal(s);
	return 0;
}

/* --- files --- */

static int memory_file(const void *data, size_t len, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("slipway", MFD_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot make a memory file");
	if (fs_write_all(fd, data, len, "memory file", e)) return -1;
	if (lseek(fd, 0, SEEK_SET)) return err_sys(e, "cannot rewind a memory file");
	*fd_r = fd;
	fd = -1;
	return 0;
}

/* A request with up to two strings, one number and one descriptor, which stays the caller's. */
static int request(struct sandbox *s, enum box_op op, const char *a, const char *b, int64_t n, int fd, int *fd_r,
		   struct err *e)
{
	struct proto_msg m;
	int result;

	proto_msg_init(&m, op);
	if (a) vec_add(&m.s, a);
	if (b) vec_add(&m.s, b);
	m.n[0] = n;
	if (fd >= 0) m.fds[m.nfds++] = fd;
	result = ask(s, &m, fd_r, e);
	vec_release(&m.s);
	return result;
}

int sandbox_put_file(struct sandbox *s, const char *path, const void *data, size_t len, unsigned mode, struct err *e)
{
	_cleanup_close_ int fd = -1;

	if (memory_file(data, len, &fd, e)) return -1;
	return request(s, BOX_PUT_FILE, path, NULL, mode, fd, NULL, e);
}

static int send_file(struct sandbox *s, const struct sandbox_file *f, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct proto_msg m;
	int result;

	if (memory_file(f->text, strlen(f->text), &fd, e)) return -1;
	proto_msg_init(&m, BOX_PUT_FILE);
	vec_add(&m.s, f->path);
	m.n[0] = f->mode;
	m.fds[m.nfds++] = fd;
	result = proto_send(s->sock, &m, e);
	vec_release(&m.s);
	return result;
}

/* All are sent before the first answer is read: the box need not wait for us between two. Few enough for the socket. */
int sandbox_put_files(struct sandbox *s, const struct sandbox_file *files, size_t n, struct err *e)
{
	size_t sent = 0;
	int failed = 0;

	if (n > MAX_FILES_AT_ONCE) die("sandbox_put_files: %zu files", n);
	while (sent < n && !failed)
		if (send_file(s, &files[sent], e))
			failed = -1;
		else
			sent++;
	for (size_t i = 0; i < sent; i++) {
		struct proto_msg reply;
		struct err late;

		if (hear(s, &reply, failed ? &late : e))
			failed = -1;
		else
			proto_msg_release(&reply);
	}
	return failed;
}

int sandbox_put_tar(struct sandbox *s, int fd, const char *path, struct err *e)
{
	return request(s, BOX_PUT_TAR, path, NULL, 0, fd, NULL, e);
}

static void git_command(struct vec *argv, struct vec *env)
{
	/* Any commit may be asked for: an event's commit need not be a branch's tip any more. The way is short: bytes
	 * cost less than looking for deltas. */
	const char *const start[] = {
		"git",           "-c", "safe.directory=*",   "-c", "uploadpack.allowAnySHA1InWant=true", "-c",
		"pack.window=0", "-c", "pack.compression=1", NULL};
	const char *path = getenv("PATH");

	vec_add_all(argv, start);
	vec_setenv(env, "PATH", path ? path : "/usr/bin:/bin");
	vec_setenv(env, "HOME", "/nonexistent");
	vec_setenv(env, "GIT_CONFIG_NOSYSTEM", "1");
	vec_setenv(env, "GIT_CONFIG_GLOBAL", "/dev/null");
}

/* The mirror's end of a fetch. */
static int serve_mirror(const char *mirror, int sock, pid_t *pid_r, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
	_cleanup_close_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	/* What it has to say the fetching side hears too, and tells. */
	struct child_opts o = {.in = sock, .out = sock, .err = null, .die_with_parent = 1};

	if (null < 0) return err_sys(e, "cannot open '/dev/null'");
	git_command(&argv, &env);
	vec_add(&argv, "upload-pack");
	vec_add(&argv, "--strict");
	vec_add(&argv, mirror);
	o.argv = (const char *const *)argv.items;
	o.env = (const char *const *)env.items;
	return child_start(&o, pid_r, NULL, e);
}

/* Tags on the part of the history that is brought; none where git cannot say. */
static void list_tags(const struct sandbox_git *git, struct vec *tags_r)
{
	_cleanup_buf_ struct buf out = BUF_INIT(16384);
	struct child_status st = {CHILD_LOST, 0};
	struct err e;

	/* Not those from before; a short history has no such commit, and the second try says so. */
	for (int whole = !git->depth; whole < 2 && !child_ok(st); whole++) {
		_cleanup_vec_ struct vec argv = VEC_INIT, env = VEC_INIT;
		_cleanup_buf_ struct buf complaint = BUF_INIT(4096);
		struct child_opts o = {0};

		git_command(&argv, &env);
		vec_addf(&argv, "--git-dir=%s", git->mirror);
		vec_add(&argv, "for-each-ref");
		vec_add(&argv, "--format=%(refname)");
		vec_addf(&argv, "--merged=%s", git->commit);
		if (!whole) vec_addf(&argv, "--no-merged=%s~%d", git->commit, git->depth - 1);
		vec_add(&argv, "refs/tags");
		o.argv = (const char *const *)argv.items;
		o.env = (const char *const *)env.items;
		buf_clear(&out);
		if (child_run(&o, NULL, CLOSE_TIMEOUT_MS, &out, &complaint, &st, &e)) return;
	}
	for (char *p = out.data, *end; p && (end = strchr(p, '\n')); p = end + 1) {
		*end = '\0';
		vec_add(tags_r, p);
	}
}

int sandbox_put_git(struct sandbox *s, const struct sandbox_git *git, struct err *e)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	struct child_status st;
	struct proto_msg m;
	struct err late;
	int pair[2], result;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return err_sys(e, "cannot make a socket pair");
	ours = pair[0];
	theirs = pair[1];
	if (serve_mirror(git->mirror, ours, &pid, e)) return -1;
	close_p(&ours);
	proto_msg_init(&m, BOX_PUT_GIT);
	m.n[0] = git->depth;
	vec_add(&m.s, git->path);
	vec_add(&m.s, git->commit);
	list_tags(git, &m.s);
	m.fds[0] = theirs;
	m.nfds = 1;
	result = ask(s, &m, NULL, e);
	vec_release(&m.s);
	close_p(&theirs);
	if (child_wait(pid, CLOSE_TIMEOUT_MS, &st, &late) && !result) {
		*e = late;
		return -1;
	}
	return result;
}

int sandbox_put_tree(struct sandbox *s, const char *name, const char *path, struct err *e)
{
	struct proto_msg m;
	int result = 0;

	if (!s->trees) die("sandbox_put_tree: no folder of trees was given");
	proto_msg_init(&m, BOX_PUT_TREE);
	vec_add(&m.s, path);
	vec_add(&m.s, name);
	if (!geteuid()) {
		_cleanup_free_ char *full = xasprintf("%s/%s", s->trees, name);

		m.fds[0] = (int)syscall(SYS_open_tree, AT_FDCWD, full, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (m.fds[0] < 0) result = err_sys(e, "cannot open '%s'", full);
		m.nfds = m.fds[0] >= 0;
	}
	if (!result) result = ask(s, &m, NULL, e);
	proto_msg_release(&m);
	return result;
}

struct collector {
	sandbox_file_fn *fn;
	void *arg;
};

/* One FILE record. What the box says of the file is not believed where we can look ourselves. */
static int collect_one(struct collector *c, struct proto_msg *m, struct err *e)
{
	struct stat st;

	if (m->nfds != 1 || m->s.len != 1) return err_set(e, ERR_REMOTE, "the box sent a broken file");
	if (fstat(m->fds[0], &st) || !S_ISREG(st.st_mode))
		return err_set(e, ERR_REMOTE, "the box sent '%s', which is no file", m->s.items[0]);
	return c->fn(c->arg, m->s.items[0], m->fds[0], (unsigned)st.st_mode & 0777, (uint64_t)st.st_size, e);
}

int sandbox_collect(struct sandbox *s, const char *root, const char *glob, sandbox_file_fn *fn, void *arg,
		    struct err *e)
{
	struct collector c = {fn, arg};
	struct proto_msg m;
	int stopped = 0;

	proto_msg_init(&m, BOX_COLLECT);
	vec_add(&m.s, root);
	vec_add(&m.s, glob);
	if (proto_send(s->sock, &m, e)) stopped = -1;
	vec_release(&m.s);
	if (stopped) return -1;
	for (;;) {
		struct err late; /* fn's error stands */
		enum box_op op;

		if (hear(s, &m, stopped ? &late : e)) return -1;
		op = m.op;
		if (op == BOX_FILE && !stopped) stopped = collect_one(&c, &m, e);
		proto_msg_release(&m);
		if (op != BOX_FILE) return stopped;
	}
}

/* The whole runner: who has the box in a small program of its own packs nothing there. */
static int open_packer(int *fd_r, struct err *e)
{
	_cleanup_free_ char *beside = runner_path ? NULL : child_beside("slipway-runner");
	const char *path = runner_path ? runner_path : beside ? beside : child_self();

	*fd_r = open(path, O_RDONLY | O_CLOEXEC);
	return *fd_r < 0 ? err_sys(e, "cannot open '%s'", path) : 0;
}

static int move_cache(struct sandbox *s, enum box_op op, int archive, int secrets, const struct vec *folders,
		      const char *with, const struct box_cache_limits *l, struct box_cache_report *r, struct err *e)
{
	_cleanup_close_ int in = -1, out = -1, packer = -1;
	struct box_cache_told told;
	struct proto_msg m;
	int p[2], result;

	if (open_packer(&packer, e)) return -1;
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK)) return err_sys(e, "cannot make a pipe");
	in = p[0];
	out = p[1];
	proto_msg_init(&m, op);
	vec_add(&m.s, with);
	for (size_t i = 0; i < folders->len; i++) vec_add(&m.s, folders->items[i]);
	m.n[0] = l->bytes;
	m.n[1] = l->packed;
	m.n[2] = l->files;
	m.fds[0] = archive;
	m.fds[1] = out;
	m.fds[2] = packer;
	m.fds[3] = secrets;
	m.nfds = op == BOX_GET_CACHE ? 4 : 3;
	result = ask(s, &m, NULL, e);
	vec_release(&m.s);
	if (result) return -1;
	if (read(in, &told, sizeof(told)) != sizeof(told))
		return err_set(e, ERR_REMOTE, "the box told nothing of the cache");
	*r = told.r;
	if (told.failed) *e = told.e;
	return told.failed ? -1 : 0;
}

int sandbox_put_cache(struct sandbox *s, int archive, const struct vec *folders, const char *with,
		      const struct box_cache_limits *l, struct box_cache_report *r, struct err *e)
{
	return move_cache(s, BOX_PUT_CACHE, archive, -1, folders, with, l, r, e);
}

int sandbox_get_cache(struct sandbox *s, int archive, int secrets, const struct vec *folders, const char *with,
		      const struct box_cache_limits *l, struct box_cache_report *r, struct err *e)
{
	return move_cache(s, BOX_GET_CACHE, archive, secrets, folders, with, l, r, e);
}

int sandbox_connect(struct sandbox *s, int port, int *fd_r, struct err *e)
{
	int fd = -1;

	if (request(s, BOX_CONNECT, NULL, NULL, port, -1, &fd, e)) return -1;
	if (fd < 0) return err_set(e, ERR_REMOTE, "the box sent no connection");
	*fd_r = fd;
	return 0;
}

int sandbox_offline(struct sandbox *s, struct err *e)
{
	return request(s, BOX_OFFLINE, NULL, NULL, 0, -1, NULL, e);
}

/* --- the line --- */

static int ask_for_fd(struct sandbox *s, enum box_op op, int64_t n, int *fd_r, struct err *e)
{
	int fd = -1;

	if (request(s, op, NULL, NULL, n, -1, &fd, e)) return -1;
	if (fd < 0) return err_set(e, ERR_REMOTE, "the box sent no descriptor");
	*fd_r = fd;
	return 0;
}

int sandbox_socket(struct sandbox *s, int *fd_r, struct err *e)
{
	return ask_for_fd(s, BOX_SOCKET, 0, fd_r, e);
}

int sandbox_tap(struct sandbox *s, int bad_line, int *fd_r, struct err *e)
{
	return ask_for_fd(s, BOX_TAP, bad_line, fd_r, e);
}

int sandbox_line(struct sandbox *s, const struct sandbox_line *l, struct err *e)
{
	struct proto_msg m;

	proto_msg_init(&m, BOX_LINE);
	m.n[0] = l->delay_ms;
	m.n[1] = l->loss_ppm;
	m.n[2] = l->rate_bit;
	m.n[3] = l->tap;
	return ask(s, &m, NULL, e);
}

int sandbox_line_show(struct sandbox *s, int tap, char **text_r, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	_cleanup_close_ int fd = -1;

	if (ask_for_fd(s, BOX_LINE_SHOW, tap, &fd, e) || fs_read_fd(fd, "the line's statistics", &text, e)) return -1;
	*text_r = buf_steal(&text);
	return 0;
}

/* --- runs --- */

/* Command and environment, for the container's init alone: memory that only descriptors name, or a pipe. */
static int write_spec(const struct sandbox_run *r, struct buf *b, struct err *e)
{
	const char *const none[] = {NULL}, *const * lists[] = {r->argv, r->env ? r->env : none};
	struct init_spec spec = {0};
	const char *cwd = r->cwd ? r->cwd : "/";

	while (r->argv[spec.argc]) spec.argc++;
	while (r->env && r->env[spec.envc]) spec.envc++;
	buf_add(b, &spec, sizeof(spec));
	buf_add(b, cwd, strlen(cwd) + 1);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (const char *const *p = lists[i]; *p; p++) buf_add(b, *p, strlen(*p) + 1);
	if (buf_check(b, "command and environment", e)) return -1;
	spec.bytes = b->len - sizeof(spec);
	memcpy(b->data, &spec, sizeof(spec));
	return 0;
}

/* So that `>/dev/stderr` works in there, which opens the pipe anew, for all of the container's users. Only those get so
 * far who may look at a process that has it open. Where it fails, only that does not work. */
static void open_to_box(int fd)
{
	struct stat st;
	uid_t uid;
	gid_t gid;
	struct err e;

	if (fd < 0 || fstat(fd, &st) || !S_ISFIFO(st.st_mode)) return;
	if (!geteuid() && !userns_owner(&uid, &gid, &e) && fchown(fd, uid, gid)) errno = 0;
	if (fchmod(fd, 0666)) errno = 0;
}

/* A container whose init reads what it is to run from `spec`. */
static int start_container(struct sandbox *s, const struct sandbox_run *r, int spec, int ahead, struct err *e)
{
	_cleanup_close_ int null = -1, end_in = -1, end_out = -1;
	struct proto_msg m;
	int p[2], result;

	if (s->end >= 0) die("sandbox_start: a container runs");
	if (!r->in && (null = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
		return err_sys(e, "cannot open '/dev/null'");
	open_to_box(r->in > 0 ? r->in : -1);
	open_to_box(r->out);
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	end_in = p[0];
	end_out = p[1];
	proto_msg_init(&m, BOX_START);
	if (r->cwd) vec_add(&m.s, r->cwd);
	m.n[0] = r->stop_grace_ms;
	m.n[1] = ahead;
	m.fds[0] = r->in ? r->in : null;
	m.fds[1] = r->out;
	m.fds[2] = end_out;
	m.fds[3] = spec;
	m.nfds = 4;
	result = ask(s, &m, NULL, e);
	vec_release(&m.s);
	if (result) return -1;
	s->end = end_in;
	end_in = -1;
	return 0;
}

int sandbox_ready(struct sandbox *s, int in, int out, int stop_grace_ms, struct err *e)
{
	const struct sandbox_run r = {.in = in, .out = out, .stop_grace_ms = stop_grace_ms};
	_cleanup_close_ int theirs = -1, ours = -1;
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	theirs = p[0];
	ours = p[1];
	if (start_container(s, &r, theirs, 1, e)) return -1;
	s->go = ours;
	ours = -1;
	return 0;
}

/* Its init may end before it has read all: no signal then, the end tells. */
static int tell_spec(int go, const struct buf *b, struct err *e)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, was;
	int result;

	sigaction(SIGPIPE, &ignore, &was);
	result = fs_write_all(go, b->data, b->len, "the container's pipe", e);
	sigaction(SIGPIPE, &was, NULL);
	return result;
}

int sandbox_start(struct sandbox *s, const struct sandbox_run *r, struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT(SPEC_MAX);
	_cleanup_close_ int spec = -1;
	int result;

	if (!r->argv || !r->argv[0]) return err_set(e, ERR_INPUT, "no command to run in the box");
	result = write_spec(r, &b, e);
	if (!result && s->go >= 0)
		result = request(s, BOX_GO, r->cwd ? r->cwd : "/", NULL, 0, -1, NULL, e) || tell_spec(s->go, &b, e);
	else if (!result)
		result = memory_file(b.data, b.len, &spec, e) || start_container(s, r, spec, 0, e);
	close_p(&s->go);
	if (b.data) explicit_bzero(b.data, b.len);
	return result ? -1 : 0;
}

int sandbox_fd(const struct sandbox *s)
{
	return s->end;
}

int sandbox_end(struct sandbox *s, struct child_status *status_r, int *over_r, struct err *e)
{
	struct box_end end;
	ssize_t n;

	do n = read(s->end, &end, sizeof(end));
	while (n < 0 && errno == EINTR);
	close_p(&s->end);
	if (n != sizeof(end)) return gone(s, e);
	*over_r = end.over_disk            ? SANDBOX_OVER_DISK
		  : cgroup_oom(&s->cgroup) ? SANDBOX_OVER_MEMORY
					   : SANDBOX_OVER_NOTHING;
	switch (end.how) {
	case BOX_END_EXITED: *status_r = (struct child_status){CHILD_EXITED, end.code}; return 0;
	case BOX_END_SIGNALLED: *status_r = (struct child_status){CHILD_SIGNALLED, end.code}; return 0;
	case BOX_END_NOT_STARTED: break;
	}
	end.text[sizeof(end.text) - 1] = '\0';
	return err_set(e, ERR_REMOTE, "the container %s", end.text);
}

static void tell(struct sandbox *s, enum box_op op)
{
	struct proto_msg m;
	struct err e;

	proto_msg_init(&m, op);
	if (proto_send(s->sock, &m, &e))
		kill(s->pid, SIGKILL); /* it does not listen: the box ends, and so does the run */
}

void sandbox_stop(struct sandbox *s)
{
	tell(s, BOX_STOP);
}

void sandbox_kill(struct sandbox *s)
{
	tell(s, BOX_KILL);
}

/* --- the end --- */

/* As an ordinary user the files have mapped owners, and overlayfs' own work folder is closed to all. */
static void remove_files(const char *dir)
{
	_cleanup_free_ char *data = xasprintf("%s/data", dir), *record = record_path(dir);
	struct err e;

	/* What cannot be removed now is left, with the record, to the next sweep. */
	if (!userns_remove_tree(data, &e)) unlink(record);
}

/* All processes of the box are gone after it, and with them its mounts. */
static void end_box(struct sandbox *s)
{
	struct child_status st;
	struct err e;

	close_p(&s->go);
	close_p(&s->end);
	close_p(&s->sock); /* inner ends at that, the kernel kills the rest, outer reaps inner when all are gone */
	if (s->pid > 0 && child_wait(s->pid, CLOSE_TIMEOUT_MS, &st, &e)) st.end = CHILD_LOST;
	s->pid = 0;
	close_p(&s->pidfd);
	close_p(&s->binfmt);
	cgroup_remove(&s->cgroup);
}

void sandbox_end_all(struct sandbox *s)
{
	end_box(s);
}

void sandbox_close(struct sandbox **sp)
{
	struct sandbox *s = *sp;

	if (!s) return;
	end_box(s);
	remove_files(s->dir);
	free(s->dir);
	free(s->trees);
	free(s->rules);
	free_p(sp);
}

int sandbox_take(struct sandbox **sp, const char *path, const char *to, struct err *e)
{
	_cleanup_free_ char *from = xasprintf("%s/data/upper%s", (*sp)->dir, path);
	int result;

	end_box(*sp);
	result = rename(from, to) ? err_sys(e, "cannot rename '%s'", from) : 0;
	sandbox_close(sp);
	return result;
}

void sandbox_discard(const char *dir)
{
	_cleanup_free_ char *record = record_path(dir);

	cgroup_sweep(record);
	remove_files(dir);
}

void sandbox_sweep(const char *root_dir, const char *box, int (*live)(const char *name, void *arg), void *arg)
{
	DIR *list = opendir(root_dir);

	if (!list) return;
	for (struct dirent *d; (d = readdir(list));) {
		_cleanup_free_ char *dir = xasprintf("%s/%s/%s", root_dir, d->d_name, box);
		_cleanup_free_ char *data = xasprintf("%s/data", dir), *record = record_path(dir);

		if (d->d_name[0] == '.' || (!fs_exists(data) && !fs_exists(record)) || live(d->d_name, arg)) continue;
		sandbox_discard(dir);
	}
	closedir(list);
}
