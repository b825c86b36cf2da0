/* The manifest of one publication. */
#include "runner/publish/manifest.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"

static const char format[] = "slipway-manifest-1";

int manifest_measure(const char *path, unsigned mode, struct manifest_file *m_r, struct err *e)
{
	enum { CHUNK = 1 << 17 };
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ unsigned char *chunk = xmalloc(CHUNK);
	unsigned char hash[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state st;

	if (fd < 0) return err_sys(e, "cannot open '%s'", path);
	crypto_hash_sha256_init(&st);
	m_r->size = 0;
	for (;;) {
		ssize_t n = read(fd, chunk, CHUNK);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", path);
		if (n == 0) break;
		crypto_hash_sha256_update(&st, chunk, (size_t)n);
		m_r->size += (uint64_t)n;
	}
	crypto_hash_sha256_final(&st, hash);
	sodium_bin2hex(m_r->sha256, sizeof(m_r->sha256), hash, sizeof(hash));
	m_r->mode = mode & 0111 ? 0755 : 0644;
	return 0;
}

static const char *mode_text(unsigned mode)
{
	return mode & 0111 ? "0755" : "0644";
}

static int by_name(const void *a, const void *b)
{
	const struct manifest_file *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static json_t *list_files(const struct manifest_file *files, size_t n)
{
	_cleanup_free_ const struct manifest_file **sorted = xcalloc(n + 1, sizeof(struct manifest_file *));
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++) sorted[i] = &files[i];
	qsort(sorted, n, sizeof(struct manifest_file *), by_name);
	for (size_t i = 0; i < n; i++) {
		const struct manifest_file *f = sorted[i];

		/* publish_request_check lets no name through that is not UTF-8 */
		if (json_array_append_new(list, json_pack("{s:s, s:I, s:s, s:s}", "name", f->name, "size",
							  (json_int_t)f->size, "mode", mode_text(f->mode), "sha256",
							  f->sha256)))
			die("cannot write file '%s' into a manifest", f->name);
	}
	return list;
}

/* A branch's name may be anything: that must not make the manifest unwritable. */
static void set_text(json_t *j, const char *key, const char *value)
{
	if (json_object_set_new(j, key, json_any_text(value ? value : ""))) die("cannot write a manifest");
}

json_t *manifest_json(const struct publish_request *r, const struct manifest_image *image,
		      const struct manifest_file *files, size_t nfiles)
{
	json_t *j = json_object();

	set_text(j, "format", format);
	set_text(j, "repository", r->source_repo);
	set_text(j, "branch", r->source_branch);
	set_text(j, "commit", r->commit);
	set_text(j, "path", r->path);
	set_text(j, "backend", r->backend);
	set_text(j, "arch", r->arch);
	json_object_set_new(j, "emulated", json_boolean(r->emulated));
	set_text(j, "build_image", r->image_digest);
	set_text(j, "job", r->job);
	json_object_set_new(j, "event", json_integer(r->event));
	set_text(j, "checks", r->checks);
	set_text(j, "image", image->plain.name);
	set_text(j, "image_mode", mode_text(image->plain.mode));
	set_text(j, "image_sha256", image->plain.sha256);
	json_object_set_new(j, "image_size", json_integer((json_int_t)image->plain.size));
	set_text(j, "packed", image->packed.name);
	set_text(j, "packed_sha256", image->packed.sha256);
	json_object_set_new(j, "packed_size", json_integer((json_int_t)image->packed.size));
	set_text(j, "packing", r->packing ? r->packing : "bzip2");
	json_object_set_new(j, "files", list_files(files, nfiles));
	return j;
}

char *manifest_text(const json_t *j, const struct manifest_turn *turn)
{
	_cleanup_json_ json_t *whole = json_copy((json_t *)(uintptr_t)j);
	_cleanup_free_ char *text = NULL;

	json_object_set_new(whole, "sequence", json_integer(turn->sequence));
	set_text(whole, "previous", turn->previous);
	json_object_set_new(whole, "latest", json_boolean(turn->latest));
	set_text(whole, "provenance_sha256", turn->provenance_sha256);
	text = json_dumps(whole, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (!text) die("cannot write a manifest");
	return xasprintf("%s\n", text);
}

int manifest_same(const json_t *there, const json_t *j)
{
	static const char *const turns[] = {"job", "event", "sequence", "previous", "latest", "provenance_sha256"};
	_cleanup_json_ json_t *a = json_copy((json_t *)(uintptr_t)there), *b = json_copy((json_t *)(uintptr_t)j);

	for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
		json_object_del(a, turns[i]);
		json_object_del(b, turns[i]);
	}
	return json_equal(a, b);
}

int manifest_parse(const char *name, const void *data, size_t len, json_t **j_r, struct err *e)
{
	_cleanup_json_ json_t *j = NULL;

	if (json_parse(name, data, len, &j, e)) return -1;
	if (strcmp(json_string_or(j, "format", ""), format) != 0)
		return err_set(e, ERR_INPUT, "%s: its format is '%s', not %s", name, json_string_or(j, "format", ""),
			       format);
	*j_r = steal(j);
	return 0;
}

static int fits(const json_t *a, const json_t *b, const char *key)
{
	const char *x = json_string_or(a, key, ""), *y = json_string_or(b, key, "");

	return !*x || !*y || !strcmp(x, y);
}

int manifest_one_cell(const json_t *a, const json_t *b)
{
	return fits(a, b, "backend") && fits(a, b, "arch");
}

char *manifest_cell(const json_t *j)
{
	const char *backend = json_string_or(j, "backend", ""), *arch = json_string_or(j, "arch", "");
	char *name = xasprintf("%.100s%s%.100s", backend, *backend && *arch ? "-" : "", arch);
	unsigned char hash[8];
	char digits[17], *with;
	int odd = !*name;

	for (char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._+-", *p)) {
			*p = '_';
			odd = 1;
		}
	if (!odd) return name;
	/* Two that look alike now stay two. */
	with = xasprintf("%s/%s", backend, arch);
	crypto_generichash(hash, sizeof(hash), (const unsigned char *)with, strlen(with), NULL, 0);
	sodium_bin2hex(digits, sizeof(digits), hash, sizeof(hash));
	free(with);
	with = xasprintf("%s%s%s", name, *name ? "-" : "", digits);
	free(name);
	return with;
}
