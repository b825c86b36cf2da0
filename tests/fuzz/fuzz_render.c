/* A log for a person: first byte: colour and how the input is split; then the log. However it is split, the result is
 * the same, and without colour no byte but those of marks is lost. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/report/render.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(int colour, const uint8_t *data, size_t size, size_t step, struct buf *out)
{
	struct render *r = render_new(colour);

	for (size_t i = 0; i < size; i += step) render_feed(r, data + i, size - i < step ? size - i : step, 0, out);
	render_end(r, out);
	render_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = BUF_INIT(1 << 24), parts = BUF_INIT(1 << 24);
	int colour;

	if (size < 1 || size > 8192) return -1;
	colour = data[0] & 1;
	run(colour, data + 1, size - 1, size, &whole);
	run(colour, data + 1, size - 1, 1 + data[0] / 2, &parts);
	if (whole.len != parts.len || memcmp(buf_str(&whole), buf_str(&parts), whole.len)) abort();
	if (!colour && !memmem(data + 1, size - 1, "\033[0K", 4) && whole.len + 1 < size) abort();
	buf_release(&whole);
	buf_release(&parts);
	return 0;
}
