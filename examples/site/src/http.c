/* Requests in, answers out: see http.h. In three steps: the head is cut out of the input and read (anything odd is
 * refused and ends the connection, so that two readers can never disagree on where a request ends), the path is
 * looked up in the table, the answer's head is written. No request reaches a file system. */
#include "http.h"

#include <stdint.h>
#include <string.h>

#include "site.h"

struct slice {
	const char *p;
	size_t n;
};

struct request {
	struct slice method, target, fields;
	int head_only;     /* HEAD */
	int minor;         /* HTTP/1.x */
	int close, keep;   /* what Connection asked for */
	int hosts, bodies; /* Host fields; fields that announce a body */
};

/* Status, its phrase and the page that says so where the site has none. */
#define STATUS(code, phrase)                                                                                           \
	{                                                                                                              \
		code, #code " " phrase,                                                                                \
			"<!doctype html>\n<title>" #code " " phrase "</title>\n<h1>" #code " " phrase "</h1>\n"        \
	}
static const struct status {
	int code;
	const char *line, *page;
} statuses[] = {
	STATUS(200, "OK"),
	STATUS(301, "Moved Permanently"),
	STATUS(304, "Not Modified"),
	STATUS(400, "Bad Request"),
	STATUS(404, "Not Found"),
	STATUS(405, "Method Not Allowed"),
	STATUS(414, "URI Too Long"),
	STATUS(431, "Request Header Fields Too Large"),
	STATUS(500, "Internal Server Error"),
	STATUS(505, "HTTP Version Not Supported"),
};

static const struct status *status_of(int code)
{
	size_t i = 0;

	while (i + 1 < sizeof statuses / sizeof *statuses && statuses[i].code != code) i++;
	return &statuses[i];
}

/* --- characters --- */

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int is_token(char c)
{
	return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9') return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int same_word(struct slice s, const char *word) /* word: in lower case */
{
	size_t i = 0;

	while (i < s.n && word[i] && lower(s.p[i]) == word[i]) i++;
	return i == s.n && !word[i];
}

static int same(struct slice s, const char *text)
{
	return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static struct slice after(struct slice s, size_t n)
{
	return (struct slice){s.p + n, s.n - n};
}

static struct slice trimmed(struct slice s)
{
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) s.n--;
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t')) s = after(s, 1);
	return s;
}

/* Cuts what stands before the first `end` off *s; all of it where there is none. */
static struct slice cut(struct slice *s, char end)
{
	const char *found = s->n ? memchr(s->p, end, s->n) : NULL;
	struct slice part = {s->p, found ? (size_t)(found - s->p) : s->n};
	size_t used = part.n + (found != NULL);

	s->p += used;
	s->n -= used;
	return part;
}

/* A line without its end, LF or CR LF. */
static struct slice cut_line(struct slice *s)
{
	struct slice line = cut(s, '\n');

	if (line.n && line.p[line.n - 1] == '\r') line.n--;
	return line;
}

/* --- the request --- */

/* Finds the empty line. 1: *head_r ends before it and *used_r after; 0: it is not there yet. */
static int find_head(const char *in, size_t len, struct slice *head_r, size_t *used_r)
{
	size_t start = 0, line;

	while (start < len && (in[start] == '\r' || in[start] == '\n')) start++; /* RFC 9112 2.2: empty lines before */
	for (line = start; line < len;) {
		const char *end = memchr(in + line, '\n', len - line);
		size_t at = end ? (size_t)(end - in) : len;

		if (!end) break;
		if (at == line || (at == line + 1 && in[line] == '\r')) {
			*head_r = (struct slice){in + start, line - start};
			*used_r = at + 1;
			return 1;
		}
		line = at + 1;
	}
	*head_r = (struct slice){in + start, len - start};
	return 0;
}

static int read_version(struct slice v, struct request *r)
{
	if (v.n != 8 || memcmp(v.p, "HTTP/", 5) != 0 || v.p[6] != '.') return 400;
	if (v.p[5] < '0' || v.p[5] > '9' || v.p[7] < '0' || v.p[7] > '9') return 400;
	r->minor = v.p[7] - '0';
	return v.p[5] == '1' ? 0 : 505;
}

static int read_request_line(struct slice line, struct request *r)
{
	if (line.n > HTTP_LINE_MAX) return 414;
	r->method = cut(&line, ' ');
	r->target = cut(&line, ' ');
	if (!r->method.n || !r->target.n) return 400;
	for (size_t i = 0; i < r->method.n; i++)
		if (!is_token(r->method.p[i])) return 400;
	for (size_t i = 0; i < r->target.n; i++)
		if ((unsigned char)r->target.p[i] <= 0x20 || r->target.p[i] == 0x7f) return 400;
	r->head_only = same(r->method, "HEAD");
	return read_version(line, r);
}

static void read_connection(struct slice value, struct request *r)
{
	while (value.n) {
		struct slice word = trimmed(cut(&value, ','));

		if (same_word(word, "close")) r->close = 1;
		if (same_word(word, "keep-alive")) r->keep = 1;
	}
}

static int read_field(struct slice line, struct request *r)
{
	struct slice name = cut(&line, ':'), value = trimmed(line);

	if (!name.n || name.p + name.n == line.p) return 400; /* no colon */
	for (size_t i = 0; i < name.n; i++)
		if (!is_token(name.p[i])) return 400; /* a folded line too: it begins with white space */
	for (size_t i = 0; i < value.n; i++)
		if (((unsigned char)value.p[i] < 0x20 && value.p[i] != '\t') || value.p[i] == 0x7f) return 400;
	if (same_word(name, "host")) r->hosts++;
	if (same_word(name, "connection")) read_connection(value, r);
	if (same_word(name, "transfer-encoding")) r->bodies++;
	if (same_word(name, "content-length") && !same(value, "0")) r->bodies++;
	return 0;
}

/* 0, or the status that refuses it. */
static int read_head(struct slice head, struct request *r)
{
	int refused = read_request_line(cut_line(&head), r);

	r->fields = head;
	while (!refused && head.n) refused = read_field(cut_line(&head), r);
	if (refused) return refused;
	if (r->minor == 0 ? r->hosts > 1 : r->hosts != 1) return 400;
	if (!r->head_only && !same(r->method, "GET")) return 405;
	return r->bodies ? 400 : 0; /* what comes behind a body could be taken for a request */
}

/* --- the file --- */

/* The path of a target, percent-decoded. 0, or the status that refuses it. */
static int read_path(struct slice target, char *path, size_t size, size_t *len_r)
{
	struct slice raw = target;
	size_t len = 0;

	if (raw.n > 7 && same_word((struct slice){raw.p, 7}, "http://")) { /* as it is sent to a proxy */
		raw = after(raw, 7);
		while (raw.n && raw.p[0] != '/' && raw.p[0] != '?') raw = after(raw, 1);
		if (!raw.n || raw.p[0] == '?') raw = (struct slice){"/", 1};
	}
	raw = cut(&raw, '?');
	if (!raw.n || raw.p[0] != '/') return 400;
	for (size_t i = 0; i < raw.n; i++) {
		char c = raw.p[i];

		if (c == '#') return 400;
		if (c == '%') {
			int high = i + 2 < raw.n ? hex_digit(raw.p[i + 1]) : -1;
			int low = i + 2 < raw.n ? hex_digit(raw.p[i + 2]) : -1;

			if (high < 0 || low < 0 || high + low == 0) return 400;
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (len == size) return 404; /* longer than any path of the table */
		path[len++] = c;
	}
	*len_r = len;
	return 0;
}

/* The file of a path, with index.html for a folder. *folder_r: it is a folder's, asked for without its slash. */
static const struct site_file *find_file(char *path, size_t len, size_t size, int *folder_r)
{
	static const char index[] = "/index.html";
	const struct site_file *file = NULL;
	size_t tail = sizeof index - 1;

	*folder_r = 0;
	if (path[len - 1] == '/')
		len--;
	else
		file = site_find(path, len), *folder_r = !file;
	if (file || len + tail > size) return file;
	memcpy(path + len, index, tail);
	return site_find(path, len + tail);
}

/* Whether an If-None-Match names the entity tag, by the weak comparison of RFC 9110 8.8.3.2. */
static int client_has(struct slice fields, const char *etag)
{
	while (fields.n) {
		struct slice value = cut_line(&fields), name = cut(&value, ':');

		if (!same_word(name, "if-none-match")) continue;
		while (value.n) {
			struct slice tag = trimmed(cut(&value, ','));

			if (same(tag, "*")) return 1;
			if (tag.n > 2 && memcmp(tag.p, "W/", 2) == 0) tag = after(tag, 2);
			if (same(tag, etag)) return 1;
		}
	}
	return 0;
}

/* --- the answer --- */

static void put_bytes(struct http_answer *a, const char *p, size_t n)
{
	if (n > sizeof a->head - a->head_len) n = sizeof a->head - a->head_len;
	memcpy(a->head + a->head_len, p, n);
	a->head_len += n;
}

static void put(struct http_answer *a, const char *text)
{
	put_bytes(a, text, strlen(text));
}

static void put_field(struct http_answer *a, const char *name, const char *value)
{
	put(a, name);
	put(a, ": ");
	put(a, value);
	put(a, "\r\n");
}

static void put_number(struct http_answer *a, size_t n)
{
	char digits[20];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	put_bytes(a, digits + at, sizeof digits - at);
}

/* The folder of "/a b/index.html" as a URL path: "/a%20b/". */
static void put_location(struct http_answer *a, const char *path)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t len = strlen(path) - strlen("index.html");

	put(a, "Location: ");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)path[i];
		char coded[3] = {'%', hex[c >> 4], hex[c & 15]};

		if (c < 0x80 && (is_token((char)c) || strchr("/:@", c)) && c != '%' && c != '\'')
			put_bytes(a, path + i, 1);
		else
			put_bytes(a, coded, sizeof coded);
	}
	put(a, "\r\n");
}

/* Everything but the fields that depend on the connection. `file`: whose content is sent; NULL: the status's page. */
static void put_entity(struct http_answer *a, const struct site_file *file)
{
	const char *page = status_of(a->status)->page;

	if (a->status == 301) {
		put_location(a, file->path);
		file = NULL;
	}
	if (a->status == 405) put_field(a, "Allow", "GET, HEAD");
	if (file) {
		a->body = file->data;
		a->body_len = file->size;
	} else {
		a->body = (const unsigned char *)page;
		a->body_len = strlen(page);
	}
	if (file && a->status != 404) put_field(a, "ETag", file->etag);
	put_field(a, "Cache-Control", "no-cache"); /* ask each time, by ETag: what is deployed is seen at once */
	if (a->status == 304) {
		a->body_len = 0;
		return;
	}
	put_field(a, "Content-Type", file ? file->type : "text/html; charset=utf-8");
	put_field(a, "X-Content-Type-Options", "nosniff");
	put(a, "Content-Length: ");
	put_number(a, a->body_len);
	put(a, "\r\n");
}

static void write_answer(struct http_answer *a, const struct request *r, const struct site_file *file, const char *date)
{
	a->head_len = 0;
	put(a, "HTTP/1.1 ");
	put(a, status_of(a->status)->line);
	put(a, "\r\n");
	if (date) put_field(a, "Date", date);
	put_field(a, "X-Commit", site_commit);
	put_entity(a, file);
	if (a->close)
		put_field(a, "Connection", "close");
	else if (r->minor == 0)
		put_field(a, "Connection", "keep-alive");
	put(a, "\r\n");
	if (r->head_only) a->body_len = 0;
}

/* Chooses status and file for a request that was read. */
static const struct site_file *choose(const struct request *r, int *status_r)
{
	char path[SITE_PATH_MAX];
	const struct site_file *file = NULL;
	size_t len = 0;
	int folder = 0;

	*status_r = read_path(r->target, path, sizeof path, &len);
	if (!*status_r) {
		file = find_file(path, len, sizeof path, &folder);
		*status_r = !file ? 404 : folder ? 301 : client_has(r->fields, file->etag) ? 304 : 200;
	}
	if (*status_r == 404) file = site_find("/404.html", 9);
	return file;
}

int http_next(const char *in, size_t len, const char *date, int closing, struct http_answer *answer_r)
{
	struct http_answer *a = answer_r;
	struct request r = {.minor = 1};
	const struct site_file *file = NULL;
	struct slice head;

	a->consumed = len;
	a->status = 0;
	if (!find_head(in, len, &head, &a->consumed)) {
		int in_first_line = !memchr(head.p, '\n', head.n);

		if (in_first_line && head.n > HTTP_LINE_MAX)
			a->status = 414;
		else if (len >= HTTP_HEAD_MAX)
			a->status = 431;
		else
			return 0;
	} else {
		a->status = a->consumed > HTTP_HEAD_MAX ? 431 : read_head(head, &r);
	}
	a->close = a->status != 0 || closing || r.close || (r.minor == 0 && !r.keep);
	if (!a->status) file = choose(&r, &a->status);
	if (a->status == 400) a->close = 1;
	write_answer(a, &r, file, date);
	return 1;
}
