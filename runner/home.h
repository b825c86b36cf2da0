#ifndef RUNNER_HOME_H
#define RUNNER_HOME_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/* Where things are on this box. The state folder ("home") is --state, else $SLIPWAY_STATE, else
 * /var/lib/slipway for root, ~/.local/share/slipway for others; the cache (images) is $SLIPWAY_CACHE, else
 * /var/cache/slipway or ~/.cache/slipway. All returned strings are the caller's.
 *
 *   slipway.db  serve.lock  serve.addr  wake  reserve  gc.lock
 *   repos/<id>/{mirror.git,key,sign-key,sign-key.pub,hook-secret,stream-token,deploy-paths,submodule-urls,webhook-urls,
 *              notify-commands,notify-secret,modules/}
 *   jobs/<id>/{lock,log,log.idx,out/,box/}
 *   spare/       a box that waits for a job (spare.h)
 *   trees/       work trees of commits (checkout.h)
 *   publish/     clones of deployment repositories, known_hosts
 */
struct home {
	char *state;
	char *cache;
};

/* home_open - find (flag may be NULL) and make the folders, mode 0700. */
int home_open(const char *flag, struct home *h, struct err *e) MUST_USE;
/* The cache alone. The caller frees. */
int home_cache(char **cache_r, struct err *e) MUST_USE;
void home_release(struct home *h);

char *home_db(const struct home *h);
char *home_repo(const struct home *h, int64_t repo_id, const char *name); /* name NULL: the folder */
char *home_job(const struct home *h, int64_t job_id, const char *name);
char *home_file(const struct home *h, const char *name);

/* home_spread - has folders of jobs lie apart from each other on the disk, where the file system can be told to. */
void home_spread(const struct home *h);

/* The reserve: a file that keeps some megabytes free for the journal and for deleting on a full disk. home_keep_reserve
 * makes it where it is not there and there is room; home_use_reserve gives it up. Neither fails. */
void home_keep_reserve(const struct home *h);
void home_use_reserve(const struct home *h);

/* home_public - out: this box's public address (SLIPWAY_PUBLIC_URL) without a slash at its end; NULL: it has none.
 *  err  ERR_INPUT that is not an http:// or https:// address */
int home_public(char **url_r, struct err *e) MUST_USE;
/* The address of a build, and of one job of it (job_number 0: of none), for people and scripts; NULL: none. */
char *home_build_url(int64_t build_id, int job_number);

/* home_wake - poke the daemon, if one runs: there is something new in the store. Never fails: the daemon also looks
 * by itself. */
void home_wake(const struct home *h);
/* home_wake_place - the same by a job's leader whose box is gone: what is left for it to do is no load on this box. */
void home_wake_place(const struct home *h, int64_t job_id);
/* home_woken - what is in a datagram of those: 0, or the job. */
int64_t home_woken(const char *bytes, size_t len);

#endif
