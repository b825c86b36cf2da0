#ifndef RUNNER_PLAN_TRAVIS_H
#define RUNNER_PLAN_TRAVIS_H

#include "runner/plan/reader.h"

/* What `.travis.yml` knows that `.ci.yml` does not: its keys, the languages that have them, other names for keys and
 * values, and what a language's jobs do by default. */

enum travis_kind {
	TRAVIS_AXIS, /* a list makes jobs; the table has them in the order of the product */
	TRAVIS_WORD, /* one of a few words, in small letters */
	TRAVIS_TEXT,
	TRAVIS_LIST, /* of texts; lists in lists are one */
	TRAVIS_YES,  /* true or false */
	TRAVIS_ANY,
};

struct travis_key {
	const char *name;
	enum travis_kind kind;
	const char *languages; /* "c cpp": only for these; NULL: all */
	const char *os;        /* likewise */
	const char *other;     /* other names */
	read_fn *read;         /* of what is carried out; NULL: nothing is */
	size_t offset;         /* in struct settings */
	unsigned bit;
	int where; /* TRAVIS_ROOT, TRAVIS_ROW */
};
enum { TRAVIS_ROOT = 1, TRAVIS_ROW = 2, TRAVIS_BOTH = 3 };

extern const struct travis_key travis_keys[];
extern const size_t travis_keys_len;

struct travis_word { /* a value and its other names */
	const char *word, *other;
};
/* travis_word - what a value of language, os, arch or dist means: in small letters, another name for it or nearly it.
 * known_r: it is one of those there are. Caller frees. */
char *travis_word(const char *key, const char *text, int *known_r);

/* travis_key_find - by its name, another name, or nearly so. NULL: none. */
const struct travis_key *travis_key_find(const char *name, int where);
int travis_key_is(const char *name); /* exactly, at the top */
/* Does a job of this language, os and arch have the key at all? Languages and systems may be several, with blanks
 * between them: then all must. */
int travis_supports(const struct travis_key *k, const char *language, const char *os);

struct travis_language { /* what a job of a language does where the file does not say */
	const char *name;
	const char *install, *script; /* a command; NULL: none */
	const char *packages;         /* of Debian, with blanks between them */
};
const struct travis_language *travis_language(const char *name); /* never NULL */

#define TRAVIS_IMAGE "debian:bookworm"
extern const char *const travis_packages[]; /* that every build machine of Travis's had */

/* travis_text - a value as YAML 1.1 reads it and Travis shows it: 010 is 8, True is true. Caller frees. */
char *travis_text(const struct yaml_node *v);

#endif
