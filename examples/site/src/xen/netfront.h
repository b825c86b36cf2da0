#ifndef SITE_XEN_NETFRONT_H
#define SITE_XEN_NETFRONT_H

#include <stddef.h>
#include <stdint.h>

/* The domain's first network card. Frames are copied into and out of pages that the backend may use; nothing else of
 * this domain's memory is shared with it. Not meant: more than one card, a backend that restarts, a domain that is
 * saved. src  xen/include/public/io/netif.h, io/ring.h, io/xenbus.h */

/* Returns 0 where there is no card. After store_init. */
int netfront_init(uint8_t mac_r[6]);
uint32_t netfront_channel(void);

int netfront_send(const void *head, size_t head_len, const void *data, size_t data_len); /* as net_link.send */
/* Hands over what came. Returns 1 where there may be more. */
int netfront_receive(void (*take)(const uint8_t *frame, size_t len, int checked));
void netfront_flush(void); /* tells the backend of what was sent */

#endif
