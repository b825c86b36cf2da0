/* What `runner exec` is to build: the snapshot, its file planned by the planner of pushed builds, the jobs that were
 * asked for, and the rows that leaders work from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "lib/num.h"
#include "runner/deploypath.h"
#include "runner/exec.h"
#include "runner/place.h"
#include "runner/plan/config.h"
#include "runner/publish/remote.h"
#include "runner/rows.h"
#include "runner/sandbox/image.h"
#include "runner/store/mirror.h"
#include "runner/trigger/git.h"
#include "senv/keys.h"

static const char kept_ref[] = "refs/slipway/events/1";

/* --- names --- */

/* "owner/name" at the end of a URL; NULL: there is none. The caller frees. */
static char *repo_of_url(const char *url)
{
	_cleanup_free_ char *text = url ? xstrdup(url) : NULL;
	size_t n = text ? strlen(text) : 0, slashes = 0;

	while (n && text[n - 1] == '/') text[--n] = '\0';
	if (n > 4 && !strcmp(text + n - 4, ".git")) text[n -= 4] = '\0';
	while (n && (text[n - 1] != '/' || ++slashes < 2) && text[n - 1] != ':') n--;
	return text && event_repo_ok(text + n) ? xstrdup(text + n) : NULL;
}

static char *repo_of_folder(const char *top)
{
	const char *slash = strrchr(top, '/');
	char *name = xasprintf("local/%s", slash ? slash + 1 : top);

	if (event_repo_ok(name)) return name;
	free(name);
	return xstrdup("local/folder");
}

static int name_all(struct exec *x, struct err *e)
{
	const struct exec_options *o = &x->o;

	if (o->repo && !event_repo_ok(o->repo)) return err_set(e, ERR_INPUT, "'%s' is not OWNER/NAME", o->repo);
	x->repo = o->repo ? xstrdup(o->repo) : repo_of_url(x->snapshot.origin);
	if (!x->repo) x->repo = repo_of_folder(x->snapshot.top);
	if (o->cx.branch)
		x->branch = xstrdup(o->cx.branch);
	else if (x->snapshot.branch && !o->commit)
		x->branch = xstrdup(x->snapshot.branch);
	else
		x->branch = xstrdup(o->cx.dialect == PLAN_TRAVIS ? "master" : "main");
	return 0;
}

/* --- the file --- */

static int read_named(const struct exec_options *o, struct buf *b, struct err *e)
{
	return strcmp(o->file, "-") ? fs_read_file(o->file, b, e) : fs_read_fd(STDIN_FILENO, "standard input", b, e);
}

static int read_one(const struct exec *x, const char *name, struct buf *b, struct err *e)
{
	_cleanup_free_ char *mirror = home_repo(&x->home, 1, "mirror.git");
	_cleanup_free_ char *path = xasprintf("%s/%s", x->snapshot.top, name);

	if (x->o.commit) return mirror_file(mirror, x->snapshot.commit, name, b, e);
	return fs_read_file(path, b, e);
}

/* Of the working tree as it lies there: a file that git is told to ignore counts too. */
static int read_config(struct exec *x, struct buf *b, const char **name_r, struct err *e)
{
	struct exec_options *o = &x->o;
	struct err first;

	if (o->file) {
		if (read_named(o, b, e)) return -1;
		o->cx.dialect = strcmp(o->file, "-") ? plan_dialect_of(o->file, buf_str(b), b->len) : PLAN_CI;
		*name_r = strcmp(o->file, "-") ? o->file : "<stdin>";
		return 0;
	}
	o->cx.dialect = PLAN_CI;
	*name_r = plan_dialect_file(PLAN_CI);
	if (!read_one(x, *name_r, b, &first)) return 0;
	*e = first;
	if (first.kind != ERR_MISSING) return -1;
	o->cx.dialect = PLAN_TRAVIS;
	*name_r = plan_dialect_file(PLAN_TRAVIS);
	buf_clear(b);
	if (!read_one(x, *name_r, b, &first)) return 0;
	if (first.kind == ERR_MISSING) return -1;
	*e = first;
	return -1;
}

static int make_plan(struct exec *x, struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT(PLAN_MAX_FILE_BYTES);
	struct plan_problems problems = {0};
	_cleanup_free_ char *text = NULL;
	struct plan_context *cx = &x->o.cx;
	const char *name;
	int failed;

	if (read_config(x, &b, &name, e) || name_all(x, e)) return -1;
	/* A branch that was not asked for by name leaves nothing out: who says exec means it. */
	cx->any_branch = !cx->branch;
	cx->branch = x->branch;
	cx->repo = x->repo;
	cx->settings = (const char *const *)vec_argv(&x->o.settings);
	failed = plan_make(name, buf_str(&b), b.len, cx, &x->plan, &problems, e);
	text = plan_problems_text(&problems, name, 1);
	fputs(text, stderr);
	plan_problems_release(&problems);
	if (failed) return -1;
	if (x->plan.njobs) return 0;
	return err_set(e, ERR_INPUT,
		       x->plan.left_out ? "%s: the branches rules leave out '%s'"
					: "%s: conditions and rules leave no job (of '%s')",
		       name, x->branch);
}

/* --- choosing --- */

/* A value as it stands in env, without the quotes around it. */
static int value_is(const struct env_var *v, const char *want, size_t n)
{
	const char *p = v->value;
	size_t len = v->value_len;

	if (len == n && !memcmp(p, want, n)) return 1;
	if (len < 2 || (*p != '"' && *p != '\'') || p[len - 1] != *p) return 0;
	return len - 2 == n && !memcmp(p + 1, want, n);
}

static int env_has(const struct job_spec *j, const char *name, size_t name_len, const char *want, size_t n)
{
	int found = 0;

	for (size_t i = 0; i < j->nenv; i++) {
		const char *at = j->env[i].text, *why = NULL;
		struct env_var v;

		while (at && env_text_next(&at, &v, &why) > 0) /* the last one counts */
			if (v.name_len == name_len && !memcmp(v.name, name, name_len)) found = value_is(&v, want, n);
	}
	return found;
}

static int is_word(const char *have, const char *want, size_t n)
{
	return have && strlen(have) == n && !memcmp(have, want, n);
}

/* One KEY=VALUE: backend, arch, name, stage, a further axis, or a variable. */
static int fits(const struct job_spec *j, const char *key, size_t len, const char *want, size_t n)
{
	if (is_word("backend", key, len) && j->backend) return is_word(j->backend, want, n);
	if (is_word("arch", key, len)) return is_word(j->arch ? j->arch : image_host_arch(), want, n);
	if (is_word("name", key, len)) return is_word(j->name, want, n);
	if (is_word("stage", key, len)) return is_word(j->stage, want, n);
	for (size_t i = 0; i < j->naxes; i++)
		if (is_word(j->axes[i].name, key, len)) return is_word(j->axes[i].value, want, n);
	return env_has(j, key, len, want, n);
}

/* All parts of "KEY=VALUE,KEY=VALUE". -1: it is not that */
static int fits_all(const struct job_spec *j, const char *only)
{
	int all = 1;

	for (const char *p = only; *p;) {
		size_t n = strcspn(p, ","), key = strcspn(p, "=");

		if (!key || key >= n) return -1;
		all &= fits(j, p, key, p + key + 1, n - key - 1);
		p += n + (p[n] == ',');
	}
	return *only ? all : -1;
}

/* For one --only or --job: the jobs that it means are marked. */
static int mark(const struct exec *x, const char *only, int number, int *wanted, struct err *e)
{
	int any = 0, got;

	for (size_t i = 0; i < x->plan.njobs; i++) {
		got = only ? fits_all(&x->plan.jobs[i], only) : x->plan.jobs[i].number == number;
		if (got < 0) return err_set(e, ERR_INPUT, "--only takes KEY=VALUE[,KEY=VALUE]..., not '%s'", only);
		wanted[i] |= got;
		any |= got;
	}
	if (any) return 0;
	if (only) return err_set(e, ERR_INPUT, "there is no job with %s; `runner plan` lists them", only);
	return err_set(e, ERR_INPUT, "there is no job %d; `runner plan` lists them", number);
}

int exec_choose(const struct exec *x, const char **left_out, struct err *e)
{
	const struct exec_options *o = &x->o;
	_cleanup_free_ int *wanted = xcalloc(x->plan.njobs, sizeof(*wanted));

	for (size_t i = 0; i < o->only.len; i++)
		if (mark(x, o->only.items[i], 0, wanted, e)) return -1;
	for (size_t i = 0; i < o->jobs.len; i++) {
		int number;

		if (num_parse_int(o->jobs.items[i], 1, PLAN_MAX_JOBS, &number))
			return err_set(e, ERR_INPUT, "'%s' is no job's number", o->jobs.items[i]);
		if (mark(x, NULL, number, wanted, e)) return -1;
	}
	for (size_t i = 0; i < x->plan.njobs; i++)
		left_out[i] = !o->only.len && !o->jobs.len ? NULL : wanted[i] ? NULL : EXEC_LEFT_OUT;
	return 0;
}

/* --- what a person's build has of its own --- */

static struct plan_env *add_row(struct job_spec *j)
{
	j->env = xrealloc(j->env, (j->nenv + 1) * sizeof(*j->env));
	j->env[j->nenv] = (struct plan_env){0};
	return &j->env[j->nenv++];
}

/* Behind the file's own rows, so that these count. */
static int add_env(const struct exec_options *o, struct job_spec *j, struct err *e)
{
	for (size_t i = 0; i < o->env.len; i++) {
		const char *text = o->env.items[i], *eq = strchr(text, '=');
		_cleanup_free_ char *name = eq ? xstrndup(text, (size_t)(eq - text)) : NULL;
		char *assignment = name && !bad_name(name) ? env_assignment(name, eq + 1) : NULL;

		if (!assignment) return err_set(e, ERR_INPUT, "--env takes NAME=VALUE, not '%s'", text);
		add_row(j)->text = assignment;
	}
	return 0;
}

static void add_secrets(const struct exec_options *o, struct job_spec *j)
{
	for (size_t i = 0; i < o->secret.len; i++) {
		int there = 0;

		for (size_t k = 0; k < j->nenv && !there; k++)
			there = j->env[k].secret_name && !strcmp(j->env[k].secret_name, o->secret.items[i]);
		if (!there) add_row(j)->secret_name = xstrdup(o->secret.items[i]);
	}
}

/* Nothing is published that was not asked for, and then only what has a commit that others can have too. */
static int settle_publish(struct exec *x, struct job_spec *j, struct err *e)
{
	const struct exec_options *o = &x->o;

	if (o->output)
		for (size_t i = 0; i < j->publish.files.len; i++)
			if (!vec_has(&j->artifacts, j->publish.files.items[i]))
				vec_add(&j->artifacts, j->publish.files.items[i]);
	if (!o->publish) {
		x->would_publish[j - x->plan.jobs] = j->publish.repo != NULL;
		free_p(&j->publish.repo);
	}
	if (!j->publish.repo) return 0;
	if (x->snapshot.changed)
		return err_set(e, ERR_INPUT,
			       "--publish of changes that are not committed: nobody could say what the image was made "
			       "from; commit them, or build --commit HEAD");
	if (j->publish.key && !o->key && !o->state)
		return err_set(e, ERR_INPUT, "--publish needs the key that opens '%s': give --key FILE",
			       j->publish.key);
	return 0;
}

/* The person who says --publish means the repositories that the file names, on this box too. */
static int allow_path(const struct exec *x, int64_t repo_id, const struct job_spec *j, struct err *e)
{
	_cleanup_remote_ struct remote where = {.kind = REMOTE_PATH};
	_cleanup_free_ char *real = NULL;

	if (!j->publish.repo) return 0;
	if (remote_parse(j->publish.repo, &where, e)) return -1;
	if (where.kind != REMOTE_PATH) return 0;
	if (deploypath_real(&x->home, j->publish.repo, &real, e)) return -1;
	return deploypath_allow(&x->home, repo_id, real, e);
}

static int own_settings(struct exec *x, int64_t repo_id, struct err *e)
{
	x->would_publish = xcalloc(x->plan.njobs, sizeof(*x->would_publish));
	for (size_t i = 0; i < x->plan.njobs; i++) {
		struct job_spec *j = &x->plan.jobs[i];

		if (add_env(&x->o, j, e) || settle_publish(x, j, e) || allow_path(x, repo_id, j, e)) return -1;
		add_secrets(&x->o, j);
	}
	return 0;
}

/* Links, not copies: a killed exec leaves no key behind. What is not there is not missed. */
static int link_to(const char *from, const char *to, struct err *e)
{
	if (!fs_exists(from)) return 0;
	return symlink(from, to) ? err_sys(e, "cannot make '%s'", to) : 0;
}

/* What a runner on this box has for the repository of this name: its keys, and the owner's word on addresses. */
static int borrow_runner(const struct exec *x, int64_t repo_id, char **key_r, struct err *e)
{
	static const char *const of_home[] = {"job-allow-addresses", "job-refuse-addresses"};
	_cleanup_place_ struct place p = PLACE_INIT;
	__attribute__((cleanup(repo_release))) struct repo repo = {0};
	_cleanup_free_ char *db = xasprintf("%s/slipway.db", x->o.state), *sign = NULL;
	_cleanup_free_ char *our_sign = home_repo(&x->home, repo_id, "sign-key");

	if (!fs_exists(db)) return err_set(e, ERR_MISSING, "'%s' is no runner's state folder", x->o.state);
	if (place_open(x->o.state, &p, e) || store_repo_find(p.store, x->repo, &repo, e)) return -1;
	sign = home_repo(&p.home, repo.id, "sign-key");
	if (link_to(sign, our_sign, e)) return -1;
	for (size_t i = 0; i < ARRAY_LEN(of_home); i++) {
		_cleanup_free_ char *from = home_file(&p.home, of_home[i]), *to = home_file(&x->home, of_home[i]);

		if (link_to(from, to, e)) return -1;
	}
	*key_r = home_repo(&p.home, repo.id, "key");
	return 0;
}

static int link_keys(const struct exec *x, int64_t repo_id, int *found_r, struct err *e)
{
	_cleanup_free_ char *path = NULL, *link = home_repo(&x->home, repo_id, "key");
	_cleanup_secret_ struct secret key = SECRET_INIT;
	const struct exec_options *o = &x->o;

	if (o->state && borrow_runner(x, repo_id, &path, e)) return -1;
	if (o->key) {
		free_p(&path);
		path = realpath(o->key, NULL);
		if (!path) return err_sys(e, "cannot open key '%s'", o->key);
	}
	if (!path) return 0;
	*found_r = 1;
	if (key_read(path, &key, e)) return -1;
	return link_to(path, link, e);
}

static int tell_leaders(const struct exec *x, int has_key, struct err *e)
{
	_cleanup_free_ char *path = home_file(&x->home, "exec.json"), *text = NULL;
	_cleanup_json_ json_t *given = json_array(), *json = NULL;

	for (size_t i = 0; i < x->o.secret.len; i++)
		if (json_array_append_new(given, json_string(x->o.secret.items[i]))) die("a name that is not UTF-8");
	json = json_pack("{s:b, s:b, s:O}", "key", has_key, "shell", x->o.shell, "given", given);
	text = json_text(json);
	return fs_write_file(path, text, strlen(text), 0600, e);
}

/* --- rows --- */

static void set_event(const struct exec *x, struct event *ev)
{
	const struct plan_context *cx = &x->o.cx;

	ev->kind = cx->kind;
	ev->source = EVENT_FROM_PERSON;
	ev->repo = xstrdup(x->repo);
	ev->delivery = event_new_delivery();
	ev->sender = event_text(getenv("USER"), EVENT_NAME_MAX);
	ev->commit = xstrdup(x->snapshot.commit);
	if (cx->kind == EVENT_PULL_REQUEST) {
		ev->pr_number = 1;
		ev->ref = xstrdup("refs/pull/1/merge");
		ev->branch = xstrdup(x->branch);
		ev->head_branch = x->snapshot.branch ? xstrdup(x->snapshot.branch) : NULL;
		ev->head_commit = xstrdup(x->snapshot.commit);
		ev->head_repo = xstrdup(x->repo);
	} else {
		_cleanup_free_ char *ref =
			cx->tag ? xasprintf("refs/tags/%s", cx->tag) : xasprintf("refs/heads/%s", x->branch);

		event_set_ref(ev, ref);
	}
}

static int add_rows(struct exec *x, int64_t repo_id, struct err *e)
{
	__attribute__((cleanup(event_release))) struct event ev = {0};
	_cleanup_free_ char *mirror = home_repo(&x->home, repo_id, "mirror.git");
	_cleanup_free_ const char **left_out = xcalloc(x->plan.njobs, sizeof(*left_out));
	int64_t event;

	set_event(x, &ev);
	if (!event_ref_ok(ev.ref)) return err_set(e, ERR_INPUT, "bad name '%s'", ev.ref);
	if (git_message(mirror, ev.commit, &ev.message, e)) return -1;
	if (store_event_add(x->store, &ev, clock_unix_ms(), &event, e) < 0) return -1;
	if (exec_choose(x, left_out, e)) return -1;
	return rows_add(x->store, event, &x->plan, NULL, left_out, &x->build_id, e) < 0 ? -1 : 0;
}

int exec_plan(struct exec *x, struct err *e)
{
	_cleanup_free_ char *mirror = home_repo(&x->home, 1, "mirror.git"), *db = home_db(&x->home);
	struct snapshot_want want = {
		.dir = ".", .commit = x->o.commit, .bare = mirror, .scratch = x->home.state, .ref = kept_ref};
	int64_t repo_id;
	int has_key = 0;

	if (snapshot_take(&want, &x->snapshot, e) || make_plan(x, e) || store_open(db, &x->store, e) ||
	    store_repo_add(x->store, x->repo, x->snapshot.top, clock_unix_ms(), &repo_id, e))
		return -1;
	if (repo_id != 1) die("a new store's first repository is %lld", (long long)repo_id);
	if (own_settings(x, repo_id, e) || link_keys(x, repo_id, &has_key, e) || tell_leaders(x, has_key, e)) return -1;
	return add_rows(x, repo_id, e);
}
