# shellcheck shell=sh
# What the drivers of machines share: two slots, a and b, each with an address of its own, and the rewriting rule of
# nftables that sends the public to one of them. A switch is the replacement of that rule, in one transaction.
# Sourced with LISTEN and these set: site (its name on this box), net (8 addresses: the first is the box's end, the
# next two the slots'), port (where an image serves), drain (seconds for what was begun).
# shellcheck disable=SC2034,SC2154,SC2317 # shared variables; which functions are called is the driver's affair

table=slipway-$site
listen_host=${LISTEN%:*} listen_port=${LISTEN##*:}

fail() {
	echo "$2"
	exit "$1"
}

short() { printf '%.10s' "$1"; }

nap() { sleep 0.1 2>/dev/null || sleep 1; }

host_part() { echo "$net" | { IFS=. read -r a b c d && echo "$a.$b.$c.$((d + $1))"; }; }
gateway() { host_part 1; }
address_of() { case $1 in a) host_part 2 ;; b) host_part 3 ;; esac; }

# mac_of SLOT PREFIX: locally given, and the same for a slot at each start: nobody's table of neighbours goes stale.
mac_of() {
	digits=$(printf '%s' "$site-$1" | sha256sum | cut -c1-6)
	echo "$2:$(echo "$digits" | sed 's/../&:/g; s/:$//')"
}

# nft_works: before anything is ended because no rule says that it serves.
nft_works() { said=$(nft list tables 2>&1) || fail 2 "nft: ${said:-it fails}"; }

# live_slot: where the rule sends the public; nothing where there is no rule.
live_slot() {
	to=$(nft list chain ip "$table" in 2>/dev/null | sed -n 's/.*dnat to \([0-9.]*\):.*/\1/p' | head -n 1)
	for slot in a b; do
		[ "$to" != "$(address_of $slot)" ] || printf '%s' $slot
	done
}

other_slot() { if [ "$1" = a ]; then echo b; else echo a; fi; }

# forward ADDRESS: connections that are there keep their way.
forward() {
	case $listen_host in 0.0.0.0) to='fib daddr type local' ;; *) to="ip daddr $listen_host" ;; esac
	nft -f - <<END
add table ip $table
add chain ip $table in { type nat hook prerouting priority dstnat; }
add chain ip $table self { type nat hook output priority -100; }
flush chain ip $table in
flush chain ip $table self
add rule ip $table in $to tcp dport $listen_port dnat to $1:$port
add rule ip $table self $to tcp dport $listen_port dnat to $1:$port
END
}

forward_end() { nft delete table ip "$table" 2>/dev/null || :; }

# drain_from ADDRESS: until nothing that its machine has begun is under way, as far as the kernel tells.
drain_from() {
	end=$(($(date +%s) + drain + (drain > 0))) # the clock counts whole seconds
	while [ "$(date +%s)" -lt $end ]; do
		[ ! -r /proc/net/nf_conntrack ] || grep -q "ESTABLISHED .*src=$1 " /proc/net/nf_conntrack || return 0
		sleep 0.2 2>/dev/null || sleep 1
	done
}

# forward_check: at install, that all of this can work here.
forward_check() {
	[ "$(id -u)" = 0 ] || fail 2 "only root can give machines a network"
	for tool in nft ip sha256sum "$@"; do
		command -v "$tool" >/dev/null || fail 2 "'$tool' is not on this box"
	done
	case $listen_host in
	127.* | '['*) fail 2 "LISTEN=$LISTEN: a forward needs an IPv4 address of this box that others reach, or 0.0.0.0" ;;
	esac
	echo 1 >/proc/sys/net/ipv4/ip_forward || fail 2 "cannot switch on net.ipv4.ip_forward"
}
