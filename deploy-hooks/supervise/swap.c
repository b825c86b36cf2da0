/* What happens to the processes: one is ready, one has died, a time is over. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>

#include "supervise.h"

static void promote(struct proc *p)
{
	struct proc *old = proc_find(LIVE, NULL), *trial = proc_find(TRIAL, p->id);
	p->state = LIVE;
	p->at_ms = 0;
	p->since_ms = now_ms();
	if (old != NULL) old->state = DRAIN;
	record_write();
	if (old != NULL) proc_stop(old);
	if (trial != NULL) proc_stop(trial);
	say("live: %s, process %d", p->id, (int)p->pid);
	answer(&p->waiter, "ok %d", (int)p->pid);
}

static void live_again(struct proc *p)
{
	if (proc_start(p, sup.live) == 0) return;
	say("cannot start '%s': %s", p->args, strerror(errno));
	p->at_ms = now_ms() + 2000;
}

void proc_died(struct proc *p, const siginfo_t *info)
{
	static const long wait_ms[] = {0, 100, 200, 500, 1000, 2000, 5000};
	if (info->si_pid == 0)
		snprintf(p->ended, sizeof p->ended, "ended"); /* adopted: its status went elsewhere */
	else
		snprintf(p->ended, sizeof p->ended, "%s %d",
			 info->si_code == CLD_EXITED ? "exited with" : "killed by signal", info->si_status);
	shut(&p->pidfd);
	p->pid = 0;
	if (p->state == DRAIN) {
		say("stopped: %s, %s", p->id, p->ended);
		proc_free(p);
	} else if (p->state == NEXT) {
		answer(&p->waiter, "error '%s' %s before it was ready; its console ends:\n%s", p->id, p->ended,
		       console_tail(p));
		proc_free(p);
	} else if (p->state == LIVE) {
		p->quick = now_ms() - p->since_ms > 10000 ? 0 : p->quick + 1;
		p->restarts++;
		long wait = wait_ms[p->quick < 7 ? p->quick : 6];
		p->at_ms = now_ms() + wait;
		say("live: %s %s; started again in %ld ms", p->id, p->ended, wait);
	} else {
		p->state = DEAD;
	}
	record_write();
}

void proc_notified(struct proc *p)
{
	char text[512], space[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec io = {text, sizeof text - 1};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
	ssize_t n = recvmsg(p->notify, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c == NULL || c->cmsg_type != SCM_CREDENTIALS) return;
	struct ucred who;
	memcpy(&who, CMSG_DATA(c), sizeof who);
	text[n] = '\0';
	/* Abstract names are open to every process of the host: only the image itself speaks for itself. */
	if (who.pid != p->pid || (strncmp(text, "READY=1", 7) != 0 && strstr(text, "\nREADY=1") == NULL)) return;
	p->notifies = p->ready = 1;
	if (p->state == NEXT) promote(p);
}

void proc_due(struct proc *p)
{
	p->at_ms = 0;
	if (p->state == LIVE && p->pid == 0) {
		live_again(p);
	} else if (p->state == NEXT && !p->notifies) {
		promote(p);
	} else if (p->state == NEXT) {
		answer(&p->waiter, "error '%s' did not say READY=1 within %ld s; its console ends:\n%s", p->id,
		       sup.ready_ms / 1000, console_tail(p));
		proc_stop(p);
	} else if (p->state == DRAIN) {
		say("stopping: %s does not end within %ld s, killed", p->id, sup.drain_ms / 1000);
		pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
	}
}
