/* A state folder and its store. */
#include "runner/place.h"

int place_open(const char *state, struct place *p, struct err *e)
{
	_cleanup_free_ char *db = NULL;

	if (home_open(state, &p->home, e)) return -1;
	db = home_db(&p->home);
	return store_open(db, &p->store, e);
}

void place_release(struct place *p)
{
	store_close(&p->store);
	home_release(&p->home);
}
