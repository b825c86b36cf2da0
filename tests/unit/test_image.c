#include "tests/unit/unit.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runner/sandbox/image.h"
#include "runner/sandbox/image_key.h"
#include "runner/sandbox/layer.h"
#include "runner/sandbox/ociimage.h"
#include "runner/sandbox/skopeo.h"
#include "runner/sandbox/unpack.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FORMS                                                                                                          \
	"want a name of the catalogue, debian:SUITE, busybox, docker://NAME:TAG, oci:DIR:TAG, docker-archive:FILE or " \
	"rootfs:PATH"

static int parse(const char *name, const char *arch, const char *package, struct image_want *w, struct err *e)
{
	static struct vec list;

	vec_release(&list);
	if (package) vec_add(&list, package);
	*w = (struct image_want){0};
	return image_want_parse(name, arch, &list, w, e);
}

static void test_names_are_read(void **state)
{
	static const struct {
		const char *name;
		enum imageref_kind kind;
		const char *of, *tag, *digest;
	} good[] = {
		{"debian:bookworm", IMAGEREF_DEBIAN, "bookworm", NULL, NULL},
		{"busybox", IMAGEREF_BUSYBOX, "busybox", NULL, NULL},
		{"rootfs:/a b.tar", IMAGEREF_ROOTFS, "/a b.tar", NULL, NULL},
		{"rootfs:/a:b", IMAGEREF_ROOTFS, "/a:b", NULL, NULL},
		{"oci:/a/b:c", IMAGEREF_OCI, "/a/b", "c", NULL},
		{"oci:/a:x/b", IMAGEREF_OCI, "/a:x/b", NULL, NULL},
		{"docker-archive:/a.tar", IMAGEREF_DOCKER_ARCHIVE, "/a.tar", NULL, NULL},
		{"docker://alpine", IMAGEREF_DOCKER, "alpine", NULL, NULL},
		{"docker://alpine:3.19", IMAGEREF_DOCKER, "alpine", "3.19", NULL},
		{"docker://localhost:5000/a", IMAGEREF_DOCKER, "localhost:5000/a", NULL, NULL},
		{"docker://ghcr.io/a-b/c__d.e/f:V1_.-x", IMAGEREF_DOCKER, "ghcr.io/a-b/c__d.e/f", "V1_.-x", NULL},
		{"docker://a/b:c@sha256:" HEX64, IMAGEREF_DOCKER, "a/b", "c", "sha256:" HEX64},
	};
	struct image_want w;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		assert_done(parse(good[i].name, "arm64", NULL, &w, &e), e);
		assert_int_equal(w.ref.kind, good[i].kind);
		assert_string_equal(w.ref.of, good[i].of);
		if (!good[i].tag != !w.ref.tag || !good[i].digest != !w.ref.digest) fail_msg("%s", good[i].name);
		if (w.ref.tag) assert_string_equal(w.ref.tag, good[i].tag);
		if (w.ref.digest) assert_string_equal(w.ref.digest, good[i].digest);
		image_want_release(&w);
	}
	assert_done(parse("debian:bookworm", "arm64", "libstdc++-12-dev", &w, &e), e);
	image_want_release(&w);
}

static void test_registries_of_this_network_are_known(void **state)
{
	static const char *const local[] = {"localhost/a", "localhost:5000/a", "127.0.0.1:5000/a",
					    "10.1.2.3/a",  "registry:5000/a",  "127.1/a"},
				 *const far[] = {"alpine", "me/alpine", "ghcr.io/a", "registry.example.com:5000/a"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(local); i++)
		assert_true(imageref_registry_is_local(
			&(struct imageref){.kind = IMAGEREF_DOCKER, .of = (char *)(uintptr_t)local[i]}));
	for (size_t i = 0; i < ARRAY_LEN(far); i++)
		assert_false(imageref_registry_is_local(
			&(struct imageref){.kind = IMAGEREF_DOCKER, .of = (char *)(uintptr_t)far[i]}));
}

static void test_names_are_refused(void **state)
{
	static const struct {
		const char *name, *arch, *package, *why;
	} bad[] = {
		{"alpine", "amd64", NULL,
		 "the image 'alpine' is not in this box's catalogue; put it there with: runner image add alpine "
		 "REFERENCE"},
		{"", "amd64", NULL, "unknown image '': " FORMS},
		{"A", "amd64", NULL, "unknown image 'A': " FORMS},
		{"busybox:1", "amd64", NULL, "unknown image 'busybox:1': did you mean 'docker://busybox:1'?"},
		{"ghcr.io/a/b", "amd64", NULL, "unknown image 'ghcr.io/a/b': did you mean 'docker://ghcr.io/a/b'?"},
		{"docker://", "amd64", NULL, "image 'docker://': '' is not a name in a registry"},
		{"docker://Alpine:3", "amd64", NULL,
		 "image 'docker://Alpine:3': a name in a registry has no upper case letters"},
		{"docker://a//b", "amd64", NULL, "image 'docker://a//b': '' is not a name in a registry"},
		{"docker://a/../b", "amd64", NULL, "image 'docker://a/../b': '..' is not a name in a registry"},
		{"docker://a:", "amd64", NULL, "image 'docker://a:': '' is not a tag"},
		{"docker://a@sha256:12", "amd64", NULL,
		 "image 'docker://a@sha256:12': a digest is sha256: and 64 hex digits"},
		{"docker://-x.y/a", "amd64", NULL, "image 'docker://-x.y/a': '-x.y' is not a registry"},
		{"docker://--help", "amd64", NULL, "image 'docker://--help': '--help' is not a name in a registry"},
		{"oci:a:b", "amd64", NULL, "image 'oci:a:b': not an absolute path"},
		{"oci:/a:-b", "amd64", NULL, "image 'oci:/a:-b': '-b' is not a tag"},
		{"debian:", "amd64", NULL, "image 'debian:': no such suite"},
		{"debian:../x", "amd64", NULL, "image 'debian:../x': no such suite"},
		{"debian:-o", "amd64", NULL, "image 'debian:-o': no such suite"},
		{"debian:a b", "amd64", NULL, "image 'debian:a b': no such suite"},
		{"rootfs:a.tar", "amd64", NULL, "image 'rootfs:a.tar': not an absolute path"},
		{"busybox", "vax", NULL, "unknown arch 'vax'"},
		{"busybox", "amd64", "gcc", "image 'busybox' takes no packages"},
		{"debian:bookworm", "amd64", "../x", "'../x' is not a package name"},
		{"debian:bookworm", "amd64", "-o", "'-o' is not a package name"},
		{"debian:bookworm", "amd64", "a b", "'a b' is not a package name"},
		{"debian:bookworm", "amd64", "?obsolete", "'?obsolete' is not a package name"},
		{"debian:bookworm", "amd64", "gcc,make", "'gcc,make' is not a package name"},
		{"debian:bookworm", "amd64", "/tmp/x.deb", "'/tmp/x.deb' is not a package name"},
		{"debian:bookworm", "amd64", "g", "'g' is not a package name"},
		{"debian:bookworm", "amd64", "", "'' is not a package name"},
	};
	struct image_want w;
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_refused(parse(bad[i].name, bad[i].arch, bad[i].package, &w, &e), e,
			       strstr(bad[i].why, "catalogue;") ? ERR_MISSING : ERR_INPUT, bad[i].why);
}

static void test_packages_must_be_sorted(void **state)
{
	_cleanup_vec_ struct vec list = VEC_INIT;
	struct image_want w;
	struct err e;

	(void)state;
	vec_add(&list, "make");
	vec_add(&list, "gcc");
	assert_refused(image_want_parse("debian:bookworm", "amd64", &list, &w, &e), e, ERR_INPUT,
		       "package list is not sorted at 'gcc'");
}

static void test_ensure_refuses_before_it_touches_the_cache(void **state)
{
	struct image image;
	struct err e;

	(void)state;
	assert_refused(image_ensure(&(struct image_ask){.cache = "/nowhere/at/all", .name = "Alpine"}, &image, &e), e,
		       ERR_INPUT, "unknown image 'Alpine': " FORMS);
}

static void key_of(const char *name, const char *arch, const char *owner, char key_r[IMAGE_KEY_BYTES])
{
	struct image_want w;
	struct err e;

	assert_done(parse(name, arch, NULL, &w, &e), e);
	image_key(&w, w.ref.kind == IMAGEREF_ROOTFS ? "00ff" : NULL, owner, key_r);
	image_want_release(&w);
}

static void test_keys_differ_where_contents_may(void **state)
{
	static const struct {
		const char *name, *arch, *owner;
	} wants[] = {
		{"debian:bookworm", "amd64", NULL}, {"debian:bookworm", "arm64", NULL},
		{"debian:trixie", "amd64", NULL},   {"busybox", "amd64", NULL},
		{"busybox", "arm64", NULL},         {"rootfs:/a", "amd64", NULL},
		{"busybox", "amd64", "0 0"},        {"busybox", "amd64", "1 0"},
	};
	enum { SINGLE = ARRAY_LEN(wants) };
	_cleanup_vec_ struct vec gcc = VEC_INIT, make = VEC_INIT;
	char keys[SINGLE + 7][IMAGE_KEY_BYTES], again[IMAGE_KEY_BYTES];

	(void)state;
	vec_add(&gcc, "gcc");
	vec_add(&make, "make");
	for (size_t i = 0; i < SINGLE; i++) key_of(wants[i].name, wants[i].arch, wants[i].owner, keys[i]);
	image_chain_key(NULL, "sha256:1", NULL, keys[SINGLE]);
	image_chain_key(NULL, "sha256:2", NULL, keys[SINGLE + 1]);
	image_chain_key("0", "sha256:1", NULL, keys[SINGLE + 2]);
	image_packages_key("sha256:1", "amd64", &gcc, NULL, keys[SINGLE + 3]);
	image_packages_key("sha256:1", "amd64", &make, NULL, keys[SINGLE + 4]);
	image_packages_key("sha256:2", "amd64", &gcc, NULL, keys[SINGLE + 5]);
	image_packages_key("sha256:1", "amd64", &gcc, "0 0", keys[SINGLE + 6]);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		assert_int_equal(strlen(keys[i]), 64);
		for (size_t k = 0; k < i; k++) assert_string_not_equal(keys[i], keys[k]);
	}
	/* A rootfs is what the file is, wherever it lies. */
	key_of("rootfs:/b", "amd64", NULL, again);
	assert_string_equal(again, keys[5]);
	/* printf 'slipway-layer 1\nkind debian\nsuite bookworm\narch amd64\n' | sha256sum */
	assert_string_equal(keys[0], "e03d927f5988985f7754afeb698245f53524e970692313890c4d8e5ccc5b7989");
}

/* --- documents of images --- */

static const char manifest[] = "{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:" HEX64 "\"},"
			       "\"layers\":[{\"digest\":\"sha256:" HEX64 "\",\"size\":5}]}";

static void test_an_image_is_picked_by_arch(void **state)
{
	static const char index[] =
		"{\"schemaVersion\":2,\"manifests\":["
		"{\"digest\":\"sha256:" HEX64
		"\",\"platform\":{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v6\"}},"
		"{\"digest\":\"sha256:a123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
		"\"platform\":{\"architecture\":\"arm\",\"os\":\"linux\",\"variant\":\"v7\"}},"
		"{\"digest\":\"sha256:b123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
		"\"platform\":{\"architecture\":\"unknown\",\"os\":\"unknown\"}}]}";
	_cleanup_free_ char *digest = NULL;
	struct err e;

	(void)state;
	assert_done(oci_pick(index, strlen(index), "armhf", &digest, &e), e);
	assert_string_equal(digest, "sha256:a123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
	assert_refused(oci_pick(index, strlen(index), "amd64", &digest, &e), e, ERR_MISSING,
		       "it has no image for amd64; there is: arm, arm");
	free_p(&digest);
	assert_done(oci_pick(manifest, strlen(manifest), "amd64", &digest, &e), e);
	assert_null(digest);
	assert_refused(oci_pick("{\"schemaVersion\":1}", 19, "amd64", &digest, &e), e, ERR_INPUT,
		       "an image of a form that is no longer used (schema 1): push it again");
}

static void test_documents_that_do_not_fit_are_refused(void **state)
{
	static const struct {
		const char *config, *why;
	} bad[] = {
		{"{\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[]}}",
		 "the image has 1 layers, and its configuration tells of 0"},
		{"{\"architecture\":\"amd64\",\"rootfs\":{\"diff_ids\":[\"sha256:../../x\"]}}",
		 "the configuration: diff id 1 is no SHA-256 digest"},
		{"{\"architecture\":\"amd64\",\"os\":\"windows\",\"rootfs\":{\"diff_ids\":[\"sha256:" HEX64 "\"]}}",
		 "the image is for 'windows' on 'amd64'"},
		{"[]", "the configuration: not an object"},
	};
	static const char good[] = "{\"architecture\":\"arm64\",\"config\":{\"Env\":[\"A=b\",\"odd\",\"=x\"]},"
				   "\"rootfs\":{\"diff_ids\":[\"sha256:" HEX64 "\"]}}";
	static const char climbs[] = "{\"config\":{\"digest\":\"sha256:" HEX64 "\"},"
				     "\"layers\":[{\"digest\":\"sha256:../../../../etc/passwd\",\"size\":5}]}";
	_cleanup_oci_image_ struct oci_image i = {0};
	struct oci_image none = {0};
	struct err e;

	(void)state;
	assert_refused(oci_read_manifest(climbs, strlen(climbs), &none, &e), e, ERR_INPUT,
		       "layer 1: 'sha256:../../../../etc/passwd' is not a SHA-256 digest");
	assert_done(oci_read_manifest(manifest, strlen(manifest), &i, &e), e);
	assert_int_equal(i.nlayers, 1);
	for (size_t k = 0; k < ARRAY_LEN(bad); k++)
		assert_refused(oci_read_config(bad[k].config, strlen(bad[k].config), &i, &e), e, ERR_INPUT, bad[k].why);
	assert_done(oci_read_config(good, strlen(good), &i, &e), e);
	assert_string_equal(i.arch, "arm64");
	assert_int_equal(i.env.len, 1);
	assert_string_equal(i.env.items[0], "A=b");
}

static void test_what_a_registry_refuses_is_not_asked_again(void **state)
{
	enum err_kind kind = ERR_REMOTE;

	(void)state;
	assert_true(skopeo_refuses("reading manifest 1 in x: manifest unknown: manifest unknown", &kind));
	assert_int_equal(kind, ERR_MISSING);
	assert_true(skopeo_refuses("reading manifest: unauthorized: authentication required", &kind));
	assert_int_equal(kind, ERR_DENIED);
	assert_false(skopeo_refuses("dial tcp 127.0.0.1:1: connect: connection refused", &kind));
	assert_false(skopeo_refuses("unexpected EOF", &kind));
}

static void test_sources_are_debians_own_only(void **state)
{
	static const char targets[] = "Debian bookworm main http://deb.debian.org/debian/\n"
				      "Debian bookworm main http://deb.debian.org/debian/\n"
				      "Debian bookworm contrib http://deb.debian.org/debian/\n"
				      "Debian bookworm-security main http://deb.debian.org/debian-security/\n"
				      "Debian bookworm-updates main http://deb.debian.org/debian/\n"
				      "Debian bookworm-backports main http://deb.debian.org/debian/\n"
				      "Debian trixie main http://deb.debian.org/debian/\n"
				      "Google bookworm main https://example.org/apt/\n"
				      ". nodistro main https://example.org/node/\n\n";
	_cleanup_vec_ struct vec lines = VEC_INIT, other = VEC_INIT;
	struct err e;

	(void)state;
	assert_done(debian_sources(targets, "bookworm", "bookworm", &lines, &e), e);
	assert_int_equal(lines.len, 3);
	assert_string_equal(lines.items[0], "deb http://deb.debian.org/debian/ bookworm main");
	assert_string_equal(lines.items[1], "deb http://deb.debian.org/debian-security/ bookworm-security main");
	assert_string_equal(lines.items[2], "deb http://deb.debian.org/debian/ bookworm-updates main");
	assert_done(debian_sources(targets, "bookworm", "sid", &other, &e), e);
	assert_int_equal(other.len, 1);
	assert_string_equal(other.items[0], "deb http://deb.debian.org/debian/ sid main");
	assert_refused(debian_sources("Google bookworm main https://x/\n", "bookworm", "bookworm", &lines, &e), e,
		       ERR_MISSING, "apt has no list of Debian's 'bookworm'; run: apt-get update");
}

static void test_apt_settings_are_those_of_the_way_there(void **state)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);

	(void)state;
	debian_apt_settings("APT::Architecture \"amd64\";\nAcquire::cdrom::mount \"/x\";\n"
			    "Acquire::http::Proxy \"http://p:3128\";\nAcquire::https \"\";\nAcquire::httpx::y \"1\";\n"
			    "Acquire::Check-Valid-Until \"false\";\nAcquire::Retries \"5\"",
			    &out);
	assert_string_equal(buf_str(&out), "Acquire::http::Proxy \"http://p:3128\";\nAcquire::https \"\";\n"
					   "Acquire::Check-Valid-Until \"false\";\nAcquire::Retries \"5\"\n");
}

static void test_progress_never_runs_backwards(void **state)
{
	static const struct {
		const char *line;
		int news, percent;
		const char *text;
	} lines[] = {
		{"I: chroot architecture amd64 is equal to the host's architecture", 0, 0, ""},
		{"Get:9 http://x bookworm/main amd64 early amd64 1 [1 B]", 0, 0, ""},
		{"I: running apt-get update...", 2, 0, "fetching package lists"},
		{"Get:1 http://deb.debian.org/debian bookworm InRelease [151 kB]", 0, 0, "fetching package lists"},
		{"I: downloading packages with apt...", 2, 6, "fetching packages"},
		{"0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.", 0, 6, "fetching packages"},
		{"Get:1 http://deb.debian.org/debian bookworm/main amd64 libc6 amd64 2.36 [1 kB]", 1, 13,
		 "fetching libc6"},
		{"Get:2 http://deb.debian.org/debian bookworm/main amd64 bash amd64 5.2 [1 kB]", 1, 20,
		 "fetching bash"},
		{"Get:3 http://deb.debian.org/debian bookworm/main amd64 more amd64 5.2 [1 kB]", 1, 20,
		 "fetching more"},
		{"I: extracting archives...", 2, 20, "extracting packages"},
		{"I: installing essential packages...", 2, 26, "installing essential packages"},
		{"Unpacking libc6:amd64 (2.36) ...", 1, 33, "unpacking libc6"},
		{"dpkg: warning: ignoring pre-dependency problem!", 0, 33, "unpacking libc6"},
		{"Setting up libc6:amd64 (2.36) ...", 1, 40, "setting up libc6"},
		{"I: installing remaining packages inside the chroot...", 2, 55, "installing packages"},
		{"0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.", 0, 55, "installing packages"},
		{"Get:1 http://deb.debian.org/debian bookworm/main amd64 gcc amd64 12 [1 kB]", 1, 69, "fetching gcc"},
		{"Unpacking gcc (12) ...", 1, 83, "unpacking gcc"},
		{"Setting up gcc (12) ...", 1, 98, "setting up gcc"},
		{"I: cleaning package lists and apt cache...", 2, 98, "cleaning up"},
		{"I: success in 13.5207 seconds", 0, 98, "cleaning up"},
	};
	struct debian_progress p = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(debian_progress_line(&p, lines[i].line), lines[i].news);
		assert_int_equal(p.percent, lines[i].percent);
		assert_string_equal(p.text, lines[i].text);
	}
	assert_string_equal(p.error, "");
}

static void test_progress_keeps_the_first_complaint(void **state)
{
	struct debian_progress p = {0};

	(void)state;
	debian_progress_line(&p, "E: Unable to locate package nosuch");
	debian_progress_line(&p, "E: apt-get failed");
	assert_string_equal(p.error, "Unable to locate package nosuch");
}

/* An archive with one file in memory; `to` is where the entry says it goes. */
static int make_tar(const char *path, const char *hardlink, mode_t type, const char *symlink)
{
	int fd = memfd_create("t.tar", MFD_CLOEXEC);
	struct archive *a = archive_write_new();
	struct archive_entry *entry = archive_entry_new();

	archive_write_set_format_pax_restricted(a);
	assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, 0755);
	archive_entry_set_uid(entry, geteuid());
	archive_entry_set_gid(entry, getegid());
	if (hardlink) archive_entry_set_hardlink(entry, hardlink);
	if (symlink) archive_entry_set_symlink(entry, symlink);
	if (type == AE_IFREG && !hardlink) archive_entry_set_size(entry, 2);
	assert_int_equal(archive_write_header(a, entry), ARCHIVE_OK);
	if (type == AE_IFREG && !hardlink) assert_int_equal(archive_write_data(a, "hi", 2), 2);
	archive_entry_free(entry);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static int unpack_in(const char *dir, int fd, struct err *e)
{
	_cleanup_close_ int was = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), tar = fd;
	int result;

	assert_int_equal(chdir(dir), 0);
	result = unpack_tar(&(struct unpack_opts){.fd = tar, .upper_fd = -1}, e);
	assert_int_equal(fchdir(was), 0);
	return result;
}

static void test_unpack_stays_inside(void **state)
{
	_cleanup_temp_ char *top = unit_temp();
	_cleanup_free_ char *in = xasprintf("%s/in", top), *out = xasprintf("%s/out", top);
	_cleanup_free_ char *file = xasprintf("%s/in/etc/hi", top), *device = xasprintf("%s/in/dev/null", top);
	struct stat st;
	struct err e;

	(void)state;
	assert_int_equal(mkdir(in, 0700), 0);
	assert_int_equal(mkdir(out, 0700), 0);
	/* Without the chroot of `runner unpack` the flags alone must hold. */
	assert_int_equal(unpack_in(in, make_tar("../out/hi", NULL, AE_IFREG, NULL), &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_int_equal(unpack_in(in, make_tar("a/../../out/hi", NULL, AE_IFREG, NULL), &e), -1);
	assert_int_equal(unpack_in(in, make_tar("hi", "../out", AE_IFREG, NULL), &e), -1);
	assert_done(unpack_in(in, make_tar("link", NULL, AE_IFLNK, "../out"), &e), e);
	assert_int_equal(unpack_in(in, make_tar("link/hi", NULL, AE_IFREG, NULL), &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_int_equal(rmdir(out), 0);
	assert_done(unpack_in(in, make_tar("/./etc/hi", NULL, AE_IFREG, NULL), &e), e);
	assert_done(unpack_in(in, make_tar("etc/hi", NULL, AE_IFREG, NULL), &e), e);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_done(unpack_in(in, make_tar("./dev/null", NULL, AE_IFREG, NULL), &e), e);
	assert_int_equal(lstat(device, &st), -1);
}

static void test_unpack_refuses_what_is_no_archive(void **state)
{
	_cleanup_temp_ char *dir = unit_temp();
	struct err e;
	int fd = memfd_create("x", MFD_CLOEXEC), cut = make_tar("etc/hi", NULL, AE_IFREG, NULL);
	int empty = memfd_create("empty", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, "this is not an archive\n", 23), 23);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(unpack_in(dir, fd, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_non_null(strstr(e.text, "not a tar archive"));
	assert_int_equal(ftruncate(cut, 513), 0);
	assert_int_equal(unpack_in(dir, cut, &e), -1);
	assert_int_equal(e.kind, ERR_INPUT);
	assert_non_null(strstr(e.text, "damaged"));
	assert_int_equal(ftruncate(empty, 10240), 0);
	assert_refused(unpack_in(dir, empty, &e), e, ERR_INPUT, "the archive is empty");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_read),
		cmocka_unit_test(test_names_are_refused),
		cmocka_unit_test(test_registries_of_this_network_are_known),
		cmocka_unit_test(test_an_image_is_picked_by_arch),
		cmocka_unit_test(test_documents_that_do_not_fit_are_refused),
		cmocka_unit_test(test_what_a_registry_refuses_is_not_asked_again),
		cmocka_unit_test(test_packages_must_be_sorted),
		cmocka_unit_test(test_ensure_refuses_before_it_touches_the_cache),
		cmocka_unit_test(test_keys_differ_where_contents_may),
		cmocka_unit_test(test_sources_are_debians_own_only),
		cmocka_unit_test(test_apt_settings_are_those_of_the_way_there),
		cmocka_unit_test(test_progress_never_runs_backwards),
		cmocka_unit_test(test_progress_keeps_the_first_complaint),
		cmocka_unit_test(test_unpack_stays_inside),
		cmocka_unit_test(test_unpack_refuses_what_is_no_archive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
