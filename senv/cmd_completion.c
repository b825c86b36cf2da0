/* senv completion. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/fs.h"
#include "senv/cmd.h"
#include "senv/complete.h"

int senv_completion(int argc, char **argv)
{
	_cleanup_buf_ struct buf out = BUF_INIT(1 << 20);
	struct err e;

	if (argc != 2) return senv_usage(argv[0]);
	if (!strcmp(argv[1], "bash"))
		complete_bash(senv_commands, &out);
	else if (!strcmp(argv[1], "zsh"))
		complete_zsh(senv_commands, &out);
	else
		return senv_usage(argv[0]);
	if (buf_check(&out, "the script", &e) || fs_write_all(STDOUT_FILENO, buf_str(&out), out.len, "stdout", &e))
		return senv_fail(argv[0], e.text);
	return 0;
}
