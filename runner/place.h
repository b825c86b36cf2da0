#ifndef RUNNER_PLACE_H
#define RUNNER_PLACE_H

#include "lib/err.h"
#include "runner/home.h"
#include "runner/store/store.h"

/* A state folder and its store, as most commands need them. */
struct place {
	struct home home;
	struct store *store;
};
#define PLACE_INIT                                                                                                     \
	{                                                                                                              \
		{0}, NULL                                                                                              \
	}
#define _cleanup_place_ __attribute__((cleanup(place_release)))

/* state: the --state flag, NULL where it was not given */
int place_open(const char *state, struct place *p, struct err *e) MUST_USE;
void place_release(struct place *p);

#endif
