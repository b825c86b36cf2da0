#ifndef RUNNER_PUBLISH_LEAK_H
#define RUNNER_PUBLISH_LEAK_H

#include "lib/err.h"
#include "lib/secret.h"
#include "runner/publish/publish.h"

/* The tripwire: secrets of the build are looked for in what is to be published, in every form that the masker knows, in
 * each file's bytes and name and in what is packed in it. It finds accidents; whoever wants to get a secret out of a
 * script that was given it has a thousand ways. */

enum { LEAK_MIN_BYTES = 8 }; /* shorter values are in any large file by chance */

struct leaks {
	struct leak_secret {
		char *name;
		struct secret value;
	} * items;
	size_t n;
};
void leaks_release(struct leaks *l);
void leaks_add(struct leaks *l, const char *name, const void *value, size_t len);
/* leaks_read - "NAME=VALUE" and a zero byte, any number of them. err ERR_INPUT */
int leaks_read(int fd, struct leaks *l, struct err *e) MUST_USE;
int leaks_parse(const struct secret *text, struct leaks *l, struct err *e) MUST_USE;

/* leaks_check - look into all files of the request.
 *  err  ERR_DENIED "the file 'www' holds the secret 'TOKEN' at byte 1234 of 'etc/key' in it: …"; never the value.
 *       ERR_REMOTE a file could not be looked into */
int leaks_check(const struct leaks *l, const struct publish_request *r, publish_say_fn *say, void *arg,
		struct err *e) MUST_USE;

/* For tests: records as `runner members` writes them, from any source. 1: found, *at_r tells where; -1: they are none
 */
struct leak_place {
	uint64_t offset;
	char member[2000]; /* "" in the file itself; else outermost first; fit for a message */
	int limited;       /* not all was unpacked */
};
struct mask;
int leaks_records(struct mask *m, int fd, struct leak_place *at_r);

#endif
