/* runner repo: the repositories that are built. Each has a row, and in repos/<id>/ the key that its secrets are sealed
 * to and the secret its webhook signs with. The row comes first, since it gives the id; a crash in between is mended
 * by the same `repo add` again. */
#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/json.h"
#include "lib/secret.h"
#include "runner/cmd.h"
#include "runner/deploypath.h"
#include "runner/notify.h"
#include "runner/permits.h"
#include "runner/place.h"
#include "runner/publish/signkey.h"
#include "runner/removal.h"
#include "runner/store/submodule.h"
#include "senv/keys.h"

enum { HOOK_SECRET_BYTES = 32 };
#define COMMAND_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

struct options {
	const char *state;
	int json, show_secret, next, do_switch, yes, force;
	struct vec deploy_paths;
};

static int fail(const struct err *e)
{
	return cmd_fail("repo", e->text);
}

/* --- keys and secrets --- */

/* One that was made and cut off before a byte was in it. Anything else is somebody's key and is not thrown away. */
static int remove_empty(const char *path, struct err *e)
{
	struct stat st;

	if (lstat(path, &st) || !S_ISREG(st.st_mode) || st.st_size) return 0;
	return unlink(path) ? err_sys(e, "cannot remove the empty '%s'", path) : 0;
}

/* Is there something in it? What, is seen when it is read. */
static int is_made(const char *path)
{
	struct stat st;

	return !stat(path, &st) && st.st_size > 0;
}

static int make_key(const char *path, struct err *e)
{
	_cleanup_secret_ struct secret key = SECRET_INIT;
	unsigned char pub[SEAL_KEY_BYTES];

	if (remove_empty(path, e)) return -1;
	if (fs_exists(path)) return key_read(path, &key, e);
	return key_generate(&key, pub, e) || key_write(path, &key, e) ? -1 : 0;
}

/* Letters and digits that nobody guesses: what a webhook signs with, what opens a stream. */
static int make_word(const char *path, struct err *e)
{
	_cleanup_secret_ struct secret bytes = SECRET_INIT, text = SECRET_INIT;

	if (is_made(path)) return 0;
	secret_alloc(&bytes, HOOK_SECRET_BYTES);
	randombytes_buf(bytes.data, bytes.len);
	secret_alloc(&text, 2 * HOOK_SECRET_BYTES + 1);
	sodium_bin2hex((char *)text.data, 2 * HOOK_SECRET_BYTES + 1, bytes.data, bytes.len);
	text.data[2 * HOOK_SECRET_BYTES] = '\n';
	return fs_write_file(path, text.data, text.len, 0600, e);
}

static int print_key(const struct home *h, int64_t id, const char *before, struct err *e)
{
	_cleanup_free_ char *path = home_repo(h, id, "key"), *text = NULL;

	if (key_read_public(path, &text, e)) return -1;
	printf("%s%s\n", before, text);
	return 0;
}

static int print_secret(const struct home *h, int64_t id, const char *before, struct err *e)
{
	_cleanup_secret_ struct secret text = SECRET_INIT;
	_cleanup_free_ char *path = home_repo(h, id, "hook-secret");

	if (secret_read_file(path, 4096, &text, e)) return -1;
	printf("%s", before);
	fwrite(text.data, 1, text.len, stdout);
	if (!text.len || text.data[text.len - 1] != '\n') printf("\n");
	return 0;
}

/* --- deployment repositories on this box --- */

/* As deploypath_real gives them: a wrong one is told before anything is made. */
static int find_paths(const struct home *h, const struct vec *paths, struct vec *real_r, struct err *e)
{
	for (size_t i = 0; i < paths->len; i++) {
		char *real;

		if (deploypath_real(h, paths->items[i], &real, e)) return -1;
		vec_take(real_r, real);
	}
	return 0;
}

static int allow_paths(const struct home *h, int64_t id, const struct vec *real, struct err *e)
{
	for (size_t i = 0; i < real->len; i++) {
		if (deploypath_allow(h, id, real->items[i], e)) return -1;
		printf("may publish to  %s\n", real->items[i]);
	}
	return 0;
}

static int allow_path(const struct options *o, const char *name, const char *path)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	_cleanup_vec_ struct vec paths = VEC_INIT, real = VEC_INIT;
	struct err e;

	vec_add(&paths, path);
	if (place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e) ||
	    find_paths(&p.home, &paths, &real, &e) || allow_paths(&p.home, r.id, &real, &e))
		return fail(&e);
	return 0;
}

/* --- submodules --- */

static int allow_submodules(const struct options *o, const char *name, const char *url)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	struct err e;

	if (place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e) || submodule_permit_check(url, &e) ||
	    permit_add(&p.home, r.id, PERMIT_SUBMODULES, url, &e))
		return fail(&e);
	printf("may have submodules from  %s\n", url);
	return 0;
}

/* --- notices --- */

static int allow(const struct options *o, const char *name, const char *which, const char *entry, const char *said)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	struct err e;

	if (place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e) ||
	    permit_add(&p.home, r.id, which, entry, &e))
		return fail(&e);
	printf("%s  %s\n", said, entry);
	return 0;
}

static int allow_webhook(const struct options *o, const char *name, const char *url)
{
	if (strncmp(url, "https://", 8) != 0 && strncmp(url, "http://", 7) != 0)
		return cmd_fail("repo", "a webhook's address begins with https:// or http://");
	return allow(o, name, PERMIT_WEBHOOKS, url, "may send webhooks to");
}

static int allow_command(const struct options *o, const char *name, const char *command, const char *program)
{
	_cleanup_free_ char *entry = xasprintf("%s=%s", command, program);

	if (!*command || strspn(command, COMMAND_LETTERS) != strlen(command))
		return cmd_fail("repo", "a command's name is letters, digits, '.', '_' and '-'");
	if (*program != '/' || access(program, X_OK))
		return cmd_fail("repo", "the program must be the whole path of one that can be run");
	return allow(o, name, PERMIT_COMMANDS, entry, "may run");
}

static int show_notify_secret(const struct options *o, const char *name)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	_cleanup_secret_ struct secret text = SECRET_INIT;
	struct err e;

	if (place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e) ||
	    notify_secret(&p.home, r.id, &text, &e))
		return fail(&e);
	fwrite(text.data, 1, text.len, stdout);
	printf("\n");
	return 0;
}

/* --- add --- */

/* 1: it was there already, with this URL */
static int find_or_add(struct place *p, const char *name, const char *url, int64_t *id_r, struct err *e)
{
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	struct err none;

	if (!store_repo_add(p->store, name, url, clock_unix_ms(), id_r, e)) return 0;
	if (e->kind != ERR_INPUT || store_repo_find(p->store, name, &r, &none)) return -1;
	if (strcmp(r.url, url))
		return err_set(e, ERR_INPUT,
			       "repository '%s' is there already, with the URL '%s'; `runner repo set-url` changes it",
			       name, r.url);
	*id_r = r.id;
	return 1;
}

static int add(const struct options *o, const char *name, const char *url)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	_cleanup_free_ char *dir = NULL, *key = NULL, *hook = NULL, *sign = NULL, *sign_line = NULL;
	struct minisign_public sign_pub;
	_cleanup_vec_ struct vec paths = VEC_INIT;
	struct err e;
	int64_t id;
	int was_there;

	if (place_open(o->state, &p, &e) || find_paths(&p.home, &o->deploy_paths, &paths, &e)) return fail(&e);
	was_there = find_or_add(&p, name, url, &id, &e);
	if (was_there < 0) return fail(&e);
	dir = home_repo(&p.home, id, NULL);
	key = home_repo(&p.home, id, "key");
	hook = home_repo(&p.home, id, "hook-secret");
	sign = home_repo(&p.home, id, "sign-key");
	if (was_there && is_made(key) && is_made(hook)) {
		_cleanup_secret_ struct secret whole = SECRET_INIT;

		if (key_read(key, &whole, &e) && e.kind != ERR_DENIED) return fail(&e);
		err_set(&e, ERR_INPUT, "repository '%s' is there already", name);
		return fail(&e);
	}
	if (fs_mkdirs(dir, 0700, &e) || make_key(key, &e) || make_word(hook, &e) || signkey_make(sign, &sign_pub, &e))
		return fail(&e);
	home_wake(&p.home);
	printf("repository      %s\nurl             %s%s\n", name, url,
	       *url == '/' && access(url, F_OK) && errno == ENOENT ? "   (nothing is there yet)" : "");
	if (print_key(&p.home, id, "public key      ", &e)) return fail(&e);
	sign_line = minisign_public_line(&sign_pub);
	printf("signing key     %s\n", sign_line);
	printf("webhook secret  %s\n", hook);
	if (o->show_secret && print_secret(&p.home, id, "                ", &e)) return fail(&e);
	if (allow_paths(&p.home, id, &paths, &e)) return fail(&e);
	printf("\nOn this box:  runner hook install --repo %s REPOSITORY\n"
	       "On GitHub:    a webhook to <this runner>/hook/github/%s, content type application/json, with that "
	       "secret,\n"
	       "              for pushes and pull requests\n"
	       "Secrets are sealed to the public key by `senv encrypt -k`.\n",
	       name, name);
	return 0;
}

/* --- remove, set-url --- */

static int remove_repo(const struct options *o, const char *name)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	struct err e;

	if (!o->yes) {
		err_set(&e, ERR_INPUT,
			"cannot remove '%s': its builds, logs, caches and its secret key would go, and nothing that "
			"was "
			"sealed to it could be opened again; say --yes to that",
			name);
		return fail(&e);
	}
	if (place_open(o->state, &p, &e)) return fail(&e);
	if (removal_run(&p, name, o->force, &e)) {
		if (e.kind == ERR_MISSING) return fail(&e);
		err_wrap(&e, "cannot remove '%s'%s", name,
			 e.kind == ERR_BUSY && !o->force ? " (--force cancels what is not over)" : "");
		return fail(&e);
	}
	printf("removed         %s\n", name);
	return 0;
}

static int set_url(const struct options *o, const char *name, const char *url)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	struct err e;

	if (place_open(o->state, &p, &e) || store_repo_set_url(p.store, name, url, &e)) return fail(&e);
	home_wake(&p.home);
	printf("url             %s\n", url);
	return 0;
}

/* --- list, key --- */

static int list(const struct options *o)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	_cleanup_json_ json_t *all = json_array();
	struct repo *repos;
	struct err e;
	size_t n;

	if (place_open(o->state, &p, &e) || store_repo_list(p.store, &repos, &n, &e)) return fail(&e);
	for (size_t i = 0; i < n; i++) {
		if (!o->json) printf("%-30s  %s\n", repos[i].name, repos[i].url);
		json_array_append_new(all, json_pack("{s:I, s:s, s:s, s:I}", "id", (json_int_t)repos[i].id, "name",
						     repos[i].name, "url", repos[i].url, "created_ms",
						     (json_int_t)repos[i].created_ms));
	}
	repos_free(&repos, n);
	if (o->json) {
		_cleanup_free_ char *text = json_text(all);

		printf("%s\n", text);
	}
	return 0;
}

static int show_key(const struct options *o, const char *name)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	struct err e;

	if (place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e) || print_key(&p.home, r.id, "", &e))
		return fail(&e);
	return 0;
}

/* The public half of what its publications are signed with; --next and --switch change it in two steps. */
static int show_sign_key(const struct options *o, const char *name)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	_cleanup_free_ char *path = NULL, *text = NULL, *dir = NULL;
	struct minisign_public pub;
	struct err e;

	if (place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e)) return fail(&e);
	dir = home_repo(&p.home, r.id, NULL);
	path = home_repo(&p.home, r.id, "sign-key");
	if (fs_mkdirs(dir, 0700, &e) || signkey_make(path, &pub, &e)) return fail(&e);
	if ((o->next && signkey_next(path, &pub, &e)) || (o->do_switch && signkey_switch(path, &pub, &e)))
		return fail(&e);
	text = minisign_public_text(&pub);
	printf("%s", text);
	return 0;
}

/* What a box that watches is given. --next makes another token; the old one ends, and what it had opened with it. */
static int show_stream(const struct options *o, const char *name)
{
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo r = {0};
	_cleanup_secret_ struct secret token = SECRET_INIT;
	_cleanup_free_ char *path = NULL, *dir = NULL, *at = NULL, *public = NULL;
	_cleanup_buf_ struct buf listens = BUF_INIT(1000);
	const char *base;
	struct err e;

	if (home_public(&public, &e) || place_open(o->state, &p, &e) || store_repo_find(p.store, name, &r, &e))
		return fail(&e);
	dir = home_repo(&p.home, r.id, NULL);
	path = home_repo(&p.home, r.id, "stream-token");
	at = home_file(&p.home, "serve.addr");
	if (o->next && unlink(path) && errno != ENOENT) {
		err_sys(&e, "cannot remove '%s'", path);
		return fail(&e);
	}
	if (fs_mkdirs(dir, 0700, &e) || make_word(path, &e) || secret_read_file(path, 4096, &token, &e))
		return fail(&e);
	while (token.len && token.data[token.len - 1] == '\n') token.len--;
	if (!public && fs_exists(at) && fs_read_file(at, &listens, &e)) return fail(&e);
	base = public ? public : listens.len ? buf_str(&listens) : "http://127.0.0.1:8700";
	printf("STREAM=%.*s/api/v1/repos/%s/stream STREAM_TOKEN=%.*s\n", (int)strcspn(base, "\n"), base, name,
	       (int)token.len, (const char *)token.data);
	return 0;
}

static void options_release(struct options *o)
{
	vec_release(&o->deploy_paths);
}

int cmd_repo(int argc, char **argv)
{
	static const struct option known[] = {{"state", required_argument, NULL, 's'},
					      {"json", no_argument, NULL, 'j'},
					      {"show-secret", no_argument, NULL, 'w'},
					      {"next", no_argument, NULL, 'n'},
					      {"switch", no_argument, NULL, 'S'},
					      {"yes", no_argument, NULL, 'y'},
					      {"force", no_argument, NULL, 'f'},
					      {"deploy-path", required_argument, NULL, 'd'},
					      {0}};
	__attribute__((cleanup(options_release))) struct options o = {0};
	char **arg;
	int c, n;

	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) switch (c) {
		case 's': o.state = optarg; break;
		case 'j': o.json = 1; break;
		case 'w': o.show_secret = 1; break;
		case 'n': o.next = 1; break;
		case 'S': o.do_switch = 1; break;
		case 'y': o.yes = 1; break;
		case 'f': o.force = 1; break;
		case 'd': vec_add(&o.deploy_paths, optarg); break;
		default: return cmd_usage("repo");
		}
	arg = argv + optind;
	n = argc - optind;
	if (n == 3 && !strcmp(arg[0], "add")) return add(&o, arg[1], arg[2]);
	if (o.deploy_paths.len) return cmd_usage("repo");
	if (n == 3 && !strcmp(arg[0], "allow-path")) return allow_path(&o, arg[1], arg[2]);
	if (n == 3 && !strcmp(arg[0], "allow-webhook")) return allow_webhook(&o, arg[1], arg[2]);
	if (n == 4 && !strcmp(arg[0], "allow-command")) return allow_command(&o, arg[1], arg[2], arg[3]);
	if (n == 2 && !strcmp(arg[0], "notify-secret")) return show_notify_secret(&o, arg[1]);
	if (n == 3 && !strcmp(arg[0], "allow-submodules")) return allow_submodules(&o, arg[1], arg[2]);
	if (n == 2 && !strcmp(arg[0], "remove")) return remove_repo(&o, arg[1]);
	if (o.yes || o.force) return cmd_usage("repo");
	if (n == 3 && !strcmp(arg[0], "set-url")) return set_url(&o, arg[1], arg[2]);
	if (n == 1 && !strcmp(arg[0], "list")) return list(&o);
	if (n == 2 && !strcmp(arg[0], "key")) return show_key(&o, arg[1]);
	if (n == 2 && !strcmp(arg[0], "sign-key") && !(o.next && o.do_switch)) return show_sign_key(&o, arg[1]);
	if (n == 2 && !strcmp(arg[0], "stream") && !o.do_switch) return show_stream(&o, arg[1]);
	return cmd_usage("repo");
}
