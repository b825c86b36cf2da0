#ifndef RUNNER_SANDBOX_UNPACK_H
#define RUNNER_SANDBOX_UNPACK_H

#include "lib/err.h"

/* unpack_tar - unpack the tar archive (plain, gzip, bzip2, xz, zstd) that fd is open on into the working folder,
 * which should be the process's root folder: numeric owners, modes, times, user.* attributes and file capabilities;
 * no devices, nothing below /dev.
 *  err  ERR_INPUT not an archive, or one that names what cannot be; ERR_SYS disk full, … */
int unpack_tar(int fd, struct err *e) MUST_USE;

/* The internal command `runner unpack [--remove]`. */
int unpack_main(int argc, char **argv, struct err *e) MUST_USE;

#endif
