/* Key pairs: making them, and their texts and files. */
#include "senv/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"

static const char secret_tag[] = "senv-secret-key-1:";
static const char public_tag[] = "senv-public-key-1:";
static const char locked_tag[] = "senv-locked-key-1:";

/* The locked form: what argon2id was given, then a secretbox of the key. */
enum {
	KEY_FILE_MAX = 4096,
	LOCK_SALT = 0,
	LOCK_OPS = LOCK_SALT + crypto_pwhash_SALTBYTES,
	LOCK_MEM = LOCK_OPS + 4, /* KiB */
	LOCK_NONCE = LOCK_MEM + 4,
	LOCK_BOX = LOCK_NONCE + crypto_secretbox_NONCEBYTES,
	LOCK_BYTES = LOCK_BOX + crypto_secretbox_MACBYTES + SEAL_KEY_BYTES,
	/* Ceilings for a file that somebody else may have written: it must not eat the machine. */
	LOCK_MAX_OPS = 16,
	LOCK_MAX_MEM = 1 << 20,
};

int key_generate(struct secret *key_r, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e)
{
	secret_alloc(key_r, SEAL_KEY_BYTES);
	if (crypto_box_keypair(pub_r, key_r->data)) return err_set(e, ERR_SYS, "cannot make a key pair");
	return 0;
}

void key_public(const struct secret *key, unsigned char pub_r[SEAL_KEY_BYTES])
{
	if (key->len != SEAL_KEY_BYTES) die("a secret key of %zu bytes", key->len);
	crypto_scalarmult_base(pub_r, key->data);
}

/* "<tag><base64>\n" in guarded memory. */
static void tagged_text(const char *tag, const unsigned char *data, size_t len, struct secret *text_r)
{
	size_t tag_len = strlen(tag), size = sodium_base64_ENCODED_LEN(len, sodium_base64_VARIANT_ORIGINAL);

	secret_alloc(text_r, tag_len + size);
	memcpy(text_r->data, tag, tag_len);
	sodium_bin2base64((char *)text_r->data + tag_len, size, data, len, sodium_base64_VARIANT_ORIGINAL);
	text_r->data[text_r->len - 1] = '\n';
}

/* Exactly want bytes after the tag; white space around is dropped. */
static int tagged_bytes(const char *tag, const char *text, size_t len, unsigned char *out, size_t want)
{
	size_t tag_len = strlen(tag), got = 0;

	while (len && strchr(" \t\r\n", text[len - 1])) len--;
	while (len && strchr(" \t\r\n", *text)) text++, len--;
	if (len < tag_len || memcmp(text, tag, tag_len)) return -1;
	if (sodium_base642bin(out, want, text + tag_len, len - tag_len, NULL, &got, NULL,
			      sodium_base64_VARIANT_ORIGINAL))
		return -1;
	return got == want ? 0 : -1;
}

static int has_tag(const char *tag, const char *text, size_t len)
{
	while (len && strchr(" \t\r\n", *text)) text++, len--;
	return len >= strlen(tag) && !memcmp(text, tag, strlen(tag));
}

void key_text(const struct secret *key, struct secret *text_r)
{
	tagged_text(secret_tag, key->data, key->len, text_r);
}

int key_parse(const char *text, size_t len, struct secret *key_r, struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;

	if (key_is_locked(text, len)) return err_set(e, ERR_DENIED, "the secret key is protected by a passphrase");
	if (has_tag(public_tag, text, len))
		return err_set(e, ERR_INPUT, "that is a public key, the secret one is needed");
	secret_alloc(&key, SEAL_KEY_BYTES);
	if (tagged_bytes(secret_tag, text, len, key.data, SEAL_KEY_BYTES))
		return err_set(e, ERR_INPUT, "no secret key: want '%s' and the base64 of 32 bytes", secret_tag);
	secret_release(key_r);
	*key_r = key;
	key = (struct secret)SECRET_INIT;
	return 0;
}

int key_read(const char *path, struct secret *key_r, struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT;

	if (secret_read_file(path, KEY_FILE_MAX, &text, e)) return -1;
	if (key_parse((char *)text.data, text.len, key_r, e)) return err_wrap(e, "cannot use key file '%s'", path);
	return 0;
}

static int write_new(int fd, const char *path, const struct secret *text, struct err *e)
{
	/* The umask may only take away: what is there from the first byte is at most 0600. */
	if (fchmod(fd, 0600)) return err_sys(e, "cannot set mode of '%s'", path);
	if (fs_write_all(fd, text->data, text->len, path, e)) return -1;
	if (fsync(fd)) return err_sys(e, "cannot sync '%s'", path);
	return 0;
}

/* The name comes after the bytes are on disk, so that a file of that name is a whole key, and takes no other's place.
 */
static int give_name(const char *temp, const char *path, struct err *e)
{
	_cleanup_free_ char *dir = xstrdup(path);
	_cleanup_close_ int fd = -1;
	char *slash = strrchr(dir, '/');

	/* Not every file system knows the first; the second leaves the temporary, which goes either way. */
	if (renameat2(AT_FDCWD, temp, AT_FDCWD, path, RENAME_NOREPLACE) && (errno != EINVAL || link(temp, path))) {
		if (errno == EEXIST) return err_set(e, ERR_INPUT, "key file '%s' is already there", path);
		return err_sys(e, "cannot create key file '%s'", path);
	}
	if (slash) slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd)) return err_sys(e, "cannot sync folder of '%s'", path);
	return 0;
}

int key_write_text(const char *path, const struct secret *text, struct err *e)
{
	_cleanup_free_ char *temp = xasprintf("%s.XXXXXX", path);
	_cleanup_close_ int fd = -1;
	struct stat st;
	int failed;

	if (!lstat(path, &st)) return err_set(e, ERR_INPUT, "key file '%s' is already there", path);
	fd = mkostemp(temp, O_CLOEXEC); /* 0600 */
	if (fd < 0) return err_sys(e, "cannot create key file '%s'", path);
	failed = write_new(fd, path, text, e) || give_name(temp, path, e);
	unlink(temp);
	return failed ? -1 : 0;
}

int key_write(const char *path, const struct secret *key, struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT;

	key_text(key, &text);
	return key_write_text(path, &text, e);
}

char *key_public_text(const unsigned char pub[SEAL_KEY_BYTES])
{
	char text[sodium_base64_ENCODED_LEN(SEAL_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL)];

	sodium_bin2base64(text, sizeof(text), pub, SEAL_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL);
	return xasprintf("%s%s", public_tag, text);
}

char *key_fingerprint(const unsigned char pub[SEAL_KEY_BYTES])
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char text[sodium_base64_ENCODED_LEN(sizeof(hash), sodium_base64_VARIANT_ORIGINAL_NO_PADDING)];

	crypto_hash_sha256(hash, pub, SEAL_KEY_BYTES);
	sodium_bin2base64(text, sizeof(text), hash, sizeof(hash), sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	return xasprintf("SHA256:%s", text);
}

int key_read_public(const char *path, char **text_r, struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];

	if (key_read(path, &key, e)) return -1;
	key_public(&key, pub);
	*text_r = key_public_text(pub);
	return 0;
}

int key_public_parse(const char *text, unsigned char pub_r[SEAL_KEY_BYTES], struct err *e)
{
	unsigned char pub[SEAL_KEY_BYTES];

	if (tagged_bytes(public_tag, text, strlen(text), pub, sizeof(pub)))
		return err_set(e, ERR_INPUT, "no public key: want '%s' and the base64 of 32 bytes", public_tag);
	memcpy(pub_r, pub, sizeof(pub));
	return 0;
}

static void put_u32(unsigned char *p, uint32_t n)
{
	for (int i = 0; i < 4; i++) p[i] = (unsigned char)(n >> (8 * i));
}

static uint32_t get_u32(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int stretch(const unsigned char *lock, const struct secret *passphrase, struct secret *wrap_r, struct err *e)
{
	secret_alloc(wrap_r, crypto_secretbox_KEYBYTES);
	if (crypto_pwhash(wrap_r->data, wrap_r->len, (const char *)passphrase->data, passphrase->len, lock + LOCK_SALT,
			  get_u32(lock + LOCK_OPS), (size_t)get_u32(lock + LOCK_MEM) * 1024,
			  crypto_pwhash_ALG_ARGON2ID13))
		return err_set(e, ERR_SYS, "cannot stretch the passphrase: not enough memory");
	return 0;
}

int key_is_locked(const char *text, size_t len)
{
	return has_tag(locked_tag, text, len);
}

int key_lock(const struct secret *key, const struct secret *passphrase, struct secret *text_r, struct err *e)
{
	_cleanup_secret_ struct secret wrap = SECRET_INIT;
	unsigned char lock[LOCK_BYTES];

	if (!passphrase->len) return err_set(e, ERR_INPUT, "the passphrase is empty");
	randombytes_buf(lock, LOCK_BOX);
	put_u32(lock + LOCK_OPS, crypto_pwhash_OPSLIMIT_MODERATE);
	put_u32(lock + LOCK_MEM, crypto_pwhash_MEMLIMIT_MODERATE / 1024);
	if (stretch(lock, passphrase, &wrap, e)) return -1;
	crypto_secretbox_easy(lock + LOCK_BOX, key->data, key->len, lock + LOCK_NONCE, wrap.data);
	tagged_text(locked_tag, lock, sizeof(lock), text_r);
	return 0;
}

int key_unlock(const char *text, size_t len, const struct secret *passphrase, struct secret *key_r, struct err *e)
{
	_cleanup_secret_ struct secret wrap = SECRET_INIT, key = SECRET_INIT;
	unsigned char lock[LOCK_BYTES];

	if (!key_is_locked(text, len)) return key_parse(text, len, key_r, e);
	if (tagged_bytes(locked_tag, text, len, lock, sizeof(lock)))
		return err_set(e, ERR_INPUT, "the protected secret key is cut or changed");
	if (get_u32(lock + LOCK_OPS) > LOCK_MAX_OPS || get_u32(lock + LOCK_OPS) < crypto_pwhash_OPSLIMIT_MIN ||
	    get_u32(lock + LOCK_MEM) > LOCK_MAX_MEM || get_u32(lock + LOCK_MEM) < crypto_pwhash_MEMLIMIT_MIN / 1024)
		return err_set(e, ERR_INPUT, "the protected secret key asks for more work than senv does");
	if (stretch(lock, passphrase, &wrap, e)) return -1;
	secret_alloc(&key, SEAL_KEY_BYTES);
	if (crypto_secretbox_open_easy(key.data, lock + LOCK_BOX, LOCK_BYTES - LOCK_BOX, lock + LOCK_NONCE, wrap.data))
		return err_set(e, ERR_DENIED, "wrong passphrase");
	secret_release(key_r);
	*key_r = key;
	key = (struct secret)SECRET_INIT;
	return 0;
}
