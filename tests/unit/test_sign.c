/* Signatures, their keys and what their comments say; that minisign itself agrees is shown end to end. */
#include <sodium.h>
#include <unistd.h>

#include "runner/publish/minisign.h"
#include "runner/publish/signkey.h"
#include "runner/publish/stamp.h"
#include "runner/publish/sums.h"
#include "tests/unit/unit.h"

/* Made with minisign 0.11: the file is "hi\n". */
static const char theirs[] = "untrusted comment: minisign public key 94249CBE01E48972\n"
			     "RWRyieQBvpwklGPDicx5JzyKZ5TeaI3L46eI8jOvmlKRuFuS/GJttdWS\n";
static const char their_sig[] =
	"untrusted comment: signature from minisign secret key\n"
	"RURyieQBvpwklHS+zpc/QcaZ4YdK9iRccTLt2vmL4gQb2OdKgid4ubJA59YOs8bpvtIJHww8DkFzfPW7322TwSZvBPSJ9vROuAA=\n"
	"trusted comment: tc\n"
	"KAYsesjXZ5LE7OrX9T7QFe7AMptHpGwA7yzT9V3KJOv7kFIjaOa1oDCncsYitir3W6dy7rr8bwrNjZSyMXyHCg==\n";

static struct minisign_signature parsed(const char *text)
{
	struct minisign_signature s;
	struct err e;

	assert_done(minisign_signature_parse(text, strlen(text), &s, &e), e);
	return s;
}

static void test_a_signature_of_minisign(void **state)
{
	struct minisign_signature s = parsed(their_sig);
	struct minisign_public pub, other;
	_cleanup_free_ char *text = NULL;
	struct err e;

	(void)state;
	assert_done(minisign_public_parse(theirs, strlen(theirs), &pub, &e), e);
	text = minisign_public_text(&pub);
	assert_string_equal(text, theirs);
	assert_string_equal(s.comment, "tc");
	assert_done(minisign_verify(&pub, &s, "hi\n", 3, &e), e);
	assert_refused(minisign_verify(&pub, &s, "ho\n", 3, &e), e, ERR_DENIED, "does not fit what was signed");
	s.comment[0] = 'T';
	assert_refused(minisign_verify(&pub, &s, "hi\n", 3, &e), e, ERR_DENIED, "has a changed comment");
	other = pub;
	other.id[0]++;
	assert_refused(minisign_verify(&other, &s, "hi\n", 3, &e), e, ERR_DENIED,
		       "was signed by key 94249CBE01E48972, not by 94249CBE01E48973");
}

static void test_our_own_keys(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/key", dir), *sig = NULL, *again = NULL, *line = NULL;
	_cleanup_secret_ struct secret key = SECRET_INIT, damaged = SECRET_INIT, none = SECRET_INIT;
	struct minisign_public pub, same, next;
	struct minisign_signature s;
	struct err e;

	(void)state;
	assert_done(signkey_make(path, &pub, &e), e);
	assert_done(signkey_make(path, &same, &e), e);
	assert_memory_equal(&pub, &same, sizeof(pub));
	assert_done(signkey_read(path, &key, &e), e);
	sig = minisign_sign(&key, "abc", 3, "a comment");
	again = minisign_sign(&key, "abc", 3, "a comment");
	assert_string_equal(sig, again);
	s = parsed(sig);
	assert_done(minisign_verify(&pub, &s, "abc", 3, &e), e);
	line = minisign_public_line(&pub);
	assert_done(signkey_public(line, &same, &e), e);
	assert_memory_equal(&pub, &same, sizeof(pub));

	assert_int_equal(signkey_switch(path, &next, &e), -1);
	assert_int_equal(e.kind, ERR_MISSING);
	assert_done(signkey_next(path, &next, &e), e);
	assert_done(signkey_switch(path, &same, &e), e);
	assert_memory_equal(&next, &same, sizeof(next));
	assert_memory_not_equal(&pub, &next, sizeof(pub));

	minisign_generate(&damaged);
	damaged.data[160] = damaged.data[160] == 'A' ? 'B' : 'A';
	assert_refused(minisign_secret_parse(&damaged, &none, &e), e, ERR_INPUT,
		       "the key is damaged: its halves do not fit");
	secret_set(&damaged, theirs, strlen(theirs));
	assert_refused(minisign_secret_parse(&damaged, &none, &e), e, ERR_INPUT, "not a minisign secret key");
}

static void test_stamps(void **state)
{
	static const char *const bad[][2] = {
		{"", "its comment tells no repository"},
		{"repository=%zz path=a commit=b sequence=1", "its comment tells no repository"},
		{"repository=%00 path=a commit=b sequence=1", "its comment tells no repository"},
		{"repository=a xpath=a commit=b sequence=1", "its comment tells no path"},
		{"repository=a path=a commit=0123456789012345678901234567890123456789a sequence=1",
		 "its comment tells no commit"},
		{"repository=a path=a commit=b sequence=0", "its comment tells no sequence number"},
		{"repository=a path=a commit=b sequence=1x", "its comment tells no sequence number"},
		{"repository=a path=a commit=b sequence=9999999999999999", "its comment tells no sequence number"},
	};
	struct stamp s, back;
	_cleanup_free_ char *text = NULL;
	struct err e;

	(void)state;
	stamp_set(&s, "me/a site=\n%\xff", "x y/z", "abc", 12);
	text = stamp_text(&s);
	assert_string_equal(text, "repository=me/a%20site%3D%0A%25%FF path=x%20y/z commit=abc sequence=12");
	assert_done(stamp_parse(text, &back, &e), e);
	assert_string_equal(back.repository, "me/a site=\n%\xff");
	assert_string_equal(back.path, "x y/z");
	assert_int_equal(back.sequence, 12);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(stamp_parse(bad[i][0], &s, &e), e, ERR_INPUT, bad[i][1]);
}

static void test_sums_take_no_name_that_leads_elsewhere(void **state)
{
	static const char sum[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	__attribute__((cleanup(sums_release))) struct sums s = {0};
	_cleanup_free_ char *text = NULL;

	(void)state;
	sums_add(&s, "b", sum);
	sums_add(&s, "../x", sum);
	sums_add(&s, "a\nb", sum);
	sums_add(&s, "", sum);
	sums_add(&s, "c", "xyz");
	sums_add_text(&s, "a", "abc", 3);
	sums_add_text(&s, "b", "other", 5);
	text = sums_text(&s);
	assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n"
				  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_signature_of_minisign),
		cmocka_unit_test(test_our_own_keys),
		cmocka_unit_test(test_stamps),
		cmocka_unit_test(test_sums_take_no_name_that_leads_elsewhere),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
