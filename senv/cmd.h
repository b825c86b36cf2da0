#ifndef SENV_CMD_H
#define SENV_CMD_H

/* The commands of `senv`, one function each, in senv/cmd_*.c. A command parses its own options, prints results on
 * stdout and "senv NAME: why" on stderr, and returns the exit status: 0 done, 1 failed, 2 wrong usage. argv[0] is the
 * command's name. */

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage; /* options and arguments; shell completion is made from it too, see senv/complete.c */
	const char *help;
};
extern const struct command senv_commands[]; /* the last one has no name */

int senv_fail(const char *command, const char *text); /* prints "senv COMMAND: TEXT", returns 1 */
int senv_usage(const char *command);                  /* prints that command's usage line, returns 2 */

int senv_keygen(int argc, char **argv);
int senv_pubkey(int argc, char **argv);
int senv_encrypt(int argc, char **argv);
int senv_seal(int argc, char **argv);
int senv_decrypt(int argc, char **argv);
int senv_run(int argc, char **argv);
int senv_list(int argc, char **argv);
int senv_verify(int argc, char **argv);
int senv_rotate(int argc, char **argv);
int senv_mask(int argc, char **argv);
int senv_import(int argc, char **argv);
int senv_push(int argc, char **argv);
int senv_travis(int argc, char **argv);
int senv_completion(int argc, char **argv);

#endif
