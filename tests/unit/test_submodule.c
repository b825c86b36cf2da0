/* Submodules: where from they may be fetched, and which a commit has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/store/submodule.h"
#include "tests/unit/unit.h"

#define HTTPS "https://forge.example/me/site.git"
#define SSH "git@forge.example:me/site.git"
#define NOT_HTTPS "is not https:// from the host of its source"

static const struct {
	const char *source, *written, *allowed;
	int stranger;
	const char *url; /* NULL: refused */
	int anonymous;
	enum err_kind kind;
	const char *why;
} urls[] = {
	{HTTPS, "https://forge.example/you/lib.git", NULL, 0, "https://forge.example/you/lib.git", 1, 0, NULL},
	{HTTPS, "https://FORGE.example/you/lib", NULL, 1, "https://FORGE.example/you/lib", 1, 0, NULL},
	{HTTPS, "../lib.git", NULL, 0, "https://forge.example/me/lib.git", 1, 0, NULL},
	{HTTPS, "../../you/lib.git", NULL, 0, "https://forge.example/you/lib.git", 1, 0, NULL},
	{HTTPS, "./../.././you/lib.git", NULL, 0, "https://forge.example/you/lib.git", 1, 0, NULL},
	{SSH, "https://forge.example/you/lib.git", NULL, 0, "https://forge.example/you/lib.git", 1, 0, NULL},
	{"ssh://git@forge.example:2222/me/site", "https://forge.example/x", NULL, 0, "https://forge.example/x", 1, 0,
	 NULL},
	{SSH, "../lib.git", "git@forge.example:me", 0, "git@forge.example:me/lib.git", 0, 0, NULL},
	{SSH, "../../lib.git", "git@forge.example:", 0, "git@forge.example:lib.git", 0, 0, NULL},
	{HTTPS, "https://other.example/x", "https://other.example/", 0, "https://other.example/x", 0, 0, NULL},
	{HTTPS, "https://other.example/x", "https://other.example", 1, "https://other.example/x", 1, 0, NULL},
	{"/srv/site.git", "../lib.git", "/srv/lib.git", 0, "/srv/lib.git", 0, 0, NULL},
	{HTTPS, "http://lan.example/x", "http://lan.example", 0, "http://lan.example/x", 0, 0, NULL},

	{HTTPS, "https://other.example/x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "https://other.example/x", "https://other.exam", 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "https://forge.example.evil.example/x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "https://forge.example:8443/x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "https://forge.example@evil.example/x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "https://me:token@forge.example/x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{"https://me:token@forge.example/me/site", "../x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "http://forge.example/x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "git://forge.example/x", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, SSH, NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{SSH, "../lib.git", NULL, 0, NULL, 0, ERR_DENIED,
	 "runner repo allow-submodules demo/site git@forge.example:me/l"},
	{SSH, "../lib.git", "git@forge.example:me", 1, NULL, 0, ERR_DENIED, "not for a pull request from a fork"},
	{HTTPS, "/srv/other.git", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{HTTPS, "file:///srv/other.git", NULL, 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{"/srv/site.git", "../other.git", "/srv/lib.git", 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{"/srv/site.git", "/srv/lib.git.d", "/srv/lib.git", 0, NULL, 0, ERR_DENIED, NOT_HTTPS},
	{"/srv/site.git", "/srv/lib.git", "/srv/lib.git", 1, NULL, 0, ERR_DENIED, "from a fork"},

	{HTTPS, "/srv/a/../secret", "/srv/a", 0, NULL, 0, ERR_INPUT, "'..' in it"},
	{HTTPS, "https://forge.example/a/../../x", NULL, 0, NULL, 0, ERR_INPUT, "'..' in it"},
	{HTTPS, "../../../../x", NULL, 0, NULL, 0, ERR_INPUT, "leads above its source"},
	{HTTPS, "ext::sh -c touch% /tmp/x", NULL, 0, NULL, 0, ERR_INPUT, "holds a character"},
	{HTTPS, "ext::sh", NULL, 0, NULL, 0, ERR_INPUT, "names a helper program"},
	{HTTPS, "fd::17/x", NULL, 0, NULL, 0, ERR_INPUT, "names a helper program"},
	{HTTPS, "--upload-pack=touch", NULL, 0, NULL, 0, ERR_INPUT, "looks like an option"},
	{HTTPS, "ssh://-oProxyCommand=x/y", NULL, 0, NULL, 0, ERR_INPUT, "strange host name"},
	{HTTPS, "-oProxyCommand=x:y", NULL, 0, NULL, 0, ERR_INPUT, "looks like an option"},
	{HTTPS, "host:-x", NULL, 0, NULL, 0, ERR_INPUT, "looks like an option"},
	{HTTPS, "ssh://-x@host/y", NULL, 0, NULL, 0, ERR_INPUT, "strange user name"},
	{HTTPS, "https://forge.example", NULL, 0, NULL, 0, ERR_INPUT, "has no path"},
	{HTTPS, "https:///x", NULL, 0, NULL, 0, ERR_INPUT, "strange host name"},
	{HTTPS, "https://forge.example\\@evil.example/x", NULL, 0, NULL, 0, ERR_INPUT, "holds a character"},
	{HTTPS, "ftp://forge.example/x", NULL, 0, NULL, 0, ERR_INPUT, "is not an address"},
	{HTTPS, "lib.git", NULL, 0, NULL, 0, ERR_INPUT, "is not an address"},
	{HTTPS, "", NULL, 0, NULL, 0, ERR_INPUT, "is not an address"},
	{HTTPS, "a\nb:c", NULL, 0, NULL, 0, ERR_INPUT, "holds a character"},
};

static void test_where_from(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
		_cleanup_vec_ struct vec allowed = VEC_INIT;
		struct submodule_rules rules = {"demo/site", urls[i].source, &allowed, urls[i].stranger};
		_cleanup_free_ char *url = NULL;
		int anonymous = -1;
		struct err e = {0};

		if (urls[i].allowed) vec_add(&allowed, urls[i].allowed);
		if (urls[i].url) {
			if (submodule_url(&rules, urls[i].written, &url, &anonymous, &e))
				fail_msg("'%s': %s", urls[i].written, e.text);
			assert_string_equal(url, urls[i].url);
			assert_int_equal(anonymous, urls[i].anonymous);
			continue;
		}
		if (!submodule_url(&rules, urls[i].written, &url, &anonymous, &e))
			fail_msg("'%s' is taken, as '%s'", urls[i].written, url);
		if (e.kind != urls[i].kind || !strstr(e.text, urls[i].why))
			fail_msg("'%s': %s: %s", urls[i].written, err_kind_name(e.kind), e.text);
	}
}

/* What a commit has; $BLOB and $LINK are objects, the script prints the commit. */
static char *commit_of(const char *dir, const char *script)
{
	_cleanup_free_ char *all = xasprintf(
		"export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=n GIT_AUTHOR_EMAIL=e@e GIT_COMMITTER_NAME=n "
		"GIT_COMMITTER_EMAIL=e@e; git init -q --bare m.git; cd m.git; "
		"LINK=0123456789012345678901234567890123456789; blob() { git hash-object -w --stdin; }; "
		"commit() { git commit-tree -m m \"$1\"; }; %s",
		script);
	const char *argv[] = {"bash", "-euc", all, NULL};
	struct child_opts o = {.argv = argv, .cwd = dir};
	struct buf out = BUF_INIT(1000);
	struct err e;

	if (child_check(&o, NULL, 20000, &out, &e)) fail_msg("%s", e.text);
	out.data[strcspn(out.data, "\n")] = '\0';
	return buf_steal(&out);
}

#define TREE(modules, links)                                                                                           \
	"commit $({ printf '100644 blob %s\\t.gitmodules\\0' \"$(printf '" modules "' | blob)\"; " links               \
	"; } | git mktree -z --missing)"
#define LINK(path) "printf '160000 commit %s\\t" path "\\0' $LINK"

static void test_which_there_are(void **state)
{
	static const struct {
		const char *script;
		const char *wanted; /* "path url,…"; NULL: refused */
		const char *why;
	} cases[] = {
		{"commit $(git mktree </dev/null)", "", NULL},
		{TREE("", ":"), "", NULL},
		{TREE("[submodule \"a\"]\\npath = lib\\nurl = ../x\\n[submodule \"gone\"]\\npath = g\\nurl = u\\n",
		      LINK("lib")),
		 "lib ../x,", NULL},
		{TREE("[submodule \"../../../etc\"]\\npath=lib\\nurl=u\\nupdate=!touch x\\n", LINK("lib")), "lib u,",
		 NULL},
		{TREE("[submodule \"a\"]\\npath = other\\nurl = u\\n", LINK("lib")), "lib -,", NULL},
		{TREE("[include]\\npath = /etc/passwd\\n", LINK("lib")), "lib -,", NULL},
		{TREE("[submodule \"a\\n", LINK("lib")), NULL, ".gitmodules"},
		{TREE("", LINK(".git")), NULL, "a submodule cannot be at '.git'"},
		{TREE("", LINK("..")), NULL, "a submodule cannot be at '..'"},
		{TREE("", "for i in $(seq 65); do " LINK("$i") "; done"), NULL, "more than 64 submodules"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		_cleanup_free_ char *dir = NULL, *commit = NULL, *mirror = NULL;
		_cleanup_buf_ struct buf got = BUF_INIT(10000);
		struct submodule *list = NULL;
		struct err e;
		size_t n = 0;
		int rc;

		assert_int_equal(fs_temp_dir("/tmp", "test_submodule.", &dir, &e), 0);
		mirror = xasprintf("%s/m.git", dir);
		commit = commit_of(dir, cases[i].script);
		rc = submodule_list(mirror, commit, &list, &n, &e);
		if (!!rc != !cases[i].wanted) fail_msg("%s: %s", cases[i].script, rc ? e.text : "taken");
		for (size_t k = 0; k < n; k++) buf_addf(&got, "%s %s,", list[k].path, list[k].url ? list[k].url : "-");
		if (rc) {
			if (e.kind != ERR_INPUT || !strstr(e.text, cases[i].why)) fail_msg("%s", e.text);
		} else {
			assert_string_equal(buf_str(&got), cases[i].wanted);
		}
		submodules_free(&list, n);
		assert_int_equal(fs_remove_tree(dir, &e), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_where_from),
		cmocka_unit_test(test_which_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
