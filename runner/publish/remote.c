/* Where a deployment repository is: the forms git knows, without those that cannot be pushed to with a deploy key. */
#include "runner/publish/remote.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "lib/num.h"

void remote_release(struct remote *r)
{
	free_p(&r->url);
	free_p(&r->user);
	free_p(&r->host);
	*r = (struct remote){.kind = REMOTE_PATH};
}

static int bad(struct err *e, const char *text, const char *why)
{
	return err_set(e, ERR_INPUT, "bad remote '%s': %s", text, why);
}

static int plain(const char *s, size_t len, const char *also)
{
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr(also, s[i])) return 0;
	return len > 0 && s[0] != '-';
}

/* [user@]host, host possibly [::1] */
static int take_host(const char *text, const char *at, const char *end, struct remote *r, struct err *e)
{
	const char *mark = memchr(at, '@', (size_t)(end - at));

	if (mark && !plain(at, (size_t)(mark - at), "._-")) return bad(e, text, "strange user name");
	r->user = mark ? xstrndup(at, (size_t)(mark - at)) : xstrdup("git");
	if (mark) at = mark + 1;
	if (end - at > 2 && *at == '[' && end[-1] == ']') {
		if (!plain(at + 1, (size_t)(end - at - 2), ":.")) return bad(e, text, "strange host name");
		r->host = xstrndup(at + 1, (size_t)(end - at - 2));
	} else {
		if (!plain(at, (size_t)(end - at), "._-")) return bad(e, text, "strange host name");
		r->host = xstrndup(at, (size_t)(end - at));
	}
	for (char *p = r->host; *p; p++) *p = (char)tolower((unsigned char)*p);
	return 0;
}

static int parse_url(const char *text, enum remote_kind kind, int port, struct remote *r, struct err *e)
{
	const char *at = strstr(text, "://") + 3, *slash = strchr(at, '/'), *end = slash, *colon;
	_cleanup_free_ char *digits = NULL;

	colon = slash ? memchr(at, ':', (size_t)(slash - at)) : NULL;
	if (colon && memchr(colon, '@', (size_t)(slash - colon)))
		return err_set(e, ERR_INPUT,
			       "bad remote: a password does not belong into it; the token is given as the key");
	if (!slash || !slash[1]) return bad(e, text, "no path");
	for (colon = slash; colon > at && *colon != ':' && *colon != ']';) colon--;
	if (colon > at && *colon == ':') {
		end = colon;
		digits = xstrndup(colon + 1, (size_t)(slash - colon) - 1);
		if (num_parse_int(digits, 1, 65535, &port)) return bad(e, text, "strange port");
	}
	r->kind = kind;
	r->port = port;
	if (take_host(text, at, end, r, e)) return -1;
	/* The user of an https URL goes with the token. */
	at = kind == REMOTE_HTTPS && memchr(at, '@', (size_t)(end - at)) ? strchr(at, '@') + 1 : at;
	r->url = xasprintf("%s://%s", kind == REMOTE_HTTPS ? "https" : "ssh", at);
	return 0;
}

/* host:path, where no slash comes before the colon; git reads it so too. */
static int parse_scp(const char *text, const char *colon, struct remote *r, struct err *e)
{
	if (!colon[1] || colon[1] == '-') return bad(e, text, "no path");
	r->kind = REMOTE_SSH;
	r->port = 22;
	r->url = xstrdup(text);
	return take_host(text, text, colon, r, e);
}

static int parse(const char *text, struct remote *r, struct err *e)
{
	const char *scheme = strstr(text, "://"), *colon = strchr(text, ':'), *slash = strchr(text, '/');

	for (const char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p))
			return err_set(e, ERR_INPUT, "bad remote: it holds a control character");
	if (!*text) return err_set(e, ERR_INPUT, "bad remote: it is empty");
	if (!strncmp(text, "ssh://", 6)) return parse_url(text, REMOTE_SSH, 22, r, e);
	if (!strncmp(text, "https://", 8)) return parse_url(text, REMOTE_HTTPS, 443, r, e);
	if (!strncmp(text, "file:///", 8)) {
		r->url = xstrdup(text + 7);
		return 0;
	}
	if (scheme && scheme < slash) return bad(e, text, "it can be ssh://, git@host:path, https:// or a path");
	if (colon && (!slash || colon < slash)) return parse_scp(text, colon, r, e);
	if (*text == '-') return bad(e, text, "it looks like an option; write ./ before it");
	r->url = xstrdup(text);
	return 0;
}

int remote_parse(const char *text, struct remote *r, struct err *e)
{
	*r = (struct remote){.kind = REMOTE_PATH};
	if (!parse(text, r, e)) return 0;
	remote_release(r);
	return -1;
}
