/* `runner publish`: the only process that ever holds a deploy key.
 *
 *   runner publish --request FILE    as a job's leader starts it. FILE is publish_request_to_json plus, where a key is
 *                                    needed, "sealed_key": {"name", "scope", "chunks": […]} and "repo_key_file": the
 *                                    repository's secret key, which opens it; and "state" and "repo_id", which tell
 *                                    what paths on this box are allowed (deploypath.h): none without. Lines for the log
 * go to stdout; the result, one JSON object, to descriptor 3 if that is open, else it is the last line of stdout runner
 * publish --repo … FILE…    for people and for other CI systems
 */
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "lib/num.h"
#include "lib/secret.h"
#include "runner/cmd.h"
#include "runner/deploypath.h"
#include "runner/home.h"
#include "runner/publish/leak.h"
#include "runner/publish/publish.h"
#include "runner/publish/remote.h"
#include "runner/settings.h"
#include "senv/keys.h"
#include "senv/seal.h"

enum {
	RESULT_FD = 3,
	SECRETS_FD = 4, /* what the script was given, where the request says "secrets": leaks_read */
	MAX_REQUEST = 1 << 24,
	MAX_KEY = 1 << 16,
	PATIENCE_S = 600, /* of a person, or another CI system's minutes */
};

struct order {
	struct publish_request request;
	struct secret key;
	int have_key;
	struct leaks leaks; /* what must not be in the files */
	int as_json;        /* the result is wanted as JSON */
	int leader;         /* started by a job's leader: the result goes to RESULT_FD */
};

static void order_release(struct order *o)
{
	publish_request_release(&o->request);
	secret_release(&o->key);
	leaks_release(&o->leaks);
}

static void on_line(void *arg, const char *line)
{
	(void)arg;
	printf("%s\n", line);
	fflush(stdout);
}

/* --- the leader's form --- */

static int open_sealed(const json_t *j, struct order *o, struct err *e)
{
	_cleanup_secret_ struct secret repo_key = SECRET_INIT;
	_cleanup_vec_ struct vec chunks = VEC_INIT;
	json_t *list = json_at(j, "sealed_key.chunks");
	const char *name, *scope, *file;

	if (!json_at(j, "sealed_key")) return 0;
	if (json_need_string(j, "sealed_key.name", &name, e) || json_need_string(j, "sealed_key.scope", &scope, e) ||
	    json_need_string(j, "repo_key_file", &file, e))
		return -1;
	if (!json_is_array(list)) return err_set(e, ERR_INPUT, "'sealed_key.chunks' is not a list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *chunk = json_string_value(json_array_get(list, i));

		if (!chunk) return err_set(e, ERR_INPUT, "'sealed_key.chunks' holds something that is no string");
		vec_add(&chunks, chunk);
	}
	if (key_read(file, &repo_key, e) || seal_open(&repo_key, scope, name, &chunks, NULL, &o->key, e))
		return err_wrap(e, "deploy key '%s'", name);
	o->have_key = 1;
	leaks_add(&o->leaks, name, o->key.data, o->key.len);
	return 0;
}

/* A path comes from a `.ci.yml`: only those that the box's owner allowed, and by the name that was compared. */
static int check_path(const json_t *j, struct publish_request *r, struct err *e)
{
	__attribute__((cleanup(home_release))) struct home h = {0};
	const char *state = json_string_or(j, "state", "");
	int64_t repo_id = json_int_or(j, "repo_id", 0);
	char *real = NULL;

	if (!*state || repo_id <= 0) {
		_cleanup_remote_ struct remote where = {.kind = REMOTE_PATH};

		if (remote_parse(r->remote, &where, e)) return -1;
		if (where.kind != REMOTE_PATH) return 0;
		return err_set(e, ERR_DENIED, "the request does not tell which paths are allowed: '%s' is not",
			       r->remote);
	}
	if (home_open(state, &h, e) || deploypath_check(&h, repo_id, r->source_repo, r->remote, &real, e)) return -1;
	if (!real) return 0;
	free(r->remote);
	r->remote = real;
	return 0;
}

static int read_request(const char *file, struct order *o, struct err *e)
{
	_cleanup_buf_ struct buf text = BUF_INIT(MAX_REQUEST);
	_cleanup_json_ json_t *j = NULL;

	return fs_read_file(file, &text, e) || json_parse(file, buf_str(&text), text.len, &j, e) ||
			       publish_request_from_json(j, &o->request, e) || check_path(j, &o->request, e) ||
			       open_sealed(j, o, e) ||
			       (json_bool_or(j, "secrets", 0) && leaks_read(SECRETS_FD, &o->leaks, e))
		       ? -1
		       : 0;
}

/* --- the public form --- */

static const struct option options[] = {
	{"request", required_argument, NULL, 'Q'},
	{"repo", required_argument, NULL, 'r'},
	{"path", required_argument, NULL, 'p'},
	{"commit", required_argument, NULL, 'c'},
	{"branch", required_argument, NULL, 'b'},
	{"backend", required_argument, NULL, 'B'},
	{"arch", required_argument, NULL, 'a'},
	{"key-fd", required_argument, NULL, 'k'},
	{"key-env", required_argument, NULL, 'e'},
	{"secret-env", required_argument, NULL, 'x'},
	{"source-repo", required_argument, NULL, 's'},
	{"source-branch", required_argument, NULL, 'S'},
	{"source-mirror", required_argument, NULL, 'm'},
	{"job", required_argument, NULL, 'j'},
	{"keep", required_argument, NULL, 'K'},
	{"event", required_argument, NULL, 'E'},
	{"no-latest", no_argument, NULL, 'L'},
	{"sign-key", required_argument, NULL, 'g'},
	{"message", required_argument, NULL, 'M'},
	{"author", required_argument, NULL, 'A'},
	{"mode", required_argument, NULL, 'o'},
	{"compress", required_argument, NULL, 'z'},
	{"known-hosts", required_argument, NULL, 'h'},
	{"cache", required_argument, NULL, 'C'},
	{"state", required_argument, NULL, 't'},
	{"patience", required_argument, NULL, 'P'},
	{"stall", required_argument, NULL, 'T'},
	{"ci", required_argument, NULL, 'I'},
	{"json", no_argument, NULL, 'J'},
	{NULL, 0, NULL, 0},
};

static char **option_place(struct publish_request *r, int c)
{
	switch (c) {
	case 'r': return &r->remote;
	case 'p': return &r->path;
	case 'c': return &r->commit;
	case 'b': return &r->branch;
	case 'B': return &r->backend;
	case 'a': return &r->arch;
	case 's': return &r->source_repo;
	case 'S': return &r->source_branch;
	case 'm': return &r->source_mirror;
	case 'j': return &r->job;
	case 'h': return &r->known_hosts;
	case 'C': return &r->cache;
	case 'g': return &r->sign_key;
	case 'M': return &r->message;
	case 'A': return &r->author;
	case 'z': return &r->packing;
	default: return NULL;
	}
}

static int number_of(const char *text, const char *option, int *n_r, struct err *e)
{
	if (num_parse_int(text, 0, INT_MAX, n_r)) return err_set(e, ERR_INPUT, "%s '%s': not a number", option, text);
	return 0;
}

static int seconds_of(const char *text, const char *option, int *n_r, struct err *e)
{
	if (num_parse_int(text, 1, INT_MAX / 1000, n_r))
		return err_set(e, ERR_INPUT, "%s '%s': not a number of seconds", option, text);
	return 0;
}

static int mode_of(const char *text, int *mode_r, struct err *e)
{
	*mode_r = !strcmp(text, "0755") || !strcmp(text, "755")   ? 0755
		  : !strcmp(text, "0644") || !strcmp(text, "644") ? 0644
								  : 0;
	return *mode_r ? 0 : err_set(e, ERR_INPUT, "--mode '%s': it can be 0755 or 0644", text);
}

static int key_from_fd(const char *text, struct order *o, struct err *e)
{
	int fd;

	if (number_of(text, "--key-fd", &fd, e)) return -1;
	o->have_key = 1;
	if (secret_read_fd(fd, "--key-fd", MAX_KEY, &o->key, e)) return -1;
	leaks_add(&o->leaks, "deploy key", o->key.data, o->key.len);
	return 0;
}

static int key_from_env(const char *name, struct order *o, struct err *e)
{
	char *value = getenv(name);

	if (!value) return err_set(e, ERR_MISSING, "--key-env '%s': not in the environment", name);
	secret_set(&o->key, value, strlen(value));
	leaks_add(&o->leaks, name, value, strlen(value));
	sodium_memzero(value, strlen(value)); /* it shows in /proc/self/environ else */
	unsetenv(name);
	o->have_key = 1;
	return 0;
}

static int secret_from_env(const char *name, struct order *o, struct err *e)
{
	char *value = getenv(name);

	if (!value) return err_set(e, ERR_MISSING, "--secret-env '%s': not in the environment", name);
	leaks_add(&o->leaks, name, value, strlen(value));
	sodium_memzero(value, strlen(value));
	unsetenv(name);
	return 0;
}

static int add_files(struct publish_request *r, char **files, size_t n, struct err *e)
{
	r->files = xcalloc(n + 1, sizeof(*r->files));
	for (size_t i = 0; i < n; i++) {
		const char *slash = strrchr(files[i], '/');
		struct stat st;

		if (stat(files[i], &st)) return err_sys(e, "cannot find '%s'", files[i]);
		if (!S_ISREG(st.st_mode)) return err_set(e, ERR_INPUT, "'%s' is not a regular file", files[i]);
		r->files[r->nfiles++] = (struct publish_file){.name = xstrdup(slash ? slash + 1 : files[i]),
							      .file = xstrdup(files[i]),
							      .mode = st.st_mode & 0777};
	}
	return 0;
}

static int fill_defaults(struct publish_request *r, const char *state, struct err *e)
{
	char **empty[] = {&r->backend, &r->arch, &r->source_repo, &r->source_branch, &r->job};
	struct home h = {0};

	for (size_t i = 0; i < ARRAY_LEN(empty); i++)
		if (!*empty[i]) *empty[i] = xstrdup("");
	r->image_digest = xstrdup("");
	r->checks = xstrdup("");
	if (!r->branch) r->branch = xstrdup("main");
	if (!r->patience_s) r->patience_s = PATIENCE_S;
	if (r->cache) return 0;
	if (home_open(state, &h, e)) return -1;
	r->cache = home_file(&h, "publish");
	home_release(&h);
	return 0;
}

/* Returns 2 for wrong usage. */
static int read_options(int argc, char **argv, const struct vec *globs, struct order *o, struct err *e)
{
	_cleanup_vec_ struct vec files = VEC_INIT;
	const char *request = NULL, *key_fd = NULL, *key_env = NULL, *state = NULL;
	int c, asked = 0;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		char **place = option_place(&o->request, c);

		asked++;
		if (place) {
			free(*place);
			*place = xstrdup(optarg);
			continue;
		}
		switch (c) {
		case 'Q': request = optarg; break;
		case 'k': key_fd = optarg; break;
		case 'e': key_env = optarg; break;
		case 'x':
			if (secret_from_env(optarg, o, e)) return -1;
			break;
		case 't': state = optarg; break;
		case 'K':
			if (number_of(optarg, "--keep", &o->request.keep, e)) return -1;
			break;
		case 'E':
			if (num_parse(optarg, 0, INT64_MAX, &o->request.event))
				return err_set(e, ERR_INPUT, "--event '%s': not a number", optarg);
			break;
		case 'o':
			if (mode_of(optarg, &o->request.mode, e)) return -1;
			break;
		case 'P':
			if (seconds_of(optarg, "--patience", &o->request.patience_s, e)) return -1;
			break;
		case 'T':
			if (seconds_of(optarg, "--stall", &o->request.stall_s, e)) return -1;
			break;
		case 'I': break; /* settings_line has read it */
		case 'L': o->request.no_latest = 1; break;
		case 'J': o->as_json = 1; break;
		default: return 2;
		}
	}
	if (request) {
		o->as_json = o->leader = 1;
		return asked > 1 || optind < argc ? 2 : read_request(request, o, e);
	}
	if (optind < argc)
		for (int i = optind; i < argc; i++) vec_add(&files, argv[i]);
	else if (settings_files(globs, &files, e))
		return -1;
	if (!files.len || !o->request.remote || !o->request.path || !o->request.commit || (key_fd && key_env)) return 2;
	if (key_fd && key_from_fd(key_fd, o, e)) return -1;
	if (key_env && key_from_env(key_env, o, e)) return -1;
	return add_files(&o->request, vec_argv(&files), files.len, e) || fill_defaults(&o->request, state, e) ? -1 : 0;
}

static int read_arguments(int argc, char **argv, struct order *o, struct err *e)
{
	_cleanup_vec_ struct vec line = VEC_INIT, globs = VEC_INIT;

	if (argc > 1 && !strcmp(argv[1], "--request")) return read_options(argc, argv, &globs, o, e);
	for (int i = 1; i < argc; i++) o->as_json |= !strcmp(argv[i], "--json");
	if (settings_line(argc, argv, options, &line, &globs, e)) return -1;
	return read_options((int)line.len, vec_argv(&line), &globs, o, e);
}

/* --- the result --- */

static void put_json(int result_fd, json_t *j)
{
	_cleanup_free_ char *text = json_text(j), *line = xasprintf("%s\n", text);
	struct err e;

	json_decref(j);
	if (result_fd < 0)
		printf("%s", line);
	else if (fs_write_all(result_fd, line, strlen(line), "the result", &e))
		fprintf(stderr, "runner publish: %s\n", e.text);
}

static int run(const struct order *o, int result_fd, struct err *e)
{
	struct publish_result res;

	if (leaks_check(&o->leaks, &o->request, on_line, NULL, e)) return -1;
	if (publish_run(&o->request, o->have_key ? &o->key : NULL, on_line, NULL, &res, e)) return -1;
	if (o->as_json)
		put_json(result_fd, json_pack("{s:b, s:s, s:b, s:b, s:I, s:o}", "ok", 1, "commit", res.commit,
					      "unchanged", res.unchanged, "latest_moved", res.latest_moved, "sequence",
					      (json_int_t)res.sequence, "note", json_any_text(res.note)));
	return 0;
}

int cmd_publish(int argc, char **argv)
{
	/* Asked before anything is opened, so that 3 cannot be a descriptor of our own. */
	int result_fd = fcntl(RESULT_FD, F_GETFD) < 0 ? -1 : RESULT_FD;
	__attribute__((cleanup(order_release))) struct order o = {.key = SECRET_INIT};
	struct err e;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	rc = read_arguments(argc, argv, &o, &e);
	if (rc == 2) return cmd_usage("publish");
	if (!o.leader) result_fd = -1;
	if (rc == 0) rc = run(&o, result_fd, &e);
	if (rc == 0) return 0;
	if (o.as_json)
		put_json(result_fd, json_pack("{s:b, s:s, s:o}", "ok", 0, "kind", err_kind_name(e.kind), "error",
					      json_any_text(e.text)));
	return cmd_fail("publish", e.text);
}
