#ifndef RUNNER_PUBLISH_HOSTKEY_H
#define RUNNER_PUBLISH_HOSTKEY_H

#include "lib/err.h"

/* Pinned host keys: a text file, a line "host:port SHA256:<base64 without padding>" each (the fingerprint as
 * `ssh-keygen -l` prints it); lines may be added by hand, # starts a comment, several lines for one host are all
 * good. */

/* hostkey_fingerprint - "SHA256:…" of 32 bytes; caller frees. */
char *hostkey_fingerprint(const unsigned char hash[32]);

/* hostkey_check - is this the key that host had before?
 *  in   file  made when it is not there; changed under a lock beside it
 *  out  0: pinned before; 1: never seen, is pinned now
 *  err  ERR_DENIED it is another one: both fingerprints and what to do are in the text; ERR_INPUT a line that cannot be
 *       read; ERR_SYS */
int hostkey_check(const char *file, const char *host, int port, const char *fingerprint, struct err *e) MUST_USE;

#endif
