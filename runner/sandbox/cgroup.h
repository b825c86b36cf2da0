#ifndef RUNNER_SANDBOX_CGROUP_H
#define RUNNER_SANDBOX_CGROUP_H

#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/vec.h"

/* A box's control groups: <somewhere we may write>/slipway-<uid>/<name> in each hierarchy that a wanted limit needs,
 * version 1, 2 or both at once. What cannot be had is a note for people, never an error: a box without a limit is
 * still a box.
 * src: cgroups(7), the kernel's cgroup-v1/ and cgroup-v2 documents */

enum cgroup_limit { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_LIMITS };

struct cgroup {
	char *dir[CGROUP_LIMITS]; /* NULL: not limited; version 2 has one folder for all */
	int version[CGROUP_LIMITS];
	int64_t oom_before;
};

/* cgroup_make - make the folders and set the limits.
 *  in   values  bytes, processes, thousandths of a cpu; 0: no limit wanted
 *       record  file that gets the path of each folder before it is made: for cgroup_sweep()
 *  out  c_r     cgroup_remove()
 *       notes   "no memory limit: why" */
void cgroup_make(const char *name, const int64_t values[CGROUP_LIMITS], const char *record, struct cgroup *c_r,
		 struct vec *notes);

/* Puts a process in, before it forks anything. */
void cgroup_join(struct cgroup *c, pid_t pid, struct vec *notes);

/* 1 when the kernel killed for memory since cgroup_make() or the last call that said so. */
int cgroup_oom(struct cgroup *c);

/* Kills what is left in them and removes them. */
void cgroup_remove(struct cgroup *c);
void cgroup_sweep(const char *record);

/* cgroup_find - which hierarchy has this controller, and where we are in it.
 *  in   mountinfo, self  /proc/self/mountinfo and /proc/self/cgroup
 *  out  mount_r, own_r   caller frees; own: path below mount, "" at its top
 *  ret  1, 2: its version; 0: none */
int cgroup_find(const char *mountinfo, const char *self, const char *controller, char **mount_r, char **own_r);

#endif
