#ifndef RUNNER_PUBLISH_TRANSPORT_H
#define RUNNER_PUBLISH_TRANSPORT_H

#include <git2.h>

/* transport_local - a libgit2 transport for repositories on this box that runs git's own upload-pack and receive-pack.
 * libgit2's local transport runs no hooks and overwrites a ref that has moved in between (1.5.1, local.c): a publisher
 * would lose commits to another. For git_remote_callbacks.transport. */
int transport_local(git_transport **out, git_remote *owner, void *payload);

#endif
