/* The YAML editor: any bytes as a file. What it adds it must find again, and replacing it must work; and so for all
 * sealed values that are there. */
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

/* Other chunks for all that are there: they are found in their places. Returns -1 when the file has no such. */
static int replace_all(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT(YAMLTREE_MAX_BYTES);
	struct yaml_sealed_list l, got;
	struct err e;

	if (yamlsealed_find("f", data, size, &l, &e)) return -1;
	for (size_t i = 0; i < l.len; i++)
		for (size_t k = 0; k < l.items[i].chunks.len; k++) {
			free(l.items[i].chunks.items[k]);
			l.items[i].chunks.items[k] = xasprintf("Zm%zu/%zu==", i, k);
		}
	if (!yamlsealed_replace("f", data, size, &l, &out, &e)) {
		if (yamlsealed_find("f", buf_str(&out), out.len, &got, &e) || got.len != l.len) abort();
		for (size_t i = 0; i < l.len; i++) {
			if (got.items[i].chunks.len != l.items[i].chunks.len) abort();
			for (size_t k = 0; k < l.items[i].chunks.len; k++)
				if (strcmp(got.items[i].chunks.items[k], l.items[i].chunks.items[k])) abort();
		}
		yaml_sealed_list_release(&got);
	} else if (out.len) {
		abort();
	}
	yaml_sealed_list_release(&l);
	buf_release(&out);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf once = BUF_INIT(YAMLTREE_MAX_BYTES), twice = BUF_INIT(YAMLTREE_MAX_BYTES);
	struct vec one = VEC_INIT, two = VEC_INIT;
	struct err e;
	int odd = replace_all(data, size); /* no YAML, or with a key `secure` twice in one place */

	vec_add(&one, "QUFBQQ==");
	vec_add(&two, "QkJCQg==");
	vec_add(&two, "Q0NDQw==");
	if (!yamledit_add("f", data, size, "KEY", &one, &once, &e)) {
		if (!odd && !finds(&once, &one)) abort();
		if (!odd && !yamledit_add("f", buf_str(&once), once.len, "KEY", &two, &twice, &e)) {
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
