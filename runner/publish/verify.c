/* A clone, path by path: what points to images, and in which order they came. The images are in verify_image.c.
 *
 * `latest` must name the publication with the highest sequence number of those that moved it. So an older pointer that
 * is put back, with its good signature of then, is found as long as any later manifest is there. */
#include "runner/publish/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/publish/stamp.h"
#include "runner/publish/verify_parts.h"

enum { MAX_DEPTH = 32, MAX_TEXT = 1 << 22 };

void verify_problem(struct verify *v, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	v->res->problems++;
	v->o->tell(v->o->arg, text);
}

static char *full(const struct verify *v, const char *name)
{
	return *name ? xasprintf("%s/%s", v->o->dir, name) : xstrdup(v->o->dir);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int verify_list(struct verify *v, const char *name, struct vec *names_r)
{
	_cleanup_free_ char *path = full(v, name);
	DIR *dir = opendir(path);

	if (!dir) {
		verify_problem(v, "'%s' cannot be read: %s", name, strerror(errno));
		return -1;
	}
	for (struct dirent *d; (d = readdir(dir));)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && strcmp(d->d_name, ".git") != 0)
			vec_add(names_r, d->d_name);
	closedir(dir);
	if (names_r->len) qsort(names_r->items, names_r->len, sizeof(char *), by_text);
	return 0;
}

enum verify_kind verify_kind(const struct verify *v, const char *name, unsigned *mode_r, uint64_t *size_r)
{
	_cleanup_free_ char *path = full(v, name);
	struct stat st;

	if (lstat(path, &st)) return VERIFY_NONE;
	if (mode_r) *mode_r = st.st_mode & 0777;
	if (size_r) *size_r = (uint64_t)st.st_size;
	return S_ISREG(st.st_mode) ? VERIFY_FILE : S_ISDIR(st.st_mode) ? VERIFY_FOLDER : VERIFY_ODD;
}

int verify_read(struct verify *v, const char *name, struct buf *text)
{
	_cleanup_free_ char *path = full(v, name);
	struct err e;

	switch (verify_kind(v, name, NULL, NULL)) {
	case VERIFY_NONE: verify_problem(v, "'%s' is missing", name); return -1;
	case VERIFY_FOLDER:
	case VERIFY_ODD: verify_problem(v, "'%s' is not a regular file", name); return -1;
	case VERIFY_FILE: break;
	}
	if (!fs_read_file(path, text, &e)) return 0;
	verify_problem(v, "'%s': %s", name, e.text);
	return -1;
}

/* --- signatures --- */

static int by_a_key(const struct verify *v, const struct minisign_signature *s, const struct buf *text, struct err *e)
{
	char id[17];

	for (size_t i = 0; i < v->o->nkeys; i++)
		if (!memcmp(v->o->keys[i].id, s->id, MINISIGN_ID))
			return minisign_verify(&v->o->keys[i], s, buf_str(text), text->len, e);
	minisign_id_text(s->id, id);
	return err_set(e, ERR_DENIED, "was signed by key %s, which is not trusted", id);
}

static int fits_place(const struct stamp *s, const char *repository, const char *path, const char *commit,
		      int64_t sequence, struct err *e)
{
	if (strcmp(s->path, path) != 0) return err_set(e, ERR_DENIED, "was signed for path '%s'", s->path);
	if (strcmp(s->commit, commit) != 0) return err_set(e, ERR_DENIED, "was signed for commit %s", s->commit);
	if (repository && strcmp(s->repository, repository) != 0)
		return err_set(e, ERR_DENIED, "was signed for repository '%s'", s->repository);
	if (sequence && s->sequence != sequence)
		return err_set(e, ERR_DENIED, "was signed as sequence %lld, not %lld", (long long)s->sequence,
			       (long long)sequence);
	return 0;
}

void verify_signature(struct verify *v, const char *name, const struct buf *text, const char *repository,
		      const char *path, const char *commit, int64_t sequence, int64_t *sequence_r)
{
	_cleanup_free_ char *file = xasprintf("%s.minisig", name);
	_cleanup_free_ struct minisign_signature *s = xcalloc(1, sizeof(*s));
	_cleanup_free_ struct stamp *stamp = xcalloc(1, sizeof(*stamp));
	_cleanup_buf_ struct buf sig = BUF_INIT(MINISIGN_MAX_FILE);
	struct err e;

	if (sequence_r) *sequence_r = 0;
	if (!v->o->nkeys) return;
	if (verify_kind(v, file, NULL, NULL) == VERIFY_NONE) {
		verify_problem(v, "'%s' has no signature: '%s' is missing", name, file);
		return;
	}
	if (verify_read(v, file, &sig)) return;
	if (minisign_signature_parse(buf_str(&sig), sig.len, s, &e) || by_a_key(v, s, text, &e) ||
	    stamp_parse(s->comment, stamp, &e) || fits_place(stamp, repository, path, commit, sequence, &e)) {
		verify_problem(v, "'%s' %s", file, e.text);
		return;
	}
	if (sequence_r) *sequence_r = stamp->sequence;
}

/* --- one path --- */

static int is_commit(const char *s)
{
	return strlen(s) == 40 && strspn(s, "0123456789abcdef") == 40;
}

static void turns_release(struct turns *t)
{
	for (size_t i = 0; i < t->len; i++) free(t->items[i].file);
	free(t->items);
}

static void verify_numbers(struct verify *v, const char *path, const struct turns *turns)
{
	_cleanup_free_ char *file = xasprintf("%s/sequence", path);
	_cleanup_buf_ struct buf text = BUF_INIT(64);
	int64_t most = 0, n;

	for (size_t i = 0; i < turns->len; i++) {
		if (turns->items[i].sequence > most) most = turns->items[i].sequence;
		for (size_t k = 0; k < i; k++)
			if (turns->items[i].sequence == turns->items[k].sequence)
				verify_problem(v, "'%s' and '%s' have both the sequence number %lld",
					       turns->items[k].file, turns->items[i].file,
					       (long long)turns->items[i].sequence);
	}
	if (!most || verify_read(v, file, &text)) return;
	if (text.len && text.data[text.len - 1] == '\n') text.data[--text.len] = '\0';
	if (num_parse(buf_str(&text), 0, STAMP_MAX_SEQUENCE, &n))
		verify_problem(v, "'%s' is not a number", file);
	else if (n < most)
		verify_problem(v, "'%s' is %lld, and there is a publication %lld", file, (long long)n, (long long)most);
}

/* `latest` against the manifests: the newest that moved it. */
static void verify_order(struct verify *v, const char *file, const char *commit, int64_t signed_as,
			 const struct turns *turns)
{
	const struct turn_seen *named = NULL, *newest = NULL;

	for (size_t i = 0; i < turns->len; i++) {
		const struct turn_seen *t = &turns->items[i];

		if (t->latest && (!newest || t->sequence > newest->sequence)) newest = t;
		if (!strcmp(t->commit, commit) && t->latest && (!named || t->sequence > named->sequence)) named = t;
	}
	if (newest && strcmp(newest->commit, commit) != 0)
		verify_problem(v, "'%s' names %s, and %s of sequence %lld came after it: an older pointer was put back",
			       file, commit, newest->commit, (long long)newest->sequence);
	if (signed_as && named && signed_as != named->sequence)
		verify_problem(v, "'%s.minisig' was signed as sequence %lld, the manifest of %s as %lld", file,
			       (long long)signed_as, commit, (long long)named->sequence);
	if (v->o->since && (!named || named->sequence < v->o->since))
		verify_problem(v,
			       "'%s' names %s of sequence %lld, and %lld was there before: an older state was put back",
			       file, commit, named ? (long long)named->sequence : 0, (long long)v->o->since);
}

static void verify_latest(struct verify *v, const char *path, const struct turns *turns)
{
	_cleanup_free_ char *file = xasprintf("%s/latest", path), *folder = NULL;
	_cleanup_buf_ struct buf text = BUF_INIT(1 << 16);
	char commit[41];
	int64_t signed_as;

	if (verify_kind(v, file, NULL, NULL) == VERIFY_NONE) {
		for (size_t i = 0; i < turns->len; i++)
			if (turns->items[i].latest) {
				verify_problem(v, "'%s' is missing", file);
				return;
			}
		return;
	}
	if (verify_read(v, file, &text)) return;
	if (text.len != 41 || text.data[40] != '\n' || strspn(text.data, "0123456789abcdef") != 40) {
		verify_problem(v, "'%s' is not 40 hex digits and a newline", file);
		return;
	}
	memcpy(commit, text.data, 40);
	commit[40] = '\0';
	folder = xasprintf("%s/%s", path, commit);
	if (verify_kind(v, folder, NULL, NULL) != VERIFY_FOLDER)
		verify_problem(v, "'%s' names %s, which is not there", file, commit);
	verify_signature(v, file, &text, NULL, path, commit, 0, &signed_as);
	verify_order(v, file, commit, signed_as, turns);
}

static void verify_path(struct verify *v, const char *path, const struct vec *names)
{
	__attribute__((cleanup(turns_release))) struct turns turns = {0};

	v->res->paths++;
	for (size_t i = 0; i < names->len; i++)
		if (is_commit(names->items[i])) {
			_cleanup_free_ char *folder = xasprintf("%s/%s", path, names->items[i]);

			if (verify_kind(v, folder, NULL, NULL) == VERIFY_FOLDER)
				verify_image(v, path, names->items[i], &turns);
		}
	verify_numbers(v, path, &turns);
	verify_latest(v, path, &turns);
}

/* A folder is a path where something points to images or an image is. */
static int is_path(const struct verify *v, const char *name, const struct vec *names)
{
	for (size_t i = 0; i < names->len; i++) {
		_cleanup_free_ char *sub = xasprintf("%s/%s", name, names->items[i]);

		if (!strcmp(names->items[i], "latest") && verify_kind(v, sub, NULL, NULL) != VERIFY_FOLDER) return 1;
		if (is_commit(names->items[i]) && verify_kind(v, sub, NULL, NULL) == VERIFY_FOLDER) return 1;
	}
	return 0;
}

static void walk(struct verify *v, const char *name, int depth)
{
	_cleanup_vec_ struct vec names = VEC_INIT;
	int found;

	if (depth > MAX_DEPTH) {
		verify_problem(v, "'%s' is more than %d folders deep", name, MAX_DEPTH);
		return;
	}
	if (verify_list(v, name, &names)) return;
	found = *name && is_path(v, name, &names);
	if (found && (!v->o->path || !strcmp(v->o->path, name))) verify_path(v, name, &names);
	for (size_t i = 0; i < names.len; i++) {
		_cleanup_free_ char *sub = xasprintf("%s%s%s", name, *name ? "/" : "", names.items[i]);

		if (found && is_commit(names.items[i])) continue;
		if (verify_kind(v, sub, NULL, NULL) == VERIFY_FOLDER) walk(v, sub, depth + 1);
	}
}

int verify_run(const struct verify_opts *o, struct verify_result *r_r, struct err *e)
{
	struct verify v = {.o = o, .res = r_r};
	struct stat st;

	*r_r = (struct verify_result){0};
	if (stat(o->dir, &st)) return err_sys(e, "cannot find '%s'", o->dir);
	if (!S_ISDIR(st.st_mode)) return err_set(e, ERR_INPUT, "'%s' is not a folder", o->dir);
	walk(&v, "", 0);
	if (!r_r->paths && !r_r->problems)
		return err_set(e, ERR_INPUT, "there is no image in '%s'%s%s%s", o->dir, o->path ? " under '" : "",
			       o->path ? o->path : "", o->path ? "'" : "");
	return 0;
}
