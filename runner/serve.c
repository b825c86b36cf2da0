/* The daemon: one loop that accepts events, has them prepared, and starts a leader for every queued job. It does no
 * build work itself and holds nothing that is not in the store, so that a kill -9 loses nothing:
 *
 *   event stored ─→ `runner prepare` ─→ jobs queued ─→ claim (row committed) ─→ lock taken ─→ `runner job`
 *
 * A leader holds its job's lock file (jobs/<id>/lock) for as long as it lives; the daemon takes the lock before the
 * fork and hands it over, so there is no moment in which a living leader is not seen by it. A daemon that starts
 * adopts the leaders whose lock is held and gives up the jobs whose lock is free. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "lib/loop.h"
#include "lib/num.h"
#include "runner/cmd.h"
#include "runner/gc.h"
#include "runner/home.h"
#include "runner/leader.h"
#include "runner/notify.h"
#include "runner/reconcile.h"
#include "runner/spare.h"
#include "runner/store/store.h"
#include "runner/web/api.h"

enum {
	BACKSTOP_MS = 1000,     /* how often the store is looked at when nobody pokes */
	ADOPT_RETRY_MS = 50,    /* a leader that has the lock but has not written its pid yet */
	PREPARE_REST_MS = 1000, /* a preparer that could not even note its failure: its repository waits */
	MOST_PREPARING = STORE_MOST_AWAY,
	RECONCILE_S = 3600,
};

struct leader {
	int64_t job_id;
	int attempt;
	pid_t pid;
	int pidfd;      /* -1: not known yet */
	int ours;       /* our child: to be reaped */
	int boxless;    /* its box is gone: it writes its row and ends */
	char lost[100]; /* how it ended without a result; pid is the sweeper's then */
	struct leader *next;
	struct serve *serve;
};

/* One for a repository at most, so that one whose source hangs holds up no other. */
struct preparer {
	int64_t event_id, repo_id;
	int64_t rest_until_mono_ms; /* it takes its place up to then */
	pid_t pid;
	int pidfd;
	struct serve *serve;
};

struct serve {
	struct home home;
	struct store *store;
	struct loop *loop;
	struct api *api;
	struct reconciler *reconciler;
	struct gc_settings gc_settings;
	struct gc *gc;
	struct notifier *notifier;
	struct spare *spare; /* NULL: none is to be kept */
	int no_spare;
	struct leader *leaders;
	struct preparer preparing[MOST_PREPARING]; /* event_id 0: free */
	int wake_fd, lock_fd;
	int most_jobs, reconcile_s; /* 0: never */
	pid_t sweeper; /* what dead leaders left is being removed: no job starts before that has ended. 0: none */
	int sweeper_fd;
	int broken; /* the store failed: stop and say so */
	struct err why;
};

static void look(struct serve *s);

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* A store that cannot be used is the end of this process: whoever supervises it starts it again, and nothing was
 * promised that is not on disk. What passes (a full disk, a busy file) is waited for: 1. */
static int give_up(struct serve *s, const struct err *e)
{
	if (store_is_passing(e)) {
		say("store: %s; trying again", e->text);
		home_use_reserve(&s->home);
		return 1;
	}
	s->broken = 1;
	s->why = *e;
	loop_stop(s->loop);
	return 0;
}

/* --- leaders --- */

static void forget_leader(struct serve *s, struct leader *gone)
{
	for (struct leader **p = &s->leaders; *p; p = &(*p)->next)
		if (*p == gone) {
			*p = gone->next;
			break;
		}
	if (gone->pidfd >= 0) {
		loop_fd_remove(s->loop, gone->pidfd);
		close(gone->pidfd);
	}
	free(gone);
}

/* Places that are taken. A leader without a box takes none, unless so many pile up. */
static int count_leaders(const struct serve *s)
{
	int n = 0, boxless = 0;

	for (const struct leader *l = s->leaders; l; l = l->next)
		if (l->boxless)
			boxless++;
		else
			n++;
	return boxless > s->most_jobs ? n + boxless - s->most_jobs : n;
}

static void watch_leader(struct leader *l);

/* Removes what the box of a leader that was killed left on the disk: a process of its own, it may be much. */
static int start_sweeper(struct leader *l, struct err *e)
{
	struct serve *s = l->serve;
	_cleanup_free_ char *id = xasprintf("%lld", (long long)l->job_id);
	struct child_opts o = {.argv = (const char *const[]){child_self(), "sweep", s->home.state, id, NULL},
			       .die_with_parent = 1};

	if (child_start(&o, &l->pid, &l->pidfd, e)) return -1;
	l->ours = 1;
	l->boxless = 0;
	watch_leader(l);
	return 0;
}

/* The job is queued again or, after too many attempts, errored. */
static void give_back(void *arg)
{
	struct leader *l = arg;
	struct serve *s = l->serve;
	_cleanup_free_ char *why = xasprintf("its leader ended without a result (%s)", l->lost);
	struct err e;

	if (store_job_lost(s->store, l->job_id, l->attempt, why, clock_unix_ms(), &e) && e.kind != ERR_DENIED &&
	    e.kind != ERR_MISSING && give_up(s, &e)) {
		loop_timer(s->loop, BACKSTOP_MS, give_back, l);
		return;
	}
	say("job %lld: %s", (long long)l->job_id, why);
	forget_leader(s, l);
	look(s);
}

/* Its process is gone. A leader writes the result before it ends; without one, the job is lost. */
static void settle(struct leader *l, const char *how)
{
	__attribute__((cleanup(job_row_release))) struct job_row row = {0};
	struct serve *s = l->serve;
	struct err e;

	if (store_job_get(s->store, l->job_id, &row, &e)) {
		/* Its repository was removed as soon as the job had ended. */
		if (e.kind == ERR_MISSING) {
			forget_leader(s, l);
			return;
		}
		snprintf(l->lost, sizeof(l->lost), "%s", how);
		if (give_up(s, &e))
			loop_timer(s->loop, BACKSTOP_MS, give_back, l);
		else
			forget_leader(s, l);
		return;
	}
	if (job_state_is_final(row.state) || row.state == JOB_QUEUED || row.attempt != l->attempt) {
		forget_leader(s, l);
		return;
	}
	snprintf(l->lost, sizeof(l->lost), "%s", how);
	if (!start_sweeper(l, &e)) return;
	say("job %lld: cannot sweep its box: %s", (long long)l->job_id, e.text);
	give_back(l);
}

static void leader_ended(int fd, short revents, void *arg)
{
	struct leader *l = arg;
	struct serve *s = l->serve;
	struct child_status st = {CHILD_LOST, 0};
	int ws;

	(void)fd;
	(void)revents;
	if (l->ours && waitpid(l->pid, &ws, 0) == l->pid) st = child_decode(ws);
	loop_fd_remove(s->loop, l->pidfd);
	close_p(&l->pidfd);
	gc_job_ended(s->gc);
	if (!*l->lost) {
		settle(l, child_status_str(st));
		look(s);
		return;
	}
	if (!child_ok(st)) say("job %lld: sweeping its box %s", (long long)l->job_id, child_status_str(st));
	give_back(l);
}

static struct leader *add_leader(struct serve *s, int64_t job_id, int attempt)
{
	struct leader *l = xcalloc(1, sizeof(*l));

	l->job_id = job_id;
	l->attempt = attempt;
	l->pidfd = -1;
	l->serve = s;
	l->next = s->leaders;
	s->leaders = l;
	return l;
}

static void watch_leader(struct leader *l)
{
	loop_fd(l->serve->loop, l->pidfd, POLLIN, leader_ended, l);
}

static int start_leader(struct serve *s, const struct job_row *row, struct err *e)
{
	const struct leader_opts o = {.spare = s->spare};
	struct leader *l;
	pid_t pid;
	int pidfd;

	if (leader_start(&s->home, row, &o, &pid, &pidfd, e)) return -1;
	if (s->spare) spare_remember(s->spare, row);
	l = add_leader(s, row->id, row->attempt);
	l->pid = pid;
	l->pidfd = pidfd;
	l->ours = 1;
	watch_leader(l);
	return 0;
}

static int has_place(void *arg)
{
	const struct serve *s = arg;

	return !s->broken && !s->sweeper && count_leaders(s) < s->most_jobs;
}

/* A job that was claimed and could not be started. */
static void give_back_later(struct serve *s, const struct job_row *row, const char *why)
{
	struct leader *l = add_leader(s, row->id, row->attempt);

	snprintf(l->lost, sizeof(l->lost), "it was never started: %s", why);
	loop_timer(s->loop, BACKSTOP_MS, give_back, l);
}

/* Starts leaders until the box is full or the queue empty. */
static void start_jobs(struct serve *s)
{
	struct err e;

	while (!s->broken && !s->sweeper && count_leaders(s) < s->most_jobs) {
		__attribute__((cleanup(job_row_release))) struct job_row row = {0};
		int rc = gc_admits(s->gc, s->store, &e);

		if (!rc) return;
		if (rc > 0) rc = store_job_claim(s->store, clock_unix_ms(), &row, &e);

		if (rc < 0) give_up(s, &e);
		if (rc) return;
		if (start_leader(s, &row, &e)) {
			_cleanup_free_ char *why = xstrdup(e.text);

			say("job %lld: %s", (long long)row.id, why);
			give_back_later(s, &row, why);
			return; /* looked at again by the backstop, not in a tight loop */
		}
	}
}

static void retry_adoption(void *arg);

/* Takes over the leader of a job that was running before this daemon started. The lock tells whether it lives; its
 * pid is in the lock file, and holds as long as the lock is seen held after the pidfd was opened. */
static void adopt(struct leader *l)
{
	struct serve *s = l->serve;
	_cleanup_free_ char *path = home_job(&s->home, l->job_id, "lock");
	_cleanup_buf_ struct buf text = BUF_INIT(64);
	_cleanup_close_ int lock = -1, pidfd = -1;
	struct err e;
	pid_t pid;

	if (!fs_exists(path) || !fs_lock(path, 0, &lock, &e)) {
		settle(l, "it was gone when the daemon started");
		return;
	}
	if (e.kind != ERR_BUSY) {
		err_wrap(&e, "job %lld", (long long)l->job_id);
		give_up(s, &e);
		return;
	}
	pid = !fs_read_file(path, &text, &e) ? (pid_t)strtol(buf_str(&text), NULL, 10) : 0;
	if (pid > 0) pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 || !fs_lock(path, 0, &lock, &e)) {
		loop_timer(s->loop, ADOPT_RETRY_MS, retry_adoption, l);
		return;
	}
	l->pid = pid;
	l->pidfd = pidfd;
	pidfd = -1;
	say("job %lld: adopted its leader, process %d", (long long)l->job_id, (int)pid);
	watch_leader(l);
}

static void retry_adoption(void *arg)
{
	struct leader *l = arg;
	struct serve *s = l->serve;

	adopt(l);
	look(s);
}

static int settle_what_was_running(struct serve *s, struct err *e)
{
	struct job_row *rows = NULL;
	size_t n = 0;

	if (store_job_live(s->store, &rows, &n, e)) return -1;
	for (size_t i = 0; i < n; i++) adopt(add_leader(s, rows[i].id, rows[i].attempt));
	job_rows_free(&rows, n);
	return 0;
}

/* --- events --- */

static void preparer_ended(int fd, short revents, void *arg)
{
	struct preparer *p = arg;
	struct serve *s = p->serve;
	struct child_status st = {CHILD_LOST, 0};
	int ws;

	(void)revents;
	if (waitpid(p->pid, &ws, 0) == p->pid) st = child_decode(ws);
	loop_fd_remove(s->loop, fd);
	close_p(&p->pidfd);
	if (!child_ok(st)) {
		say("event %lld: preparing it %s", (long long)p->event_id, child_status_str(st));
		p->rest_until_mono_ms = clock_mono_ms() + PREPARE_REST_MS;
	}
	p->event_id = 0;
	look(s);
}

static int is_free(const struct preparer *p)
{
	return !p->event_id && clock_mono_ms() >= p->rest_until_mono_ms;
}

static void start_preparer(struct serve *s, struct preparer *p, const struct event_row *row)
{
	_cleanup_free_ char *id = xasprintf("%lld", (long long)row->id);
	struct child_opts o = {.argv = (const char *const[]){child_self(), "prepare", s->home.state, id, NULL},
			       .die_with_parent = 1};
	struct err e;

	p->repo_id = row->repo_id;
	if (child_start(&o, &p->pid, &p->pidfd, &e)) {
		say("event %lld: %s", (long long)row->id, e.text);
		p->rest_until_mono_ms = clock_mono_ms() + PREPARE_REST_MS;
		return;
	}
	p->event_id = row->id;
	p->serve = s;
	loop_fd(s->loop, p->pidfd, POLLIN, preparer_ended, p);
}

static void prepare_events(struct serve *s)
{
	for (size_t i = 0; i < MOST_PREPARING && !s->broken; i++) {
		__attribute__((cleanup(event_row_release))) struct event_row row = {0};
		int64_t away[STORE_MOST_AWAY];
		struct err e;
		int rc;

		if (!is_free(&s->preparing[i])) continue;
		for (size_t k = 0; k < MOST_PREPARING; k++)
			away[k] = is_free(&s->preparing[k]) ? 0 : s->preparing[k].repo_id;
		rc = store_event_next_due(s->store, clock_unix_ms(), away, &row, &e);
		if (rc < 0) give_up(s, &e);
		if (rc) return;
		start_preparer(s, &s->preparing[i], &row);
	}
}

/* --- the loop --- */

static void look(struct serve *s)
{
	struct err e;

	if (s->api) api_look(s->api);
	prepare_events(s);
	start_jobs(s);
	if (!s->broken && s->notifier && notifier_look(s->notifier, &e)) give_up(s, &e);
}

static void backstop(void *arg)
{
	struct serve *s = arg;

	home_keep_reserve(&s->home);
	look(s);
	loop_timer(s->loop, BACKSTOP_MS, backstop, s);
}

static void woken(int fd, short revents, void *arg)
{
	struct serve *s = arg;
	char bytes[32];
	ssize_t n;

	(void)revents;
	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		int64_t id = home_woken(bytes, (size_t)n);

		for (struct leader *l = id ? s->leaders : NULL; l; l = l->next)
			if (l->job_id == id) l->boxless = 1;
	}
	look(s);
}

static void stop_on_signal(int sig, void *arg)
{
	struct serve *s = arg;

	say("signal %d: stopping; running jobs go on", sig);
	loop_stop(s->loop);
}

static int open_wake(struct serve *s, struct err *e)
{
	_cleanup_free_ char *path = home_file(&s->home, "wake");
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(at.sun_path))
		return err_set(e, ERR_INPUT, "the state folder's path is too long for a socket: '%s'", path);
	memcpy(at.sun_path, path, strlen(path) + 1);
	s->wake_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->wake_fd < 0) return err_sys(e, "cannot make a socket");
	unlink(path);
	if (bind(s->wake_fd, (struct sockaddr *)&at, sizeof(at)) || chmod(path, 0600))
		return err_sys(e, "cannot bind '%s'", path);
	loop_fd(s->loop, s->wake_fd, POLLIN, woken, s);
	return 0;
}

static void look_again(void *arg)
{
	look(arg);
}

static int open_http(struct serve *s, const char *host, int port, struct err *e)
{
	_cleanup_free_ char *path = home_file(&s->home, "serve.addr"), *repos = home_file(&s->home, "repos");
	_cleanup_free_ char *line = NULL;

	if (api_open(s->loop, repos, s->store, host, port, look_again, s, &s->api, e)) return -1;
	line = xasprintf("http://%s\n", api_address(s->api));
	printf("runner: listening on %s", line);
	fflush(stdout);
	return fs_write_file(path, line, strlen(line), 0600, e);
}

static void sweeper_ended(int fd, short revents, void *arg)
{
	struct serve *s = arg;
	int ws;

	(void)revents;
	loop_fd_remove(s->loop, fd);
	close_p(&s->sweeper_fd);
	if (waitpid(s->sweeper, &ws, 0) != s->sweeper || !child_ok(child_decode(ws)))
		say("what dead leaders left could not all be removed");
	s->sweeper = 0;
	look(s);
}

/* What leaders that died with a former daemon, or with the box, left on the disk. Those that live hold their locks. */
static int start_sweep(struct serve *s, struct err *e)
{
	struct child_opts o = {.argv = (const char *const[]){child_self(), "sweep", s->home.state, NULL},
			       .die_with_parent = 1};

	if (child_start(&o, &s->sweeper, &s->sweeper_fd, e)) return -1;
	loop_fd(s->loop, s->sweeper_fd, POLLIN, sweeper_ended, s);
	return 0;
}

static int start(struct serve *s, const char *host, int port, struct err *e)
{
	_cleanup_free_ char *db = home_db(&s->home), *lock = home_file(&s->home, "serve.lock");

	if (fs_lock(lock, 0, &s->lock_fd, e)) {
		if (e->kind == ERR_BUSY) return err_set(e, ERR_BUSY, "another `runner serve` has '%s'", s->home.state);
		return -1;
	}
	s->loop = loop_new();
	s->gc = gc_start(s->loop, &s->home, &s->gc_settings, look_again, s);
	if (!s->no_spare) s->spare = spare_new(s->loop, &s->home, has_place, s);
	if (loop_signal(s->loop, SIGTERM, stop_on_signal, s, e) || loop_signal(s->loop, SIGINT, stop_on_signal, s, e) ||
	    store_open(db, &s->store, e) || open_wake(s, e) || settle_what_was_running(s, e))
		return -1;
	home_keep_reserve(&s->home);
	home_spread(&s->home);
	if (start_sweep(s, e)) return -1;
	if (open_http(s, host, port, e)) return -1;
	s->reconciler = reconciler_start(s->loop, s->home.state, (int64_t)s->reconcile_s * 1000);
	s->notifier = notifier_new(s->loop, s->store, s->home.state, look_again, s);
	backstop(s);
	return 0;
}

static void release(struct serve *s)
{
	while (s->leaders) forget_leader(s, s->leaders);
	for (size_t i = 0; i < MOST_PREPARING; i++) close_p(&s->preparing[i].pidfd);
	notifier_free(&s->notifier);
	reconciler_stop(&s->reconciler);
	gc_stop(&s->gc);
	spare_free(&s->spare);
	api_close(&s->api);
	store_close(&s->store);
	close_p(&s->wake_fd);
	close_p(&s->sweeper_fd);
	loop_free(&s->loop);
	close_p(&s->lock_fd);
	home_release(&s->home);
}

/* "HOST:PORT"; port 0 is any free one. */
static int parse_listen(const char *text, char **host_r, int *port_r, struct err *e)
{
	const char *colon = strrchr(text, ':');

	if (!colon || colon == text || num_parse_int(colon + 1, 0, 65535, port_r))
		return err_set(e, ERR_INPUT, "'%s' is not HOST:PORT", text);
	*host_r = xstrndup(text, (size_t)(colon - text));
	return 0;
}

int cmd_serve(int argc, char **argv)
{
	static const struct option options[] = {{"state", required_argument, NULL, 's'},
						{"listen", required_argument, NULL, 'l'},
						{"jobs", required_argument, NULL, 'j'},
						{"reconcile", required_argument, NULL, 'r'},
						{"no-spare", no_argument, NULL, 'n'},
						{"min-free", required_argument, NULL, GC_OPT_MIN_FREE},
						GC_OPTIONS,
						{0}};
	__attribute__((cleanup(release))) struct serve s = {.wake_fd = -1,
							    .lock_fd = -1,
							    .sweeper_fd = -1,
							    .reconcile_s = RECONCILE_S,
							    .gc_settings = GC_SETTINGS_INIT};
	const char *state = NULL, *listen_on = "127.0.0.1:8700";
	_cleanup_free_ char *host = NULL;
	_cleanup_free_ char *public = NULL;
	struct err e;
	int c, port = 0, bad = 0;

	s.most_jobs = (int)sysconf(_SC_NPROCESSORS_ONLN);
	for (size_t i = 0; i < MOST_PREPARING; i++) s.preparing[i].pidfd = -1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) switch (c) {
		case 's': state = optarg; break;
		case 'l': listen_on = optarg; break;
		case 'j': bad |= num_parse_int(optarg, 1, 1000, &s.most_jobs); break;
		case 'r': bad |= num_parse_int(optarg, 0, 366 * 24 * 3600, &s.reconcile_s); break;
		case 'n': s.no_spare = 1; break;
		case GC_OPT_KEEP_JOBS:
		case GC_OPT_DISK_BUDGET:
		case GC_OPT_IMAGE_BUDGET:
		case GC_OPT_MIN_FREE:
			if (gc_take_option(c, optarg, &s.gc_settings, &e)) return cmd_fail(argv[0], e.text);
			break;
		default: return cmd_usage(argv[0]);
		}
	if (optind != argc || bad) return cmd_usage(argv[0]);
	if (home_public(&public, &e)) return cmd_fail(argv[0], e.text);
	if (parse_listen(listen_on, &host, &port, &e) || home_open(state, &s.home, &e) || start(&s, host, port, &e) ||
	    loop_run(s.loop, &e))
		return cmd_fail(argv[0], e.text);
	return s.broken ? cmd_fail(argv[0], s.why.text) : 0;
}
