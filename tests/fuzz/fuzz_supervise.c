/* Bytes from the control socket and from the record of slipway-supervise. Nothing is started: the commands that
 * would are given a full table. */
#include <stddef.h>
#include <stdint.h>

#define main supervise_main
int supervise_main(int argc, char **argv);
#include "deploy-hooks/supervise.c"
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
	memset(&s, 0, sizeof s);
	s.logs = "/nonexistent";
	s.stop_waiter = -1;
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++)
		*p = (struct proc){.state = DEAD, .id = "dead", .pidfd = -1, .notify = -1, .console = -1, .waiter = -1};
	memcpy(line, data, size);
	request(&client, line, size);

	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++) p->state = FREE;
	memcpy(line, data, size);
	if (fields_split(line, size, &f) == 0) {
		record_line(&f, "\t"); /* no boot is called so: no process is looked at */
		if (address_parse(f.at[0], &a, &len) == 0 && len == 0) abort();
	}
	for (struct proc *p = s.procs; p < s.procs + MAX_PROCS; p++)
		if (p->state != FREE) proc_free(p);
	return 0;
}
