#ifndef RUNNER_IMAGES_H
#define RUNNER_IMAGES_H

#include "lib/err.h"
#include "lib/vec.h"
#include "runner/home.h"
#include "runner/store/store.h"

/* Which image a job gets: the catalogue of this box (`<state>/images`, one "NAME REFERENCE" a line), what a
 * repository's file may name, and the digest that all jobs of a build share. */

struct images_choice {
	char *reference;
	char *pin;     /* NULL: the reference says all */
	int anonymous; /* registries are asked without the user's credentials */
	int pinned;    /* 0: no job of this build has asked yet: images_pin() */
};
void images_choice_release(struct images_choice *c);
#define _cleanup_images_choice_ __attribute__((cleanup(images_choice_release)))

/* images_choose - what `name` in a .ci.yml means for the jobs of a build.
 *  in   from_fork  the file may be a stranger's: private registries and this box's network are not for it
 *  err  ERR_MISSING not in the catalogue; ERR_DENIED a path that is not below <cache>/rootfs; ERR_INPUT */
int images_choose(const struct home *h, struct store *store, int64_t build_id, int from_fork, const char *name,
		  struct images_choice *c_r, struct err *e) MUST_USE;

/* images_pin - digest (NULL: none) becomes that of all jobs of the build, unless another was first: c has the one
 * that holds. */
int images_pin(struct store *store, int64_t build_id, const char *name, const char *digest, struct images_choice *c,
	       struct err *e) MUST_USE;

/* images_lookup - a name of the catalogue becomes its reference; any other text stays. caller frees */
int images_lookup(const struct home *h, const char *name, char **reference_r, struct err *e) MUST_USE;

int images_add(const struct home *h, const char *name, const char *reference, struct err *e) MUST_USE;
int images_remove(const struct home *h, const char *name, struct err *e) MUST_USE;
int images_list(const struct home *h, struct vec *lines_r, struct err *e) MUST_USE; /* "NAME REFERENCE", sorted */

#endif
