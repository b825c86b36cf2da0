#ifndef RUNNER_STORE_SCHEMA_H
#define RUNNER_STORE_SCHEMA_H

#include "runner/store/db.h"

/* schema_migrate - bring the database to the newest schema, one transaction for each step.
 *  err ERR_INPUT a newer schema than this program knows, or not a store at all */
int schema_migrate(struct db *db, const char *path, struct err *e) MUST_USE;

#endif
