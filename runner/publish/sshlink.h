#ifndef RUNNER_PUBLISH_SSHLINK_H
#define RUNNER_PUBLISH_SSHLINK_H

#include "lib/err.h"
#include "runner/publish/keyfd.h"
#include "runner/publish/wire.h"

/* One ssh connection, which all git programs of a publisher share: `ssh -M`, our child, is told the key and checks the
 * host; the others only pass through it and hold no key. */

struct sshlink {
	pid_t pid; /* 0: none */
	int pidfd;
	int words; /* its standard error, a memfd */
};
#define SSHLINK_INIT                                                                                                   \
	{                                                                                                              \
		.pidfd = -1, .words = -1                                                                               \
	}

/* sshlink_up - connect, or see that we still are. err as wire_connect */
int sshlink_up(struct sshlink *l, const struct wire_opts *o, const char *label, const struct keyfd *key,
	       struct err *e) MUST_USE;
void sshlink_down(struct sshlink *l);

/* GIT_SSH_COMMAND: through the connection or not at all. Run in o->work. Borrowed. */
const char *sshlink_command(void);

#endif
