/* GitHub's webhooks. Nothing in a delivery is trusted to be there, to be of its type, or to be what its name says. */
#include "runner/trigger/github.h"

#include <limits.h>
#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "lib/buf.h"
#include "lib/json.h"

static const char scheme[] = "sha256=";
enum { SCHEME_LEN = sizeof(scheme) - 1, HEX_LEN = 2 * crypto_auth_hmacsha256_BYTES };

int github_signature_shaped(const char *header)
{
	return header && !strncmp(header, scheme, SCHEME_LEN) && strlen(header) == SCHEME_LEN + HEX_LEN &&
	       strspn(header + SCHEME_LEN, "0123456789abcdef") == HEX_LEN;
}

void github_hmac_start(struct github_hmac *h, const struct secret *secret)
{
	h->usable = secret->len > 0;
	if (h->usable) crypto_auth_hmacsha256_init(&h->state, secret->data, secret->len);
}

void github_hmac_add(struct github_hmac *h, const void *data, size_t len)
{
	if (h->usable) crypto_auth_hmacsha256_update(&h->state, data, len);
}

int github_hmac_fits(struct github_hmac *h, const char *header)
{
	unsigned char mac[crypto_auth_hmacsha256_BYTES];
	char hex[HEX_LEN + 1];
	int same;

	if (!h->usable || !github_signature_shaped(header)) return 0;
	crypto_auth_hmacsha256_final(&h->state, mac);
	sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
	same = !sodium_memcmp(hex, header + SCHEME_LEN, HEX_LEN);
	h->usable = 0;
	sodium_memzero(mac, sizeof(mac));
	sodium_memzero(hex, sizeof(hex));
	return same;
}

int github_signature_ok(const struct secret *secret, const void *body, size_t len, const char *header)
{
	struct github_hmac h;
	int same;

	if (!github_signature_shaped(header)) return 0;
	github_hmac_start(&h, secret);
	github_hmac_add(&h, body, len);
	same = github_hmac_fits(&h, header);
	sodium_memzero(&h, sizeof(h));
	return same;
}

/* --- the body --- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* application/x-www-form-urlencoded, its one field. */
static int decode_form(const char *s, size_t len, struct buf *b, struct err *e)
{
	char *out = buf_reserve(b, len);

	if (!out) die("no room for a form of %zu bytes", len);
	for (size_t i = 0; i < len && s[i] != '&'; i++) {
		if (s[i] == '%') {
			int high = len - i > 2 ? hex_digit(s[i + 1]) : -1, low = len - i > 2 ? hex_digit(s[i + 2]) : -1;

			if (high < 0 || low < 0)
				return err_set(e, ERR_INPUT, "the form's byte %zu: '%%' without two hex digits", i);
			out[b->len++] = (char)(high << 4 | low);
			i += 2;
		} else {
			out[b->len++] = s[i] == '+' ? ' ' : s[i];
		}
	}
	out[b->len] = '\0';
	return 0;
}

static int parse_body(const char *body, size_t len, json_t **json_r, struct err *e)
{
	static const char field[] = "payload=";
	const size_t n = sizeof(field) - 1;
	_cleanup_buf_ struct buf form = BUF_INIT(len + 1);
	json_t *j;

	if (len >= n && !memcmp(body, field, n)) {
		if (decode_form(body + n, len - n, &form, e)) return -1;
		body = buf_str(&form);
		len = form.len;
	}
	if (json_parse("delivery", body, len, &j, e)) return -1;
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(e, ERR_INPUT, "delivery: not an object");
	}
	*json_r = j;
	return 0;
}

/* --- members, each with its check --- */

static int need(const json_t *j, const char *path, int (*is_ok)(const char *), const char **s_r, struct err *e)
{
	const char *s;

	if (json_need_string(j, path, &s, e)) return -1;
	if (!is_ok(s)) return err_set(e, ERR_INPUT, "'%s' is not what it should be: '%.100s'", path, s);
	*s_r = s;
	return 0;
}

/* The member may be absent or null, but not of another type: *s_r is NULL then. */
static int optional(const json_t *j, const char *path, int (*is_ok)(const char *), const char **s_r, struct err *e)
{
	const json_t *v = json_at(j, path);

	*s_r = NULL;
	return !v || json_is_null(v) ? 0 : need(j, path, is_ok, s_r, e);
}

static int branch_ok(const char *name)
{
	_cleanup_free_ char *ref = xasprintf("refs/heads/%.600s", name);

	return event_ref_ok(ref);
}

static int pushed_ref_ok(const char *ref)
{
	return event_ref_ok(ref) && (!strncmp(ref, "refs/heads/", 11) || !strncmp(ref, "refs/tags/", 10));
}

/* Names of events and actions. */
static int word_ok(const char *word)
{
	size_t n = strlen(word);

	return n && n <= 60 && strspn(word, "abcdefghijklmnopqrstuvwxyz_") == n;
}

static char *dup_or_null(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

/* --- the kinds --- */

static int parse_push(const json_t *j, struct event *ev, struct err *e)
{
	const char *ref = NULL, *before, *after = NULL, *head;

	if (need(j, "ref", pushed_ref_ok, &ref, e) || need(j, "after", event_commit_ok, &after, e) ||
	    optional(j, "before", event_commit_ok, &before, e) ||
	    optional(j, "head_commit.id", event_commit_ok, &head, e))
		return -1;
	event_set_ref(ev, ref);
	ev->before = dup_or_null(before);
	ev->deleted = json_bool_or(j, "deleted", 0) || event_commit_is_zero(after);
	/* An annotated tag's `after` is the tag object. */
	if (!ev->deleted) ev->commit = xstrdup(ev->tag && head ? head : after);
	ev->message = event_text(json_string_or(j, "head_commit.message", NULL), EVENT_MESSAGE_MAX);
	return 0;
}

static int parse_pull_request(const json_t *j, struct event *ev, struct err *e)
{
	const char *action = NULL, *base = NULL, *base_repo = NULL, *head = NULL, *head_branch = NULL, *head_repo;
	int64_t number = 0;

	if (need(j, "action", word_ok, &action, e) || json_need_int(j, "number", &number, e) ||
	    need(j, "pull_request.base.ref", branch_ok, &base, e) ||
	    need(j, "pull_request.base.repo.full_name", event_repo_ok, &base_repo, e) ||
	    need(j, "pull_request.head.sha", event_commit_ok, &head, e) ||
	    need(j, "pull_request.head.ref", branch_ok, &head_branch, e) ||
	    optional(j, "pull_request.head.repo.full_name", event_repo_ok, &head_repo, e))
		return -1;
	if (number < 1 || number > INT_MAX)
		return err_set(e, ERR_INPUT, "'number' is no pull request: %lld", (long long)number);
	if (strcmp(base_repo, ev->repo))
		return err_set(e, ERR_INPUT, "'pull_request.base.repo.full_name' is not the repository: '%s'",
			       base_repo);
	ev->pr_number = (int)number;
	ev->pr_action = xstrdup(action);
	ev->ref = xasprintf("refs/pull/%d/merge", ev->pr_number);
	ev->branch = xstrdup(base);
	ev->commit = xstrdup(head);
	ev->head_commit = xstrdup(head);
	ev->head_branch = xstrdup(head_branch);
	ev->head_repo = dup_or_null(head_repo);
	ev->from_fork = !head_repo || strcmp(head_repo, base_repo); /* a deleted fork has no repository */
	ev->message = event_text(json_string_or(j, "pull_request.title", NULL), EVENT_MESSAGE_MAX);
	return 0;
}

static int parse_event(enum event_kind kind, const json_t *j, struct event *ev, struct err *e)
{
	const char *repo;

	ev->kind = kind;
	ev->source = EVENT_FROM_GITHUB;
	if (kind == EVENT_PING ? optional(j, "repository.full_name", event_repo_ok, &repo, e)
			       : need(j, "repository.full_name", event_repo_ok, &repo, e))
		return -1;
	ev->repo = dup_or_null(repo);
	ev->sender = event_text(json_string_or(j, "sender.login", NULL), EVENT_NAME_MAX);
	switch (kind) {
	case EVENT_PUSH: return parse_push(j, ev, e);
	case EVENT_PULL_REQUEST: return parse_pull_request(j, ev, e);
	case EVENT_PING: ev->message = event_text(json_string_or(j, "zen", NULL), EVENT_MESSAGE_MAX); return 0;
	}
	die("event kind %d", (int)kind);
}

static int delivery_ok(const char *s)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 0x7f) return 0;
	return n > 0 && n <= EVENT_NAME_MAX;
}

int github_parse(const char *event, const char *delivery, const void *body, size_t len, struct event *ev_r,
		 struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	struct event ev = {0};
	enum event_kind kind;

	if (!event || !*event) return err_set(e, ERR_INPUT, "the header X-GitHub-Event is missing");
	if (!word_ok(event)) return err_set(e, ERR_INPUT, "the header X-GitHub-Event is no event's name");
	if (!delivery || !*delivery) return err_set(e, ERR_INPUT, "the header X-GitHub-Delivery is missing");
	if (!delivery_ok(delivery)) return err_set(e, ERR_INPUT, "the header X-GitHub-Delivery is no delivery id");
	if (parse_body(body, len, &j, e)) return -1;
	if (event_kind_parse(event, &kind)) return 1;
	if (parse_event(kind, j, &ev, e)) {
		event_release(&ev);
		return err_wrap(e, "%s", event_kind_name(kind));
	}
	ev.delivery = xstrdup(delivery);
	*ev_r = ev;
	return 0;
}
