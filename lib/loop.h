#ifndef LIB_LOOP_H
#define LIB_LOOP_H

#include <signal.h>
#include <stdint.h>

#include "lib/err.h"

/* One poll loop per process: descriptors, monotonic timers, signals (by signalfd). Callbacks may add and
 * remove anything, themselves included. */
struct loop;

typedef void loop_fd_fn(int fd, short revents, void *arg);
typedef void loop_timer_fn(void *arg);
typedef void loop_signal_fn(int sig, void *arg);

struct loop *loop_new(void);
void loop_free(struct loop **l);

/* loop_fd - call fn whenever one of `events` (POLLIN, POLLOUT) or an error is pending; replaces what was set
 * for this fd. The descriptor stays the caller's. */
void loop_fd(struct loop *l, int fd, short events, loop_fd_fn *fn, void *arg);
void loop_fd_remove(struct loop *l, int fd);

/* loop_timer - call fn once, delay_ms from now. Returns an id > 0 for loop_timer_cancel (0 is ignored there). */
uint64_t loop_timer(struct loop *l, int64_t delay_ms, loop_timer_fn *fn, void *arg);
void loop_timer_cancel(struct loop *l, uint64_t id);

/* loop_signal - block sig and deliver it in the loop instead. Call before other threads start. */
int loop_signal(struct loop *l, int sig, loop_signal_fn *fn, void *arg, struct err *e) MUST_USE;

/* Readable while a signal of loop_signal() waits: for one who must block elsewhere for a moment. -1: none. */
int loop_signal_fd(const struct loop *l);

/* loop_turn - what is pending now is handled, nothing is waited for. */
int loop_turn(struct loop *l, struct err *e) MUST_USE;
/* loop_run - until loop_stop(). err ERR_SYS when poll itself fails */
int loop_run(struct loop *l, struct err *e) MUST_USE;
void loop_stop(struct loop *l);

#endif
