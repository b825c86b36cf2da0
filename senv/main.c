/* The command table of `senv`. */
#include <stdio.h>
#include <string.h>

#include "lib/secret.h"
#include "senv/cmd.h"

#define SEALING "-k PUBKEY|FILE|URL "
#define CHUNKS "[-c BYTES | --for travis|github|gitlab|woodpecker|drone|sourcehut] [--scope REPO] [--add FILE]"

const struct command senv_commands[] = {
	{"keygen", senv_keygen, "[-o FILE] [--passphrase] | --ssh NAME [-C COMMENT] " SEALING CHUNKS,
	 "make a key pair, or an ssh key that is sealed at once; print the public half"},
	{"pubkey", senv_pubkey, "[--fingerprint] [PUBKEY|FILE|URL]", "print the public key of a secret one"},
	{"encrypt", senv_encrypt, SEALING "[-p PREFIX] " CHUNKS " [INPUT|-]",
	 "seal a file, print it as variables or add it to a YAML file"},
	{"seal", senv_seal, SEALING CHUNKS " NAME[=VALUE]...",
	 "seal single variables; a value not given is asked for, or read from stdin"},
	{"decrypt", senv_decrypt, "[-k FILE] [-p PREFIX] [--from FILE] [--scope REPO] [-o FILE]",
	 "open a secret that stands in the environment or in a YAML file"},
	{"run", senv_run, "[-k FILE] [-p PREFIX] [--from FILE] [--scope REPO] [--agent] -- COMMAND [ARGUMENT]...",
	 "give a secret to one command, as /dev/fd/3 or in an ssh-agent of its own"},
	{"list", senv_list, "FILE", "list the sealed values of a YAML file"},
	{"verify", senv_verify, "[-k FILE] [--scope REPO] FILE", "check that every sealed value of a YAML file opens"},
	{"rotate", senv_rotate, "--old FILE --new PUBKEY|FILE|URL FILE", "seal the values of a YAML file to a new key"},
	{"import", senv_import, SEALING "[-p PREFIX] " CHUNKS " [INPUT|-]",
	 "seal what stands in travis-senv's variables, or in a file of them"},
	{"push", senv_push, "[--api URL] [--protected] github|gitlab REPO NAME [INPUT|-]",
	 "set a secret of a GitHub repository or a GitLab project"},
	{"mask", senv_mask, "[-k FILE] [-p PREFIX]... [--from FILE] [--scope REPO] [-v VARIABLE]...",
	 "copy stdin to stdout with secrets replaced by [secure]"},
	{"travis", senv_travis, "encrypt|decrypt [-p PREFIX] [-c BYTES] [INPUT OUTPUT]",
	 "travis-senv's own format, which is not encrypted"},
	{"completion", senv_completion, "bash|zsh", "print a script that completes senv's command line"},
	{NULL, NULL, NULL, NULL},
};

int senv_fail(const char *command, const char *text)
{
	fprintf(stderr, "senv %s: %s\n", command, text);
	return 1;
}

int senv_usage(const char *command)
{
	for (const struct command *c = senv_commands; c->name; c++)
		if (!strcmp(c->name, command)) fprintf(stderr, "usage: senv %s %s\n", c->name, c->usage);
	return 2;
}

static void list(FILE *out)
{
	fprintf(out, "usage: senv COMMAND [OPTION]... [ARGUMENT]...\n\n");
	for (const struct command *c = senv_commands; c->name; c++) fprintf(out, "  %-10s %s\n", c->name, c->help);
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
	for (const struct command *c = senv_commands; c->name; c++)
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
