#ifndef RUNNER_SANDBOX_BOX_H
#define RUNNER_SANDBOX_BOX_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "runner/sandbox/proto.h"

/* Inside of a box: shared by box*.c alone. The box's first process is pid 1 of the box, root of its user namespace,
 * sees the host's files (as that user) and none of its processes; it never runs a stranger's program outside of a
 * container. Its own files are on a tmpfs that no other process sees. */

#define BOX_HOME "/tmp" /* the tmpfs, over the host's */
#define BOX_ROOT BOX_HOME "/root"
#define BOX_BUNDLE BOX_HOME "/bundle"
#define BOX_STATE BOX_HOME "/state"
#define BOX_INIT BOX_HOME "/init"
#define BOX_NETNS BOX_HOME "/netns"

struct box_place {
	int root;                /* the containers' root file system, O_PATH */
	int crun;                /* it, where nobody can write to it */
	int data;                /* what the box writes, on the host's disk, O_PATH */
	int trees;               /* the folder of all prepared work trees, O_PATH; -1: none was named */
	volatile int *over_disk; /* 1 when the box was ended for what it wrote; NULL: not measured */
	pid_t disk_watch;        /* 0: none */
};

/* boxsetup.c: namespaces, mounts, config.json. The message's descriptors are used up. */
int box_setup(struct proto_msg *m, const char *rules, struct box_place *p_r, struct err *e) MUST_USE;

/* boxnet.c: first a network namespace of our own with lo up; when our mounts are there, pasta is let go. */
struct box_net {
	pid_t starter; /* 0: none */
	int down, up;
};
int box_net_open(int network, struct box_net *n_r, struct err *e) MUST_USE;
int box_net_start(struct box_net *n, const char *rules, struct err *e) MUST_USE; /* rules: netrules.h */
/* box_net_off - for ever: nothing but loopback is left when this returns 0. Without a network: nothing to do. */
int box_net_off(struct err *e) MUST_USE;
int box_net_files(int root, int network, struct err *e) MUST_USE; /* hosts, resolv.conf */
int box_net_connect(int port, int *fd_r, struct err *e) MUST_USE;
/* box_net_resolv - the name servers of a resolv.conf that can be reached from another loopback; "" when none */
char *box_net_resolv(const char *text);
char *box_net_servers(void); /* of this host's own */

/* boxline.c: see sandbox.h; err ERR_MISSING this kernel cannot do that to a line, or a tool is not installed */
struct sandbox_line;
int box_line_socket(int *fd_r, struct err *e) MUST_USE;
int box_line_tap(int bad_line, int *fd_r, struct err *e) MUST_USE;
int box_line_set(const struct sandbox_line *l, struct err *e) MUST_USE;
int box_line_show(int tap, int *fd_r, struct err *e) MUST_USE; /* a file with tc's statistics */

/* boxdisk.c: a process that ends all of the box but its first process when what it wrote is over the limit.
 *  in  data  the box's folder on the host */
int box_disk_watch(int data, int64_t limit_bytes, volatile int **over_r, pid_t *pid_r, struct err *e) MUST_USE;

/* boxgit.c: a work tree at a commit and these tags, from a git-upload-pack that the leader runs */
struct box_source {
	const char *path, *commit;
	const char *const *tags; /* NULL-terminated */
	int64_t depth;           /* 0: all */
	int peer;
};
int box_git(int root, const struct box_source *s, struct err *e) MUST_USE;

/* ERR_INPUT if there is anything in it: what a container left there could name programs to git, or be hidden. */
int box_check_empty(const char *tree, const char *path, struct err *e) MUST_USE;

/* boxtree.c: a prepared work tree.
 *  in   sent   it, as a detached mount, or -1
 *       ahead  a container that was started ahead and is to have it too, or 0 */
int box_tree(const struct box_place *p, const char *path, const char *name, int sent, pid_t ahead,
	     struct err *e) MUST_USE;

#endif
