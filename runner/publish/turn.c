/* One turn: reads what the tip has of this path, and makes what is to be put on it. Nothing there is trusted: it may
 * have been written by anybody who can push. Where we sign, sums are taken over from another cell only if its manifest
 * has our signature. */
#include "runner/publish/turn.h"

#include <stdlib.h>
#include <string.h>

#include "lib/num.h"
#include "runner/publish/forward.h"
#include "runner/publish/manifest.h"
#include "runner/publish/minisign.h"
#include "runner/publish/provenance.h"
#include "runner/publish/stamp.h"
#include "runner/publish/sums.h"

enum { MAX_MANIFEST = 1 << 22, MAX_SMALL = 1 << 16 };

struct cell { /* a manifest in the commit's folder */
	char *file;
	json_t *manifest;
	struct buf text;
};

struct view { /* what the tip has */
	git_repository *git;
	git_tree *tip, *folder; /* folder: <path>/<commit>, NULL: not there yet */
	struct cell *cells;
	size_t ncells;
	json_t *named;    /* the manifest of what `latest` names; NULL: none */
	int64_t sequence; /* the highest that is known */
};

static void view_release(struct view *v)
{
	for (size_t i = 0; i < v->ncells; i++) {
		free(v->cells[i].file);
		json_decref(v->cells[i].manifest);
		buf_release(&v->cells[i].text);
	}
	free(v->cells);
	git_tree_free(v->folder);
	json_decref(v->named);
}

void turn_release(struct turn *t)
{
	free_p(&t->files);
	free_p(&t->top);
	free_p(&t->note);
	vec_release(&t->dropped);
	vec_release(&t->names);
	*t = (struct turn)TURN_INIT;
}

static void say(const struct turn_order *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct turn_order *o, const char *fmt, ...)
{
	_cleanup_buf_ struct buf line = BUF_INIT(2000);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&line, fmt, ap);
	va_end(ap);
	if (o->say) o->say(o->arg, buf_str(&line));
}

/* --- what is there --- */

static void raise_to(int64_t *most, int64_t n)
{
	if (n > *most && n <= STAMP_MAX_SEQUENCE) *most = n;
}

/* A manifest that is damaged is as good as none: it is replaced, and verify tells. */
static json_t *read_manifest(const struct view *v, const char *path, struct buf *text)
{
	json_t *j = NULL;
	struct err ignored;

	if (layout_read(v->git, v->tip, path, text, &ignored) ||
	    manifest_parse(path, buf_str(text), text->len, &j, &ignored))
		return NULL;
	return j;
}

static int is_manifest(const char *name)
{
	size_t n = strlen(name);

	return !strcmp(name, "manifest.json") ||
	       (!strncmp(name, "manifest-", 9) && n > 14 && !strcmp(name + n - 5, ".json"));
}

static int read_folder(struct view *v, const struct publish_request *r, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", r->path, r->commit);

	if (layout_folder(v->git, v->tip, path, &v->folder, e)) return -1;
	for (size_t i = 0; v->folder && i < git_tree_entrycount(v->folder); i++) {
		const char *name = git_tree_entry_name(git_tree_entry_byindex(v->folder, i));
		_cleanup_free_ char *file = xasprintf("%s/%s", path, name);
		struct buf text = BUF_INIT(MAX_MANIFEST);
		json_t *j = is_manifest(name) ? read_manifest(v, file, &text) : NULL;

		if (!j) {
			buf_release(&text);
			continue;
		}
		v->cells = xrealloc(v->cells, (v->ncells + 1) * sizeof(*v->cells));
		v->cells[v->ncells++] = (struct cell){xstrdup(name), j, text};
		raise_to(&v->sequence, json_int_or(j, "sequence", 0));
	}
	return 0;
}

static int read_sequence(struct view *v, const struct publish_request *r, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/sequence", r->path);
	_cleanup_buf_ struct buf text = BUF_INIT(64);
	int64_t n;
	int rc = layout_read(v->git, v->tip, path, &text, e);

	if (rc) return rc < 0 ? -1 : 0;
	if (text.len && text.data[text.len - 1] == '\n') text.data[--text.len] = '\0';
	if (num_parse(buf_str(&text), 0, STAMP_MAX_SEQUENCE - 1, &n))
		return err_set(e, ERR_INPUT, "'%s' in the deployment repository is not a number: remove it", path);
	raise_to(&v->sequence, n);
	return 0;
}

static int view_read(struct view *v, const struct publish_request *r, struct turn *t, struct err *e)
{
	if (layout_latest(v->git, v->tip, r->path, t->named, e)) return -1;
	if (*t->named) {
		_cleanup_free_ char *path = xasprintf("%s/%s/manifest.json", r->path, t->named);
		_cleanup_buf_ struct buf text = BUF_INIT(MAX_MANIFEST);

		v->named = read_manifest(v, path, &text);
		raise_to(&v->sequence, json_int_or(v->named, "sequence", 0));
	}
	return read_folder(v, r, e) || read_sequence(v, r, e) ? -1 : 0;
}

/* Is `text` what our key signed for this place? `file` is its name in the tree. 1: yes */
static int is_signed(const struct view *v, const struct turn_order *o, const char *file, const void *data, size_t len,
		     const char *commit, struct err *why)
{
	_cleanup_free_ char *path = xasprintf("%s.minisig", file);
	_cleanup_free_ struct minisign_signature *s = xcalloc(1, sizeof(*s));
	_cleanup_free_ struct stamp *stamp = xcalloc(1, sizeof(*stamp));
	_cleanup_buf_ struct buf text = BUF_INIT(MINISIGN_MAX_FILE);
	struct minisign_public pub;
	int rc = layout_read(v->git, v->tip, path, &text, why);

	if (rc > 0) err_set(why, ERR_MISSING, "has no signature");
	if (rc) return 0;
	minisign_public_of(o->sign_key, &pub);
	if (minisign_signature_parse(buf_str(&text), text.len, s, why) || minisign_verify(&pub, s, data, len, why) ||
	    stamp_parse(s->comment, stamp, why))
		return 0;
	if (strcmp(stamp->path, o->r->path) != 0 || strcmp(stamp->commit, commit) != 0) {
		err_set(why, ERR_DENIED, "was signed for '%s/%s'", stamp->path, stamp->commit);
		return 0;
	}
	return 1;
}

static int latest_is_signed(const struct view *v, const struct turn_order *o, const char *commit, struct err *why)
{
	_cleanup_free_ char *file = xasprintf("%s/latest", o->r->path), *text = xasprintf("%s\n", commit);

	return is_signed(v, o, file, text, strlen(text), commit, why);
}

/* --- which manifest is ours --- */

static struct cell *find_cell(const struct view *v, const char *file)
{
	for (size_t i = 0; i < v->ncells; i++)
		if (!strcmp(v->cells[i].file, file)) return &v->cells[i];
	return NULL;
}

/* Our manifest's name: manifest.json where `latest` follows our cell or nobody else has it. *displaced_r: another cell
 * has it, and must make room. */
static char *choose_name(const struct view *v, const struct turn_order *o, const struct turn *t,
			 struct cell **displaced_r)
{
	struct cell *plain = find_cell(v, "manifest.json");
	int first = t->latest_moves || (v->named && manifest_one_cell(v->named, o->manifest));
	_cleanup_free_ char *cell = manifest_cell(o->manifest);

	*displaced_r = NULL;
	if (!plain || manifest_one_cell(plain->manifest, o->manifest)) return xstrdup("manifest.json");
	if (!first) return xasprintf("manifest-%s.json", cell);
	*displaced_r = plain;
	return xstrdup("manifest.json");
}

/* The manifest that ours replaces. */
static struct cell *replaced(const struct view *v, const struct turn_order *o, const char *name,
			     const struct cell *displaced)
{
	for (size_t i = 0; i < v->ncells; i++)
		if (&v->cells[i] != displaced &&
		    (!strcmp(v->cells[i].file, name) || manifest_one_cell(v->cells[i].manifest, o->manifest)))
			return &v->cells[i];
	return NULL;
}

/* --- what is put there --- */

static int put(struct turn *t, struct layout_file **list, size_t *n, git_repository *git, const char *name,
	       const char *text, struct err *e)
{
	struct layout_file *f;

	*list = xrealloc(*list, (*n + 1) * sizeof(**list));
	vec_add(&t->names, name);
	f = &(*list)[(*n)++];
	*f = (struct layout_file){.name = t->names.items[t->names.len - 1], .mode = 0644};
	if (git_blob_create_from_buffer(&f->blob, git, text, strlen(text)))
		return git2_fail(e, ERR_SYS, "cannot store '%s'", name);
	return 0;
}

#define PUT_FILE(v, t, name, text, e) put(t, &(t)->files, &(t)->nfiles, (v)->git, name, text, e)
#define PUT_TOP(v, t, name, text, e) put(t, &(t)->top, &(t)->ntop, (v)->git, name, text, e)

static char *sign(const struct turn_order *o, const struct turn *t, const char *text)
{
	_cleanup_free_ struct stamp *s = xcalloc(1, sizeof(*s));
	_cleanup_free_ char *comment = NULL;

	stamp_set(s, o->r->source_repo, o->r->path, o->r->commit, t->sequence);
	comment = stamp_text(s);
	return minisign_sign(o->sign_key, text, strlen(text), comment);
}

static int put_signed(const struct view *v, const struct turn_order *o, struct turn *t, const char *name,
		      const char *text, struct err *e)
{
	_cleanup_free_ char *sig_name = xasprintf("%s.minisig", name), *sig = NULL;

	if (PUT_FILE(v, t, name, text, e)) return -1;
	if (!o->sign_key) {
		vec_add(&t->dropped, sig_name); /* a signature of what was there before fits no more */
		return 0;
	}
	sig = sign(o, t, text);
	return PUT_FILE(v, t, sig_name, sig, e);
}

static int put_top(const struct view *v, const struct turn_order *o, struct turn *t, struct err *e)
{
	_cleanup_free_ char *number = xasprintf("%lld\n", (long long)t->sequence),
			    *latest = xasprintf("%s\n", o->r->commit), *sig = NULL;

	if (PUT_TOP(v, t, "sequence", number, e)) return -1;
	if (!t->latest_moves) return 0;
	if (PUT_TOP(v, t, "latest", latest, e)) return -1;
	if (!o->sign_key) return 0; /* verify and the hooks must see that an older signature does not fit */
	sig = sign(o, t, latest);
	return PUT_TOP(v, t, "latest.minisig", sig, e);
}

/* Another cell's manifest, its signature and its provenance get names of their own. */
static int move_away(const struct view *v, struct turn *t, struct cell *c, struct err *e)
{
	static const char *const parts[][2] = {
		{"manifest", ".json"}, {"manifest", ".json.minisig"}, {"provenance", ".json"}};
	_cleanup_free_ char *cell = manifest_cell(c->manifest);

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		_cleanup_free_ char *from = xasprintf("%s%s", parts[i][0], parts[i][1]);
		_cleanup_free_ char *to = xasprintf("%s-%s%s", parts[i][0], cell, parts[i][1]);
		const git_tree_entry *entry = git_tree_entry_byname(v->folder, from);

		if (!entry || git_tree_entry_type(entry) != GIT_OBJECT_BLOB) continue;
		if (PUT_FILE(v, t, to, "", e)) return -1;
		git_oid_cpy(&t->files[t->nfiles - 1].blob, git_tree_entry_id(entry));
	}
	free(c->file);
	c->file = xasprintf("manifest-%s.json", cell);
	return 0;
}

/* No file of ours may take the place of another cell's. */
static int check_owner(const struct view *v, const struct cell *old, const struct sums *ours, struct err *e)
{
	for (size_t i = 0; i < v->ncells; i++) {
		__attribute__((cleanup(sums_release))) struct sums theirs = {0};
		_cleanup_free_ char *cell = manifest_cell(v->cells[i].manifest);
		const char *name;

		if (&v->cells[i] == old) continue;
		sums_of_manifest(&theirs, v->cells[i].manifest);
		name = sums_conflict(&theirs, ours);
		if (name)
			return err_set(e, ERR_INPUT,
				       "'%s' of this commit is already there, with other bytes, from the cell '%s': "
				       "give it another name, or put {arch} into the path",
				       name, cell);
	}
	return 0;
}

/* What the replaced manifest had, and neither ours nor another cell's has. */
static void drop_old(const struct view *v, const struct cell *old, const struct sums *ours, struct turn *t)
{
	__attribute__((cleanup(sums_release))) struct sums before = {0}, others = {0};

	if (!old) return;
	sums_of_manifest(&before, old->manifest);
	for (size_t i = 0; i < v->ncells; i++)
		if (&v->cells[i] != old) sums_of_manifest(&others, v->cells[i].manifest);
	for (size_t i = 0; i < before.len; i++)
		if (!sums_find(ours, before.items[i].name) && !sums_find(&others, before.items[i].name))
			vec_add(&t->dropped, before.items[i].name);
}

/* The sums of the other cells. Signed by us they are only where we signed their manifest. */
static void add_others(const struct view *v, const struct turn_order *o, const struct cell *old,
		       const struct cell *displaced, struct sums *all)
{
	for (size_t i = 0; i < v->ncells; i++) {
		const struct cell *c = &v->cells[i];
		_cleanup_free_ char *path =
			xasprintf("%s/%s/%s", o->r->path, o->r->commit, c == displaced ? "manifest.json" : c->file);
		struct err why;

		if (c == old) continue;
		if (o->sign_key && !is_signed(v, o, path, buf_str(&c->text), c->text.len, o->r->commit, &why)) {
			say(o, "'%s' %s: its files are left out of SHA256SUMS", path, why.text);
			continue;
		}
		sums_of_manifest(all, c->manifest);
		sums_of_provenance(all, c->manifest, c->file);
		sums_add_text(all, c->file, buf_str(&c->text), c->text.len);
	}
}

static const char *previous_of(const struct turn *t, const struct cell *old, const char *commit)
{
	if (strcmp(t->named, commit) != 0) return t->named;
	return old ? json_string_or(old->manifest, "previous", "") : "";
}

static int add_all(struct view *v, const struct turn_order *o, struct turn *t, const char *name, struct cell *displaced,
		   struct cell *old, struct err *e)
{
	__attribute__((cleanup(sums_release))) struct sums all = {0};
	_cleanup_free_ char *provenance = provenance_text(o->r, o->manifest), *manifest = NULL, *sums = NULL,
			    *provenance_name = sums_provenance_name(name);
	struct manifest_turn turn = {
		.sequence = t->sequence, .previous = previous_of(t, old, o->r->commit), .latest = t->latest_moves};
	char hash[65];

	sums_hash(provenance, strlen(provenance), hash);
	turn.provenance_sha256 = hash;
	manifest = manifest_text(o->manifest, &turn);
	sums_of_manifest(&all, o->manifest);
	if (check_owner(v, old, &all, e)) return -1;
	drop_old(v, old, &all, t);
	if (old && old != displaced && strcmp(old->file, name) != 0) {
		_cleanup_free_ char *old_provenance = sums_provenance_name(old->file);

		vec_add(&t->dropped, old->file);
		vec_addf(&t->dropped, "%s.minisig", old->file);
		vec_add(&t->dropped, old_provenance);
	}
	if (displaced && move_away(v, t, displaced, e)) return -1;
	add_others(v, o, old, displaced, &all);
	sums_add_text(&all, name, manifest, strlen(manifest));
	sums_add_text(&all, provenance_name, provenance, strlen(provenance));
	sums = sums_text(&all);
	for (size_t i = 0; i < o->nblobs; i++) {
		t->files = xrealloc(t->files, (t->nfiles + 1) * sizeof(*t->files));
		t->files[t->nfiles++] = o->blobs[i];
	}
	return PUT_FILE(v, t, provenance_name, provenance, e) || put_signed(v, o, t, name, manifest, e) ||
			       put_signed(v, o, t, "SHA256SUMS", sums, e) || put_top(v, o, t, e)
		       ? -1
		       : 0;
}

/* --- is it there already? --- */

static int blobs_there(const struct view *v, const struct turn_order *o)
{
	for (size_t i = 0; i < o->nblobs; i++) {
		const git_tree_entry *entry = v->folder ? git_tree_entry_byname(v->folder, o->blobs[i].name) : NULL;

		if (!entry || !git_oid_equal(git_tree_entry_id(entry), &o->blobs[i].blob)) return 0;
		if ((git_tree_entry_filemode(entry) == GIT_FILEMODE_BLOB_EXECUTABLE) !=
		    ((o->blobs[i].mode & 0111) != 0))
			return 0;
	}
	return v->folder && git_tree_entry_byname(v->folder, "SHA256SUMS");
}

static int is_there(const struct view *v, const struct turn_order *o, const struct turn *t, const char *name,
		    const struct cell *old)
{
	_cleanup_free_ char *path = xasprintf("%s/%s/%s", o->r->path, o->r->commit, name);
	struct err ignored;

	if (!old || strcmp(old->file, name) != 0 || !manifest_same(old->manifest, o->manifest) || !blobs_there(v, o))
		return 0;
	if (json_int_or(old->manifest, "sequence", 0) <= 0) return 0;
	if (t->latest_moves && (strcmp(t->named, o->r->commit) != 0 || !json_bool_or(old->manifest, "latest", 0)))
		return 0;
	if (!o->sign_key) return 1;
	return is_signed(v, o, path, buf_str(&old->text), old->text.len, o->r->commit, &ignored) &&
	       (!t->latest_moves || latest_is_signed(v, o, t->named, &ignored));
}

int turn_make(git_repository *git, git_tree *tip, const struct turn_order *o, struct turn *t, struct err *e)
{
	__attribute__((cleanup(view_release))) struct view v = {.git = git, .tip = tip};
	struct forward f = {
		.named = t->named, .ours = o->manifest, .mirror = o->r->source_mirror, .wanted = !o->r->no_latest};
	_cleanup_free_ char *name = NULL;
	struct cell *displaced, *old;
	struct err why;

	if (view_read(&v, o->r, t, e)) return -1;
	f.there = v.named;
	t->latest_moves = forward_may_move(&f, &t->note, e);
	if (t->latest_moves < 0) return -1;
	name = choose_name(&v, o, t, &displaced);
	old = replaced(&v, o, name, displaced);
	t->unchanged = is_there(&v, o, t, name, old);
	if (t->unchanged) return 0;
	if (o->sign_key && *t->named && !latest_is_signed(&v, o, t->named, &why))
		say(o, "'%s/latest', which names %s, %s", o->r->path, t->named, why.text);
	t->sequence = v.sequence + 1;
	return add_all(&v, o, t, name, displaced, old, e);
}
