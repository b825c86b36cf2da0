/* Deploy keys: said clearly at the start what would fail obscurely at the server. */
#include "runner/publish/deploykey.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

static const char openssh_begin[] = "-----BEGIN OPENSSH PRIVATE KEY-----";

static int locked(struct err *e)
{
	return err_set(e, ERR_INPUT, "the deploy key has a passphrase: seal one without (`ssh-keygen -p -N ''`)");
}

static int damaged(struct err *e)
{
	return err_set(e, ERR_INPUT, "the deploy key is damaged: its first lines are not those of a key");
}

static size_t number(const unsigned char *p)
{
	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* One length-prefixed string of the OpenSSH form. Returns 0 when it does not fit. */
static int take(const unsigned char **at, const unsigned char *end, const unsigned char **s_r, size_t *len_r)
{
	if (end - *at < 4) return 0;
	*len_r = number(*at);
	*s_r = *at + 4;
	if (*len_r > (size_t)(end - *s_r)) return 0;
	*at = *s_r + *len_r;
	return 1;
}

/* The head of an OpenSSH key, all of it public: magic, cipher, kdf, its options, a count, and the public key, whose
 * first string is its type. src: OpenSSH, PROTOCOL.key */
static int check_openssh(const char *body, size_t room, struct err *e)
{
	static const char magic[] = "openssh-key-v1";
	unsigned char head[90];
	const unsigned char *at = head + sizeof(magic), *end, *s;
	char packed[sizeof(head) / 3 * 4];
	size_t k = 0, got = 0, n;

	for (size_t i = 0; i < room && k < sizeof(packed) && body[i] != '-'; i++)
		if (!isspace((unsigned char)body[i])) packed[k++] = body[i];
	k -= k % 4;
	if (sodium_base642bin(head, sizeof(head), packed, k, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) ||
	    got < sizeof(magic) || memcmp(head, magic, sizeof(magic)) != 0)
		return damaged(e);
	end = head + got;
	if (!take(&at, end, &s, &n)) return damaged(e);
	if (n != 4 || memcmp(s, "none", 4) != 0) return locked(e);
	if (!take(&at, end, &s, &n) || !take(&at, end, &s, &n) || end - at < 8) return damaged(e);
	at += 8;
	return take(&at, end, &s, &n) ? 0 : damaged(e);
}

int deploykey_prepare(const struct secret *key, struct secret *ready_r, struct err *e)
{
	const char *text = (const char *)key->data, *begin;
	size_t len = 0;

	if (!key->len || strlen(text) != key->len) return err_set(e, ERR_INPUT, "the deploy key is not a text file");
	secret_alloc(ready_r, key->len + 1);
	for (size_t i = 0; i < key->len; i++)
		if (text[i] != '\r') ready_r->data[len++] = (unsigned char)text[i];
	if (ready_r->data[len - (len > 0)] != '\n') ready_r->data[len++] = '\n';
	ready_r->data[len] = '\0';
	ready_r->len = len;

	text = (const char *)ready_r->data;
	begin = strstr(text, "-----BEGIN ");
	if (!begin || !strstr(begin, "PRIVATE KEY-----"))
		return err_set(e, ERR_INPUT,
			       "the deploy key is not a private key: it has no line -----BEGIN … PRIVATE KEY-----");
	if (strstr(begin, "ENCRYPTED")) return locked(e);
	if (!strncmp(begin, openssh_begin, strlen(openssh_begin))) {
		begin += strlen(openssh_begin);
		return check_openssh(begin, strlen(begin), e);
	}
	return 0;
}

int deploykey_token(const struct secret *token, struct secret *ready_r, struct err *e)
{
	size_t len = token->len;

	while (len && isspace(token->data[len - 1])) len--;
	if (!len) return err_set(e, ERR_INPUT, "the token is empty");
	for (size_t i = 0; i < len; i++)
		if (token->data[i] <= ' ' || token->data[i] > '~')
			return err_set(e, ERR_INPUT, "the token is no token: it holds a space or a control character");
	secret_set(ready_r, token->data, len);
	return 0;
}
