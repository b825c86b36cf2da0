#!/bin/sh
# Driver for images that are ordinary programs with a web server inside: slipway-supervise owns the listening socket
# and hands it over, so that no request is refused during a switch.
#
# A driver is one program called with a verb. Status 0: done. 1: the image is at fault, 2: this box is; the reason is
# the first line it prints. ID is the commit. From the environment: SLIPWAY, the state folder (run/ is the driver's);
# SCRIPTS, the folder of the scripts; LISTEN, RUN_AS, the settings.
#   check                   at install: all that is needed is there (or made), the settings can work
#   start-beside ID IMAGE   boot it where the public does not see it; 3: there is no room for two
#   probe-address ID        print HOST:PORT where it answers; 1: it has ended
#   switch ID [IMAGE]       the public gets it, the old one drains and ends; when it fails the old one still serves.
#                           With IMAGE (after start-beside's 3): the old one ends first, then this one is booted
#   stop-beside ID          end it, if it runs beside; no error if not
#   running                 print "ID PID RESTARTS SECONDS HOST:PORT [NOUN]" of what the public gets (NOUN: what PID is
#                           the number of, else a process); 1: nothing
#   resume ID IMAGE         nothing runs: serve this one, proven before (after a reboot)
#   stop                    end everything, leave no process
#   console ID              print what it printed
#   image ID                print the path of what it was booted from, to be hashed
# Its own settings stand in NAME.settings beside it, a row each as in common.sh, and come in capitals.
# shellcheck disable=SC2015 # "a && b || c": c for either
set -u
program=$SLIPWAY/bin/slipway-supervise
run=$SLIPWAY/run

fail() {
	echo "$2"
	exit "$1"
}

ctl() { "$program" ctl "$run/control" "$@" 2>&1 | sed 's/^slipway-supervise: //'; }

# The status of ctl itself; only its words go through the pipe above.
ctl_or() {
	code=$1
	shift
	said=$("$program" ctl "$run/control" "$@" 2>&1) || fail "$code" "${said#slipway-supervise: }"
}

supervised() { "$program" ctl "$run/control" status >/dev/null 2>&1; }

supervise() {
	mkdir -p "$run"
	user=
	if [ "$(id -u)" = 0 ]; then
		[ "$RUN_AS" != auto ] || RUN_AS=nobody
		[ "$RUN_AS" = root ] || user="--user $(id -u "$RUN_AS"):$(id -g "$RUN_AS")"
	fi
	# shellcheck disable=SC2086 # words
	said=$("$program" run --daemon --listen "$LISTEN" --control "$run/control" --log "$run" $user "$@" 2>&1) ||
		fail 2 "${said#slipway-supervise: }"
}

check() {
	found=
	for candidate in "$SCRIPTS/bin/slipway-supervise" "$(command -v slipway-supervise)"; do
		[ -x "$candidate" ] && found=$candidate && break
	done
	mkdir -p "$SLIPWAY/bin"
	if [ -n "$found" ]; then
		cp "$found" "$program.new" || fail 2 "cannot copy '$found'"
	elif command -v cc >/dev/null; then
		said=$(cc -std=c17 -D_GNU_SOURCE -O2 -static "$SCRIPTS"/supervise/*.c -o "$program.new" 2>&1) ||
			fail 2 "cannot compile '$SCRIPTS/supervise': $said"
	else
		fail 2 "slipway-supervise is not on PATH and not in scripts/bin, and there is no C compiler to make it"
	fi
	chmod 755 "$program.new" && mv -f "$program.new" "$program" || fail 2 "cannot write '$program'"
	"$program" ctl 2>&1 | grep -q usage || fail 2 "'$program' does not run on this box"
	[ "$(id -u)" = 0 ] || [ "$RUN_AS" = auto ] || [ "$RUN_AS" = "$(id -un)" ] || fail 2 "only root can run images as $RUN_AS"
	[ "$RUN_AS" = auto ] || id "$RUN_AS" >/dev/null 2>&1 || fail 2 "there is no user $RUN_AS"
}

probe_address() {
	ctl status | awk -v id="$1" '
		$2 == id && $1 == "trial" { print "127.0.0.1:" $6; found = 1 }
		$2 == id && $1 == "dead" { print "it " $7 " " $8 " " $9 " " $10; found = 2 }
		END { if (!found) print "it does not run"; exit found != 1 }'
}

running() {
	supervised || exit 1
	ctl status | awk '
		$1 == "listen" { address = $2; sub(/^0\.0\.0\.0:/, "127.0.0.1:", address); sub(/^\[::\]:/, "[::1]:", address) }
		$1 == "live" && $3 > 0 { print $2, $3, $5, $4, address; found = 1 }
		END { exit !found }'
}

start_beside() {
	supervised || supervise
	ctl_or 1 try "$1" "$2"
}

case ${1-} in
check) check ;;
start-beside) start_beside "$2" "$3" ;;
probe-address) probe_address "$2" ;;
switch) ctl_or 1 switch "$2" ;;
stop-beside) ctl_or 0 drop "$2" ;;
running) running ;;
resume)
	if supervised; then # with nothing live
		start_beside "$2" "$3"
		ctl_or 1 switch "$2"
	else
		supervise --boot "$2" "$3"
	fi
	;;
stop) ! supervised || ctl_or 2 stop ;;
console) cat "$run/$2.trial" "$run/$2.live" 2>/dev/null ;;
image) ctl status | awk -v id="$2" '$1 == "live" && $2 == id && $3 > 0 { print "/proc/" $3 "/exe" }' ;;
*) fail 2 "usage: check | start-beside ID IMAGE | probe-address ID | switch ID | stop-beside ID | running | resume ID IMAGE | stop | console ID | image ID" ;;
esac
