/* git's own upload-pack and receive-pack as a libgit2 transport, over a socket pair. */
#include "runner/publish/transport.h"

#include <errno.h>
#include <git2/sys/transport.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/trigger/git.h"

extern char **environ;

enum { END_WAIT_MS = 60000 };

struct stream {
	git_smart_subtransport_stream base;
	pid_t pid;
	int pidfd, sock, words; /* words: its standard error */
};

struct local {
	git_smart_subtransport base;
	struct stream *stream; /* of the action under way; libgit2 frees it */
};

/* What the program had to say for itself becomes libgit2's error. */
static void tell_words(struct stream *s)
{
	char text[800];
	ssize_t n = pread(s->words, text, sizeof(text) - 1, 0);

	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) n--;
	if (n <= 0) return;
	text[n] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ') *p = ' ';
	git_error_set_str(GIT_ERROR_NET, text);
}

static int stream_read(git_smart_subtransport_stream *base, char *buffer, size_t size, size_t *got_r)
{
	struct stream *s = (struct stream *)base;
	ssize_t n;

	do n = read(s->sock, buffer, size);
	while (n < 0 && errno == EINTR);
	*got_r = n > 0 ? (size_t)n : 0;
	if (n > 0) return 0;
	if (s->pid > 0) {
		struct pollfd p = {.fd = s->pidfd, .events = POLLIN};

		poll(&p, 1, 1000); /* its last words come before its end */
	}
	git_error_set_str(GIT_ERROR_NET, "the other side hung up");
	tell_words(s);
	return n < 0 ? -1 : GIT_EEOF;
}

static int stream_write(git_smart_subtransport_stream *base, const char *data, size_t len)
{
	struct stream *s = (struct stream *)base;

	while (len) {
		ssize_t n = send(s->sock, data, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) {
			git_error_set_str(GIT_ERROR_NET, "the other side hung up");
			tell_words(s);
			return -1;
		}
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A post-receive hook may still run when its push is settled. What it says is read away, so that it does not die of
 * SIGPIPE, for a time; it is never killed. */
static void stream_free(git_smart_subtransport_stream *base)
{
	struct stream *s = (struct stream *)base;
	int64_t end = clock_mono_ms() + END_WAIT_MS;
	char chunk[4096];

	shutdown(s->sock, SHUT_WR);
	for (int64_t left; (left = end - clock_mono_ms()) > 0;) {
		struct pollfd p = {.fd = s->sock, .events = POLLIN};

		if (poll(&p, 1, (int)left) > 0 && read(s->sock, chunk, sizeof(chunk)) <= 0) break;
	}
	close_p(&s->sock);
	for (int64_t left; (left = end - clock_mono_ms()) > 0;) {
		struct pollfd p = {.fd = s->pidfd, .events = POLLIN};

		if (poll(&p, 1, (int)left) > 0) break;
	}
	waitpid(s->pid, NULL, WNOHANG);
	close_p(&s->pidfd);
	close_p(&s->words);
	((struct local *)s->base.subtransport)->stream = NULL;
	free(s);
}

static int start(struct local *t, const char *path, const char *service)
{
	const char *const argv[] = {"git", service, path, NULL};
	_cleanup_vec_ struct vec env = VEC_INIT;
	_cleanup_close_ int ours = -1, theirs = -1, words = memfd_create("git-words", MFD_CLOEXEC);
	struct stream *s;
	struct child_opts o = {.argv = argv};
	struct err e;
	int pair[2];

	if (words < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
		git_error_set_str(GIT_ERROR_OS, "cannot make a socket pair");
		return -1;
	}
	ours = pair[0];
	theirs = pair[1];
	git_strip_environment(&env);
	o.env = (const char *const *)vec_argv(&env);
	o.in = o.out = theirs;
	o.err = words;
	s = xcalloc(1, sizeof(*s));
	if (child_start(&o, &s->pid, &s->pidfd, &e)) {
		git_error_set_str(GIT_ERROR_OS, e.text);
		free(s);
		return -1;
	}
	s->base = (git_smart_subtransport_stream){
		.subtransport = &t->base, .read = stream_read, .write = stream_write, .free = stream_free};
	s->sock = ours;
	s->words = words;
	ours = words = -1;
	t->stream = s;
	return 0;
}

static int local_action(git_smart_subtransport_stream **out, git_smart_subtransport *base, const char *url,
			git_smart_service_t action)
{
	struct local *t = (struct local *)base;
	int failed = 0;

	switch (action) {
	case GIT_SERVICE_UPLOADPACK_LS: failed = start(t, url, "upload-pack"); break;
	case GIT_SERVICE_RECEIVEPACK_LS: failed = start(t, url, "receive-pack"); break;
	case GIT_SERVICE_UPLOADPACK:
	case GIT_SERVICE_RECEIVEPACK: break; /* the stream of its _LS */
	}
	if (failed || !t->stream) return -1;
	*out = &t->stream->base;
	return 0;
}

static int local_close(git_smart_subtransport *base)
{
	(void)base; /* libgit2 frees the stream itself */
	return 0;
}

static void local_free(git_smart_subtransport *base)
{
	free(base);
}

static int local_new(git_smart_subtransport **out, git_transport *owner, void *param)
{
	struct local *t = xcalloc(1, sizeof(*t));

	(void)owner;
	(void)param;
	t->base = (git_smart_subtransport){.action = local_action, .close = local_close, .free = local_free};
	*out = &t->base;
	return 0;
}

int transport_local(git_transport **out, git_remote *owner, void *payload)
{
	static git_smart_subtransport_definition definition = {.callback = local_new, .rpc = 0};

	(void)payload;
	return git_transport_smart(out, owner, &definition);
}
