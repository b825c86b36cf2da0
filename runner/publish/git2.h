#ifndef RUNNER_PUBLISH_GIT2_H
#define RUNNER_PUBLISH_GIT2_H

#include <git2.h>

#include "lib/err.h"

/* libgit2 in the house's manners: clean-up attributes and its last error in ours. Only for files of runner/publish. */

#define GIT2_CLEANUP(type)                                                                                             \
	static inline void type##_p(type **p)                                                                          \
	{                                                                                                              \
		type##_free(*p);                                                                                       \
		*p = NULL;                                                                                             \
	}
GIT2_CLEANUP(git_blob)
GIT2_CLEANUP(git_commit)
GIT2_CLEANUP(git_config)
GIT2_CLEANUP(git_odb)
GIT2_CLEANUP(git_reference)
GIT2_CLEANUP(git_remote)
GIT2_CLEANUP(git_repository)
GIT2_CLEANUP(git_signature)
GIT2_CLEANUP(git_tree)
GIT2_CLEANUP(git_tree_entry)
GIT2_CLEANUP(git_treebuilder)
#define _cleanup_git_(type) __attribute__((cleanup(type##_p)))

/* "<text>: <libgit2's last message>"; returns -1. */
int git2_fail(struct err *e, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
