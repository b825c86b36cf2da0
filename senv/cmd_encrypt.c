/* senv encrypt, senv seal, senv import: values from files, from a person, from travis-senv. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/sealopts.h"
#include "senv/travis.h"

static int parse(int argc, char **argv, struct seal_opts *o)
{
	static const struct option options[] = {SEAL_OPTS_LONG, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, SEAL_OPTS_SHORT, options, NULL)) != -1)
		if (seal_opts_take(o, c, argv)) return -1;
	return seal_opts_check(o);
}

int senv_encrypt(int argc, char **argv)
{
	_cleanup_secret_ struct secret value = SECRET_INIT;
	struct seal_opts o = {.prefix = "default"};
	struct err e;

	if (parse(argc, argv, &o) || argc - optind > 1) return senv_usage(argv[0]);
	if (seal_check_name(o.prefix, &e) || cli_input(argv[optind], &value, &e) ||
	    seal_opts_deliver(&o, o.prefix, &value, &e))
		return senv_fail(argv[0], e.text);
	return 0;
}

/* A value not given: asked for on a terminal, else stdin, without the newline at its end. */
static int ask_value(const char *name, int only, struct secret *value_r, struct err *e)
{
	_cleanup_free_ char *prompt = xasprintf("%s: ", name);
	_cleanup_secret_ struct secret all = SECRET_INIT;

	if (isatty(STDIN_FILENO)) return cli_ask(prompt, value_r, e);
	if (!only) return err_set(e, ERR_INPUT, "stdin can give one value only; give the others as NAME=VALUE");
	if (cli_input(NULL, &all, e)) return -1;
	secret_set(value_r, all.data, all.len && all.data[all.len - 1] == '\n' ? all.len - 1 : all.len);
	return 0;
}

int senv_seal(int argc, char **argv)
{
	struct seal_opts o = {0};
	int asked = 0;

	if (parse(argc, argv, &o) || o.prefix || optind == argc) return senv_usage(argv[0]);
	for (int i = optind; i < argc; i++) {
		_cleanup_secret_ struct secret value = SECRET_INIT;
		const char *eq = strchr(argv[i], '=');
		_cleanup_free_ char *name = xstrndup(argv[i], eq ? (size_t)(eq - argv[i]) : strlen(argv[i]));
		struct err e;
		int failed = seal_check_name(name, &e);

		if (!failed && eq) secret_set(&value, eq + 1, strlen(eq + 1));
		if (!failed && !eq) failed = ask_value(name, !asked++, &value, &e);
		if (failed || seal_opts_deliver(&o, name, &value, &e)) return senv_fail(argv[0], e.text);
	}
	return 0;
}

/* Where travis-senv's variables stand: in the file that it wrote, whose lines end in NULs here; without one (no data),
 * in the environment. */
static const char *look_up(const char *name, void *arg)
{
	const struct secret *lines = arg;
	size_t n = strlen(name);

	if (!lines->data) return getenv(name);
	for (size_t at = 0; at < lines->len;) {
		const char *line = (const char *)lines->data + at;

		if (!strncmp(line, name, n) && line[n] == '=') return line + n + 1;
		at += strlen(line) + 1;
	}
	return NULL;
}

/* A line "XSECRET_<prefix>_num=…" gives a prefix. */
static void note_prefix(const char *line, struct vec *prefixes)
{
	static const char head[] = "XSECRET_", tail[] = "_num";
	size_t n = strcspn(line, "="), around = strlen(head) + strlen(tail);
	_cleanup_free_ char *prefix = NULL;

	if (line[n] != '=' || n <= around || strncmp(line, head, strlen(head)) != 0) return;
	if (strncmp(line + n - strlen(tail), tail, strlen(tail)) != 0) return;
	prefix = xstrndup(line + strlen(head), n - around);
	if (!vec_has(prefixes, prefix)) vec_add(prefixes, prefix);
}

static void all_prefixes(const struct secret *lines, struct vec *prefixes)
{
	if (!lines->data)
		for (char **v = environ; *v; v++) note_prefix(*v, prefixes);
	for (size_t at = 0; at < lines->len; at += strlen((const char *)lines->data + at) + 1)
		note_prefix((const char *)lines->data + at, prefixes);
}

static int read_lines(const char *path, struct secret *lines, struct err *e)
{
	if (cli_input(path, lines, e)) return -1;
	for (size_t i = 0; i < lines->len; i++)
		if (strchr("\r\n", lines->data[i])) lines->data[i] = '\0';
	return 0;
}

static int import(struct seal_opts *o, const char *path, struct err *e)
{
	_cleanup_secret_ struct secret lines = SECRET_INIT;
	_cleanup_vec_ struct vec prefixes = VEC_INIT;

	if (path && read_lines(path, &lines, e)) return -1;
	if (o->prefix)
		vec_add(&prefixes, o->prefix);
	else
		all_prefixes(&lines, &prefixes);
	if (!prefixes.len)
		return err_set(e, ERR_MISSING, "there is no XSECRET_*_num in the %s", path ? "input" : "environment");
	for (size_t i = 0; i < prefixes.len; i++) {
		_cleanup_secret_ struct secret value = SECRET_INIT;
		const char *name = prefixes.items[i];

		if (seal_check_name(name, e) || travis_value(name, look_up, &lines, &value, e) ||
		    seal_opts_deliver(o, name, &value, e))
			return -1;
		fprintf(stderr, "%s: %zu bytes sealed\n", name, value.len);
	}
	return 0;
}

int senv_import(int argc, char **argv)
{
	struct seal_opts o = {0};
	struct err e;

	if (parse(argc, argv, &o) || argc - optind > 1) return senv_usage(argv[0]);
	return import(&o, argv[optind], &e) ? senv_fail(argv[0], e.text) : 0;
}
