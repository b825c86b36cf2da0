/* The masker: first byte: how the input is split; then up to three secrets, each with its length; then the text. The
 * result must be what the definition says, for every split. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/secret.h"
#include "senv/forms.h"
#include "senv/mask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct naive {
	const uint8_t *text;
	size_t len;
	unsigned char *covered, *joined;
};

static void mark(const unsigned char *form, size_t len, void *arg)
{
	struct naive *n = arg;

	for (size_t i = 0; i + len <= n->len; i++)
		if (!memcmp(n->text + i, form, len)) {
			memset(n->covered + i, 1, len);
			memset(n->joined + i + 1, 1, len - 1);
		}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int ready;
	struct mask *m;
	struct buf got = BUF_INIT(1 << 22), want = BUF_INIT(1 << 22);
	const uint8_t *secret[3];
	size_t secret_len[3], nsecrets = 0, at = 1, step;
	struct naive n;

	if (size < 2 || size > 4096) return -1;
	if (!ready) secret_setup();
	ready = 1;
	m = mask_new();
	step = 1 + data[0] % 64;
	while (nsecrets < 3 && at < size && data[at] && data[at] < 64 && at + 1 + data[at] <= size) {
		secret[nsecrets] = data + at + 1;
		secret_len[nsecrets++] = data[at];
		at += 1 + (size_t)data[at];
	}
	n = (struct naive){data + at, size - at, xcalloc(size + 1, 1), xcalloc(size + 1, 1)};
	for (size_t i = 0; i < nsecrets; i++) {
		if (mask_add(m, secret[i], secret_len[i]) != (secret_len[i] < FORMS_MIN_VALUE)) abort();
		forms_of(secret[i], secret_len[i], mark, &n);
	}
	for (size_t i = 0; i < n.len; i++)
		if (!n.covered[i])
			buf_add(&want, n.text + i, 1);
		else if (!n.joined[i])
			buf_adds(&want, "[secure]");
	for (size_t i = 0; i < n.len; i += step) mask_feed(m, n.text + i, n.len - i < step ? n.len - i : step, &got);
	mask_end(m, &got);
	if (got.len != want.len || memcmp(buf_str(&got), buf_str(&want), got.len)) abort();
	mask_free(&m);
	free(n.covered);
	free(n.joined);
	buf_release(&got);
	buf_release(&want);
	return 0;
}
