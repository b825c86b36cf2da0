/* The pure parts of a publication: remotes, requests, manifests, keys. */
#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "runner/publish/deploykey.h"
#include "runner/publish/keyfd.h"
#include "runner/publish/manifest.h"
#include "runner/publish/publish.h"
#include "runner/publish/remote.h"
#include "tests/unit/unit.h"

#define SHA "0123456789abcdef0123456789abcdef01234567"

/* --- remotes --- */

static void test_remotes_that_are_taken(void **state)
{
	static const struct {
		const char *text;
		enum remote_kind kind;
		const char *url, *user, *host;
		int port;
	} rows[] = {
		{"/srv/x.git", REMOTE_PATH, "/srv/x.git", NULL, NULL, 0},
		{"../x.git", REMOTE_PATH, "../x.git", NULL, NULL, 0},
		{"./a:b", REMOTE_PATH, "./a:b", NULL, NULL, 0},
		{"file:///srv/x.git", REMOTE_PATH, "/srv/x.git", NULL, NULL, 0},
		{"ssh://me@Example.com:2222/x.git", REMOTE_SSH, "ssh://me@Example.com:2222/x.git", "me", "example.com",
		 2222},
		{"ssh://example.com/~/x.git", REMOTE_SSH, "ssh://example.com/~/x.git", "git", "example.com", 22},
		{"ssh://git@[::1]:22/x", REMOTE_SSH, "ssh://git@[::1]:22/x", "git", "::1", 22},
		{"ssh://git@[::1]/x", REMOTE_SSH, "ssh://git@[::1]/x", "git", "::1", 22},
		{"git@github.com:me/x.git", REMOTE_SSH, "git@github.com:me/x.git", "git", "github.com", 22},
		{"https://Example.com/x.git", REMOTE_HTTPS, "https://Example.com/x.git", "git", "example.com", 443},
		{"https://me@x:8443/y", REMOTE_HTTPS, "https://x:8443/y", "me", "x", 8443},
		{"host:x.git", REMOTE_SSH, "host:x.git", "git", "host", 22},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_remote_ struct remote r = {.kind = REMOTE_PATH};

		assert_done(remote_parse(rows[i].text, &r, &e), e);
		assert_int_equal(r.kind, rows[i].kind);
		assert_string_equal(r.url, rows[i].url);
		assert_string_equal(r.user ? r.user : "-", rows[i].user ? rows[i].user : "-");
		assert_string_equal(r.host ? r.host : "-", rows[i].host ? rows[i].host : "-");
		assert_int_equal(r.port, rows[i].port);
	}
}

static void test_remotes_that_are_refused(void **state)
{
	static const char *const rows[][2] = {
		{"", "bad remote: it is empty"},
		{"a\nb", "bad remote: it holds a control character"},
		{"http://x/y", "bad remote 'http://x/y': it can be ssh://, git@host:path, https:// or a path"},
		{"git://x/y", "bad remote 'git://x/y': it can be ssh://, git@host:path, https:// or a path"},
		{"https://x", "bad remote 'https://x': no path"},
		{"https://u:secret@x/y",
		 "bad remote: a password does not belong into it; the token is given as the key"},
		{"-oProxyCommand=x", "bad remote '-oProxyCommand=x': it looks like an option; write ./ before it"},
		{"ssh://-oProxyCommand=x/y", "bad remote 'ssh://-oProxyCommand=x/y': strange host name"},
		{"ssh://x", "bad remote 'ssh://x': no path"},
		{"ssh://x/", "bad remote 'ssh://x/': no path"},
		{"ssh:///x", "bad remote 'ssh:///x': strange host name"},
		{"ssh://a b/x", "bad remote 'ssh://a b/x': strange host name"},
		{"ssh://@x/y", "bad remote 'ssh://@x/y': strange user name"},
		{"ssh://x:/y", "bad remote 'ssh://x:/y': strange port"},
		{"ssh://x:0/y", "bad remote 'ssh://x:0/y': strange port"},
		{"ssh://x:65536/y", "bad remote 'ssh://x:65536/y': strange port"},
		{"ssh://x:+5/y", "bad remote 'ssh://x:+5/y': strange port"},
		{"x:-y", "bad remote 'x:-y': no path"},
		{"x:", "bad remote 'x:': no path"},
		{":x", "bad remote ':x': strange host name"},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct remote r;

		assert_refused(remote_parse(rows[i][0], &r, &e), e, ERR_INPUT, rows[i][1]);
		assert_null(r.url);
	}
}

/* --- requests --- */

static const char good[] =
	"{\"remote\":\"/srv/d.git\",\"branch\":\"main\",\"path\":\"unix\",\"commit\":\"" SHA "\","
	"\"source_repo\":\"demo/site\",\"source_branch\":\"main\",\"backend\":\"unix\",\"arch\":\"amd64\","
	"\"emulated\":true,\"keep\":3,\"image_digest\":\"sha256:00\",\"job\":\"demo/site 3.1\",\"checks\":\"unix\","
	"\"cache\":\"/c\",\"source_mirror\":\"/m\",\"files\":["
	"{\"name\":\"www\",\"file\":\"/o/www\",\"mode\":493},"
	"{\"name\":\"a.conf\",\"file\":\"/o/a.conf\",\"mode\":420}]}";

/* The good request with one member replaced (NULL: taken away). */
static json_t *with(const char *key, const char *value)
{
	json_t *j = NULL;
	struct err e;

	assert_done(json_parse("good", good, strlen(good), &j, &e), e);
	if (!key) return j;
	if (value)
		json_object_set_new(j, key, json_loads(value, JSON_DECODE_ANY, NULL));
	else
		json_object_del(j, key);
	return j;
}

static void test_a_request_goes_through_json_and_back(void **state)
{
	_cleanup_json_ json_t *j = with(NULL, NULL), *back = NULL;
	struct publish_request r;
	struct err e;

	(void)state;
	assert_done(publish_request_from_json(j, &r, &e), e);
	assert_string_equal(r.remote, "/srv/d.git");
	assert_string_equal(r.job, "demo/site 3.1");
	assert_int_equal(r.emulated, 1);
	assert_int_equal(r.keep, 3);
	assert_null(r.known_hosts);
	assert_int_equal(r.nfiles, 2);
	assert_int_equal(r.files[0].mode, 0755);
	assert_string_equal(r.files[1].file, "/o/a.conf");
	back = publish_request_to_json(&r);
	assert_int_equal(json_equal(j, back), 1);
	publish_request_release(&r);
	assert_null(r.files);
}

static void test_members_that_may_be_absent(void **state)
{
	static const char *const names[] = {"source_repo",  "source_branch", "backend", "arch",   "emulated",
					    "image_digest", "keep",          "job",     "checks", "source_mirror"};
	struct publish_request r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		_cleanup_json_ json_t *j = with(names[i], NULL);

		assert_done(publish_request_from_json(j, &r, &e), e);
		assert_non_null(r.backend);
		publish_request_release(&r);
	}
}

static void test_requests_that_are_refused(void **state)
{
	static const char *const rows[][3] = {
		{"remote", NULL, "'remote' is missing"},
		{"remote", "7", "'remote' is not a string"},
		{"remote", "\"\"", "bad remote: it is empty"},
		{"branch", "\"\"", "the deployment branch is empty"},
		{"cache", "\"\"", "no folder for the deployment repository's clone"},
		{"path", "\"\"", "the path in the deployment repository is empty"},
		{"path", "\"..\"", "bad path '..': it holds '.' or '..'"},
		{"path", "\"a/./b\"", "bad path 'a/./b': it holds '.' or '..'"},
		{"path", "\"a/../b\"", "bad path 'a/../b': it holds '.' or '..'"},
		{"path", "\"/a\"", "bad path '/a': it holds an empty name"},
		{"path", "\"a/\"", "bad path 'a/': it holds an empty name"},
		{"path", "\"a/.git/b\"", "bad path 'a/.git/b': it holds '.git'"},
		{"path", "\"a\\\\b\"", "bad path 'a\\b': it holds a control character or a backslash"},
		{"path", "7", "'path' is not a string"},
		{"commit", "\"\"", "bad commit '': not 40 lower-case hex digits"},
		{"commit", "\"0123456789ABCDEF0123456789abcdef01234567\"",
		 "bad commit '0123456789ABCDEF0123456789abcdef01234567': not 40 lower-case hex digits"},
		{"commit", "\"0000000000000000000000000000000000000000\"",
		 "bad commit '0000000000000000000000000000000000000000': no commit has that name"},
		{"backend", "\"a\\nb\"", "bad backend: it holds a control character"},
		{"author", "\"x\"", "bad author 'x': it must be of the form 'Name <mail>'"},
		{"author", "\"<a@b>\"", "bad author '<a@b>': it must be of the form 'Name <mail>'"},
		{"author", "\"a <>\"", "bad author 'a <>': it must be of the form 'Name <mail>'"},
		{"author", "\"a <b> c\"", "bad author 'a <b> c': it must be of the form 'Name <mail>'"},
		{"message", "\" \"", "bad message: it is empty"},
		{"message", "\"a\\u0007\"", "bad message: it holds a control character"},
		{"mode", "511", "bad mode '777': it can be 0755 or 0644"},
		{"mode", "-1", "'mode' is not a file mode"},
		{"event", "-1", "'event' is not a number of one"},
		{"keep", "-1", "'keep' is not a number of images"},
		{"keep", "2147483648", "'keep' is not a number of images"},
		{"keep", "\"3\"", "'keep' is not a whole number"},
		{"files", "{}", "'files' is not a list"},
		{"files", "[]", "there is no file to publish"},
		{"files", "[{}]", "file 1: 'name' is missing"},
		{"files", "[{\"name\":\"a\",\"file\":\"f\",\"mode\":-1}]", "file 1: 'mode' is not a file mode"},
		{"files", "[{\"name\":\"a/b\",\"file\":\"f\",\"mode\":420}]", "bad file name 'a/b': it holds a slash"},
		{"files", "[{\"name\":\"\",\"file\":\"f\",\"mode\":420}]", "bad file name '': it holds an empty name"},
		{"files", "[{\"name\":\"manifest.json\",\"file\":\"f\",\"mode\":420}]",
		 "bad file name 'manifest.json': the publisher writes that itself"},
		{"files", "[{\"name\":\"a\",\"file\":\"f\",\"mode\":1},{\"name\":\"a\",\"file\":\"g\",\"mode\":1}]",
		 "two files are named 'a'"},
		{"files", "[{\"name\":\"a\",\"file\":\"f\",\"mode\":1},{\"name\":\"a.bz2\",\"file\":\"g\",\"mode\":1}]",
		 "file name 'a.bz2' is also that of the packed image"},
	};
	struct publish_request r;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_json_ json_t *j = with(rows[i][0], rows[i][1]);
		_cleanup_free_ char *want = xasprintf("publish request: %s", rows[i][2]);

		assert_refused(publish_request_from_json(j, &r, &e), e, ERR_INPUT, want);
		assert_null(r.remote);
	}
}

static void test_a_request_that_json_cannot_hold(void **state)
{
	char name_text[] = "www", odd[] = "/o/\xff", good_path[] = "/o/www", remote[] = "/d";
	struct publish_file file = {.name = name_text, .file = odd, .mode = 0644};
	struct publish_request r = {.remote = remote, .files = &file, .nfiles = 1};
	_cleanup_json_ json_t *j = NULL, *name = json_any_text("b\xffr\xc3"), *plain = json_any_text("b\xc3\xbcr");

	(void)state;
	assert_null(publish_request_to_json(&r));
	file.file = good_path;
	r.source_branch = odd;
	assert_null(publish_request_to_json(&r));
	r.source_branch = NULL;
	j = publish_request_to_json(&r);
	assert_non_null(j);
	assert_string_equal(json_string_value(name), "b?r?");
	assert_string_equal(json_string_value(plain), "b\xc3\xbcr");
}

/* --- manifests --- */

static void test_a_manifest_is_canonical(void **state)
{
	static const char want[] =
		"{\n \"arch\": \"amd64\",\n \"backend\": \"unix\",\n \"branch\": \"\xc3\xbc-?\",\n \"build_image\": "
		"\"sha256:00\",\n \"checks\": \"unix\",\n \"commit\": \"" SHA
		"\",\n \"emulated\": true,\n \"event\": 7,\n \"files\": [\n"
		"  {\n   \"mode\": \"0644\",\n   \"name\": \"a\",\n   \"sha256\": \"aa\",\n   \"size\": 1\n  },\n"
		"  {\n   \"mode\": \"0755\",\n   \"name\": \"b\",\n   \"sha256\": \"bb\",\n   \"size\": 2\n  }\n ],\n"
		" \"format\": \"slipway-manifest-1\",\n \"image\": \"www\",\n \"image_mode\": \"0755\",\n"
		" \"image_sha256\": \"11\",\n \"image_size\": 5000000000,\n \"job\": \"demo/site 3.1\",\n"
		" \"latest\": true,\n"
		" \"packed\": \"www.bz2\",\n \"packed_sha256\": \"22\",\n \"packed_size\": 7,\n \"packing\": "
		"\"bzip2\",\n"
		" \"path\": \"unix\",\n \"previous\": \"\",\n \"provenance_sha256\": \"33\",\n"
		" \"repository\": \"demo/site\",\n \"sequence\": 4\n}\n";
	_cleanup_json_ json_t *j = with("source_branch", "\"\xc3\xbc-?\""), *m = NULL, *there = NULL, *same = NULL,
			      *other = NULL;
	struct manifest_turn turn = {.sequence = 4, .previous = "", .latest = 1, .provenance_sha256 = "33"};
	struct manifest_image image = {.plain = {"www", 5000000000, 0755, "11"}, .packed = {"www.bz2", 7, 0755, "22"}};
	struct manifest_file files[] = {{"b", 2, 0755, "bb"}, {"a", 1, 0644, "aa"}};
	_cleanup_free_ char *text = NULL, *again = NULL;
	struct publish_request r;
	struct err e;

	(void)state;
	assert_done(publish_request_from_json(j, &r, &e), e);
	r.event = 7;
	m = manifest_json(&r, &image, files, 2);
	text = manifest_text(m, &turn);
	assert_string_equal(text, want);
	assert_done(manifest_parse("m", text, strlen(text), &there, &e), e);
	free_p(&r.job);
	r.job = xstrdup("demo/site 4.1");
	same = manifest_json(&r, &image, files, 2);
	assert_int_equal(manifest_same(there, same), 1);
	files[0].size++;
	free_p(&r.source_branch);
	r.source_branch = xstrdup("\xff");
	other = manifest_json(&r, &image, files, 2);
	assert_int_equal(manifest_same(there, other), 0);
	again = manifest_text(other, &turn);
	assert_non_null(strstr(again, "\"branch\": \"?\""));
	publish_request_release(&r);
}

static void test_cells(void **state)
{
	static const char *const rows[][3] = {
		{"unix", "arm64", "unix-arm64"}, {"unix", "", "unix"}, {"", "arm64", "arm64"}};
	_cleanup_json_ json_t *odd = json_pack("{s:s, s:s}", "backend", "a/b", "arch", "x"),
			      *like = json_pack("{s:s, s:s}", "backend", "a_b", "arch", "x"), *empty = json_object();
	_cleanup_free_ char *odd_name = manifest_cell(odd), *like_name = manifest_cell(like),
			    *empty_name = manifest_cell(empty);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_json_ json_t *j = json_pack("{s:s, s:s}", "backend", rows[i][0], "arch", rows[i][1]);
		_cleanup_free_ char *name = manifest_cell(j);

		assert_string_equal(name, rows[i][2]);
		assert_int_equal(manifest_one_cell(j, empty), 1);
	}
	assert_string_equal(like_name, "a_b-x");
	assert_string_not_equal(odd_name, like_name);
	assert_null(strchr(odd_name, '/'));
	assert_int_equal(strlen(empty_name), 16);
	assert_int_equal(manifest_one_cell(odd, like), 0);
}

static void test_measuring_a_file(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	_cleanup_free_ char *path = xasprintf("%s/f", dir);
	struct manifest_file m = {.name = "f"};
	struct err e;

	(void)state;
	assert_done(fs_write_file(path, "abc", 3, 0600, &e), e);
	assert_done(manifest_measure(path, 0710, &m, &e), e);
	assert_int_equal(m.size, 3);
	assert_int_equal(m.mode, 0755);
	assert_string_equal(m.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(m.name, "f");
	unlink(path);
	assert_int_equal(manifest_measure(path, 0600, &m, &e), -1);
	assert_int_equal(e.kind, ERR_MISSING);
}

/* --- keys --- */

static void test_a_key_is_a_descriptor(void **state)
{
	struct keyfd k = KEYFD_INIT;
	_cleanup_free_ char *path = NULL;
	_cleanup_buf_ struct buf text = BUF_INIT(100);
	_cleanup_close_ int copy = -1;
	struct stat st;
	struct err e;

	(void)state;
	assert_done(keyfd_make(&k, (const char *const[]){"one", "", " two\n", NULL}, &e), e);
	path = xasprintf("/proc/self/fd/%d", k.fd);
	assert_done(fs_read_file(path, &text, &e), e);
	assert_string_equal(buf_str(&text), "one two\n");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_nlink, 0);
	assert_true(fcntl(k.fd, F_GETFD) & FD_CLOEXEC);
	copy = dup(k.fd);
	keyfd_release(&k);
	assert_int_equal(k.fd, -1);
	buf_clear(&text);
	assert_done(fs_read_fd(copy, "copy", &text, &e), e);
	assert_int_equal(text.len, 8);
	for (size_t i = 0; i < text.len; i++) assert_int_equal(text.data[i], 0);
	keyfd_release(&k);
}

static void test_tokens(void **state)
{
	static const struct {
		const char *text, *ready, *why;
	} rows[] = {
		{"ghp_x\n", "ghp_x", NULL},
		{"a", "a", NULL},
		{"", NULL, "the token is empty"},
		{" \n", NULL, "the token is empty"},
		{"a b", NULL, "the token is no token: it holds a space or a control character"},
		{"a\nusername=b", NULL, "the token is no token: it holds a space or a control character"},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_secret_ struct secret token = SECRET_INIT, ready = SECRET_INIT;

		secret_set(&token, rows[i].text, strlen(rows[i].text));
		if (rows[i].why) {
			assert_refused(deploykey_token(&token, &ready, &e), e, ERR_INPUT, rows[i].why);
			continue;
		}
		assert_done(deploykey_token(&token, &ready, &e), e);
		assert_string_equal((char *)ready.data, rows[i].ready);
	}
}

static void make_key(const char *dir, const char *const *options, struct secret *key_r)
{
	_cleanup_free_ char *path = xasprintf("%s/key", dir), *pub = xasprintf("%s/key.pub", dir);
	_cleanup_vec_ struct vec argv = VEC_INIT;
	struct child_opts o = {.argv = NULL};
	struct err e;

	unlink(path);
	unlink(pub);
	vec_add(&argv, "ssh-keygen");
	vec_add(&argv, "-q");
	vec_add_all(&argv, options);
	vec_add(&argv, "-f");
	vec_add(&argv, path);
	o.argv = (const char *const *)vec_argv(&argv);
	assert_done(child_check(&o, NULL, 60000, NULL, &e), e);
	assert_done(secret_read_file(path, 65536, key_r, &e), e);
}

static void test_keys_that_are_taken_and_refused(void **state)
{
	static const struct {
		const char *options[9];
		const char *why;
	} rows[] = {
		{{"-t", "ed25519", "-N", ""}, NULL},
		{{"-t", "ecdsa", "-N", ""}, NULL},
		{{"-t", "ecdsa", "-m", "PEM", "-N", ""}, NULL},
		{{"-t", "ed25519", "-N", "secret"},
		 "the deploy key has a passphrase: seal one without (`ssh-keygen -p -N ''`)"},
		{{"-t", "ecdsa", "-m", "PEM", "-N", "secret"},
		 "the deploy key has a passphrase: seal one without (`ssh-keygen -p -N ''`)"},
		{{"-t", "rsa", "-b", "1024", "-N", ""}, NULL},
		{{"-t", "rsa", "-b", "1024", "-m", "PEM", "-N", ""}, NULL},
	};
	_cleanup_temp_ char *dir = unit_temp();
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_secret_ struct secret key = SECRET_INIT, ready = SECRET_INIT;

		make_key(dir, rows[i].options, &key);
		if (rows[i].why) {
			assert_refused(deploykey_prepare(&key, &ready, &e), e, ERR_INPUT, rows[i].why);
			continue;
		}
		assert_done(deploykey_prepare(&key, &ready, &e), e);
		assert_int_equal(ready.len, key.len);
		assert_memory_equal(ready.data, key.data, key.len);
	}
}

static void test_line_ends_of_a_key_are_mended(void **state)
{
	static const char ugly[] = "-----BEGIN EC PRIVATE KEY-----\r\nAAAA\r\n-----END EC PRIVATE KEY-----";
	_cleanup_secret_ struct secret key = SECRET_INIT, ready = SECRET_INIT;
	struct err e;

	(void)state;
	secret_set(&key, ugly, strlen(ugly));
	assert_done(deploykey_prepare(&key, &ready, &e), e);
	assert_string_equal((char *)ready.data, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n");
	assert_int_equal(ready.len, strlen((char *)ready.data));
}

static void test_what_is_no_key(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *why;
	} rows[] = {
		{"", 0, "the deploy key is not a text file"},
		{"a\0b", 3, "the deploy key is not a text file"},
		{"\r", 1, "the deploy key is not a private key: it has no line -----BEGIN … PRIVATE KEY-----"},
		{"hello", 5, "the deploy key is not a private key: it has no line -----BEGIN … PRIVATE KEY-----"},
		{"-----BEGIN PUBLIC KEY-----", 26,
		 "the deploy key is not a private key: it has no line -----BEGIN … PRIVATE KEY-----"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----", 35,
		 "the deploy key is damaged: its first lines are not those of a key"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", 41,
		 "the deploy key is damaged: its first lines are not those of a key"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\n", 69,
		 "the deploy key is damaged: its first lines are not those of a key"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA/////25vbmU=\n", 69,
		 "the deploy key is damaged: its first lines are not those of a key"},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		_cleanup_secret_ struct secret key = SECRET_INIT, ready = SECRET_INIT;

		secret_set(&key, rows[i].text, rows[i].len);
		assert_refused(deploykey_prepare(&key, &ready, &e), e, ERR_INPUT, rows[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_remotes_that_are_taken),
		cmocka_unit_test(test_remotes_that_are_refused),
		cmocka_unit_test(test_a_request_goes_through_json_and_back),
		cmocka_unit_test(test_members_that_may_be_absent),
		cmocka_unit_test(test_requests_that_are_refused),
		cmocka_unit_test(test_a_request_that_json_cannot_hold),
		cmocka_unit_test(test_a_manifest_is_canonical),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_measuring_a_file),
		cmocka_unit_test(test_a_key_is_a_descriptor),
		cmocka_unit_test(test_tokens),
		cmocka_unit_test(test_keys_that_are_taken_and_refused),
		cmocka_unit_test(test_line_ends_of_a_key_are_mended),
		cmocka_unit_test(test_what_is_no_key),
	};

	secret_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
