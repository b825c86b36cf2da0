/* Everything that is wrong with a file, in file order. Texts quote the file, so they are cut short and freed of
 * control characters before they reach a terminal. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

enum { MAX_TEXT_BYTES = 300 };

static void make_printable(char *s)
{
	size_t n = strlen(s);

	for (char *p = s; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = ' ';
	if (n <= MAX_TEXT_BYTES) return;
	for (n = MAX_TEXT_BYTES; n && ((unsigned char)s[n] & 0xc0) == 0x80;) n--;
	memcpy(s + n, "...", 4);
}

/* The same thing said of the same place: many jobs are made of one line. */
static int said(const struct plan_problems *p, struct yaml_place at, const char *text)
{
	for (size_t i = 0; i < p->len; i++)
		if (p->items[i].line == at.line && p->items[i].col == at.col && !strcmp(p->items[i].text, text))
			return 1;
	return 0;
}

void problem_add(struct plan_problems *p, struct yaml_place at, int warning, const char *fmt, ...)
{
	struct plan_problem *item;
	va_list ap;
	char *text;
	int n;

	/* A warning never takes the last places: the errors are what decides. */
	if (p->len >= PLAN_MAX_PROBLEMS * (warning ? 1 : 2)) return;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) die("out of memory (formatting)");
	text = xrealloc(text, (size_t)n + 8);
	make_printable(text);
	if (said(p, at, text)) {
		free(text);
		return;
	}
	p->items = xrealloc(p->items, (p->len + 1) * sizeof(*p->items));
	item = &p->items[p->len++];
	*item = (struct plan_problem){.line = at.line, .col = at.col, .warning = warning, .text = text};
}

static int before(const struct plan_problem *a, const struct plan_problem *b)
{
	return a->line != b->line ? a->line < b->line : a->col < b->col;
}

/* Stable, unlike qsort(); there are few. */
void problems_sort(struct plan_problems *p)
{
	for (size_t i = 1; i < p->len; i++) {
		struct plan_problem item = p->items[i];
		size_t j = i;

		for (; j && before(&item, &p->items[j - 1]); j--) p->items[j] = p->items[j - 1];
		p->items[j] = item;
	}
}

size_t problems_errors(const struct plan_problems *p)
{
	size_t n = 0;

	for (size_t i = 0; i < p->len; i++) n += !p->items[i].warning;
	return n;
}

void plan_problems_release(struct plan_problems *p)
{
	for (size_t i = 0; i < p->len; i++) free(p->items[i].text);
	free(p->items);
	*p = (struct plan_problems){0};
}

char *plan_problems_text(const struct plan_problems *p, const char *file, int warnings)
{
	struct buf b = BUF_INIT(SIZE_MAX / 2);

	for (size_t i = 0; i < p->len; i++) {
		const struct plan_problem *it = &p->items[i];

		if (it->warning && !warnings) continue;
		buf_addf(&b, "%s:%d:%d: %s%s\n", file, it->line, it->col, it->warning ? "warning: " : "", it->text);
	}
	return buf_steal(&b);
}
