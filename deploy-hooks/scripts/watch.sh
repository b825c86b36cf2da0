# shellcheck shell=sh
# `watch`: a line that this box opens to the runner, on which it hears at once of what was published. What it hears is
# a hint and no more: it then pulls and verifies as ever. A runner that is away changes nothing but that; the poll goes
# on beside it.
# shellcheck disable=SC2154,SC2015 # shared variables; "a && b || c": c for either

watch_alive() {
	watcher=$(cat "$slip/watch/owner" 2>/dev/null) && [ -n "$watcher" ] && [ "$watcher" = "$(lock_name "${watcher%% *}")" ]
}

# Where systemd does not do it: a process of its own. Its owner is noted here, so that two starts make one.
watch_start() {
	[ -n "$(conf stream)" ] && [ "$(mode)" = cron ] || return 0
	! watch_alive || return 0
	mkdir -p "$slip/watch" && chmod 700 "$slip/watch" || return
	in_session=$(command -v setsid || command -v nohup)
	$in_session "$slip/scripts/deploy" watch >/dev/null 2>&1 </dev/null 9>&- &
	lock_name $! >"$slip/watch/owner"
	say "watch: process $!"
}

watch_stop() {
	watch_alive || return 0
	watcher=${watcher%% *}
	kill "$watcher" 2>/dev/null
	deadline=$(($(now) + 5))
	while watch_alive; do
		[ "$(now)" -lt $deadline ] || kill -9 "${watcher%% *}" 2>/dev/null
		pause
	done
	rm -rf "$slip/watch"
}

# rest SECONDS: about as long, so that many boxes do not come at once; a signal ends it.
rest() {
	tenths=$(($1 * 5 + $(od -An -N1 -tu1 /dev/urandom) * $1 * 10 / 255))
	sleep "$((tenths / 10)).$((tenths % 10))" 2>/dev/null 9>&- &
	wait $! || { [ $tenths = 0 ] || sleep $((tenths / 10 + 1)); }
}

# The token is in a file that others cannot read, not among the arguments, which they can.
watch_config() {
	rm -f "$watch/curl"
	(
		umask 077
		printf 'url = "%s"\nheader = "Authorization: Bearer %s"\nheader = "Accept: text/event-stream"\n' \
			"$(conf stream)" "$(conf stream_token)"
		[ -z "$heard" ] || printf 'header = "Last-Event-ID: %s"\n' "$heard"
	) >"$watch/curl" && chmod 600 "$watch/curl"
}

has_commit() { git_here cat-file -e "$1^{commit}" 2>/dev/null; }

# What the runner tells of is pulled. It may be a moment before a mirror of the deployment repository has it.
watch_told() {
	event=$(printf '%s' "$1" | LC_ALL=C awk -f "$here/json.awk" 2>/dev/null | awk -F '\t' '{ print $1 "=" $2 }')
	event_of() { printf '%s\n' "$event" | sed -n "s/^$1=//p" | head -n 1; }
	[ "$(event_of path)" = "$(conf path_in_repo)" ] || return 0
	published=$(event_of deployment_commit)
	is_commit "$published" || return 0
	! has_commit "$published" || return 0
	note "watch: the runner tells of $(event_of commit | cut -c 1-10), sequence $(event_of sequence | tr -cd 0-9)"
	for seconds in 1 2 4 8 16 0; do
		"$slip/scripts/deploy" poll watch 9>&-
		! has_commit "$published" || return 0
		[ $seconds = 0 ] || rest $seconds
	done
	complain "watch: $(short "$published") of the deployment repository cannot be pulled; the poll goes on trying"
}

# One line to the runner, until it ends.
watch_once() {
	rm -f "$watch/line"
	watch_config && mkfifo -m 600 "$watch/line" || return
	curl -sSNf -K "$watch/curl" --connect-timeout 20 --speed-limit 1 --speed-time 60 >"$watch/line" 2>"$watch/said" &
	line_pid=$!
	exec 7<"$watch/line"
	id='' data=''
	while IFS= read -r line <&7; do
		case $line in
		retry:*)
			[ -z "$away" ] || note "watch: the runner is there"
			away='' delay=1
			;;
		'id: '*) id=${line#id: } ;;
		'data: '*) data=${line#data: } ;;
		'')
			case $id in *[!0-9]*) id='' ;; esac
			[ -z "$data" ] || watch_told "$data" 7<&-
			heard=${id:-$heard} id='' data=''
			;;
		esac
	done
	exec 7<&-
	wait $line_pid
	code=$? line_pid=''
	[ "$away" = 1 ] || {
		away=1
		note "watch: the line ended ($code): $(head -n 1 "$watch/said")"
	}
}

watch_end() {
	[ -z "$line_pid" ] || kill "$line_pid" 2>/dev/null
	case $(cat "$watch/owner" 2>/dev/null) in "$$ "*) rm -rf "$watch" ;; esac
}

cmd_watch() {
	watch=$slip/watch heard='' line_pid='' delay=1 away=new
	[ -n "$(conf stream)" ] || die "no runner to watch: make install STREAM=… STREAM_TOKEN=…, as 'runner repo stream NAME' prints them"
	! watch_alive || [ "${watcher%% *}" = $$ ] || die "process ${watcher%% *} watches already"
	mkdir -p "$watch" && chmod 700 "$watch" && lock_name $$ >"$watch/owner" || die "cannot write '$watch'"
	trap watch_end EXIT
	trap 'exit 0' HUP INT TERM
	while conf_load && [ -n "$(conf stream)" ]; do
		watch_once
		rest $delay
		delay=$((delay * 2))
		[ $delay -le 60 ] || delay=60
	done
}
