/* senv keygen, senv pubkey. */
#include <stdio.h>
#include <unistd.h>

#include "lib/fs.h"
#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/keys.h"

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

int senv_keygen(int argc, char **argv)
{
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'}, {"passphrase", no_argument, NULL, 'P'}, {NULL, 0, NULL, 0}};
	const char *path = "senv.key";
	unsigned char pub[SEAL_KEY_BYTES];
	_cleanup_free_ char *text = NULL;
	int locked = 0, c;
	struct err e;

	while ((c = getopt_long(argc, argv, "o:", options, NULL)) != -1) switch (c) {
		case 'o': path = cli_value(argv); break;
		case 'P': locked = 1; break;
		default: return senv_usage(argv[0]);
		}
	if (optind != argc) return senv_usage(argv[0]);
	if (make_key(path, locked, pub, &e)) return senv_fail(argv[0], e.text);
	text = key_public_text(pub);
	printf("%s\n", text);
	return 0;
}

int senv_pubkey(int argc, char **argv)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];
	_cleanup_free_ char *text = NULL;
	struct err e;

	if (argc > 2 || (argc == 2 && argv[1][0] == '-')) return senv_usage(argv[0]);
	if (cli_secret_key(argv[1], &key, &e)) return senv_fail(argv[0], e.text);
	key_public(&key, pub);
	text = key_public_text(pub);
	printf("%s\n", text);
	return 0;
}
