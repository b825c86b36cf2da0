/* Shell completion from usage lines such as "-k PUBKEY|FILE [--for travis|github] [INPUT|-]": a word with dashes is an
 * option, a word in small letters is a choice, one in capitals is a value; FILE and INPUT are files. */
#include "senv/complete.h"

#include <string.h>

struct word {
	const char *s;
	size_t len;
};

/* The next word of a usage line, without its brackets and dots; 0: no more. */
static int next_word(const char **at, struct word *w)
{
	static const char around[] = " []().|";
	const char *s = *at + strspn(*at, around);

	if (!*s) return 0;
	w->s = s;
	w->len = strcspn(s, " [].");
	while (w->len > 1 && strchr("|)", s[w->len - 1])) w->len--;
	*at = s + w->len;
	return 1;
}

static int is_option(const struct word *w)
{
	return w->s[0] == '-' && w->len > 1 && !(w->len == 2 && w->s[1] == '-');
}

static int is_choice(const struct word *w)
{
	return w->s[0] >= 'a' && w->s[0] <= 'z';
}

static int holds(const struct word *w, const char *what)
{
	return memmem(w->s, w->len, what, strlen(what)) != NULL;
}

static int is_file(const struct word *w)
{
	return holds(w, "FILE") || holds(w, "INPUT") || holds(w, "OUTPUT");
}

static void add_choices(const struct word *w, struct buf *out)
{
	for (size_t i = 0; i < w->len; i++) buf_addch(out, w->s[i] == '|' ? ' ' : w->s[i]);
}

/* What one command takes. */
struct parts {
	struct buf options; /* "-k --for" */
	struct buf first;   /* choices of the first argument */
	int files, command;
};

static void parts_release(struct parts *p)
{
	buf_release(&p->options);
	buf_release(&p->first);
}
#define _cleanup_parts_ __attribute__((cleanup(parts_release)))

/* Options with a value: how a shell's script names the case, and what it then offers. */
typedef void case_fn(const struct command *c, const struct word *option, const struct word *value, struct buf *out);

static void read_usage(const struct command *c, struct parts *p, case_fn *emit, struct buf *out)
{
	const char *at = c->usage;
	struct word w, option = {0};

	buf_init(&p->options, 4096);
	buf_init(&p->first, 4096);
	while (next_word(&at, &w)) {
		if (is_option(&w)) {
			if (p->options.len) buf_addch(&p->options, ' ');
			buf_add(&p->options, w.s, w.len);
			/* Its value stands behind it, before the bracket is closed. */
			if (*at == ' ' && at[1] != '[' && at[1] != '-' && at[1] != '|') option = w;
			continue;
		}
		if (option.s) {
			emit(c, &option, &w, out);
			option.s = NULL;
			continue;
		}
		if (is_choice(&w)) {
			if (p->first.len) buf_addch(&p->first, ' ');
			add_choices(&w, &p->first);
		}
		p->files |= is_file(&w);
		p->command |= holds(&w, "COMMAND");
	}
}

static void bash_case(const struct command *c, const struct word *option, const struct word *value, struct buf *out)
{
	buf_addf(out, "\t%s:%.*s) ", c->name, (int)option->len, option->s);
	if (is_choice(value)) {
		buf_adds(out, "words='");
		add_choices(value, out);
		buf_adds(out, "'");
	} else if (is_file(value)) {
		buf_adds(out, "files=1");
	} else {
		buf_adds(out, ":");
	}
	buf_adds(out, " ;;\n");
}

void complete_bash(const struct command *commands, struct buf *out)
{
	buf_adds(out, "# bash completion of senv, made by `senv completion bash`\n"
		      "_senv()\n{\n"
		      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words='' files='' i\n"
		      "\tCOMPREPLY=()\n"
		      "\tif ((COMP_CWORD == 1)); then\n\t\twords='help --version");
	for (const struct command *c = commands; c->name; c++) buf_addf(out, " %s", c->name);
	buf_adds(out, "'\n\telse\n"
		      "\tfor ((i = 2; i < COMP_CWORD; i++)); do\n"
		      "\t\t[[ ${COMP_WORDS[1]}:${COMP_WORDS[i]} != run:-- ]] || {\n"
		      "\t\t\tmapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n\t\t\treturn\n\t\t}\n\tdone\n"
		      "\tcase ${COMP_WORDS[1]}:$prev in\n");
	for (const struct command *c = commands; c->name; c++) {
		_cleanup_parts_ struct parts p = {0};

		read_usage(c, &p, bash_case, out);
		if (p.first.len)
			buf_addf(out, "\t%s:%s) words='%s %s --help' ;;\n", c->name, c->name, buf_str(&p.first),
				 buf_str(&p.options));
		buf_addf(out, "\t%s:*)\n\t\twords='%s%s --help'%s\n\t\t;;\n", c->name, buf_str(&p.options),
			 p.command ? " --" : "", p.files ? "\n\t\t[[ $cur == -* ]] || words='' files=1" : "");
	}
	buf_adds(out, "\tesac\n\tfi\n"
		      "\t[[ ! $words ]] || mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
		      "\t[[ ! $files ]] || {\n\t\tcompopt -o filenames 2>/dev/null\n"
		      "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n\t}\n"
		      "}\ncomplete -F _senv senv\n");
}

static void zsh_case(const struct command *c, const struct word *option, const struct word *value, struct buf *out)
{
	buf_addf(out, "\t(%s:%.*s) ", c->name, (int)option->len, option->s);
	if (is_choice(value)) {
		buf_adds(out, "compadd -- ");
		add_choices(value, out);
	} else if (is_file(value)) {
		buf_adds(out, "_files");
	} else {
		buf_addf(out, "_message '%.*s'", (int)value->len, value->s);
	}
	buf_adds(out, " ;;\n");
}

void complete_zsh(const struct command *commands, struct buf *out)
{
	buf_adds(out, "#compdef senv\n# zsh completion of senv, made by `senv completion zsh`\n"
		      "_senv()\n{\n\tlocal -a commands\n\tcommands=(\n");
	for (const struct command *c = commands; c->name; c++) {
		buf_addf(out, "\t\t'%s:", c->name);
		for (const char *h = c->help; *h; h++)
			if (*h == '\'')
				buf_adds(out, "'\\''");
			else
				buf_addch(out, *h);
		buf_adds(out, "'\n");
	}
	buf_adds(out, "\t)\n\tif ((CURRENT == 2)); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n"
		      "\tlocal end=${words[(i)--]}\n"
		      "\tif [[ $words[2] == run ]] && ((CURRENT > end)); then\n"
		      "\t\tshift end words\n\t\t((CURRENT -= end))\n\t\t_normal\n\t\treturn\n\tfi\n"
		      "\tcase $words[2]:$words[CURRENT-1] in\n");
	for (const struct command *c = commands; c->name; c++) {
		_cleanup_parts_ struct parts p = {0};

		read_usage(c, &p, zsh_case, out);
		if (p.first.len)
			buf_addf(out, "\t(%s:%s) compadd -- %s %s --help ;;\n", c->name, c->name, buf_str(&p.first),
				 buf_str(&p.options));
		buf_addf(out,
			 "\t(%s:*)\n\t\tif [[ $PREFIX == -* ]]; then compadd -- %s%s --help\n\t\telse "
			 "%s\n\t\tfi\n\t\t;;\n",
			 c->name, buf_str(&p.options), p.command ? " --" : "", p.files ? "_files" : ":");
	}
	buf_adds(out, "\tesac\n}\n_senv \"$@\"\n");
}
