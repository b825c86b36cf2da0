/* runner reconcile: pushes that nobody told of. The refs of every repository, as its server lists them now, against
 * what events told of; what is missing becomes an event of the poll. And how the daemon runs it. */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/place.h"
#include "runner/reconcile.h"
#include "runner/trigger/git.h"

/* --- the command --- */

static void tell(const struct repo *r, const struct poll_head *heads, size_t n)
{
	size_t noted = 0;

	for (size_t i = 0; i < n; i++) switch (heads[i].found) {
		case POLL_KNOWN: break;
		case POLL_BASELINE: noted++; break;
		case POLL_NEW:
			printf("event %lld: %s %s at %s, of which nobody told\n", (long long)heads[i].event_id, r->name,
			       heads[i].ref, heads[i].commit);
		}
	if (noted) printf("%s: first look at it: %zu refs noted, not built\n", r->name, noted);
}

static int reconcile_one(struct place *p, const struct repo *r, struct err *e)
{
	_cleanup_vec_ struct vec refs = VEC_INIT;
	_cleanup_free_ struct poll_head *heads = NULL;
	_cleanup_free_ char *by_default = NULL;
	size_t n;

	if (git_ls_remote(r->url, &refs, &by_default, e)) return -1;
	n = refs.len / 2;
	heads = xcalloc(n + 1, sizeof(*heads));
	for (size_t i = 0; i < n; i++)
		heads[i] = (struct poll_head){.ref = refs.items[2 * i], .commit = refs.items[2 * i + 1]};
	if (store_poll(p->store, r, heads, n, clock_unix_ms(), e)) return -1;
	home_wake(&p->home);
	tell(r, heads, n);
	return 0;
}

/* One that cannot be asked does not keep the others from it. */
static int reconcile(struct place *p, struct repo *repos, size_t n)
{
	int failed = 0;
	struct err e;

	for (size_t i = 0; i < n; i++)
		if (reconcile_one(p, &repos[i], &e)) {
			err_wrap(&e, "%s", repos[i].name);
			failed = cmd_fail("reconcile", e.text);
		}
	return failed;
}

static int reconcile_all(struct place *p)
{
	struct repo *repos = NULL;
	struct err e;
	size_t n = 0;
	int failed;

	if (store_repo_list(p->store, &repos, &n, &e)) return cmd_fail("reconcile", e.text);
	failed = reconcile(p, repos, n);
	repos_free(&repos, n);
	return failed;
}

int cmd_reconcile(int argc, char **argv)
{
	static const struct option known[] = {
		{"state", required_argument, NULL, 's'}, {"repo", required_argument, NULL, 'r'}, {0}};
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo one = {0};
	const char *state = NULL, *name = NULL;
	struct err e;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 's': state = optarg; break;
		case 'r': name = optarg; break;
		default: return cmd_usage(argv[0]);
		}
	if (optind != argc) return cmd_usage(argv[0]);
	if (place_open(state, &p, &e) || (name && store_repo_find(p.store, name, &one, &e)))
		return cmd_fail(argv[0], e.text);
	return name ? reconcile(&p, &one, 1) : reconcile_all(&p);
}

/* --- the daemon's side --- */

struct reconciler {
	struct loop *loop;
	const char *state;
	int64_t every_ms;
	pid_t pid;
	int pidfd; /* -1: none runs */
	uint64_t timer;
};

static void start_one(void *arg);

static void ended(int fd, short revents, void *arg)
{
	struct reconciler *r = arg;

	(void)revents;
	waitpid(r->pid, NULL, 0); /* it said by itself what failed */
	loop_fd_remove(r->loop, fd);
	close_p(&r->pidfd);
	r->timer = loop_timer(r->loop, r->every_ms, start_one, r);
}

static void start_one(void *arg)
{
	struct reconciler *r = arg;
	struct child_opts o = {.argv = (const char *const[]){child_self(), "reconcile", "--state", r->state, NULL},
			       .out = STDERR_FILENO,
			       .die_with_parent = 1};
	struct err e;

	r->timer = 0;
	if (child_start(&o, &r->pid, &r->pidfd, &e)) {
		fprintf(stderr, "reconcile: %s\n", e.text);
		r->timer = loop_timer(r->loop, r->every_ms, start_one, r);
		return;
	}
	loop_fd(r->loop, r->pidfd, POLLIN, ended, r);
}

struct reconciler *reconciler_start(struct loop *loop, const char *state, int64_t every_ms)
{
	struct reconciler *r;

	if (!every_ms) return NULL;
	r = xcalloc(1, sizeof(*r));
	*r = (struct reconciler){.loop = loop, .state = state, .every_ms = every_ms, .pidfd = -1};
	start_one(r);
	return r;
}

void reconciler_stop(struct reconciler **rp)
{
	struct reconciler *r = *rp;

	if (!r) return;
	loop_timer_cancel(r->loop, r->timer);
	if (r->pidfd >= 0) {
		loop_fd_remove(r->loop, r->pidfd);
		kill(r->pid, SIGKILL);
		waitpid(r->pid, NULL, 0);
	}
	close_p(&r->pidfd);
	free_p(rp);
}
