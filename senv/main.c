/* The command table of `senv`. */
#include <stdio.h>
#include <string.h>

#include "lib/secret.h"
#include "senv/cmd.h"

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage; /* options and arguments */
	const char *help;
};

static const struct command commands[] = {
	{"keygen", senv_keygen, "[-o FILE] [--passphrase]", "make a key pair, print the public key"},
	{"pubkey", senv_pubkey, "[FILE]", "print the public key of a secret one"},
	{"encrypt", senv_encrypt,
	 "-k PUBKEY|FILE [-p PREFIX] [-c BYTES | --for travis|github|gitlab|woodpecker|drone|sourcehut] [--scope REPO] "
	 "[--add FILE] [INPUT|-]",
	 "seal a file, print it as variables or add it to a YAML file"},
	{"seal", senv_seal, "-k PUBKEY|FILE [--scope REPO] [--add FILE] NAME[=VALUE]...",
	 "seal single variables; a value not given is asked for, or read from stdin"},
	{"decrypt", senv_decrypt, "[-k FILE] [-p PREFIX] [--scope REPO] [-o FILE]",
	 "open a secret that stands in the environment"},
	{"run", senv_run, "[-k FILE] [-p PREFIX] [--scope REPO] [--agent] -- COMMAND [ARGUMENT]...",
	 "give a secret to one command, as /dev/fd/3 or in an ssh-agent of its own"},
	{"list", senv_list, "FILE", "list the sealed values of a YAML file"},
	{"verify", senv_verify, "[-k FILE] [--scope REPO] FILE", "check that every sealed value of a YAML file opens"},
	{"rotate", senv_rotate, "--old KEYFILE --new PUBKEY|FILE [--scope REPO] FILE",
	 "seal the values of a YAML file to a new key"},
	{"mask", senv_mask, "[-k FILE] [-p PREFIX]... [--scope REPO] [-v VARIABLE]...",
	 "copy stdin to stdout with secrets replaced by [secure]"},
	{"travis", senv_travis, "encrypt [-p PREFIX] [-c BYTES] INPUT OUTPUT | decrypt [-p PREFIX]",
	 "travis-senv's own format, which is not encrypted"},
	{NULL, NULL, NULL, NULL},
};

int senv_fail(const char *command, const char *text)
{
	fprintf(stderr, "senv %s: %s\n", command, text);
	return 1;
}

int senv_usage(const char *command)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, command)) fprintf(stderr, "usage: senv %s %s\n", c->name, c->usage);
	return 2;
}

static void list(FILE *out)
{
	fprintf(out, "usage: senv COMMAND [OPTION]... [ARGUMENT]...\n\n");
	for (const struct command *c = commands; c->name; c++) fprintf(out, "  %-10s %s\n", c->name, c->help);
	fprintf(out, "\n`senv COMMAND --help` tells a command's options; senv(1) tells all.\n");
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "help";

	secret_setup();
	if (!strcmp(name, "--version")) {
		printf("senv %s\n", SLIPWAY_VERSION);
		return 0;
	}
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name)) {
			if (argc == 3 && !strcmp(argv[2], "--help")) {
				printf("usage: senv %s %s\n\n%s\n", c->name, c->usage, c->help);
				return 0;
			}
			return c->run(argc - 1, argv + 1);
		}
	if (!strcmp(name, "help") || !strcmp(name, "--help") || !strcmp(name, "-h")) {
		list(stdout);
		return 0;
	}
	fprintf(stderr, "senv: no command '%s'; `senv help` lists them\n", name);
	return 2;
}
