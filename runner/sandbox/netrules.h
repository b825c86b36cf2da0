#ifndef RUNNER_SANDBOX_NETRULES_H
#define RUNNER_SANDBOX_NETRULES_H

#include "lib/err.h"
#include "lib/vec.h"

/* What a box with a network may not reach: this host by any of its addresses, what is link-local, and the addresses
 * at which clouds tell machines about themselves. Rules for nft, loaded in the box's own network namespace before
 * anything of a stranger runs in it; a container lacks the capability to change them. */

struct netrules {
	struct vec own;     /* this host's addresses */
	struct vec servers; /* name servers that the box is told of: port 53 of each is let through */
	struct vec allow;   /* the owner's exceptions: ADDRESS[/BITS] [PORT] */
	struct vec refuse;  /* and refusals of his, which those do not lift: ADDRESS[/BITS] */
};

void netrules_release(struct netrules *r);

/* netrules_text - the rules. Pure.
 *  out  text_r  for `nft -f -`; caller frees
 *  err  ERR_INPUT an address that is none */
int netrules_text(const struct netrules *r, char **text_r, struct err *e) MUST_USE;

/* netrules_list - adds the lines of an owner's file: one address each, after # a remark; none where there is no file */
int netrules_list(const char *path, struct vec *to, struct err *e) MUST_USE;

/* netrules_look - this host's addresses and the name servers of its resolv.conf, as they are now */
int netrules_look(struct netrules *r, struct err *e) MUST_USE;

#endif
