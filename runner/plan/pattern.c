/* Branch patterns. Regular expressions are written by strangers in Ruby's dialect; the common part of it is
 * translated to POSIX extended syntax, and what regcomp() would make of it is counted first: it copies a group for
 * every repetition, so that nested ones grow without bound ("((a+)+)+", "(a{99}){99}"), and back references make
 * matching exponential. Both are refused. */
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

enum { MAX_GROUPS = 16 };

struct translate {
	const char *p, *end;
	struct buf out;
	int cost[MAX_GROUPS + 1]; /* of what stands in each open group so far */
	int last;                 /* cost of the last piece: what a repetition would copy */
	int depth;
};

static const char too_big[] = "is too large a regular expression";

static const char *piece(struct translate *t, int cost)
{
	t->last = cost;
	t->cost[t->depth] += cost;
	return t->cost[t->depth] > PATTERN_MAX_COST ? too_big : NULL;
}

static const char *repeat(struct translate *t, int times)
{
	int more = t->last * (times - 1);

	if (t->last > PATTERN_MAX_COST || times > PATTERN_MAX_COST || more > PATTERN_MAX_COST) return too_big;
	t->cost[t->depth] += more;
	t->last += more;
	return t->cost[t->depth] > PATTERN_MAX_COST ? too_big : NULL;
}

static const char *interval(struct translate *t)
{
	int low = 0, high = 0, digits = 0, comma = 0;
	const char *p = t->p + 1;

	for (; p < t->end && *p != '}'; p++) {
		if (*p == ',' && !comma) {
			comma = 1;
			continue;
		}
		if (*p < '0' || *p > '9' || ++digits > 6) return "has a bad {…} in its regular expression";
		if (comma)
			high = high * 10 + (*p - '0');
		else
			low = low * 10 + (*p - '0');
	}
	if (p >= t->end || !digits || t->p[1] == ',') return "has a bad {…} in its regular expression";
	if (low > 255 || high > 255) return too_big;
	buf_add(&t->out, t->p, (size_t)(p + 1 - t->p));
	t->p = p + 1;
	return repeat(t, (high > low ? high : low) + 1);
}

static const char *escape(struct translate *t, int in_brackets)
{
	static const struct {
		char letter;
		const char *outside, *inside;
	} classes[] = {
		{'d', "[0-9]", "0-9"},
		{'D', "[^0-9]", NULL},
		{'w', "[[:alnum:]_]", "[:alnum:]_"},
		{'W', "[^[:alnum:]_]", NULL},
		{'s', "[[:space:]]", "[:space:]"},
		{'S', "[^[:space:]]", NULL},
		{'b', "\\b", NULL},
		{'B', "\\B", NULL},
		{'A', "^", NULL},
		{'z', "$", NULL},
		{'Z', "$", NULL},
	};
	char c = t->p + 1 < t->end ? t->p[1] : '\0';

	if (!c) return "ends in a backslash";
	t->p += 2;
	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		const char *as = in_brackets ? classes[i].inside : classes[i].outside;

		if (classes[i].letter != c || !as) continue;
		buf_adds(&t->out, as);
		return in_brackets ? NULL : piece(t, 1);
	}
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return "has an escape in its regular expression that is not supported";
	if (in_brackets) {
		if (strchr("]^-[", c)) return "has an escape in [...] that is not supported";
		buf_addch(&t->out, c);
		return NULL;
	}
	if (strchr(".[]{}()*+?|^$\\", c)) buf_addch(&t->out, '\\'); /* \< and \' would mean something to glibc */
	buf_addch(&t->out, c);
	return piece(t, 1);
}

static const char *brackets(struct translate *t)
{
	const char *why = NULL;

	buf_addch(&t->out, *t->p++);
	if (t->p < t->end && *t->p == '^') buf_addch(&t->out, *t->p++);
	if (t->p < t->end && *t->p == ']') buf_addch(&t->out, *t->p++);
	while (t->p < t->end && *t->p != ']' && !why) {
		if (*t->p == '\\')
			why = escape(t, 1);
		else if (*t->p == '[')
			why = "has a [ inside [...] that is not supported";
		else
			buf_addch(&t->out, *t->p++);
	}
	if (why) return why;
	if (t->p >= t->end) return "has a [ in its regular expression that is never closed";
	buf_addch(&t->out, *t->p++);
	return piece(t, 1);
}

static const char *open_group(struct translate *t)
{
	if (t->p + 1 < t->end && t->p[1] == '?') {
		if (t->p + 2 >= t->end || t->p[2] != ':')
			return "has a (?…) in its regular expression that is not supported";
		t->p += 2;
	}
	t->p++;
	if (t->depth == MAX_GROUPS) return "has too many ( inside each other";
	buf_addch(&t->out, '(');
	t->cost[++t->depth] = 1;
	t->last = 0;
	return NULL;
}

static const char *close_group(struct translate *t)
{
	int cost;

	if (!t->depth) return "has a ) without its (";
	cost = t->cost[t->depth--];
	buf_addch(&t->out, ')');
	t->p++;
	return piece(t, cost);
}

static const char *step(struct translate *t)
{
	switch (*t->p) {
	case '\\': return escape(t, 0);
	case '[': return brackets(t);
	case '(': return open_group(t);
	case ')': return close_group(t);
	case '{': return interval(t);
	case '+': buf_addch(&t->out, *t->p++); return repeat(t, 2);
	case '*':
	case '?': buf_addch(&t->out, *t->p++); return NULL;
	default: buf_addch(&t->out, *t->p++); return piece(t, 1);
	}
}

static const char *compile(const char *re, size_t len, int icase, int *cost, regex_t *re_r)
{
	struct translate t = {.p = re, .end = re + len, .out = BUF_INIT(16 * PATTERN_MAX_BYTES)};
	const char *why = NULL;

	while (t.p < t.end && !why) why = step(&t);
	if (!why && t.depth) why = "has a ( that is never closed";
	if (!why && t.cost[0] > *cost) why = "is one regular expression too many: together they are too large";
	if (!why && regcomp(re_r, buf_str(&t.out), REG_EXTENDED | REG_NOSUB | (icase ? REG_ICASE : 0)))
		why = "is not a regular expression";
	if (!why) *cost -= t.cost[0];
	buf_release(&t.out);
	return why;
}

const char *pattern_make(const char *text, int *cost, struct pattern *p_r)
{
	struct pattern p = {0};
	size_t n = strlen(text);
	const char *why, *slash;

	if (!n) return "must not be empty";
	if (n > PATTERN_MAX_BYTES) return "must be at most 256 bytes long";
	if (*text == '/') {
		slash = strrchr(text, '/');
		if (slash == text) return "begins with '/' but is no /regular expression/";
		if (slash[1] && strcmp(slash, "/i")) return "has flags other than i behind its regular expression";
		why = compile(text + 1, (size_t)(slash - text - 1), slash[1] == 'i', cost, &p.re);
		if (why) return why;
		p.is_regex = 1;
	}
	p.text = xstrdup(text);
	*p_r = p;
	return NULL;
}

int pattern_matches(const struct pattern *p, const char *name)
{
	if (!p->is_regex) return !strcmp(p->text, name);
	return strlen(name) <= 1024 && !regexec(&p->re, name, 0, NULL, 0);
}

void pattern_release(struct pattern *p)
{
	free(p->text);
	if (p->is_regex) regfree(&p->re);
	*p = (struct pattern){0};
}
