#!/bin/sh
# Driver for unikernels as Xen domains (xl, PVH). Two domains can be there at once, each on a link of its own to this
# box with one of two addresses; the public's packets go to one of them by a rewriting rule of nftables, and a switch is
# the replacement of that rule, in one step. unix.sh says what the verbs mean; start-beside ends with 3 where the memory
# is enough for one domain only: then `switch ID IMAGE` ends the old one first.
#
#   public ─→ LISTEN ─nft→ NAME-<commit>-a (network.2)   live
#                          NAME-<commit>-b (network.3)   beside
# shellcheck disable=SC2015,SC2030,SC2031 # "a && b || c": c for either; the names in loops are theirs
set -u
run=$SLIPWAY/run
# The name of a domain says of which commit and slot it is.
site=$XEN_NAME net=$XEN_NETWORK port=$XEN_PORT drain=$XEN_DRAIN
# shellcheck source-path=SCRIPTDIR/.. source=forward.sh
. "$SCRIPTS/forward.sh"

# --- domains

# domains: "name id state" of ours; the state is xl's letters without the dashes.
domains() {
	xl list 2>/dev/null | awk -v name="$XEN_NAME" '
		index($1, name "-") == 1 && $1 ~ /-[0-9a-f]+-[ab]$/ { gsub("-", "", $5); print $1, $2, $5 }'
}

domain_of() { domains | awk -v name="$XEN_NAME-$(short "$1")" '$1 == name "-a" || $1 == name "-b" { print; exit }'; }
slot_of() { printf '%s' "${1##*-}"; }

# alive STATE: it was neither shut down nor crashed, and does not die.
alive() { case $1 in *[scd]*) return 1 ;; esac; }

destroy() {
	# First the xl that would start it again.
	for p in /proc/[0-9]*; do
		case "$(tr '\0' ' ' <"$p/cmdline" 2>/dev/null) " in *" -p $run/$1.cfg "*) kill "${p##*/}" 2>/dev/null ;; esac
	done
	xl destroy "$1" >/dev/null 2>&1
	# The name is free when the last of it has gone.
	n=0
	while domains | grep -q "^$1 " && [ $n -lt 100 ]; do
		n=$((n + 1))
		nap
	done
	rm -f "$run/$1.domid"
}

# xl calls it for each link: our end gets its address and the way to the domain.
hotplug_text() {
	cat <<END
#!/bin/sh
# slipway: the link of a domain of '$XEN_NAME'; written by the xen driver
[ "\$1" = online ] || exit 0
address=\$(xenstore-read "\$XENBUS_PATH/ip")
ip link set "\$vif" up &&
	{ ip addr add $(gateway)/32 dev "\$vif" 2>/dev/null || :; } &&
	ip route replace "\$address/32" dev "\$vif" src $(gateway) &&
	xenstore-write "\$XENBUS_PATH/hotplug-status" connected
END
}

template() {
	if [ "$XEN_TEMPLATE" != none ]; then
		cat "$XEN_TEMPLATE"
		return
	fi
	cat <<'END'
name = "@NAME@"
type = "pvh"
kernel = "@KERNEL@"
memory = @MEMORY@
vcpus = 1
extra = "@EXTRA@"
vif = ['@VIF@']
on_poweroff = "preserve"
on_crash = "restart"
on_reboot = "restart"
END
}

# fill ID IMAGE SLOT: the configuration. Nothing that is filled in holds a bar or a backslash (see deploy.conf).
fill() {
	name=$XEN_NAME-$(short "$1")-$3
	extra=$(printf '%s' "$XEN_EXTRA" | sed "s|@ADDRESS@|$(address_of "$3")|g; s|@GATEWAY@|$(gateway)|g; s|@PORT@|$XEN_PORT|g; s|@COMMIT@|$1|g")
	vif="script=$run/hotplug,type=vif,mac=$(mac_of "$3" 00:16:3e),ip=$(address_of "$3")"
	template | sed "s|@NAME@|$name|g; s|@KERNEL@|$2|g; s|@MEMORY@|$XEN_MEMORY|g; s|@VIF@|$vif|g; s|@EXTRA@|$extra|g; s|@DIR@|${2%/*}|g; s|@COMMIT@|$1|g"
}

free_mb() { xl info 2>/dev/null | sed -n 's/^free_memory *: *//p'; }

# console_open NAME ID: what the domain prints goes to a file, up to 1 MB, until it ends. Opened while it is paused: one
# that crashes at once has said why.
console_open() {
	n=0
	until tty=$(xenstore-read "/local/domain/$(xl domid "$1")/console/tty" 2>/dev/null) && [ -c "$tty" ]; do
		n=$((n + 1))
		[ $n -lt 25 ] || return 0
		nap
	done
	(exec <"$tty" && setsid head -c 1000000 >"$run/$2.console" &) >/dev/null 2>&1
}

# boot ID IMAGE SLOT: status 1 or 2 with a reason, 3 where there is no memory for it.
boot() {
	name=$XEN_NAME-$(short "$1")-$3
	mkdir -p "$run" && hotplug_text >"$run/hotplug" && chmod 755 "$run/hotplug" && fill "$1" "$2" "$3" >"$run/$name.cfg" ||
		fail 2 "cannot write '$run' (is the disk full?)"
	: >"$run/$1.console"
	before=$(free_mb)
	said=$(timeout 60 xl create -p "$run/$name.cfg" 2>&1)
	code=$?
	if [ $code != 0 ]; then
		destroy "$name"
		[ "${before:-0}" -ge $((XEN_MEMORY + 8)) ] || return 3
		# With room enough it is the image that Xen does not take, as far as this box can boot domains at all.
		fail "$(image_at_fault "$2")" "xl create ended with $code: $(printf '%s' "$said" | grep -v '^Parsing' | tail -n 1)"
	fi
	xl domid "$name" >"$run/$name.domid"
	console_open "$name" "$1"
	xl unpause "$name" >/dev/null 2>&1
}

# 1 where the file cannot be a kernel for a PVH domain: no ELF file, or no note of Xen's in it.
image_at_fault() {
	if [ "$(head -c 4 "$1" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ] && grep -q 'Xen' "$1"; then echo 2; else echo 1; fi
}

# --- verbs

check() {
	forward_check xl timeout setsid xenstore-read
	xl info >/dev/null 2>&1 || fail 2 "xl cannot talk to Xen: is this dom0, and is xenstored running?"
	[ "$XEN_TEMPLATE" = none ] || [ -r "$XEN_TEMPLATE" ] || fail 2 "cannot read XEN_TEMPLATE '$XEN_TEMPLATE'"
	case $XEN_EXTRA$XEN_TEMPLATE$SLIPWAY in *['|\"'\'\&]*) fail 2 "a bar, backslash, quote or ampersand cannot stand in XEN_EXTRA, XEN_TEMPLATE or the clone's path" ;; esac
}

start_beside() {
	nft_works
	live=$(live_slot)
	domains | while read -r name _ _; do
		[ -n "$live" ] && [ "$(slot_of "$name")" = "$live" ] || destroy "$name"
	done
	if [ "$live" = a ]; then slot=b; else slot=a; fi
	boot "$1" "$2" $slot || {
		[ -n "$live" ] || fail 2 "no memory for a domain: XEN_MEMORY=$XEN_MEMORY, $(free_mb) MB are free"
		echo "no memory for two domains (XEN_MEMORY=$XEN_MEMORY, $(free_mb) MB are free)"
		exit 3
	}
}

# The domain of commit $1: sets name, id and dstate. 1: there is none.
find_domain() {
	found=$(domain_of "$1")
	name=${found%% *} dstate=${found##* }
	id=${found#* } id=${id% *}
	[ -n "$found" ]
}

# Xen starts one that crashed again, under another number.
restarts_of() { if [ "$(cat "$run/$name.domid" 2>/dev/null)" = "$id" ]; then echo 0; else echo 1; fi; }

probe_address() {
	n=0
	until find_domain "$1"; do # one that crashed is away for a moment, until Xen starts it again
		n=$((n + 1))
		[ $n -lt 20 ] || fail 1 "it is not there any more"
		nap
	done
	[ "$(restarts_of)" = 0 ] || fail 1 "it crashed"
	case $dstate in
	*c*) fail 1 "it crashed" ;;
	*[sd]*) fail 1 "it has shut down" ;;
	esac
	echo "$(address_of "$(slot_of "$name")"):$XEN_PORT"
}

switch() {
	if [ $# = 2 ]; then # no room beside: the old one ends first
		domains | while read -r name _ _; do destroy "$name"; done
		boot "$1" "$2" a || fail 2 "no memory for a domain: XEN_MEMORY=$XEN_MEMORY, $(free_mb) MB are free"
	fi
	find_domain "$1" && alive "$dstate" || fail 1 "it is not there any more"
	was=$(live_slot) slot=$(slot_of "$name")
	said=$(forward "$(address_of "$slot")" 2>&1) || fail 2 "nft: $said"
	[ -n "$was" ] && [ "$was" != "$slot" ] || return 0
	drain_from "$(address_of "$was")"
	domains | while read -r name _ _; do
		[ "$(slot_of "$name")" != "$was" ] || destroy "$name"
	done
}

stop_beside() {
	find_domain "$1" || return 0
	[ "$(slot_of "$name")" = "$(live_slot)" ] || destroy "$name"
}

running() {
	slot=$(live_slot)
	[ -n "$slot" ] || exit 1
	domains | while read -r name id state; do
		[ "$(slot_of "$name")" = "$slot" ] && alive "$state" || continue
		commit=${name%-*}
		commit=${commit##*-}
		# The name holds the first digits; the console's file the whole.
		for file in "$run/$commit"*.console; do commit=${file##*/}; done
		seconds=$(($(date +%s) - $(stat -c %Y "$run/$name.domid" 2>/dev/null || date +%s)))
		echo "${commit%.console} $id $(restarts_of) $seconds $(address_of "$slot"):$XEN_PORT domain"
		exit 7
	done
	[ $? = 7 ] || exit 1
}

stop() {
	domains | while read -r name _ _; do destroy "$name"; done
	nft delete table ip "$table" 2>/dev/null || :
}

case ${1-} in
check) check ;;
start-beside) start_beside "$2" "$3" ;;
probe-address) probe_address "$2" ;;
switch) shift && switch "$@" ;;
stop-beside) stop_beside "$2" ;;
running) running ;;
resume)
	# Nothing serves; one that ended may hold the memory still, and is ended first then.
	(start_beside "$2" "$3")
	case $? in
	0) switch "$2" ;;
	3) switch "$2" "$3" ;;
	*) exit 2 ;;
	esac
	;;
stop) stop ;;
console) cat "$run/$2.console" 2>/dev/null ;;
# A domain's memory cannot be hashed again: the file that it was booted from is.
image) sed -n 's/^kernel = "\(.*\)"/\1/p' "$run/$XEN_NAME-$(short "$2")"-*.cfg 2>/dev/null | tail -n 1 ;;
*) fail 2 "usage: check | start-beside ID IMAGE | probe-address ID | switch ID [IMAGE] | stop-beside ID | running | resume ID IMAGE | stop | console ID | image ID" ;;
esac
