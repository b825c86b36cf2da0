/* From a value to chunks, in the environment's form or in a YAML file: what encrypt, seal, import and keygen --ssh
 * share. */
#include "senv/sealopts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/num.h"
#include "senv/cli.h"
#include "senv/forms.h"

int seal_opts_take(struct seal_opts *o, int c, char **argv)
{
	switch (c) {
	case 'k': o->key = cli_value(argv); return 0;
	case 'p': o->prefix = cli_value(argv); return 0;
	case 'c': return num_parse(cli_value(argv), 1, INT64_MAX, &o->payload);
	case 'f': o->ci = optarg; return 0;
	case 's': o->scope = optarg; return 0;
	case 'a': o->add = optarg; return 0;
	default: return -1;
	}
}

int seal_opts_check(const struct seal_opts *o)
{
	return o->key && !(o->payload && o->ci) ? 0 : -1;
}

static int chunk_it(const struct seal_opts *o, const char *name, const struct secret *value, struct vec *chunks_r,
		    struct err *e)
{
	struct seal_params p = {.pub = o->pub, .scope = o->scope, .name = name, .payload_bytes = (size_t)o->payload};
	size_t text = SEAL_DEFAULT_CHUNK;

	if (p.payload_bytes) return seal_make(&p, value->data, value->len, chunks_r, e);
	if (o->ci && cli_preset(o->ci, strlen("SENV__999") + strlen(name), &text, e)) return -1;
	return seal_value(o->pub, o->scope, name, value->data, value->len, text, chunks_r, e);
}

static void warn(const char *name, const struct secret *value, int to_build)
{
	if (value->len && value->len < FORMS_MIN_VALUE)
		fprintf(stderr, "warning: '%s' has under %d bytes, too few to be masked in logs\n", name,
			FORMS_MIN_VALUE);
	if (to_build && value->len && memchr(value->data, 0, value->len))
		fprintf(stderr, "warning: '%s' has a zero byte in it: no build can have it as a variable\n", name);
}

int seal_opts_deliver(struct seal_opts *o, const char *name, const struct secret *value, struct err *e)
{
	_cleanup_vec_ struct vec chunks = VEC_INIT;

	if (!o->have_pub && cli_public_key(o->key, o->pub, e)) return -1;
	o->have_pub = 1;
	if (chunk_it(o, name, value, &chunks, e)) return -1;
	if (o->add) {
		if (cli_add(o->add, name, &chunks, e)) return -1;
		warn(name, value, 1);
		return 0;
	}
	for (size_t i = 0; i < chunks.len; i++) printf("SENV_%s_%zu=%s\n", name, i, chunks.items[i]);
	printf("SENV_%s_num=%zu\n", name, chunks.len);
	if (fflush(stdout)) return err_sys(e, "cannot write to stdout");
	warn(name, value, 0);
	return 0;
}
