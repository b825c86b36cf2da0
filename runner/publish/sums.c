/* Sums of a folder's files. */
#include "runner/publish/sums.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void sums_release(struct sums *s)
{
	for (size_t i = 0; i < s->len; i++) free(s->items[i].name);
	free(s->items);
	*s = (struct sums){0};
}

void sums_hash(const void *data, size_t len, char hex_r[65])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, data, len);
	sodium_bin2hex(hex_r, 65, hash, sizeof(hash));
}

const struct sum *sums_find(const struct sums *s, const char *name)
{
	for (size_t i = 0; i < s->len; i++)
		if (!strcmp(s->items[i].name, name)) return &s->items[i];
	return NULL;
}

void sums_add(struct sums *s, const char *name, const char *sha256)
{
	struct sum *to;

	if (!*name || strpbrk(name, "/\n\r\\") || strlen(sha256) != 64 || strspn(sha256, "0123456789abcdef") != 64 ||
	    sums_find(s, name))
		return;
	s->items = xrealloc(s->items, (s->len + 1) * sizeof(*s->items));
	to = &s->items[s->len++];
	to->name = xstrdup(name);
	memcpy(to->sha256, sha256, 65);
}

void sums_add_text(struct sums *s, const char *name, const void *data, size_t len)
{
	char hash[65];

	sums_hash(data, len, hash);
	sums_add(s, name, hash);
}

void sums_of_manifest(struct sums *s, const json_t *manifest)
{
	const json_t *files = json_object_get(manifest, "files");

	sums_add(s, json_string_or(manifest, "packed", ""), json_string_or(manifest, "packed_sha256", ""));
	for (size_t i = 0; i < json_array_size(files); i++) {
		const json_t *f = json_array_get(files, i);

		sums_add(s, json_string_or(f, "name", ""), json_string_or(f, "sha256", ""));
	}
}

char *sums_provenance_name(const char *manifest_file)
{
	return xasprintf("provenance%s", manifest_file + strlen("manifest"));
}

void sums_of_provenance(struct sums *s, const json_t *manifest, const char *file)
{
	_cleanup_free_ char *name = sums_provenance_name(file);

	sums_add(s, name, json_string_or(manifest, "provenance_sha256", ""));
}

const char *sums_conflict(const struct sums *a, const struct sums *b)
{
	for (size_t i = 0; i < a->len; i++) {
		const struct sum *other = sums_find(b, a->items[i].name);

		if (other && strcmp(other->sha256, a->items[i].sha256) != 0) return a->items[i].name;
	}
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sum *)a)->name, ((const struct sum *)b)->name);
}

char *sums_text(struct sums *s)
{
	struct buf b = BUF_INIT(1 << 24);

	if (s->len) qsort(s->items, s->len, sizeof(*s->items), by_name);
	for (size_t i = 0; i < s->len; i++) buf_addf(&b, "%s  %s\n", s->items[i].sha256, s->items[i].name);
	return buf_steal(&b);
}
