#ifndef RUNNER_SANDBOX_DOCTOR_ROWS_H
#define RUNNER_SANDBOX_DOCTOR_ROWS_H

#include <stddef.h>
#include <sys/types.h>

#include "lib/vec.h"
#include "runner/sandbox/host.h"

/* The rows of `runner doctor`: what is looked at, and the commands that mend it. */

enum { FINDING_MAX_COMMANDS = 64 };

struct finding {
	int ok;
	char text[400];                            /* ok: what was found ("1.8.1"); else why not */
	struct vec commands[FINDING_MAX_COMMANDS]; /* argv each, to be run in this order as root */
	size_t ncommands;
	char manual[300]; /* where no command of ours may do it: the one for a person */
};
void finding_release(struct finding *f);
void finding_ok(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void finding_lack(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Adds one command, its words split at blanks. */
void finding_command(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct patient {
	uid_t uid;
	gid_t gid;
	char *user;
	const char *cache;
	int userns_works; /* set by the row that tried */
};

enum row_level {
	ROW_NEEDED,
	ROW_WANTED,
};
enum row_who {
	ROW_ALL,
	ROW_ORDINARY_USER,
};
struct row {
	const char *name;
	enum row_level level;
	enum row_who who;
	void (*look)(struct patient *p, struct finding *f, const void *arg);
	const void *arg;
};
extern const struct row doctor_rows[];
extern const size_t doctor_nrows;

/* doctor_cgroup.c */
void look_cgroups(struct patient *p, struct finding *f, const void *arg);
void look_delegation(struct patient *p, struct finding *f, const void *arg);

/* --- pure parts, for the tests: from texts to a verdict --- */

/* What /sys/fs/cgroup looks like and, where version 2 is mounted beside version 1, its controllers. */
void doctor_judge_cgroups(const char *mountinfo, const char *self_cgroup, const char *unified_controllers,
			  struct finding *f);

/* Whether an ordinary user has cgroups of its own: `writable(path, arg)` says which folders it may write. */
void doctor_judge_delegation(const char *mountinfo, unsigned long uid, unsigned long gid,
			     int (*writable)(const char *path, void *arg), void *arg, struct finding *f);

/* The text of /etc/subuid and /etc/subgid. */
void doctor_judge_subids(const char *subuid, const char *subgid, const char *user, unsigned long uid,
			 struct finding *f);

#endif
