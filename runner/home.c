/* Where things are on this box. */
#include "runner/home.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/fs.h"

static char *pick(const char *flag, const char *variable, const char *for_root, const char *below_home)
{
	const char *set = getenv(variable), *home = getenv("HOME");

	if (flag && *flag) return xstrdup(flag);
	if (set && *set) return xstrdup(set);
	if (geteuid() == 0 || !home || !*home) return xstrdup(for_root);
	return xasprintf("%s/%s", home, below_home);
}

static int make_absolute(char **path, struct err *e)
{
	char *real;

	if (fs_mkdirs(*path, 0700, e)) return -1;
	real = realpath(*path, NULL);
	if (!real) return err_sys(e, "cannot resolve '%s'", *path);
	free(*path);
	*path = real;
	return 0;
}

int home_cache(char **cache_r, struct err *e)
{
	char *cache = pick(NULL, "SLIPWAY_CACHE", "/var/cache/slipway", ".cache/slipway");

	if (make_absolute(&cache, e)) {
		free(cache);
		return -1;
	}
	*cache_r = cache;
	return 0;
}

int home_open(const char *flag, struct home *h, struct err *e)
{
	static const char *const below[] = {"repos", "jobs", "publish", "trees"};

	h->state = pick(flag, "SLIPWAY_STATE", "/var/lib/slipway", ".local/share/slipway");
	if (make_absolute(&h->state, e) || home_cache(&h->cache, e)) {
		home_release(h);
		return -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(below); i++) {
		_cleanup_free_ char *dir = home_file(h, below[i]);

		if (fs_mkdirs(dir, 0700, e)) {
			home_release(h);
			return -1;
		}
	}
	return 0;
}

/* ext4 then looks for room for each folder below anywhere on the disk, as for those at the top, and not beside its
 * parent: thousands of files come and go with the jobs, and a file system without a journal looks at each that went
 * lately for every new one in the same place. Not all file systems have the flag. */
void home_spread(const struct home *h)
{
	static const char *const folders[] = {"jobs", "spare"};

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		_cleanup_free_ char *path = home_file(h, folders[i]);
		_cleanup_close_ int fd = -1;
		struct err ignored;
		int flags;

		if (fs_mkdirs(path, 0700, &ignored)) continue;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) || flags & FS_TOPDIR_FL) continue;
		flags |= FS_TOPDIR_FL;
		if (ioctl(fd, FS_IOC_SETFLAGS, &flags)) errno = 0;
	}
}

void home_release(struct home *h)
{
	free_p(&h->state);
	free_p(&h->cache);
}

char *home_file(const struct home *h, const char *name)
{
	return xasprintf("%s/%s", h->state, name);
}

char *home_db(const struct home *h)
{
	return home_file(h, "slipway.db");
}

char *home_repo(const struct home *h, int64_t repo_id, const char *name)
{
	return xasprintf("%s/repos/%lld%s%s", h->state, (long long)repo_id, name ? "/" : "", name ? name : "");
}

char *home_job(const struct home *h, int64_t job_id, const char *name)
{
	return xasprintf("%s/jobs/%lld%s%s", h->state, (long long)job_id, name ? "/" : "", name ? name : "");
}

int home_public(char **url_r, struct err *e)
{
	const char *set = getenv("SLIPWAY_PUBLIC_URL");
	size_t n = set ? strlen(set) : 0;

	*url_r = NULL;
	if (!n) return 0;
	for (const char *p = set; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr("?#\"'<>\\", *p))
			return err_set(e, ERR_INPUT, "SLIPWAY_PUBLIC_URL holds a character that no address has");
	if (strncmp(set, "https://", 8) != 0 && strncmp(set, "http://", 7) != 0)
		return err_set(e, ERR_INPUT, "SLIPWAY_PUBLIC_URL '%s' is not an https:// or http:// address", set);
	while (set[n - 1] == '/') n--;
	*url_r = xstrndup(set, n);
	return 0;
}

char *home_build_url(int64_t build_id, int job_number)
{
	_cleanup_free_ char *url = NULL;
	struct err e;

	if (home_public(&url, &e) || !url) return NULL;
	if (!job_number) return xasprintf("%s/builds/%lld", url, (long long)build_id);
	return xasprintf("%s/builds/%lld#%d", url, (long long)build_id, job_number);
}

static void poke(const struct home *h, const char *text)
{
	_cleanup_free_ char *path = home_file(h, "wake");
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (fd < 0 || strlen(path) >= sizeof(to.sun_path)) return;
	memcpy(to.sun_path, path, strlen(path) + 1);
	(void)!sendto(fd, text, strlen(text), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

void home_wake(const struct home *h)
{
	poke(h, "!");
}

void home_wake_place(const struct home *h, int64_t job_id)
{
	_cleanup_free_ char *text = xasprintf("%lld", (long long)job_id);

	poke(h, text);
}

int64_t home_woken(const char *bytes, size_t len)
{
	int64_t id = 0;

	if (!len || len > 18) return 0;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] < '0' || bytes[i] > '9') return 0;
		id = id * 10 + (bytes[i] - '0');
	}
	return id;
}

enum { RESERVE_BYTES = 16 << 20 };

void home_keep_reserve(const struct home *h)
{
	_cleanup_free_ char *path = home_file(h, "reserve");
	_cleanup_close_ int fd = -1;
	struct statvfs v;

	if (fs_exists(path)) return;
	if (statvfs(h->state, &v) || (uint64_t)v.f_bavail * v.f_frsize < 4 * (uint64_t)RESERVE_BYTES) return;
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, RESERVE_BYTES)) unlink(path);
}

void home_use_reserve(const struct home *h)
{
	_cleanup_free_ char *path = home_file(h, "reserve");

	unlink(path);
}
