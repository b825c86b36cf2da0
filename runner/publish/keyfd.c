/* Secrets as descriptors. */
#include "runner/publish/keyfd.h"

#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"

void keyfd_release(struct keyfd *k)
{
	if (k->map) {
		sodium_memzero(k->map, k->len);
		munmap(k->map, k->len);
	}
	close_p(&k->fd);
	*k = (struct keyfd)KEYFD_INIT;
}

int keyfd_make(struct keyfd *k, const char *const *parts, struct err *e)
{
	size_t len = 0, at = 0;

	keyfd_release(k);
	for (size_t i = 0; parts[i]; i++) len += strlen(parts[i]);
	k->fd = memfd_create("key", MFD_CLOEXEC);
	/* ssh wants a key's file to be its user's alone. */
	if (k->fd < 0 || fchmod(k->fd, 0600) || ftruncate(k->fd, (off_t)len))
		return err_sys(e, "cannot make memory for a key");
	k->len = len;
	k->map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	if (k->map == MAP_FAILED) {
		k->map = NULL;
		return err_sys(e, "cannot map memory for a key");
	}
	mlock(k->map, len); /* as sodium_malloc: where the system lets us */
	madvise(k->map, len, MADV_DONTDUMP);
	for (size_t i = 0; parts[i]; i++) {
		memcpy((char *)k->map + at, parts[i], strlen(parts[i]));
		at += strlen(parts[i]);
	}
	return 0;
}
