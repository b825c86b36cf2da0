/* Debian images: mmdebstrap, run as the box's root in a user namespace, writes the tree where it will stay: no
 * archive in between, no chown, and no maintainer script ever runs as this host's root.
 *
 * The archive is this host's own: its mirror, its proxy, its trust, and nothing of third parties, whatever else is
 * in sources.list. What comes from it is verified by apt with Debian's keys. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "runner/sandbox/host.h"
#include "runner/sandbox/layer.h"

enum { APT_TIMEOUT_MS = 60 * 1000 };

/* What a stage's line begins with, the percent it spans, and how many counted lines a package gives in it. */
static const struct stage {
	const char *line;
	int from, to;
	int per_package;
	const char *text;
} stages[] = {
	{"I: running apt-get update", 0, 6, 0, "fetching package lists"},
	{"I: downloading packages", 6, 20, 1, "fetching packages"},
	{"I: extracting archives", 20, 26, 0, "extracting packages"},
	{"I: installing essential packages", 26, 55, 2, "installing essential packages"},
	{"I: installing remaining packages", 55, 98, 3, "installing packages"},
	{"I: cleaning package lists", 98, 99, 0, "cleaning up"},
};

static const struct step {
	const char *begins;
	const char *text;
	int word; /* which word is the package's name */
} steps[] = {
	{"Get:", "fetching", 4},
	{"Unpacking ", "unpacking", 1},
	{"Setting up ", "setting up", 2},
};

static int starts(const char *line, const char *with)
{
	return !strncmp(line, with, strlen(with));
}

/* Word n (0..) of line without ":arch", at most max - 1 bytes; "" when there is none. */
static void word_of(const char *line, int n, char *out, size_t max)
{
	size_t len;

	for (; n > 0 && *line; n--) {
		line += strcspn(line, " ");
		line += strspn(line, " ");
	}
	len = strcspn(line, " :\n");
	if (len >= max) len = max - 1;
	memcpy(out, line, len);
	out[len] = '\0';
}

static int enter_stage(struct debian_progress *p, const char *line)
{
	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		if (!starts(line, stages[i].line)) continue;
		p->stage = (int)i + 1;
		p->seen = 0;
		if (p->percent < stages[i].from) p->percent = stages[i].from;
		snprintf(p->text, sizeof(p->text), "%s", stages[i].text);
		return 1;
	}
	return 0;
}

/* "0 upgraded, 69 newly installed, 0 to remove and 0 not upgraded." */
static void note_total(struct debian_progress *p, const char *line)
{
	const char *comma = strstr(line, " upgraded, ");

	if (isdigit((unsigned char)*line) && comma && strstr(comma, " newly installed"))
		p->total = (int)strtol(comma + 11, NULL, 10);
}

int debian_progress_line(struct debian_progress *p, const char *line)
{
	const struct stage *st;
	char name[64];

	if (!p->error[0] && starts(line, "E: ")) snprintf(p->error, sizeof(p->error), "%s", line + 3);
	if (enter_stage(p, line)) return 2;
	note_total(p, line);
	if (!p->stage) return 0;
	st = &stages[p->stage - 1];
	for (size_t i = 0; st->per_package && i < ARRAY_LEN(steps); i++) {
		int most = p->total > 0 && p->total < 100000 ? p->total * st->per_package : 0;

		if (!starts(line, steps[i].begins)) continue;
		word_of(line, steps[i].word, name, sizeof(name));
		snprintf(p->text, sizeof(p->text), "%s %s", steps[i].text, name);
		if (p->seen < most) p->seen++;
		if (most) p->percent = st->from + (st->to - st->from) * p->seen / most;
		return 1;
	}
	return 0;
}

/* Suites whose packages come straight in, with neither updates nor a security archive beside them. */
static int is_rolling(const char *suite)
{
	return !strcmp(suite, "sid") || !strcmp(suite, "unstable");
}

int debian_sources(const char *targets, const char *release, const char *suite, struct vec *lines_r, struct err *e)
{
	size_t before = lines_r->len;

	for (const char *p = targets; *p;) {
		size_t n = strcspn(p, "\n"), rn = strlen(release);
		_cleanup_free_ char *line = xstrndup(p, n);
		_cleanup_vec_ struct vec word = VEC_INIT;
		_cleanup_free_ char *deb = NULL;
		const char *part;

		p += n + (p[n] == '\n');
		host_words(line, &word);
		if (word.len != 4 || strcmp(word.items[0], "Debian") || strcmp(word.items[2], "main")) continue;
		if (strncmp(word.items[1], release, rn)) continue;
		part = word.items[1] + rn;
		if (*part && strcmp(part, "-updates") && strcmp(part, "-security")) continue;
		if (*part && is_rolling(suite)) continue;
		deb = xasprintf("deb %s %s%s main", word.items[3], suite, part);
		if (!vec_has(lines_r, deb)) vec_take(lines_r, steal(deb));
	}
	if (lines_r->len > before) return 0;
	return err_set(e, ERR_MISSING, "apt has no list of Debian's '%s'; run: apt-get update", release);
}

void debian_apt_settings(const char *dump, struct buf *out)
{
	static const char *const wanted[] = {"http", "https", "Check-", "Retries", "ForceIP"};

	for (const char *p = dump; *p;) {
		size_t n = strcspn(p, "\n");

		for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
			size_t w = strlen(wanted[i]);

			if (!starts(p, "Acquire::") || strncmp(p + 9, wanted[i], w)) continue;
			/* "http" is a whole name: it is not the start of "httpx". */
			if (i < 2 && p[9 + w] != ':' && p[9 + w] != ' ') continue;
			buf_add(out, p, n);
			buf_addch(out, '\n');
			break;
		}
		p += n + (p[n] == '\n');
	}
}

static int host_release(char **name_r, struct err *e)
{
	static const char key[] = "VERSION_CODENAME=";
	_cleanup_buf_ struct buf text = BUF_INIT(65536);
	const char *p;

	if (fs_read_file("/etc/os-release", &text, e)) return -1;
	for (p = buf_str(&text); p && !starts(p, key);) {
		p = strchr(p, '\n');
		if (p) p++;
	}
	if (!p) return err_set(e, ERR_MISSING, "cannot tell this host's Debian release: /etc/os-release does not say");
	p += sizeof(key) - 1;
	*name_r = xstrndup(p, strcspn(p, "\n"));
	return 0;
}

static int find_sources(const char *release, const char *suite, struct vec *lines, struct err *e)
{
	static const char *const argv[] = {"apt-get",
					   "indextargets",
					   "--format",
					   "$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)",
					   "Created-By: Packages",
					   NULL};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20);

	if (child_check(&(struct child_opts){.argv = argv}, NULL, APT_TIMEOUT_MS, &text, e)) return -1;
	return debian_sources(buf_str(&text), release, suite, lines, e);
}

/* How this host reaches the archive, as a file in the layer's folder: not in argv, where a proxy's password would
 * be for all to see. */
static int write_settings(const char *path, struct err *e)
{
	static const char *const argv[] = {"apt-config", "dump", NULL};
	static const char *const proxies[] = {"http", "https"};
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);

	if (child_check(&(struct child_opts){.argv = argv}, NULL, APT_TIMEOUT_MS, &text, e)) return -1;
	debian_apt_settings(buf_str(&text), &out);
	for (size_t i = 0; i < ARRAY_LEN(proxies); i++) {
		_cleanup_free_ char *name = xasprintf("%s_proxy", proxies[i]);
		const char *value = getenv(name);

		if (value && *value && !strchr(value, '"'))
			buf_addf(&out, "Acquire::%s::Proxy \"%s\";\n", proxies[i], value);
	}
	buf_adds(&out, "Acquire::Retries \"3\";\n");
	return fs_write_file(path, buf_str(&out), out.len, 0644, e);
}

/* The parts of mmdebstrap's command line that depend on nothing. Documentation and translations are 40 % of a small
 * image's bytes; copyright files stay. Nothing needs fsync here: the finished layer is synced as a whole. */
static const char *const fixed_options[] = {
	"mmdebstrap",
	"--verbose",
	"--mode=unshare",
	"--format=directory",
	"--aptopt=" LAYER_REACH "/apt.conf",
	"--dpkgopt=force-unsafe-io",
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-include=/usr/share/doc/*/copyright",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
	"--dpkgopt=path-include=/usr/share/locale/locale.alias",
	NULL,
};

/* Hooks for a tree that will run: nothing of this host's own name and resolver, no proxy password, and the
 * certificates of this host where the archive is reached by https. */
static void add_hooks(struct vec *argv, int https)
{
	if (https && fs_exists("/usr/local/share/ca-certificates")) {
		vec_add(argv, "--customize-hook=copy-in /usr/local/share/ca-certificates /usr/local/share");
		vec_add(argv, "--customize-hook=chroot \"$1\" update-ca-certificates");
	}
	vec_add(argv, "--customize-hook=rm -f \"$1/etc/hostname\" && : >\"$1/etc/resolv.conf\"");
	vec_add(argv, "--customize-hook=sed -i /@/d \"$1/etc/apt/apt.conf.d/99mmdebstrap\"");
}

static void bootstrap_argv(const struct layer_want *w, const char *suite, const char *variant, const char *target,
			   const struct vec *lines, struct vec *argv)
{
	_cleanup_buf_ struct buf include = BUF_INIT(1 << 20);
	int https = 0, runs = strcmp(variant, "extract") != 0;

	for (size_t i = 0; i < lines->len; i++) https |= strstr(lines->items[i], "https:") != NULL;
	vec_add_all(argv, fixed_options);
	vec_addf(argv, "--variant=%s", variant);
	vec_addf(argv, "--architectures=%s", w->arch);
	for (size_t i = 0; i < w->packages->len; i++) buf_addf(&include, ",%s", w->packages->items[i]);
	if (https && runs) buf_adds(&include, ",ca-certificates");
	if (include.len) vec_addf(argv, "--include=%s", include.data + 1);
	if (runs) add_hooks(argv, https);
	vec_add(argv, suite);
	vec_addf(argv, LAYER_REACH "/%s", target);
	for (size_t i = 0; i < lines->len; i++) vec_add(argv, lines->items[i]);
}

static void bootstrap_env(struct vec *env)
{
	static const char *const pass[] = {"http_proxy", "https_proxy", "no_proxy"};

	vec_setenv(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	vec_setenv(env, "HOME", "/root");
	vec_setenv(env, "LC_ALL", "C.UTF-8");
	vec_setenv(env, "DEBIAN_FRONTEND", "noninteractive");
	vec_setenv(env, "TMPDIR", LAYER_REACH "/tmp");
	for (size_t i = 0; i < ARRAY_LEN(pass); i++)
		if (getenv(pass[i])) vec_setenv(env, pass[i], getenv(pass[i]));
}

/* Reads mmdebstrap's output to its end: to the log, to the watcher, and for its complaint. */
static int follow(struct layer *l, int fd, int log, struct debian_progress *p, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	FILE *in = fdopen(fd, "r");
	size_t room = 0;
	ssize_t n;
	int result = 0;

	if (!in) die("fdopen");
	while (!result && (n = getline(&line, &room, in)) > 0) {
		int news;

		result = fs_write_all(log, line, (size_t)n, "log of mmdebstrap", e);
		line[strcspn(line, "\r\n")] = '\0';
		news = debian_progress_line(p, line);
		if (news) layer_tell(l, news == 2, p->percent, "%s", p->text);
	}
	fclose(in);
	return result;
}

/* What went wrong, for a person who wrote a package list: apt's first complaint. */
static int complain(const struct layer *l, const char *program, const struct debian_progress *p, struct child_status st,
		    struct err *e)
{
	static const char unknown[] = "Unable to locate package ", gone[] = "' has no installation candidate";

	if (starts(p->error, unknown))
		return err_set(e, ERR_INPUT, "the archive has no package '%s'", p->error + sizeof(unknown) - 1);
	if (strstr(p->error, gone)) return err_set(e, ERR_INPUT, "%s", p->error);
	return err_set(e, ERR_REMOTE, "'%s' %s%s%s (its output: %s)",
		       strcmp(program, "mmdebstrap") ? "the package manager" : program, child_status_str(st),
		       p->error[0] ? ": " : "", p->error, l->log);
}

/* Runs it as the box's root. reach: layer_start()'s */
static int run(struct layer *l, const char *const *argv, int reach, struct err *e)
{
	_cleanup_vec_ struct vec env = VEC_INIT;
	_cleanup_free_ char *log_path = xasprintf("%s/log", l->temp);
	_cleanup_close_ int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct debian_progress progress = {0};
	struct child_status st;
	struct err unwaited;
	int p[2], failed;
	pid_t pid;

	if (log < 0) return err_sys(e, "cannot create '%s'", log_path);
	bootstrap_env(&env);
	if (!reach) vec_setenv(&env, "TMPDIR", "/tmp");
	if (pipe2(p, O_CLOEXEC)) return err_sys(e, "cannot make a pipe");
	failed = layer_start(l, argv, (const char *const *)vec_argv(&env), reach, 0, p[1], &pid, e);
	close(p[1]);
	if (failed) {
		close(p[0]);
		return -1;
	}
	failed = follow(l, p[0], log, &progress, e);
	/* Our end of its output is closed: where we could not follow, it ends by that. */
	if (child_wait(pid, -1, &st, &unwaited)) return failed ? -1 : err_set(e, unwaited.kind, "%s", unwaited.text);
	if (failed) return -1;
	return child_ok(st) ? 0 : complain(l, argv[0], &progress, st, e);
}

int debian_run(struct layer *l, const char *const *argv, struct err *e)
{
	_cleanup_free_ char *settings = xasprintf("%s/apt.conf", l->temp);

	return write_settings(settings, e) || run(l, argv, 0, e) ? -1 : 0;
}

int debian_bootstrap(struct layer *l, const struct layer_want *w, const char *variant, const char *target,
		     struct err *e)
{
	_cleanup_vec_ struct vec lines = VEC_INIT, argv = VEC_INIT;
	_cleanup_free_ char *settings = xasprintf("%s/apt.conf", l->temp), *tmp = xasprintf("%s/tmp", l->temp);
	_cleanup_free_ char *release = NULL;
	const char *suite;

	if (host_release(&release, e)) return -1;
	suite = w->suite && *w->suite ? w->suite : release;
	if (find_sources(release, suite, &lines, e) || write_settings(settings, e)) return -1;
	bootstrap_argv(w, suite, variant, target, &lines, &argv);
	if (fs_mkdirs(tmp, 01777, e)) return -1;
	if (chmod(tmp, 01777)) return err_sys(e, "cannot set mode of '%s'", tmp);
	return run(l, (const char *const *)vec_argv(&argv), 1, e);
}

int debian_check_packages(const char *suite, const struct vec *packages, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT, lines = VEC_INIT;
	_cleanup_free_ char *release = NULL;
	_cleanup_buf_ struct buf text = BUF_INIT(16 << 20);
	struct err unknown;

	/* Without lists of its own this host has nothing to say. */
	if (host_release(&release, &unknown) || strcmp(release, suite) != 0 ||
	    find_sources(release, suite, &lines, &unknown))
		return 0;
	vec_add_all(&argv, (const char *const[]){"apt-cache", "showpkg", "--", NULL});
	for (size_t i = 0; i < packages->len; i++) vec_add(&argv, packages->items[i]);
	if (child_check(&(struct child_opts){.argv = (const char *const *)vec_argv(&argv)}, NULL, APT_TIMEOUT_MS, &text,
			&unknown) &&
	    !text.len)
		return 0;
	for (size_t i = 0; i < packages->len; i++) {
		_cleanup_free_ char *line = xasprintf("Package: %s\n", packages->items[i]);

		if (!strstr(buf_str(&text), line))
			return err_set(e, ERR_INPUT, "the archive has no package '%s'", packages->items[i]);
	}
	return 0;
}

/* minbase, not apt: the packages of priority "required" are what Debian promises to every script, for 8 MB. */
int layer_make_debian(struct layer *l, const struct layer_want *w, struct err *e)
{
	return debian_bootstrap(l, w, "minbase", "rootfs", e);
}
