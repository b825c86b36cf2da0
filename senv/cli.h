#ifndef SENV_CLI_H
#define SENV_CLI_H

#include <getopt.h>

#include "lib/err.h"
#include "lib/secret.h"
#include "lib/vec.h"
#include "senv/seal.h"

/* What the commands of `senv` share: option spellings, where keys and values come from, where sealed values go. */

enum { CLI_MAX_INPUT = SEAL_MAX_VALUE };

/* Value of the option that getopt_long just gave: `-p x`, `-px`, `-p=x`, `--prefix x`, `--prefix=x` are all x. */
const char *cli_value(char **argv);

/* cli_public_key - from its text, or a file that holds a public or a secret key. */
int cli_public_key(const char *text_or_file, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e) MUST_USE;

/* cli_secret_key - from a file, or, file NULL, from $SENV_KEY. A protected one asks for its passphrase. */
int cli_secret_key(const char *file, struct secret *key_r, struct err *e) MUST_USE;

/* cli_ask - a line from the terminal without echo. err ERR_MISSING there is no terminal */
int cli_ask(const char *prompt, struct secret *answer_r, struct err *e) MUST_USE;

/* The passphrase: $SENV_PASSPHRASE, or asked for (twice for a new one). */
int cli_passphrase(int is_new, struct secret *passphrase_r, struct err *e) MUST_USE;

/* Repository this job is for: --scope, else what the CI says; NULL: not known. */
const char *cli_scope(const char *option);

/* cli_preset - most bytes of one chunk's text where it becomes a variable of that CI; var_len is the length of the
 * longest variable's name. err ERR_INPUT unknown CI */
int cli_preset(const char *ci, size_t var_len, size_t *text_bytes_r, struct err *e) MUST_USE;

/* cli_add - yamledit_add on a file: atomic, with the file's own mode. */
int cli_add(const char *path, const char *name, const struct vec *chunks, struct err *e) MUST_USE;

/* cli_open_env - the secret that SENV_<prefix>_num and SENV_<prefix>_<i> hold. */
int cli_open_env(const struct secret *key, const char *scope, const char *prefix, struct secret *value_r,
		 struct err *e) MUST_USE;

#endif
