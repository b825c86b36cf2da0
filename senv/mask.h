#ifndef SENV_MASK_H
#define SENV_MASK_H

#include <stddef.h>
#include <stdint.h>

#include "lib/buf.h"

/* The masker: a filter over a byte stream that replaces secrets by "[secure]", in the encodings they leak in,
 * across any split of the input into writes. It holds back at most the longest pattern.
 *
 * Every byte that belongs to an occurrence of any pattern is masked: one "[secure]" for each occurrence, and one for
 * all that overlap (so the longest wins, and of two secrets that overlap neither leaks its tail). Time is linear in
 * the input whatever it holds. Memory is bounded by MASK_MAX_PATTERN_BYTES. */
struct mask;

enum { MASK_MAX_PATTERN_BYTES = 16 << 20 };

struct mask *mask_new(void);
void mask_free(struct mask **m);

/* mask_add - look for this value: raw, each line of 8 or more bytes of a many-line value, each string of a JSON value,
 * and their base64 (three alignments, both alphabets), hex (both cases), percent-encoded, JSON- and shell-escaped
 * forms (senv/forms.h). Before the first mask_feed only.
 * Returns 1 when the value is not, or not in all its forms, looked for: it has under 4 bytes, or the patterns would
 * pass MASK_MAX_PATTERN_BYTES (values in a process's environment, at most 128 KiB each, never do alone). */
int mask_add(struct mask *m, const void *value, size_t len);

/* mask_add_for_files - the same, for mask_find in files: what a file may hold by no fault is not looked for
 * (forms_in_file). Returns 1 as mask_add, and for a value under 8 bytes. */
int mask_add_for_files(struct mask *m, const void *value, size_t len);

/* mask_find - look only: 1 when a form ends in this piece of a stream; offset_r is where it begins in the stream. The
 * piece is not read further then. Any number of streams, each with a cursor that starts as {0}. */
struct mask_cursor {
	uint32_t state;
	uint64_t pos;
};
int mask_find(struct mask *m, struct mask_cursor *c, const void *data, size_t len, uint64_t *offset_r);

/* mask_feed - take more input; what is certain is appended to out. mask_end - the rest; the stream may start anew. */
void mask_feed(struct mask *m, const void *data, size_t len, struct buf *out);
void mask_end(struct mask *m, struct buf *out);

#endif
