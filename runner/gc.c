/* The daemon's side of keeping room on the disk. */
#include "runner/gc.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/plan/config.h"

enum {
	FIRST_MS = 1000,
	EVERY_MS = 3600 * 1000,
	LOW_EVERY_MS = 60 * 1000, /* on a low disk it is tried more often, but not all the time */
	LOW_FACTOR = 2,           /* low: less than so many times what must be free */
};

struct gc {
	struct loop *loop;
	const struct home *home;
	const struct gc_settings *s;
	void (*room)(void *arg);
	void *arg;
	pid_t pid;
	int pidfd; /* -1: none runs */
	uint64_t timer;
	int64_t next_low_mono_ms;
	int held, said; /* queued jobs' `step` may say that they wait; stderr has been told */
};

/* --- settings --- */

static const char *take_size(const char *text, int64_t *bytes_r)
{
	if (strcmp(text, "0") != 0) return bad_size(text, bytes_r);
	*bytes_r = 0;
	return NULL;
}

int gc_take_option(int c, const char *value, struct gc_settings *s, struct err *e)
{
	const char *name = c == GC_OPT_KEEP_JOBS      ? "--keep-jobs"
			   : c == GC_OPT_MIN_FREE     ? "--min-free"
			   : c == GC_OPT_IMAGE_BUDGET ? "--image-budget"
						      : "--disk-budget";
	const char *why = NULL;
	char *end;
	long n;

	switch (c) {
	case GC_OPT_DISK_BUDGET: why = take_size(value, &s->disk_budget_bytes); break;
	case GC_OPT_IMAGE_BUDGET: why = take_size(value, &s->image_budget_bytes); break;
	case GC_OPT_MIN_FREE: why = take_size(value, &s->min_free_bytes); break;
	case GC_OPT_KEEP_JOBS:
		n = strtol(value, &end, 10);
		if (end == value || *end || n < 0 || n > INT_MAX) why = "must be a number; 0 keeps all";
		s->keep_jobs = why ? s->keep_jobs : (int)n;
		break;
	default: die("no option of gc: %d", c);
	}
	return why ? err_set(e, ERR_INPUT, "%s '%s': %s", name, value, why) : 0;
}

/* Both of the state's file system. A disk that cannot be asked is not waited for: the job will tell. */
static void ask_disk(const struct gc *g, int64_t *free_r, int64_t *needed_r)
{
	struct statvfs v;

	*needed_r = 0;
	*free_r = 0;
	if (statvfs(g->home->state, &v)) return;
	*free_r = (int64_t)(v.f_bavail * v.f_frsize);
	*needed_r = g->s->min_free_bytes;
	if (*needed_r >= 0) return;
	*needed_r = (int64_t)(v.f_blocks * v.f_frsize / 20);
	if (*needed_r > (int64_t)1 << 30) *needed_r = (int64_t)1 << 30;
}

/* --- the child --- */

static void start_one(void *arg);

static void ended(int fd, short revents, void *arg)
{
	struct gc *g = arg;

	(void)revents;
	waitpid(g->pid, NULL, 0); /* it said by itself what failed */
	loop_fd_remove(g->loop, fd);
	close_p(&g->pidfd);
	g->timer = loop_timer(g->loop, EVERY_MS, start_one, g);
	g->room(g->arg);
}

static void start_one(void *arg)
{
	struct gc *g = arg;
	_cleanup_free_ char *keep = xasprintf("%d", g->s->keep_jobs);
	_cleanup_free_ char *budget = xasprintf("%lld", (long long)g->s->disk_budget_bytes);
	_cleanup_free_ char *images = xasprintf("%lld", (long long)g->s->image_budget_bytes);
	const char *argv[] = {child_self(),    "gc",   "--state",        g->home->state, "--keep-jobs", keep,
			      "--disk-budget", budget, "--image-budget", images,         NULL};
	struct child_opts o = {.argv = argv, .out = STDERR_FILENO, .die_with_parent = 1};
	struct err e;

	if (g->s->image_budget_bytes < 0) argv[ARRAY_LEN(argv) - 3] = NULL;
	if (g->pidfd >= 0) return;
	loop_timer_cancel(g->loop, g->timer);
	g->timer = 0;
	if (child_start(&o, &g->pid, &g->pidfd, &e)) {
		fprintf(stderr, "gc: %s\n", e.text);
		g->timer = loop_timer(g->loop, EVERY_MS, start_one, g);
		return;
	}
	loop_fd(g->loop, g->pidfd, POLLIN, ended, g);
}

static void start_when_low(struct gc *g)
{
	if (clock_mono_ms() < g->next_low_mono_ms) return;
	g->next_low_mono_ms = clock_mono_ms() + LOW_EVERY_MS;
	start_one(g);
}

struct gc *gc_start(struct loop *loop, const struct home *h, const struct gc_settings *s, void (*room)(void *arg),
		    void *arg)
{
	struct gc *g = xcalloc(1, sizeof(*g));

	*g = (struct gc){.loop = loop, .home = h, .s = s, .room = room, .arg = arg, .pidfd = -1, .held = 1};
	g->timer = loop_timer(loop, FIRST_MS, start_one, g);
	return g;
}

void gc_stop(struct gc **gp)
{
	struct gc *g = *gp;

	if (!g) return;
	loop_timer_cancel(g->loop, g->timer);
	if (g->pidfd >= 0) {
		loop_fd_remove(g->loop, g->pidfd);
		kill(g->pid, SIGKILL);
		waitpid(g->pid, NULL, 0);
	}
	close_p(&g->pidfd);
	free_p(gp);
}

/* --- admission --- */

void gc_job_ended(struct gc *g)
{
	int64_t room, needed;

	ask_disk(g, &room, &needed);
	if (room < LOW_FACTOR * needed) start_when_low(g);
}

int gc_admits(struct gc *g, struct store *s, struct err *e)
{
	_cleanup_free_ char *why = NULL;
	int64_t room, needed;
	int waiting = 0;

	ask_disk(g, &room, &needed);
	if (room >= needed) {
		if (g->held && store_job_hold(s, NULL, &waiting, e)) return -1;
		g->held = g->said = 0;
		return 1;
	}
	why = xasprintf("waiting for room on the disk: %lld MiB must be free", (long long)(needed >> 20));
	g->held = 1;
	if (store_job_hold(s, why, &waiting, e)) return -1;
	if (!waiting) return 0;
	start_when_low(g);
	if (g->said) return 0;
	g->said = 1;
	fprintf(stderr,
		"no job starts: '%s' has %lld MiB free, and %lld must be (--min-free); `runner gc --keep-jobs N` "
		"removes "
		"old jobs' files\n",
		g->home->state, (long long)(room >> 20), (long long)(needed >> 20));
	return 0;
}
