#ifndef SENV_FORGE_H
#define SENV_FORGE_H

#include "lib/err.h"
#include "lib/secret.h"

/* A value as a secret of a hosted CI, by its API. */
struct forge_push {
	const char *api;            /* base URL, without a slash at its end */
	const struct secret *token; /* of a person or an app that may do it */
	const char *repo;           /* "owner/name"; GitLab: a project's path or number */
	const char *name;           /* the secret's */
	const struct secret *value;
	int protected; /* GitLab: for protected branches and tags only */
};

/* What the forge did with it. */
struct forge_result {
	int replaced; /* it was there already */
	int masked;   /* GitLab: not shown in logs; GitHub always tries */
};

/* forge_github - sealed to the repository's key with crypto_box_seal, so that only GitHub's service reads it.
 *  err  ERR_INPUT a name or value that GitHub does not take; ERR_DENIED, ERR_MISSING, ERR_REMOTE what it answered
 *  src  docs.github.com/rest/actions/secrets, docs.github.com/rest/guides/encrypting-secrets-for-the-rest-api */
int forge_github(const struct forge_push *p, struct forge_result *result_r, struct err *e) MUST_USE;

/* forge_gitlab - as it is, over https. Masked where GitLab can: one line of 8 or more of its characters.
 *  err  as above
 *  src  docs.gitlab.com/api/project_level_variables */
int forge_gitlab(const struct forge_push *p, struct forge_result *result_r, struct err *e) MUST_USE;

#endif
