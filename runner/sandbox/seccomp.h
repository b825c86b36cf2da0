#ifndef RUNNER_SANDBOX_SECCOMP_H
#define RUNNER_SANDBOX_SECCOMP_H

#include "lib/buf.h"
#include "lib/err.h"

/* seccomp_filter - the system calls no build needs and an attacker does, refused: a BPF program (struct sock_filter
 * after sock_filter) for this machine's arch and its 32-bit sibling. Under qemu-user it holds for the emulator.
 * src: seccomp(2); a deny-list on top of capabilities and namespaces, not instead of them
 *  err  ERR_SYS libseccomp refuses */
int seccomp_filter(struct buf *bpf_r, struct err *e) MUST_USE;

#endif
