#ifndef LIB_NUM_H
#define LIB_NUM_H

#include <stdint.h>

/* num_parse - a whole number from outside: decimal digits alone (no sign, no white space, nothing behind), from least
 * to most; least is not negative. 0, or -1 and *n_r untouched. */
int num_parse(const char *s, int64_t least, int64_t most, int64_t *n_r) __attribute__((warn_unused_result));
int num_parse_int(const char *s, int least, int most, int *n_r) __attribute__((warn_unused_result));

#endif
