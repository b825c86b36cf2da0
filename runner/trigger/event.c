/* Events: names, what is taken from outside, and what is not built. */
#include "runner/trigger/event.h"

#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/buf.h"
#include "lib/err.h"

enum { MAX_REPO_PART = 100, MAX_REF = 500 };

static const char *const kind_names[] = {
	[EVENT_PUSH] = "push",
	[EVENT_PULL_REQUEST] = "pull_request",
	[EVENT_PING] = "ping",
};

static const char *const source_names[] = {
	[EVENT_FROM_GITHUB] = "github",
	[EVENT_FROM_HOOK] = "post-receive",
	[EVENT_FROM_PERSON] = "manual",
	[EVENT_FROM_POLL] = "poll",
};

void event_release(struct event *ev)
{
	char **strings[] = {&ev->delivery,  &ev->repo,        &ev->ref,        &ev->branch, &ev->tag,
			    &ev->before,    &ev->commit,      &ev->message,    &ev->sender, &ev->pr_action,
			    &ev->head_repo, &ev->head_branch, &ev->head_commit};

	for (size_t i = 0; i < ARRAY_LEN(strings); i++) free(*strings[i]);
	*ev = (struct event){0};
}

const char *event_kind_name(enum event_kind kind)
{
	return kind_names[kind];
}

const char *event_source_name(enum event_source source)
{
	return source_names[source];
}

int event_kind_parse(const char *name, enum event_kind *kind_r)
{
	for (size_t i = 0; i < ARRAY_LEN(kind_names); i++)
		if (!strcmp(kind_names[i], name)) {
			*kind_r = (enum event_kind)i;
			return 0;
		}
	return -1;
}

int event_source_parse(const char *name, enum event_source *source_r)
{
	for (size_t i = 0; i < ARRAY_LEN(source_names); i++)
		if (!strcmp(source_names[i], name)) {
			*source_r = (enum event_source)i;
			return 0;
		}
	return -1;
}

/* --- skipping --- */

/* One bracket's inside, without the brackets. src: Travis, both generations: \[ci(?: |:)skip\] and \[skip\s+ci\], then
 * "[<keyword> skip]" and "[skip <keyword>]". */
static int is_skip_token(const char *s, size_t len)
{
	static const char *const keywords[] = {"ci", "travis", "travis ci", "travis-ci", "travisci"};
	static const char skip[] = "skip";
	const size_t n = sizeof(skip) - 1;

	if (len == 7 && !strncasecmp(s, "ci:skip", len)) return 1;
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
		size_t k = strlen(keywords[i]), gap = n;

		if (len == k + 1 + n && !strncasecmp(s, keywords[i], k) && s[k] == ' ' &&
		    !strncasecmp(s + k + 1, skip, n))
			return 1;
		if (len <= n || strncasecmp(s, skip, n)) continue;
		while (gap < len && isspace((unsigned char)s[gap])) gap++;
		if (gap > n && len - gap == k && !strncasecmp(s + gap, keywords[i], k)) return 1;
	}
	return 0;
}

int event_message_skips(const char *message)
{
	for (const char *open = message ? strchr(message, '[') : NULL; open; open = strchr(open + 1, '[')) {
		size_t len = strcspn(open + 1, "[]");

		if (open[1 + len] == ']' && is_skip_token(open + 1, len)) return 1;
	}
	return 0;
}

static int pr_action_builds(const char *action)
{
	static const char *const builds[] = {"opened", "synchronize", "reopened"};

	for (size_t i = 0; i < ARRAY_LEN(builds); i++)
		if (action && !strcmp(action, builds[i])) return 1;
	return 0;
}

const char *event_skip_reason(const struct event *ev)
{
	switch (ev->kind) {
	case EVENT_PING: return "a ping: the webhook works";
	case EVENT_PULL_REQUEST:
		if (ev->source != EVENT_FROM_PERSON && !pr_action_builds(ev->pr_action))
			return "nothing to build for this action";
		break;
	case EVENT_PUSH:
		if (ev->deleted) return ev->tag ? "tag deleted" : "branch deleted";
		if (ev->source != EVENT_FROM_PERSON && event_message_skips(ev->message))
			return EVENT_SKIPPED_BY_MESSAGE;
		break;
	}
	return ev->commit ? NULL : "missing commit";
}

/* --- what is taken from outside --- */

static int repo_part_ok(const char *s, size_t len)
{
	if (!len || len > MAX_REPO_PART || s[0] == '-') return 0;
	if (s[0] == '.' && (len == 1 || (len == 2 && s[1] == '.'))) return 0;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i])) return 0;
	return 1;
}

int event_repo_ok(const char *repo)
{
	const char *slash = repo ? strchr(repo, '/') : NULL;

	return slash && repo_part_ok(repo, (size_t)(slash - repo)) && repo_part_ok(slash + 1, strlen(slash + 1));
}

int event_commit_ok(const char *commit)
{
	return commit && strlen(commit) == 40 && strspn(commit, "0123456789abcdef") == 40;
}

int event_commit_is_zero(const char *commit)
{
	return commit && strlen(commit) == 40 && strspn(commit, "0") == 40;
}

/* Bytes of the UTF-8 sequence at s; 0: not one (overlong, surrogate, too large, cut). */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80             ? 1
		   : (s[0] & 0xe0) == 0xc0 ? 2
		   : (s[0] & 0xf0) == 0xe0 ? 3
		   : (s[0] & 0xf8) == 0xf0 ? 4
					   : 0;
	unsigned code = n > 1 ? s[0] & (0x7fU >> n) : s[0];
	static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

char *event_new_delivery(void)
{
	unsigned char random[12];
	char hex[2 * sizeof(random) + 1];

	randombytes_buf(random, sizeof(random));
	return xstrdup(sodium_bin2hex(hex, sizeof(hex), random, sizeof(random)));
}

char *event_text(const char *s, size_t max)
{
	_cleanup_buf_ struct buf b = BUF_INIT(max + 4);

	if (!s) return NULL;
	while (*s && b.len < max) {
		size_t n = utf8_length((const unsigned char *)s);
		int control = (unsigned char)*s < ' ' && *s != '\t' && *s != '\n';

		if (n && b.len + n > max) break;
		if (n && !control && *s != 0x7f)
			buf_add(&b, s, n);
		else if (!n && b.len + 3 <= max)
			buf_adds(&b, "\xef\xbf\xbd");
		s += n ? n : 1;
	}
	while (b.len && strchr(" \t\n", b.data[b.len - 1])) b.data[--b.len] = '\0';
	return buf_steal(&b);
}

static int ref_part_ok(const char *s, size_t len)
{
	return len && s[0] != '.' && !(len >= 5 && !memcmp(s + len - 5, ".lock", 5));
}

int event_ref_ok(const char *ref)
{
	const char *part;

	if (!ref || strncmp(ref, "refs/", 5) || strlen(ref) > MAX_REF) return 0;
	if (strstr(ref, "..") || strstr(ref, "@{") || ref[strlen(ref) - 1] == '.') return 0;
	for (const char *p = ref; *p;) {
		size_t n = utf8_length((const unsigned char *)p);

		if (!n || (unsigned char)*p < ' ' || *p == 0x7f || strchr(" ~^:?*[\\", *p)) return 0;
		p += n;
	}
	for (part = ref;; part++) {
		size_t len = strcspn(part, "/");

		if (!ref_part_ok(part, len)) return 0;
		part += len;
		if (!*part) return 1;
	}
}

void event_set_ref(struct event *ev, const char *ref)
{
	static const char heads[] = "refs/heads/", tags[] = "refs/tags/";

	free_p(&ev->ref);
	free_p(&ev->branch);
	free_p(&ev->tag);
	ev->ref = xstrdup(ref);
	if (!strncmp(ref, heads, sizeof(heads) - 1)) ev->branch = xstrdup(ref + sizeof(heads) - 1);
	if (!strncmp(ref, tags, sizeof(tags) - 1)) {
		ev->tag = xstrdup(ref + sizeof(tags) - 1);
		ev->branch = xstrdup(ev->tag);
	}
}
