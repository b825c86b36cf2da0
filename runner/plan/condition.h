#ifndef RUNNER_PLAN_CONDITION_H
#define RUNNER_PLAN_CONDITION_H

#include <stddef.h>
#include <stdint.h>

/* `if:` conditions: "branch = main AND NOT (type = pull_request OR env(DRY) = 1)".
 *
 *	expr    = and {or and}            and  = not {and not}         or: OR, ||   and: AND, &&   not: NOT
 *	not     = {not} (term | "(" expr ")")
 *	term    = operand [= == != operand | =~ ~= !~ regex | [NOT] IN (list) | IS [NOT] present|blank|true|false]
 *	operand = attribute | env(list) | concat(list) | word | "text" | 'text'
 *	regex   = /…/ [i] | a word | env(list) | concat(list)
 *
 * A value is nothing, true, false or text; the texts "true" and "false" in any case are true and false. What stands
 * alone holds unless it is nothing or false.
 *  src  travis-conditions v1: its grammar and how it evaluates */

enum { CONDITION_MAX_BYTES = 4096, CONDITION_MAX_NODES = 400, CONDITION_MAX_DEPTH = 32, CONDITION_BUDGET = 3000000 };

struct condition;

enum condition_attribute {
	ASKS_TYPE,
	ASKS_REPO,
	ASKS_HEAD_REPO,
	ASKS_OS,
	ASKS_DIST,
	ASKS_GROUP,
	ASKS_SUDO,
	ASKS_LANGUAGE,
	ASKS_SENDER,
	ASKS_FORK,
	ASKS_DRAFT,
	ASKS_HEAD_BRANCH,
	ASKS_BRANCH,
	ASKS_COMMIT_MESSAGE,
	ASKS_TAG,
	ASKS_STAGE,
	ASKS_COUNT,
};
extern const char *const condition_attributes[ASKS_COUNT]; /* "type", "repo", … */

/* What a condition may ask for. Both give NULL for what is not there; what they give stays valid for the call. */
struct condition_data {
	const char *(*attribute)(void *arg, enum condition_attribute which);
	const char *(*env)(void *arg, const char *name);
	void *arg;
	int64_t *budget; /* work left: nodes, and of regular expressions steps times bytes */
};

/* condition_make - NULL, or why not (static): then *at_r is the byte it was found at.
 *  in   regex_budget  steps left for all regular expressions of the file */
const char *condition_make(const char *text, int *regex_budget, struct condition **c_r, size_t *at_r);
/* condition_holds - 1, 0; -1: the budget is used up, or a regular expression made of values is none */
int condition_holds(const struct condition *c, const struct condition_data *d);
/* condition_odd - a word on the left of a comparison with another word: never anything but always or never true.
 * Borrowed; NULL: there is none. */
const char *condition_odd(const struct condition *c);
void condition_free(struct condition **c);

#endif
