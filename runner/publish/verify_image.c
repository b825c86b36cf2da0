/* One image's folder: every manifest in it, what each names, and what nobody names. */
#include <archive.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "lib/json.h"
#include "runner/publish/manifest.h"
#include "runner/publish/sums.h"
#include "runner/publish/verify_parts.h"

enum { MAX_MANIFEST = 1 << 22, CHUNK = 1 << 16 };

struct folder {
	struct verify *v;
	const char *path, *commit;
	char *name; /* <path>/<commit> */
	struct vec files;
	struct vec named; /* by a manifest, or written by the publisher */
	struct vec bad;   /* told of already */
	struct sums good; /* with the sums they have */
	int signs;        /* there is a manifest with a sequence number: sums are expected */
};

static void folder_release(struct folder *f)
{
	free(f->name);
	vec_release(&f->files);
	vec_release(&f->named);
	vec_release(&f->bad);
	sums_release(&f->good);
}

/* A name out of a manifest leads nowhere else. */
static int is_plain(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* --- one file against its manifest --- */

struct want {
	const char *name, *sha256, *mode;
	int64_t size; /* -1: any */
};

/* 0: the file is as it must be */
static int measure(struct folder *f, const char *manifest, const struct want *w)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", f->name, w->name), *full = NULL;
	struct manifest_file has = {.size = 0};
	unsigned mode = 0;
	struct err e;

	if (!is_plain(w->name)) {
		verify_problem(f->v, "'%s/%s' names a file '%s'", f->name, manifest, w->name);
		return -1;
	}
	vec_add(&f->named, w->name);
	switch (verify_kind(f->v, file, &mode, NULL)) {
	case VERIFY_NONE: verify_problem(f->v, "'%s' is missing: '%s' names it", file, manifest); return -1;
	case VERIFY_FOLDER:
	case VERIFY_ODD: verify_problem(f->v, "'%s' is not a regular file", file); return -1;
	case VERIFY_FILE: break;
	}
	full = xasprintf("%s/%s", f->v->o->dir, file);
	if (manifest_measure(full, mode, &has, &e)) {
		verify_problem(f->v, "'%s': %s", file, e.text);
		return -1;
	}
	if (w->size >= 0 && has.size != (uint64_t)w->size) {
		verify_problem(f->v, "'%s' has %llu bytes, %lld by '%s'", file, (unsigned long long)has.size,
			       (long long)w->size, manifest);
		return -1;
	}
	sums_add(&f->good, w->name, has.sha256);
	if (strcmp(has.sha256, w->sha256) != 0) {
		verify_problem(f->v, "'%s' has the SHA-256 %s, %s by '%s'", file, has.sha256, w->sha256, manifest);
		return -1;
	}
	if (w->mode && has.mode != (strcmp(w->mode, "0755") ? 0644U : 0755U))
		verify_problem(f->v, "'%s' has the mode %04o, %s by '%s'", file, has.mode, w->mode, manifest);
	return 0;
}

static int check_file(struct folder *f, const char *manifest, const struct want *w)
{
	if (!measure(f, manifest, w)) return 0;
	vec_add(&f->bad, w->name);
	return -1;
}

/* --- the image inside --- */

static int add_filter(struct archive *a, const char *packing)
{
	if (!strcmp(packing, "none")) return archive_read_support_filter_none(a);
	if (!strcmp(packing, "bzip2")) return archive_read_support_filter_bzip2(a);
	if (!strcmp(packing, "xz")) return archive_read_support_filter_xz(a);
	if (!strcmp(packing, "zstd")) return archive_read_support_filter_zstd(a);
	return ARCHIVE_FATAL;
}

/* Size and sum of what `file` unpacks to, no more than one byte over `most`. err ERR_INPUT */
static int unpack(const char *file, const char *packing, uint64_t most, struct manifest_file *m_r, struct err *e)
{
	__attribute__((cleanup(free_p))) char *chunk = xmalloc(CHUNK);
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state st;
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	la_ssize_t n = -1;

	crypto_hash_sha256_init(&st);
	m_r->size = 0;
	if (add_filter(a, packing) == ARCHIVE_FATAL) {
		err_set(e, ERR_INPUT, "is packed by '%s', which is not known", packing);
	} else if (archive_read_support_format_raw(a) || archive_read_open_filename(a, file, CHUNK) ||
		   archive_read_next_header(a, &entry)) {
		err_set(e, ERR_INPUT, "cannot be unpacked: %s", archive_error_string(a));
	} else {
		while (m_r->size <= most && (n = archive_read_data(a, chunk, CHUNK)) > 0) {
			crypto_hash_sha256_update(&st, (unsigned char *)chunk, (size_t)n);
			m_r->size += (uint64_t)n;
		}
		if (n < 0) err_set(e, ERR_INPUT, "cannot be unpacked: %s", archive_error_string(a));
		if (n > 0) n = 0; /* there is more than it may be: its size tells */
	}
	archive_read_free(a);
	crypto_hash_sha256_final(&st, hash);
	sodium_bin2hex(m_r->sha256, sizeof(m_r->sha256), hash, sizeof(hash));
	return n < 0 ? -1 : 0;
}

static void check_image(struct folder *f, const char *manifest, const json_t *m)
{
	struct want packed = {.name = json_string_or(m, "packed", ""),
			      .sha256 = json_string_or(m, "packed_sha256", ""),
			      .mode = json_string_or(m, "image_mode", "0644"),
			      .size = json_int_or(m, "packed_size", -2)};
	int64_t size = json_int_or(m, "image_size", -2);
	struct manifest_file has = {.size = 0};
	_cleanup_free_ char *full = NULL;
	struct err e;

	if (packed.size < 0 || size < 0) {
		verify_problem(f->v, "'%s/%s' tells no sizes of its image", f->name, manifest);
		return;
	}
	if (check_file(f, manifest, &packed)) return;
	full = xasprintf("%s/%s/%s", f->v->o->dir, f->name, packed.name);
	if (unpack(full, json_string_or(m, "packing", ""), (uint64_t)size, &has, &e))
		verify_problem(f->v, "'%s/%s' %s", f->name, packed.name, e.text);
	else if (has.size != (uint64_t)size)
		verify_problem(f->v, "'%s/%s' does not unpack to %lld bytes, as '%s' says", f->name, packed.name,
			       (long long)size, manifest);
	else if (strcmp(has.sha256, json_string_or(m, "image_sha256", "")) != 0)
		verify_problem(f->v, "'%s/%s' unpacks to the SHA-256 %s, %s by '%s'", f->name, packed.name, has.sha256,
			       json_string_or(m, "image_sha256", ""), manifest);
}

/* --- manifests --- */

static void add_turn(struct turns *t, const struct folder *f, const char *manifest, const json_t *m)
{
	struct turn_seen *to;

	t->items = xrealloc(t->items, (t->len + 1) * sizeof(*t->items));
	to = &t->items[t->len++];
	to->sequence = json_int_or(m, "sequence", 0);
	to->latest = json_bool_or(m, "latest", 0);
	memcpy(to->commit, f->commit, 41);
	to->file = xasprintf("%s/%s", f->name, manifest);
}

static void check_manifest(struct folder *f, const char *name, struct turns *turns)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", f->name, name);
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_MANIFEST);
	_cleanup_json_ json_t *m = NULL;
	const json_t *files;
	int64_t sequence;
	struct err e;

	vec_add(&f->named, name);
	if (verify_read(f->v, file, &text)) return;
	if (manifest_parse("", buf_str(&text), text.len, &m, &e)) {
		verify_problem(f->v, "'%s' is no manifest%s", file, e.text);
		verify_signature(f->v, file, &text, NULL, f->path, f->commit, 0, NULL);
		return;
	}
	sequence = json_int_or(m, "sequence", 0);
	verify_signature(f->v, file, &text, json_string_or(m, "repository", ""), f->path, f->commit, sequence, NULL);
	if (strcmp(json_string_or(m, "commit", ""), f->commit) != 0)
		verify_problem(f->v, "'%s' is of commit '%s'", file, json_string_or(m, "commit", ""));
	if (strcmp(json_string_or(m, "path", ""), f->path) != 0)
		verify_problem(f->v, "'%s' is for path '%s'", file, json_string_or(m, "path", ""));
	if (sequence > 0) {
		_cleanup_free_ char *provenance = sums_provenance_name(name);
		struct want w = {.name = provenance, .sha256 = json_string_or(m, "provenance_sha256", ""), .size = -1};

		f->signs = 1;
		add_turn(turns, f, name, m);
		check_file(f, name, &w);
	}
	check_image(f, name, m);
	files = json_object_get(m, "files");
	for (size_t i = 0; i < json_array_size(files); i++) {
		const json_t *one = json_array_get(files, i);
		struct want w = {.name = json_string_or(one, "name", ""),
				 .sha256 = json_string_or(one, "sha256", ""),
				 .mode = json_string_or(one, "mode", "0644"),
				 .size = json_int_or(one, "size", 0)};

		check_file(f, name, &w);
	}
}

static int is_manifest(const char *name)
{
	size_t n = strlen(name);

	return !strcmp(name, "manifest.json") ||
	       (!strncmp(name, "manifest-", 9) && n > 14 && !strcmp(name + n - 5, ".json"));
}

/* --- SHA256SUMS: it must say the same as the files, so that `sha256sum -c` finds all that we find --- */

static void check_sums_line(struct folder *f, const char *line, size_t len, struct vec *listed)
{
	_cleanup_free_ char *name = len > 66 ? xstrndup(line + 66, len - 66) : NULL, *sum = NULL;
	struct want w = {.name = name, .size = -1};

	if (!name || line[64] != ' ' || line[65] != ' ' || strspn(line, "0123456789abcdef") != 64) {
		verify_problem(f->v, "'%s/SHA256SUMS' has a line that `sha256sum -c` would not read", f->name);
		return;
	}
	sum = xstrndup(line, 64);
	w.sha256 = sum;
	vec_add(listed, name);
	if (!vec_has(&f->named, name)) {
		verify_problem(f->v, "'%s/SHA256SUMS' names '%s', which no manifest names", f->name, name);
	} else if (sums_find(&f->good, name)) {
		if (strcmp(sums_find(&f->good, name)->sha256, sum) != 0 && !vec_has(&f->bad, name))
			verify_problem(f->v, "'%s/SHA256SUMS' has another sum for '%s'", f->name, name);
	} else if (!vec_has(&f->bad, name)) {
		check_file(f, "SHA256SUMS", &w);
	}
}

static void check_sums(struct folder *f)
{
	_cleanup_free_ char *file = xasprintf("%s/SHA256SUMS", f->name);
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_MANIFEST);
	_cleanup_vec_ struct vec listed = VEC_INIT;

	if (!f->signs || verify_read(f->v, file, &text)) return;
	verify_signature(f->v, file, &text, NULL, f->path, f->commit, 0, NULL);
	for (const char *p = buf_str(&text); *p;) {
		size_t n = strcspn(p, "\n");

		check_sums_line(f, p, n, &listed);
		p += n + (p[n] == '\n');
	}
	for (size_t i = 0; i < f->named.len; i++) {
		_cleanup_free_ char *there = xasprintf("%s/%s", f->name, f->named.items[i]);

		if (!vec_has(&listed, f->named.items[i]) && verify_kind(f->v, there, NULL, NULL) == VERIFY_FILE)
			verify_problem(f->v, "'%s' does not name '%s'", file, f->named.items[i]);
	}
}

/* --- what nobody named --- */

static int is_expected(const struct folder *f, const char *name)
{
	_cleanup_free_ char *of = NULL;
	size_t n = strlen(name);

	if (vec_has(&f->named, name) || (f->signs && !strcmp(name, "SHA256SUMS"))) return 1;
	if (n <= 8 || strcmp(name + n - 8, ".minisig") != 0) return 0;
	of = xstrndup(name, n - 8);
	return (is_manifest(of) && vec_has(&f->files, of)) || (f->signs && !strcmp(of, "SHA256SUMS"));
}

void verify_image(struct verify *v, const char *path, const char *commit, struct turns *turns)
{
	__attribute__((cleanup(folder_release))) struct folder f = {.v = v, .path = path, .commit = commit};
	size_t manifests = 0;

	v->res->images++;
	f.name = xasprintf("%s/%s", path, commit);
	if (verify_list(v, f.name, &f.files)) return;
	for (size_t i = 0; i < f.files.len; i++)
		if (is_manifest(f.files.items[i])) {
			check_manifest(&f, f.files.items[i], turns);
			manifests++;
		}
	if (!manifests) {
		verify_problem(v, "'%s' has no manifest", f.name);
		return;
	}
	check_sums(&f);
	for (size_t i = 0; i < f.files.len; i++)
		if (!is_expected(&f, f.files.items[i]))
			verify_problem(v, "'%s/%s' is in no manifest", f.name, f.files.items[i]);
}
