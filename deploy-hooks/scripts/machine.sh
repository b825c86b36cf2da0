# shellcheck shell=sh
# A driver whose machines are processes of this box (a VMM or a tender), each with a tap device of its own. The driver
# sources this with the functions below and ends with `machine_main "$@"`; drivers/unix.sh says what the verbs mean.
#
#   kind                     its name, for words
#   tender_check             at install: the program is there
#   image_check IMAGE        before a start; ends with `fail 1 REASON` where it cannot be one for this driver
#   tender IMAGE             becomes the program (exec), its console on standard output; $link, $args, $mac are set
#
# Each slot has a keeper, a process that starts the machine again when it ends, and these files in run/:
#   SLOT.want      "ID IMAGE"; the keeper ends when it is not its own any more
#   SLOT.keeper    "pid start boot", SLOT.machine the same and "restarts since": a number alone may be another's by now
# A keeper that was killed leaves its machine serving, and the next `running` sets up another, which adopts it.
# shellcheck disable=SC2034,SC2154,SC2015,SC2030,SC2031 # shared variables; "a && b || c": c for either
run=$SLIPWAY/run
site=$MACHINE_NAME net=$MACHINE_NETWORK port=$MACHINE_PORT drain=$MACHINE_DRAIN
# shellcheck source-path=SCRIPTDIR source=forward.sh
. "$SCRIPTS/forward.sh"

CONSOLE_MAX=1000000

link_of() { echo "slw-$site-$1"; }

# --- processes: "pid start boot" names one for good

process_name() {
	start=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)
	[ -n "$start" ] && echo "$1 $start $(cat /proc/sys/kernel/random/boot_id 2>/dev/null)"
}

# lives FILE: the process that FILE names is there, and no zombie. Sets pid.
lives() {
	read -r pid start boot _ 2>/dev/null <"$1" || return 1
	[ "$(process_name "$pid")" = "$pid $start $boot" ] && ! grep -q '^State:	Z' "/proc/$pid/status" 2>/dev/null
}

# end_process FILE SECONDS: asked first, killed when that is over.
end_process() {
	lives "$1" || return 0
	kill "$pid" 2>/dev/null
	end=$(($(date +%s) + $2 + 1))
	while lives "$1"; do
		[ "$(date +%s)" -lt $end ] || kill -9 "$pid" 2>/dev/null
		nap
	done
}

# --- a slot

want() { cat "$run/$1.want" 2>/dev/null; }

slot_of() {
	for slot in a b; do
		case $(want $slot) in "$1 "*) echo $slot && return ;; esac
	done
	return 1
}

# The link of a slot: our end has the gateway's address and the way to the machine's.
link_up() {
	link=$(link_of "$1")
	ip link show "$link" >/dev/null 2>&1 || ip tuntap add dev "$link" mode tap user "$run_as" &&
		ip link set "$link" up && { ip addr add "$(gateway)/32" dev "$link" 2>/dev/null || :; } &&
		ip route replace "$(address_of "$1")/32" dev "$link" src "$(gateway)"
}

destroy() {
	rm -f "$run/$1.want" # first: whoever looks starts it no more
	end_process "$run/$1.keeper" 1
	end_process "$run/$1.machine" 1
	rm -f "$run/$1.keeper" "$run/$1.machine"
	ip link delete "$(link_of "$1")" 2>/dev/null || :
}

keep() { setsid "$0" keeper "$1" </dev/null >/dev/null 2>&1 9>&- & }

# boot ID IMAGE SLOT: 3 where there is no memory for it.
boot() {
	image_check "$2"
	has=$(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo)
	[ "${has:-999999}" -ge $((MACHINE_MEMORY + 16)) ] || return 3
	said=$(link_up "$3" 2>&1) || fail 2 "cannot make the link '$link': $said"
	rm -f "$run/$1.console"
	# Whole, or not at all: the keeper reads it.
	printf '%s %s\n' "$1" "$2" >"$run/$3.want.new" && : >"$run/$1.console" && mv "$run/$3.want.new" "$run/$3.want" ||
		fail 2 "cannot write '$run' (is the disk full?)"
	keep "$3"
	n=0
	until [ -s "$run/$3.machine" ] || [ $n -gt 50 ]; do
		n=$((n + 1))
		nap
	done
	[ -s "$run/$3.machine" ] || fail 2 "the keeper of '$(link_of "$3")' did not start"
}

# --- the keeper (a process of its own: `keeper SLOT`) and what it starts (`machine SLOT RESTARTS`, which becomes it)

# The last of the console is kept: an image that prints without end must not fill the disk.
console_trim() {
	[ "$(wc -c <"$1" 2>/dev/null || echo 0)" -gt $CONSOLE_MAX ] || return 0
	tail -c 65536 "$1" >"$1.new" && { echo "[$kind: what was here before was dropped]" && cat "$1.new"; } >"$1"
	rm -f "$1.new"
}

keeper() {
	slot=$1 restarts=0 quick=0 child=
	mine=$(want "$slot") console=$run/${mine%% *}.console
	lives "$run/$slot.keeper" && exit 0
	process_name $$ >"$run/$slot.keeper"
	trap exit TERM
	if lives "$run/$slot.machine"; then
		read -r _ _ _ restarts _ <"$run/$slot.machine"
	else
		"$0" machine "$slot" 0 >>"$console" 2>&1 &
		child=$!
	fi
	while :; do
		began=$(date +%s)
		# Its record comes a moment after it. A wait also takes in a child that ended, and TERM ends it at once.
		while kill -0 "$child" 2>/dev/null || lives "$run/$slot.machine"; do
			[ "$(want "$slot")" = "$mine" ] || exit 0
			console_trim "$console"
			sleep 1 &
			wait $!
		done
		[ "$(want "$slot")" = "$mine" ] || exit 0
		restarts=$((restarts + 1)) quick=$((quick + 1))
		[ $(($(date +%s) - began)) -lt 10 ] || quick=1
		[ $quick = 1 ] || { sleep $((quick < 6 ? quick - 1 : 5)) & wait $!; }
		[ "$(want "$slot")" = "$mine" ] || exit 0
		echo "[$kind: it ended; started again, the ${restarts}. time]" >>"$console"
		"$0" machine "$slot" "$restarts" >>"$console" 2>&1 &
		child=$!
	done
}

machine() {
	mine=$(want "$1") image=${mine#* }
	link=$(link_of "$1") mac=$(mac_of "$1" 52:54:00)
	args=$(printf '%s' "$MACHINE_ARGS" | sed "s|@ADDRESS@|$(address_of "$1")|g; s|@GATEWAY@|$(gateway)|g; s|@PORT@|$port|g; s|@COMMIT@|${mine%% *}|g")
	echo "$(process_name $$) $2 $(date +%s)" >"$run/$1.machine.new" && mv "$run/$1.machine.new" "$run/$1.machine" || exit 1
	# It only ever writes its console: no larger file, whatever it prints between two looks of its keeper.
	ulimit -f $((CONSOLE_MAX / 32))
	trap '' XFSZ
	# By descriptor: another user need not be able to walk to the image.
	tender /proc/self/fd/3 </dev/null 3<"$image"
}

# as_user PROGRAM…: becomes it, as the user that images run as. groups: an option of setpriv's, for /dev/kvm.
as_user() {
	[ "$run_as" != 0 ] || exec "$@"
	# shellcheck disable=SC2086 # words
	exec setpriv --reuid "$run_as" --regid "$(id -g "$RUN_AS")" ${groups:---clear-groups} --no-new-privs "$@"
}

# --- verbs

check() {
	forward_check setsid awk tail
	[ -c /dev/net/tun ] || fail 2 "there is no /dev/net/tun on this box"
	[ "$run_as" = 0 ] || setpriv --reuid "$run_as" --clear-groups --no-new-privs true 2>/dev/null ||
		fail 2 "'setpriv' of util-linux is not on this box: it runs the machines as $RUN_AS (RUN_AS=root runs them as root)"
	case $MACHINE_ARGS in *['|\&']*) fail 2 "a bar, backslash or ampersand cannot stand in MACHINE_ARGS" ;; esac
	case $SLIPWAY in *[' ,']*) fail 2 "the clone's path '$SLIPWAY' holds a blank or a comma" ;; esac
	tender_check
}

start_beside() {
	nft_works
	live=$(live_slot)
	beside=$(other_slot "$live")
	destroy "$beside"
	[ -n "$live" ] || destroy "$(other_slot "$beside")"
	boot "$1" "$2" "$beside" && return
	[ -n "$live" ] || fail 2 "no memory for a machine: MACHINE_MEMORY=$MACHINE_MEMORY, $has MB are there"
	echo "no memory for two machines (MACHINE_MEMORY=$MACHINE_MEMORY, $has MB are there)"
	exit 3
}

# healthy ID: it is there and was never started again. Sets slot. Else fails with 1.
healthy() {
	slot=$(slot_of "$1") || fail 1 "it is not there any more"
	read -r _ _ _ restarts _ <"$run/$slot.machine" 2>/dev/null && [ "$restarts" = 0 ] && lives "$run/$slot.machine" ||
		fail 1 "it ended$(tail -n 1 "$run/$1.console" 2>/dev/null | sed 's/^./: &/')"
}

switch() {
	if [ $# = 2 ]; then # no room beside: the old one ends first
		destroy a
		destroy b
		boot "$1" "$2" a || fail 2 "no memory for a machine: MACHINE_MEMORY=$MACHINE_MEMORY, $has MB are there"
	fi
	healthy "$1"
	was=$(live_slot) to=$slot
	said=$(forward "$(address_of "$to")" 2>&1) || fail 2 "nft: $said"
	[ -n "$was" ] && [ "$was" != "$to" ] || return 0
	drain_from "$(address_of "$was")"
	destroy "$was"
}

stop_beside() {
	slot=$(slot_of "$1") && [ "$slot" != "$(live_slot)" ] || return 0
	destroy "$slot"
}

running() {
	slot=$(live_slot)
	[ -n "$slot" ] && [ -s "$run/$slot.want" ] || exit 1
	lives "$run/$slot.keeper" || keep "$slot"
	lives "$run/$slot.machine" || exit 1
	read -r _ _ _ restarts since <"$run/$slot.machine"
	echo "$(want "$slot" | cut -d ' ' -f 1) $pid $restarts $(($(date +%s) - since)) $(address_of "$slot"):$port machine"
}

stop() {
	forward_end
	destroy a
	destroy b
}

machine_main() {
	mkdir -p "$run"
	[ "$RUN_AS" != auto ] || RUN_AS=nobody
	run_as=$(id -u "$RUN_AS" 2>/dev/null) || fail 2 "there is no user $RUN_AS"
	verb=${1-}
	[ $# = 0 ] || shift
	case $verb in
	check | running | stop) $verb ;;
	start-beside) start_beside "$1" "$2" ;;
	probe-address) healthy "$1" && echo "$(address_of "$slot"):$port" ;;
	switch | keeper | machine) $verb "$@" ;;
	stop-beside) stop_beside "$1" ;;
	resume)
		# Nothing serves; one that is about to be started again may want the memory, and is ended first then.
		(start_beside "$1" "$2")
		case $? in
		0) switch "$1" ;;
		3) switch "$1" "$2" ;;
		*) exit 2 ;;
		esac
		;;
	console) cat "$run/$1.console" 2>/dev/null ;;
	# A machine's memory cannot be hashed again: the file that it was started from is.
	image) slot=$(slot_of "$1") && want "$slot" | cut -d ' ' -f 2- ;;
	*) fail 2 "usage: check | start-beside ID IMAGE | probe-address ID | switch ID [IMAGE] | stop-beside ID | running | resume ID IMAGE | stop | console ID | image ID" ;;
	esac
}
