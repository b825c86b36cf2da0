#!/bin/sh
# Driver for unikernels of Solo5's spt target: a process with a dozen system calls.
# shellcheck disable=SC2034 # kind: shared with solo5.sh
set -u
kind=spt
# shellcheck source-path=SCRIPTDIR/.. source=solo5.sh
. "$SCRIPTS/solo5.sh"
machine_main "$@"
