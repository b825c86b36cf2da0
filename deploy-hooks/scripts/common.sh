# shellcheck shell=sh
# What the other parts share: words to people, settings, state files, the lock. Sourced by `deploy`, which sets
# slip (the state folder, .git/slipway), gitdir and here (the folder of these scripts).
# A function that can fail sets `why` and returns 1 where the image is at fault, 2 where this box is.
# shellcheck disable=SC2034,SC2154 # why, slip, here: shared with the other parts

say() {
	printf 'deploy: %s\n' "$*"
	note "$*"
}

complain() {
	printf 'deploy: %s\n' "$*" >&2
	note "$*"
}

die() {
	complain "$*"
	exit 1
}

note() {
	[ -d "$slip/log" ] || return 0
	{ printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$slip/log/deploy.log"; } 2>/dev/null || :
}

now() { date +%s; }

pause() { sleep 0.1 2>/dev/null || sleep 1; }

short() { printf '%.10s' "$1"; }

is_commit() {
	case $1 in *[!0-9a-f]* | '') return 1 ;; esac
	[ ${#1} = 40 ]
}

# For tests: kill -9 ourselves where an outage could.
fault() {
	[ "${SLIPWAY_FAULT-}" != "$1" ] || kill -9 $$
}

# Settings: name, default, what it may be (an extended regular expression), what it is. One row each; `install` takes
# them as NAME=VALUE with the name in capitals (path: PATH_IN_REPO), keeps them in deploy.conf and shows them.
settings() {
	cat <<'END'
driver|unix|[a-z0-9][a-z0-9-]*|what boots the image: a file in scripts/drivers
path_in_repo|unix|\.|[A-Za-z0-9_+-][A-Za-z0-9._+-]*(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)*|the folder that holds `latest`; a dot: the top one
listen|127.0.0.1:8080|[][0-9a-fA-F.:]+:[0-9]+|the address the site is served on, in numbers
probe|/|/[A-Za-z0-9._~/?&=%+-]*|the page that is asked for
status|200|[1-5][0-9][0-9]|what it must answer
contains||[ -~]*|text its answer must hold; empty: any
probe_seconds|15|[1-9][0-9]{0,3}|how long a booted image may take until it answers so
watch|5|[0-9]{1,4}|seconds a new image is watched before it is taken for good
poll|5|[0-9]|[1-5][0-9]|minutes between two pulls; 0: never
mode|auto|auto|cron|systemd|none|who polls and starts the site after a reboot; auto: cron, or systemd for root where there is no cron
stream||https?://[!#-~]+|where a runner tells of publications: 'runner repo stream NAME' prints it
stream_token||[A-Za-z0-9._~+/=-]*|what opens the stream
self_update|no|yes|no|scripts that a pull brings are installed by themselves: who can push there then runs programs here
notify_command||/[A-Za-z0-9._/+-]+|a program that is told of what happened here, as JSON on its standard input
notify_webhook||https?://[!#-~]+|an address that is told, by POST
notify_email||[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+|a mailbox that is told, by sendmail
arch|auto|auto|[a-z0-9_]+|of the images; auto: the box's own. Another one runs emulated, where binfmt does that
keep|3|[1-9][0-9]?|images kept here besides the running one
run_as|auto|auto|[a-z_][a-z0-9_-]*|the user images run as; auto: nobody when root deploys, else the deploying user
compat|none|none|seed|seed: folders without a manifest, as of 2014 to 2017, are deployed too
END
	cat "$here"/drivers/*.settings 2>/dev/null
}

# The pattern may hold bars, so it is what lies between the second and the last.
setting_pattern() { settings | sed -n "s/^$1|[^|]*|\(.*\)|[^|]*\$/\1/p"; }

# What it is and its default, for a message.
setting_help() { settings | sed -n "s/^$1|\([^|]*\)|.*|\([^|]*\)\$/\2; by default \1/p" | sed 's/; by default $//'; }

conf_file=
# Read once into variables: a deploy asks for a setting some hundred times. conf_file: other settings, to look at.
conf_load() {
	while IFS='|' read -r name value _; do
		case $name in '' | *[!a-z0-9_]*) ;; *) eval "conf_$name=\$value" ;; esac
	done <<END
$(settings)
END
	kept=${conf_file:-$slip/deploy.conf}
	[ -f "$kept" ] || return 0
	while IFS= read -r entry; do
		name=${entry%%=*} value=${entry#*=}
		case $name in '' | *[!a-z0-9_]*) ;; *) [ -z "$value" ] || eval "conf_$name=\$value" ;; esac
	done <"$kept"
}

conf() { eval "printf '%s' \"\${conf_$1-}\""; }

sync_file() { sync "$@" 2>/dev/null || sync; }

# write_state NAME: standard input becomes the state file, whole or not at all.
write_state() {
	temp=$slip/state/$1.new.$$
	if { cat >"$temp" && sync_file "$temp" && mv -f "$temp" "$slip/state/$1"; } 2>/dev/null; then
		sync_file "${temp%/*}"
		return 0
	fi
	rm -f "$temp"
	return 2
}

# Why, for the caller: at the end of a pipeline write_state is a shell of its own.
unwritten() {
	why="cannot write '$slip/state/$1' (is the disk full?)"
	return 2
}

# state NAME KEY: the value of KEY in a state file, nothing where either is not there.
state() { sed -n "s/^$2=//p" "$slip/state/$1" 2>/dev/null | head -n 1; }

# remember WORD COMMIT TEXT: one line of the history. The same twice (a run that was killed and came back) is one.
remember() {
	last=$(tail -n 1 "$slip/state/history" 2>/dev/null | cut -d ' ' -f 2-)
	[ "$last" != "$1 $2 $3" ] || return 0
	{
		tail -n 999 "$slip/state/history" 2>/dev/null
		printf '%s %s %s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2" "$3"
	} | write_state history || unwritten history
}

is_held() { [ -f "$slip/state/held/$1" ]; }

# hold COMMIT REASON [PUBLISHED]: it is not tried again until it is released, or until something else than PUBLISHED is
# published under that name.
hold() {
	reason=$(printf '%s' "$2" | head -n 1)
	remember held "$1" "$reason" || return
	printf 'commit=%s\nsince=%s\nreason=%s\npublished=%s\n' "$1" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$reason" "${3-}" | write_state "held/$1" || unwritten "held/$1"
}

# The lock: an flock where there is that program, else a folder with its owner's pid and start time in it.
lock_take() {
	lock_base=${lock_base:-$slip/lock}
	deadline=$(($(now) + $1))
	while ! lock_try; do
		[ "$(now)" -lt "$deadline" ] || return 1
		pause
	done
}

lock_try() {
	if [ "${SLIPWAY_LOCK-}" != folder ] && command -v flock >/dev/null 2>&1; then
		exec 9>"$lock_base" && flock -n 9
		return
	fi
	lock_folder=$lock_base.d
	if mkdir "$lock_folder" 2>/dev/null; then
		lock_name $$ >"$lock_folder/owner"
		trap 'rm -rf "$lock_folder"' EXIT
		trap 'exit 1' HUP INT TERM
		return 0
	fi
	lock_is_stale || return 1
	# One of those who see it stale may remove it, and looks again first: it may be another's by now.
	find "$lock_base.break" -mmin +1 -exec rmdir {} + 2>/dev/null
	mkdir "$lock_base.break" 2>/dev/null || return 1
	! lock_is_stale || rm -rf "$lock_folder"
	rmdir "$lock_base.break"
	[ ! -e "$lock_folder" ] && lock_try # also one who does not wait gets it
}

lock_name() { printf '%s %s\n' "$1" "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20)"; }

lock_is_stale() {
	owner=$(cat "$lock_folder/owner" 2>/dev/null)
	if [ -z "$owner" ]; then # being made, or its maker was killed, or the power cut, before it could say who it is
		[ -n "$(find "$lock_folder" -prune -mmin +1 2>/dev/null)" ] ||
			[ "$(stat -c %Y "$lock_folder" 2>/dev/null || now)" -lt "$(sed -n 's/^btime //p' /proc/stat)" ]
		return
	fi
	[ "$owner" != "$(lock_name "${owner%% *}")" ]
}

# The names of the settings that the driver gets besides: its own, and those that drivers of machines share.
driver_settings() {
	own=$here/drivers/$(conf driver)
	[ ! -f "$own.settings" ] || cut -d '|' -f 1 "$own.settings"
	! grep -q '^machine_main ' "$own.sh" || cut -d '|' -f 1 "$here/drivers/machine.settings"
}

# driver_ready: the driver and its settings are read, for the calls that follow; again where they changed.
driver_ready() {
	driver_program=$here/drivers/$(conf driver).sh
	export SLIPWAY="$slip" SCRIPTS="$here"
	names=" listen run_as $(driver_settings | tr '\n' ' ')"
	pairs=$(settings | names=$names kept=${conf_file:-$slip/deploy.conf} awk -F '|' '
		BEGIN {
			while ((getline line <ENVIRON["kept"]) > 0)
				if ((n = index(line, "=")) && n < length(line)) is[substr(line, 1, n - 1)] = substr(line, n + 1)
		}
		index(ENVIRON["names"], " " $1 " ") { print toupper($1) "=" ($1 in is ? is[$1] : $2) }')
	while IFS= read -r pair; do
		export "${pair?}"
	done <<-END
		$pairs
	END
}

# The driver is a program of its own: it gets the settings in its environment and one verb.
driver() {
	[ -n "${driver_program-}" ] || driver_ready
	"$driver_program" "$@" 9>&-
}

box_arch() {
	case $(uname -m) in
	x86_64) echo amd64 ;;
	aarch64) echo arm64 ;;
	armv7* | armv8l) echo armhf ;;
	i?86) echo i386 ;;
	*) uname -m ;;
	esac
}
