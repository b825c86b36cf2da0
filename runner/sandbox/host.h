#ifndef RUNNER_SANDBOX_HOST_H
#define RUNNER_SANDBOX_HOST_H

#include "lib/err.h"
#include "lib/vec.h"

/* What this host is and lets us do, as its own texts say it. Everything here but host_binfmt() is pure: the texts
 * are the caller's. */

/* --- arches, in Debian's words --- */

const char *host_arch(void);                                 /* of this binary; static */
int host_arch_known(const char *arch);                       /* one that we have a row for */
int host_arch_native(const char *host, const char *arch);    /* runs here without emulation */
const char *host_arch_qemu(const char *arch);                /* "qemu-aarch64": its name in binfmt_misc; NULL */
int host_binfmt_check(const char *text, const char **why_r); /* 0 usable in containers, -1 and a static reason */
int host_binfmt(const char *arch, struct err *e) MUST_USE;   /* the same of this host; ERR_MISSING */

/* What a user writes to binfmt_misc's `register` so that `program`, kept open by the kernel, runs programs of arch,
 * with the argv[0] they were given. NULL: unknown arch. Caller frees. */
char *host_binfmt_rule(const char *arch, const char *program);

/* --- cgroups --- */

enum cgroup_mode {
	CGROUP_NONE, /* nothing is mounted at /sys/fs/cgroup */
	CGROUP_V1,
	CGROUP_V2,
	CGROUP_HYBRID, /* version 1, and a version 2 at /sys/fs/cgroup/unified */
};
struct cgroup_view {
	enum cgroup_mode mode;
	struct vec v1; /* names below /sys/fs/cgroup where a version 1 hierarchy is mounted: "memory", "cpu,cpuacct" */
};
const char *cgroup_mode_name(enum cgroup_mode mode);
/* in  mountinfo  the text of /proc/self/mountinfo (proc(5)); lines that cannot be read are passed over */
void host_cgroup_view(const char *mountinfo, struct cgroup_view *view_r);
void cgroup_view_release(struct cgroup_view *view);

/* --- ids and versions --- */

/* Where a new range of /etc/subuid or /etc/subgid (subuid(5)) may start: behind all others, at least 100000. */
unsigned long host_subid_free(const char *text);

/* Where root's boxes may have their ids when /etc/subuid gives root none: 65536 ids from 0x70000000 on that no row has,
 * in the part that nothing gives out by itself (subuids end at 600100000, systemd's containers at 0x6fffffff).
 *  in   text   of /etc/subuid and /etc/subgid, one after the other
 *  0: there is no such place.  src: systemd's UIDS-GIDS.md, login.defs(5) */
unsigned long host_subid_root(const char *text);

/* The first dotted number in text is at least major.minor; found_r gets it ("1.8.1"). */
int host_version_at_least(const char *text, unsigned major, unsigned minor, char found_r[32]);

/* Words of text, split at blanks and newlines, added to words. */
void host_words(const char *text, struct vec *words);

#endif
