/* The catalogue of images, and who may name what. */
#include "runner/images.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fs.h"
#include "runner/plan/imageref.h"

enum { MAX_LIST = 1 << 20 };

void images_choice_release(struct images_choice *c)
{
	free_p(&c->reference);
	free_p(&c->pin);
}

/* --- the catalogue --- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int images_list(const struct home *h, struct vec *lines_r, struct err *e)
{
	_cleanup_free_ char *file = home_file(h, "images");
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_LIST);
	struct err why;

	if (fs_read_file(file, &text, &why)) {
		if (why.kind == ERR_MISSING) return 0;
		*e = why;
		return -1;
	}
	for (const char *p = buf_str(&text); *p;) {
		size_t n = strcspn(p, "\n");

		if (n && *p != '#') vec_take(lines_r, xstrndup(p, n));
		p += n + (p[n] == '\n');
	}
	if (lines_r->len) qsort(lines_r->items, lines_r->len, sizeof(lines_r->items[0]), by_text);
	return 0;
}

static int names(const char *line, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(line, name, n) && line[n] == ' ';
}

int images_lookup(const struct home *h, const char *name, char **reference_r, struct err *e)
{
	_cleanup_vec_ struct vec lines = VEC_INIT;

	if (!imageref_is_catalogue(name)) {
		*reference_r = xstrdup(name);
		return 0;
	}
	if (images_list(h, &lines, e)) return -1;
	for (size_t i = 0; i < lines.len; i++) {
		const char *p = lines.items[i];

		if (!names(p, name)) continue;
		p += strlen(name);
		*reference_r = xstrdup(p + strspn(p, " \t"));
		return 0;
	}
	return err_set(
		e, ERR_MISSING,
		"the image '%s' is not in this box's catalogue; put it there with: runner image add %s REFERENCE", name,
		name);
}

/* With name (NULL: none) taken out and line (NULL: none) put in. 1: there was none of that name */
static int rewrite(const struct home *h, const char *name, const char *line, struct err *e)
{
	_cleanup_free_ char *file = home_file(h, "images"), *lock = xasprintf("%s.lock", file);
	_cleanup_vec_ struct vec lines = VEC_INIT;
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_LIST);
	_cleanup_close_ int held = -1;
	int found = 0;

	if (fs_lock(lock, 1, &held, e) || images_list(h, &lines, e)) return -1;
	for (size_t i = 0; i < lines.len; i++) {
		if (names(lines.items[i], name))
			found = 1;
		else
			buf_addf(&text, "%s\n", lines.items[i]);
	}
	if (line) buf_addf(&text, "%s\n", line);
	if (buf_check(&text, file, e) || fs_write_file(file, buf_str(&text), text.len, 0600, e)) return -1;
	return !found;
}

int images_add(const struct home *h, const char *name, const char *reference, struct err *e)
{
	_cleanup_imageref_ struct imageref ref = {0};
	_cleanup_free_ char *line = xasprintf("%s %s", name, reference);

	if (!imageref_is_catalogue(name))
		return err_set(e, ERR_INPUT,
			       "'%.100s' is no name for the catalogue: want lower case letters, digits, . _ -", name);
	if (imageref_parse(reference, &ref, e)) return -1;
	if (strpbrk(reference, " \t\n\r")) return err_set(e, ERR_INPUT, "'%.200s': a blank in it", reference);
	if (ref.kind == IMAGEREF_CATALOGUE)
		return err_set(e, ERR_INPUT, "'%.100s' is itself a name of the catalogue", reference);
	return rewrite(h, name, line, e) < 0 ? -1 : 0;
}

int images_remove(const struct home *h, const char *name, struct err *e)
{
	int r = rewrite(h, name, NULL, e);

	return r == 1 ? err_set(e, ERR_MISSING, "the image '%.100s' is not in the catalogue", name) : r;
}

/* --- who may name what --- */

/* A .ci.yml may be a stranger's: of the files on this box it may name those that were put into <cache>/rootfs. */
static int check_path(const struct home *h, const char *name, const char *path, struct err *e)
{
	_cleanup_free_ char *dir = xasprintf("%s/rootfs", h->cache), *top = realpath(dir, NULL), *real = NULL;
	size_t n = top ? strlen(top) : 0;

	real = realpath(path, NULL);
	if (real && top && !strncmp(real, top, n) && real[n] == '/') return 0;
	return err_set(e, ERR_DENIED, "the image '%s' is not one of those in '%s/'", name, dir);
}

static int check_named(const struct home *h, int from_fork, const char *name, struct images_choice *c, struct err *e)
{
	_cleanup_imageref_ struct imageref ref = {0};

	if (imageref_parse(c->reference, &ref, e)) return -1;
	switch (ref.kind) {
	case IMAGEREF_OCI:
	case IMAGEREF_DOCKER_ARCHIVE:
	case IMAGEREF_ROOTFS: return check_path(h, name, ref.of, e);
	case IMAGEREF_DOCKER:
		c->anonymous = from_fork;
		if (from_fork && imageref_registry_is_local(&ref))
			return err_set(e, ERR_DENIED,
				       "the image '%s' is in a registry of this box's own network, which a fork's pull "
				       "request may not name",
				       name);
		return 0;
	case IMAGEREF_CATALOGUE:
	case IMAGEREF_BUSYBOX:
	case IMAGEREF_DEBIAN: break;
	}
	return 0;
}

int images_choose(const struct home *h, struct store *store, int64_t build_id, int from_fork, const char *name,
		  struct images_choice *c_r, struct err *e)
{
	_cleanup_images_choice_ struct images_choice c = {0};
	int r = store_build_image_get(store, build_id, name, &c.reference, &c.pin, e);

	if (r < 0) return -1;
	c.pinned = !r;
	if (r && images_lookup(h, name, &c.reference, e)) return -1;
	/* What the box's owner has put into the catalogue is his word for all. */
	if (!imageref_is_catalogue(name) && check_named(h, from_fork, name, &c, e)) return -1;
	*c_r = c;
	c = (struct images_choice){0};
	return 0;
}

int images_pin(struct store *store, int64_t build_id, const char *name, const char *digest, struct images_choice *c,
	       struct err *e)
{
	struct images_choice now = {.anonymous = c->anonymous, .pinned = 1};

	if (store_build_image_pin(store, build_id, name, c->reference, digest, e) ||
	    store_build_image_get(store, build_id, name, &now.reference, &now.pin, e) < 0)
		return -1;
	images_choice_release(c);
	*c = now;
	return 0;
}
