/* Any bytes as a publish request; what is taken must come out of its own JSON form unchanged. */
#include <stdlib.h>

#include "runner/publish/publish.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *j = NULL, *once = NULL, *twice = NULL;
	struct publish_request r, again;
	struct err e;

	if (json_parse("fuzz", data, size, &j, &e) || publish_request_from_json(j, &r, &e)) return 0;
	once = publish_request_to_json(&r);
	if (publish_request_from_json(once, &again, &e)) abort();
	twice = publish_request_to_json(&again);
	if (!json_equal(once, twice)) abort();
	publish_request_release(&r);
	publish_request_release(&again);
	return 0;
}
