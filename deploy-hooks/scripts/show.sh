# shellcheck shell=sh
# What the box says about itself.
# shellcheck disable=SC2154 # slip, pid…: shared with the other parts

cmd_status() {
	current=$(state current commit)
	code=0
	if runs=$(driver running 2>/dev/null); then
		# shellcheck disable=SC2086 # words
		set -- $runs
		printf 'running   %s on %s, %s %s for %s s, restarted %s times\n' "$1" "$5" "${6:-process}" "$2" "$4" "$3"
		has=$(sha256_of "$(driver image "$1")" 2>/dev/null)
		if [ -n "$has" ] && [ "$has" = "$(sed -n 's/^sha256=//p' "$slip/images/$1/record" 2>/dev/null)" ]; then
			if grep -qx seed=1 "$slip/images/$1/record"; then
				echo "unproven  what runs has the SHA-256 it was unpacked with, $has; no manifest says what it should be"
			else
				echo "proven    what runs has the manifest's SHA-256, $has"
			fi
		else
			echo "unproven  what runs has the SHA-256 ${has:-not readable}"
		fi
		[ "$1" = "$current" ] || code=1
	else
		echo "running   nothing"
		code=1
	fi
	[ -z "$current" ] || printf 'recorded  %s, %s %s\n' "$current" "$(state current how)" "$(state current since)"
	latest=$(latest_commit) || latest='nothing'
	printf 'latest    %s\n' "$latest"
	pinned || echo "unsigned  no PUBLIC_KEY is pinned: signatures are not checked"
	at=$(state deploying step)
	[ -z "$at" ] || printf 'deploying %s, at: %s\n' "$(state deploying commit)" "$at"
	for entry in "$slip"/state/held/*; do
		is_commit "${entry##*/}" || continue
		printf 'held      %s since %s: %s\n' "${entry##*/}" "$(state "held/${entry##*/}" since)" "$(state "held/${entry##*/}" reason)"
	done
	return $code
}

cmd_history() { cat "$slip/state/history" 2>/dev/null || :; }

cmd_logs() {
	if [ "${1-}" = deploy ]; then
		cat "$slip/log/deploy.log.1" "$slip/log/deploy.log" 2>/dev/null
		return
	fi
	if [ -n "${1-}" ]; then target=$(full_commit "$1") || exit 1; else target=$(state current commit); fi
	[ -n "$target" ] || die "nothing runs here"
	if [ -f "$slip/state/held/$target.console" ]; then cat "$slip/state/held/$target.console"; else driver console "$target"; fi
}
