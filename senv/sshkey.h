#ifndef SENV_SSHKEY_H
#define SENV_SSHKEY_H

#include "lib/err.h"
#include "lib/secret.h"

/* sshkey_make - a new ed25519 pair in OpenSSH's formats, in memory only.
 *  in   comment    printable ASCII, one line
 *  out  private_r  the text of a private key file without a passphrase
 *       public_r   "ssh-ed25519 … comment", without a newline; caller frees
 *  src  OpenSSH's PROTOCOL.key; RFC 8709 */
int sshkey_make(const char *comment, struct secret *private_r, char **public_r, struct err *e) MUST_USE;

#endif
