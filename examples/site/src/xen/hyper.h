#ifndef SITE_XEN_HYPER_H
#define SITE_XEN_HYPER_H

#include <stdint.h>

#define HYPER_PAGE 4096

/* The hypervisor below, if it is Xen. Calls of one that is not there must not be made.
 *  src  xen/include/public: xen.h, sched.h, event_channel.h, grant_table.h, memory.h, hvm/hvm_op.h,
 *       hvm/params.h, arch-x86/cpuid.h */

enum { HVM_PARAM_STORE_PFN = 1, HVM_PARAM_STORE_EVTCHN = 2, HVM_PARAM_CONSOLE_PFN = 17, HVM_PARAM_CONSOLE_EVTCHN = 18 };

/* Finds Xen and has it fill in the hypercall page. Returns 1 under Xen. */
int hyper_init(void);
int hyper_is_xen(void);

/* A parameter that the toolstack left for this domain; 0: none. */
uint64_t hyper_param(uint32_t index);

void hyper_console(const char *text, uint32_t len); /* the hypervisor's own log, where it lets guests write there */
void hyper_notify(uint32_t event_channel);
void hyper_yield(void);

/* An event channel that this domain may bind; 0: none could be had. */
uint32_t hyper_channel_for(uint16_t domain);
/* Has something happened on it since it was asked last? */
int hyper_happened(uint32_t event_channel);
/* Sleeps until something happens on one of them, or until that time (of hyper_now_ms; 0: for ever). */
void hyper_wait(const uint32_t *event_channels, uint32_t n, uint64_t until_ms);
uint64_t hyper_now_ms(void); /* since the machine began; needs hyper_share */

/* Shares pages with the hypervisor (time, events) and gets the table of grants. Returns 0 where it refuses. */
int hyper_share(void);
/* Lets a domain use this page of ours. Returns the reference to hand over; 0: there is none left. */
uint32_t hyper_grant(uint16_t domain, const void *page);

_Noreturn void hyper_wait_forever(void);

/* Ends the machine: status 0 as a power-off, anything else as a crash. Under QEMU an isa-debug-exit device at port
 * 0xf4 makes it QEMU's exit status, 2 * status + 1. */
_Noreturn void hyper_end(uint8_t status);

#endif
