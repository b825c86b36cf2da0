/* Where a submodule may be fetched from. The address stands in a file of the repository's, so whoever pushes, or makes
 * a pull request, chooses it; and what is fetched ends in the box, where they can read it. So the runner's own keys
 * and its files are lent only where the box's owner said so.
 *
 *	https://HOST/… of the source's host, no user name     always, as nobody
 *	what the owner lists                                  as the runner; as nobody in a fork's pull request
 *	ext::, fd::, options, .., anything else               never */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "runner/store/submodule.h"

enum { URL_MAX = 2000 };

struct address {
	int https, ssh, path; /* what it is; others (http, git) none of them */
	const char *host;     /* points into the text; NULL for a path */
	size_t host_len;      /* with the port */
	int user;             /* a user name or password is in it */
	const char *rest;     /* behind the host */
};

static int starts(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

static int host_fits(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr(".-_:[]", s[i])) return 0;
	return n && (isalnum((unsigned char)s[0]) || s[0] == '[');
}

static int user_fits(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!isgraph((unsigned char)s[i])) return 0;
	return n && s[0] != '-';
}

static int has_dots(const char *path)
{
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && !strncmp(p, "..", 2)) return 1;
		p += n + (p[n] == '/');
	}
	return 0;
}

/* user@host up to `end`; NULL or why it is no good. */
static const char *take_host(const char *at, const char *end, struct address *a)
{
	const char *mark = NULL;

	for (const char *p = at; p < end; p++)
		if (*p == '@') mark = p;
	a->user = mark != NULL;
	if (mark && !user_fits(at, (size_t)(mark - at))) return "has a strange user name";
	a->host = mark ? mark + 1 : at;
	a->host_len = (size_t)(end - a->host);
	a->rest = end;
	return host_fits(a->host, a->host_len) ? NULL : "has a strange host name";
}

static const char *read_address(const char *s, struct address *a)
{
	static const char *const schemes[] = {"https://", "http://", "ssh://", "git://"};
	const char *colon = strchr(s, ':'), *slash = strchr(s, '/');

	*a = (struct address){0};
	if (strlen(s) > URL_MAX) return "is too long";
	for (const char *p = s; *p; p++)
		if (iscntrl((unsigned char)*p) || *p == ' ' || *p == '\\') return "holds a character that none has";
	if (*s == '-') return "looks like an option";
	if (strstr(s, "::") && (!slash || strstr(s, "::") < slash)) return "names a helper program";
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (starts(s, schemes[i])) {
			const char *at = s + strlen(schemes[i]);

			a->https = i == 0;
			a->ssh = i == 2;
			return take_host(at, at + strcspn(at, "/"), a);
		}
	if (starts(s, "file:///")) s += strlen("file://");
	a->path = *s == '/';
	a->rest = s;
	if (a->path) return NULL;
	if (strstr(s, "://") || !colon || (slash && slash < colon)) return "is not an address";
	a->ssh = 1; /* host:path */
	if (colon[1] == '-') return "looks like an option";
	return take_host(s, colon, a);
}

/* One part off the end: "a/b" → "a", "host:b" → "host:"; 0: there is none. */
static int chop(char *base)
{
	char *slash = strrchr(base, '/'), *colon = strrchr(base, ':');

	if (slash && slash > base && slash[-1] != '/') {
		*slash = '\0';
		return 1;
	}
	if (slash || !colon || !colon[1]) return 0;
	colon[1] = '\0';
	return 1;
}

/*  src  git's relative_url(): the source's last part is a folder too */
static char *resolve(const char *source, const char *written)
{
	_cleanup_free_ char *base = xstrdup(source);
	size_t n = strlen(base);

	while (n > 1 && base[n - 1] == '/') base[--n] = '\0';
	for (;;) {
		if (starts(written, "./")) {
			written += 2;
		} else if (starts(written, "../")) {
			if (!chop(base)) return NULL;
			written += 3;
		} else {
			break;
		}
	}
	n = strlen(base);
	return xasprintf("%s%s%s", base, n && base[n - 1] == ':' ? "" : "/", written);
}

/* An entry is a whole address, or a beginning of one that ends where a part of it does. */
static int is_allowed(const struct vec *allowed, const char *url)
{
	for (size_t i = 0; i < allowed->len; i++) {
		const char *entry = allowed->items[i];
		size_t n = strlen(entry);

		if (!n || strncmp(url, entry, n) != 0) continue;
		if (!url[n] || url[n] == '/' || strchr("/:", entry[n - 1])) return 1;
	}
	return 0;
}

static int same_host(const char *source, const struct address *a)
{
	struct address from;
	size_t n;

	if (read_address(source, &from) || !from.host) return 0;
	/* The port of an ssh source is not that of its web server. */
	n = from.ssh ? strcspn(from.host, ":/") : from.host_len;
	if (n > from.host_len) n = from.host_len;
	return n == a->host_len && !strncasecmp(from.host, a->host, n);
}

int submodule_url(const struct submodule_rules *rules, const char *written, char **url_r, int *anonymous_r,
		  struct err *e)
{
	int relative = starts(written, "./") || starts(written, "../");
	_cleanup_free_ char *url = relative ? resolve(rules->source, written) : xstrdup(written);
	const char *why = url ? NULL : "leads above its source";
	struct address a;
	int at_home, listed;

	if (!why) why = read_address(url, &a);
	if (!why && (!*a.rest || has_dots(a.rest))) why = "has no path, or '..' in it";
	if (why) return err_set(e, ERR_INPUT, "the submodule's address '%.300s' %s", written, why);
	at_home = a.https && !a.user && same_host(rules->source, &a);
	listed = is_allowed(rules->allowed, url);
	if (!at_home && !listed)
		return err_set(e, ERR_DENIED,
			       "the submodule's address '%.200s' is not https:// from the host of its source. The "
			       "runner's owner allows it with: runner repo allow-submodules %s %.200s",
			       url, rules->name, url);
	if (rules->stranger && (!a.https || a.user))
		return err_set(e, ERR_DENIED,
			       "the submodule's address '%.300s' would take the runner's own keys: not for a pull "
			       "request from a fork",
			       url);
	*anonymous_r = !listed || rules->stranger;
	*url_r = steal(url);
	return 0;
}

int submodule_permit_check(const char *url, struct err *e)
{
	struct address a;
	const char *why = read_address(url, &a);

	if (!why && has_dots(a.rest)) why = "has '..' in it";
	return why ? err_set(e, ERR_INPUT, "'%.300s' %s", url, why) : 0;
}
