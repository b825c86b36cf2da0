/* What images are asked for by, and the keys of their layers. Pure. */
#include "runner/sandbox/image_key.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/sandbox/host.h"

/* Raised whenever the same want would be made into something else: old layers are then never found again. */
enum { FORMAT = 1, MAX_PACKAGES = 1000 };

/* src: Debian policy 5.6.1 (lower case letters, digits, plus, minus, full stop), and what apk and rpm have besides:
 * upper case and underscores. The first one alphanumeric: anything else would be an option, a path or a pattern. */
static int is_package(const char *name)
{
	size_t n = strlen(name);

	if (n < 2 || n > 128 || !isalnum((unsigned char)name[0]) || (unsigned char)name[0] > 127) return 0;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-._") == n;
}

static int check_packages(const struct vec *packages, struct err *e)
{
	if (packages->len > MAX_PACKAGES)
		return err_set(e, ERR_INPUT, "%zu packages are more than %d", packages->len, MAX_PACKAGES);
	for (size_t i = 0; i < packages->len; i++) {
		if (!is_package(packages->items[i]))
			return err_set(e, ERR_INPUT, "'%.200s' is not a package name", packages->items[i]);
		if (i && strcmp(packages->items[i - 1], packages->items[i]) >= 0)
			return err_set(e, ERR_INPUT, "package list is not sorted at '%s'", packages->items[i]);
	}
	return 0;
}

void image_want_release(struct image_want *want)
{
	imageref_release(&want->ref);
}

int image_want_parse(const char *name, const char *arch, const struct vec *packages, struct image_want *want_r,
		     struct err *e)
{
	_cleanup_imageref_ struct imageref ref = {0};

	if (imageref_parse(name, &ref, e)) return -1;
	if (ref.kind == IMAGEREF_CATALOGUE)
		return err_set(e, ERR_MISSING,
			       "the image '%s' is not in this box's catalogue; put it there with: runner image add %s "
			       "REFERENCE",
			       name, name);
	if (!host_arch_known(arch)) return err_set(e, ERR_INPUT, "unknown arch '%.200s'", arch);
	if (packages->len && ref.kind == IMAGEREF_BUSYBOX)
		return err_set(e, ERR_INPUT, "image '%.200s' takes no packages", name);
	if (check_packages(packages, e)) return -1;
	*want_r = (struct image_want){.ref = ref, .arch = arch, .packages = packages};
	ref = (struct imageref){0};
	return 0;
}

static void key_of(struct buf *text, const char *owner, char key_r[IMAGE_KEY_BYTES])
{
	unsigned char hash[crypto_hash_sha256_BYTES];

	if (owner) buf_addf(text, "owner %s\n", owner);
	if (text->overflow) die("image key overflow");
	crypto_hash_sha256(hash, (const unsigned char *)text->data, text->len);
	sodium_bin2hex(key_r, IMAGE_KEY_BYTES, hash, sizeof(hash));
}

void image_key(const struct image_want *want, const char *file_hash, const char *owner, char key_r[IMAGE_KEY_BYTES])
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

	buf_addf(&text, "slipway-layer %d\nkind %s\n", FORMAT, imageref_kind_name(want->ref.kind));
	if (want->ref.kind == IMAGEREF_ROOTFS)
		buf_addf(&text, "sha256 %s\n", file_hash);
	else if (want->ref.kind == IMAGEREF_DEBIAN)
		buf_addf(&text, "suite %s\narch %s\n", want->ref.of, want->arch);
	else
		buf_addf(&text, "arch %s\nfiles 2\n", want->arch);
	key_of(&text, owner, key_r);
}

void image_chain_key(const char *below, const char *diff_id, const char *owner, char key_r[IMAGE_KEY_BYTES])
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

	buf_addf(&text, "slipway-layer %d\nkind oci\nbelow %s\ndiff %s\n", FORMAT, below ? below : "-", diff_id);
	key_of(&text, owner, key_r);
}

void image_packages_key(const char *base_digest, const char *arch, const struct vec *packages, const char *owner,
			char key_r[IMAGE_KEY_BYTES])
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

	buf_addf(&text, "slipway-layer %d\nkind packages\nbase %s\narch %s\n", FORMAT, base_digest, arch);
	for (size_t i = 0; i < packages->len; i++) buf_addf(&text, "package %s\n", packages->items[i]);
	key_of(&text, owner, key_r);
}
