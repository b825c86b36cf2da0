/* Reading of an image's documents. */
#include "runner/sandbox/ociimage.h"

#include <string.h>

#include "lib/json.h"
#include "runner/plan/imageref.h"

enum { MAX_ENTRIES = 1000, MAX_ENV = 1000 };

static const struct {
	const char *debian, *architecture, *variant;
} arches[] = {
	{"amd64", "amd64", NULL},     {"arm64", "arm64", NULL},     {"armhf", "arm", "v7"},
	{"armel", "arm", "v6"},       {"armel", "arm", "v5"},       {"i386", "386", NULL},
	{"ppc64el", "ppc64le", NULL}, {"riscv64", "riscv64", NULL}, {"s390x", "s390x", NULL},
};

const char *oci_arch(const char *architecture, const char *variant)
{
	for (size_t i = 0; i < ARRAY_LEN(arches); i++) {
		if (strcmp(arches[i].architecture, architecture) != 0) continue;
		/* Without a word on it an arm image is what today's are. */
		if (!arches[i].variant || !variant || !*variant || !strcmp(arches[i].variant, variant))
			return arches[i].debian;
	}
	return NULL;
}

void oci_image_release(struct oci_image *i)
{
	for (size_t k = 0; k < i->nlayers; k++) {
		free_p(&i->layers[k].digest);
		free_p(&i->layers[k].diff_id);
	}
	i->nlayers = 0;
	free_p(&i->config_digest);
	free_p(&i->arch);
	vec_release(&i->env);
}

static int need_digest(const json_t *j, const char *path, const char **digest_r, struct err *e)
{
	if (json_need_string(j, path, digest_r, e)) return -1;
	if (imageref_is_digest(*digest_r)) return 0;
	return err_set(e, ERR_INPUT, "'%.100s' is not a SHA-256 digest", *digest_r);
}

static int parse(const char *what, const char *text, size_t len, json_t **j_r, struct err *e)
{
	if (len > OCI_MAX_DOCUMENT) return err_set(e, ERR_INPUT, "%s has %zu bytes, which is too much", what, len);
	if (json_parse(what, text, len, j_r, e)) return -1;
	return json_is_object(*j_r) ? 0 : err_set(e, ERR_INPUT, "%s: not an object", what);
}

static int is_for(const json_t *entry, const char *arch)
{
	const char *architecture = json_string_or(entry, "platform.architecture", "");
	const char *os = json_string_or(entry, "platform.os", "linux");
	const char *is = oci_arch(architecture, json_string_or(entry, "platform.variant", NULL));

	return is && !strcmp(is, arch) && !strcmp(os, "linux");
}

static const char *name_of(const json_t *entry)
{
	const json_t *annotations = json_object_get(entry, "annotations");

	return json_string_value(json_object_get(annotations, "org.opencontainers.image.ref.name"));
}

/* What there is instead, for a person. */
static void list_entries(const json_t *entries, int by_name, struct buf *has)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(entries, i, entry)
	{
		const char *name = by_name ? name_of(entry) : json_string_or(entry, "platform.architecture", NULL);

		if (name && strcmp(name, "unknown") != 0) buf_addf(has, "%s%.40s", has->len ? ", " : "", name);
	}
}

static int parse_index(const char *text, size_t len, json_t **j_r, struct err *e)
{
	if (parse("the index", text, len, j_r, e)) return -1;
	if (json_int_or(*j_r, "schemaVersion", 0) != 2)
		return err_set(e, ERR_INPUT, "an image of a form that is no longer used (schema 1): push it again");
	if (json_array_size(json_object_get(*j_r, "manifests")) > MAX_ENTRIES)
		return err_set(e, ERR_INPUT, "the index has more than %d entries", (int)MAX_ENTRIES);
	return 0;
}

int oci_find_named(const char *text, size_t len, const char *tag, char **digest_r, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	_cleanup_buf_ struct buf has = BUF_INIT(400);
	const char *digest = NULL, *first = NULL;
	const json_t *entries, *entry;
	size_t i;

	if (parse_index(text, len, &j, e)) return -1;
	entries = json_object_get(j, "manifests");
	json_array_foreach(entries, i, entry)
	{
		const char *name = name_of(entry);

		if (tag && (!name || strcmp(name, tag) != 0)) continue;
		if (need_digest(entry, "digest", &digest, e)) return -1;
		if (first && strcmp(first, digest) != 0)
			return err_set(e, ERR_INPUT, "it has more than one image%s%s", tag ? " named " : ": name one",
				       tag ? tag : "");
		first = digest;
	}
	if (first) {
		*digest_r = xstrdup(first);
		return 0;
	}
	list_entries(entries, 1, &has);
	return err_set(e, ERR_MISSING, "it has no image%s%s; there is: %s", tag ? " named " : "", tag ? tag : "",
		       has.len ? buf_str(&has) : "none");
}

int oci_pick(const char *text, size_t len, const char *arch, char **digest_r, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	_cleanup_buf_ struct buf has = BUF_INIT(400);
	const json_t *entries, *entry;
	const char *digest;
	size_t i;

	if (parse_index(text, len, &j, e)) return -1;
	entries = json_object_get(j, "manifests");
	if (!json_is_array(entries)) {
		if (!json_is_array(json_object_get(j, "layers")))
			return err_set(e, ERR_INPUT, "neither an index nor a manifest of an image");
		*digest_r = NULL;
		return 0;
	}
	json_array_foreach(entries, i, entry)
	{
		/* One that does not say what it is for may be the right one: its configuration says. */
		if (!is_for(entry, arch) && (json_object_get(entry, "platform") || json_array_size(entries) > 1))
			continue;
		if (need_digest(entry, "digest", &digest, e)) return -1;
		*digest_r = xstrdup(digest);
		return 0;
	}
	list_entries(entries, 0, &has);
	return err_set(e, ERR_MISSING, "it has no image for %s; there is: %s", arch, has.len ? buf_str(&has) : "none");
}

int oci_read_manifest(const char *text, size_t len, struct oci_image *i_r, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	_cleanup_oci_image_ struct oci_image i = {0};
	const json_t *layers, *layer;
	const char *digest;
	size_t at;

	if (parse("the manifest", text, len, &j, e)) return -1;
	layers = json_object_get(j, "layers");
	if (!json_is_array(layers) || !json_array_size(layers)) return err_set(e, ERR_INPUT, "the image has no layers");
	if (json_array_size(layers) > OCI_MAX_LAYERS)
		return err_set(e, ERR_INPUT, "the image has %zu layers, more than %d", json_array_size(layers),
			       (int)OCI_MAX_LAYERS);
	if (need_digest(j, "config.digest", &digest, e)) return err_wrap(e, "the manifest");
	i.config_digest = xstrdup(digest);
	json_array_foreach(layers, at, layer)
	{
		int64_t size;

		if (json_object_get(layer, "urls") && json_array_size(json_object_get(layer, "urls")))
			return err_set(e, ERR_INPUT, "layer %zu is not in the registry (an image for Windows?)",
				       at + 1);
		if (need_digest(layer, "digest", &digest, e) || json_need_int(layer, "size", &size, e))
			return err_wrap(e, "layer %zu", at + 1);
		if (size < 0) return err_set(e, ERR_INPUT, "layer %zu has no size", at + 1);
		i.layers[i.nlayers++] = (struct oci_layer){.digest = xstrdup(digest), .size = size};
	}
	*i_r = i;
	i = (struct oci_image){0};
	return 0;
}

static int read_env(const json_t *j, struct oci_image *i, struct err *e)
{
	const json_t *env = json_at(j, "config.Env"), *row;
	size_t at;

	if (json_array_size(env) > MAX_ENV) return err_set(e, ERR_INPUT, "the image's environment is too large");
	json_array_foreach(env, at, row)
	{
		const char *text = json_string_value(row), *is = text ? strchr(text, '=') : NULL;

		if (is && is > text && strlen(text) < 65536) vec_add(&i->env, text);
	}
	return 0;
}

int oci_read_config(const char *text, size_t len, struct oci_image *i, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;
	const json_t *ids, *id;
	const char *architecture, *arch, *os;
	size_t at;

	if (parse("the configuration", text, len, &j, e)) return -1;
	ids = json_at(j, "rootfs.diff_ids");
	if (json_array_size(ids) != i->nlayers)
		return err_set(e, ERR_INPUT, "the image has %zu layers, and its configuration tells of %zu", i->nlayers,
			       json_array_size(ids));
	json_array_foreach(ids, at, id)
	{
		const char *digest = json_string_value(id);

		if (!digest || !imageref_is_digest(digest))
			return err_set(e, ERR_INPUT, "the configuration: diff id %zu is no SHA-256 digest", at + 1);
		free_p(&i->layers[at].diff_id);
		i->layers[at].diff_id = xstrdup(digest);
	}
	if (json_need_string(j, "architecture", &architecture, e)) return err_wrap(e, "the configuration");
	os = json_string_or(j, "os", "linux");
	arch = oci_arch(architecture, json_string_or(j, "variant", NULL));
	if (!arch || strcmp(os, "linux") != 0)
		return err_set(e, ERR_INPUT, "the image is for '%.40s' on '%.40s'", os, architecture);
	free_p(&i->arch);
	i->arch = xstrdup(arch);
	return read_env(j, i, e);
}
