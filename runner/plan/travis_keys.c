/* The tables of `.travis.yml`.
 *  src  travis-ci/travis-yml: the schema's keys, languages and other names; docs.travis-ci.com: default commands */
#include <stdlib.h>
#include <string.h>

#include "runner/plan/travis.h"

#define AXIS(name, languages, os, other)                                                                               \
	{                                                                                                              \
		name, TRAVIS_AXIS, languages, os, other, NULL, 0, 0, TRAVIS_BOTH                                       \
	}
#define BOTH(name, kind, other)                                                                                        \
	{                                                                                                              \
		name, kind, NULL, NULL, other, NULL, 0, 0, TRAVIS_BOTH                                                 \
	}
#define ROOT(name, other)                                                                                              \
	{                                                                                                              \
		name, TRAVIS_ANY, NULL, NULL, other, NULL, 0, 0, TRAVIS_ROOT                                           \
	}
#define PHASE(name, p)                                                                                                 \
	{                                                                                                              \
		name, TRAVIS_LIST, NULL, NULL, NULL, read_phase, offsetof(struct settings, phases[p]),                 \
			SET_PHASE << (p), TRAVIS_BOTH                                                                  \
	}

const struct travis_key travis_keys[] = {
	AXIS("os", NULL, NULL, NULL),
	AXIS("arch", NULL, "linux", NULL),
	AXIS("compiler", "c cpp", NULL, "compilers"),
	AXIS("osx_image", NULL, "osx", NULL),
	AXIS("jdk", "android clojure groovy java ruby scala", NULL, NULL),
	AXIS("crystal", "crystal", NULL, NULL),
	AXIS("dotnet", "csharp", NULL, NULL),
	AXIS("mono", "csharp", NULL, NULL),
	AXIS("solution", "csharp", NULL, NULL),
	AXIS("d", "d", NULL, NULL),
	AXIS("dart", "dart", NULL, NULL),
	AXIS("dart_task", "dart", NULL, NULL),
	AXIS("elixir", "elixir", NULL, NULL),
	AXIS("otp_release", "elixir erlang", NULL, NULL),
	AXIS("elm", "elm", NULL, NULL),
	AXIS("node_js", "elm node_js", NULL, "node"),
	AXIS("go", "go", NULL, NULL),
	AXIS("hhvm", "hack", NULL, NULL),
	AXIS("php", "hack php", NULL, NULL),
	AXIS("ghc", "haskell", NULL, NULL),
	AXIS("haxe", "haxe", NULL, NULL),
	AXIS("julia", "julia", NULL, NULL),
	AXIS("matlab", "matlab", NULL, NULL),
	AXIS("nix", "nix", NULL, NULL),
	AXIS("perl", "perl", NULL, NULL),
	AXIS("perl6", "perl6", NULL, NULL),
	AXIS("python", "python", NULL, NULL),
	AXIS("r", "r", NULL, NULL),
	AXIS("rvm", "objective-c ruby", NULL, "ruby rbenv"),
	AXIS("gemfile", "objective-c ruby", NULL, "gemfiles"),
	AXIS("xcode_scheme", "objective-c", NULL, NULL),
	AXIS("xcode_sdk", "objective-c", NULL, NULL),
	AXIS("rust", "rust", NULL, NULL),
	AXIS("scala", "scala", NULL, NULL),
	AXIS("smalltalk", "smalltalk", NULL, NULL),
	AXIS("smalltalk_config", "smalltalk", NULL, NULL),
	AXIS("smalltalk_vm", "smalltalk", NULL, NULL),

	BOTH("language", TRAVIS_WORD, NULL),
	BOTH("dist", TRAVIS_WORD, NULL),
	BOTH("sudo", TRAVIS_YES, NULL),
	BOTH("group", TRAVIS_TEXT, NULL),
	BOTH("stage", TRAVIS_TEXT, NULL),
	BOTH("env", TRAVIS_ANY, NULL),
	BOTH("if", TRAVIS_TEXT, NULL),
	BOTH("branches", TRAVIS_ANY, NULL),
	BOTH("addons", TRAVIS_ANY, NULL),
	{"cache", TRAVIS_ANY, NULL, NULL, NULL, read_travis_cache, offsetof(struct settings, cache), SET_CACHE,
	 TRAVIS_BOTH},
	BOTH("deploy", TRAVIS_ANY, NULL),
	{"git", TRAVIS_ANY, NULL, NULL, NULL, read_git, offsetof(struct settings, git), SET_GIT, TRAVIS_BOTH},
	BOTH("services", TRAVIS_LIST, NULL),
	BOTH("workspaces", TRAVIS_ANY, NULL),
	BOTH("keys", TRAVIS_ANY, NULL),
	BOTH("virt", TRAVIS_ANY, NULL),
	BOTH("vm", TRAVIS_ANY, NULL),
	BOTH("vault", TRAVIS_ANY, NULL),
	PHASE("before_install", PHASE_BEFORE_INSTALL),
	PHASE("install", PHASE_INSTALL),
	PHASE("before_script", PHASE_BEFORE_SCRIPT),
	PHASE("script", PHASE_SCRIPT),
	BOTH("before_cache", TRAVIS_LIST, NULL),
	PHASE("after_success", PHASE_AFTER_SUCCESS),
	PHASE("after_failure", PHASE_AFTER_FAILURE),
	BOTH("before_deploy", TRAVIS_LIST, NULL),
	BOTH("after_deploy", TRAVIS_LIST, NULL),
	PHASE("after_script", PHASE_AFTER_SCRIPT),

	/* not Travis's: what the jobs run in */
	{"image", TRAVIS_TEXT, NULL, NULL, NULL, read_image, offsetof(struct settings, image), SET_IMAGE, TRAVIS_BOTH},

	ROOT("jobs", "matrix"),
	ROOT("stages", NULL),
	ROOT("notifications", NULL),
	ROOT("version", NULL),
	ROOT("conditions", NULL),
	ROOT("import", NULL),
	ROOT("filter_secrets", NULL),
	ROOT("trace", NULL),

	{"name", TRAVIS_TEXT, NULL, NULL, NULL, NULL, 0, 0, TRAVIS_ROW},
	{"allow_failure", TRAVIS_YES, NULL, NULL, NULL, NULL, 0, 0, TRAVIS_ROW},
	{"branch", TRAVIS_TEXT, NULL, NULL, NULL, NULL, 0, 0, TRAVIS_ROW},

	/* of the languages; kept, and nothing is done with them */
	BOTH("android", TRAVIS_ANY, NULL),
	BOTH("lein", TRAVIS_TEXT, NULL),
	BOTH("elm_format", TRAVIS_TEXT, NULL),
	BOTH("elm_test", TRAVIS_TEXT, NULL),
	BOTH("gobuild_args", TRAVIS_TEXT, NULL),
	BOTH("go_import_path", TRAVIS_TEXT, NULL),
	BOTH("gimme_config", TRAVIS_ANY, NULL),
	BOTH("hxml", TRAVIS_LIST, NULL),
	BOTH("neko", TRAVIS_TEXT, NULL),
	BOTH("npm_args", TRAVIS_TEXT, NULL),
	BOTH("podfile", TRAVIS_TEXT, NULL),
	BOTH("bundler_args", TRAVIS_TEXT, NULL),
	BOTH("xcode_destination", TRAVIS_TEXT, NULL),
	BOTH("xcode_project", TRAVIS_TEXT, NULL),
	BOTH("xcode_workspace", TRAVIS_TEXT, NULL),
	BOTH("xctool_args", TRAVIS_TEXT, NULL),
	BOTH("composer_args", TRAVIS_TEXT, NULL),
	BOTH("virtualenv", TRAVIS_ANY, "virtual_env"),
	BOTH("r_packages", TRAVIS_LIST, NULL),
	BOTH("r_binary_packages", TRAVIS_LIST, NULL),
	BOTH("r_github_packages", TRAVIS_LIST, NULL),
	BOTH("apt_packages", TRAVIS_LIST, NULL),
	BOTH("bioc_packages", TRAVIS_LIST, NULL),
	BOTH("brew_packages", TRAVIS_LIST, NULL),
	BOTH("bioc", TRAVIS_TEXT, NULL),
	BOTH("bioc_check", TRAVIS_YES, NULL),
	BOTH("bioc_required", TRAVIS_YES, "use_bioc"),
	BOTH("bioc_use_devel", TRAVIS_YES, NULL),
	BOTH("cran", TRAVIS_TEXT, NULL),
	BOTH("disable_homebrew", TRAVIS_YES, NULL),
	BOTH("latex", TRAVIS_YES, NULL),
	BOTH("pandoc", TRAVIS_YES, NULL),
	BOTH("pandoc_version", TRAVIS_TEXT, NULL),
	BOTH("r_build_args", TRAVIS_TEXT, NULL),
	BOTH("r_check_args", TRAVIS_TEXT, NULL),
	BOTH("r_check_revdep", TRAVIS_YES, NULL),
	BOTH("warnings_are_errors", TRAVIS_YES, NULL),
	BOTH("remotes", TRAVIS_TEXT, NULL),
	BOTH("repos", TRAVIS_ANY, NULL),
	BOTH("sbt_args", TRAVIS_TEXT, NULL),
	BOTH("smalltalk_edge", TRAVIS_ANY, NULL),
};
const size_t travis_keys_len = ARRAY_LEN(travis_keys);

/* --- words --- */

static const struct travis_word languages[] = {
	{"android", ""},
	{"c", ""},
	{"clojure", ""},
	{"cpp", "c++"},
	{"crystal", ""},
	{"csharp", ""},
	{"d", ""},
	{"dart", ""},
	{"elixir", ""},
	{"elm", ""},
	{"erlang", ""},
	{"generic", ""},
	{"go", "golang"},
	{"groovy", ""},
	{"hack", ""},
	{"haskell", ""},
	{"haxe", ""},
	{"java", "jvm"},
	{"julia", ""},
	{"matlab", ""},
	{"nix", ""},
	{"node_js", "javascript js node"},
	{"perl", ""},
	{"perl6", ""},
	{"php", ""},
	{"python", ""},
	{"r", ""},
	{"ruby", ""},
	{"objective-c", "objective_c swift"},
	{"rust", ""},
	{"scala", ""},
	{"shell", "bash minimal sh"},
	{"smalltalk", ""},
	{"__connie__", ""},
	{"__amethyst__", ""},
	{"__garnet__", ""},
	{"__stevonnie__", ""},
	{"__opal__", ""},
	{"__sardonyx__", ""},
	{"__onion__", ""},
	{"__cookiecat__", ""},
};
static const struct travis_word systems[] = {
	{"linux", "ubuntu"}, {"osx", "mac macos macosx ios"}, {"windows", "win"},
	{"freebsd", "bsd"},  {"linux-ppc64le", ""},
};
static const struct travis_word archs[] = {
	{"amd64", "x86_64 x64"},        {"arm64", ""},   {"arm64-graviton2", ""},
	{"ppc64le", "power ppc ppc64"}, {"i386", "x86"}, {"s390x", ""},
};
static const struct travis_word dists[] = {
	{"trusty", ""}, {"precise", ""}, {"xenial", ""},      {"bionic", ""},
	{"focal", ""},  {"jammy", ""},   {"server-2016", ""}, {"rhel8", ""},
};

/* Is one of the words between blanks exactly this? */
static int has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; p && *p && n; p += strcspn(p, " ") + (p[strcspn(p, " ")] == ' '))
		if (!strncmp(p, word, n) && (p[n] == ' ' || !p[n])) return 1;
	return 0;
}

static const struct travis_word *words_of(const char *key, size_t *n_r)
{
	static const struct {
		const char *key;
		const struct travis_word *words;
		size_t n;
	} all[] = {{"language", languages, ARRAY_LEN(languages)},
		   {"os", systems, ARRAY_LEN(systems)},
		   {"arch", archs, ARRAY_LEN(archs)},
		   {"dist", dists, ARRAY_LEN(dists)}};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (!strcmp(all[i].key, key)) {
			*n_r = all[i].n;
			return all[i].words;
		}
	die("'%s' has no words", key);
}

char *travis_word(const char *key, const char *text, int *known_r)
{
	const char *names[64], *meant;
	size_t n = 0;
	const struct travis_word *words = words_of(key, &n);
	_cleanup_free_ char *small = xstrdup(text);

	for (char *p = small; *p; p++)
		if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
	*known_r = 1;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i].word, small) || has_word(words[i].other, small)) return xstrdup(words[i].word);
	for (size_t i = 0; i < n && i < ARRAY_LEN(names); i++) names[i] = words[i].word;
	small[strcspn(small, " \n")] = '\0'; /* of several the first */
	for (size_t i = 0; i < n; i++)
		if (!strcmp(words[i].word, small)) return xstrdup(small);
	meant = strlen(small) < 3 ? NULL : nearest(small, names, n);
	*known_r = meant != NULL;
	return meant ? xstrdup(meant) : steal(small);
}

/* --- keys --- */

static const struct travis_key *exactly(const char *name, int where)
{
	for (size_t i = 0; i < travis_keys_len; i++)
		if (travis_keys[i].where & where &&
		    (!strcmp(travis_keys[i].name, name) || has_word(travis_keys[i].other, name)))
			return &travis_keys[i];
	return NULL;
}

int travis_key_is(const char *name)
{
	return strcmp(name, "image") != 0 && exactly(name, TRAVIS_ROOT);
}

/* "before-install", " Before install:" → before_install */
static char *cleaned(const char *name)
{
	char *s = xstrdup(name), *to = s;

	for (const char *p = name; *p; p++) {
		int word = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');

		if (word)
			*to++ = *p;
		else if (strchr("_- ", *p) && to > s && to[-1] != '_')
			*to++ = '_';
	}
	while (to > s && to[-1] == '_') to--;
	*to = '\0';
	return s;
}

const struct travis_key *travis_key_find(const char *name, int where)
{
	const struct travis_key *k = exactly(name, where);
	const char *names[160], *meant;
	_cleanup_free_ char *clean = NULL;
	size_t n = 0;

	/* Keys that begin so are people's own: where they keep anchors. */
	if (k || strchr("_.", *name) || strlen(name) > 64) return k;
	clean = cleaned(name);
	k = exactly(clean, where);
	if (k || strlen(name) < 3) return k;
	for (size_t i = 0; i < travis_keys_len; i++)
		if (travis_keys[i].where & where && strlen(travis_keys[i].name) >= 3) names[n++] = travis_keys[i].name;
	meant = nearest(name, names, n);
	return meant ? exactly(meant, where) : NULL;
}

static int all_in(const char *wanted, const char *allowed)
{
	for (const char *p = wanted; *p;) {
		size_t n = strcspn(p, " ");
		_cleanup_free_ char *word = xstrndup(p, n);

		if (!has_word(allowed, word)) return 0;
		p += n + (p[n] == ' ');
	}
	return 1;
}

/* Of several systems it is enough that the one it is for is among them: the others' jobs lose the key. */
int travis_supports(const struct travis_key *k, const char *language, const char *os)
{
	return (!k->languages || all_in(language, k->languages)) && (!k->os || has_word(os, k->os));
}

/* --- what a language's jobs do --- */

static const struct travis_language defaults[] = {
	{"c", NULL, "./configure && make && make test", "build-essential"},
	{"cpp", NULL, "./configure && make && make test", "build-essential"},
	{"crystal", "shards install", "crystal spec", NULL},
	{"elixir", "mix local.hex --force && mix deps.get", "mix test", "elixir"},
	{"erlang", NULL, "make test", "erlang"},
	{"generic", NULL, NULL, "build-essential"},
	{"go", "go get -t -v ./...", "go test -v ./...", "golang"},
	{"haskell", "cabal update && cabal install --only-dependencies --enable-tests",
	 "cabal configure --enable-tests && cabal build && cabal test", "cabal-install ghc"},
	{"java", "if [ -f pom.xml ]; then mvn install -DskipTests=true -Dmaven.javadoc.skip=true -B -V; fi",
	 "if [ -f pom.xml ]; then mvn test -B; else ant test; fi", "ant default-jdk-headless maven"},
	{"node_js", "npm install", "npm test", "nodejs npm"},
	{"perl", "cpanm --quiet --installdeps --notest .",
	 "if [ -f Build.PL ]; then perl Build.PL && ./Build test; else perl Makefile.PL && make test; fi",
	 "build-essential cpanminus"},
	{"php", NULL, "phpunit", "phpunit"},
	{"python", "if [ -f requirements.txt ]; then pip install -r requirements.txt; fi", NULL,
	 "python3 python3-pip python3-venv"},
	{"ruby", "if [ -f Gemfile ]; then bundle install --jobs=3 --retry=3; fi",
	 "if [ -f Gemfile ]; then bundle exec rake; else rake; fi", "bundler rake ruby-dev"},
	{"rust", NULL, "cargo build --verbose && cargo test --verbose", "cargo"},
	{"shell", NULL, NULL, NULL},
};

const struct travis_language *travis_language(const char *name)
{
	static const struct travis_language none = {"", NULL, NULL, NULL};

	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		if (!strcmp(defaults[i].name, name)) return &defaults[i];
	return &none;
}

const char *const travis_packages[] = {"bzip2", "ca-certificates", "curl", "git", "openssh-client", "sudo", "wget",
				       NULL};
