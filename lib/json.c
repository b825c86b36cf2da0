/* jansson with getters that say what is wrong. */
#include "lib/json.h"

#include <stdlib.h>
#include <string.h>

void json_decref_p(json_t **j)
{
	json_decref(*j);
	*j = NULL;
}

/* Depth is checked before jansson sees the bytes: its own limit is fixed at build time and deeper. */
static int too_deep(const char *s, size_t len, int most)
{
	int depth = 0, in_string = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				in_string = 0;
		} else if (s[i] == '"') {
			in_string = 1;
		} else if (s[i] == '{' || s[i] == '[') {
			if (++depth > most) return 1;
		} else if (s[i] == '}' || s[i] == ']') {
			depth--;
		}
	}
	return 0;
}

int json_parse(const char *name, const void *data, size_t len, json_t **json_r, struct err *e)
{
	json_error_t why;
	json_t *j;

	if (too_deep(data, len, 512)) return err_set(e, ERR_INPUT, "%s: nested more than 512 levels deep", name);
	j = json_loadb(data, len, JSON_REJECT_DUPLICATES, &why);
	if (!j) return err_set(e, ERR_INPUT, "%s:%d:%d: %s", name, why.line, why.column, why.text);
	*json_r = j;
	return 0;
}

char *json_text(const json_t *j)
{
	char *s = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	if (!s) die("cannot write JSON");
	return s;
}

json_t *json_any_text(const char *text)
{
	json_t *s = json_string(text);
	_cleanup_free_ char *clean = s ? NULL : xstrdup(text);

	for (char *p = clean; p && *p; p++)
		if ((unsigned char)*p > 126) *p = '?';
	if (!s) s = json_string(clean);
	if (!s) die("cannot make a JSON string");
	return s;
}

json_t *json_at(const json_t *j, const char *path)
{
	const json_t *at = j;

	for (const char *p = path; at;) {
		size_t n = strcspn(p, ".");
		_cleanup_free_ char *key = xstrndup(p, n);

		at = json_object_get(at, key);
		p += n;
		if (!*p) break;
		p++;
	}
	return (json_t *)(uintptr_t)at;
}

int json_need_string(const json_t *j, const char *path, const char **s_r, struct err *e)
{
	json_t *v = json_at(j, path);

	if (!v) return err_set(e, ERR_INPUT, "'%s' is missing", path);
	if (!json_is_string(v)) return err_set(e, ERR_INPUT, "'%s' is not a string", path);
	*s_r = json_string_value(v);
	return 0;
}

int json_need_int(const json_t *j, const char *path, int64_t *n_r, struct err *e)
{
	json_t *v = json_at(j, path);

	if (!v) return err_set(e, ERR_INPUT, "'%s' is missing", path);
	if (!json_is_integer(v)) return err_set(e, ERR_INPUT, "'%s' is not a whole number", path);
	*n_r = json_integer_value(v);
	return 0;
}

const char *json_string_or(const json_t *j, const char *path, const char *otherwise)
{
	json_t *v = json_at(j, path);

	return json_is_string(v) ? json_string_value(v) : otherwise;
}

int64_t json_int_or(const json_t *j, const char *path, int64_t otherwise)
{
	json_t *v = json_at(j, path);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

int json_bool_or(const json_t *j, const char *path, int otherwise)
{
	json_t *v = json_at(j, path);

	return json_is_boolean(v) ? json_is_true(v) : otherwise;
}
