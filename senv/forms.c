/* A secret's forms. Scratch space is guarded memory: a form is as secret as the value. */
#include "senv/forms.h"

#include <string.h>

#include "lib/secret.h"

struct forms {
	forms_fn *fn;
	void *arg;
	unsigned char *room; /* for one form */
	size_t at;
	size_t least, least_line, least_string, least_wrapped; /* bytes */
	int in_file;
};

/* The longest: one quote as '"'"', a control character as \u001f. */
enum { WIDEST = 6, SLACK = 16 };

static void emit(struct forms *f, const unsigned char *form, size_t len)
{
	if (len >= f->least) f->fn(form, len, f->arg);
}

/* A line of a wrapped form. */
static void emit_wrapped(struct forms *f, const unsigned char *form, size_t len)
{
	if (len >= f->least_wrapped) emit(f, form, len);
}

static void emit_room(struct forms *f)
{
	emit(f, f->room, f->at);
	f->at = 0;
}

static void put(struct forms *f, unsigned c)
{
	f->room[f->at++] = (unsigned char)c;
}

static void puts_(struct forms *f, const char *s)
{
	while (*s) put(f, (unsigned char)*s++);
}

static void put_hex(struct forms *f, unsigned c, const char *digits)
{
	put(f, (unsigned char)digits[c >> 4 & 15]);
	put(f, (unsigned char)digits[c & 15]);
}

static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

static void hex_forms(struct forms *f, const unsigned char *v, size_t len)
{
	for (size_t i = 0; i < len; i++) put_hex(f, v[i], upper);
	emit_room(f);
	for (size_t i = 0; i < len; i++) put_hex(f, v[i], lower);
	/* xxd -p: 30 bytes a line */
	for (size_t at = 0; at + FORMS_MIN_LINE <= len * 2 && len > 30; at += 60)
		emit_wrapped(f, f->room + at, len * 2 - at < 60 ? len * 2 - at : 60);
	emit_room(f);
}

/* The text that stands for v after `skip` unknown bytes (0, 1, 2): characters that also depend on a neighbour are
 * left out; at the end there is a second form, where nothing follows, with its padding. */
static void base64_at(struct forms *f, const unsigned char *v, size_t len, size_t skip, const char *alphabet)
{
	size_t bits = 8 * (skip + len), first = skip ? skip + 1 : 0, n = bits / 6;

	for (size_t j = 0; j * 6 < bits; j++) {
		unsigned sextet = 0;

		for (size_t b = j * 6; b < j * 6 + 6; b++) {
			unsigned byte = b / 8 < skip || b >= bits ? 0 : v[b / 8 - skip];

			sextet = sextet << 1 | (byte >> (7 - b % 8) & 1);
		}
		put(f, (unsigned char)alphabet[sextet]);
	}
	if (n > first) emit(f, f->room + first, n - first);
	if (bits % 6) {
		while (f->at % 4) put(f, '=');
		emit(f, f->room + first, f->at - first);
	}
	/* base64(1) wraps at 76, PEM and openssl at 64. */
	for (size_t width = 64; !skip && width <= 76; width += 12)
		for (size_t at = 0; at < f->at && f->at > width; at += width)
			if (f->at - at >= FORMS_MIN_LINE)
				emit_wrapped(f, f->room + at, f->at - at < width ? f->at - at : width);
	f->at = 0;
}

static void base64_forms(struct forms *f, const unsigned char *v, size_t len)
{
	static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static const char url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	for (size_t skip = 0; skip < 3; skip++) {
		base64_at(f, v, len, skip, standard);
		base64_at(f, v, len, skip, url);
	}
}

static int is_alnum(unsigned c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static int in(unsigned c, const char *set)
{
	return c && strchr(set, (int)c) != NULL;
}

static void percent_forms(struct forms *f, const unsigned char *v, size_t len)
{
	/* RFC 3986; encodeURIComponent; encodeURI; Python's quote; the HTML form (space as '+') */
	static const char *const kept[] = {"-._~", "-._~!'()*", "-._~!'()*;/?:@&=+$,#", "-._~/", "-._*"};

	for (size_t k = 0; k < sizeof(kept) / sizeof(kept[0]); k++)
		for (int form = 0; form < 4; form++) {
			for (size_t i = 0; i < len; i++) {
				if (is_alnum(v[i]) || in(v[i], kept[k])) {
					put(f, v[i]);
				} else if (v[i] == ' ' && form >= 2) {
					put(f, '+');
				} else {
					put(f, '%');
					put_hex(f, v[i], form % 2 ? lower : upper);
				}
			}
			emit_room(f);
		}
}

/* One UTF-8 character at v; 0 when it is none. */
static size_t utf8(const unsigned char *v, size_t len, unsigned *c_r)
{
	size_t n = v[0] < 0x80 ? 1 : v[0] >> 5 == 6 ? 2 : v[0] >> 4 == 14 ? 3 : v[0] >> 3 == 30 ? 4 : 0;
	unsigned c = n == 1 ? v[0] : n ? v[0] & (0x7f >> n) : 0;

	if (!n || n > len) return 0;
	for (size_t i = 1; i < n; i++) {
		if (v[i] >> 6 != 2) return 0;
		c = c << 6 | (v[i] & 0x3f);
	}
	*c_r = c;
	return n;
}

static void put_u(struct forms *f, unsigned unit, const char *digits)
{
	puts_(f, "\\u");
	put_hex(f, unit >> 8, digits);
	put_hex(f, unit & 0xff, digits);
}

enum { JSON_SLASH = 1, JSON_ASCII = 2, JSON_HTML = 4, JSON_UPPER = 8, JSON_FORMS = 16 };

static size_t json_char(struct forms *f, const unsigned char *v, size_t len, int form)
{
	static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
	const char *digits = form & JSON_UPPER ? upper : lower;
	const char *short_form = in(*v, plain) ? strchr(plain, *v) : NULL;
	unsigned c;
	size_t n;

	if (short_form || (*v == '/' && form & JSON_SLASH)) {
		put(f, '\\');
		put(f, short_form ? (unsigned char)letters[short_form - plain] : '/');
		return 1;
	}
	if (*v < 0x20 || (*v == 0x7f && form & JSON_ASCII) || (form & JSON_HTML && in(*v, "<>&'"))) {
		put_u(f, *v, digits);
		return 1;
	}
	n = form & JSON_ASCII && *v >= 0x80 ? utf8(v, len, &c) : 0;
	if (!n) {
		put(f, *v);
		return 1;
	}
	if (c >= 0x10000) {
		put_u(f, 0xd800 + ((c - 0x10000) >> 10), digits);
		c = 0xdc00 + ((c - 0x10000) & 0x3ff);
	}
	put_u(f, c, digits);
	return n;
}

static void json_forms(struct forms *f, const unsigned char *v, size_t len)
{
	for (int form = 0; form < JSON_FORMS; form++) {
		for (size_t i = 0; i < len;) i += json_char(f, v + i, len - i, form);
		emit_room(f);
	}
}

/* $'…' as bash prints it; printf %q has the same where there are control characters. */
static void ansi_c_form(struct forms *f, const unsigned char *v, size_t len, int octal_high)
{
	static const char plain[] = "'\\\a\b\033\f\n\r\t\v", letters[] = "'\\abEfnrtv";

	for (size_t i = 0; i < len; i++) {
		const char *s = in(v[i], plain) ? strchr(plain, v[i]) : NULL;

		if (s) {
			put(f, '\\');
			put(f, (unsigned char)letters[s - plain]);
		} else if (v[i] < 0x20 || v[i] == 0x7f || (v[i] >= 0x80 && octal_high)) {
			put(f, '\\');
			put(f, '0' + (v[i] >> 6));
			put(f, '0' + (v[i] >> 3 & 7));
			put(f, '0' + (v[i] & 7));
		} else {
			put(f, v[i]);
		}
	}
	emit_room(f);
}

static void shell_forms(struct forms *f, const unsigned char *v, size_t len)
{
	static const char *const quote[] = {"'\\''", "'\"'\"'"};
	/* what is backslashed: inside "…"; by bash's %q; by %q of other shells; by POSIX set -x of "…" */
	static const char *const slashed[] = {"$`\"\\", " \t!\"#$&'()*,;<>?[\\]^`{|}~", " !\"$&'()*;<=>?[\\]^`{|}~",
					      "\"\\", " \t!\"$&'()*,;<>?[\\]^`{|}"};

	for (size_t q = 0; q < sizeof(quote) / sizeof(quote[0]); q++) {
		for (size_t i = 0; i < len; i++)
			if (v[i] == '\'')
				puts_(f, quote[q]);
			else
				put(f, v[i]);
		emit_room(f);
	}
	for (size_t s = 0; s < sizeof(slashed) / sizeof(slashed[0]); s++) {
		for (size_t i = 0; i < len; i++) {
			if (in(v[i], slashed[s])) put(f, '\\');
			put(f, v[i]);
		}
		emit_room(f);
	}
	ansi_c_form(f, v, len, 0);
	ansi_c_form(f, v, len, 1);
}

static void encodings(struct forms *f, const unsigned char *v, size_t len)
{
	if (len < f->least) return;
	emit(f, v, len);
	base64_forms(f, v, len);
	json_forms(f, v, len);
	shell_forms(f, v, len);
	percent_forms(f, v, len);
	hex_forms(f, v, len);
}

static int is_space(unsigned c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(const unsigned char **v, size_t *len)
{
	while (*len && is_space((*v)[*len - 1])) --*len;
	while (*len && is_space(**v)) ++*v, --*len;
}

/* A value as it is and without white space around it (the newline that `echo` put at its end). */
static void trimmed_too(struct forms *f, const unsigned char *v, size_t len)
{
	size_t was = len;

	encodings(f, v, len);
	trim(&v, &len);
	if (len != was) encodings(f, v, len);
}

static int starts(const unsigned char *v, size_t len, const char *with)
{
	return len >= strlen(with) && !memcmp(v, with, strlen(with));
}

/* A line of a key that says no more than which kind it is. The second: "openssh-key-v1", without a passphrase. */
static int is_public_line(const unsigned char *v, size_t len)
{
	return starts(v, len, "-----BEGIN ") || starts(v, len, "-----END ") ||
	       starts(v, len, "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU");
}

static int is_address(const unsigned char *v, size_t len)
{
	return starts(v, len, "https://") || starts(v, len, "http://");
}

static void lines(struct forms *f, const unsigned char *v, size_t len)
{
	if (!memchr(v, '\n', len)) return;
	while (len) {
		const unsigned char *end = memchr(v, '\n', len);
		size_t n = end ? (size_t)(end - v) : len, whole = n;

		if (n && v[n - 1] == '\r') n--;
		if (n >= f->least_line && !(f->in_file && is_public_line(v, n))) trimmed_too(f, v, n);
		v += whole + (end != NULL);
		len -= whole + (end != NULL);
	}
}

static int hex_value(unsigned c)
{
	const char *d = in(c, lower) ? strchr(lower, (int)c) : in(c, upper) ? strchr(upper, (int)c) : NULL;

	return d ? (int)((d - lower >= 0 && d - lower < 16) ? d - lower : d - upper) : -1;
}

static void put_utf8(unsigned char *out, size_t *n, unsigned c)
{
	if (c < 0x80) {
		out[(*n)++] = (unsigned char)c;
		return;
	}
	if (c < 0x800) {
		out[(*n)++] = (unsigned char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		out[(*n)++] = (unsigned char)(0xe0 | c >> 12);
		out[(*n)++] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
	} else {
		out[(*n)++] = (unsigned char)(0xf0 | c >> 18);
		out[(*n)++] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
		out[(*n)++] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
	}
	out[(*n)++] = (unsigned char)(0x80 | (c & 0x3f));
}

/* \uXXXX at v (after the backslash); -1: none */
static int u_escape(const unsigned char *v, size_t len)
{
	int c = 0;

	if (len < 5 || v[0] != 'u') return -1;
	for (int i = 1; i < 5; i++) {
		int d = hex_value(v[i]);

		if (d < 0) return -1;
		c = c << 4 | d;
	}
	return c;
}

/* Decodes the JSON string whose opening quote was just passed. Returns bytes read, closing quote included; 0 when it
 * does not end. */
static size_t json_string(const unsigned char *v, size_t len, unsigned char *out, size_t *out_len)
{
	static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";

	*out_len = 0;
	for (size_t i = 0; i < len; i++) {
		if (v[i] == '"') return i + 1;
		if (v[i] != '\\') {
			out[(*out_len)++] = v[i];
			continue;
		}
		if (++i == len) return 0;
		if (v[i] == 'u') {
			int c = u_escape(v + i, len - i), low;

			if (c < 0) return 0;
			i += 4;
			low = c >> 10 == 0x36 && i + 1 < len && v[i + 1] == '\\' ? u_escape(v + i + 2, len - i - 2)
										 : -1;
			if (low >> 10 == 0x37) {
				c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
				i += 6;
			}
			put_utf8(out, out_len, (unsigned)c);
		} else {
			out[(*out_len)++] =
				in(v[i], letters) ? (unsigned char)meant[strchr(letters, v[i]) - letters] : v[i];
		}
	}
	return 0;
}

/* The string values of a JSON object or list. Its own small reader, because jansson's would leave copies of them in
 * ordinary memory; what is no JSON ends it early and does no harm. */
static void json_values(struct forms *f, const unsigned char *v, size_t len)
{
	_cleanup_secret_ struct secret s = SECRET_INIT;

	trim(&v, &len);
	if (!len || (*v != '{' && *v != '[')) return;
	secret_alloc(&s, len);
	for (size_t i = 0; i < len; i++) {
		size_t used, n, next;

		if (v[i] != '"') continue;
		used = json_string(v + i + 1, len - i - 1, s.data, &n);
		if (!used) return;
		i += used;
		next = i + 1;
		while (next < len && is_space(v[next])) next++;
		if (next < len && v[next] == ':') continue;
		if (n >= f->least_string && !(f->in_file && is_address(s.data, n))) trimmed_too(f, s.data, n);
		lines(f, s.data, n);
	}
}

static void all_forms(struct forms *f, const unsigned char *value, size_t len)
{
	_cleanup_secret_ struct secret room = SECRET_INIT;

	secret_alloc(&room, len * WIDEST + SLACK);
	f->room = room.data;
	trimmed_too(f, value, len);
	lines(f, value, len);
	json_values(f, value, len);
}

int forms_of(const void *value, size_t len, forms_fn *fn, void *arg)
{
	struct forms f = {.fn = fn, .arg = arg, .least = FORMS_MIN_VALUE, .least_line = FORMS_MIN_LINE};

	if (len < FORMS_MIN_VALUE) return 1;
	all_forms(&f, value, len);
	return 0;
}

int forms_in_file(const void *value, size_t len, forms_fn *fn, void *arg)
{
	struct forms f = {.fn = fn,
			  .arg = arg,
			  .least = FORMS_MIN_FILE,
			  .least_line = FORMS_MIN_FILE_PART,
			  .least_string = FORMS_MIN_FILE_PART,
			  .least_wrapped = FORMS_MIN_FILE_PART,
			  .in_file = 1};

	if (len < FORMS_MIN_FILE) return 1;
	all_forms(&f, value, len);
	return 0;
}
