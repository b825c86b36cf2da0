/* runner verify: is a clone of a deployment repository what was published? */
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/json.h"
#include "lib/num.h"
#include "runner/cmd.h"
#include "runner/publish/signkey.h"
#include "runner/publish/verify.h"

struct told {
	json_t *list; /* NULL: printed */
};

static void tell(void *arg, const char *problem)
{
	struct told *t = arg;

	if (t->list)
		json_array_append_new(t->list, json_any_text(problem));
	else
		printf("%s\n", problem);
}

static int add_key(struct minisign_public **keys, size_t *n, const char *text, struct err *e)
{
	*keys = xrealloc(*keys, (*n + 1) * sizeof(**keys));
	if (signkey_public(text, &(*keys)[*n], e)) return err_wrap(e, "--key '%s'", text);
	++*n;
	return 0;
}

static void print(const struct verify_opts *o, const struct verify_result *r, json_t *list)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *j = NULL;

	if (!list) {
		if (!o->nkeys) printf("signatures were not looked at: no --key\n");
		printf("%zu images under %zu paths: %zu problems\n", r->images, r->paths, r->problems);
		return;
	}
	j = json_pack("{s:b, s:b, s:i, s:i, s:O}", "ok", r->problems == 0, "signatures", o->nkeys > 0, "images",
		      (int)r->images, "paths", (int)r->paths, "problems", list);
	text = json_text(j);
	printf("%s\n", text);
}

int cmd_verify(int argc, char **argv)
{
	static const struct option known[] = {{"key", required_argument, NULL, 'k'},
					      {"path", required_argument, NULL, 'p'},
					      {"since", required_argument, NULL, 's'},
					      {"json", no_argument, NULL, 'j'},
					      {0}};
	_cleanup_free_ struct minisign_public *keys = NULL;
	_cleanup_json_ json_t *list = NULL;
	struct told told = {NULL};
	struct verify_opts o = {.tell = tell, .arg = &told};
	struct verify_result r;
	struct err e;
	int c;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 'k':
			if (add_key(&keys, &o.nkeys, optarg, &e)) return cmd_fail("verify", e.text);
			break;
		case 'p': o.path = optarg; break;
		case 's':
			if (!num_parse(optarg, 1, INT64_MAX, &o.since)) break;
			err_set(&e, ERR_INPUT, "--since '%s': not a sequence number", optarg);
			return cmd_fail("verify", e.text);
		case 'j':
			json_decref(list);
			told.list = list = json_array();
			break;
		default: return cmd_usage("verify");
		}
	if (argc - optind != 1) return cmd_usage("verify");
	o.dir = argv[optind];
	o.keys = keys;
	if (verify_run(&o, &r, &e)) return cmd_fail("verify", e.text);
	print(&o, &r, list);
	return r.problems ? 1 : 0;
}
