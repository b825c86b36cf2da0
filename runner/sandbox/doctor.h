#ifndef RUNNER_SANDBOX_DOCTOR_H
#define RUNNER_SANDBOX_DOCTOR_H

#include <stdio.h>

/* `runner doctor`: what this host lacks for containers; one line each with the exact command that mends it.
 * With fix, those that are safe are carried out (as root, or by sudo where it asks for no password).
 *  in   cache  the folder where images will be, for its room
 * Returns the exit status: 0 all that is needed is there, 1 something needed is missing (wanted-only lacks are 0). */
int doctor_run(FILE *out, int fix, const char *cache);

#endif
