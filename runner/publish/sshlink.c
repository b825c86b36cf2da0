/* The one ssh connection of a publisher.
 *
 * OpenSSH does what is delicate: keys of every kind, RSA by rsa-sha2 too, and the host's key against known_hosts. The
 * private key is its standard input, memory that is in no file system. Paths are relative to the work folder: a
 * socket's name has 108 bytes at most, and ssh expands %, $ and ~ in its options. */
#include "runner/publish/sshlink.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"

#define SOCKET_NAME "ssh"
#define PINS_NAME "known_hosts"

enum { CONNECT_S = 20, ALIVE_S = 15, UP_EVERY_MS = 5, KEYGEN_MS = 20000, MAX_WORDS = 8000 };

const char *sshlink_command(void)
{
	/* A connection that is gone is not made again behind our back: without the key it would be "denied". */
	return "ssh -F none -oBatchMode=yes -oControlMaster=no -oControlPath=" SOCKET_NAME
	       " -oProxyCommand=false -oIdentityFile=none -oIdentityAgent=none";
}

void sshlink_down(struct sshlink *l)
{
	if (l->pid > 0) {
		kill(l->pid, SIGKILL);
		waitpid(l->pid, NULL, 0);
	}
	l->pid = 0;
	close_p(&l->pidfd);
	close_p(&l->words);
}

static void read_words(const struct sshlink *l, char text[MAX_WORDS])
{
	ssize_t n = pread(l->words, text, MAX_WORDS - 1, 0);

	if (n < 0) n = 0;
	text[n] = '\0';
	for (char *p = text; *p; p++)
		if (((unsigned char)*p < ' ' && *p != '\n') || *p == 127) *p = ' ';
}

static int ended(const struct sshlink *l, int wait_ms)
{
	struct pollfd p = {.fd = l->pidfd, .events = POLLIN};

	return poll(&p, 1, wait_ms) > 0;
}

/* --- pins --- */

/* The fingerprints pinned for this host, "SHA256:…, SHA256:…"; caller frees. */
static char *pinned(const struct wire_opts *o)
{
	_cleanup_free_ char *name = o->remote->port == 22 ? xstrdup(o->remote->host)
							  : xasprintf("[%s]:%d", o->remote->host, o->remote->port);
	const char *const argv[] = {"ssh-keygen", "-l", "-F", name, "-f", o->known_hosts, NULL};
	struct child_opts c = {.argv = argv, .die_with_parent = 1};
	_cleanup_buf_ struct buf out = BUF_INIT(65536), ignored = BUF_INIT(4096);
	struct buf list = BUF_INIT(65536);
	struct child_status status;
	struct err e;

	if (child_run(&c, NULL, KEYGEN_MS, &out, &ignored, &status, &e)) return xstrdup("not known");
	for (const char *p = buf_str(&out); (p = strstr(p, "SHA256:"));) {
		size_t n = strcspn(p, " \r\n");

		if (list.len) buf_adds(&list, ", ");
		buf_add(&list, p, n);
		p += n;
	}
	return list.len ? buf_steal(&list) : xstrdup("not known");
}

static int changed(const struct wire_opts *o, const char *label, const char *text, struct err *e)
{
	const char *now = strstr(text, "SHA256:");
	_cleanup_free_ char *before = pinned(o);
	size_t n = now ? strcspn(now, " \r\n") : 0;

	while (n && now[n - 1] == '.') n--;
	return err_set(e, ERR_DENIED,
		       "the host key of '%s' has changed: it is %.*s now, pinned is %s; somebody may be in between. If "
		       "the change is meant, replace its line in '%s'",
		       label, now ? (int)n : 7, now ? now : "unknown", before, o->known_hosts);
}

static int tell_pin(const struct wire_opts *o, const char *label, const char *text, struct err *e)
{
	_cleanup_free_ char *print = NULL, *line = NULL;

	if (strstr(text, "Failed to add the host"))
		return err_set(e, ERR_SYS, "cannot pin the host key of '%s' in '%s'", label, o->known_hosts);
	if (!strstr(text, "Permanently added")) return 0;
	print = pinned(o);
	line = xasprintf("host key of '%s' seen for the first time, pinned: %s", label, print);
	if (o->say) o->say(o->arg, line);
	return 0;
}

/* --- up --- */

static int refused(const struct wire_opts *o, const char *label, char *text, struct err *e)
{
	char *last;

	if (strstr(text, "REMOTE HOST IDENTIFICATION HAS CHANGED")) return changed(o, label, text, e);
	if (strstr(text, "Host key verification failed"))
		return err_set(e, ERR_DENIED, "the host key of '%s' is refused by '%s'", label, o->known_hosts);
	if (strstr(text, "invalid format") || strstr(text, "error in libcrypto"))
		return err_set(e, ERR_INPUT, "the deploy key is damaged: ssh cannot read it");
	if (strstr(text, "Permission denied"))
		return err_set(e, ERR_DENIED, "the deploy key was refused by '%s' for user '%s'", label,
			       o->remote->user);
	for (size_t n = strlen(text); n && text[n - 1] <= ' ';) text[--n] = '\0';
	last = strrchr(text, '\n');
	last = last ? last + 1 : text;
	return err_set(e, ERR_BUSY, "cannot connect to '%s': %s", label, *last ? last : "no reason given");
}

static int start(struct sshlink *l, const struct wire_opts *o, const struct keyfd *key, struct err *e)
{
	_cleanup_free_ char *port = xasprintf("%d", o->remote->port),
			    *alive = xasprintf("-oServerAliveInterval=%d",
					       o->stall_s / 3 < ALIVE_S ? o->stall_s / 3 + 1 : ALIVE_S),
			    *connect =
				    xasprintf("-oConnectTimeout=%d", o->stall_s < CONNECT_S ? o->stall_s : CONNECT_S);
	const char *const argv[] = {"ssh",
				    "-F",
				    "none",
				    "-M",
				    "-N",
				    "-T",
				    "-oControlPath=" SOCKET_NAME,
				    "-oBatchMode=yes",
				    "-oIdentitiesOnly=yes",
				    "-oIdentityAgent=none",
				    "-oIdentityFile=/proc/self/fd/0",
				    "-oPreferredAuthentications=publickey",
				    "-oStrictHostKeyChecking=accept-new",
				    "-oUserKnownHostsFile=" PINS_NAME,
				    "-oGlobalKnownHostsFile=none",
				    "-oUpdateHostKeys=no",
				    "-oHashKnownHosts=no",
				    "-oCheckHostIP=no",
				    "-oServerAliveCountMax=3",
				    alive,
				    connect,
				    "-p",
				    port,
				    "-l",
				    o->remote->user,
				    "--",
				    o->remote->host,
				    NULL};
	struct child_opts c = {.argv = argv, .cwd = o->work, .in = key->fd, .die_with_parent = 1};

	sshlink_down(l);
	l->words = memfd_create("ssh-words", MFD_CLOEXEC);
	if (l->words < 0) return err_sys(e, "cannot make memory for the words of ssh");
	c.err = c.out = l->words;
	return child_start(&c, &l->pid, &l->pidfd, e);
}

static int prepare(const struct wire_opts *o, struct err *e)
{
	_cleanup_free_ char *link = xasprintf("%s/" PINS_NAME, o->work), *sock = xasprintf("%s/" SOCKET_NAME, o->work);

	unlink(sock);
	unlink(link);
	return symlink(o->known_hosts, link) ? err_sys(e, "cannot make '%s'", link) : 0;
}

int sshlink_up(struct sshlink *l, const struct wire_opts *o, const char *label, const struct keyfd *key, struct err *e)
{
	_cleanup_free_ char *sock = xasprintf("%s/" SOCKET_NAME, o->work);
	int64_t end = clock_mono_ms() + (int64_t)1000 * 3 * (o->stall_s < CONNECT_S ? o->stall_s : CONNECT_S);
	char text[MAX_WORDS];
	int rc;

	if (l->pid > 0 && !ended(l, 0) && fs_exists(sock)) return 0;
	if (prepare(o, e) || start(l, o, key, e)) return -1;
	while (!ended(l, UP_EVERY_MS)) { /* the socket is there when the key was accepted */
		if (fs_exists(sock)) {
			read_words(l, text);
			return tell_pin(o, label, text, e);
		}
		if (clock_mono_ms() < end) continue;
		sshlink_down(l);
		return err_set(e, ERR_BUSY, "cannot connect to '%s': it does not answer", label);
	}
	read_words(l, text);
	rc = refused(o, label, text, e);
	sshlink_down(l);
	return rc;
}
