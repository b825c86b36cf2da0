#!/bin/sh
# Driver for unikernels of Solo5's hvt target: a machine by KVM.
# shellcheck disable=SC2034 # kind: shared with solo5.sh
set -u
kind=hvt
# shellcheck source-path=SCRIPTDIR/.. source=solo5.sh
. "$SCRIPTS/solo5.sh"
machine_main "$@"
