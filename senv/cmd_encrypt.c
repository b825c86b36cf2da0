/* senv encrypt, senv seal: from values to chunks, in the environment's form or in a YAML file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/forms.h"

struct encrypt_opts {
	const char *key, *prefix, *ci, *scope, *add;
	long payload; /* -c; 0: not given */
};

static int parse_count(const char *s, long *n_r)
{
	char *end;

	errno = 0;
	*n_r = strtol(s, &end, 10);
	return errno || end == s || *end || *n_r < 1 ? -1 : 0;
}

static int parse(int argc, char **argv, struct encrypt_opts *o)
{
	static const struct option options[] = {{"key", required_argument, NULL, 'k'},
						{"prefix", required_argument, NULL, 'p'},
						{"chunk-size", required_argument, NULL, 'c'},
						{"for", required_argument, NULL, 'f'},
						{"scope", required_argument, NULL, 's'},
						{"add", required_argument, NULL, 'a'},
						{NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "k:p:c:", options, NULL)) != -1) switch (c) {
		case 'k': o->key = cli_value(argv); break;
		case 'p': o->prefix = cli_value(argv); break;
		case 'c':
			if (parse_count(cli_value(argv), &o->payload)) return -1;
			break;
		case 'f': o->ci = optarg; break;
		case 's': o->scope = optarg; break;
		case 'a': o->add = optarg; break;
		default: return -1;
		}
	return o->key && !(o->payload && o->ci) ? 0 : -1;
}

static int chunk_it(const struct encrypt_opts *o, const char *name, const struct secret *value, struct vec *chunks_r,
		    struct err *e)
{
	unsigned char pub[SEAL_KEY_BYTES];
	struct seal_params p = {.pub = pub, .scope = o->scope, .name = name, .payload_bytes = (size_t)o->payload};
	size_t text = SEAL_DEFAULT_CHUNK;

	if (cli_public_key(o->key, pub, e)) return -1;
	if (p.payload_bytes) return seal_make(&p, value->data, value->len, chunks_r, e);
	if (o->ci && cli_preset(o->ci, strlen("SENV__999") + strlen(name), &text, e)) return -1;
	return seal_value(pub, o->scope, name, value->data, value->len, text, chunks_r, e);
}

static int deliver(const struct encrypt_opts *o, const char *name, const struct secret *value, struct err *e)
{
	_cleanup_vec_ struct vec chunks = VEC_INIT;

	if (chunk_it(o, name, value, &chunks, e)) return -1;
	if (value->len && value->len < FORMS_MIN_VALUE)
		fprintf(stderr, "warning: '%s' has under %d bytes, too few to be masked in logs\n", name,
			FORMS_MIN_VALUE);
	if (o->add) return cli_add(o->add, name, &chunks, e);
	for (size_t i = 0; i < chunks.len; i++) printf("SENV_%s_%zu=%s\n", name, i, chunks.items[i]);
	printf("SENV_%s_num=%zu\n", name, chunks.len);
	if (fflush(stdout)) return err_sys(e, "cannot write to stdout");
	return 0;
}

static int read_input(const char *path, struct secret *value_r, struct err *e)
{
	if (!path || !strcmp(path, "-")) return secret_read_fd(STDIN_FILENO, "stdin", CLI_MAX_INPUT, value_r, e);
	return secret_read_file(path, CLI_MAX_INPUT, value_r, e);
}

int senv_encrypt(int argc, char **argv)
{
	_cleanup_secret_ struct secret value = SECRET_INIT;
	struct encrypt_opts o = {.prefix = "default"};
	struct err e;

	if (parse(argc, argv, &o) || argc - optind > 1) return senv_usage(argv[0]);
	if (seal_check_name(o.prefix, &e) || read_input(argv[optind], &value, &e) || deliver(&o, o.prefix, &value, &e))
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
	if (secret_read_fd(STDIN_FILENO, "stdin", CLI_MAX_INPUT, &all, e)) return -1;
	secret_set(value_r, all.data, all.len && all.data[all.len - 1] == '\n' ? all.len - 1 : all.len);
	return 0;
}

int senv_seal(int argc, char **argv)
{
	struct encrypt_opts o = {0};
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
		if (failed || deliver(&o, name, &value, &e)) return senv_fail(argv[0], e.text);
	}
	return 0;
}
