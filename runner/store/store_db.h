#ifndef RUNNER_STORE_STORE_DB_H
#define RUNNER_STORE_STORE_DB_H

#include "runner/store/db.h"
#include "runner/store/store.h"

/* What the files of the store share. */
struct store {
	struct db *db;
};

/* A word of our own schema that is in no table: the file was written by something else. */
int store_bad_word(const char *what, const char *word, struct err *e);

/* store_array - room for one more row; the array doubles. */
void *store_array(void *rows, size_t n, size_t row_bytes);

#endif
