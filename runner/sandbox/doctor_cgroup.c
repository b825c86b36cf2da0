/* The doctor's rows about cgroups: what is mounted, what keeps crun from starting, what an ordinary user may use. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/sandbox/doctor_rows.h"

static const char base[] = "/sys/fs/cgroup";

/* Version 1's name of a version 2 controller. */
static const char *v1_name(const char *controller)
{
	return !strcmp(controller, "io") ? "blkio" : controller;
}

/* Mounts for every hierarchy that the kernel has, as /proc/self/cgroup tells them: "4:memory:/", "1:name=systemd:/",
 * "0::/". */
static void mount_all(const char *self_cgroup, struct finding *f)
{
	_cleanup_vec_ struct vec lines = VEC_INIT;

	host_words(self_cgroup, &lines);
	if (lines.len <= 1) {
		finding_command(f, "mount -t cgroup2 cgroup2 %s", base);
		return;
	}
	finding_command(f, "mount -t tmpfs -o mode=755 cgroup %s", base);
	for (size_t i = 0; i < lines.len && f->ncommands + 2 <= FINDING_MAX_COMMANDS; i++) {
		const char *start = strchr(lines.items[i], ':'), *end = start ? strchr(start + 1, ':') : NULL;
		_cleanup_free_ char *name = end ? xstrndup(start + 1, (size_t)(end - start - 1)) : NULL;
		const char *dir = name && !strncmp(name, "name=", 5) ? name + 5 : name;

		if (!name) continue;
		finding_command(f, "mkdir -p %s/%s", base, *dir ? dir : "unified");
		if (!*name)
			finding_command(f, "mount -t cgroup2 cgroup2 %s/unified", base);
		else
			finding_command(f, "mount -t cgroup -o %s%s cgroup %s/%s", dir == name ? "" : "none,", name,
					base, dir);
	}
}

/* Each controller that version 2 still carries goes back to a version 1 hierarchy of its own.
 * src: crun 1.8, "cgroups in hybrid mode not supported, drop all controllers from cgroupv2" */
static void take_back(const struct vec *controllers, struct finding *f)
{
	_cleanup_buf_ struct buf names = BUF_INIT(256);

	for (size_t i = 0; i < controllers->len; i++) {
		const char *name = v1_name(controllers->items[i]);

		buf_addf(&names, "%s%s", i ? ", " : "", controllers->items[i]);
		if (f->ncommands + 2 > FINDING_MAX_COMMANDS) continue;
		finding_command(f, "mkdir -p %s/%s", base, name);
		finding_command(f, "mount -t cgroup -o %s cgroup %s/%s", name, base, name);
	}
	finding_lack(f, "crun refuses to start: version 2 at %s/unified has controllers (%s) beside version 1", base,
		     buf_str(&names));
}

void doctor_judge_cgroups(const char *mountinfo, const char *self_cgroup, const char *unified_controllers,
			  struct finding *f)
{
	_cleanup_vec_ struct vec left = VEC_INIT;
	struct cgroup_view view;

	host_cgroup_view(mountinfo, &view);
	host_words(unified_controllers, &left);
	if (view.mode == CGROUP_NONE) {
		finding_lack(f, "nothing is mounted at %s", base);
		mount_all(self_cgroup, f);
	} else if (view.mode == CGROUP_HYBRID && left.len) {
		take_back(&left, f);
	} else {
		finding_ok(f, "%s", cgroup_mode_name(view.mode));
	}
	cgroup_view_release(&view);
}

static void text_of(const char *path, struct buf *b)
{
	struct err ignored;

	if (fs_read_file(path, b, &ignored)) buf_clear(b);
}

void look_cgroups(struct patient *p, struct finding *f, const void *arg)
{
	_cleanup_buf_ struct buf mounts = BUF_INIT(1 << 22), self = BUF_INIT(1 << 16), controllers = BUF_INIT(4096);

	(void)p, (void)arg;
	text_of("/proc/self/mountinfo", &mounts);
	text_of("/proc/self/cgroup", &self);
	text_of("/sys/fs/cgroup/unified/cgroup.controllers", &controllers);
	doctor_judge_cgroups(buf_str(&mounts), buf_str(&self), buf_str(&controllers), f);
}

/* Whether a version 1 hierarchy has a controller that a box's limits need. */
static int is_limiting(const char *hierarchy)
{
	static const char *const wanted[] = {"memory", "pids", "cpu"};

	for (const char *p = hierarchy; *p; p += strcspn(p, ","), p += *p == ',')
		for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
			if (strcspn(p, ",") == strlen(wanted[i]) && !strncmp(p, wanted[i], strlen(wanted[i]))) return 1;
	return 0;
}

void doctor_judge_delegation(const char *mountinfo, unsigned long uid, unsigned long gid,
			     int (*writable)(const char *path, void *arg), void *arg, struct finding *f)
{
	_cleanup_buf_ struct buf dirs = BUF_INIT(1 << 14);
	struct cgroup_view view;
	size_t missing = 0;

	host_cgroup_view(mountinfo, &view);
	for (size_t i = 0; i < view.v1.len; i++) {
		_cleanup_free_ char *dir = xasprintf("%s/%s/slipway-%lu", base, view.v1.items[i], uid);

		if (!is_limiting(view.v1.items[i])) continue;
		missing += !writable(dir, arg);
		buf_addf(&dirs, " %s", dir);
	}
	cgroup_view_release(&view);
	if (dirs.len && !missing) {
		finding_ok(f, "for%s", buf_str(&dirs));
		return;
	}
	finding_lack(f, "user %lu has no cgroups of its own: jobs have no limit of memory, processes and cpu", uid);
	finding_command(f, "mkdir -p%s", buf_str(&dirs));
	finding_command(f, "chown -R %lu:%lu%s", uid, gid, buf_str(&dirs));
}

static int is_writable(const char *path, void *arg)
{
	(void)arg;
	return !access(path, W_OK);
}

/* Version 2: systemd hands a part of the tree to the user's own manager. Some group above us must be ours to divide. */
static void look_v2(const char *self_cgroup, struct finding *f)
{
	const char *path = strstr(self_cgroup, "0::/");
	_cleanup_free_ char *dir = NULL;

	if (path) dir = xasprintf("%s%.*s", base, (int)strcspn(path + 3, "\n"), path + 3);
	while (dir && strlen(dir) >= sizeof(base) - 1) {
		_cleanup_free_ char *control = xasprintf("%s/cgroup.subtree_control", dir);

		if (is_writable(control, NULL)) {
			finding_ok(f, "by %s", dir);
			return;
		}
		*strrchr(dir, '/') = '\0';
	}
	finding_lack(f, "no cgroup above is one's own: jobs have no limit of memory, processes and cpu");
	snprintf(f->manual, sizeof(f->manual), "systemd-run --user --scope -p Delegate=yes runner serve");
}

void look_delegation(struct patient *p, struct finding *f, const void *arg)
{
	_cleanup_buf_ struct buf mounts = BUF_INIT(1 << 22), self = BUF_INIT(1 << 16);
	struct cgroup_view view;

	(void)arg;
	text_of("/proc/self/mountinfo", &mounts);
	text_of("/proc/self/cgroup", &self);
	host_cgroup_view(buf_str(&mounts), &view);
	if (view.mode == CGROUP_NONE) {
		finding_lack(f, "nothing is mounted at %s", base);
		snprintf(f->manual, sizeof(f->manual), "runner doctor --fix, after the row above is mended");
	} else if (view.mode == CGROUP_V2)
		look_v2(buf_str(&self), f);
	else
		doctor_judge_delegation(buf_str(&mounts), p->uid, p->gid, is_writable, NULL, f);
	cgroup_view_release(&view);
}
