/* Branch patterns: an exact name, or a /regular expression/ of the kind that Travis took (Ruby's; the part of it that
 * people use for branches). They are strangers' expressions, and regcomp() takes exponential time and memory for
 * some: so they are compiled here to a bounded number of steps and run as a nondeterministic automaton, all
 * alternatives at once, in time at most steps x length.
 *  src  Thompson's construction; Pike's simulation of it */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/plan/config.h"

enum op { OP_SET, OP_SPLIT, OP_JUMP, OP_BEGIN, OP_END, OP_LINE_BEGIN, OP_LINE_END, OP_WORD, OP_NOT_WORD, OP_MATCH };

/* Jumps are relative, so that a piece of code can be moved and copied. */
struct pattern_step {
	enum op op;
	int x, y;
	uint64_t set[4]; /* OP_SET: which bytes */
};

enum { MAX_GROUPS = 16 };

struct compile {
	const char *p, *end;
	struct pattern_step *code;
	int n, depth, icase;
	const char *why; /* set once; everything returns early then */
};

static void alternatives(struct compile *c);

static int refuse(struct compile *c, const char *why)
{
	if (!c->why) c->why = why;
	return 0;
}

static int room(struct compile *c, int more)
{
	if (c->why) return 0;
	if (c->n + more > PATTERN_MAX_STEPS) return refuse(c, "is too large a regular expression");
	c->code = xrealloc(c->code, (size_t)(c->n + more) * sizeof(*c->code));
	return 1;
}

static void emit(struct compile *c, enum op op, int x, int y)
{
	if (room(c, 1)) c->code[c->n++] = (struct pattern_step){.op = op, .x = x, .y = y};
}

static void insert(struct compile *c, int at, enum op op, int x, int y)
{
	if (!room(c, 1)) return;
	memmove(&c->code[at + 1], &c->code[at], (size_t)(c->n - at) * sizeof(*c->code));
	c->code[at] = (struct pattern_step){.op = op, .x = x, .y = y};
	c->n++;
}

static void emit_copy(struct compile *c, const struct pattern_step *code, int n)
{
	if (!room(c, n)) return;
	memcpy(&c->code[c->n], code, (size_t)n * sizeof(*code));
	c->n += n;
}

/* --- sets of bytes --- */

static void set_add(uint64_t set[4], unsigned char b)
{
	set[b / 64] |= (uint64_t)1 << b % 64;
}

static int set_has(const uint64_t set[4], unsigned char b)
{
	return (int)(set[b / 64] >> b % 64 & 1);
}

static void set_range(uint64_t set[4], int from, int to)
{
	for (int b = from; b <= to; b++) set_add(set, (unsigned char)b);
}

static void set_invert(uint64_t set[4])
{
	for (int i = 0; i < 4; i++) set[i] = ~set[i];
}

static void set_fold(uint64_t set[4])
{
	for (int b = 'a'; b <= 'z'; b++)
		if (set_has(set, (unsigned char)b) || set_has(set, (unsigned char)(b - 32))) {
			set_add(set, (unsigned char)b);
			set_add(set, (unsigned char)(b - 32));
		}
}

/* \d \w \s and their opposites; 0: no such class */
static int set_class(uint64_t set[4], char letter)
{
	uint64_t s[4] = {0};
	char lower = (char)(letter | 32);

	if (lower != 'd' && lower != 'w' && lower != 's') return 0;
	if (lower == 's') {
		set_range(s, '\t', '\r');
		set_add(s, ' ');
	} else {
		set_range(s, '0', '9');
	}
	if (lower == 'w') {
		set_range(s, 'a', 'z');
		set_range(s, 'A', 'Z');
		set_add(s, '_');
	}
	if (letter != lower) set_invert(s);
	for (int i = 0; i < 4; i++) set[i] |= s[i];
	return 1;
}

static void emit_set(struct compile *c, uint64_t set[4])
{
	if (c->icase) set_fold(set);
	emit(c, OP_SET, 0, 0);
	if (!c->why) memcpy(c->code[c->n - 1].set, set, sizeof(c->code[0].set));
}

static void emit_byte(struct compile *c, char b)
{
	uint64_t set[4] = {0};

	set_add(set, (unsigned char)b);
	emit_set(c, set);
}

/* --- the grammar --- */

static int letter_or_digit(char ch)
{
	return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z');
}

static void escape(struct compile *c)
{
	uint64_t set[4] = {0};
	char ch = c->p < c->end ? *c->p++ : '\0';

	if (!ch)
		(void)refuse(c, "ends in a backslash");
	else if (set_class(set, ch))
		emit_set(c, set);
	else if (ch == 'A')
		emit(c, OP_BEGIN, 0, 0);
	else if (ch == 'z' || ch == 'Z')
		emit(c, OP_END, 0, 0);
	else if (ch == 'b' || ch == 'B')
		emit(c, ch == 'b' ? OP_WORD : OP_NOT_WORD, 0, 0);
	else if (letter_or_digit(ch))
		(void)refuse(c, "has an escape in its regular expression that is not supported");
	else
		emit_byte(c, ch);
}

/* One member of [...]; -1: it was a class, already added. */
static int member(struct compile *c, uint64_t set[4])
{
	char ch = *c->p++;

	if ((unsigned char)ch >= 0x80) return refuse(c, "has a character in [...] that is not ASCII");
	if (ch == '[') return refuse(c, "has a [ inside [...] that is not supported");
	if (ch != '\\') return ch;
	if (c->p == c->end) return refuse(c, "ends in a backslash");
	ch = *c->p++;
	if (set_class(set, ch)) return -1;
	return letter_or_digit(ch) ? refuse(c, "has an escape in [...] that is not supported") : ch;
}

static void brackets(struct compile *c)
{
	uint64_t set[4] = {0};
	int negated = c->p < c->end && *c->p == '^', first = 1;

	c->p += negated;
	for (; !c->why && c->p < c->end && (first || *c->p != ']'); first = 0) {
		int from = member(c, set), to = from;

		if (!c->why && from >= 0 && c->end - c->p >= 2 && *c->p == '-' && c->p[1] != ']') {
			c->p++;
			to = member(c, set);
		}
		if (c->why) return;
		if (to < from) (void)refuse(c, "has a range in [...] that runs backwards");
		if (from >= 0) set_range(set, from, to);
	}
	if (c->p >= c->end) (void)refuse(c, "has a [ in its regular expression that is never closed");
	if (c->why) return;
	c->p++;
	if (c->icase) set_fold(set);
	if (negated) set_invert(set);
	emit(c, OP_SET, 0, 0);
	if (!c->why) memcpy(c->code[c->n - 1].set, set, sizeof(set));
}

/* (?: and (?i: after their bracket; (?i) alone holds from there on. 1: it was that last one, and is done with */
static int group_flags(struct compile *c)
{
	if (c->end - c->p >= 2 && c->p[1] == ':') {
		c->p += 2;
	} else if (c->end - c->p >= 3 && c->p[1] == 'i' && (c->p[2] == ':' || c->p[2] == ')')) {
		c->icase = 1;
		c->p += 3;
		return c->p[-1] == ')';
	} else {
		(void)refuse(c, "has a (?…) in its regular expression that is not supported");
	}
	return 0;
}

static void group(struct compile *c)
{
	int icase = c->icase;

	if (c->p < c->end && *c->p == '?' && group_flags(c)) return;
	if (++c->depth > MAX_GROUPS) {
		(void)refuse(c, "has too many ( inside each other");
		return;
	}
	alternatives(c);
	c->depth--;
	c->icase = icase;
	if (c->p >= c->end)
		(void)refuse(c, "has a ( that is never closed");
	else
		c->p++;
}

static void atom(struct compile *c)
{
	uint64_t set[4] = {0};
	char ch = *c->p++;

	switch (ch) {
	case '\\': escape(c); break;
	case '[': brackets(c); break;
	case '(': group(c); break;
	case '^': emit(c, OP_LINE_BEGIN, 0, 0); break;
	case '$': emit(c, OP_LINE_END, 0, 0); break;
	case '.':
		set_add(set, '\n');
		set_invert(set);
		emit_set(c, set);
		break;
	case '*':
	case '+':
	case '?': (void)refuse(c, "has nothing before a * + or ? to repeat"); break;
	default: emit_byte(c, ch);
	}
}

static int number(const char **p, const char *end)
{
	int n = -1;

	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
		n = (n < 0 ? 0 : n) * 10 + (**p - '0');
		if (n > PATTERN_MAX_STEPS) n = PATTERN_MAX_STEPS + 1;
	}
	return n;
}

/* {n}, {n,}, {,m} or {n,m} behind c->p; 0: it is none, but a brace that stands for itself, as in Ruby */
static int interval(struct compile *c, int *least_r, int *most_r)
{
	const char *p = c->p + 1;
	int least, most;

	least = number(&p, c->end);
	most = least;
	if (p < c->end && *p == ',') {
		p++;
		most = number(&p, c->end);
		if (least < 0 && most < 0) return 0;
		if (least < 0) least = 0;
	}
	if (p >= c->end || *p != '}' || least < 0) return 0;
	c->p = p + 1;
	if (most >= 0 && most < least) (void)refuse(c, "has a {…} in its regular expression that runs backwards");
	*least_r = least;
	*most_r = most; /* -1: no end */
	return 1;
}

static void star(struct compile *c, int from)
{
	int n = c->n - from;

	insert(c, from, OP_SPLIT, 1, n + 2);
	emit(c, OP_JUMP, -(n + 1), 0);
}

/* The piece that begins at `from`, at least and at most so often. */
static void repeat(struct compile *c, int from, int least, int most)
{
	int n = c->n - from;
	struct pattern_step *piece;

	if (c->why) return;
	if (!n) return; /* of nothing: () */
	piece = xcalloc((size_t)n, sizeof(*piece));
	memcpy(piece, &c->code[from], (size_t)n * sizeof(*piece));
	c->n = from;
	for (int i = 0; i < least && !c->why; i++) emit_copy(c, piece, n);
	for (int i = least; i < most && !c->why; i++) {
		emit(c, OP_SPLIT, 1, n + 1);
		emit_copy(c, piece, n);
	}
	if (most < 0) {
		from = c->n;
		emit_copy(c, piece, n);
		star(c, from);
	}
	free(piece);
}

static void piece(struct compile *c)
{
	int from = c->n, least, most;

	atom(c);
	while (!c->why && c->p < c->end) {
		char ch = *c->p;

		if (ch == '*' || ch == '+' || ch == '?') {
			c->p++;
			repeat(c, from, ch == '+', ch == '?' ? 1 : -1);
		} else if (ch != '{' || !interval(c, &least, &most)) {
			return;
		} else {
			repeat(c, from, least, most);
		}
		/* Lazy and possessive forms: the same for a yes or no. */
		if (c->p < c->end && (*c->p == '?' || *c->p == '+')) c->p++;
	}
}

static void alternatives(struct compile *c)
{
	int from = c->n, jump;

	while (!c->why && c->p < c->end && *c->p != '|' && *c->p != ')') piece(c);
	if (c->why || c->p >= c->end || *c->p != '|') return;
	c->p++;
	insert(c, from, OP_SPLIT, 1, c->n - from + 2);
	jump = c->n;
	emit(c, OP_JUMP, 0, 0);
	alternatives(c);
	if (!c->why) c->code[jump].x = c->n - jump;
}

/* --- the automaton --- */

struct run {
	const struct pattern_step *code;
	const char *s;
	size_t len;
	int *seen;              /* step → the position it was last reached at, + 1 */
	int *now, *next, *todo; /* lists of steps */
	int nnext;
};

static int is_word(const struct run *r, size_t at)
{
	char ch = at < r->len ? r->s[at] : '\0';

	return letter_or_digit(ch) || ch == '_';
}

/* Follows everything that takes no byte from step `pc` at position `at`; 1: the match was reached. */
static int reach(struct run *r, int pc, size_t at)
{
	int n = 0;

	r->todo[n++] = pc;
	while (n) {
		const struct pattern_step *s;
		int holds = 0;

		pc = r->todo[--n];
		if (r->seen[pc] == (int)at + 1) continue;
		r->seen[pc] = (int)at + 1;
		s = &r->code[pc];
		switch (s->op) {
		case OP_MATCH: return 1;
		case OP_SET: r->next[r->nnext++] = pc; break;
		case OP_JUMP: r->todo[n++] = pc + s->x; break;
		case OP_SPLIT:
			r->todo[n++] = pc + s->x;
			r->todo[n++] = pc + s->y;
			break;
		case OP_BEGIN: holds = at == 0; break;
		case OP_END: holds = at == r->len; break;
		case OP_LINE_BEGIN: holds = at == 0 || r->s[at - 1] == '\n'; break;
		case OP_LINE_END: holds = at == r->len || r->s[at] == '\n'; break;
		case OP_WORD:
		case OP_NOT_WORD: holds = ((at && is_word(r, at - 1)) != is_word(r, at)) == (s->op == OP_WORD); break;
		}
		if (holds) r->todo[n++] = pc + 1;
	}
	return 0;
}

static int run(struct run *r)
{
	for (size_t at = 0;; at++) {
		int *swap = r->now, n = r->nnext;

		r->now = r->next;
		r->next = swap;
		r->nnext = 0;
		for (int i = 0; at && i < n; i++)
			if (set_has(r->code[r->now[i]].set, (unsigned char)r->s[at - 1]) && reach(r, r->now[i] + 1, at))
				return 1;
		if (reach(r, 0, at)) return 1;
		if (at == r->len) return 0;
	}
}

int pattern_finds(const struct pattern *p, const char *name)
{
	size_t n = (size_t)p->nsteps;
	/* todo: every step is taken off it at most once a position, and puts at most two others there */
	int *lists = xcalloc(5 * n + 8, sizeof(*lists));
	struct run r = {.code = p->steps, .s = name, .len = strlen(name), .seen = lists};
	int yes;

	r.now = lists + n;
	r.next = lists + 2 * n;
	r.todo = lists + 3 * n;
	yes = run(&r);
	free(lists);
	return yes;
}

/* --- patterns --- */

static const char too_many[] = "is one regular expression too many: together they are too large";

static const char *compile(const char *re, size_t len, int icase, int *budget, struct pattern *p)
{
	struct compile c = {.p = re, .end = re + len, .icase = icase};

	if (*budget <= 0) return too_many;
	alternatives(&c);
	if (!c.why && c.p < c.end) c.why = "has a ) without its (";
	emit(&c, OP_MATCH, 0, 0);
	if (!c.why && c.n > *budget) c.why = too_many;
	*budget -= c.n; /* of a refused one too: it took as long */
	if (c.why) {
		free(c.code);
		return c.why;
	}
	p->steps = c.code;
	p->nsteps = c.n;
	return NULL;
}

const char *pattern_make(const char *text, int *budget, struct pattern *p_r)
{
	struct pattern p = {0};
	size_t n = strlen(text);
	const char *why, *slash;

	if (!n) return "must not be empty";
	if (n > PATTERN_MAX_BYTES) return "must be at most 256 bytes long";
	if (*text == '/') {
		slash = strrchr(text, '/');
		if (slash == text) return "begins with '/' but is no /regular expression/";
		if (slash[1] && strcmp(slash, "/i") != 0) return "has flags other than i behind its regular expression";
		why = compile(text + 1, (size_t)(slash - text - 1), slash[1] == 'i', budget, &p);
		if (why) return why;
	}
	p.text = xstrdup(text);
	*p_r = p;
	return NULL;
}

int pattern_matches(const struct pattern *p, const char *name)
{
	if (!p->steps) return !strcmp(p->text, name);
	return strlen(name) <= 1024 && pattern_finds(p, name);
}

/* --- what can never match --- */

/* What is known of a place in a name: whether it is its begin, what stands before it, and what was promised of what
 * comes next. Names hold no line ends, so a line's begin is the name's. */
enum {
	AT_BEGIN = 1,
	AFTER_WORD = 2,
	NEXT_ANY = 0,
	NEXT_NONE = 4,
	NEXT_WORD = 8,
	NEXT_OTHER = 12,
	NEXT = 12,
	PLACES = 16
};

/* Bytes that git allows in the name of a branch. */
static int in_names(int b)
{
	return b > 0x20 && b != 0x7f && !strchr("~^:?*[\\", b);
}

static int is_word_byte(int b)
{
	return b == '_' || letter_or_digit((char)b);
}

/* May a promise be made of what comes next? NEXT_OTHER is a byte that is no letter, or the end. */
static int promise(int place, int next)
{
	int had = place & NEXT;

	if (had == NEXT_ANY || had == next) return (place & ~NEXT) | next;
	if ((had == NEXT_NONE && next == NEXT_OTHER) || (had == NEXT_OTHER && next == NEXT_NONE))
		return (place & ~NEXT) | NEXT_NONE;
	return -1;
}

static int boundary(int place, int wanted)
{
	int after = (place & AFTER_WORD) != 0;

	return promise(place, after == wanted ? NEXT_OTHER : NEXT_WORD);
}

/* Where a byte of the set may lead: bit 0 to a place after a word byte, bit 1 to one after another. */
static char set_leads(const uint64_t set[4])
{
	char leads = 4; /* known */

	for (int b = 1; b < 256; b++)
		if (set_has(set, (unsigned char)b) && in_names(b)) leads |= is_word_byte(b) ? 1 : 2;
	return leads;
}

struct places {
	char *seen, *leads;
	int *todo, n;
};

static void visit(struct places *v, int pc, int place)
{
	int at = pc * PLACES + place;

	if (place < 0 || v->seen[at]) return;
	v->seen[at] = 1;
	v->todo[v->n++] = at;
}

static void advance(const struct pattern_step *s, struct places *v, int pc, int place)
{
	int next = place & NEXT;

	switch (s->op) {
	case OP_MATCH: break;
	case OP_JUMP: visit(v, pc + s->x, place); break;
	case OP_SPLIT:
		visit(v, pc + s->x, place);
		visit(v, pc + s->y, place);
		break;
	case OP_BEGIN:
	case OP_LINE_BEGIN:
		if (place & AT_BEGIN) visit(v, pc + 1, place);
		break;
	case OP_END:
	case OP_LINE_END: visit(v, pc + 1, promise(place, NEXT_NONE)); break;
	case OP_WORD:
	case OP_NOT_WORD: visit(v, pc + 1, boundary(place, s->op == OP_WORD)); break;
	case OP_SET:
		if (!v->leads[pc]) v->leads[pc] = set_leads(s->set);
		if (v->leads[pc] & 1 && (next == NEXT_ANY || next == NEXT_WORD)) visit(v, pc + 1, AFTER_WORD);
		if (v->leads[pc] & 2 && (next == NEXT_ANY || next == NEXT_OTHER)) visit(v, pc + 1, 0);
		break;
	}
}

static int regex_possible(const struct pattern *p)
{
	size_t n = (size_t)p->nsteps * PLACES;
	struct places v = {
		.seen = xcalloc(n, 1), .leads = xcalloc((size_t)p->nsteps, 1), .todo = xcalloc(n, sizeof(int))};
	int found = 0;

	visit(&v, 0, AT_BEGIN);
	visit(&v, 0, AFTER_WORD); /* further on in the name */
	visit(&v, 0, 0);
	while (v.n && !found) {
		int at = v.todo[--v.n];

		found = p->steps[at / PLACES].op == OP_MATCH;
		advance(&p->steps[at / PLACES], &v, at / PLACES, at % PLACES);
	}
	free(v.seen);
	free(v.leads);
	free(v.todo);
	return found;
}

const char *pattern_never(const struct pattern *p)
{
	const char *s = p->text;

	if (p->steps) {
		if (!strncmp(s, "/^refs/", 7) || !strncmp(s, "/^refs\\/", 8))
			return "matches nothing: a branch's name has no refs/heads/ before it";
		return regex_possible(p) ? NULL : "matches nothing that a branch can be called";
	}
	if (strchr(s, '*') || strchr(s, '?'))
		return "matches nothing: it is an exact name; write a /regular expression/ for more than one";
	for (; *s; s++)
		if ((unsigned char)*s < 0x80 && !in_names(*s)) return "matches nothing that a branch can be called";
	return strncmp(p->text, "refs/", 5) != 0 ? NULL
						 : "matches nothing: a branch's name has no refs/heads/ before it";
}

void pattern_release(struct pattern *p)
{
	free(p->text);
	free(p->steps);
	*p = (struct pattern){0};
}
