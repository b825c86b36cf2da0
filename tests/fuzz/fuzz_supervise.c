/* Bytes from the control socket and from the record of slipway-supervise. Nothing is started: the commands that
 * would are given a full table. */
#include <stddef.h>
#include <stdint.h>

#define main supervise_main
int supervise_main(int argc, char **argv);
#include "deploy-hooks/supervise/control.c"
#include "deploy-hooks/supervise/main.c"
#include "deploy-hooks/supervise/proc.c"
#include "deploy-hooks/supervise/swap.c"
#include "deploy-hooks/supervise/takeover.c"
#include "deploy-hooks/supervise/text.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char line[MAX_LINE + 1];
	struct fields f;
	struct sockaddr_storage a;
	socklen_t len;
	int client = -1;
	if (size > MAX_LINE) return 0;
	memset(&sup, 0, sizeof sup);
	sup.logs = "/nonexistent";
	sup.stop_waiter = -1;
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++)
		*p = (struct proc){.state = DEAD, .id = "dead", .pidfd = -1, .notify = -1, .console = -1, .waiter = -1};
	memcpy(line, data, size);
	request(&client, line, size);

	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++) p->state = FREE;
	memcpy(line, data, size);
	if (fields_split(line, size, &f) == 0) {
		record_line(&f, "\t"); /* no boot is called so: no process is looked at */
		if (address_parse(f.at[0], &a, &len) == 0 && len == 0) abort();
	}
	for (struct proc *p = sup.procs; p < sup.procs + MAX_PROCS; p++)
		if (p->state != FREE) proc_free(p);
	return 0;
}
