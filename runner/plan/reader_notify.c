/* `notify`: who is told of a build's end, and of which ends. */
#include <string.h>

#include "runner/plan/reader.h"

/* Not isalnum(): a plan is the same in every locale. */
#define ALNUM "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

static const char *bad_webhook(const char *s)
{
	const char *host = !strncmp(s, "https://", 8) ? s + 8 : !strncmp(s, "http://", 7) ? s + 7 : NULL;

	if (!host || !*host || strchr("/:?#", *host)) return "must be an https:// or http:// address";
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
			return "must be written without blanks and accents";
	if (memchr(host, '@', strcspn(host, "/?#"))) return "must hold no user name";
	return strlen(s) > 2000 ? "must be at most 2000 characters long" : NULL;
}

/* One plain address, nothing that a mail program would take for more. */
static const char *bad_email(const char *s)
{
	const char *at = strchr(s, '@');

	if (!at || at == s || !at[1] || strchr(at + 1, '@') || *s == '-')
		return "must be an address like me@example.org";
	if (s[strspn(s, ALNUM "@.!#$%&'*+/=?^_`{|}~-")]) return "must be one plain address";
	return strlen(s) > 254 ? "must be at most 254 characters long" : NULL;
}

static const char *bad_command(const char *s)
{
	if (s[strspn(s, ALNUM "._-")])
		return "must be the name of a command that the runner's owner allows: letters, digits, '.', '_' and "
		       "'-'";
	return !*s || strchr(".-", *s) || strlen(s) > 64 ? "must begin with a letter and be short" : NULL;
}

void read_notify_target(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	const char *s = text_of(r, key, v);

	if (!s) return;
	if (reject(r, key, v,
		   !strcmp(key->text, "webhook") ? bad_webhook(s)
		   : !strcmp(key->text, "email") ? bad_email(s)
						 : bad_command(s)))
		return;
	if (json_object_set_new(*(json_t **)to, key->text, json_string(s))) die("cannot make JSON");
}

void read_notify_on(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	static const char *const words[] = {"success", "failure", "change", "always"};
	size_t n = v->kind == YAML_LIST ? v->len : 1;
	json_t *on = json_array();

	for (size_t i = 0; i < n; i++) {
		int word = read_choice(r, key, v->kind == YAML_LIST ? v->items[i] : v, words, ARRAY_LEN(words));

		if (word >= 0 && json_array_append_new(on, json_string(words[word]))) die("cannot make JSON");
	}
	if (!n) wrong(r, node_place(v), "'on' names nothing");
	if (json_object_set_new(*(json_t **)to, "on", on)) die("cannot make JSON");
}

void read_notify_if(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct condition *c = NULL;

	if (!condition_to(r, v, &c) && json_object_set_new(*(json_t **)to, key->text, json_string(v->text)))
		die("cannot make JSON");
	condition_free(&c);
}

/* People are told of what went wrong and of what changed, programs of everything. */
static json_t *default_on(const json_t *o)
{
	return json_object_get(o, "email") ? json_pack("[s, s]", "failure", "change") : json_pack("[s]", "always");
}

static void read_one(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, struct config *c)
{
	static const char *const targets[] = {"webhook", "email", "command"};
	json_t *o = json_object();
	size_t n = 0;

	read_map(r, key, v, SCOPE_NOTIFY, &o, NULL);
	for (size_t i = 0; i < ARRAY_LEN(targets) && v->kind == YAML_MAP; i++) n += yaml_get(v, targets[i]) != NULL;
	if (v->kind == YAML_MAP && n != 1)
		wrong(r, node_place(v), "an entry of 'notify' needs one of webhook, email and command");
	if (!json_object_get(o, "on") && json_object_set_new(o, "on", default_on(o))) die("cannot make JSON");
	if (!c->notify) c->notify = json_array();
	if (json_array_append_new(c->notify, o)) die("cannot make JSON");
}

void read_notify(struct reader *r, const struct yaml_node *key, const struct yaml_node *v, void *to)
{
	struct config *c = to;
	size_t n = v->kind == YAML_LIST ? v->len : !yaml_is_null(v);

	c->notify_at = node_place(key);
	if (n > PLAN_MAX_NOTICES) {
		wrong(r, node_place(v), "'notify' has %zu entries; at most %d are taken", n, (int)PLAN_MAX_NOTICES);
		return;
	}
	for (size_t i = 0; i < n; i++) read_one(r, key, v->kind == YAML_LIST ? v->items[i] : v, c);
}

json_t *notify_settle(const struct config *c, struct expansion *x)
{
	json_t *all = NULL, *o;
	size_t i;

	json_array_foreach(c->notify, i, o)
	{
		const char *text = json_string_or(o, "if", NULL);
		struct condition *cond = NULL;
		int budget = PATTERN_BUDGET, fits;
		size_t at;

		if (text && condition_make(text, &budget, &cond, &at)) die("a condition that was read is none");
		fits = cell_if(x, cond, NULL, c->notify_at);
		condition_free(&cond);
		if (!fits) continue;
		if (!all) all = json_array();
		json_t *copy = json_copy(o);

		json_object_del(copy, "if");
		if (json_array_append_new(all, copy)) die("cannot make JSON");
	}
	return all;
}
