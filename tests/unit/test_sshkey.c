/* ed25519 pairs as OpenSSH writes them; OpenSSH itself reads them in tests/e2e/32-a-deploy-key-that-was-never-a-file.
 */
#include "tests/unit/unit.h"

#include <sodium.h>

#include "runner/publish/deploykey.h"
#include "senv/sshkey.h"

/* The bytes between the two lines of dashes. */
static size_t unwrap(const struct secret *text, unsigned char *out, size_t room)
{
	const char *from = strchr((char *)text->data, '\n') + 1, *to = strstr(from, "-----END");
	size_t n = 0;

	assert_non_null(to);
	assert_int_equal(
		sodium_base642bin(out, room, from, (size_t)(to - from), "\n", &n, NULL, sodium_base64_VARIANT_ORIGINAL),
		0);
	return n;
}

static void test_signs_with_what_it_shows(void **state)
{
	(void)state;
	struct secret private = SECRET_INIT, ready = SECRET_INIT;
	unsigned char file[1024], blob[64], signature[crypto_sign_BYTES], *sk, *pk;
	char *public = NULL;
	size_t n, blob_len = 0;
	struct err e;

	assert_done(sshkey_make("KEY of me/site", &private, &public, &e), e);
	/* The publisher takes it. */
	assert_done(deploykey_prepare(&private, &ready, &e), e);
	assert_int_equal(strncmp(public, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", 37), 0);
	assert_string_equal(strrchr(public, '/') - strlen("KEY of me"), "KEY of me/site");
	n = unwrap(&private, file, sizeof(file));
	assert_memory_equal(file, "openssh-key-v1", 15);
	assert_int_equal(sodium_base642bin(blob, sizeof(blob), public + strlen("ssh-ed25519 "), 68, NULL, &blob_len,
					   NULL, sodium_base64_VARIANT_ORIGINAL),
			 0);
	assert_int_equal(blob_len, 51);
	pk = blob + 19;
	/* … type, public key, then 64 bytes whose second half is the public key again */
	sk = memmem(file + 110, n - 110, pk, 32);
	assert_non_null(sk);
	sk += 32 + 4;
	assert_memory_equal(sk + 32, pk, 32);
	crypto_sign_detached(signature, NULL, (const unsigned char *)"text", 4, sk);
	assert_int_equal(crypto_sign_verify_detached(signature, (const unsigned char *)"text", 4, pk), 0);
	secret_release(&private);
	secret_release(&ready);
	free(public);
}

static void test_every_length_of_comment_is_padded(void **state)
{
	(void)state;
	char comment[18] = "";
	struct err e;

	for (size_t i = 0; i < sizeof(comment) - 1; i++) {
		struct secret private = SECRET_INIT, ready = SECRET_INIT;
		unsigned char file[1024];
		char *public = NULL;
		size_t n;

		assert_done(sshkey_make(comment, &private, &public, &e), e);
		assert_done(deploykey_prepare(&private, &ready, &e), e);
		n = unwrap(&private, file, sizeof(file));
		/* all before the private part has 15 + 8 + 8 + 4 + 4 + (4 + 51) + 4 bytes */
		assert_int_equal((n - 98) % 8, 0);
		secret_release(&private);
		secret_release(&ready);
		free(public);
		comment[i] = 'x';
	}
}

static void test_odd_comments_are_refused(void **state)
{
	(void)state;
	struct secret private = SECRET_INIT;
	char *public = NULL, long_one[300];
	struct err e;

	assert_refused(sshkey_make("two\nlines", &private, &public, &e), e, ERR_INPUT,
		       "the key's comment must be printable ASCII");
	memset(long_one, 'x', sizeof(long_one));
	long_one[sizeof(long_one) - 1] = '\0';
	assert_refused(sshkey_make(long_one, &private, &public, &e), e, ERR_INPUT,
		       "the key's comment is longer than 200 bytes");
	assert_null(private.data);
	assert_null(public);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signs_with_what_it_shows),
		cmocka_unit_test(test_every_length_of_comment_is_padded),
		cmocka_unit_test(test_odd_comments_are_refused),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
