/* senv list, verify, rotate: the sealed values of a YAML file. */
#include <stdio.h>
#include <string.h>

#include "lib/fs.h"
#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/yamlsealed.h"
#include "senv/yamltree.h"

struct file_opts {
	const char *key, *new_key, *scope, *file;
};

static int parse(int argc, char **argv, struct file_opts *o)
{
	static const struct option options[] = {{"key", required_argument, NULL, 'k'},
						{"old", required_argument, NULL, 'k'},
						{"new", required_argument, NULL, 'n'},
						{"scope", required_argument, NULL, 's'},
						{NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "k:", options, NULL)) != -1) switch (c) {
		case 'k': o->key = cli_value(argv); break;
		case 'n': o->new_key = optarg; break;
		case 's': o->scope = optarg; break;
		default: return -1;
		}
	if (argc - optind != 1) return -1;
	o->file = argv[optind];
	return 0;
}

static int load(const char *path, struct buf *text, struct yaml_sealed_list *l, struct err *e)
{
	if (fs_read_file(path, text, e)) return -1;
	return yamlsealed_find(path, buf_str(text), text->len, l, e);
}

static size_t text_bytes(const struct vec *chunks)
{
	size_t n = 0;

	for (size_t i = 0; i < chunks->len; i++) n += strlen(chunks->items[i]);
	return n;
}

int senv_list(int argc, char **argv)
{
	_cleanup_buf_ struct buf text = BUF_INIT(YAMLTREE_MAX_BYTES);
	_cleanup_sealed_ struct yaml_sealed_list l = {0};
	struct file_opts o = {0};
	struct err e;

	if (parse(argc, argv, &o) || o.key || o.new_key || o.scope) return senv_usage(argv[0]);
	if (load(o.file, &text, &l, &e)) return senv_fail(argv[0], e.text);
	for (size_t i = 0; i < l.len; i++)
		printf("%s:%zu: %s, %zu %s, %zu bytes of text\n", o.file, l.items[i].line,
		       l.items[i].name ? l.items[i].name : "(no name)", l.items[i].chunks.len,
		       l.items[i].chunks.len == 1 ? "chunk" : "chunks", text_bytes(&l.items[i].chunks));
	return 0;
}

int senv_verify(int argc, char **argv)
{
	_cleanup_buf_ struct buf text = BUF_INIT(YAMLTREE_MAX_BYTES);
	_cleanup_sealed_ struct yaml_sealed_list l = {0};
	_cleanup_secret_ struct secret key = SECRET_INIT;
	struct file_opts o = {0};
	struct err e;
	size_t bad = 0;

	if (parse(argc, argv, &o) || o.new_key) return senv_usage(argv[0]);
	if (load(o.file, &text, &l, &e) || cli_secret_key(o.key, &key, &e)) return senv_fail(argv[0], e.text);
	for (size_t i = 0; i < l.len; i++) {
		_cleanup_secret_ struct secret value = SECRET_INIT;
		_cleanup_free_ char *name = NULL;

		if (seal_open(&key, cli_scope(o.scope), l.items[i].name, &l.items[i].chunks, &name, &value, &e)) {
			printf("%s:%zu: %s\n", o.file, l.items[i].line, e.text);
			bad++;
		} else {
			printf("%s:%zu: '%s' opens, %zu bytes\n", o.file, l.items[i].line, name, value.len);
		}
	}
	if (!bad) return 0;
	fprintf(stderr, "senv verify: %zu of %zu values do not open\n", bad, l.len);
	return 1;
}

/* All values or none: the file is written once, when each was opened and sealed again where it stands. */
static int rotate(const struct file_opts *o, size_t *n_r, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(YAMLTREE_MAX_BYTES), out = BUF_INIT(YAMLTREE_MAX_BYTES);
	_cleanup_sealed_ struct yaml_sealed_list l = {0};
	_cleanup_secret_ struct secret key = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];

	if (load(o->file, &text, &l, e) || cli_secret_key(o->key, &key, e) || cli_public_key(o->new_key, pub, e))
		return -1;
	for (size_t i = 0; i < l.len; i++)
		if (seal_again(&key, pub, l.items[i].name, &l.items[i].chunks, NULL, &l.items[i].chunks, e))
			return err_wrap(e, "%s:%zu", o->file, l.items[i].line);
	*n_r = l.len;
	if (!l.len) return 0;
	if (yamlsealed_replace(o->file, buf_str(&text), text.len, &l, &out, e)) return -1;
	return cli_rewrite(o->file, &out, e);
}

int senv_rotate(int argc, char **argv)
{
	struct file_opts o = {0};
	struct err e;
	size_t n = 0;

	if (parse(argc, argv, &o) || !o.key || !o.new_key || o.scope) return senv_usage(argv[0]);
	if (rotate(&o, &n, &e)) return senv_fail(argv[0], e.text);
	printf("%zu sealed again\n", n);
	return 0;
}
