#ifndef SITE_XEN_CONSOLE_H
#define SITE_XEN_CONSOLE_H

#include <stdint.h>

/* Text for whoever watches the machine: Xen's paravirtual console, or the first serial port where there is no Xen. */

void console_init(void);
void console_put(const char *text); /* '\n' ends a line */
void console_number(uint64_t n);
void console_hex(uint64_t n);

#endif
