/* Any bytes as a deploy key. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/publish/deploykey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_secret_ struct secret key = SECRET_INIT, ready = SECRET_INIT;
	static int started;
	struct err e;

	if (!started++) secret_setup();
	secret_set(&key, data, size);
	if (deploykey_prepare(&key, &ready, &e) == 0) {
		if (strlen((char *)ready.data) != ready.len || ready.data[ready.len - 1] != '\n') abort();
	} else if (e.kind != ERR_INPUT) {
		abort();
	}
	return 0;
}
