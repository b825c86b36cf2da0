/* git, run on the wire: its environment, its time limits, and what its words mean. */
#include "runner/publish/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "lib/vec.h"
#include "runner/publish/keyfd.h"
#include "runner/publish/sshlink.h"
#include "runner/trigger/git.h"

enum {
	WHOLE_MS = 4 * 3600 * 1000, /* one fetch or push */
	SAY_EVERY_MS = 10000,
	LAST_WORDS_MS = 1000, /* after git's end: what it left behind may hold its pipes open */
	MAX_OUT = 1 << 20,
	MAX_LINES = 1 << 16,
	MAX_WORDS = 1 << 12,
	TOKEN_FD = 9,
};

struct wire {
	struct wire_opts o;
	char *label;
	struct keyfd key;
	struct sshlink link;
	struct vec env;
};

void wire_said_init(struct wire_said *s)
{
	buf_init(&s->out, MAX_OUT);
	buf_init(&s->lines, MAX_LINES);
	buf_init(&s->words, MAX_WORDS);
}

void wire_said_release(struct wire_said *s)
{
	buf_release(&s->out);
	buf_release(&s->lines);
	buf_release(&s->words);
}

const char *wire_label(const struct wire *w)
{
	return w->label;
}

/* --- open --- */

/* No configuration but the clone's and ours: a url.insteadOf of the user's would move the remote past the pins. */
static void set_environment(struct wire *w)
{
	static const char *const protocols[] = {[REMOTE_PATH] = "file", [REMOTE_SSH] = "ssh", [REMOTE_HTTPS] = "https"};

	git_strip_environment(&w->env);
	vec_setenv(&w->env, "LC_ALL", "C");
	vec_setenv(&w->env, "GIT_TERMINAL_PROMPT", "0");
	vec_setenv(&w->env, "GIT_ASKPASS", "false");
	vec_setenv(&w->env, "GIT_CONFIG_NOSYSTEM", "1");
	vec_setenv(&w->env, "GIT_CONFIG_GLOBAL", "/dev/null");
	vec_setenv(&w->env, "GIT_ALLOW_PROTOCOL", protocols[w->o.remote->kind]);
	vec_setenv(&w->env, "GIT_SSH_COMMAND", sshlink_command());
	vec_setenv(&w->env, "GIT_SSH_VARIANT", "ssh");
	if (getenv("SSL_CERT_FILE")) vec_setenv(&w->env, "GIT_SSL_CAINFO", getenv("SSL_CERT_FILE"));
}

static int open_key(struct wire *w, struct err *e)
{
	const char *secret = w->o.key ? (const char *)w->o.key->data : NULL;

	switch (w->o.remote->kind) {
	case REMOTE_PATH: return 0;
	case REMOTE_SSH: return keyfd_make(&w->key, (const char *const[]){secret, NULL}, e);
	case REMOTE_HTTPS:
		return keyfd_make(
			&w->key,
			(const char *const[]){"username=", w->o.remote->user, "\npassword=", secret, "\n", NULL}, e);
	}
	return 0;
}

int wire_open(const struct wire_opts *o, struct wire **w_r, struct err *e)
{
	struct wire *w = xcalloc(1, sizeof(*w));

	w->o = *o;
	w->label = o->remote->host ? xasprintf("%s:%d", o->remote->host, o->remote->port) : xstrdup(o->remote->url);
	w->key = (struct keyfd)KEYFD_INIT;
	w->link = (struct sshlink)SSHLINK_INIT;
	set_environment(w);
	*w_r = w;
	if (!open_key(w, e)) return 0;
	wire_close(w_r);
	return -1;
}

void wire_close(struct wire **wp)
{
	struct wire *w = *wp;

	if (!w) return;
	sshlink_down(&w->link);
	keyfd_release(&w->key);
	vec_release(&w->env);
	free(w->label);
	free(w);
	*wp = NULL;
}

int wire_connect(struct wire *w, struct err *e)
{
	return w->o.remote->kind == REMOTE_SSH ? sshlink_up(&w->link, &w->o, w->label, &w->key, e) : 0;
}

/* --- what is said --- */

struct run {
	struct wire *w;
	struct wire_said *said;
	const char *what;
	int aloud;
	struct buf line;
	int64_t moved_ms, told_ms;
};

static void tell(struct run *r, const char *before, const char *text)
{
	_cleanup_free_ char *line = xasprintf("%s%s", before, text);

	r->told_ms = clock_mono_ms();
	if (r->w->o.say) r->w->o.say(r->w->o.arg, line);
}

/* A counter ends in \r and is told now and then. The text is a stranger's: nothing in it may steer a terminal. */
static void end_line(struct run *r, int counter)
{
	static const char mark[] = "remote: ";
	const char *text;

	while (r->line.len && r->line.data[r->line.len - 1] == ' ') r->line.data[--r->line.len] = '\0';
	text = buf_str(&r->line);
	if (counter) {
		if (r->aloud && clock_mono_ms() - r->told_ms >= SAY_EVERY_MS) tell(r, "", text);
	} else if (!strncmp(text, mark, strlen(mark))) {
		text += strlen(mark);
		if (r->aloud) tell(r, mark, text);
		if (r->said->words.len) buf_adds(&r->said->words, "; ");
		buf_adds(&r->said->words, text);
	} else if (*text) {
		buf_adds(&r->said->lines, text);
		buf_addch(&r->said->lines, '\n');
	}
	buf_clear(&r->line);
}

static void take_text(struct run *r, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n' || c == '\r')
			end_line(r, c == '\r');
		else
			buf_addch(&r->line, c < ' ' || c == 127 ? '?' : (char)c);
	}
}

/* --- what it means --- */

static const struct {
	const char *words;
	enum err_kind kind;
} faults[] = {
	/* first what would be no better later */
	{"No space left on device", ERR_SYS},
	{"Disk quota exceeded", ERR_SYS},
	{"Authentication failed", ERR_DENIED},
	{"could not read Username", ERR_DENIED},
	{"could not read Password", ERR_DENIED},
	{"The requested URL returned error: 403", ERR_DENIED},
	{"SSL certificate", ERR_DENIED},
	{"certificate verif", ERR_DENIED},
	{"does not appear to be a git repository", ERR_REMOTE},
	{"not found", ERR_REMOTE},
	{"dubious ownership", ERR_REMOTE},
	{"does not exist", ERR_REMOTE},
	{"Permission denied", ERR_REMOTE},
	{"unsafe repository", ERR_REMOTE},
	/* then what a server or a network on its way back says */
	{"hung up", ERR_BUSY},
	{"early EOF", ERR_BUSY},
	{"unexpected disconnect", ERR_BUSY},
	{"Connection", ERR_BUSY},
	{"ssh: ", ERR_BUSY},
	{"Could not resolve", ERR_BUSY},
	{"Couldn't connect", ERR_BUSY},
	{"Failed to connect", ERR_BUSY},
	{"timed out", ERR_BUSY},
	{"Operation too slow", ERR_BUSY},
	{"error: 5", ERR_BUSY},
	{"error: 429", ERR_BUSY},
	{"RPC failed", ERR_BUSY},
	{"Could not read from remote repository", ERR_BUSY},
	{"expected flush", ERR_BUSY},
};

/* The first line that says what is wrong: what follows is advice. */
static const char *main_line(const char *lines, size_t *n_r)
{
	static const char *const marks[] = {"fatal: ", "error: "};
	const char *at = NULL, *last = lines;

	for (size_t i = 0; i < ARRAY_LEN(marks) && !at; i++) {
		at = strstr(lines, marks[i]);
		if (at) at += strlen(marks[i]);
	}
	for (const char *p = lines; *p; p += strcspn(p, "\n") + (p[strcspn(p, "\n")] == '\n')) last = p;
	if (!at) at = last;
	*n_r = strcspn(at, "\n");
	return at;
}

static int fault(const struct run *r, struct child_status status, struct err *e)
{
	const char *lines = buf_str(&r->said->lines), *words = buf_str(&r->said->words), *text;
	enum err_kind kind = ERR_REMOTE;
	size_t n;

	for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
		if (!strstr(lines, faults[i].words) && !strstr(words, faults[i].words)) continue;
		kind = faults[i].kind;
		break;
	}
	text = main_line(lines, &n);
	if (!n) {
		text = child_status_str(status);
		n = strlen(text);
	}
	return err_set(e, kind, "cannot %s '%s': %.*s%s%s", r->what, r->w->label, (int)n, text, *words ? ": " : "",
		       words);
}

/* --- run --- */

struct pipes {
	int out, err, pidfd;
};

static void pipes_close(struct pipes *p)
{
	close_p(&p->out);
	close_p(&p->err);
	close_p(&p->pidfd);
}

/* Returns 0 when there will be no more. */
static int take(struct run *r, int fd, int is_out)
{
	char chunk[16384];
	ssize_t n = read(fd, chunk, sizeof(chunk));

	if (n < 0 && (errno == EINTR || errno == EAGAIN)) return 1;
	if (n <= 0) return 0;
	r->moved_ms = clock_mono_ms();
	if (is_out)
		buf_add(&r->said->out, chunk, (size_t)n);
	else
		take_text(r, chunk, (size_t)n);
	return 1;
}

/* Until git has ended. Returns 1 when it was given up. */
static int follow(struct run *r, struct pipes *p)
{
	int64_t start = clock_mono_ms(), gone = 0;

	r->moved_ms = start;
	while (p->out >= 0 || p->err >= 0 || !gone) {
		struct pollfd f[3] = {{p->out, POLLIN, 0}, {p->err, POLLIN, 0}, {gone ? -1 : p->pidfd, POLLIN, 0}};
		int64_t now = clock_mono_ms(), end = r->moved_ms + (int64_t)1000 * r->w->o.stall_s;

		if (end > start + WHOLE_MS) end = start + WHOLE_MS;
		if (gone) end = gone + LAST_WORDS_MS;
		if (now >= end) return !gone;
		if (poll(f, 3, (int)(end - now)) < 0 && errno != EINTR) return 1;
		if (f[0].revents && !take(r, p->out, 1)) close_p(&p->out);
		if (f[1].revents && !take(r, p->err, 0)) close_p(&p->err);
		if (f[2].revents) gone = clock_mono_ms();
	}
	return 0;
}

static int open_pipe(int *ours, int *theirs, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	*ours = p[0];
	*theirs = p[1];
	return fcntl(p[0], F_SETFL, O_NONBLOCK) ? err_sys(e, "cannot set up a pipe") : 0;
}

static void add_arguments(const struct wire *w, const char *const *args, struct vec *argv)
{
	/* Images do not delta, and are packed already: trying costs seconds and finds nothing. The clone is made anew
	 * after a crash of the box, so nothing is synced. */
	static const char *const settings[] = {"-c", "gc.auto=0",
					       "-c", "maintenance.auto=false",
					       "-c", "core.fsync=none",
					       "-c", "core.bigFileThreshold=256k",
					       "-c", "core.hooksPath=/dev/null",
					       "-c", "pack.window=0",
					       "-c", "pack.compression=0",
					       "-c", "advice.pushUpdateRejected=false",
					       NULL};
	static const char *const https[] = {
		"-c", "http.followRedirects=false",
		"-c", "http.lowSpeedLimit=1",
		"-c", "credential.helper=",
		"-c", "credential.helper=!f() { test \"$1\" = get && cat /proc/self/fd/9; }; f",
		NULL};

	vec_add(argv, "git");
	vec_addf(argv, "--git-dir=%s", w->o.git_dir);
	vec_add_all(argv, settings);
	if (w->o.remote->kind == REMOTE_HTTPS) {
		vec_add_all(argv, https);
		vec_add(argv, "-c");
		vec_addf(argv, "http.lowSpeedTime=%d", w->o.stall_s);
	}
	vec_add_all(argv, args);
}

int wire_git(struct wire *w, const char *what, const char *const *args, int aloud, struct wire_said *said,
	     struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	__attribute__((cleanup(pipes_close))) struct pipes p = {-1, -1, -1}, theirs = {-1, -1, -1};
	struct run r = {.w = w, .said = said, .what = what, .aloud = aloud, .line = BUF_INIT(4096)};
	struct child_fd token = {w->key.fd, TOKEN_FD};
	struct child_opts o = {.cwd = w->o.work, .env = (const char *const *)vec_argv(&w->env), .die_with_parent = 1};
	struct child_status status;
	int given_up;
	pid_t pid;

	wire_said_release(said);
	add_arguments(w, args, &argv);
	o.argv = (const char *const *)vec_argv(&argv);
	if (w->o.remote->kind == REMOTE_HTTPS) {
		o.fds = &token;
		o.nfds = 1;
	}
	if (open_pipe(&p.out, &theirs.out, e) || open_pipe(&p.err, &theirs.err, e)) return -1;
	o.out = theirs.out;
	o.err = theirs.err;
	r.told_ms = clock_mono_ms();
	if (child_start(&o, &pid, &p.pidfd, e)) return -1;
	pipes_close(&theirs);
	given_up = follow(&r, &p);
	end_line(&r, 0);
	buf_release(&r.line);
	if (given_up) sshlink_down(&w->link);
	if (child_wait(pid, given_up ? 0 : -1, &status, e)) return -1;
	if (given_up)
		return err_set(e, ERR_BUSY, "cannot %s '%s': nothing has moved for %d s", what, w->label, w->o.stall_s);
	return child_ok(status) ? 0 : fault(&r, status, e);
}
