# shellcheck shell=sh
# `why`: how one commit came to be live here, or where it stopped.
# shellcheck disable=SC2154,SC2034 # slip, address…: shared with the other parts

why_manifest() { awk -F '\t' -v key="$1" '$1 == key { print substr($0, length(key) + 2); exit }' "$slip/why.flat"; }

why_source() {
	file=$(in_repo "$1/manifest.json")
	published=$(git_here log -1 --diff-filter=A --format='%h of %cI' HEAD -- "$file" 2>/dev/null)
	{ git_here cat-file blob "HEAD:$file" 2>/dev/null || cat "$slip/images/$1/manifest.json" 2>/dev/null; } |
		LC_ALL=C awk -f "$here/json.awk" >"$slip/why.flat" 2>/dev/null || : >"$slip/why.flat"
	if [ -s "$slip/why.flat" ]; then
		printf 'source     %s %s, branch %s\n' "$(why_manifest repository)" "$1" "$(why_manifest branch)"
		job=$(why_manifest job) checks=$(why_manifest checks)
		printf 'built      by %s for %s%s, boot proof: %s\n' "${job:-nobody who says so}" \
			"$(why_manifest backend) $(why_manifest arch)" "$([ "$(why_manifest emulated)" != true ] || echo ' (emulated)')" "${checks:-none}"
		sequence=$(why_manifest sequence)
		printf 'published  %s%s\n' "${published:-before the history of this clone}" "${sequence:+, sequence $sequence}"
	else
		printf 'source     %s\nunknown    there is no manifest of it here\n' "$1"
	fi
	rm -f "$slip/why.flat"
}

# What was said of it, with the time; a run is told whole, also where it was begun again.
why_steps() {
	cat "$slip/log/deploy.log.1" "$slip/log/deploy.log" 2>/dev/null | awk -v commit="$(short "$1")" '
		index($0, commit) { at = $1; sub(/^[^ ]* /, ""); sub("^" commit " ", ""); line = "here       " at "  " $0
			if ($0 != last) print line; last = $0 }'
}

why_verdict() {
	latest=$(latest_commit) || latest=
	if [ "$1" = "$(state current commit)" ]; then
		if live "$1"; then echo "live       since $(state current since), on $address"; else echo "down       it is recorded, and does not run"; fi
	elif is_held "$1"; then
		printf 'held       since %s: %s\n' "$(state "held/$1" since)" "$(state "held/$1" reason)"
	elif [ "$1" = "$(state deploying commit)" ]; then
		echo "under way  at: $(state deploying step)"
	elif [ "$1" = "$latest" ]; then
		echo "waiting    the next deploy takes it"
	elif grep -q " [a-z]* $1 " "$slip/state/history" 2>/dev/null; then
		echo "left       $(state current commit) serves, $(state current how) $(state current since)"
	else
		echo "not here   'latest' never named it when this box looked"
	fi
}

cmd_why() {
	if [ -n "${1-}" ]; then
		target=$(full_commit "$1") || exit 1
	else
		target=$(latest_commit) || target=$(state current commit)
	fi
	[ -n "$target" ] || die "nothing is published here"
	why_source "$target"
	why_steps "$target"
	why_verdict "$target"
}
