/* `runner rebuild`: a published commit is built again, and what comes out is compared with what was published. Run in a
 * clone of the source; --from is a clone of the deployment repository. The build is `runner exec --commit`, with the
 * job, branch and repository that the manifest names. */
#include <dirent.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/fs.h"
#include "lib/json.h"
#include "runner/cmd.h"
#include "runner/publish/manifest.h"
#include "runner/publish/same.h"

enum { MAX_MANIFEST = 1 << 22, SAME = 0, DIFFERS = 1, NOT_REBUILT = 3, MAX_DEPTH = 8 };

struct rebuild {
	const char *from, *path, *commit;
	struct vec passed;  /* options for exec */
	struct vec folders; /* <from>/<path>/<commit> */
	int worst;
	int compared;
};

static void release(struct rebuild *r)
{
	vec_release(&r->passed);
	vec_release(&r->folders);
}

static void worse(struct rebuild *r, int status)
{
	if (status > r->worst) r->worst = status;
}

/* --- where it was published --- */

static int is_plain(const char *name)
{
	return *name && *name != '.' && !strchr(name, '/');
}

static int is_folder(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISDIR(st.st_mode);
}

/* Folders that are called by the commit. */
static void find_folders(struct rebuild *r, const char *dir, int depth)
{
	DIR *d = opendir(dir);

	for (struct dirent *it; d && (it = readdir(d));) {
		_cleanup_free_ char *path = xasprintf("%s/%s", dir, it->d_name);

		if (!is_plain(it->d_name) || !is_folder(path)) continue;
		if (strlen(it->d_name) == 40 && !strncmp(it->d_name, r->commit, strlen(r->commit)))
			vec_add(&r->folders, path);
		else if (depth < MAX_DEPTH)
			find_folders(r, path, depth + 1);
	}
	if (d) closedir(d);
}

/* --- what was built again --- */

static const char *wanted_name;
static char *found_file;

static int look(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	if (kind != FTW_F || strcmp(path + at->base, wanted_name) != 0) return 0;
	found_file = xstrdup(path);
	return 1;
}

/* The file of that name below the output; caller frees. NULL: there is none */
static char *find_file(const char *dir, const char *name)
{
	wanted_name = name;
	found_file = NULL;
	return nftw(dir, look, 16, FTW_PHYS) < 0 ? NULL : found_file;
}

static void tell(const char *name, const struct same *s)
{
	printf("%s differs: %llu bytes published, %llu rebuilt", name, (unsigned long long)s->size[0],
	       (unsigned long long)s->size[1]);
	if (s->bytes) printf(", %llu of them differ", (unsigned long long)s->bytes);
	printf("\n  sha256 %s published\n  sha256 %s rebuilt\n", s->sha256[0], s->sha256[1]);
	for (size_t i = 0; i < SAME_PLACES && i < s->bytes; i++)
		printf("  at byte %llu: %02x, was %02x\n", (unsigned long long)s->at[i], s->is[i], s->was[i]);
	if (s->bytes > SAME_PLACES) printf("  …\n");
}

struct wanted {
	const char *name, *packed, *packing, *sha256;
	int64_t size;
};

static void compare(struct rebuild *r, const char *folder, const char *output, const struct wanted *w)
{
	_cleanup_free_ char *published = xasprintf("%s/%s", folder, w->packed), *rebuilt = NULL;
	struct same s;
	struct err e;
	int rc;

	if (!is_plain(w->name) || !is_plain(w->packed) || w->size < 0) {
		printf("%s: its manifest names it badly\n", w->name);
		worse(r, NOT_REBUILT);
		return;
	}
	rebuilt = find_file(output, w->name);
	if (!rebuilt) {
		printf("%s was not built again\n", w->name);
		worse(r, DIFFERS);
		return;
	}
	rc = same_compare(published, w->packing, (uint64_t)w->size, rebuilt, &s, &e);
	r->compared++;
	if (rc < 0 || strcmp(s.sha256[0], w->sha256) != 0) {
		printf("%s: %s\n", w->name, rc < 0 ? e.text : "what was published is not what its manifest says");
		worse(r, NOT_REBUILT);
		return;
	}
	if (rc) {
		tell(w->name, &s);
		worse(r, DIFFERS);
		return;
	}
	printf("%s is the same: %llu bytes, sha256 %s\n", w->name, (unsigned long long)s.size[0], s.sha256[0]);
}

static void compare_all(struct rebuild *r, const char *folder, const char *output, const json_t *m)
{
	const json_t *files = json_object_get(m, "files");
	struct wanted image = {.name = json_string_or(m, "image", ""),
			       .packed = json_string_or(m, "packed", ""),
			       .packing = json_string_or(m, "packing", ""),
			       .sha256 = json_string_or(m, "image_sha256", ""),
			       .size = json_int_or(m, "image_size", -1)};

	compare(r, folder, output, &image);
	for (size_t i = 0; i < json_array_size(files); i++) {
		const json_t *f = json_array_get(files, i);
		const char *name = json_string_or(f, "name", "");
		struct wanted w = {.name = name,
				   .packed = name,
				   .packing = "none",
				   .sha256 = json_string_or(f, "sha256", ""),
				   .size = json_int_or(f, "size", -1)};

		compare(r, folder, output, &w);
	}
}

/* --- one manifest --- */

/* "demo/site 3.2": the second of its plan. NULL: another CI built it */
static const char *job_number(const json_t *m)
{
	const char *job = json_string_or(m, "job", ""), *blank = strrchr(job, ' '),
		   *dot = blank ? strchr(blank, '.') : NULL;

	return dot && dot[1] && strspn(dot + 1, "0123456789") == strlen(dot + 1) ? dot + 1 : NULL;
}

static int build(struct rebuild *r, const json_t *m, const char *output, struct err *e)
{
	_cleanup_vec_ struct vec argv = VEC_INIT;
	struct child_opts o = {.die_with_parent = 1};
	struct child_status status;
	static const struct {
		const char *option, *member;
	} of[] = {{"--branch", "branch"}, {"--repo", "repository"}};
	const char *number = job_number(m);
	pid_t pid;

	vec_add_all(&argv, (const char *const[]){child_self(), "exec", "--output", output, "--commit",
						 json_string_or(m, "commit", ""), NULL});
	for (size_t i = 0; i < ARRAY_LEN(of); i++) {
		const char *value = json_string_or(m, of[i].member, "");

		if (*value) vec_add_all(&argv, (const char *const[]){of[i].option, value, NULL});
	}
	if (number) vec_add_all(&argv, (const char *const[]){"--job", number, NULL});
	for (size_t i = 0; i < r->passed.len; i++) vec_add(&argv, r->passed.items[i]);
	o.argv = (const char *const *)vec_argv(&argv);
	fflush(stdout);
	if (child_start(&o, &pid, NULL, e) || child_wait(pid, -1, &status, e)) return -1;
	return child_ok(status) ? 0 : err_set(e, ERR_REMOTE, "the build %s", child_status_str(status));
}

static void output_p(char **path)
{
	struct err ignored;

	if (*path && fs_remove_tree(*path, &ignored)) fprintf(stderr, "runner rebuild: %s\n", ignored.text);
	free_p(path);
}

static int rebuild_one(struct rebuild *r, const char *folder, const char *manifest, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s/%s", folder, manifest);
	__attribute__((cleanup(output_p))) char *output = NULL;
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_MANIFEST);
	_cleanup_json_ json_t *m = NULL;
	const char *tmp = getenv("TMPDIR"), *slash = strrchr(folder, '/');

	if (fs_read_file(file, &text, e) || manifest_parse(file, buf_str(&text), text.len, &m, e)) return -1;
	if (strcmp(json_string_or(m, "commit", ""), slash + 1) != 0)
		return err_set(e, ERR_INPUT, "'%s' is of another commit", file);
	if (fs_temp_dir(tmp && *tmp ? tmp : "/tmp", "slipway-rebuild-", &output, e) || build(r, m, output, e))
		return -1;
	compare_all(r, folder, output, m);
	return 0;
}

static int rebuild_folder(struct rebuild *r, const char *folder, struct err *e)
{
	DIR *d = opendir(folder);
	int failed = d ? 0 : err_sys(e, "cannot read '%s'", folder);

	for (struct dirent *it; d && !failed && (it = readdir(d));) {
		size_t n = strlen(it->d_name);

		if (strncmp(it->d_name, "manifest", 8) != 0 || n < 13 || strcmp(it->d_name + n - 5, ".json") != 0)
			continue;
		failed = rebuild_one(r, folder, it->d_name, e);
	}
	if (d) closedir(d);
	return failed;
}

/* 0, or 1: wrong usage */
static int options(int argc, char **argv, struct rebuild *r)
{
	static const struct option known[] = {{"from", required_argument, NULL, 'f'},
					      {"path", required_argument, NULL, 'p'},
					      {"key", required_argument, NULL, 'k'},
					      {"state", required_argument, NULL, 's'},
					      {"env", required_argument, NULL, 'e'},
					      {"secret", required_argument, NULL, 'x'},
					      {0}};
	int c, at;

	while ((c = getopt_long(argc, argv, "", known, &at)) != -1) {
		if (c == '?') return 1;
		if (c == 'f')
			r->from = optarg;
		else if (c == 'p')
			r->path = optarg;
		else
			vec_addf(&r->passed, "--%s=%s", known[at].name, optarg);
	}
	if (argc - optind != 1 || !r->from) return 1;
	r->commit = argv[optind];
	return 0;
}

int cmd_rebuild(int argc, char **argv)
{
	__attribute__((cleanup(release))) struct rebuild r = {.worst = SAME};
	_cleanup_free_ char *top = NULL;
	struct err e;

	if (options(argc, argv, &r)) return cmd_usage("rebuild");
	if (strlen(r.commit) < 7 || strlen(r.commit) > 40 || strspn(r.commit, "0123456789abcdef") != strlen(r.commit)) {
		fprintf(stderr, "runner rebuild: '%s' is no commit: 7 to 40 hex digits\n", r.commit);
		return 2;
	}
	top = r.path ? xasprintf("%s/%s", r.from, r.path) : xstrdup(r.from);
	find_folders(&r, top, 0);
	for (size_t i = 0; i < r.folders.len; i++)
		if (rebuild_folder(&r, r.folders.items[i], &e)) {
			cmd_fail("rebuild", e.text);
			worse(&r, NOT_REBUILT);
		}
	if (!r.folders.len) {
		fprintf(stderr, "runner rebuild: no image of '%s' is below '%s'\n", r.commit, top);
		return NOT_REBUILT;
	}
	return r.compared || r.worst ? r.worst : NOT_REBUILT;
}
