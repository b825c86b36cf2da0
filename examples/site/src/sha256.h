#ifndef SITE_SHA256_H
#define SITE_SHA256_H

#include <stddef.h>

/* sha256 - FIPS 180-4, of bytes that are all in memory. Needs memcpy and memset only. */
void sha256(const unsigned char *data, size_t len, unsigned char hash_r[32]);

#endif
