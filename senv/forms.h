#ifndef SENV_FORMS_H
#define SENV_FORMS_H

#include <stddef.h>

/* The forms in which a secret leaks into a log: what the masker looks for. */

enum {
	FORMS_MIN_VALUE = 4, /* shorter values, and shorter forms, would mask ordinary words */
	FORMS_MIN_LINE = 8,  /* of a many-line value */
	FORMS_MIN_FILE = 8,  /* in a file: shorter ones are in any large binary by chance */
	FORMS_MIN_FILE_PART =
		16, /* in a file: a line of a many-line value, a string of a JSON one, of wrapped base64 */
};

/* Called with each form; the bytes are gone when it returns. */
typedef void forms_fn(const unsigned char *form, size_t len, void *arg);

/* forms_of - the value, the value without white space around it, each line of a many-line value, each string value
 * of a JSON one, and of each of those: raw; base64 at three alignments in both alphabets, also wrapped as base64(1),
 * openssl and xxd -p wrap; hex in both cases; percent-encoded; JSON- and shell-escaped. The same form may come twice.
 * Returns 1 and calls nothing when the value is under FORMS_MIN_VALUE bytes. */
int forms_of(const void *value, size_t len, forms_fn *fn, void *arg);

/* forms_in_file - the same for a file, which may hold some of them by no fault: without parts of a value that are no
 * secret (a key's armour and the line that all keys of its kind begin with; addresses in a JSON value), and without
 * what is too short. Returns 1 for a value under FORMS_MIN_FILE bytes. */
int forms_in_file(const void *value, size_t len, forms_fn *fn, void *arg);

#endif
