# shellcheck shell=bash
# For tests that push to a runner: tools/flow.sh, and questions to `runner status --json`. Sourced with $BIN set.
# shellcheck source=tools/flow.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../../tools/flow.sh"

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

# same WHAT GOT WANTED
same() { [ "$2" = "$3" ] || fail "$1: got '$2', wanted '$3'"; }

# ask EXPRESSION: Python over b, the list of builds (newest first), and by, builds by number.
ask() {
	runner status --json | python3 -c "
import json, sys
b = json.load(sys.stdin)
by = {x['number']: x for x in b}
print($1)"
}

# begin: a folder, a runner with the repository demo/site, its clone in $work/site. STATE_ON=SIZE puts the state folder
# on a file system of its own of that size (root).
begin() {
	flow_begin
	trap flow_end EXIT
	if [ "${STATE_ON:-}" ]; then
		mkdir "$SLIPWAY_STATE"
		mount -t tmpfs -o "size=$STATE_ON,mode=700" tmpfs "$SLIPWAY_STATE"
	fi
	runner doctor --fix >"$work/doctor.out" || { cat "$work/doctor.out" && fail 'runner doctor --fix'; }
	flow_serve "$@"
	git init -q --bare "$work/site.git"
	site_url=$work/site.git
	runner repo add demo/site "$site_url" >/dev/null
	runner hook install --repo demo/site "$site_url" >/dev/null
	git init -q "$work/site"
}

# push MESSAGE: commits what is in $work/site and pushes it to main; sets $commit.
push() {
	git -C "$work/site" add -A
	git -C "$work/site" commit -qm "$1" --allow-empty
	commit=$(git -C "$work/site" rev-parse HEAD)
	git -C "$work/site" push -q "$site_url" HEAD:main 2>"$work/push.err" || { cat "$work/push.err" && fail 'git push'; }
}

# built: waits for the build of $commit; status 0 if it passed. Its output is in $work/watch.out.
built() { runner watch --repo demo/site --commit "$commit" --timeout "${1:-60}" >"$work/watch.out" 2>&1; }

# must_pass [SECONDS]: shows the logs where it did not.
must_pass() {
	built "${1:-60}" && return
	cat "$work/watch.out" "$work/serve.log" >&2
	for job in $(ask '" ".join(j["number"] for j in b[0]["jobs"])'); do
		echo "--- log of $job" >&2
		runner log "$job" | tail -n 40 >&2
	done
	fail 'the build did not pass'
}
