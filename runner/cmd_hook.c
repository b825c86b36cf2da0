/* runner hook: builds from pushes to a repository on this box.
 *
 * post-receive runs inside git: its environment points at the pushed-to repository, the pusher may hang up at any
 * moment, and what it prints is shown to the pusher as "remote: slipway: …". Everything is stored before a word is
 * printed. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/cmd.h"
#include "runner/place.h"
#include "runner/trigger/git.h"
#include "runner/trigger/hook.h"

enum { MAX_PUSH_BYTES = 16 << 20 };

static const char marker[] = "# Slipway's hook: `runner hook install` may replace this file.";

/* --- post-receive --- */

struct push {
	struct event *events;
	size_t n;
	struct vec bad;  /* what was told and cannot be an event */
	struct vec said; /* one line for each */
};

static void push_release(struct push *p)
{
	hook_events_free(&p->events, p->n);
	vec_release(&p->bad);
	vec_release(&p->said);
}

static int read_push(const char *repo, struct push *p, struct err *e)
{
	_cleanup_buf_ struct buf input = BUF_INIT(MAX_PUSH_BYTES);
	_cleanup_free_ char *id = event_new_delivery();
	const char *user = getenv("SLIPWAY_USER");

	if (!user) user = getenv("USER");
	if (fs_read_fd(0, "standard input", &input, e)) return -1;
	hook_parse(repo, id, buf_str(&input), input.len, &p->events, &p->n, &p->bad);
	for (size_t i = 0; i < p->n; i++) p->events[i].sender = event_text(user, EVENT_NAME_MAX);
	return 0;
}

/* Where git says the repository is, before that is forgotten. The caller frees. */
static char *git_dir(void)
{
	const char *dir = getenv("GIT_DIR");

	return realpath(dir && *dir ? dir : ".", NULL);
}

static int store_one(struct place *place, const char *dir, struct event *ev, struct vec *said, struct err *e)
{
	const char *skip;
	int64_t id;

	/* A push is not lost because git could not tell its message: without one it is built. */
	if (hook_describe(dir, ev, e) < 0) vec_addf(said, "slipway: %s: %s", ev->ref, e->text);
	if (store_event_add(place->store, ev, clock_unix_ms(), &id, e) < 0)
		return err_wrap(e, "%s is not stored", ev->ref);
	skip = event_skip_reason(ev);
	if (skip)
		vec_addf(said, "slipway: event %lld: %s is not built: %s", (long long)id, ev->ref, skip);
	else
		vec_addf(said, "slipway: event %lld: %s at %.10s will be built", (long long)id, ev->ref, ev->commit);
	return 0;
}

static int post_receive(const char *state, const char *repo)
{
	_cleanup_place_ struct place place = PLACE_INIT;
	__attribute__((cleanup(push_release))) struct push push = {0};
	_cleanup_free_ char *dir = git_dir();
	struct err e;
	int failed = 0;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	if (!dir) {
		err_sys(&e, "cannot find the git repository");
		return cmd_fail("hook", e.text);
	}
	if (read_push(repo, &push, &e) || place_open(state, &place, &e)) return cmd_fail("hook", e.text);
	for (size_t i = 0; i < push.n; i++)
		if (store_one(&place, dir, &push.events[i], &push.said, &e)) {
			vec_addf(&push.said, "slipway: error: %s", e.text);
			failed = 1;
		}
	for (size_t i = 0; i < push.bad.len; i++) {
		vec_addf(&push.said, "slipway: error: it is not built: %s", push.bad.items[i]);
		failed = 1;
	}
	home_wake(&place.home);
	for (size_t i = 0; i < push.said.len; i++) printf("%s\n", push.said.items[i]);
	return failed;
}

/* --- install --- */

/* A word for sh, whatever it holds. */
static void add_quoted(struct buf *b, const char *word)
{
	buf_addch(b, '\'');
	for (; *word; word++)
		if (*word == '\'')
			buf_adds(b, "'\\''");
		else
			buf_addch(b, *word);
	buf_addch(b, '\'');
}

static void add_command(struct buf *b, const char *state, const char *repo)
{
	_cleanup_free_ char *runner = child_beside("runner");

	add_quoted(b, runner ? runner : child_self());
	buf_adds(b, " hook post-receive --repo ");
	add_quoted(b, repo);
	buf_adds(b, " --state ");
	add_quoted(b, state);
}

/* git's own word on where hooks are; one outside of the repository serves others too and is left alone. */
static int hooks_dir(const char *repository, char **dir_r, struct err *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT(8192);
	const char *const argv[] = {"git", "rev-parse", "--absolute-git-dir", "--git-path", "hooks", NULL};
	_cleanup_free_ char *root = NULL;
	char *hooks;

	if (git_run(argv, repository, GIT_LOCAL_MS, &out, e))
		return err_wrap(e, "'%s' is no git repository that can be used", repository);
	hooks = strchr(buf_str(&out), '\n');
	if (!hooks || !out.len) return err_set(e, ERR_REMOTE, "'git rev-parse' in '%s' said too little", repository);
	*hooks++ = '\0';
	hooks[strcspn(hooks, "\n")] = '\0';
	root = xstrdup(out.data);
	if (hooks[0] == '/' ? strncmp(hooks, root, strlen(root)) || hooks[strlen(root)] != '/' : !!strstr(hooks, ".."))
		return err_set(e, ERR_INPUT, "'%s' has its hooks elsewhere (core.hooksPath: '%s')", repository, hooks);
	*dir_r = hooks[0] == '/' ? xstrdup(hooks) : xasprintf("%s/%s", repository, hooks);
	return 0;
}

static int may_replace(const char *path, const char *command, struct err *e)
{
	_cleanup_buf_ struct buf old = BUF_INIT(1 << 20);

	if (fs_read_file(path, &old, e)) return e->kind == ERR_MISSING ? 0 : -1;
	if (strstr(buf_str(&old), marker)) return 0;
	return err_set(e, ERR_INPUT, "there is a hook '%s' already; let it hand its standard input to this command: %s",
		       path, command);
}

static int install(const char *state, const char *repo, const char *repository)
{
	_cleanup_place_ struct place place = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo row = {0};
	_cleanup_buf_ struct buf command = BUF_INIT(16384), text = BUF_INIT(32768);
	_cleanup_free_ char *dir = NULL, *path = NULL;
	struct err e;

	if (place_open(state, &place, &e) || store_repo_find(place.store, repo, &row, &e) ||
	    hooks_dir(repository, &dir, &e) || fs_mkdirs(dir, 0755, &e))
		return cmd_fail("hook", e.text);
	path = xasprintf("%s/post-receive", dir);
	add_command(&command, place.home.state, repo);
	buf_addf(&text, "#!/bin/sh\n%s\nexec %s\n", marker, buf_str(&command));
	if (buf_check(&command, "the hook's command", &e) || may_replace(path, buf_str(&command), &e) ||
	    fs_write_file(path, text.data, text.len, 0755, &e))
		return cmd_fail("hook", e.text);
	printf("%s: pushes are built as %s\n", path, repo);
	return 0;
}

int cmd_hook(int argc, char **argv)
{
	static const struct option known[] = {
		{"state", required_argument, NULL, 's'}, {"repo", required_argument, NULL, 'r'}, {0}};
	const char *state = NULL, *repo = NULL;
	int c, n;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 's': state = optarg; break;
		case 'r': repo = optarg; break;
		default: return cmd_usage("hook");
		}
	n = argc - optind;
	if (repo && n == 1 && !strcmp(argv[optind], "post-receive")) return post_receive(state, repo);
	if (repo && n == 2 && !strcmp(argv[optind], "install")) return install(state, repo, argv[optind + 1]);
	return cmd_usage("hook");
}
