/* References to images: the reader of all their forms. */
#include "runner/plan/imageref.h"

#include <string.h>

#include "lib/buf.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

enum { MAX_NAME = 255, MAX_TAG = 128, MAX_PATH = 4095 };

static const struct {
	const char *name, *prefix;
} kinds[] = {
	[IMAGEREF_CATALOGUE] = {"catalogue", NULL}, [IMAGEREF_BUSYBOX] = {"busybox", NULL},
	[IMAGEREF_DEBIAN] = {"debian", "debian:"},  [IMAGEREF_DOCKER] = {"docker", "docker://"},
	[IMAGEREF_OCI] = {"oci", "oci:"},           [IMAGEREF_DOCKER_ARCHIVE] = {"docker-archive", "docker-archive:"},
	[IMAGEREF_ROOTFS] = {"rootfs", "rootfs:"},
};

const char *imageref_kind_name(enum imageref_kind kind)
{
	return kinds[kind].name;
}

static int only(const char *s, const char *of)
{
	return s[strspn(s, of)] == '\0';
}

int imageref_is_digest(const char *text)
{
	return strlen(text) == 7 + 64 && !strncmp(text, "sha256:", 7) && only(text + 7, DIGIT "abcdef");
}

int imageref_may_change(const char *text)
{
	static const enum imageref_kind kinds_of[] = {IMAGEREF_DOCKER, IMAGEREF_OCI, IMAGEREF_DOCKER_ARCHIVE,
						      IMAGEREF_ROOTFS};

	for (size_t i = 0; i < ARRAY_LEN(kinds_of); i++) {
		const char *prefix = kinds[kinds_of[i]].prefix;

		if (!strncmp(text, prefix, strlen(prefix))) return 1;
	}
	return 0;
}

int imageref_is_catalogue(const char *text)
{
	static const char *const taken[] = {"busybox", "add", "remove", "list"};
	size_t n = strlen(text);

	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (!strcmp(text, taken[i])) return 0;
	return n > 0 && n <= 64 && strchr(LOWER DIGIT, *text) && only(text, LOWER DIGIT "._-");
}

static int is_suite(const char *s)
{
	size_t n = strlen(s);

	return n >= 2 && n <= 40 && strchr(LOWER, *s) && only(s, LOWER DIGIT "-");
}

static int is_tag(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= MAX_TAG && *s != '.' && *s != '-' && only(s, LOWER UPPER DIGIT "_.-");
}

/* A part of a name between slashes: words of letters and digits with ".", "_", "__" or dashes between them. */
static int is_component(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t word = strspn(s + i, LOWER DIGIT), sep;

		if (i + word > n) word = n - i;
		if (!word) return 0;
		i += word;
		if (i == n) return 1;
		if (s[i] == '-')
			sep = strspn(s + i, "-");
		else
			sep = s[i] == '.' ? 1 : s[i] == '_' && s[i + 1] == '_' ? 2 : s[i] == '_';
		if (!sep) return 0;
		i += sep;
	}
	return 0;
}

static int is_host(const char *s, size_t n)
{
	const char *colon = memchr(s, ':', n);
	size_t name = colon ? (size_t)(colon - s) : n;

	if (colon && (n - name < 2 || n - name > 6 || strspn(colon + 1, DIGIT) != n - name - 1)) return 0;
	return name > 0 && *s != '-' && *s != '.' && strspn(s, LOWER UPPER DIGIT ".-") >= name;
}

/* The first part of a name is a registry when it has a dot or a port, or is "localhost". */
static size_t host_part(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t n = slash ? (size_t)(slash - name) : 0;

	if (!n) return 0;
	return memchr(name, '.', n) || memchr(name, ':', n) || (n == 9 && !strncmp(name, "localhost", n)) ? n : 0;
}

int imageref_registry_is_local(const struct imageref *ref)
{
	size_t n = host_part(ref->of), name;

	if (ref->kind != IMAGEREF_DOCKER || !n) return 0;
	name = strcspn(ref->of, ":/");
	if (name > n) name = n;
	/* A name whose last part is digits is an address to every resolver. */
	if (!memchr(ref->of, '.', name)) return 1;
	while (name && ref->of[name - 1] == '.') name--;
	for (size_t i = name; i > 0 && ref->of[i - 1] != '.'; i--)
		if (!strchr(DIGIT, ref->of[i - 1])) return 0;
	return 1;
}

static int check_name(const char *name, const char *text, struct err *e)
{
	size_t host = host_part(name);
	const char *p = name + host + (host > 0);

	if (strlen(name) > MAX_NAME) return err_set(e, ERR_INPUT, "image '%.100s…': the name is too long", text);
	if (host && !is_host(name, host))
		return err_set(e, ERR_INPUT, "image '%.200s': '%.*s' is not a registry", text, (int)host, name);
	if (strpbrk(p, UPPER))
		return err_set(e, ERR_INPUT, "image '%.200s': a name in a registry has no upper case letters", text);
	for (;; p++) {
		size_t n = strcspn(p, "/");

		if (!is_component(p, n))
			return err_set(e, ERR_INPUT, "image '%.200s': '%.*s' is not a name in a registry", text, (int)n,
				       p);
		p += n;
		if (!*p) return 0;
	}
}

static int parse_docker(const char *text, struct imageref *r, struct err *e)
{
	char *at = strchr(r->of, '@'), *colon;

	if (at) {
		r->digest = xstrdup(at + 1);
		*at = '\0';
		if (!imageref_is_digest(r->digest))
			return err_set(e, ERR_INPUT, "image '%.200s': a digest is sha256: and 64 hex digits", text);
	}
	colon = strrchr(r->of, ':');
	if (colon && !strchr(colon, '/')) {
		r->tag = xstrdup(colon + 1);
		*colon = '\0';
		if (!is_tag(r->tag))
			return err_set(e, ERR_INPUT, "image '%.200s': '%.100s' is not a tag", text, r->tag);
	}
	return check_name(r->of, text, e);
}

static int parse_path(const char *text, struct imageref *r, struct err *e)
{
	char *colon = r->kind == IMAGEREF_OCI ? strrchr(r->of, ':') : NULL;

	if (*r->of != '/') return err_set(e, ERR_INPUT, "image '%.200s': not an absolute path", text);
	if (strlen(r->of) > MAX_PATH) return err_set(e, ERR_INPUT, "image '%.100s…': the path is too long", text);
	if (!colon || strchr(colon, '/')) return 0;
	r->tag = xstrdup(colon + 1);
	*colon = '\0';
	return is_tag(r->tag) ? 0 : err_set(e, ERR_INPUT, "image '%.200s': '%.100s' is not a tag", text, r->tag);
}

static int parse_plain(const char *text, struct imageref *r, struct err *e)
{
	struct imageref guess = {.kind = IMAGEREF_DOCKER, .of = xstrdup(text)};
	struct err ignored;
	int is_docker = *text && !parse_docker(text, &guess, &ignored);

	imageref_release(&guess);
	if (!strcmp(text, "busybox")) {
		r->kind = IMAGEREF_BUSYBOX;
		return 0;
	}
	if (imageref_is_catalogue(text)) {
		r->kind = IMAGEREF_CATALOGUE;
		return 0;
	}
	if (is_docker)
		return err_set(e, ERR_INPUT, "unknown image '%.200s': did you mean 'docker://%.200s'?", text, text);
	return err_set(e, ERR_INPUT,
		       "unknown image '%.200s': want a name of the catalogue, debian:SUITE, busybox, "
		       "docker://NAME:TAG, oci:DIR:TAG, docker-archive:FILE or rootfs:PATH",
		       text);
}

static int parse(const char *text, struct imageref *r, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!kinds[i].prefix || strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)) != 0) continue;
		r->kind = (enum imageref_kind)i;
		r->of = xstrdup(text + strlen(kinds[i].prefix));
		if (r->kind == IMAGEREF_DOCKER) return parse_docker(text, r, e);
		if (r->kind != IMAGEREF_DEBIAN) return parse_path(text, r, e);
		return is_suite(r->of) ? 0 : err_set(e, ERR_INPUT, "image '%.200s': no such suite", text);
	}
	r->of = xstrdup(text);
	return parse_plain(text, r, e);
}

int imageref_parse(const char *text, struct imageref *ref_r, struct err *e)
{
	struct imageref r = {0};

	if (parse(text, &r, e)) {
		imageref_release(&r);
		return -1;
	}
	*ref_r = r;
	return 0;
}

void imageref_release(struct imageref *ref)
{
	free_p(&ref->of);
	free_p(&ref->tag);
	free_p(&ref->digest);
}
