#ifndef RUNNER_PUBLISH_DEPLOYKEY_H
#define RUNNER_PUBLISH_DEPLOYKEY_H

#include "lib/err.h"
#include "lib/secret.h"

/* deploykey_prepare - a private key as libgit2 can use it: checked to be of a kind that works, line ends made "\n", one
 * at the end.
 *  in   key  OpenSSH or PEM form, as it came out of a secret
 *  err  ERR_INPUT not a private key; RSA (libssh2 signs with SHA-1 only, which servers refuse); with a passphrase. The
 *       text holds nothing of the key */
int deploykey_prepare(const struct secret *key, struct secret *ready_r, struct err *e) MUST_USE;

#endif
