/* The environment that scripts written for Travis CI look at: a script of 2014 runs unchanged.
 *  src  docs.travis-ci.com, environment variables; travis-ci/travis-build: env/builtin */
#include <string.h>

#include "runner/job.h"

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

static const char *axis(const struct job_spec *spec, const char *name, const char *otherwise)
{
	for (size_t i = 0; i < spec->naxes; i++)
		if (!strcmp(spec->axes[i].name, name)) return spec->axes[i].value;
	return otherwise;
}

static void event_exports(const struct job *j, struct vec *x)
{
	const struct event *ev = &j->event.ev;
	int pull_request = ev->kind == EVENT_PULL_REQUEST;
	int range = ev->before && ev->commit && !event_commit_is_zero(ev->before);

	vec_addf(x, "TRAVIS_EVENT_TYPE=%s", event_kind_name(ev->kind));
	if (pull_request)
		vec_addf(x, "TRAVIS_PULL_REQUEST=%d", ev->pr_number);
	else
		vec_add(x, "TRAVIS_PULL_REQUEST=false");
	vec_addf(x, "TRAVIS_PULL_REQUEST_BRANCH=%s", pull_request ? or_empty(ev->head_branch) : "");
	vec_addf(x, "TRAVIS_PULL_REQUEST_SHA=%s", pull_request ? or_empty(ev->head_commit) : "");
	vec_addf(x, "TRAVIS_PULL_REQUEST_SLUG=%s", pull_request ? or_empty(ev->head_repo) : "");
	vec_addf(x, "TRAVIS_PULL_REQUEST_IS_DRAFT=%s", pull_request ? "false" : "");
	vec_addf(x, "TRAVIS_TAG=%s", or_empty(ev->tag));
	vec_addf(x, "TRAVIS_SECURE_ENV_VARS=%s", ev->from_fork || !j->nsecrets ? "false" : "true");
	if (range)
		vec_addf(x, "TRAVIS_COMMIT_RANGE=%.12s...%.12s", ev->before, ev->commit);
	else
		vec_add(x, "TRAVIS_COMMIT_RANGE=");
}

static void machine_exports(const struct job *j, struct vec *x)
{
	const char *arch = j->spec.arch ? j->spec.arch : image_host_arch();

	vec_addf(x, "TRAVIS_LANGUAGE=%s", axis(&j->spec, "language", "generic"));
	vec_addf(x, "TRAVIS_DIST=%s", axis(&j->spec, "dist", ""));
	vec_addf(x, "TRAVIS_CPU_ARCH=%s", arch);
	vec_addf(x, "TRAVIS_ARCH=%s", arch);
	vec_add_all(x, (const char *const[]){"TRAVIS_OS_NAME=linux", "TRAVIS_OSX_IMAGE=", "TRAVIS_SUDO=true",
					     "TRAVIS_INIT=", "TRAVIS_ROOT=/", "TRAVIS_HOME=/root", "TRAVIS_TMPDIR=/tmp",
					     "TRAVIS_BUILD_DIR=/build", NULL});
}

void job_travis_exports(const struct job *j, struct vec *x)
{
	vec_add_all(x, (const char *const[]){"TRAVIS=true", "CONTINUOUS_INTEGRATION=true", "PAGER=cat",
					     "HAS_JOSH_K_SEAL_OF_APPROVAL=true", "TRAVIS_REPO_PRIVATE=false", NULL});
	vec_addf(x, "TRAVIS_REPO_SLUG=%s", j->repo.name);
	vec_addf(x, "TRAVIS_BRANCH=%s", or_empty(j->build.branch));
	vec_addf(x, "TRAVIS_COMMIT=%s", j->build.commit);
	vec_addf(x, "TRAVIS_COMMIT_MESSAGE=%.32768s", or_empty(j->build.message));
	vec_addf(x, "TRAVIS_BUILD_ID=%lld", (long long)j->build.id);
	vec_addf(x, "TRAVIS_BUILD_NUMBER=%d", j->build.number);
	vec_addf(x, "TRAVIS_BUILD_STAGE_NAME=%s", or_empty(j->spec.stage));
	vec_addf(x, "TRAVIS_JOB_ID=%lld", (long long)j->row.id);
	vec_addf(x, "TRAVIS_JOB_NAME=%s", j->row.name);
	vec_addf(x, "TRAVIS_JOB_NUMBER=%d.%d", j->build.number, j->row.number);
	vec_addf(x, "TRAVIS_JOB_RESTARTED=%s", j->row.attempt > 1 ? "true" : "false");
	vec_addf(x, "TRAVIS_ALLOW_FAILURE=%s", j->spec.allow_failure ? "true" : "false");
	event_exports(j, x);
	machine_exports(j, x);
}
