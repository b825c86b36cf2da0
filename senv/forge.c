/* GitHub's and GitLab's APIs, as far as a secret needs them. Their answers are shown as far as they say what is wrong,
 * never what was sent. */
#include "senv/forge.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "lib/fetch.h"
#include "lib/json.h"
#include "senv/seal.h"

enum {
	TIMEOUT_MS = 30000,
	MAX_ANSWER = 1 << 20,
	GITHUB_MAX_VALUE = 48 * 1024, /* "Secrets are limited to 48 KB in size" */
	GITLAB_MAX_VALUE = 10000,
};

static int request(const struct forge_push *p, const char *method, const char *url, const char *const *headers,
		   const char *token_header, const struct secret *body, struct fetch_answer *a, struct err *e)
{
	_cleanup_secret_ struct secret token = SECRET_INIT;
	struct fetch f = {.method = method,
			  .url = url,
			  .headers = headers,
			  .secret = &token,
			  .body = body ? body->data : NULL,
			  .body_len = body ? body->len : 0,
			  .timeout_ms = TIMEOUT_MS};
	size_t n = strlen(token_header);

	for (size_t i = 0; i < p->token->len; i++)
		if (p->token->data[i] <= ' ' || p->token->data[i] > '~')
			return err_set(e, ERR_INPUT, "the token has a character that no token has");
	secret_alloc(&token, n + p->token->len);
	memcpy(token.data, token_header, n);
	memcpy(token.data + n, p->token->data, p->token->len);
	fetch_answer_release(a);
	return fetch(&f, a, e);
}

/* The `message` of an answer, in both APIs a text or something with texts in it; at most some of it, one line. */
static void said(const struct fetch_answer *a, char *out, size_t size)
{
	_cleanup_json_ json_t *j = NULL;
	_cleanup_free_ char *text = NULL;
	json_t *message;
	struct err ignored;

	out[0] = '\0';
	if (json_parse("answer", buf_str(&a->body), a->body.len, &j, &ignored)) return;
	message = json_at(j, "message");
	if (!message) message = json_at(j, "error");
	if (!message) return;
	text = json_is_string(message) ? xstrdup(json_string_value(message)) : json_text(message);
	snprintf(out, size, ": %.300s", text);
	for (char *c = out; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
}

static int judge(const struct fetch_answer *a, const char *what, struct err *e)
{
	enum err_kind kind = a->status == 401 || a->status == 403 ? ERR_DENIED
			     : a->status == 404                   ? ERR_MISSING
								  : ERR_REMOTE;
	char why[320];

	if (a->status >= 200 && a->status < 300) return 0;
	if (a->location) return err_set(e, ERR_REMOTE, "cannot %s: it has moved to '%.300s'", what, a->location);
	said(a, why, sizeof(why));
	return err_set(e, kind, "cannot %s: status %d%s", what, a->status, why);
}

/* ---- GitHub ---- */

static const char *const github_headers[] = {"Accept: application/vnd.github+json", "X-GitHub-Api-Version: 2022-11-28",
					     "Content-Type: application/json", NULL};

/* Exactly one slash, and only what GitHub allows in names: nothing that could lead elsewhere in a URL. */
static int github_repo_ok(const char *repo)
{
	const char *slash = strchr(repo, '/');

	if (!slash || slash == repo || !slash[1] || strchr(slash + 1, '/')) return 0;
	if (!strcmp(slash + 1, ".") || !strcmp(slash + 1, "..") || *repo == '.') return 0;
	return !repo[strspn(repo, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./")];
}

static int github_check(const struct forge_push *p, struct err *e)
{
	if (!github_repo_ok(p->repo)) return err_set(e, ERR_INPUT, "'%.100s' is not OWNER/REPO", p->repo);
	if (seal_check_name(p->name, e)) return -1;
	if (!strncasecmp(p->name, "GITHUB_", 7))
		return err_set(e, ERR_INPUT, "GitHub takes no secret whose name begins with GITHUB_");
	if (!p->value->len) return err_set(e, ERR_INPUT, "the value is empty");
	if (p->value->len > GITHUB_MAX_VALUE)
		return err_set(e, ERR_INPUT,
			       "the value has %zu bytes, GitHub takes %d; cut it with `senv encrypt --for github`",
			       p->value->len, GITHUB_MAX_VALUE);
	return 0;
}

static int github_key(const struct forge_push *p, struct fetch_answer *a, unsigned char pub_r[SEAL_KEY_BYTES],
		      char **id_r, struct err *e)
{
	_cleanup_free_ char *url = xasprintf("%s/repos/%s/actions/secrets/public-key", p->api, p->repo);
	_cleanup_free_ char *what = xasprintf("get the key of '%s'", p->repo);
	_cleanup_json_ json_t *j = NULL;
	const char *key, *id;
	size_t n;

	if (request(p, "GET", url, github_headers, "Authorization: Bearer ", NULL, a, e) || judge(a, what, e))
		return -1;
	if (json_parse("answer", buf_str(&a->body), a->body.len, &j, e) || json_need_string(j, "key", &key, e) ||
	    json_need_string(j, "key_id", &id, e))
		return err_wrap(e, "cannot %s", what);
	if (sodium_base642bin(pub_r, SEAL_KEY_BYTES, key, strlen(key), NULL, &n, NULL,
			      sodium_base64_VARIANT_ORIGINAL) ||
	    n != SEAL_KEY_BYTES)
		return err_set(e, ERR_REMOTE, "cannot %s: it is no base64 of %d bytes", what, SEAL_KEY_BYTES);
	*id_r = xstrdup(id);
	return 0;
}

/* What the API wants of a sealed value; nothing in it is secret any more. */
static int github_body(const struct forge_push *p, const unsigned char *pub, const char *id, struct secret *body_r,
		       struct err *e)
{
	size_t box_len = p->value->len + crypto_box_SEALBYTES;
	size_t text_size = sodium_base64_ENCODED_LEN(box_len, sodium_base64_VARIANT_ORIGINAL);
	_cleanup_free_ unsigned char *box = xmalloc(box_len);
	_cleanup_free_ char *text = xmalloc(text_size), *json = NULL;
	_cleanup_json_ json_t *j = NULL;

	if (crypto_box_seal(box, p->value->data, p->value->len, pub))
		return err_set(e, ERR_REMOTE, "cannot seal to the key of '%s': it is no good point", p->repo);
	sodium_bin2base64(text, text_size, box, box_len, sodium_base64_VARIANT_ORIGINAL);
	j = json_pack("{s:s, s:s}", "encrypted_value", text, "key_id", id);
	if (!j) return err_set(e, ERR_REMOTE, "the key's id is no text");
	json = json_text(j);
	secret_set(body_r, json, strlen(json));
	return 0;
}

int forge_github(const struct forge_push *p, struct forge_result *result_r, struct err *e)
{
	_cleanup_free_ char *url = xasprintf("%s/repos/%s/actions/secrets/%s", p->api, p->repo, p->name), *id = NULL;
	_cleanup_free_ char *what = xasprintf("set '%.255s' of '%.200s'", p->name, p->repo);
	_cleanup_fetch_ struct fetch_answer a = {.body = BUF_INIT(MAX_ANSWER)};
	_cleanup_secret_ struct secret body = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];

	if (github_check(p, e) || github_key(p, &a, pub, &id, e) || github_body(p, pub, id, &body, e)) return -1;
	if (request(p, "PUT", url, github_headers, "Authorization: Bearer ", &body, &a, e)) return -1;
	if (judge(&a, what, e)) return -1;
	*result_r = (struct forge_result){.replaced = a.status == 204, .masked = 1};
	return 0;
}

/* ---- GitLab ---- */

static const char *const gitlab_headers[] = {"Content-Type: application/json", NULL};

/* One line of at least 8 characters of a set that every version of GitLab masks. */
static int gitlab_masks(const struct secret *v)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=/@:.~-";

	for (size_t i = 0; i < v->len; i++)
		if (!v->data[i] || !strchr(set, v->data[i])) return 0;
	return v->len >= 8;
}

static int is_utf8(const unsigned char *v, size_t len)
{
	while (len) {
		size_t n = *v < 0x80 ? 1 : *v >> 5 == 6 && *v > 0xc1 ? 2 : *v >> 4 == 14 ? 3 : *v >> 3 == 30 ? 4 : 0;

		if (!n || n > len || !*v) return 0;
		for (size_t i = 1; i < n; i++)
			if (v[i] >> 6 != 2) return 0;
		v += n;
		len -= n;
	}
	return 1;
}

static int gitlab_check(const struct forge_push *p, struct err *e)
{
	if (!*p->repo) return err_set(e, ERR_INPUT, "the project's name is empty");
	if (seal_check_name(p->name, e)) return -1;
	if (!is_utf8(p->value->data, p->value->len))
		return err_set(e, ERR_INPUT,
			       "the value is no text, which GitLab's variables are; use base64, or `senv encrypt`");
	if (p->value->len > GITLAB_MAX_VALUE)
		return err_set(e, ERR_INPUT,
			       "the value has %zu bytes, GitLab takes %d; cut it with `senv encrypt --for gitlab`",
			       p->value->len, GITLAB_MAX_VALUE);
	return 0;
}

static size_t put_text(struct secret *to, size_t at, const char *s)
{
	size_t n = strlen(s);

	memcpy(to->data + at, s, n);
	return at + n;
}

/* {"key":…,"value":…} by hand: jansson would keep the value in ordinary memory. */
static void gitlab_body(const struct forge_push *p, int create, struct secret *body_r)
{
	const struct secret *v = p->value;
	size_t at = 0;

	secret_alloc(body_r, v->len * 6 + strlen(p->name) + 200);
	at = put_text(body_r, at, "{\"value\":\"");
	for (size_t i = 0; i < v->len; i++) {
		if (v->data[i] < 0x20) {
			char u[8];

			snprintf(u, sizeof(u), "\\u%04x", v->data[i]);
			at = put_text(body_r, at, u);
			continue;
		}
		if (v->data[i] == '"' || v->data[i] == '\\') body_r->data[at++] = '\\';
		body_r->data[at++] = v->data[i];
	}
	at = put_text(body_r, at, gitlab_masks(v) ? "\",\"masked\":true" : "\",\"masked\":false");
	if (p->protected) at = put_text(body_r, at, ",\"protected\":true");
	if (create) {
		/* raw: a '$' in it is no reference to another variable */
		at = put_text(body_r, at, ",\"raw\":true,\"key\":\"");
		at = put_text(body_r, at, p->name);
		at = put_text(body_r, at, "\"");
	}
	body_r->len = put_text(body_r, at, "}");
}

/* A project's path as one part of a URL. */
static char *gitlab_project(const char *repo)
{
	struct buf b = BUF_INIT(4096);

	for (; *repo; repo++)
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~", *repo))
			buf_addch(&b, *repo);
		else
			buf_addf(&b, "%%%02X", (unsigned char)*repo);
	return buf_steal(&b);
}

int forge_gitlab(const struct forge_push *p, struct forge_result *result_r, struct err *e)
{
	_cleanup_free_ char *project = gitlab_project(p->repo);
	_cleanup_free_ char *all = xasprintf("%s/projects/%s/variables", p->api, project);
	_cleanup_free_ char *one = xasprintf("%s/%s", all, p->name);
	_cleanup_free_ char *what = xasprintf("set '%.255s' of '%.200s'", p->name, p->repo);
	_cleanup_fetch_ struct fetch_answer a = {.body = BUF_INIT(MAX_ANSWER)};
	_cleanup_secret_ struct secret body = SECRET_INIT;

	if (gitlab_check(p, e)) return -1;
	*result_r = (struct forge_result){.replaced = 1, .masked = gitlab_masks(p->value)};
	gitlab_body(p, 0, &body);
	if (request(p, "PUT", one, gitlab_headers, "PRIVATE-TOKEN: ", &body, &a, e)) return -1;
	if (a.status != 404) return judge(&a, what, e);
	/* Neither is it known whether the project or the variable is missing: making it tells. */
	result_r->replaced = 0;
	gitlab_body(p, 1, &body);
	if (request(p, "POST", all, gitlab_headers, "PRIVATE-TOKEN: ", &body, &a, e)) return -1;
	return judge(&a, what, e);
}
