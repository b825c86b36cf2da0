#ifndef SENV_TRAVIS_H
#define SENV_TRAVIS_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/secret.h"

/* travis-senv 1.0.0's format, byte for byte: base64 in pieces named XSECRET_<prefix>_<i>. Nothing is encrypted: the
 * lines are meant for `travis encrypt -s`.
 * src: avsm/travis-senv main.ml, tag v1.0.0 */

enum { TRAVIS_CHUNK = 80, TRAVIS_MAX_CHUNKS = 1 << 16 };

/* travis_lines - the lines for a value; text_r in guarded memory, for they hold the value in the clear.
 *  err ERR_INPUT chunk size under 1, more than TRAVIS_MAX_CHUNKS lines */
int travis_lines(const char *prefix, const struct secret *value, long chunk, struct secret *text_r,
		 struct err *e) MUST_USE;

/* The value of a variable, NULL where it is not set. */
typedef const char *travis_get_fn(const char *name, void *arg);

/* travis_value - the value that the variables of this prefix hold.
 *  err ERR_MISSING "XSECRET_p_1 not set in environment"; ERR_INPUT a bad count, no or cut base64 (which travis-senv
 *      cut off silently) */
int travis_value(const char *prefix, travis_get_fn *get, void *arg, struct secret *value_r, struct err *e) MUST_USE;

#endif
