/* Secret bytes in guarded memory. */
#include "lib/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/fs.h"

void secret_setup(void)
{
	struct rlimit none = {0, 0};

	if (sodium_init() < 0) die("libsodium cannot start");
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
}

void secret_alloc(struct secret *s, size_t len)
{
	secret_release(s);
	s->data = sodium_malloc(len + 1);
	if (!s->data) die("out of memory for a secret (%zu bytes)", len);
	sodium_memzero(s->data, len + 1);
	s->len = len;
}

void secret_set(struct secret *s, const void *data, size_t len)
{
	secret_alloc(s, len);
	if (len) memcpy(s->data, data, len);
}

void secret_release(struct secret *s)
{
	sodium_free(s->data);
	*s = (struct secret)SECRET_INIT;
}

int secret_read_fd(int fd, const char *name, size_t max, struct secret *s, struct err *e)
{
	_cleanup_secret_ struct secret room = SECRET_INIT;
	size_t len = 0, cap = 4096;

	secret_alloc(&room, cap);
	for (;;) {
		ssize_t n = read(fd, room.data + len, cap - len);

		if (n < 0 && errno == EINTR) continue;
		if (n < 0) return err_sys(e, "cannot read '%s'", name);
		if (n == 0) break;
		len += (size_t)n;
		if (len > max) return err_set(e, ERR_INPUT, "'%s' is larger than %zu bytes", name, max);
		if (len == cap) {
			_cleanup_secret_ struct secret bigger = SECRET_INIT;
			struct secret old = room;

			secret_alloc(&bigger, cap * 4);
			memcpy(bigger.data, room.data, len);
			room = bigger;
			bigger = old;
			cap *= 4;
		}
	}
	secret_set(s, room.data, len);
	return 0;
}

int secret_read_file(const char *path, size_t max, struct secret *s, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot open '%s'", path);
	return secret_read_fd(fd, path, max, s, e);
}
