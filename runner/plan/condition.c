/* Conditions: text → a tree in one array → yes or no. Recursion is as deep as brackets are, which are counted. */
#include "runner/plan/condition.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/plan/config.h"

enum node_op { N_OR, N_AND, N_NOT, N_EQ, N_NE, N_MATCH, N_IN, N_IS, N_TEXT, N_ATTRIBUTE, N_ENV, N_CONCAT, N_REGEX };
enum predicate { IS_PRESENT, IS_BLANK, IS_TRUE, IS_FALSE };

struct node {
	enum node_op op;
	int a, b;    /* nodes; of lists the first item; of an attribute which */
	int negated; /* N_MATCH, N_IN, N_IS */
	int quoted;  /* N_TEXT */
	enum predicate is;
	char *text; /* N_TEXT */
	struct pattern regex;
	int next; /* in a list; -1: the last */
};

struct condition {
	struct node *nodes;
	int n, root;
};

const char *const condition_attributes[ASKS_COUNT] = {
	[ASKS_TYPE] = "type",
	[ASKS_REPO] = "repo",
	[ASKS_HEAD_REPO] = "head_repo",
	[ASKS_OS] = "os",
	[ASKS_DIST] = "dist",
	[ASKS_GROUP] = "group",
	[ASKS_SUDO] = "sudo",
	[ASKS_LANGUAGE] = "language",
	[ASKS_SENDER] = "sender",
	[ASKS_FORK] = "fork",
	[ASKS_DRAFT] = "draft",
	[ASKS_HEAD_BRANCH] = "head_branch",
	[ASKS_BRANCH] = "branch",
	[ASKS_COMMIT_MESSAGE] = "commit_message",
	[ASKS_TAG] = "tag",
	[ASKS_STAGE] = "stage",
};

struct parse {
	const char *p;
	struct condition *c;
	int depth, *regex_budget;
	const char *why; /* set once; everything returns then */
};

/* --- words --- */

static int blank(char ch)
{
	return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

static void skip(struct parse *s)
{
	while (blank(*s->p)) s->p++;
}

/* A backslash before a line's end goes on in the next line: both become blanks, so that places stay. */
static char *joined(const char *text)
{
	char *copy = xstrdup(text);

	for (char *p = copy; *p; p++) {
		char *q = p + 1;

		while (*p == '\\' && (*q == ' ' || *q == '\t')) q++;
		if (*p == '\\' && (*q == '\n' || *q == '\r')) *p = ' ';
	}
	return copy;
}

static int refuse(struct parse *s, const char *why)
{
	if (!s->why) s->why = why;
	return -1;
}

static size_t word_len(const char *p)
{
	return strcspn(p, " \t\r\n()\"',=!");
}

static int lower(int ch)
{
	return ch >= 'A' && ch <= 'Z' ? ch + 32 : ch;
}

/* The locale has no say in what is a letter. */
static int same_word(const char *p, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i < n; i++)
		if (lower(p[i]) != word[i]) return 0;
	return word_len(p) == n;
}

static int take_word(struct parse *s, const char *word)
{
	skip(s);
	if (!same_word(s->p, word)) return 0;
	s->p += strlen(word);
	return 1;
}

static int take(struct parse *s, const char *sign)
{
	skip(s);
	if (strncmp(s->p, sign, strlen(sign)) != 0) return 0;
	s->p += strlen(sign);
	return 1;
}

static int node_new(struct parse *s, enum node_op op, int a, int b)
{
	struct condition *c = s->c;

	if (s->why) return -1;
	if (c->n == CONDITION_MAX_NODES) return refuse(s, "is too long a condition");
	c->nodes[c->n] = (struct node){.op = op, .a = a, .b = b, .next = -1};
	return c->n++;
}

static int node_text(struct parse *s, enum node_op op, const char *text, size_t len)
{
	int n = node_new(s, op, -1, -1);

	if (n >= 0) s->c->nodes[n].text = xstrndup(text, len);
	return n;
}

/* --- operands --- */

static int operand(struct parse *s);

static int quoted(struct parse *s)
{
	char quote = *s->p;
	const char *end = strchr(s->p + 1, quote);
	int n;

	if (!end) return refuse(s, "has a quote that is never closed");
	n = node_text(s, N_TEXT, s->p + 1, (size_t)(end - s->p - 1));
	if (n >= 0) s->c->nodes[n].quoted = 1;
	s->p = end + 1;
	return n;
}

/* "(a, b)" behind s->p, at least one; the first item's node */
static int list(struct parse *s)
{
	int first = -1, last = -1;

	if (!take(s, "(")) return refuse(s, "wants a list in ( ) here");
	while (!take(s, ")")) {
		int item = operand(s);

		if (item < 0) return -1;
		if (first < 0) first = item;
		if (last >= 0) s->c->nodes[last].next = item;
		last = item;
		if (!take(s, ",") && (skip(s), *s->p != ')')) return refuse(s, "wants , or ) here");
	}
	return first < 0 ? refuse(s, "has an empty list") : first;
}

static int call(struct parse *s)
{
	enum node_op op = same_word(s->p, "env") ? N_ENV : N_CONCAT;
	const char *p = s->p + word_len(s->p);
	int args, n;

	while (blank(*p)) p++;
	s->p = p;
	args = list(s);
	n = args < 0 ? -1 : node_new(s, op, args, -1);
	if (n >= 0 && op == N_ENV && s->c->nodes[args].next >= 0) return refuse(s, "asks env() for more than one name");
	return n;
}

static int is_call(const char *p)
{
	if (!same_word(p, "env") && !same_word(p, "concat")) return 0;
	p += word_len(p);
	while (blank(*p)) p++;
	return *p == '(';
}

static int operand(struct parse *s)
{
	size_t n;
	int node;

	skip(s);
	if (s->why) return -1;
	if (*s->p == '"' || *s->p == '\'') return quoted(s);
	if (is_call(s->p)) {
		if (s->depth >= CONDITION_MAX_DEPTH) return refuse(s, "is nested too deep");
		s->depth++;
		node = call(s);
		s->depth--;
		return node;
	}
	n = word_len(s->p);
	if (!n) return refuse(s, *s->p ? "wants a value here" : "ends where a value is wanted");
	if (*s->p == '$') return refuse(s, "has a word that begins with $: ask env(NAME) for a variable");
	for (int i = 0; i < ASKS_COUNT; i++)
		if (same_word(s->p, condition_attributes[i])) {
			s->p += n;
			return node_new(s, N_ATTRIBUTE, i, -1);
		}
	node = node_text(s, N_TEXT, s->p, n);
	s->p += n;
	return node;
}

/* --- regular expressions --- */

static size_t slashed_len(const char *p)
{
	size_t n = 1;

	while (p[n] && p[n] != '/') n += p[n] == '\\' && p[n + 1] ? 2 : 1;
	return p[n] ? n + 1 : 0;
}

static int regex(struct parse *s)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int node;

	skip(s);
	if (is_call(s->p)) {
		node = operand(s);
		return node < 0 ? -1 : node_new(s, N_REGEX, node, -1);
	}
	if (*s->p == '/') {
		n = slashed_len(s->p);
		if (!n) return refuse(s, "has a / that is never closed");
		if (s->p[n] == 'i') n++;
		text = xstrndup(s->p, n);
	} else {
		n = strcspn(s->p, " \t\r\n");
		while (n && s->p[n - 1] == ')') n--;
		if (!n) return refuse(s, "wants a regular expression here");
		text = xasprintf("/%.*s/", (int)n, s->p);
	}
	node = node_new(s, N_REGEX, -1, -1);
	if (node < 0) return -1;
	s->why = pattern_make(text, s->regex_budget, &s->c->nodes[node].regex);
	if (!s->why) s->p += n;
	return s->why ? -1 : node;
}

/* --- terms --- */

static int expression(struct parse *s);

static int is_term(struct parse *s, int left, int negated)
{
	static const char *const words[] = {"present", "blank", "true", "false"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (take_word(s, words[i])) {
			int n = node_new(s, N_IS, left, -1);

			if (n < 0) return -1;
			s->c->nodes[n].is = (enum predicate)i;
			s->c->nodes[n].negated = negated;
			return n;
		}
	return refuse(s, "wants present, blank, true or false here");
}

static int in_term(struct parse *s, int left, int negated)
{
	int items = list(s), n = items < 0 ? -1 : node_new(s, N_IN, left, items);

	if (n >= 0) s->c->nodes[n].negated = negated;
	return n;
}

static int match_term(struct parse *s, int left, int negated)
{
	int right = regex(s), n = right < 0 ? -1 : node_new(s, N_MATCH, left, right);

	if (n >= 0) s->c->nodes[n].negated = negated;
	return n;
}

static int equal_term(struct parse *s, enum node_op op, int left)
{
	int right = operand(s);

	return right < 0 ? -1 : node_new(s, op, left, right);
}

static int term(struct parse *s)
{
	int left = operand(s);
	const char *before;

	if (left < 0) return -1;
	if (take_word(s, "in")) return in_term(s, left, 0);
	if (take_word(s, "is")) return is_term(s, left, take_word(s, "not"));
	skip(s);
	before = s->p;
	if (take_word(s, "not")) {
		if (take_word(s, "in")) return in_term(s, left, 1);
		s->p = before;
	}
	if (take(s, "=~") || take(s, "~=")) return match_term(s, left, 0);
	if (take(s, "!~")) return match_term(s, left, 1);
	if (take(s, "!=")) return equal_term(s, N_NE, left);
	if (take(s, "==") || take(s, "=")) return equal_term(s, N_EQ, left);
	return left;
}

static int negation(struct parse *s)
{
	int n;

	if (s->depth >= CONDITION_MAX_DEPTH) return refuse(s, "is nested too deep");
	s->depth++;
	skip(s);
	if (take_word(s, "not")) {
		n = negation(s);
		if (n >= 0) n = node_new(s, N_NOT, n, -1);
	} else if (take(s, "(")) {
		n = expression(s);
		if (n >= 0 && !take(s, ")")) n = refuse(s, "has a ( that is never closed");
	} else {
		n = term(s);
	}
	s->depth--;
	return n;
}

static int conjunction(struct parse *s)
{
	int left = negation(s);

	while (left >= 0 && (take_word(s, "and") || take(s, "&&"))) {
		int right = negation(s);

		left = right < 0 ? -1 : node_new(s, N_AND, left, right);
	}
	return left;
}

static int expression(struct parse *s)
{
	int left = conjunction(s);

	while (left >= 0 && (take_word(s, "or") || take(s, "||"))) {
		int right = conjunction(s);

		left = right < 0 ? -1 : node_new(s, N_OR, left, right);
	}
	return left;
}

const char *condition_make(const char *text, int *regex_budget, struct condition **c_r, size_t *at_r)
{
	_cleanup_free_ char *copy = NULL;
	struct condition *c;
	struct parse s = {.regex_budget = regex_budget};

	*at_r = 0;
	if (strlen(text) > CONDITION_MAX_BYTES) return "is longer than 4096 bytes";
	copy = joined(text);
	s.p = copy;
	c = xcalloc(1, sizeof(*c));
	c->nodes = xcalloc(CONDITION_MAX_NODES, sizeof(*c->nodes));
	s.c = c;
	c->root = expression(&s);
	skip(&s);
	if (!s.why && *s.p) s.why = "has something behind its end: AND or OR is missing, or quotes";
	if (s.why) {
		*at_r = (size_t)(s.p - copy);
		condition_free(&c);
		return s.why;
	}
	c->nodes = xrealloc(c->nodes, (size_t)c->n * sizeof(*c->nodes));
	*c_r = c;
	return NULL;
}

void condition_free(struct condition **c)
{
	if (!*c) return;
	for (int i = 0; i < (*c)->n; i++) {
		free((*c)->nodes[i].text);
		pattern_release(&(*c)->nodes[i].regex);
	}
	free((*c)->nodes);
	free(*c);
	*c = NULL;
}

const char *condition_odd(const struct condition *c)
{
	for (int i = 0; i < c->n; i++) {
		const struct node *n = &c->nodes[i], *left;

		if (n->op != N_EQ && n->op != N_NE && n->op != N_MATCH && n->op != N_IN) continue;
		left = &c->nodes[n->a];
		if (left->op != N_TEXT || left->quoted) continue;
		if ((n->op == N_EQ || n->op == N_NE) && c->nodes[n->b].op != N_TEXT) continue;
		return left->text;
	}
	return NULL;
}

/* --- evaluation --- */

enum value_kind { V_NONE, V_FALSE, V_TRUE, V_TEXT };
struct value {
	enum value_kind kind;
	const char *text; /* V_TEXT: borrowed, or owned below */
	char *owned;
};

struct eval {
	const struct condition *c;
	const struct condition_data *d;
	int failed;
};

static int whole_word(const char *s, const char *word)
{
	size_t i = 0;

	while (word[i] && lower(s[i]) == word[i]) i++;
	return !word[i] && !s[i];
}

static struct value value_of(const char *s)
{
	if (!s) return (struct value){.kind = V_NONE};
	if (whole_word(s, "true")) return (struct value){.kind = V_TRUE};
	if (whole_word(s, "false")) return (struct value){.kind = V_FALSE};
	return (struct value){.kind = V_TEXT, .text = s};
}

static void value_release(struct value *v)
{
	free(v->owned);
}
#define _cleanup_value_ __attribute__((cleanup(value_release)))

static const char *shown(const struct value *v)
{
	switch (v->kind) {
	case V_NONE: return "";
	case V_FALSE: return "false";
	case V_TRUE: return "true";
	case V_TEXT: return v->text;
	}
	die("unknown value %d", (int)v->kind);
}

static struct value value(struct eval *ev, int node);

static struct value concat(struct eval *ev, int first)
{
	struct buf b = BUF_INIT(65536);
	struct value v;

	for (int i = first; i >= 0; i = ev->c->nodes[i].next) {
		_cleanup_value_ struct value part = value(ev, i);

		buf_adds(&b, shown(&part));
	}
	if (b.overflow) ev->failed = 1;
	v = (struct value){.kind = V_TEXT, .owned = buf_steal(&b)};
	v.text = v.owned;
	if (whole_word(v.text, "true")) v.kind = V_TRUE;
	if (whole_word(v.text, "false")) v.kind = V_FALSE;
	return v;
}

static struct value value(struct eval *ev, int node)
{
	const struct node *n = &ev->c->nodes[node];

	--*ev->d->budget;
	if (n->op == N_TEXT) return value_of(n->text);
	if (n->op == N_ATTRIBUTE) return value_of(ev->d->attribute(ev->d->arg, (enum condition_attribute)n->a));
	if (n->op == N_CONCAT) return concat(ev, n->a);
	if (n->op == N_ENV) {
		_cleanup_value_ struct value name = value(ev, n->a);
		const char *found = ev->d->env(ev->d->arg, shown(&name));

		return value_of(found);
	}
	die("node %d is no value", (int)n->op);
}

static int equal(const struct value *a, const struct value *b)
{
	return a->kind == b->kind && (a->kind != V_TEXT || !strcmp(a->text, b->text));
}

static int run_regex(struct eval *ev, const struct pattern *p, const char *s)
{
	*ev->d->budget -= (int64_t)(p->nsteps + 1) * (int64_t)(strlen(s) + 1);
	if (*ev->d->budget >= 0) return pattern_finds(p, s);
	ev->failed = 1;
	return 0;
}

static int match(struct eval *ev, const struct node *n)
{
	_cleanup_value_ struct value left = value(ev, n->a), made = {0};
	const struct node *re = &ev->c->nodes[n->b];
	_cleanup_free_ char *text = NULL;
	struct pattern p;
	int yes, steps = PATTERN_MAX_STEPS;

	if (re->a < 0) return left.kind == V_TEXT && run_regex(ev, &re->regex, left.text);
	made = value(ev, re->a);
	text = xasprintf("/%s/", shown(&made));
	if (made.kind != V_TEXT || pattern_make(text, &steps, &p)) {
		ev->failed = 1;
		return 0;
	}
	yes = left.kind == V_TEXT && run_regex(ev, &p, left.text);
	pattern_release(&p);
	return yes;
}

static int is_in(struct eval *ev, const struct node *n)
{
	_cleanup_value_ struct value left = value(ev, n->a);
	int yes = 0;

	for (int i = n->b; i >= 0 && !yes; i = ev->c->nodes[i].next) {
		_cleanup_value_ struct value item = value(ev, i);

		yes = equal(&left, &item);
	}
	return yes;
}

static int truth(const struct value *v)
{
	return v->kind == V_TRUE || v->kind == V_TEXT;
}

static int is(struct eval *ev, const struct node *n)
{
	_cleanup_value_ struct value v = value(ev, n->a);
	int present = v.kind == V_TRUE || (v.kind == V_TEXT && *v.text);

	switch (n->is) {
	case IS_PRESENT: return present;
	case IS_BLANK: return !present;
	case IS_TRUE: return truth(&v);
	case IS_FALSE: return !truth(&v);
	}
	die("unknown predicate %d", (int)n->is);
}

static int compare(struct eval *ev, const struct node *n)
{
	_cleanup_value_ struct value a = value(ev, n->a), b = value(ev, n->b);

	return equal(&a, &b) == (n->op == N_EQ);
}

static int holds(struct eval *ev, int node)
{
	const struct node *n = &ev->c->nodes[node];

	if (--*ev->d->budget < 0) ev->failed = 1;
	if (ev->failed) return 0;
	switch (n->op) {
	case N_OR: return holds(ev, n->a) || holds(ev, n->b);
	case N_AND: return holds(ev, n->a) && holds(ev, n->b);
	case N_NOT: return !holds(ev, n->a);
	case N_EQ:
	case N_NE: return compare(ev, n);
	case N_MATCH: return match(ev, n) != n->negated;
	case N_IN: return is_in(ev, n) != n->negated;
	case N_IS: return is(ev, n) != n->negated;
	case N_TEXT:
	case N_ATTRIBUTE:
	case N_ENV:
	case N_CONCAT: {
		_cleanup_value_ struct value v = value(ev, node);

		return truth(&v);
	}
	case N_REGEX: break;
	}
	die("node %d is no condition", (int)n->op);
}

int condition_holds(const struct condition *c, const struct condition_data *d)
{
	struct eval ev = {.c = c, .d = d};
	int yes = holds(&ev, c->root);

	return ev.failed ? -1 : yes;
}
