#ifndef SENV_COMPLETE_H
#define SENV_COMPLETE_H

#include "lib/buf.h"
#include "senv/cmd.h"

/* Completion scripts for shells, made from the command table: options, their choices, where files belong. */
void complete_bash(const struct command *commands, struct buf *out);
void complete_zsh(const struct command *commands, struct buf *out);

#endif
