#ifndef DEPLOY_HOOKS_SUPERVISE_H
#define DEPLOY_HOOKS_SUPERVISE_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* Shared by the files of slipway-supervise alone; main.c says what it is. Data flows text → control → proc/swap, and
 * takeover writes and reads the record of it. */

enum {
	MAX_PROCS = 16,
	MAX_FIELDS = 40,
	MAX_LINE = 4096,
	MAX_CLIENTS = 8,
	CONSOLE_MAX = 8 << 20,
	CONSOLE_KEEP = 64 << 10,
};

enum state { FREE, TRIAL, DEAD, NEXT, LIVE, DRAIN };

struct proc {
	enum state state;
	char id[65];
	char args[MAX_LINE]; /* image and arguments, each ended by NUL */
	int argc;
	pid_t pid;                          /* 0: none now */
	uint64_t start;                     /* the kernel's start time: pid and start name a process for good */
	int pidfd, notify, console, waiter; /* -1: none; waiter: the client that asked for the switch */
	int notifies, ready, port, killed;
	int64_t at_ms, since_ms; /* when to look again (0: never); when it became what it is */
	unsigned restarts, quick;
	char ended[40];
};

/* The one supervisor of this process. Descriptors: -1 for none. */
extern struct supervisor {
	struct proc procs[MAX_PROCS];
	struct client {
		int fd;
		int64_t since_ms;
	} clients[MAX_CLIENTS];
	const char *control, *name; /* the control socket's path and last component */
	char address[80];
	int dir, lock, live, ctl, sig, guard, guard_pipe, stopping, stop_waiter, daemon;
	int64_t guard_at_ms;
	const char *logs;
	long settle_ms, ready_ms, drain_ms, uid, gid;
} sup;

/* --- text.c --- */

struct fields {
	int n;
	char *at[MAX_FIELDS];
};

int64_t now_ms(void);
void say(const char *f, ...) __attribute__((format(printf, 1, 2)));
void die(const char *f, ...) __attribute__((noreturn, format(printf, 1, 2)));
void shut(int *fd);
/* One packet back to a client, which is then let go of. Always 0. */
int answer(int *fd, const char *f, ...) __attribute__((format(printf, 2, 3)));
int fields_split(char *line, size_t len, struct fields *f);
int id_ok(const char *id);
int number(const char *text, long min, long max, long *n_r);
int address_parse(const char *text, struct sockaddr_storage *a, socklen_t *len_r);

/* --- proc.c --- */

struct proc *proc_find(enum state state, const char *id); /* id NULL: any */
/* NULL: the table is full or the arguments are too long. */
struct proc *proc_new(enum state state, const char *id, char *const argv[], int argc);
void proc_free(struct proc *p);
int proc_start(struct proc *p, int sock);
void proc_stop(struct proc *p); /* TERM, and KILL when the drain time is over */
uint64_t start_time(pid_t pid);
void console_open(struct proc *p);
void console_trim(int fd);
const char *console_tail(const struct proc *p); /* of this call until the next */

/* --- swap.c --- */

void proc_died(struct proc *p, const siginfo_t *info);
void proc_notified(struct proc *p);
void proc_due(struct proc *p);

/* --- control.c --- */

void control_open(const char *path);
void clients_accept(void);
void client_read(int *client);
int main_ctl(int argc, char **argv);

/* --- takeover.c --- */

extern const char *const state_names[];

void record_write(void);
void record_read(void);
void guard_start(void);
void live_open(const char *text);

#endif
