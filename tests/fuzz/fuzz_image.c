/* What images are made from: their names and packages, apt's words and mmdebstrap's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runner/sandbox/host.h"
#include "runner/sandbox/image_key.h"
#include "runner/sandbox/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_vec_ struct vec words = VEC_INIT, sources = VEC_INIT, packages = VEC_INIT;
	_cleanup_buf_ struct buf settings = BUF_INIT(1 << 20);
	struct debian_progress progress = {0};
	struct image_want want;
	struct err e;

	host_words(text, &words);
	for (size_t i = 1; i < words.len; i++) vec_add(&packages, words.items[i]);
	if (words.len && !image_want_parse(words.items[0], "amd64", &packages, &want, &e)) {
		char key[IMAGE_KEY_BYTES];

		image_key(&want, "00", "0 0", key);
		(void)imageref_registry_is_local(&want.ref);
		image_want_release(&want);
	}
	(void)!debian_sources(text, "bookworm", "sid", &sources, &e);
	debian_apt_settings(text, &settings);
	for (char *line = text; *line;) {
		size_t n = strcspn(line, "\n");
		int last = !line[n];

		line[n] = '\0';
		debian_progress_line(&progress, line);
		if (progress.percent < 0 || progress.percent > 100) abort();
		line += n + !last;
	}
	return 0;
}
