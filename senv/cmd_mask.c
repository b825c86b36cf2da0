/* senv mask: the masker as a filter. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/mask.h"

struct mask_opts {
	const char *key, *scope, *from;
	struct vec prefixes, vars;
};

static void mask_opts_release(struct mask_opts *o)
{
	vec_release(&o->prefixes);
	vec_release(&o->vars);
}

static int parse(int argc, char **argv, struct mask_opts *o)
{
	static const struct option options[] = {
		{"key", required_argument, NULL, 'k'},      {"prefix", required_argument, NULL, 'p'},
		{"scope", required_argument, NULL, 's'},    {"from", required_argument, NULL, 'F'},
		{"variable", required_argument, NULL, 'v'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "k:p:v:", options, NULL)) != -1) switch (c) {
		case 'k': o->key = cli_value(argv); break;
		case 'p': vec_add(&o->prefixes, cli_value(argv)); break;
		case 's': o->scope = optarg; break;
		case 'F': o->from = optarg; break;
		case 'v': vec_add(&o->vars, cli_value(argv)); break;
		default: return -1;
		}
	if (!o->prefixes.len && !o->vars.len) vec_add(&o->prefixes, "default");
	return optind == argc ? 0 : -1;
}

static int look_for(struct mask *m, const char *name, const void *value, size_t len, struct err *e)
{
	if (!mask_add(m, value, len)) return 0;
	return err_set(e, ERR_INPUT, "the value of '%s' is too short or too long to be masked", name);
}

static int load(struct mask *m, const struct mask_opts *o, struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;

	if (o->prefixes.len && cli_secret_key(o->key, &key, e)) return -1;
	for (size_t i = 0; i < o->prefixes.len; i++) {
		_cleanup_secret_ struct secret value = SECRET_INIT;
		struct cli_sealed where = {o->scope, o->from, o->prefixes.items[i]};

		if (cli_open(&key, &where, &value, e)) return -1;
		if (look_for(m, o->prefixes.items[i], value.data, value.len, e)) return -1;
	}
	for (size_t i = 0; i < o->vars.len; i++) {
		const char *value = getenv(o->vars.items[i]);

		if (!value) return err_set(e, ERR_MISSING, "%s is not set in the environment", o->vars.items[i]);
		if (look_for(m, o->vars.items[i], value, strlen(value), e)) return -1;
	}
	return 0;
}

/* What is certain goes out after each read, so that a log can be followed live. */
static int filter(struct mask *m, struct err *e)
{
	enum { ROOM = 1 << 16 };
	_cleanup_buf_ struct buf out = BUF_INIT(1u << 30);
	_cleanup_free_ char *in = xmalloc(ROOM);
	ssize_t n;

	while ((n = read(STDIN_FILENO, in, ROOM)) != 0) {
		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read stdin");
		mask_feed(m, in, (size_t)n, &out);
		if (fs_write_all(STDOUT_FILENO, buf_str(&out), out.len, "stdout", e)) return -1;
		buf_clear(&out);
	}
	mask_end(m, &out);
	return fs_write_all(STDOUT_FILENO, buf_str(&out), out.len, "stdout", e);
}

int senv_mask(int argc, char **argv)
{
	__attribute__((cleanup(mask_opts_release))) struct mask_opts o = {0};
	__attribute__((cleanup(mask_free))) struct mask *m = mask_new();
	struct err e;

	if (parse(argc, argv, &o)) return senv_usage(argv[0]);
	if (load(m, &o, &e) || filter(m, &e)) return senv_fail(argv[0], e.text);
	return 0;
}
