# shellcheck shell=sh
# What is special to Solo5's tenders: solo5-$kind becomes the machine, solo5-elftool tells what an image is and which
# devices it wants. A tender starts an image only with each of them attached.
# shellcheck disable=SC2034,SC2154 # kind, groups, link, mac, args: shared with the driver and machine.sh

tender_check() {
	for tool in "solo5-$kind" solo5-elftool; do
		command -v "$tool" >/dev/null ||
			fail 2 "'$tool' is not on this box; Debian has no package of it: it comes with Solo5 (opam install solo5)"
	done
	[ "$kind" != hvt ] || [ -e /dev/kvm ] || fail 2 "solo5-hvt needs /dev/kvm, and there is none on this box"
}

# query WHAT IMAGE: what solo5-elftool says, flattened.
query() { solo5-elftool "query-$1" "$2" 2>/dev/null | awk -f "$SCRIPTS/json.awk"; }

# devices IMAGE: "NAME TYPE" of each.
devices() {
	query manifest "$1" | awk -F '\t' '
		split($1, at, ".") == 3 && at[1] == "devices" { said[at[2], at[3]] = $2 }
		END { for (n = 0; (n, "name") in said; n++) print said[n, "name"], said[n, "type"] }'
}

image_check() {
	target=$(query abi "$1" | sed -n 's/^target	//p')
	[ -n "$target" ] || fail 1 "it has no ABI note of Solo5's"
	[ "$target" = "$kind" ] || fail 1 "it is for Solo5's target $target, this is $kind"
	query manifest "$1" | grep -q '^type	solo5.manifest$' || fail 1 "it has no manifest of Solo5's"
	nets=0
	wants=$(devices "$1")
	while read -r device type; do
		case $type:$device in
		'':) ;;
		NET_BASIC:*[!A-Za-z0-9]*) fail 1 "its network device's name is '$device'" ;;
		NET_BASIC:*) nets=$((nets + 1)) ;;
		*) fail 1 "it wants the device '$device' ($type), and a network is all it can have" ;;
		esac
	done <<-END
		$wants
	END
	[ $nets = 1 ] || fail 1 "it wants $nets network devices, and one is what it can have"
}

tender() {
	device=$(devices "$1")
	device=${device%% *}
	[ "$kind" != hvt ] || groups="--groups $(stat -c %g /dev/kvm)"
	# shellcheck disable=SC2086 # the image's arguments are words
	as_user "solo5-$kind" "--mem=$MACHINE_MEMORY" "--net:$device=$link" "--net-mac:$device=$mac" -- "$1" $args
}

# shellcheck source-path=SCRIPTDIR source=machine.sh
. "$SCRIPTS/machine.sh"
