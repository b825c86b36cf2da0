/* Records of what is packed in a file, and a list of secrets: any bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runner/publish/leak.h"
#include "senv/mask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	_cleanup_secret_ struct secret text = SECRET_INIT;
	struct mask *m = mask_new();
	struct leak_place at = {0};
	struct leaks l = {0};
	struct err e;

	if (fd < 0) fd = memfd_create("records", MFD_CLOEXEC);
	if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size || lseek(fd, 0, SEEK_SET)) abort();
	if (mask_add_for_files(m, "a-secret", 8)) abort();
	if (leaks_records(m, fd, &at) < 0) at.limited = 1;
	mask_free(&m);
	secret_set(&text, data, size);
	if (leaks_parse(&text, &l, &e)) at.limited = 1;
	leaks_release(&l);
	return 0;
}
