/* senv push: the same value as a secret of a hosted CI. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "senv/cli.h"
#include "senv/cmd.h"
#include "senv/forge.h"
#include "senv/forms.h"

static const struct forge {
	const char *name, *title;
	const char *token_variable;
	const char *api_variable; /* set in the jobs of the forge itself */
	const char *api;
	int (*push)(const struct forge_push *p, struct forge_result *result_r, struct err *e);
} forges[] = {
	{"github", "GitHub", "GITHUB_TOKEN", "GITHUB_API_URL", "https://api.github.com", forge_github},
	{"gitlab", "GitLab", "GITLAB_TOKEN", "CI_API_V4_URL", "https://gitlab.com/api/v4", forge_gitlab},
};

struct push_opts {
	const char *api;
	int protected;
	const struct forge *forge;
	const char *repo, *name, *input;
};

static int parse(int argc, char **argv, struct push_opts *o)
{
	static const struct option options[] = {
		{"api", required_argument, NULL, 'a'}, {"protected", no_argument, NULL, 'P'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) switch (c) {
		case 'a': o->api = optarg; break;
		case 'P': o->protected = 1; break;
		default: return -1;
		}
	if (argc - optind < 3 || argc - optind > 4) return -1;
	for (size_t i = 0; i < ARRAY_LEN(forges); i++)
		if (!strcmp(argv[optind], forges[i].name)) o->forge = &forges[i];
	o->repo = argv[optind + 1];
	o->name = argv[optind + 2];
	o->input = argv[optind + 3];
	return o->forge && !(o->protected && o->forge->push != forge_gitlab) ? 0 : -1;
}

static int read_value(const struct push_opts *o, struct secret *value_r, struct err *e)
{
	_cleanup_free_ char *prompt = xasprintf("%s: ", o->name);

	if (!o->input && isatty(STDIN_FILENO)) return cli_ask(prompt, value_r, e);
	return cli_input(o->input, value_r, e);
}

static int push(const struct push_opts *o, struct err *e)
{
	_cleanup_secret_ struct secret token = SECRET_INIT, value = SECRET_INIT;
	const char *given = getenv(o->forge->token_variable), *of_job = getenv(o->forge->api_variable);
	_cleanup_free_ char *api = xstrdup(o->api ? o->api : of_job && *of_job ? of_job : o->forge->api);
	struct forge_push p = {.api = api,
			       .token = &token,
			       .repo = o->repo,
			       .name = o->name,
			       .value = &value,
			       .protected = o->protected};
	struct forge_result result;

	if (!given || !*given)
		return err_set(e, ERR_MISSING, "%s is not set in the environment", o->forge->token_variable);
	secret_set(&token, given, strlen(given));
	while (*api && api[strlen(api) - 1] == '/') api[strlen(api) - 1] = '\0';
	if (read_value(o, &value, e) || o->forge->push(&p, &result, e)) return -1;
	printf("'%s' of %s is %s at %s%s\n", o->name, o->repo, result.replaced ? "replaced" : "set", o->forge->title,
	       result.masked ? "" : "; it cannot be masked there");
	if (value.len < FORMS_MIN_VALUE)
		fprintf(stderr, "warning: '%s' has under %d bytes, too few to be masked in logs\n", o->name,
			FORMS_MIN_VALUE);
	return 0;
}

int senv_push(int argc, char **argv)
{
	struct push_opts o = {0};
	struct err e;

	if (parse(argc, argv, &o)) return senv_usage(argv[0]);
	return push(&o, &e) ? senv_fail(argv[0], e.text) : 0;
}
