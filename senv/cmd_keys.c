/* senv keygen, senv pubkey. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/keys.h"
#include "senv/sealopts.h"
#include "senv/sshkey.h"

struct keygen_opts {
	const char *path, *ssh, *comment;
	int locked;
	struct seal_opts seal; /* for --ssh */
};

static int make_key(const char *path, int locked, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT, passphrase = SECRET_INIT, text = SECRET_INIT;

	if (key_generate(&key, pub_r, e)) return -1;
	if (!locked) return key_write(path, &key, e);
	/* Before the questions, and again at the end. */
	if (fs_exists(path)) return err_set(e, ERR_INPUT, "key file '%s' is already there", path);
	if (cli_passphrase(1, &passphrase, e) || key_lock(&key, &passphrase, &text, e)) return -1;
	return key_write_text(path, &text, e);
}

/* The private half goes from memory into its sealed form; what is printed first is the public half. */
static int make_ssh(struct keygen_opts *o, struct err *e)
{
	_cleanup_secret_ struct secret private = SECRET_INIT;
	_cleanup_free_ char *public = NULL;
	const char *repo = o->seal.scope ? o->seal.scope : "";
	_cleanup_free_ char *comment = xasprintf("%s%s%s", o->ssh, *repo ? " of " : "", repo);

	if (seal_check_name(o->ssh, e)) return -1;
	if (sshkey_make(o->comment ? o->comment : comment, &private, &public, e)) return -1;
	if (!o->seal.add) printf("%s\n", public);
	if (seal_opts_deliver(&o->seal, o->ssh, &private, e)) return -1;
	if (o->seal.add) printf("%s\n", public);
	return fflush(stdout) ? err_sys(e, "cannot write to stdout") : 0;
}

static int parse(int argc, char **argv, struct keygen_opts *o)
{
	static const struct option options[] = {SEAL_OPTS_LONG,
						{"output", required_argument, NULL, 'o'},
						{"passphrase", no_argument, NULL, 'P'},
						{"ssh", required_argument, NULL, 'S'},
						{"comment", required_argument, NULL, 'C'},
						{NULL, 0, NULL, 0}};
	int c, sealing = 0;

	while ((c = getopt_long(argc, argv, SEAL_OPTS_SHORT "o:C:", options, NULL)) != -1) switch (c) {
		case 'o': o->path = cli_value(argv); break;
		case 'P': o->locked = 1; break;
		case 'S': o->ssh = optarg; break;
		case 'C': o->comment = cli_value(argv); break;
		default:
			if (seal_opts_take(&o->seal, c, argv)) return -1;
			sealing = 1;
		}
	if (optind != argc || o->seal.prefix) return -1;
	if (o->ssh) return o->path || o->locked ? -1 : seal_opts_check(&o->seal);
	return sealing || o->comment ? -1 : 0;
}

int senv_keygen(int argc, char **argv)
{
	struct keygen_opts o = {0};
	unsigned char pub[SEAL_KEY_BYTES];
	_cleanup_free_ char *text = NULL;
	struct err e;

	if (parse(argc, argv, &o)) return senv_usage(argv[0]);
	if (o.ssh) return make_ssh(&o, &e) ? senv_fail(argv[0], e.text) : 0;
	if (make_key(o.path ? o.path : "senv.key", o.locked, pub, &e)) return senv_fail(argv[0], e.text);
	text = key_public_text(pub);
	printf("%s\n", text);
	return 0;
}

/* Without an argument the key is in $SENV_KEY. */
static int find_public(const char *from, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;

	if (from) return cli_public_key(from, pub_r, e);
	if (cli_secret_key(NULL, &key, e)) return -1;
	key_public(&key, pub_r);
	return 0;
}

int senv_pubkey(int argc, char **argv)
{
	static const struct option options[] = {{"fingerprint", no_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
	unsigned char pub[SEAL_KEY_BYTES];
	_cleanup_free_ char *text = NULL;
	int fingerprint = 0, c;
	struct err e;

	while ((c = getopt_long(argc, argv, "f", options, NULL)) != -1) {
		if (c != 'f') return senv_usage(argv[0]);
		fingerprint = 1;
	}
	if (argc - optind > 1) return senv_usage(argv[0]);
	if (find_public(argv[optind], pub, &e)) return senv_fail(argv[0], e.text);
	text = fingerprint ? key_fingerprint(pub) : key_public_text(pub);
	printf("%s\n", text);
	return 0;
}
