/* Asking git. */
#include "runner/trigger/git.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/child.h"
#include "runner/trigger/event.h"

void git_strip_environment(struct vec *env)
{
	for (char **v = environ; *v; v++)
		if (strncmp(*v, "GIT_", 4) != 0) vec_add(env, *v);
}

void git_environment(struct vec *env)
{
	const char *ssh = getenv("GIT_SSH_COMMAND");

	git_strip_environment(env);
	vec_setenv(env, "LC_ALL", "C");
	vec_setenv(env, "GIT_TERMINAL_PROMPT", "0");
	vec_setenv(env, "GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh");
	vec_setenv(env, "GIT_SSH_COMMAND",
		   ssh && *ssh ? ssh
			       : "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15 "
				 "-oServerAliveCountMax=3");
}

int git_run(const char *const *argv, const char *cwd, int timeout_ms, struct buf *out_r, struct err *e)
{
	_cleanup_vec_ struct vec env = VEC_INIT;
	struct child_opts o = {.argv = argv, .cwd = cwd, .die_with_parent = 1, .kill_group = 1};

	git_environment(&env);
	o.env = (const char *const *)vec_argv(&env);
	return child_check(&o, NULL, timeout_ms, out_r, e);
}

int git_commit_of(const char *git_dir, const char *object, char **commit_r, struct err *e)
{
	_cleanup_free_ char *dir_flag = xasprintf("--git-dir=%s", git_dir), *wanted = xasprintf("%s^{commit}", object);
	_cleanup_vec_ struct vec env = VEC_INIT;
	_cleanup_buf_ struct buf out = BUF_INIT(4096), complaint = BUF_INIT(65536);
	const char *const argv[] = {"git", dir_flag, "rev-parse", "--quiet", "--verify", wanted, NULL};
	struct child_opts o = {.argv = argv};
	struct child_status st;

	git_environment(&env);
	o.env = (const char *const *)vec_argv(&env);
	if (child_run(&o, NULL, GIT_LOCAL_MS, &out, &complaint, &st, e)) return -1;
	if (st.end == CHILD_EXITED && st.code == 1) return 1;
	if (out.len) out.data[--out.len] = '\0';
	if (!child_ok(st) || !event_commit_ok(buf_str(&out)))
		return err_set(e, ERR_REMOTE, "'git rev-parse' in '%s' %s: %s", git_dir, child_status_str(st),
			       buf_str(&complaint));
	*commit_r = buf_steal(&out);
	return 0;
}

int git_message(const char *git_dir, const char *commit, char **message_r, struct err *e)
{
	_cleanup_free_ char *dir_flag = xasprintf("--git-dir=%s", git_dir);
	_cleanup_buf_ struct buf out = BUF_INIT(16 << 20);
	const char *const argv[] = {"git",        dir_flag,           "log",         "-1",   "--no-show-signature",
				    "--no-color", "--encoding=UTF-8", "--format=%B", commit, "--",
				    NULL};

	if (!event_commit_ok(commit)) return err_set(e, ERR_INPUT, "'%s' is no commit", commit);
	if (git_run(argv, NULL, GIT_LOCAL_MS, &out, e)) return -1;
	free_p(message_r);
	*message_r = event_text(buf_str(&out), EVENT_MESSAGE_MAX);
	return 0;
}

/* One line of `ls-remote --symref`: "ref: <name>\tHEAD", "<commit>\t<ref>", "<commit>\t<tag>^{}". */
static void take_line(const char *line, size_t len, struct vec *heads, char **default_r)
{
	const char *tab = memchr(line, '\t', len);
	_cleanup_free_ char *left = NULL, *name = NULL;
	char *peeled;

	if (!tab) return;
	left = xstrndup(line, (size_t)(tab - line));
	name = xstrndup(tab + 1, len - (size_t)(tab - line) - 1);
	if (!strcmp(name, "HEAD")) {
		if (!strncmp(left, "ref: ", 5) && event_ref_ok(left + 5) && !*default_r) *default_r = xstrdup(left + 5);
		return;
	}
	peeled = strstr(name, "^{}");
	if (peeled) *peeled = '\0';
	if (!event_commit_ok(left) || !event_ref_ok(name)) return;
	/* The commit behind a tag follows the tag's own line. */
	if (peeled && heads->len >= 2 && !strcmp(heads->items[heads->len - 2], name)) {
		free(heads->items[heads->len - 1]);
		heads->items[heads->len - 1] = xstrdup(left);
		return;
	}
	vec_add(heads, name);
	vec_add(heads, left);
}

int git_ls_remote(const char *url, struct vec *heads_r, char **default_r, struct err *e)
{
	_cleanup_buf_ struct buf out = BUF_INIT(64 << 20);
	const char *const argv[] = {"git",  "ls-remote",    "--symref",    "--", url,
				    "HEAD", "refs/heads/*", "refs/tags/*", NULL};

	if (git_run(argv, NULL, GIT_REMOTE_MS, &out, e)) return err_wrap(e, "cannot list '%s'", url);
	*default_r = NULL;
	for (size_t at = 0; at < out.len;) {
		size_t len = strcspn(out.data + at, "\n");

		take_line(out.data + at, len, heads_r, default_r);
		at += len + 1;
	}
	return 0;
}
