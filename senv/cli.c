/* What the commands share. */
#include "senv/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "lib/fetch.h"
#include "lib/fs.h"
#include "senv/keys.h"
#include "senv/yamledit.h"
#include "senv/yamlsealed.h"
#include "senv/yamltree.h"

const char *cli_value(char **argv)
{
	const char *word = argv[optind - 1];

	/* Attached to a short option: optarg points into its word. */
	if (optarg && word != optarg && word[0] == '-' && word[1] != '-' && *optarg == '=') return optarg + 1;
	return optarg;
}

int cli_input(const char *path, struct secret *value_r, struct err *e)
{
	if (!path || !strcmp(path, "-")) return secret_read_fd(STDIN_FILENO, "stdin", CLI_MAX_INPUT, value_r, e);
	return secret_read_file(path, CLI_MAX_INPUT, value_r, e);
}

static int key_of_url(const char *url, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e)
{
	_cleanup_fetch_ struct fetch_answer a = {.body = BUF_INIT(4096)};
	struct fetch f = {.method = "GET", .url = url, .timeout_ms = 30000};
	_cleanup_free_ char *print = NULL;

	if (fetch(&f, &a, e)) return -1;
	if (a.location)
		return err_set(e, ERR_REMOTE, "'%.300s' leads to '%.300s': give that one, if you trust it", url,
			       a.location);
	if (a.status != 200) return err_set(e, ERR_REMOTE, "'%.300s' answered with status %d", url, a.status);
	if (key_public_parse(buf_str(&a.body), pub_r, e)) return err_wrap(e, "'%.300s'", url);
	print = key_fingerprint(pub_r);
	fprintf(stderr, "key of %s: %s\n", url, print);
	return 0;
}

int cli_public_key(const char *from, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT, key = SECRET_INIT;
	struct err ignored;

	if (!strncmp(from, "senv-", 5)) return key_public_parse(from, pub_r, e);
	if (strstr(from, "://")) return key_of_url(from, pub_r, e);
	if (secret_read_file(from, 4096, &text, e)) return err_wrap(e, "cannot read the public key");
	if (!key_public_parse((char *)text.data, pub_r, &ignored)) return 0;
	if (key_is_locked((char *)text.data, text.len)) {
		if (cli_secret_key(from, &key, e)) return -1;
	} else if (key_parse((char *)text.data, text.len, &key, &ignored)) {
		return err_set(e, ERR_INPUT, "file '%s' holds no key", from);
	}
	key_public(&key, pub_r);
	return 0;
}

static int ask_on(int tty, const char *prompt, struct secret *answer_r, struct err *e)
{
	enum { MAX = 65536 };
	_cleanup_secret_ struct secret line = SECRET_INIT;
	struct termios was, quiet;
	size_t len = 0;
	ssize_t n = 0;

	if (tcgetattr(tty, &was)) return err_sys(e, "cannot read the terminal's state");
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ECHONL;
	if (fs_write_all(tty, prompt, strlen(prompt), "/dev/tty", e)) return -1;
	if (tcsetattr(tty, TCSAFLUSH, &quiet)) return err_sys(e, "cannot switch the terminal's echo off");
	secret_alloc(&line, MAX);
	while (len < MAX && (n = read(tty, line.data + len, 1)) == 1 && line.data[len] != '\n') len++;
	tcsetattr(tty, TCSAFLUSH, &was);
	if (n < 0) return err_sys(e, "cannot read from the terminal");
	secret_set(answer_r, line.data, len);
	return 0;
}

int cli_ask(const char *prompt, struct secret *answer_r, struct err *e)
{
	_cleanup_close_ int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

	if (tty < 0) return err_set(e, ERR_MISSING, "there is no terminal to ask on");
	return ask_on(tty, prompt, answer_r, e);
}

int cli_passphrase(int is_new, struct secret *passphrase_r, struct err *e)
{
	_cleanup_secret_ struct secret again = SECRET_INIT;
	const char *given = getenv("SENV_PASSPHRASE");

	if (given) {
		secret_set(passphrase_r, given, strlen(given));
		return 0;
	}
	if (cli_ask("passphrase: ", passphrase_r, e)) return err_wrap(e, "no $SENV_PASSPHRASE");
	if (!is_new) return 0;
	if (cli_ask("once more: ", &again, e)) return -1;
	if (again.len != passphrase_r->len || memcmp(again.data, passphrase_r->data, again.len))
		return err_set(e, ERR_INPUT, "the two passphrases differ");
	return 0;
}

int cli_secret_key(const char *file, struct secret *key_r, struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT, passphrase = SECRET_INIT;
	const char *given = getenv("SENV_KEY");

	if (file) {
		if (secret_read_file(file, 4096, &text, e)) return -1;
	} else {
		if (!given || !*given) return err_set(e, ERR_MISSING, "no secret key: give -k FILE or set SENV_KEY");
		secret_set(&text, given, strlen(given));
	}
	if (key_is_locked((char *)text.data, text.len) && cli_passphrase(0, &passphrase, e)) return -1;
	if (key_unlock((char *)text.data, text.len, &passphrase, key_r, e))
		return err_wrap(e, file ? "cannot use key file '%s'" : "cannot use $SENV_KEY", file);
	return 0;
}

const char *cli_scope(const char *option)
{
	static const char *const vars[] = {"SENV_SCOPE",      "CI_REPO",          "GITHUB_REPOSITORY",
					   "CI_PROJECT_PATH", "TRAVIS_REPO_SLUG", "DRONE_REPO"};

	if (option) return option;
	for (size_t i = 0; i < ARRAY_LEN(vars); i++) {
		const char *v = getenv(vars[i]);

		if (v && *v) return v;
	}
	return NULL;
}

int cli_preset(const char *ci, size_t var_len, size_t *text_bytes_r, struct err *e)
{
	/* Where each number comes from is in senv(1), "CHUNK SIZES". */
	static const struct {
		const char *name;
		size_t bytes;
		int name_counts; /* the limit is on NAME=VALUE */
	} presets[] = {
		{"travis", 501, 1},       {"github", 48000, 0}, {"gitlab", 10000, 0},
		{"woodpecker", 65535, 0}, {"drone", 65000, 0},  {"sourcehut", 16384, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(presets); i++) {
		if (strcmp(ci, presets[i].name)) continue;
		*text_bytes_r = presets[i].bytes;
		if (presets[i].name_counts)
			*text_bytes_r = presets[i].bytes > var_len + 1 ? presets[i].bytes - var_len - 1 : 0;
		return 0;
	}
	return err_set(e, ERR_INPUT,
		       "no limits known for '%s'; known are travis github gitlab woodpecker drone sourcehut", ci);
}

int cli_rewrite(const char *path, const struct buf *text, struct err *e)
{
	_cleanup_free_ char *real = realpath(path, NULL); /* a link stays one */
	struct stat st;

	if (!real || stat(real, &st)) return err_sys(e, "cannot find '%s'", path);
	return fs_write_file(real, buf_str(text), text->len, st.st_mode & 07777, e);
}

int cli_add(const char *path, const char *name, const struct vec *chunks, struct err *e)
{
	_cleanup_buf_ struct buf in = BUF_INIT(YAMLTREE_MAX_BYTES), out = BUF_INIT(YAMLTREE_MAX_BYTES);

	if (fs_read_file(path, &in, e)) return -1;
	if (yamledit_add(path, buf_str(&in), in.len, name, chunks, &out, e)) return -1;
	return cli_rewrite(path, &out, e);
}

/* A plain decimal number of chunks, from 1. */
static long count_of(const char *s)
{
	long n = 0;

	if (!*s || *s == '0') return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || n > SEAL_MAX_CHUNKS) return -1;
		n = n * 10 + *s - '0';
	}
	return n > SEAL_MAX_CHUNKS ? -1 : n;
}

static int chunks_of_env(const char *prefix, struct vec *chunks, struct err *e)
{
	_cleanup_free_ char *num_name = xasprintf("SENV_%s_num", prefix), *past = NULL;
	const char *num = getenv(num_name);
	long n;

	if (!num) return err_set(e, ERR_MISSING, "%s is not set in the environment", num_name);
	n = count_of(num);
	if (n < 0) return err_set(e, ERR_INPUT, "%s is no count of chunks", num_name);
	for (long i = 0; i < n; i++) {
		_cleanup_free_ char *name = xasprintf("SENV_%s_%ld", prefix, i);
		const char *chunk = getenv(name);

		if (!chunk) return err_set(e, ERR_MISSING, "%s is not set in the environment", name);
		vec_add(chunks, chunk);
	}
	past = xasprintf("SENV_%s_%ld", prefix, n);
	if (getenv(past)) return err_set(e, ERR_INPUT, "%s is set, though %s is %ld", past, num_name, n);
	return 0;
}

static int chunks_of_file(const char *file, const char *name, struct vec *chunks, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(YAMLTREE_MAX_BYTES);
	_cleanup_sealed_ struct yaml_sealed_list l = {0};
	const struct yaml_sealed *found = NULL;

	if (fs_read_file(file, &text, e) || yamlsealed_find(file, buf_str(&text), text.len, &l, e)) return -1;
	for (size_t i = 0; i < l.len; i++) {
		if (!l.items[i].name || strcmp(l.items[i].name, name) != 0) continue;
		if (found)
			return err_set(e, ERR_INPUT, "%s:%zu: '%s' is there twice, first in line %zu", file,
				       l.items[i].line, name, found->line);
		found = &l.items[i];
	}
	if (!found) return err_set(e, ERR_MISSING, "there is no sealed '%s' in '%s'", name, file);
	for (size_t i = 0; i < found->chunks.len; i++) vec_add(chunks, found->chunks.items[i]);
	return 0;
}

int cli_open(const struct secret *key, const struct cli_sealed *where, struct secret *value_r, struct err *e)
{
	_cleanup_vec_ struct vec chunks = VEC_INIT;

	if (seal_check_name(where->prefix, e)) return -1;
	if (where->from ? chunks_of_file(where->from, where->prefix, &chunks, e)
			: chunks_of_env(where->prefix, &chunks, e))
		return -1;
	return seal_open(key, cli_scope(where->scope), where->prefix, &chunks, NULL, value_r, e);
}
