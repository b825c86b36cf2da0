#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "lib/buf.h"
#include "lib/err.h"

/* jansson with a clean-up macro and getters that say what is wrong with a message. */

void json_decref_p(json_t **j);
#define _cleanup_json_ __attribute__((cleanup(json_decref_p)))

/* json_parse - one JSON document: no duplicate keys, nothing after it, at most 512 levels (jansson's default is
 * 2048 levels; lowered for hostile input).
 *  in   name  what it is, for messages: "NAME:LINE:COL: why"
 *  out  json_r new reference;  err ERR_INPUT */
int json_parse(const char *name, const void *data, size_t len, json_t **json_r, struct err *e) MUST_USE;

/* json_text - compact, keys sorted, no NUL; caller frees. */
char *json_text(const json_t *j);

/* A string of any bytes: JSON is UTF-8, so in text that is not, the odd bytes become '?'. New reference. */
json_t *json_any_text(const char *text);

/* A member by dotted path ("repository.full_name"), NULL if it is not there. Borrowed. */
json_t *json_at(const json_t *j, const char *path);

/* Member of the right type, or ERR_INPUT "'<path>' is missing" / "'<path>' is not a string". Borrowed. */
int json_need_string(const json_t *j, const char *path, const char **s_r, struct err *e) MUST_USE;
int json_need_int(const json_t *j, const char *path, int64_t *n_r, struct err *e) MUST_USE;

/* Member or the default where it is absent, null or of another type. Borrowed. */
const char *json_string_or(const json_t *j, const char *path, const char *otherwise);
int64_t json_int_or(const json_t *j, const char *path, int64_t otherwise);
int json_bool_or(const json_t *j, const char *path, int otherwise);

#endif
