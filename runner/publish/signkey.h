#ifndef RUNNER_PUBLISH_SIGNKEY_H
#define RUNNER_PUBLISH_SIGNKEY_H

#include "lib/err.h"
#include "lib/secret.h"
#include "runner/publish/minisign.h"

/* The key that a repository's publications are signed with: a file of mode 0600 in minisign's format, and beside it
 * <file>.pub, the public half. */

/* signkey_make - the key at `path`, made where there is none; two at once make one. */
int signkey_make(const char *path, struct minisign_public *pub_r, struct err *e) MUST_USE;
/* err ERR_MISSING; ERR_INPUT what is wrong with it */
int signkey_read(const char *path, struct secret *key_r, struct err *e) MUST_USE;
/* A public key: its file, or the line itself. */
int signkey_public(const char *text_or_file, struct minisign_public *pub_r, struct err *e) MUST_USE;

/* Rotation: signkey_next makes <file>.next, to be told to the boxes that verify; signkey_switch makes it the key, and
 * the old public half becomes <file>.pub.<key id>. err ERR_MISSING there is no next one */
int signkey_next(const char *path, struct minisign_public *pub_r, struct err *e) MUST_USE;
int signkey_switch(const char *path, struct minisign_public *pub_r, struct err *e) MUST_USE;

#endif
