#ifndef SITE_XEN_STORE_H
#define SITE_XEN_STORE_H

#include <stddef.h>
#include <stdint.h>

/* Xenstore: where the toolstack and a device's backend leave word for this domain. One question at a time.
 *  src  xen/include/public/io/xs_wire.h; Xen's docs/misc/xenstore.txt */

void store_init(void); /* after hyper_share */
uint32_t store_channel(void);

/* Returns 0 where there is no such key; the text ends in NUL and is cut where it is too long. */
int store_read(const char *path, char *text_r, size_t room);
int store_write(const char *path, const char *text);
uint64_t store_read_number(const char *path); /* 0: none */
int store_write_number(const char *path, uint64_t n);

/* Does somebody (`xl shutdown`) want this domain to end? */
int store_shutdown_asked(void);

#endif
