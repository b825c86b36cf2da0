/* Image names and the keys of their layers. Pure. */
#include "runner/sandbox/image_key.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "lib/buf.h"
#include "runner/sandbox/host.h"

/* Raised whenever the same want would be made into something else: old layers are then never found again. */
enum { FORMAT = 1, MAX_PACKAGES = 1000 };

const char *image_kind_name(enum image_kind kind)
{
	static const char *const names[] = {"debian", "busybox", "rootfs"};

	return names[kind];
}

/* src: Debian policy 5.6.1: lower case letters, digits, plus, minus, full stop; two or more, the first alphanumeric.
 * Anything else would be an option, a path or a pattern to mmdebstrap. */
static int is_package(const char *name)
{
	size_t n = strlen(name);

	if (n < 2 || n > 128) return 0;
	if (!islower((unsigned char)name[0]) && !isdigit((unsigned char)name[0])) return 0;
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == n;
}

static int is_suite(const char *name)
{
	size_t n = strlen(name);

	return n >= 2 && n <= 40 && islower((unsigned char)name[0]) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
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

int image_want_parse(const char *name, const char *arch, const struct vec *packages, struct image_want *want_r,
		     struct err *e)
{
	struct image_want want = {.of = "", .arch = arch, .packages = packages};

	if (!strcmp(name, "busybox")) {
		want.kind = IMAGE_BUSYBOX;
	} else if (!strncmp(name, "debian:", 7)) {
		want.kind = IMAGE_DEBIAN;
		want.of = name + 7;
		if (!is_suite(want.of)) return err_set(e, ERR_INPUT, "image '%.200s': no such suite", name);
	} else if (!strncmp(name, "rootfs:", 7)) {
		want.kind = IMAGE_ROOTFS;
		want.of = name + 7;
		if (*want.of != '/') return err_set(e, ERR_INPUT, "image '%.200s': not an absolute path", name);
	} else {
		return err_set(e, ERR_INPUT, "unknown image '%.200s': want debian:SUITE, busybox or rootfs:FILE", name);
	}
	if (!host_arch_known(arch)) return err_set(e, ERR_INPUT, "unknown arch '%.200s'", arch);
	if (packages->len && want.kind != IMAGE_DEBIAN)
		return err_set(e, ERR_INPUT, "image '%.200s' takes no packages", name);
	if (check_packages(packages, e)) return -1;
	*want_r = want;
	return 0;
}

void image_key(const struct image_want *want, const char *file_hash, const char *owner, char key_r[IMAGE_KEY_BYTES])
{
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
	unsigned char hash[crypto_hash_sha256_BYTES];

	buf_addf(&text, "slipway-layer %d\nkind %s\n", FORMAT, image_kind_name(want->kind));
	switch (want->kind) {
	case IMAGE_DEBIAN: buf_addf(&text, "suite %s\narch %s\n", want->of, want->arch); break;
	case IMAGE_BUSYBOX: buf_addf(&text, "arch %s\n", want->arch); break;
	case IMAGE_ROOTFS: buf_addf(&text, "sha256 %s\n", file_hash); break;
	}
	for (size_t i = 0; i < want->packages->len; i++) buf_addf(&text, "package %s\n", want->packages->items[i]);
	if (owner) buf_addf(&text, "owner %s\n", owner);
	if (text.overflow) die("image key overflow");
	crypto_hash_sha256(hash, (const unsigned char *)text.data, text.len);
	sodium_bin2hex(key_r, IMAGE_KEY_BYTES, hash, sizeof(hash));
}
