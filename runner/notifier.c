/* The daemon's side of notices. */
#include "runner/notify.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"

enum { AT_ONCE = 4, REST_MS = 1000 /* after one that could not even note its failure */ };

struct slot {
	struct notifier *n;
	int64_t repo_id; /* 0: free */
	int64_t rest_until_mono_ms;
	pid_t pid; /* 0: it rests */
	int pidfd;
};

struct notifier {
	struct loop *loop;
	struct store *store;
	const char *state;
	void (*fn)(void *arg);
	void *arg;
	struct slot slots[AT_ONCE];
};

static void ended(int fd, short revents, void *arg)
{
	struct slot *s = arg;
	int ws, failed;

	(void)revents;
	failed = waitpid(s->pid, &ws, 0) != s->pid || !child_ok(child_decode(ws));
	loop_fd_remove(s->n->loop, fd);
	close_p(&s->pidfd);
	s->pid = 0;
	if (failed)
		s->rest_until_mono_ms = clock_mono_ms() + REST_MS;
	else
		s->repo_id = 0;
	s->n->fn(s->n->arg);
}

static int is_free(struct slot *s)
{
	if (s->repo_id && !s->pid && clock_mono_ms() >= s->rest_until_mono_ms) s->repo_id = 0;
	return !s->repo_id;
}

static void start(struct slot *s, const struct notice_row *row)
{
	_cleanup_free_ char *id = xasprintf("%lld", (long long)row->id);
	struct child_opts o = {.argv = (const char *const[]){child_self(), "notify", s->n->state, id, NULL},
			       .out = STDERR_FILENO,
			       .die_with_parent = 1};
	struct err e;

	s->repo_id = row->repo_id;
	if (child_start(&o, &s->pid, &s->pidfd, &e)) {
		fprintf(stderr, "notice %lld: %s\n", (long long)row->id, e.text);
		s->pid = 0;
		s->rest_until_mono_ms = clock_mono_ms() + REST_MS;
		return;
	}
	loop_fd(s->n->loop, s->pidfd, POLLIN, ended, s);
}

int notifier_look(struct notifier *n, struct err *e)
{
	for (size_t i = 0; i < AT_ONCE; i++) {
		__attribute__((cleanup(notice_row_release))) struct notice_row row = {0};
		int64_t away[STORE_MOST_AWAY] = {0};
		int got;

		if (!is_free(&n->slots[i])) continue;
		for (size_t k = 0; k < AT_ONCE; k++) away[k] = is_free(&n->slots[k]) ? 0 : n->slots[k].repo_id;
		got = store_notice_next_due(n->store, clock_unix_ms(), away, &row, e);
		if (got) return got < 0 ? -1 : 0;
		start(&n->slots[i], &row);
	}
	return 0;
}

struct notifier *notifier_new(struct loop *loop, struct store *store, const char *state, void (*fn)(void *arg),
			      void *arg)
{
	struct notifier *n = xcalloc(1, sizeof(*n));

	_Static_assert((int)AT_ONCE <= (int)STORE_MOST_AWAY, "more at once than can be left out");
	*n = (struct notifier){.loop = loop, .store = store, .state = state, .fn = fn, .arg = arg};
	for (size_t i = 0; i < AT_ONCE; i++) n->slots[i] = (struct slot){.n = n, .pidfd = -1};
	return n;
}

void notifier_free(struct notifier **np)
{
	struct notifier *n = *np;

	if (!n) return;
	for (size_t i = 0; i < AT_ONCE; i++) {
		if (n->slots[i].pid <= 0) continue;
		loop_fd_remove(n->loop, n->slots[i].pidfd);
		kill(n->slots[i].pid, SIGKILL);
		waitpid(n->slots[i].pid, NULL, 0);
		close_p(&n->slots[i].pidfd);
	}
	free_p(np);
}
