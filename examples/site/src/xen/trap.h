#ifndef SITE_XEN_TRAP_H
#define SITE_XEN_TRAP_H

/* From here on a processor exception is told on the console and ends the machine as a crash. */
void trap_init(void);

#endif
