#ifndef RUNNER_PUBLISH_DEPLOYKEY_H
#define RUNNER_PUBLISH_DEPLOYKEY_H

#include "lib/err.h"
#include "lib/secret.h"

/* deploykey_prepare - a private key as ssh reads it: checked to be one, line ends made "\n", one at the end.
 *  in   key  OpenSSH or PEM form, as it came out of a secret: ed25519, ECDSA, RSA
 *  err  ERR_INPUT not a private key; with a passphrase. The text holds nothing of the key */
int deploykey_prepare(const struct secret *key, struct secret *ready_r, struct err *e) MUST_USE;

/* deploykey_token - a token for https, without the white space behind it. err ERR_INPUT it is none */
int deploykey_token(const struct secret *token, struct secret *ready_r, struct err *e) MUST_USE;

#endif
