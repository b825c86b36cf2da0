/* The JSON Schema of `.ci.yml`, for editors: made from the table that the reader reads by, so that the two cannot
 * differ.
 *  src  json-schema.org, draft 7 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runner/plan/reader.h"

#define TEXT "{\"type\": [\"string\", \"number\", \"boolean\"]}"
#define LIST "{\"anyOf\": [" TEXT ", {\"type\": \"null\"}, {\"type\": \"array\", \"items\": " TEXT "}]}"
#define IS(pattern) "{\"type\": [\"string\", \"number\"], \"pattern\": \"" pattern "\"}"
#define ONE_OF(words) "{\"enum\": [" words "]}"
#define DEF(name) "{\"$ref\": \"#/definitions/" name "\"}"

#define OUTCOME ONE_OF("\"success\", \"failure\", \"change\", \"always\"")

/* What stands for each of the table's types; "" where the inner scope says it all. */
static const struct {
	const char *name, *schema;
} types[] = {
	{"text", TEXT},
	{"list", LIST},
	{"commands", DEF("commands")},
	{"condition", TEXT},
	{"time", IS("^([0-9]+h)?([0-9]+m)?([0-9]+s)?$")},
	{"size", IS("^[0-9]+([KMGT]i?B?)?$")},
	{"cpus", IS("^[0-9]+(\\\\.[0-9]+)?$")},
	{"delay", IS("^[0-9]+m?s$")},
	{"percent", IS("^[0-9]+(\\\\.[0-9]+)?%$")},
	{"rate", IS("^[0-9]+[kmg]bit$")},
	{"number", "{\"type\": \"integer\", \"minimum\": 0}"},
	{"depth", "{\"anyOf\": [{\"type\": \"integer\", \"minimum\": 1}, {\"enum\": [\"all\", false]}]}"},
	{"yes or no", ONE_OF("true, false, \"yes\", \"no\", \"on\", \"off\"")},
	{"bzip2, xz, zstd or none", ONE_OF("\"bzip2\", \"xz\", \"zstd\", \"none\"")},
	{"0755 or 0644", ONE_OF("\"0755\", \"0644\", \"755\", \"644\", 493, 420, 755, 644")},
	{"env", DEF("env")},
	{"axes", "{\"anyOf\": [" TEXT ", {\"type\": \"array\", \"items\": " TEXT
		 "}, {\"type\": \"object\", \"additionalProperties\": " LIST "}]}"},
	{"events", "{\"anyOf\": [" ONE_OF("\"push\", \"pull_request\"") ", {\"type\": \"array\", \"items\": " ONE_OF(
			   "\"push\", \"pull_request\"") "}]}"},
	{"outcomes", "{\"anyOf\": [" OUTCOME ", {\"type\": \"array\", \"items\": " OUTCOME "}]}"},
	{"off, install or on", ONE_OF("false, true, \"off\", \"install\", \"on\"")},
	{"unix, qemu, solo5-spt, solo5-hvt or command",
	 ONE_OF("\"unix\", \"qemu\", \"solo5-spt\", \"solo5-hvt\", \"command\"")},
};

static const char definitions
	[] = "{\"commands\": {\"anyOf\": [{\"type\": [\"string\", \"number\", \"boolean\", \"null\"]}, {\"type\": "
	     "\"array\", "
	     "\"items\": " DEF("commands") "}]},"
					   " \"sealed\": {\"type\": \"object\", \"properties\": {\"secure\": " LIST
					   "}, \"required\": [\"secure\"], "
					   "\"additionalProperties\": false},"
					   " \"variables\": {\"anyOf\": [{\"type\": [\"string\", \"null\"]}, "
					   "{\"type\": \"object\", "
					   "\"properties\": {\"secure\": " LIST
					   "}, \"patternProperties\": {\"^[A-Za-z_][A-Za-z0-9_]*$\": {\"anyOf\": ["
					   "{\"type\": [\"string\", \"number\", \"boolean\", \"null\"]}, " DEF(
						   "sealed") "]}}, "
							     "\"additionalProperties\": false}]},"
							     " \"env\": {\"anyOf\": [{\"type\": \"object\", "
							     "\"properties\": "
							     "{\"global\": " DEF("rows") ", \"matrix\": " DEF("rows") ", \"jobs\": " DEF(
								     "rows") "}, \"additionalProperties\": "
									     "false}, " DEF(
										     "rows") "]},"
											     " \"row"
											     "s\": "
											     "{\"any"
											     "Of\": "
											     "[" DEF("variables") ", "
														  "{\"t"
														  "ype"
														  "\": "
														  "\"ar"
														  "ray"
														  "\", "
														  "\"it"
														  "ems"
														  "\": "
														  "{\"a"
														  "nyOf"
														  "\": "
														  "[" DEF("variables") ", {\"type\": \"array\", \"items\": " DEF(
															  "variables") "}]}}]}}";

static json_t *parsed(const char *text)
{
	json_t *json = NULL;
	struct err e;

	if (json_parse("schema", text, strlen(text), &json, &e)) die("%s", e.text);
	return json;
}

static void put(json_t *o, const char *key, json_t *value)
{
	if (!value || json_object_set_new(o, key, value)) die("cannot make JSON for '%s'", key);
}

/* Where further axes are declared they are keys too; so all there is, is there twice. */
static json_t *reference(enum scope scope, int axes)
{
	char path[80];
	size_t i = 0;

	while ((unsigned)scope >> i != 1) i++;
	snprintf(path, sizeof(path), "#/definitions/%s%s", axes ? "axes:" : "", scope_names[i]);
	return json_pack("{ss}", "$ref", path);
}

static json_t *any_of(json_t *a, json_t *b)
{
	json_t *o = json_object(), *list = json_array();

	if (json_array_append_new(list, a) || json_array_append_new(list, b)) die("cannot make a JSON list");
	put(o, "anyOf", list);
	return o;
}

static json_t *array_of(json_t *items)
{
	json_t *o = parsed("{\"type\": \"array\"}");

	put(o, "items", items);
	return o;
}

/* A mapping; by its type's name also a list of them, one text, or a list of texts. */
static json_t *mapping_of(const struct key *k, int axes)
{
	json_t *one = reference(k->inner, axes);

	if (k->inner == SCOPE_MATRIX) return any_of(one, array_of(reference(SCOPE_ROW, axes)));
	if (!strcmp(k->type, "mapping")) return one;
	if (!strcmp(k->type, "list or mapping")) return any_of(one, parsed(LIST));
	if (!strcmp(k->type, "text or mapping")) return any_of(one, parsed(TEXT));
	if (!strcmp(k->type, "branches")) return any_of(one, parsed(LIST));
	if (!strcmp(k->type, "stages")) one = any_of(one, parsed(TEXT));
	return any_of(one, array_of(json_deep_copy(one)));
}

static json_t *key_schema(const struct key *k, int axes)
{
	json_t *o = NULL;

	if (k->inner) o = mapping_of(k, axes);
	for (size_t i = 0; i < ARRAY_LEN(types) && !o; i++)
		if (!strcmp(types[i].name, k->type)) o = parsed(types[i].schema);
	if (!o) die("the type '%s' of the key '%s' is not in the schema", k->type, k->name);
	if (json_object_get(o, "$ref")) return o;
	put(o, "description", json_string(k->help));
	return o;
}

static json_t *object_of(enum scope scope, int axes)
{
	json_t *o = parsed("{\"type\": \"object\"}"), *properties = json_object();

	for (size_t i = 0; i < ci_keys_len; i++)
		if (ci_keys[i].scopes & scope) put(properties, ci_keys[i].name, key_schema(&ci_keys[i], axes));
	put(o, "properties", properties);
	axes = axes && scope & (SCOPE_ROOT | SCOPE_ROW | SCOPE_RULE | SCOPE_WHEN);
	put(o, "additionalProperties", axes ? parsed(LIST) : json_false());
	return o;
}

static const char declares_axes[] =
	"{\"anyOf\": [{\"required\": [\"matrix\"], \"properties\": {\"matrix\": {\"type\": \"object\", \"required\": "
	"[\"axes\"]}}}, {\"required\": [\"jobs\"], \"properties\": {\"jobs\": {\"type\": \"object\", \"required\": "
	"[\"axes\"]}}}]}";

json_t *plan_schema(void)
{
	json_t *top = json_object(), *defs = parsed(definitions);

	for (unsigned i = 1; 1u << i <= SCOPE_LAST; i++) {
		_cleanup_free_ char *with_axes = xasprintf("axes:%s", scope_names[i]);

		put(defs, scope_names[i], object_of((enum scope)(1u << i), 0));
		put(defs, with_axes, object_of((enum scope)(1u << i), 1));
	}
	put(top, "$schema", json_string("http://json-schema.org/draft-07/schema#"));
	put(top, "title", json_string("Slipway's .ci.yml"));
	put(top, "definitions", defs);
	put(top, "if", parsed(declares_axes));
	put(top, "then", object_of(SCOPE_ROOT, 1));
	put(top, "else", object_of(SCOPE_ROOT, 0));
	return top;
}
