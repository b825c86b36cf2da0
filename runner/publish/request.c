/* A publish request: what is allowed in one, and its JSON form. Pure. */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "runner/plan/plan.h"
#include "runner/publish/compress.h"
#include "runner/publish/publish.h"
#include "runner/publish/remote.h"

enum { MAX_FILES = 1000, MAX_NAME = 255, MAX_MESSAGE = 4000 };

void publish_request_release(struct publish_request *r)
{
	char **strings[] = {&r->remote,        &r->branch,      &r->path,         &r->commit,        &r->source_repo,
			    &r->source_branch, &r->backend,     &r->arch,         &r->job,           &r->checks,
			    &r->cache,         &r->known_hosts, &r->image_digest, &r->source_mirror, &r->image_name,
			    &r->sign_key,      &r->message,     &r->author,       &r->packing};

	for (size_t i = 0; i < ARRAY_LEN(strings); i++) free_p(strings[i]);
	for (size_t i = 0; i < r->nfiles; i++) {
		free(r->files[i].name);
		free(r->files[i].file);
	}
	free(r->files);
	*r = (struct publish_request){0};
}

/* One component of a path in the deployment repository. */
static const char *why_bad_name(const char *s, size_t len)
{
	_cleanup_json_ json_t *probe = NULL;

	if (!len) return "an empty name";
	if (len > MAX_NAME) return "a name longer than 255 bytes";
	if (!strncmp(s, ".", len) || (len == 2 && !strncmp(s, "..", 2))) return "'.' or '..'";
	if (len == 4 && !strncasecmp(s, ".git", 4)) return "'.git'";
	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)s[i]) || s[i] == '\\') return "a control character or a backslash";
	probe = json_stringn(s, len);
	return probe ? NULL : "bytes that are not UTF-8";
}

static int check_path(const char *path, struct err *e)
{
	if (!path || !*path) return err_set(e, ERR_INPUT, "the path in the deployment repository is empty");
	for (const char *p = path;;) {
		size_t n = strcspn(p, "/");
		const char *why = why_bad_name(p, n);

		if (why) return err_set(e, ERR_INPUT, "bad path '%s': it holds %s", path, why);
		if (!p[n]) return 0;
		p += n + 1;
	}
}

static int check_commit(const char *commit, struct err *e)
{
	if (!commit || strlen(commit) != 40 || strspn(commit, "0123456789abcdef") != 40)
		return err_set(e, ERR_INPUT, "bad commit '%s': not 40 lower-case hex digits", commit ? commit : "");
	if (strspn(commit, "0") == 40) return err_set(e, ERR_INPUT, "bad commit '%s': no commit has that name", commit);
	return 0;
}

/* A name that the publisher gives to files of its own. */
static int is_ours(const char *name)
{
	static const char *const kinds[] = {"manifest", "provenance", "SHA256SUMS"};
	size_t n = strlen(name);

	if (n > 8 && !strcmp(name + n - 8, ".minisig")) n -= 8;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t k = strlen(kinds[i]);

		if (strncmp(name, kinds[i], k) != 0) continue;
		if (kinds[i][0] == 'S') return n == k;
		if (n >= k + 5 && !strncmp(name + n - 5, ".json", 5) && (n == k + 5 || name[k] == '-')) return 1;
	}
	return 0;
}

static int check_files(const struct publish_request *r, struct err *e)
{
	_cleanup_free_ char *packed = NULL;

	if (!r->nfiles) return err_set(e, ERR_INPUT, "there is no file to publish");
	packed = compress_name(r->packing, r->files[0].name);
	if (!packed) return err_set(e, ERR_INPUT, "bad packing '%s': it can be bzip2, xz, zstd or none", r->packing);
	for (size_t i = 0; i < r->nfiles; i++) {
		const char *name = r->files[i].name, *why = why_bad_name(name, strlen(name));

		if (strchr(name, '/')) why = "a slash";
		if (why) return err_set(e, ERR_INPUT, "bad file name '%s': it holds %s", name, why);
		if (is_ours(name))
			return err_set(e, ERR_INPUT, "bad file name '%s': the publisher writes that itself", name);
		if (i && !strcmp(name, packed))
			return err_set(e, ERR_INPUT, "file name '%s' is also that of the packed image", name);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(name, r->files[k].name))
				return err_set(e, ERR_INPUT, "two files are named '%s'", name);
	}
	return 0;
}

static int check_author(const char *author, struct err *e)
{
	const char *why = author ? plan_bad_author(author) : NULL;

	return why ? err_set(e, ERR_INPUT, "bad author '%s': it %s", author, why) : 0;
}

static int check_message(const char *message, struct err *e)
{
	if (!message) return 0;
	if (!message[strspn(message, " \t\n")]) return err_set(e, ERR_INPUT, "bad message: it is empty");
	if (strlen(message) > MAX_MESSAGE)
		return err_set(e, ERR_INPUT, "bad message: longer than %d bytes", MAX_MESSAGE);
	for (const char *p = message; *p; p++)
		if (iscntrl((unsigned char)*p) && *p != '\n')
			return err_set(e, ERR_INPUT, "bad message: it holds a control character");
	return 0;
}

/* It stands in the commit's first line. */
static int check_backend(const char *backend, struct err *e)
{
	for (const char *p = backend; p && *p; p++)
		if (iscntrl((unsigned char)*p))
			return err_set(e, ERR_INPUT, "bad backend: it holds a control character");
	return 0;
}

int publish_request_check(const struct publish_request *r, struct err *e)
{
	_cleanup_remote_ struct remote where = {.kind = REMOTE_PATH};

	if (!r->remote || remote_parse(r->remote, &where, e))
		return r->remote ? -1 : err_set(e, ERR_INPUT, "bad remote: it is empty");
	if (!r->branch || !*r->branch) return err_set(e, ERR_INPUT, "the deployment branch is empty");
	if (!r->cache || !*r->cache) return err_set(e, ERR_INPUT, "no folder for the deployment repository's clone");
	if (r->mode && r->mode != 0755 && r->mode != 0644)
		return err_set(e, ERR_INPUT, "bad mode '%o': it can be 0755 or 0644", (unsigned)r->mode);
	return check_path(r->path, e) || check_commit(r->commit, e) || check_backend(r->backend, e) ||
			       check_files(r, e) || check_author(r->author, e) || check_message(r->message, e)
		       ? -1
		       : 0;
}

/* --- JSON; one table of the strings makes both directions --- */

struct member {
	const char *name;
	size_t offset;
	enum { NEEDED, MAY_BE_EMPTY, MAY_BE_ABSENT } rule;
};
#define MEMBER(field, rule)                                                                                            \
	{                                                                                                              \
#field, offsetof(struct publish_request, field), rule                                                  \
	}
static const struct member members[] = {
	MEMBER(remote, NEEDED),
	MEMBER(branch, NEEDED),
	MEMBER(path, NEEDED),
	MEMBER(commit, NEEDED),
	MEMBER(source_repo, MAY_BE_EMPTY),
	MEMBER(source_branch, MAY_BE_EMPTY),
	MEMBER(backend, MAY_BE_EMPTY),
	MEMBER(arch, MAY_BE_EMPTY),
	MEMBER(image_digest, MAY_BE_EMPTY),
	MEMBER(job, MAY_BE_EMPTY),
	MEMBER(checks, MAY_BE_EMPTY),
	MEMBER(cache, NEEDED),
	MEMBER(known_hosts, MAY_BE_ABSENT),
	MEMBER(source_mirror, MAY_BE_ABSENT),
	MEMBER(image_name, MAY_BE_ABSENT),
	MEMBER(sign_key, MAY_BE_ABSENT),
	MEMBER(message, MAY_BE_ABSENT),
	MEMBER(author, MAY_BE_ABSENT),
	MEMBER(packing, MAY_BE_ABSENT),
};

static char **member_at(const struct publish_request *r, const struct member *m)
{
	return (char **)((uintptr_t)r + m->offset);
}

json_t *publish_request_to_json(const struct publish_request *r)
{
	json_t *j = json_object(), *files = json_array();
	int bad = 0;

	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const char *value = *member_at(r, &members[i]);

		if (value) bad |= json_object_set_new(j, members[i].name, json_string(value));
	}
	bad |= json_object_set_new(j, "emulated", json_boolean(r->emulated));
	if (r->keep) bad |= json_object_set_new(j, "keep", json_integer(r->keep));
	if (r->event) bad |= json_object_set_new(j, "event", json_integer(r->event));
	if (r->patience_s) bad |= json_object_set_new(j, "patience_s", json_integer(r->patience_s));
	if (r->stall_s) bad |= json_object_set_new(j, "stall_s", json_integer(r->stall_s));
	if (r->mode) bad |= json_object_set_new(j, "mode", json_integer(r->mode));
	if (r->no_latest) bad |= json_object_set_new(j, "no_latest", json_true());
	if (r->make_sign_key) bad |= json_object_set_new(j, "make_sign_key", json_true());
	for (size_t i = 0; i < r->nfiles; i++)
		bad |= json_array_append_new(files, json_pack("{s:s, s:s, s:i}", "name", r->files[i].name, "file",
							      r->files[i].file, "mode", (int)r->files[i].mode));
	bad |= json_object_set_new(j, "files", files);
	if (!bad) return j;
	json_decref(j);
	return NULL;
}

static int file_from_json(const json_t *j, struct publish_file *f, struct err *e)
{
	const char *name, *file;
	int64_t mode;

	if (json_need_string(j, "name", &name, e) || json_need_string(j, "file", &file, e) ||
	    json_need_int(j, "mode", &mode, e))
		return -1;
	if (mode < 0 || mode > 07777) return err_set(e, ERR_INPUT, "'mode' is not a file mode");
	*f = (struct publish_file){.name = xstrdup(name), .file = xstrdup(file), .mode = (unsigned)mode & 0777};
	return 0;
}

static int seconds_of(const json_t *j, const char *name, int *n_r, struct err *e)
{
	int64_t n = 0;

	if (json_at(j, name) && json_need_int(j, name, &n, e)) return -1;
	if (n < 0 || n > INT_MAX / 1000) return err_set(e, ERR_INPUT, "'%s' is not a number of seconds", name);
	*n_r = (int)n;
	return 0;
}

static int fill_numbers(const json_t *j, struct publish_request *r, struct err *e)
{
	int64_t keep = 0, mode = 0;

	if (json_at(j, "keep") && json_need_int(j, "keep", &keep, e)) return -1;
	if (keep < 0 || keep > INT_MAX) return err_set(e, ERR_INPUT, "'keep' is not a number of images");
	if (json_at(j, "mode") && json_need_int(j, "mode", &mode, e)) return -1;
	if (mode < 0 || mode > 0777) return err_set(e, ERR_INPUT, "'mode' is not a file mode");
	if (json_at(j, "event") && json_need_int(j, "event", &r->event, e)) return -1;
	if (r->event < 0) return err_set(e, ERR_INPUT, "'event' is not a number of one");
	if (seconds_of(j, "patience_s", &r->patience_s, e) || seconds_of(j, "stall_s", &r->stall_s, e)) return -1;
	r->keep = (int)keep;
	r->mode = (int)mode;
	r->emulated = json_bool_or(j, "emulated", 0);
	r->no_latest = json_bool_or(j, "no_latest", 0);
	r->make_sign_key = json_bool_or(j, "make_sign_key", 0);
	return 0;
}

static int fill(const json_t *j, struct publish_request *r, struct err *e)
{
	json_t *files = json_at(j, "files");

	if (!json_is_object(j)) return err_set(e, ERR_INPUT, "not an object");
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		const struct member *m = &members[i];
		const char *value;

		if (m->rule != NEEDED && !json_at(j, m->name)) {
			if (m->rule == MAY_BE_EMPTY) *member_at(r, m) = xstrdup("");
			continue;
		}
		if (json_need_string(j, m->name, &value, e)) return -1;
		*member_at(r, m) = xstrdup(value);
	}
	if (fill_numbers(j, r, e)) return -1;
	if (!json_is_array(files)) return err_set(e, ERR_INPUT, "'files' is not a list");
	if (json_array_size(files) > MAX_FILES) return err_set(e, ERR_INPUT, "more than %d files", MAX_FILES);
	r->files = xcalloc(json_array_size(files) + 1, sizeof(*r->files));
	for (size_t i = 0; i < json_array_size(files); i++) {
		if (file_from_json(json_array_get(files, i), &r->files[i], e)) return err_wrap(e, "file %zu", i + 1);
		r->nfiles++;
	}
	return publish_request_check(r, e);
}

int publish_request_from_json(const json_t *j, struct publish_request *r, struct err *e)
{
	*r = (struct publish_request){0};
	if (!fill(j, r, e)) return 0;
	publish_request_release(r);
	return err_wrap(e, "publish request");
}
