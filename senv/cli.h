#ifndef SENV_CLI_H
#define SENV_CLI_H

#include <getopt.h>

#include "lib/buf.h"
#include "lib/err.h"
#include "lib/secret.h"
#include "lib/vec.h"
#include "senv/seal.h"

/* What the commands of `senv` share: option spellings, where keys and values come from, where sealed values go. */

enum { CLI_MAX_INPUT = SEAL_MAX_VALUE };

/* Value of the option that getopt_long just gave: `-p x`, `-px`, `-p=x`, `--prefix x`, `--prefix=x` are all x. */
const char *cli_value(char **argv);

/* cli_input - a file, or stdin where path is NULL or "-". err ERR_INPUT over CLI_MAX_INPUT */
int cli_input(const char *path, struct secret *value_r, struct err *e) MUST_USE;

/* cli_public_key - from its text, from a file that holds a public or a secret key, or from a runner's URL; that one's
 * fingerprint is shown on stderr. */
int cli_public_key(const char *text_file_or_url, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e) MUST_USE;

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

/* cli_rewrite - a file's new text: atomic, with the file's own mode; a link stays one. */
int cli_rewrite(const char *path, const struct buf *text, struct err *e) MUST_USE;

/* cli_add - yamledit_add on a file. */
int cli_add(const char *path, const char *name, const struct vec *chunks, struct err *e) MUST_USE;

/* Where a sealed value to open stands, and what it must be. */
struct cli_sealed {
	const char *scope;  /* --scope, or NULL: what the CI says */
	const char *from;   /* --from: a YAML file; NULL: the environment */
	const char *prefix; /* its name */
};

/* cli_open - the value of SENV_<prefix>_num and SENV_<prefix>_<i>, or of the file.
 *  err  ERR_MISSING not there; ERR_INPUT there twice, a wrong count; as seal_open */
int cli_open(const struct secret *key, const struct cli_sealed *where, struct secret *value_r, struct err *e) MUST_USE;

#endif
