/* Provenance in the field's own form, for tools that know nothing of us. */
#include "runner/publish/provenance.h"

#include <string.h>

static const char build_type[] = "urn:slipway:ci-yml:1";

static json_t *text(const char *s)
{
	return json_any_text(s ? s : "");
}

static void add_subject(json_t *subjects, const char *name, const char *sha256)
{
	json_array_append_new(subjects,
			      json_pack("{s:o, s:{s:o}}", "name", text(name), "digest", "sha256", text(sha256)));
}

static json_t *subjects_of(const json_t *m)
{
	const json_t *files = json_object_get(m, "files");
	json_t *subjects = json_array();

	add_subject(subjects, json_string_or(m, "image", ""), json_string_or(m, "image_sha256", ""));
	add_subject(subjects, json_string_or(m, "packed", ""), json_string_or(m, "packed_sha256", ""));
	for (size_t i = 0; i < json_array_size(files); i++) {
		const json_t *f = json_array_get(files, i);

		add_subject(subjects, json_string_or(f, "name", ""), json_string_or(f, "sha256", ""));
	}
	return subjects;
}

/* An input by its digest, and how far it is to be trusted. */
static void add_input(json_t *inputs, const char *name, const char *uri, const char *kind, const char *digest,
		      const char *tier)
{
	json_t *j = json_pack("{s:o, s:{s:o}, s:{s:s}}", "name", text(name), "digest", kind, text(digest),
			      "annotations", "trust", tier);

	if (uri && *uri) json_object_set_new(j, "uri", text(uri));
	json_array_append_new(inputs, j);
}

static json_t *inputs_of(const struct publish_request *r)
{
	json_t *inputs = json_array();
	_cleanup_free_ char *source =
		xasprintf("git+%s@%s", r->source_repo ? r->source_repo : "", r->source_branch ? r->source_branch : "");
	const char *colon = r->image_digest ? strchr(r->image_digest, ':') : NULL;

	/* Only a push publishes, so what was built had been accepted into the repository. */
	add_input(inputs, "source", r->source_repo && *r->source_repo ? source : NULL, "gitCommit", r->commit, "push");
	if (colon) {
		_cleanup_free_ char *kind = xstrndup(r->image_digest, (size_t)(colon - r->image_digest));

		add_input(inputs, "build image", r->image_name, kind, colon + 1, "registry");
	}
	return inputs;
}

char *provenance_text(const struct publish_request *r, const json_t *m)
{
	json_t *external = json_pack("{s:o, s:o, s:s, s:o, s:o}", "repository", text(r->source_repo), "branch",
				     text(r->source_branch), "commit", r->commit, "backend", text(r->backend), "arch",
				     text(r->arch));
	json_t *internal = json_pack("{s:b, s:o}", "emulated", r->emulated, "checks", text(r->checks));
	_cleanup_json_ json_t *j =
		json_pack("{s:s, s:o, s:s, s:{s:{s:s, s:o, s:o, s:o}, s:{s:{s:s, s:{s:s}}, s:{s:o}}}}", "_type",
			  "https://in-toto.io/Statement/v1", "subject", subjects_of(m), "predicateType",
			  "https://slsa.dev/provenance/v1", "predicate", "buildDefinition", "buildType", build_type,
			  "externalParameters", external, "internalParameters", internal, "resolvedDependencies",
			  inputs_of(r), "runDetails", "builder", "id", "urn:slipway:runner", "version", "slipway",
			  SLIPWAY_VERSION, "metadata", "invocationId", text(r->job));
	_cleanup_free_ char *out = j ? json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;

	if (!out) die("cannot write a provenance statement");
	return xasprintf("%s\n", out);
}
