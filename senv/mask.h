#ifndef SENV_MASK_H
#define SENV_MASK_H

#include <stddef.h>

#include "lib/buf.h"

/* The masker: a filter over a byte stream that replaces secrets by "[secure]", in the encodings they leak in,
 * across any split of the input into writes. It holds back at most the longest pattern. */
struct mask;

struct mask *mask_new(void);
void mask_free(struct mask **m);

/* mask_add - look for this value: raw, each line of 8 or more bytes of a many-line value, and their base64 (three
 * alignments, both alphabets), hex (both cases), percent-encoded, JSON- and shell-escaped forms. Values under
 * 4 bytes are not looked for: returns 1. Before the first mask_feed only. */
int mask_add(struct mask *m, const void *value, size_t len);

/* mask_feed - take more input; what is certain is appended to out. mask_end - the rest. */
void mask_feed(struct mask *m, const void *data, size_t len, struct buf *out);
void mask_end(struct mask *m, struct buf *out);

#endif
