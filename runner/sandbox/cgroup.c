/* Control groups, made by the leader from outside. In version 1 the group lies below our own, so that the limits we
 * are under hold for it too. In version 2 a group with processes in it cannot hand controllers on: the nearest
 * ancestor that can is taken. An ordinary user has what was delegated. */
#include "runner/sandbox/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/buf.h"
#include "lib/fs.h"

enum { REMOVE_TIMEOUT_MS = 5000, CPU_PERIOD_US = 100000 };

static const char *const controllers[CGROUP_LIMITS] = {
	[CGROUP_MEMORY] = "memory", [CGROUP_PIDS] = "pids", [CGROUP_CPU] = "cpu"};

/* Is word one of the comma or space separated words of list? */
static int has_word(const char *list, size_t len, const char *word)
{
	for (const char *p = list, *end = list + len; p < end;) {
		size_t n = 0;

		while (p + n < end && !strchr(", \n", p[n])) n++;
		if (n == strlen(word) && !memcmp(p, word, n)) return 1;
		p += n + 1;
	}
	return 0;
}

/* The nth (from 0) space separated field of a line; "" when there are fewer. */
static const char *field(const char *line, size_t len, int nth, size_t *len_r)
{
	const char *p = line, *end = line + len;

	for (;; p++) {
		size_t n = 0;

		while (p + n < end && p[n] != ' ') n++;
		*len_r = n;
		if (nth-- == 0) return p;
		p += n;
		if (p >= end) {
			*len_r = 0;
			return end;
		}
	}
}

/* A line of /proc/self/cgroup is "id:controllers:path"; controllers are empty for version 2. */
static char *own_path(const char *self, const char *controller)
{
	for (const char *p = self; *p;) {
		size_t len = strcspn(p, "\n");
		const char *names = memchr(p, ':', len),
			   *path = names ? memchr(names + 1, ':', len - (size_t)(names + 1 - p)) : NULL;

		if (path) {
			size_t n = (size_t)(path - ++names);

			if (controller ? has_word(names, n, controller) : n == 0)
				return xstrndup(path + 1, len - (size_t)(path + 1 - p));
		}
		p += len + (p[len] == '\n');
	}
	return xstrdup("/");
}

/* Our path as seen below a mount whose top is `root`; its top when we are elsewhere. */
static char *below(const char *own, const char *root, size_t root_len)
{
	if (root_len == 1) root_len = 0;
	if (strncmp(own, root, root_len) || (own[root_len] && own[root_len] != '/') || strstr(own, "/.."))
		return xstrdup("");
	return xstrdup(!strcmp(own + root_len, "/") ? "" : own + root_len);
}

int cgroup_find(const char *mountinfo, const char *self, const char *controller, char **mount_r, char **own_r)
{
	int found = 0;

	*mount_r = *own_r = NULL;
	for (const char *p = mountinfo; *p && found != 1;) {
		size_t len = strcspn(p, "\n"), n, type_len, root_len, mount_len;
		const char *dash = strstr(p, " - "), *type, *root = field(p, len, 3, &root_len),
			   *mount = field(p, len, 4, &mount_len);
		int version = 0;

		if (dash && dash < p + len) {
			size_t rest = len - (size_t)(dash + 3 - p);
			const char *options = field(dash + 3, rest, 2, &n);

			type = field(dash + 3, rest, 0, &type_len);
			if (type_len == 6 && !memcmp(type, "cgroup", 6) && has_word(options, n, controller))
				version = 1;
			if (type_len == 7 && !memcmp(type, "cgroup2", 7) && !found) version = 2;
		}
		if (version) {
			_cleanup_free_ char *own = own_path(self, version == 1 ? controller : NULL);

			free_p(mount_r);
			free_p(own_r);
			*mount_r = xstrndup(mount, mount_len);
			*own_r = below(own, root, root_len);
			found = version;
		}
		p += len + (p[len] == '\n');
	}
	return found;
}

static int write_value(const char *dir, const char *file, const char *value)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, file);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, value, strlen(value)) < 0 ? -1 : 0;
}

static int write_number(const char *dir, const char *file, int64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	return write_value(dir, file, text);
}

/* A file's bytes, "" when it cannot be read. */
static char *read_text(const char *dir, const char *file)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, file);
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
	struct err e;

	if (fs_read_file(path, &b, &e)) return xstrdup("");
	return buf_steal(&b);
}

static int hands_on(const char *dir, const char *controller)
{
	_cleanup_free_ char *plus = xasprintf("+%s", controller), *now = read_text(dir, "cgroup.subtree_control");

	if (has_word(now, strlen(now), controller)) return 1;
	return !write_value(dir, "cgroup.subtree_control", plus);
}

static void note_down(const char *record, const char *dir)
{
	_cleanup_close_ int fd = open(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	_cleanup_free_ char *line = xasprintf("%s\n", dir);
	struct err e;

	if (fd >= 0 && fs_write_all(fd, line, strlen(line), record, &e)) errno = 0; /* a sweep will miss one folder */
}

/* <parent>/slipway-<uid>/<name>; NULL and errno. A folder a user: what is handed to one lets nobody touch another's
 * groups. Another box's end may remove it between the two steps. */
static char *make_below(const char *parent, const char *name, const char *controller, const char *record)
{
	_cleanup_free_ char *top = xasprintf("%s/slipway-%u", parent, (unsigned)geteuid()),
			    *dir = xasprintf("%s/%s", top, name);

	for (int tries = 0; tries < 10; tries++) {
		if (mkdir(top, 0755) && errno != EEXIST) return NULL;
		if (controller && !hands_on(top, controller) && errno != ENOENT) return NULL;
		note_down(record, dir);
		if (!mkdir(dir, 0755) || errno == EEXIST) return steal(dir);
		if (errno != ENOENT) return NULL;
	}
	return NULL;
}

static char *make_v1(const char *mount, const char *own, const char *name, const char *record)
{
	_cleanup_free_ char *parent = xasprintf("%s%s", mount, own);
	char *dir = make_below(parent, name, NULL, record);

	return dir || !*own ? dir : make_below(mount, name, NULL, record);
}

/* From our own group upwards: the first that can hand the controller on. */
static char *make_v2(const char *mount, const char *own, const char *name, const char *controller, const char *record)
{
	_cleanup_free_ char *parent = xasprintf("%s%s", mount, own);
	int why = EOPNOTSUPP; /* nowhere is the controller */

	for (;;) {
		_cleanup_free_ char *there = read_text(parent, "cgroup.controllers");
		char *dir = NULL, *slash;

		if (has_word(there, strlen(there), controller)) {
			if (hands_on(parent, controller)) dir = make_below(parent, name, controller, record);
			if (dir) return dir;
			why = errno;
		}
		slash = strrchr(parent, '/');
		if (strlen(parent) <= strlen(mount) || !slash) break;
		*slash = '\0';
	}
	errno = why;
	return NULL;
}

static int set_limit(const char *dir, enum cgroup_limit what, int version, int64_t value)
{
	char text[64];

	switch (what) {
	case CGROUP_MEMORY:
		if (version == 2) {
			if (write_value(dir, "memory.swap.max", "0") && errno != ENOENT) return -1;
			return write_number(dir, "memory.max", value);
		}
		if (write_number(dir, "memory.limit_in_bytes", value)) return -1;
		/* without swap accounting the file is not there, and swapping is what can be kept away */
		if (write_number(dir, "memory.memsw.limit_in_bytes", value))
			return write_number(dir, "memory.swappiness", 0);
		return 0;
	case CGROUP_PIDS: return write_number(dir, "pids.max", value);
	case CGROUP_CPU:
		if (version == 2) {
			snprintf(text, sizeof(text), "%lld %d", (long long)(value * (CPU_PERIOD_US / 1000)),
				 CPU_PERIOD_US);
			return write_value(dir, "cpu.max", text);
		}
		if (write_number(dir, "cpu.cfs_period_us", CPU_PERIOD_US)) return -1;
		return write_number(dir, "cpu.cfs_quota_us", value * (CPU_PERIOD_US / 1000));
	case CGROUP_LIMITS: break;
	}
	return 0;
}

static int64_t oom_kills(const struct cgroup *c)
{
	_cleanup_free_ char *text = NULL;
	const char *p;

	if (!c->dir[CGROUP_MEMORY]) return 0;
	text = read_text(c->dir[CGROUP_MEMORY],
			 c->version[CGROUP_MEMORY] == 2 ? "memory.events" : "memory.oom_control");
	p = strstr(text, "oom_kill ");
	return p ? strtoll(p + strlen("oom_kill "), NULL, 10) : 0;
}

static void drop(struct cgroup *c, enum cgroup_limit what, struct vec *notes, int version, int why)
{
	if (version == 0)
		vec_addf(notes, "no %s limit: this host has no such control group", controllers[what]);
	else
		vec_addf(notes, "no %s limit: cannot make a control group: %s", controllers[what], strerror(why));
	for (int i = 0; i < CGROUP_LIMITS && c->dir[what]; i++)
		if (i != (int)what && c->dir[i] && !strcmp(c->dir[i], c->dir[what])) free_p(&c->dir[what]);
	if (c->dir[what]) rmdir(c->dir[what]);
	free_p(&c->dir[what]);
}

void cgroup_make(const char *name, const int64_t values[CGROUP_LIMITS], const char *record, struct cgroup *c_r,
		 struct vec *notes)
{
	_cleanup_free_ char *mountinfo = read_text("/proc/self", "mountinfo"),
			    *self = read_text("/proc/self", "cgroup");
	struct cgroup c = {0};

	for (int i = 0; i < CGROUP_LIMITS; i++) {
		_cleanup_free_ char *mount = NULL, *own = NULL;

		if (!values[i]) continue;
		c.version[i] = cgroup_find(mountinfo, self, controllers[i], &mount, &own);
		errno = ENOENT;
		if (c.version[i] == 1) c.dir[i] = make_v1(mount, own, name, record);
		if (c.version[i] == 2) c.dir[i] = make_v2(mount, own, name, controllers[i], record);
		if (!c.dir[i] || set_limit(c.dir[i], (enum cgroup_limit)i, c.version[i], values[i]))
			drop(&c, (enum cgroup_limit)i, notes, c.version[i], errno);
	}
	c.oom_before = oom_kills(&c);
	*c_r = c;
}

void cgroup_join(struct cgroup *c, pid_t pid, struct vec *notes)
{
	for (int i = 0; i < CGROUP_LIMITS; i++)
		if (c->dir[i] && write_number(c->dir[i], "cgroup.procs", pid))
			drop(c, (enum cgroup_limit)i, notes, c->version[i], errno);
}

int cgroup_oom(struct cgroup *c)
{
	int64_t now = oom_kills(c), before = c->oom_before;

	c->oom_before = now;
	return now > before;
}

static void remove_dir(const char *dir)
{
	struct timespec pause = {.tv_nsec = 2000000};
	int64_t deadline = clock_mono_ms() + REMOVE_TIMEOUT_MS;
	_cleanup_free_ char *top = xstrdup(dir);
	char *slash = strrchr(top, '/');
	struct stat st;

	/* A group is busy until its last killed process is reaped, by whoever has that to do. */
	while (rmdir(dir) && errno == EBUSY && clock_mono_ms() < deadline) {
		_cleanup_free_ char *pids = read_text(dir, "cgroup.procs");

		for (char *p = pids; *p;) {
			long pid = strtol(p, &p, 10);

			if (pid > 1) kill((pid_t)pid, SIGKILL);
			while (*p == '\n') p++;
			if (pid == 0) break;
		}
		nanosleep(&pause, NULL);
	}
	if (!slash) return;
	*slash = '\0';
	/* It stays while others use it, and where an administrator made it for somebody. */
	slash = strrchr(top, '/');
	if (slash && !strncmp(slash, "/slipway", 8) && !stat(top, &st) && st.st_uid == geteuid()) rmdir(top);
}

void cgroup_remove(struct cgroup *c)
{
	for (int i = 0; i < CGROUP_LIMITS; i++) {
		if (c->dir[i]) remove_dir(c->dir[i]);
		free_p(&c->dir[i]);
	}
}

void cgroup_sweep(const char *record)
{
	_cleanup_buf_ struct buf b = BUF_INIT(1 << 20);
	struct err e;

	if (fs_read_file(record, &b, &e)) return;
	for (char *p = b.data; p && *p;) {
		char *end = strchr(p, '\n');

		if (!end) break;
		*end = '\0';
		if (strstr(p, "/slipway")) remove_dir(p);
		p = end + 1;
	}
}
