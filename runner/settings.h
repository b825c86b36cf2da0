#ifndef RUNNER_SETTINGS_H
#define RUNNER_SETTINGS_H

#include <getopt.h>

#include "lib/err.h"
#include "lib/vec.h"

/* The settings of `runner publish` where another CI runs it, as the command line that would say the same. What is said
 * more than once, the last word counts, so in this order:
 *   what that CI tells of the build (GITHUB_SHA, CI_COMMIT_SHA, …) · `publish` of a .ci.yml (--ci FILE) ·
 *   PLUGIN_<NAME> (Drone, Woodpecker) and INPUT_<NAME> (GitHub Actions) · the real command line */

/* settings_line - argv with all that in front of its own options.
 *  in   options  of the command; only theirs are taken from the environment
 *  out  line_r   argv[0] and on
 *       files_r  of the environment or the .ci.yml: globs, for when the command line names none
 *  err  ERR_INPUT, ERR_MISSING: the .ci.yml has no `publish` for this backend, arch and branch */
int settings_line(int argc, char **argv, const struct option *options, struct vec *line_r, struct vec *files_r,
		  struct err *e) MUST_USE;
/* settings_files - the regular files that match, in order, none twice. err ERR_MISSING a glob matches none */
int settings_files(const struct vec *globs, struct vec *files_r, struct err *e) MUST_USE;

#endif
