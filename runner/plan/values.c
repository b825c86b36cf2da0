/* What a text value may be. Names that end up in paths, arguments or ref names are held to plain characters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/plan/config.h"
#include "runner/plan/imageref.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static int only(const char *s, const char *set)
{
	return s[strspn(s, set)] == '\0';
}

static int digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits at *s, at most `most`; -1: none, or more than that. */
static int64_t number(const char **s, int64_t most)
{
	int64_t n = 0;

	if (!digit(**s)) return -1;
	for (; digit(**s); (*s)++) {
		n = n * 10 + (**s - '0');
		if (n > most) return -1;
	}
	return n;
}

const char *plan_bad_author(const char *s)
{
	static const char form[] = "must be of the form 'Name <mail>'";
	const char *less = strchr(s, '<'), *more = less ? strchr(less, '>') : NULL;

	if (!less || less - s < 2 || less[-1] != ' ' || !more || more == less + 1 || more[1] || strchr(less + 1, '<'))
		return form;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 127) return "must not hold a control character";
	return NULL;
}

const char *bad_duration(const char *s, int64_t *ms_r)
{
	static const char form[] = "must be a time with its unit, like 90s, 30m or 1h30m";
	static const char units[] = "hms";
	static const int64_t unit_ms[] = {3600000, 60000, 1000};
	const char *unit;
	int64_t sum = 0;
	int next = 0; /* a unit that may still come */

	while (*s) {
		int64_t n = number(&s, 1000000);

		unit = n < 0 || !*s ? NULL : strchr(units, *s);
		if (!unit || unit - units < next) return form;
		sum += n * unit_ms[unit - units];
		next = (int)(unit - units) + 1;
		s++;
	}
	if (!next) return form;
	if (sum < 1000 || sum > 24 * unit_ms[0]) return "must be from 1s to 24h";
	*ms_r = sum;
	return NULL;
}

const char *bad_size(const char *s, int64_t *bytes_r)
{
	static const char form[] = "must be a size, like 512M or 2G";
	static const char units[] = "KMGT";
	int64_t n = number(&s, (int64_t)1 << 44);
	const char *unit;

	if (n < 0) return form;
	unit = *s ? strchr(units, *s) : NULL;
	if (*s && !unit) return form;
	if (unit) {
		int shift = 10 * (int)(unit - units + 1);

		if (n > (int64_t)1 << (44 - shift)) return "must be at most 16T";
		n <<= shift;
		s++;
		if (*s == 'i') s++;
		if (*s == 'B') s++;
		if (*s) return form;
	}
	if (n < 1 << 20) return "must be at least 1M";
	*bytes_r = n;
	return NULL;
}

const char *bad_delay(const char *s, int64_t *ms_r)
{
	int64_t n = number(&s, 60000);

	if (n >= 0 && !strcmp(s, "s")) n *= 1000;
	if (n < 1 || n > 60000 || (strcmp(s, "ms") != 0 && strcmp(s, "s") != 0))
		return "must be a time from 1ms to 60s, like 50ms";
	*ms_r = n;
	return NULL;
}

const char *bad_loss(const char *s, int *ppm_r)
{
	static const char form[] = "must be from 0% to 100%, like 1% or 0.5%";
	int64_t n = number(&s, 100);
	int scale = 1000;

	if (n < 0) return form;
	n *= 10000;
	if (*s == '.') {
		for (s++; digit(*s) && scale; s++, scale /= 10) n += (*s - '0') * scale;
		if (scale == 1000) return form;
	}
	if (strcmp(s, "%") != 0 || n > 1000000) return form;
	*ppm_r = (int)n;
	return NULL;
}

const char *bad_rate(const char *s, int64_t *bit_r)
{
	static const char form[] = "must be a rate from 8kbit to 10gbit, like 1mbit";
	static const char *const units[] = {"kbit", "mbit", "gbit"};
	int64_t n = number(&s, 100000000), unit = 1000;

	for (size_t i = 0; i < ARRAY_LEN(units); i++, unit *= 1000) {
		if (n < 1 || strcmp(s, units[i]) != 0) continue;
		if (n * unit < 8000 || n * unit > 10000000000) return form;
		*bit_r = n * unit;
		return NULL;
	}
	return form;
}

const char *bad_count(const char *s, int least, int most, int *n_r)
{
	int64_t n = number(&s, most);

	if (n < least || *s) return "must be a whole number in its range";
	*n_r = (int)n;
	return NULL;
}

const char *bad_cpus(const char *s, int *milli_r)
{
	static const char form[] = "must be a number of processors, like 2 or 0.5";
	int64_t n = number(&s, 1024);
	int scale = 100;

	if (n < 0) return form;
	n *= 1000;
	if (*s == '.') {
		for (s++; digit(*s) && scale; s++, scale /= 10) n += (*s - '0') * scale;
		if (scale == 100) return form;
	}
	if (*s || n < 10) return form;
	*milli_r = (int)n;
	return NULL;
}

const char *bad_name(const char *s)
{
	if (!*s || digit(*s) || !only(s, LOWER UPPER DIGIT "_")) return "must be a variable's name";
	return strlen(s) > 200 ? "must be at most 200 characters long" : NULL;
}

const char *bad_axis_value(const char *s)
{
	if (!*s || strchr(".-", *s) || !only(s, LOWER UPPER DIGIT "._-"))
		return "must be letters, digits, '.', '_' and '-', and begin with none of '.' and '-'";
	return strlen(s) > 64 ? "must be at most 64 characters long" : NULL;
}

const char *bad_arch(const char *s)
{
	if (!strcmp(s, "x86_64") || !strcmp(s, "x86")) return "is called amd64 here";
	if (!strcmp(s, "aarch64") || !strcmp(s, "arm")) return "is called arm64 here";
	return bad_axis_value(s);
}

const char *bad_axis_name(const char *s)
{
	if (*s < 'a' || *s > 'z' || !only(s, LOWER DIGIT "_-"))
		return "must be small letters, digits, '_' and '-', and begin with a letter";
	return strlen(s) > 40 ? "must be at most 40 characters long" : NULL;
}

const char *bad_package(const char *s)
{
	size_t n = strspn(s, LOWER DIGIT "+.-");

	if (n < 2 || strchr("+.-", *s)) return "must be the name of a Debian package";
	if (s[n] && (s[n] != ':' || !s[n + 1] || !only(s + n + 1, LOWER DIGIT)))
		return "must be the name of a Debian package";
	return strlen(s) > 128 ? "must be at most 128 characters long" : NULL;
}

const char *bad_image(const char *s)
{
	_cleanup_imageref_ struct imageref ref = {0};
	static _Thread_local char why[300];
	const char *text;
	struct err e;

	if (!*s) return "must not be empty";
	if (*s == '-' || !only(s, LOWER UPPER DIGIT "._-:/@+~")) return "must be an image's name";
	if (strlen(s) > 512) return "must be at most 512 characters long";
	if (!imageref_parse(s, &ref, &e)) return NULL;
	text = strstr(e.text, "': ");
	snprintf(why, sizeof(why), "is no image: %.270s", text ? text + 3 : e.text);
	return why;
}

/* Is one of the parts between slashes exactly `part`? */
static int has_part(const char *s, const char *part)
{
	for (size_t n;; s += n + 1) {
		n = strcspn(s, "/");
		if (n == strlen(part) && !strncasecmp(s, part, n)) return 1;
		if (!s[n]) return 0;
	}
}

const char *bad_glob(const char *s)
{
	if (!*s) return "must not be empty";
	if (*s == '/' || *s == '~') return "must be below the source folder: no '/' or '~' first";
	if (has_part(s, "..")) return "must be below the source folder: no '..'";
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) return "must hold no control character";
	return strlen(s) > 1024 ? "must be at most 1024 characters long" : NULL;
}

/* A folder below the source tree, of the user that builds, or of the image's. */
const char *bad_cache(const char *s)
{
	static const char *const not_kept[] = {"proc", "sys", "dev", "run", "build", ".slipway"};
	int below_source = *s != '/' && strncmp(s, "~/", 2) != 0 && strncmp(s, "$HOME/", 6) != 0;

	if (!below_source) {
		int absolute = *s == '/';

		s = strchr(s, '/');
		while (*s == '/') s++;
		for (size_t i = 0; i < ARRAY_LEN(not_kept) && absolute; i++) {
			size_t n = strlen(not_kept[i]);

			if (!strncmp(s, not_kept[i], n) && (!s[n] || s[n] == '/'))
				return "must be below the source folder, ~/ or a folder of the image's own";
		}
	}
	while (!strncmp(s, "./", 2)) s += 2;
	if (!strcmp(s, ".")) return "must be a folder below it, not all of it";
	if (below_source && has_part(s, ".git")) return "must have no '.git' part";
	return bad_glob(s);
}

const char *bad_path(const char *s)
{
	if (!*s) return "must not be empty";
	if (!only(s, LOWER UPPER DIGIT "._-/")) return "must be letters, digits, '.', '_', '-' and '/'";
	if (has_part(s, "")) return "must be relative, with no empty part";
	if (has_part(s, ".") || has_part(s, "..")) return "must have no '.' or '..' part";
	if (has_part(s, ".git")) return "must have no '.git' part";
	return strlen(s) > 512 ? "must be at most 512 characters long" : NULL;
}

const char *bad_repo(const char *s)
{
	static const char form[] = "must be /a/path, ssh://user@host/path or user@host:path";
	const char *colon = strchr(s, ':');

	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= 0x20 || *p == 0x7f) return "must hold no blank or control character";
	if (strlen(s) > 1024) return "must be at most 1024 characters long";
	if (*s == '/') return NULL;
	if (!strncmp(s, "ssh://", 6)) return s[6] && s[6] != '-' && s[6] != '/' ? NULL : form;
	if (!colon || colon == s || *s == '-' || !colon[1] || colon[1] == ':' || !strncmp(colon, "://", 3)) return form;
	if (memchr(s, '/', (size_t)(colon - s))) return form;
	return NULL;
}

const char *bad_branch(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > 200 || strchr("-./", *s) || strchr("./", s[n - 1]) || !only(s, LOWER UPPER DIGIT "._-/+"))
		return "must be a branch's name";
	if (strstr(s, "..") || strstr(s, "//") || strstr(s, "/.") || strstr(s, ".lock"))
		return "must be a branch's name";
	return NULL;
}

const char *bad_http_path(const char *s)
{
	if (*s != '/') return "must begin with '/'";
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			return "must hold only visible ASCII characters; write the others as %XX";
	return strlen(s) > 1024 ? "must be at most 1024 characters long" : NULL;
}

const char *bad_line(const char *s)
{
	if (!*s) return "must not be empty";
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) return "must hold no control character";
	return strlen(s) > 1024 ? "must be at most 1024 bytes long" : NULL;
}

const char *bad_header(const char *s)
{
	size_t n = strcspn(s, ":");
	_cleanup_free_ char *name = xstrndup(s, n);

	if (!n || !only(name, LOWER UPPER DIGIT "!#$%&'*+-.^_`|~"))
		return "must be a header like 'Content-Type: text/html', or its name alone";
	return bad_line(s);
}

const char *bad_sha256(const char *s)
{
	return strlen(s) == 64 && only(s, DIGIT "abcdef") ? NULL : "must be 64 hexadecimal digits in lower case";
}

const char *bad_job_name(const char *s)
{
	if (!*s) return "must not be empty";
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) return "must hold no control character";
	return strlen(s) > 120 ? "must be at most 120 bytes long" : NULL;
}

/* Insertions, deletions, changes and swaps of neighbours between two short words. */
static int distance(const char *a, const char *b)
{
	enum { MOST = 32 };
	int d[MOST + 1][MOST + 1];
	int na = (int)strlen(a), nb = (int)strlen(b);

	if (na > MOST || nb > MOST) return MOST;
	for (int i = 0; i <= na; i++)
		for (int j = 0; j <= nb; j++) {
			int best;

			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < best) best = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < best) best = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[na][nb];
}

const char *nearest(const char *s, const char *const *words, size_t n)
{
	const char *found = NULL;
	int best = 4;

	for (size_t i = 0; i < n; i++) {
		int d = distance(s, words[i]);

		if (d >= best || d * 2 >= (int)strlen(words[i])) continue;
		best = d;
		found = words[i];
	}
	return found;
}
