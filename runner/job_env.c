/* What a job's script is given: CI_* variables, opened secrets, the script itself. The deploy key is not among it:
 * only the publisher opens that. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fs.h"
#include "runner/job.h"
#include "senv/keys.h"
#include "senv/seal.h"

/* What the kernel would not take, or would cut without a word. src: execve(2), MAX_ARG_STRLEN */
static int check_variable(const struct job_secret *s, struct err *e)
{
	enum { MAX_BYTES = 32 * 4096 };

	if (s->value.len && memchr(s->value.data, 0, s->value.len))
		return err_set(e, ERR_INPUT, "the secret '%s' has a zero byte in it, which no variable can", s->name);
	if (strlen(s->name) + s->value.len + 2 > MAX_BYTES)
		return err_set(e, ERR_INPUT, "the secret '%s' has %zu bytes, a variable holds at most %d with its name",
			       s->name, s->value.len, MAX_BYTES - 2);
	return 0;
}

static int open_one(struct job *j, const struct secret *key, size_t at, struct err *e)
{
	const struct plan_env *row = &j->spec.env[at];
	struct job_secret *s;

	j->secrets = xrealloc(j->secrets, (j->nsecrets + 1) * sizeof(*j->secrets));
	s = &j->secrets[j->nsecrets];
	*s = (struct job_secret){.row = at};
	if (seal_open(key, j->repo.name, row->secret_name, &row->chunks, &s->name, &s->value, e))
		return err_wrap(e, "cannot open the secret '%s'", row->secret_name ? row->secret_name : "(unnamed)");
	j->nsecrets++;
	return 0;
}

static void add_given(struct job *j, size_t at, const char *name, const char *value)
{
	struct job_secret *s;

	j->secrets = xrealloc(j->secrets, (j->nsecrets + 1) * sizeof(*j->secrets));
	s = &j->secrets[j->nsecrets++];
	*s = (struct job_secret){.name = xstrdup(name), .row = at};
	secret_set(&s->value, value, strlen(value));
	unsetenv(name); /* what we start beside the container has no use for it */
}

int job_open_secrets(struct job *j, struct err *e)
{
	_cleanup_free_ char *path = home_repo(&j->home, j->repo.id, "key");
	_cleanup_secret_ struct secret key = SECRET_INIT;
	const struct vec *withheld = &j->spec.withheld;

	if (j->event.ev.from_fork) return 0;
	for (size_t i = 0; i < j->spec.nenv; i++) {
		const struct plan_env *row = &j->spec.env[i];
		const char *given = job_exec_given(j, row->secret_name);

		if (row->text || (row->secret_name && vec_has(withheld, row->secret_name))) continue;
		if (given) {
			add_given(j, i, row->secret_name, given);
			continue;
		}
		if (j->exec && j->exec->no_key) {
			j->unopened++;
			continue;
		}
		if (!key.data && key_read(path, &key, e)) return -1;
		if (open_one(j, &key, i, e)) {
			if (j->spec.dialect == PLAN_CI) return -1;
			/* Sealed to Travis's key, most likely: there it would have defined nothing either. */
			j->unopened++;
			continue;
		}
		if (!vec_has(withheld, j->secrets[j->nsecrets - 1].name)) {
			if (check_variable(&j->secrets[j->nsecrets - 1], e)) return -1;
			continue;
		}
		/* A row without a name beside it turned out to be a deploy key: the script does not get it. */
		j->nsecrets--;
		free_p(&j->secrets[j->nsecrets].name);
		secret_release(&j->secrets[j->nsecrets].value);
	}
	return 0;
}

void job_secrets_release(struct job *j)
{
	for (size_t i = 0; i < j->nsecrets; i++) {
		free(j->secrets[i].name);
		secret_release(&j->secrets[i].value);
	}
	free_p(&j->secrets);
	j->nsecrets = 0;
}

int job_secrets_fd(const struct job *j, int *fd_r, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("secrets", MFD_CLOEXEC);

	if (fd < 0) return err_sys(e, "cannot make a file in memory");
	for (size_t i = 0; i < j->nsecrets; i++) {
		const struct job_secret *s = &j->secrets[i];

		if (vec_has(&j->spec.publish.expose, s->name)) continue;
		if (fs_write_all(fd, s->name, strlen(s->name), "secrets", e) ||
		    fs_write_all(fd, "=", 1, "secrets", e) ||
		    fs_write_all(fd, s->value.data, s->value.len, "secrets", e) ||
		    fs_write_all(fd, "", 1, "secrets", e))
			return -1;
	}
	if (lseek(fd, 0, SEEK_SET) < 0) return err_sys(e, "cannot read a file in memory");
	*fd_r = fd;
	fd = -1;
	return 0;
}

int job_mask(const struct job *j, struct mask **m_r, struct err *e)
{
	struct mask *m = mask_new();

	for (size_t i = 0; i < j->nsecrets; i++) {
		const struct job_secret *s = &j->secrets[i];

		if (!mask_add(m, s->value.data, s->value.len) || s->value.len < 4) continue;
		mask_free(&m);
		return err_set(e, ERR_INPUT, "the secret '%s' is too large to be masked in logs", s->name);
	}
	*m_r = m;
	return 0;
}

void job_exports(const struct job *j, struct vec *x)
{
	const struct event *ev = &j->event.ev;
	int pull_request = ev->kind == EVENT_PULL_REQUEST;
	_cleanup_free_ char *build_url = home_build_url(j->build.id, 0);
	_cleanup_free_ char *job_url = home_build_url(j->build.id, j->row.number);

	vec_add(x, "CI=true");
	vec_add(x, "CI_NAME=slipway");
	vec_addf(x, "CI_REPO=%s", j->repo.name);
	vec_addf(x, "CI_EVENT=%s", event_kind_name(ev->kind));
	vec_addf(x, "CI_COMMIT=%s", j->build.commit);
	vec_addf(x, "CI_COMMIT_MESSAGE=%.32768s", j->build.message ? j->build.message : "");
	vec_addf(x, "CI_REF=%s", j->build.ref);
	vec_addf(x, "CI_BRANCH=%s", j->build.branch ? j->build.branch : "");
	vec_addf(x, "CI_TAG=%s", ev->tag ? ev->tag : "");
	if (pull_request)
		vec_addf(x, "CI_PULL_REQUEST=%d", ev->pr_number);
	else
		vec_add(x, "CI_PULL_REQUEST=false");
	vec_addf(x, "CI_BUILD_NUMBER=%d", j->build.number);
	vec_addf(x, "CI_JOB_NUMBER=%d.%d", j->build.number, j->row.number);
	vec_addf(x, "CI_JOB_NAME=%s", j->row.name);
	vec_addf(x, "CI_ATTEMPT=%d", j->row.attempt);
	vec_addf(x, "CI_BUILD_URL=%s", build_url ? build_url : "");
	vec_addf(x, "CI_JOB_URL=%s", job_url ? job_url : "");
	vec_addf(x, "TRAVIS_BUILD_WEB_URL=%s", build_url ? build_url : "");
	vec_addf(x, "TRAVIS_JOB_WEB_URL=%s", job_url ? job_url : "");
	vec_add(x, "CI_SOURCE_DIR=/build");
	vec_addf(x, "CI_EMULATED=%s", j->image.emulated ? "true" : "false");
	vec_addf(x, "CI_SECRETS=%s", ev->from_fork ? "false" : "true");
	job_travis_exports(j, x);
	/* A script of a .travis.yml may have an ARCH of its own. */
	if (j->spec.dialect == PLAN_TRAVIS) return;
	if (j->spec.backend) vec_addf(x, "BACKEND=%s", j->spec.backend);
	vec_addf(x, "ARCH=%s", j->spec.arch ? j->spec.arch : image_host_arch());
}

/* Most images have a PATH of their own. */
static void add_tools(struct vec *env)
{
	const char *own = vec_getenv(env, "PATH");
	_cleanup_free_ char *path = xasprintf("%s%s" JOB_TOOLS_PATH, own, *own ? ":" : "");

	vec_setenv(env, "PATH", path);
}

void job_environment(const struct job *j, struct vec *env)
{
	vec_add(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	vec_add(env, "HOME=/root");
	vec_add(env, "USER=root");
	vec_add(env, "SHELL=/bin/sh");
	vec_add(env, "TERM=dumb");
	vec_add(env, "LANG=C.UTF-8");
	vec_add(env, "TZ=UTC");
	vec_add(env, "DEBIAN_FRONTEND=noninteractive");
	for (size_t i = 0; i < j->image.env.len; i++) {
		const char *row = j->image.env.items[i], *is = strchr(row, '=');
		_cleanup_free_ char *name = xstrndup(row, (unsigned long)(is - row));

		vec_setenv(env, name, is + 1);
	}
	add_tools(env);
	for (size_t i = 0; i < j->nsecrets; i++)
		vec_setenv(env, j->secrets[i].name, (const char *)j->secrets[i].value.data);
}

char *job_script(const struct job *j, char **second_r)
{
	_cleanup_vec_ struct vec exports = VEC_INIT, names = VEC_INIT;
	_cleanup_free_ size_t *rows = xcalloc(j->nsecrets + 1, sizeof(*rows));
	struct script_context cx = {.file = plan_dialect_file(j->spec.dialect),
				    .end_file = JOB_END_PATH,
				    .environment_to = j->exec && j->exec->shell ? JOB_ENVIRONMENT_PATH : NULL};

	job_exports(j, &exports);
	for (size_t i = 0; i < j->nsecrets; i++) {
		vec_add(&names, j->secrets[i].name);
		rows[i] = j->secrets[i].row;
	}
	cx.secret_rows = rows;
	cx.exports = (const char *const *)vec_argv(&exports);
	cx.secret_names = (const char *const *)vec_argv(&names);
	if (j->event.ev.from_fork)
		for (size_t i = 0; i < j->spec.nenv; i++) cx.secrets_removed |= !j->spec.env[i].text;
	return j->spec.network == NETWORK_INSTALL ? script_make_halves(&j->spec, &cx, second_r)
						  : script_make(&j->spec, &cx);
}
