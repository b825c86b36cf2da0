/* What builds and does not do what was meant: values that no job has, keys that are not there, scripts that hide their
 * failures: warnings; and what cannot be published: errors. */
#include <string.h>

#include "runner/plan/config.h"

enum { MAX_LINTED_RULES = 100 };

/* --- values --- */

static const char *job_value(const struct job_spec *j, const char *axis)
{
	if (!strcmp(axis, "backend")) return j->backend;
	if (!strcmp(axis, "arch")) return j->arch;
	for (size_t i = 0; i < j->naxes; i++)
		if (!strcmp(j->axes[i].name, axis)) return j->axes[i].value;
	return NULL;
}

/* A value that no job has, in a `when`: most likely a slip of the pen. */
static void lint_when(const struct when *w, const struct plan *plan, struct plan_problems *problems)
{
	for (size_t k = 0; k < w->axes.len; k++) {
		const struct axis *axis = &w->axes.items[k];

		for (size_t i = 0; i < axis->values.len && i < PLAN_MAX_JOBS; i++) {
			size_t hits = 0;

			for (size_t j = 0; j < plan->njobs && !hits; j++) {
				const char *has = job_value(&plan->jobs[j], axis->name);

				hits = has && !strcmp(has, axis->values.items[i]);
			}
			if (!hits)
				problem_add(problems, w->at, 1, "no job has the %s '%s'", axis->name,
					    axis->values.items[i]);
		}
	}
}

static void lint_key(const struct publish_rule *rule, const struct plan *plan, struct plan_problems *problems)
{
	int unnamed = 0, found = 0;

	if (!rule->publish.key) return;
	for (size_t i = 0; i < plan->njobs && !found; i++)
		for (size_t k = 0; k < plan->jobs[i].nenv && !found; k++) {
			const struct plan_env *v = &plan->jobs[i].env[k];

			unnamed |= !v->text && !v->secret_name;
			found = v->secret_name && !strcmp(v->secret_name, rule->publish.key);
		}
	if (!found && !unnamed)
		problem_add(problems, rule->at, 1, "no sealed value in 'env' is named '%s'", rule->publish.key);
}

/* One commit's folder of a deployment repository holds one image for one arch: its manifest has room for one. */
static void lint_clashes(const struct settings *s, const struct plan *plan, struct plan_problems *problems)
{
	for (size_t i = 0; i < plan->njobs; i++)
		for (size_t k = 0; k < i; k++) {
			const struct job_spec *a = &plan->jobs[k], *b = &plan->jobs[i];

			if (!a->publish.repo || !b->publish.repo || !a->publish.path || !b->publish.path) continue;
			if (strcmp(a->publish.repo, b->publish.repo) != 0 ||
			    strcmp(a->publish.path, b->publish.path) != 0)
				continue;
			if (!a->arch || !b->arch || !strcmp(a->arch, b->arch)) continue;
			problem_add(problems, s->npublishes ? s->publishes[0].at : (struct yaml_place){1, 1}, 0,
				    "the jobs '%s' and '%s' both publish to '%s': put {arch} into 'path', or a 'when'",
				    a->name, b->name, b->publish.path);
			return;
		}
}

/* What a remote must look like to be reached by ssh: then only a key opens it. */
static void lint_has_key(const struct publish_rule *rule, struct plan_problems *problems)
{
	const char *repo = rule->publish.repo;

	if (!repo || rule->publish.key || repo[0] == '/' || !strncmp(repo, "file://", 7)) return;
	if (!strncmp(repo, "ssh://", 6) || strchr(repo, ':'))
		problem_add(problems, rule->at, 0, "'publish' to '%s' needs a 'key': the name of a sealed deploy key",
			    repo);
}

/* --- scripts: what a shell's exit status does not tell --- */

struct seen {                      /* of one command, outside quotes, comments and brackets */
	int pipe, semicolon, line; /* byte offset + 1 of the first; 0: none */
	int block;                 /* if, for, {, here document …: its own rules hold */
};

/* Words after which ; and line ends are part of the shell's grammar. */
static int is_keyword(const char *p, size_t n)
{
	static const char *const words[] = {"if",   "then", "else",   "elif",     "fi",     "for",    "while", "until",
					    "do",   "done", "case",   "esac",     "{",      "}",      "[[",    "trap",
					    "exit", "set",  "select", "function", "return", "export", "cd"};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strlen(words[i]) == n && !strncmp(p, words[i], n)) return i < 16 ? 1 : 2;
	return 0;
}

static const char *behind_quote(const char *p)
{
	char quote = *p++;

	while (*p && *p != quote) p += *p == '\\' && quote == '"' && p[1] ? 2 : 1;
	return *p ? p + 1 : p;
}

/* Behind $( ) or ( ): what is in there is another command. */
static const char *behind_bracket(const char *p)
{
	int depth = 0;

	for (; *p; p++) {
		if (*p == '\'' || *p == '"') {
			p = behind_quote(p) - 1;
		} else if (*p == '(') {
			depth++;
		} else if (*p == ')' && --depth == 0) {
			return p + 1;
		}
	}
	return p;
}

static void note(int *place, const char *text, const char *p)
{
	if (!*place) *place = (int)(p - text) + 1;
}

static struct seen look(const char *text)
{
	struct seen s = {0};
	int first = 1; /* a command's first word may stand here */

	for (const char *p = text; *p;) {
		size_t n = strcspn(p, " \t\n;|&()'\"\\$#<>`");

		if (n) {
			if (first && is_keyword(p, n) == 1) s.block = 1;
			first = 0;
			p += n;
		} else if (*p == '\'' || *p == '"' || *p == '`') {
			p = behind_quote(p);
			first = 0;
		} else if (*p == '\\') {
			p += p[1] ? 2 : 1;
		} else if (*p == '#' && (p == text || strchr(" \t\n;", p[-1]))) {
			p += strcspn(p, "\n");
		} else if (*p == '(' || (*p == '$' && p[1] == '(')) {
			p = behind_bracket(p);
			first = 0;
		} else if (!strncmp(p, "<<", 2)) {
			s.block = 1;
			p += 2;
		} else if (!strncmp(p, "||", 2) || !strncmp(p, "&&", 2)) {
			first = 1;
			p += 2;
		} else if (*p == '|') {
			note(&s.pipe, text, p++);
			first = 1;
		} else if (*p == ';' || *p == '\n') {
			const char *next = p + 1 + strspn(p + 1, " \t\n;");

			if (!first && *next && *next != '#') note(*p == ';' ? &s.semicolon : &s.line, text, p);
			first = 1;
			p++;
		} else {
			p++;
		}
	}
	return s;
}

/* Does it begin with words after which nothing can fail that matters: cd x; export A=1; set -e; … */
static int sets_mode(const char *text, const char *mode)
{
	const char *p = strstr(text, mode);

	return p && (p == text || strchr(" \t\n;-", p[-1]));
}

/* The text up to there, for the message. */
static int shown_len(const char *text, int place)
{
	int n = place - 1;

	while (n > 0 && strchr(" \t\n", text[n - 1])) n--;
	return n > 60 ? 60 : n;
}

static void lint_command(const char *text, struct yaml_place at, int pipefail, int errexit,
			 struct plan_problems *problems)
{
	struct seen s = look(text);
	int place = s.semicolon ? s.semicolon : s.line;

	if (s.block) return;
	if (s.pipe && !pipefail && !sets_mode(text, "pipefail"))
		problem_add(problems, at, 1,
			    "a failure of '%.*s' is hidden by the | after it: put 'set -o pipefail' before",
			    shown_len(text, s.pipe), text);
	if (place && !errexit && !sets_mode(text, "set -e") && !sets_mode(text, "errexit") &&
	    is_keyword(text, strcspn(text, " \t\n;")) != 2)
		problem_add(problems, at, 1,
			    "a failure of '%.*s' is hidden by the %s after it: write && or two commands",
			    shown_len(text, place), text, place == s.semicolon ? ";" : "line");
}

/* `set -o pipefail` in an earlier command lasts: one shell runs all. */
static void lint_phases(const struct settings *s, struct plan_problems *problems)
{
	int pipefail = 0, errexit = 0;

	for (int p = PHASE_BEFORE_INSTALL; p <= PHASE_SCRIPT; p++) {
		const struct phase *phase = &s->phases[p];

		for (size_t i = 0; i < phase->commands.len; i++) {
			const char *text = phase->commands.items[i];

			pipefail |= sets_mode(text, "pipefail");
			errexit |= sets_mode(text, "set -e") || sets_mode(text, "errexit");
			lint_command(text, phase->places[i], pipefail, errexit, problems);
		}
	}
}

/* --- all --- */

static void lint_settings(const struct settings *s, const struct plan *plan, struct plan_problems *problems)
{
	lint_phases(s, problems);
	for (size_t i = 0; i < s->nchecks && i < MAX_LINTED_RULES; i++) lint_when(&s->checks[i].when, plan, problems);
	for (size_t i = 0; i < s->npublishes && i < MAX_LINTED_RULES; i++) {
		lint_when(&s->publishes[i].when, plan, problems);
		lint_key(&s->publishes[i], plan, problems);
		lint_has_key(&s->publishes[i], problems);
	}
}

void lint_config(const struct config *c, const struct plan *plan, struct plan_problems *problems)
{
	lint_settings(&c->settings, plan, problems);
	lint_clashes(&c->settings, plan, problems);
	for (size_t i = 0; i < c->include.len && i < MAX_LINTED_RULES; i++)
		lint_settings(&c->include.items[i].own, plan, problems);
}
