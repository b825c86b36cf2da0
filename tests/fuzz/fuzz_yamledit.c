/* The YAML editor: any bytes as a file. What it adds it must find again, and replacing it must work. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "senv/yamledit.h"
#include "senv/yamlsealed.h"
#include "senv/yamltree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int finds(const struct buf *text, const struct vec *chunks)
{
	struct yaml_sealed_list l;
	struct err e;
	int found = 0;

	if (yamlsealed_find("f", buf_str(text), text->len, &l, &e)) abort();
	for (size_t i = 0; i < l.len; i++) {
		const struct yaml_sealed *s = &l.items[i];

		if (!s->name || strcmp(s->name, "KEY") || s->chunks.len != chunks->len) continue;
		found += !strcmp(s->chunks.items[0], chunks->items[0]);
	}
	yaml_sealed_list_release(&l);
	return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf once = BUF_INIT(YAMLTREE_MAX_BYTES), twice = BUF_INIT(YAMLTREE_MAX_BYTES);
	struct vec one = VEC_INIT, two = VEC_INIT;
	struct yaml_sealed_list l;
	struct err e;

	vec_add(&one, "QUFBQQ==");
	vec_add(&two, "QkJCQg==");
	vec_add(&two, "Q0NDQw==");
	if (!yamlsealed_find("f", data, size, &l, &e)) yaml_sealed_list_release(&l);
	if (!yamledit_add("f", data, size, "KEY", &one, &once, &e)) {
		if (!finds(&once, &one)) abort();
		if (!yamledit_add("f", buf_str(&once), once.len, "KEY", &two, &twice, &e)) {
			if (!finds(&twice, &two)) abort();
			if (finds(&twice, &one) >= finds(&once, &one)) abort();
		}
	} else if (once.len) {
		abort();
	}
	buf_release(&once);
	buf_release(&twice);
	vec_release(&one);
	vec_release(&two);
	return 0;
}
