/* Key texts and key files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/buf.h"
#include "lib/fs.h"
#include "senv/keys.h"

static void test_texts_read_back(void **state)
{
	(void)state;
	struct secret key = SECRET_INIT, text = SECRET_INIT, again = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES], pub_again[SEAL_KEY_BYTES];
	char *pub_text;
	struct err e;

	assert_int_equal(key_generate(&key, pub, &e), 0);
	key_public(&key, pub_again);
	assert_memory_equal(pub, pub_again, sizeof(pub));
	key_text(&key, &text);
	assert_int_equal(text.len, strlen("senv-secret-key-1:") + 44 + 1);
	assert_int_equal(key_parse((char *)text.data, text.len, &again, &e), 0);
	assert_memory_equal(key.data, again.data, SEAL_KEY_BYTES);
	pub_text = key_public_text(pub);
	assert_int_equal(key_public_parse(pub_text, pub_again, &e), 0);
	assert_memory_equal(pub, pub_again, sizeof(pub));
	free(pub_text);
	secret_release(&key);
	secret_release(&text);
	secret_release(&again);
}

static void test_wrong_texts_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "no secret key: want 'senv-secret-key-1:' and the base64 of 32 bytes"},
		{"senv-secret-key-1:AAAA", "no secret key: want 'senv-secret-key-1:' and the base64 of 32 bytes"},
		{"senv-secret-key-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
		 "no secret key: want 'senv-secret-key-1:' and the base64 of 32 bytes"},
		{"senv-secret-key-2:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		 "no secret key: want 'senv-secret-key-1:' and the base64 of 32 bytes"},
		{"senv-public-key-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		 "that is a public key, the secret one is needed"},
	};
	struct secret key = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];
	struct err e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(key_parse(cases[i].text, strlen(cases[i].text), &key, &e), -1);
		assert_int_equal(e.kind, ERR_INPUT);
		assert_string_equal(e.text, cases[i].why);
		assert_null(key.data);
	}
	assert_int_equal(key_public_parse("senv-public-key-1:AAAA", pub, &e), -1);
	assert_string_equal(e.text, "no public key: want 'senv-public-key-1:' and the base64 of 32 bytes");
}

static void test_file_is_private_and_never_replaced(void **state)
{
	(void)state;
	char dir[] = "/tmp/test_keys.XXXXXX";
	char *path, *want;
	struct secret key = SECRET_INIT, again = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];
	struct stat st;
	struct err e;

	assert_non_null(mkdtemp(dir));
	path = xasprintf("%s/key", dir);
	assert_int_equal(key_generate(&key, pub, &e), 0);
	umask(0);
	assert_int_equal(key_write(path, &key, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(key_read(path, &again, &e), 0);
	assert_memory_equal(key.data, again.data, SEAL_KEY_BYTES);
	want = xasprintf("key file '%s' is already there", path);
	assert_int_equal(key_write(path, &key, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_string_equal(e.text, want);
	assert_int_equal(key_read("/nonexistent/key", &again, &e), -1);
	assert_int_equal(e.kind, ERR_MISSING);
	unlink(path);
	rmdir(dir);
	free(path);
	free(want);
	secret_release(&key);
	secret_release(&again);
}

static void test_passphrase_locks_and_opens(void **state)
{
	(void)state;
	struct secret key = SECRET_INIT, again = SECRET_INIT, text = SECRET_INIT, good = SECRET_INIT, bad = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];
	struct err e;

	secret_set(&good, "correct horse", 13);
	secret_set(&bad, "correct horsf", 13);
	assert_int_equal(key_generate(&key, pub, &e), 0);
	assert_int_equal(key_lock(&key, &again, &text, &e), -1);
	assert_string_equal(e.text, "the passphrase is empty");
	assert_int_equal(key_lock(&key, &good, &text, &e), 0);
	assert_true(key_is_locked((char *)text.data, text.len));
	assert_int_equal(key_parse((char *)text.data, text.len, &again, &e), -1);
	assert_int_equal(e.kind, ERR_DENIED);
	assert_string_equal(e.text, "the secret key is protected by a passphrase");
	assert_int_equal(key_unlock((char *)text.data, text.len, &bad, &again, &e), -1);
	assert_int_equal(e.kind, ERR_DENIED);
	assert_string_equal(e.text, "wrong passphrase");
	assert_int_equal(key_unlock((char *)text.data, text.len, &good, &again, &e), 0);
	assert_memory_equal(key.data, again.data, SEAL_KEY_BYTES);
	text.data[30] = text.data[30] == 'A' ? 'B' : 'A';
	assert_int_equal(key_unlock((char *)text.data, text.len, &good, &again, &e), -1);
	assert_int_equal(key_unlock((char *)text.data, text.len - 9, &good, &again, &e), -1);
	assert_string_equal(e.text, "the protected secret key is cut or changed");
	secret_release(&key);
	secret_release(&again);
	secret_release(&text);
	secret_release(&good);
	secret_release(&bad);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_read_back),
		cmocka_unit_test(test_wrong_texts_are_refused),
		cmocka_unit_test(test_file_is_private_and_never_replaced),
		cmocka_unit_test(test_passphrase_locks_and_opens),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
