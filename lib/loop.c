/* The poll loop. Entries are found by scanning: a process here watches some dozens of descriptors. */
#include "lib/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/fs.h"

struct watch {
	int fd;
	short events;
	loop_fd_fn *fn;
	void *arg;
};

struct timer {
	uint64_t id;
	int64_t at_mono_ms;
	loop_timer_fn *fn;
	void *arg;
};

struct loop {
	struct watch *watches;
	struct timer *timers;
	struct pollfd *polls; /* the set handed to poll, copied so that callbacks may change watches */
	size_t nwatches, ntimers, cap_watches, cap_timers;
	uint64_t next_timer;
	sigset_t signals;
	int signal_fd;
	int stopped;
	struct {
		loop_signal_fn *fn;
		void *arg;
	} on_signal[NSIG];
};

struct loop *loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));

	sigemptyset(&l->signals);
	l->signal_fd = -1;
	return l;
}

void loop_free(struct loop **lp)
{
	struct loop *l = *lp;

	if (!l) return;
	close_p(&l->signal_fd);
	free(l->watches);
	free(l->timers);
	free(l->polls);
	free(l);
	*lp = NULL;
}

static struct watch *find_watch(struct loop *l, int fd)
{
	for (size_t i = 0; i < l->nwatches; i++)
		if (l->watches[i].fd == fd) return &l->watches[i];
	return NULL;
}

void loop_fd(struct loop *l, int fd, short events, loop_fd_fn *fn, void *arg)
{
	struct watch *w = find_watch(l, fd);

	if (!w) {
		if (l->nwatches == l->cap_watches) {
			l->cap_watches = l->cap_watches ? l->cap_watches * 2 : 8;
			l->watches = xrealloc(l->watches, l->cap_watches * sizeof(*l->watches));
		}
		w = &l->watches[l->nwatches++];
	}
	*w = (struct watch){fd, events, fn, arg};
}

void loop_fd_remove(struct loop *l, int fd)
{
	struct watch *w = find_watch(l, fd);

	if (w) *w = l->watches[--l->nwatches];
}

uint64_t loop_timer(struct loop *l, int64_t delay_ms, loop_timer_fn *fn, void *arg)
{
	if (l->ntimers == l->cap_timers) {
		l->cap_timers = l->cap_timers ? l->cap_timers * 2 : 8;
		l->timers = xrealloc(l->timers, l->cap_timers * sizeof(*l->timers));
	}
	l->timers[l->ntimers++] = (struct timer){++l->next_timer, clock_mono_ms() + delay_ms, fn, arg};
	return l->next_timer;
}

void loop_timer_cancel(struct loop *l, uint64_t id)
{
	for (size_t i = 0; i < l->ntimers; i++)
		if (l->timers[i].id == id) {
			l->timers[i] = l->timers[--l->ntimers];
			return;
		}
}

static void read_signals(int fd, short revents, void *arg)
{
	struct loop *l = arg;
	struct signalfd_siginfo info;

	(void)revents;
	while (read(fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo < NSIG && l->on_signal[info.ssi_signo].fn)
			l->on_signal[info.ssi_signo].fn((int)info.ssi_signo, l->on_signal[info.ssi_signo].arg);
}

int loop_signal(struct loop *l, int sig, loop_signal_fn *fn, void *arg, struct err *e)
{
	int fd;

	sigaddset(&l->signals, sig);
	if (sigprocmask(SIG_BLOCK, &l->signals, NULL)) return err_sys(e, "cannot block signal %d", sig);
	fd = signalfd(l->signal_fd, &l->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0) return err_sys(e, "cannot watch signal %d", sig);
	l->signal_fd = fd;
	l->on_signal[sig].fn = fn;
	l->on_signal[sig].arg = arg;
	loop_fd(l, fd, POLLIN, read_signals, l);
	return 0;
}

static struct timer *first_timer(struct loop *l)
{
	struct timer *first = NULL;

	for (size_t i = 0; i < l->ntimers; i++)
		if (!first || l->timers[i].at_mono_ms < first->at_mono_ms ||
		    (l->timers[i].at_mono_ms == first->at_mono_ms && l->timers[i].id < first->id))
			first = &l->timers[i];
	return first;
}

static int until_first_timer(struct loop *l)
{
	struct timer *t = first_timer(l);
	int64_t left;

	if (!t) return -1;
	left = t->at_mono_ms - clock_mono_ms();
	return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

/* Runs what was due when it was called; a timer that sets a new one for "now" does not starve the rest. */
static void run_timers(struct loop *l)
{
	int64_t now = clock_mono_ms();
	uint64_t newest = l->next_timer;
	struct timer *t;

	while (!l->stopped && (t = first_timer(l)) && t->at_mono_ms <= now && t->id <= newest) {
		struct timer due = *t;

		*t = l->timers[--l->ntimers];
		due.fn(due.arg);
	}
}

int loop_signal_fd(const struct loop *l)
{
	return l->signal_fd;
}

static int turn(struct loop *l, int wait_ms, struct err *e)
{
	size_t n = l->nwatches;

	l->polls = xrealloc(l->polls, (n + 1) * sizeof(*l->polls));
	for (size_t i = 0; i < n; i++) l->polls[i] = (struct pollfd){l->watches[i].fd, l->watches[i].events, 0};
	if (poll(l->polls, n, wait_ms) < 0) return errno == EINTR ? 0 : err_sys(e, "cannot poll");
	run_timers(l);
	for (size_t i = 0; i < n && !l->stopped; i++) {
		struct watch *w = l->polls[i].revents ? find_watch(l, l->polls[i].fd) : NULL;

		if (w) w->fn(w->fd, l->polls[i].revents, w->arg);
	}
	return 0;
}

int loop_turn(struct loop *l, struct err *e)
{
	l->stopped = 0;
	return turn(l, 0, e);
}

int loop_run(struct loop *l, struct err *e)
{
	l->stopped = 0;
	while (!l->stopped)
		if (turn(l, until_first_timer(l), e)) return -1;
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stopped = 1;
}
