#ifndef LIB_FS_H
#define LIB_FS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buf.h"
#include "lib/err.h"

/* Files and folders, done so that a crash or a full disk leaves the old state or the new one. */

void close_p(int *fd); /* closes *fd if >= 0 and leaves -1 */
#define _cleanup_close_ __attribute__((cleanup(close_p)))

/* fs_read_fd - add all that fd has to b, up to b's ceiling.
 *  err ERR_INPUT larger than the ceiling; ERR_SYS */
int fs_read_fd(int fd, const char *name, struct buf *b, struct err *e) MUST_USE;
int fs_read_file(const char *path, struct buf *b, struct err *e) MUST_USE; /* err also ERR_MISSING */

/* fs_write_all - all len bytes or an error; retries EINTR and short writes. */
int fs_write_all(int fd, const void *data, size_t len, const char *name, struct err *e) MUST_USE;

/* fs_write_file - replace path by data atomically: a temporary beside it with `mode` from the first byte,
 * written, fsynced, renamed, folder fsynced. */
int fs_write_file(const char *path, const void *data, size_t len, mode_t mode, struct err *e) MUST_USE;

/* fs_copy_fd - copy from one descriptor to another until EOF. out: bytes copied (may be NULL). */
int fs_copy_fd(int from, int to, const char *name, uint64_t *bytes_r, struct err *e) MUST_USE;

int fs_mkdirs(const char *path, mode_t mode, struct err *e) MUST_USE; /* like mkdir -p */

/* fs_remove_tree - remove path and all below it; never follows a symbolic link, stays on one file system.
 * A path that is not there is no error. */
int fs_remove_tree(const char *path, struct err *e) MUST_USE;

/* fs_lock - open (creating, 0600) and flock path exclusively.
 *  in   wait   0: ERR_BUSY when somebody holds it; 1: wait for it
 *  out  fd_r   the lock is held while any copy of this descriptor is open; CLOEXEC */
int fs_lock(const char *path, int wait, int *fd_r, struct err *e) MUST_USE;

/* fs_temp_dir - make a new folder (0700) named <prefix>XXXXXX in dir. out: its path, caller frees. */
int fs_temp_dir(const char *dir, const char *prefix, char **path_r, struct err *e) MUST_USE;

int fs_exists(const char *path);

/* Milliseconds. The wall clock is for people and rows; the monotonic one for time limits. */
int64_t clock_unix_ms(void);
int64_t clock_mono_ms(void);

#endif
