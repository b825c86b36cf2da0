# shellcheck shell=sh
# Who is told of what happened here: a command, a webhook, a mail.
#
#   a line of the history ─→ spool/ID.kind, one for each who is told ─→ delivered: gone | too old: gone, and said
#
# The history is written first; state/told is the last line of it that is in the spool. So whatever is killed when, a
# line gets into the spool, under one id that is made of the line itself; delivered, it may be twice.
# shellcheck disable=SC2154,SC2034 # slip, lock_base: shared with the other parts

NOTIFY_DAYS=7

notify_kinds() {
	for kind in command webhook email; do [ -z "$(conf notify_$kind)" ] || echo $kind; done
}

# What is sent is ASCII: a reason may hold any bytes.
json_text() { printf '%s' "$1" | LC_ALL=C tr -c '\040-\176' '?' | sed 's/["\\]/\\&/g'; }

# The names that others see of the history's words; nothing: nobody is told.
notify_event() {
	case $1 in
	deployed) echo live ;;
	rollback) echo 'rolled back' ;;
	held) echo held ;;
	again) echo 'serves again' ;;
	esac
}

# spool_put LINE: the line of the history, for each who is told.
spool_put() {
	# shellcheck disable=SC2086 # words
	set -- "$1" $1
	event=$(notify_event "$3")
	[ -n "$event" ] || return 0
	mkdir -p "$slip/spool" || return
	printf '%s %s %s\n' "$(uname -n)" "$slip" "$1" >"$slip/spool/new" || return
	id=$(sha256_of "$slip/spool/new" | cut -c 1-32)
	text=$(printf '%s' "$1" | cut -d ' ' -f 4-)
	for kind in $(notify_kinds); do
		{
			printf 'since=%s\ntries=0\nnext=0\n' "$(now)"
			printf 'subject=[%s] %s %s on %s\n' "$(conf path_in_repo)" "$(short "$4")" "$event" "$(uname -n)"
			printf 'event=%s\ncommit=%s\ntext=%s\n' "$event" "$4" "$(printf '%s' "$text" | LC_ALL=C tr -c '\040-\176' '?')"
			printf 'json={"id":"%s","event":"%s","commit":"%s","text":"%s","at":"%s","host":"%s","clone":"%s","path":"%s","address":"%s"}\n' \
				"$id" "$event" "$(json_text "$4")" "$(json_text "$text")" "$2" "$(json_text "$(uname -n)")" \
				"$(json_text "${gitdir%/.git}")" "$(conf path_in_repo)" "$(conf listen)"
		} >"$slip/spool/new" && sync_file "$slip/spool/new" && mv -f "$slip/spool/new" "$slip/spool/$id.$kind" || return
	done
}

# What the history has since the line that was told last.
notify_spool() {
	[ -d "$slip/state" ] || return 0
	told=$(cat "$slip/state/told" 2>/dev/null)
	newest=$(tail -n 1 "$slip/state/history" 2>/dev/null)
	[ "$told" != "$newest" ] || return 0
	if [ -n "$(notify_kinds)" ]; then
		awk -v told="$told" '{ line[NR] = $0; if ($0 == told) from = NR } END { for (n = from + 1; n <= NR; n++) print line[n] }' \
			"$slip/state/history" >"$slip/run/untold" || return
		while IFS= read -r entry; do
			spool_put "$entry" || {
				complain "cannot write '$slip/spool': nobody is told yet"
				return
			}
		done <"$slip/run/untold"
		rm -f "$slip/run/untold"
	fi
	printf '%s\n' "$newest" | write_state told || unwritten told || complain "$why"
}

# Beside whoever called: a receiver that hangs holds up no deploy.
notify_start() {
	set -- "$slip"/spool/*.*
	[ -e "$1" ] || return 0
	"$slip/scripts/deploy" tell >/dev/null 2>&1 </dev/null 9>&- &
}

limited() { if command -v timeout >/dev/null; then timeout "$@"; else shift && "$@"; fi; }

# deliver FILE KIND ID: to the one it is for; $slip/spool/said is why not.
deliver() {
	get() { sed -n "s/^$1=//p" "$file"; }
	file=$1
	case $2 in
	command)
		get json | SLIPWAY_ID=$3 SLIPWAY_EVENT=$(get event) SLIPWAY_COMMIT=$(get commit) SLIPWAY_TEXT=$(get text) \
			limited 60 "$(conf notify_command)"
		;;
	webhook)
		# The address may hold a token: not among the arguments, which others see.
		(umask 077 && printf 'url = "%s"\n' "$(conf notify_webhook | sed 's/\\/&&/g')" >"$slip/spool.curl") &&
			get json | curl -K "$slip/spool.curl" -sSf -o /dev/null --max-time 30 -H 'Content-Type: application/json' \
				-H 'X-Slipway-Event: deployment' -H "X-Slipway-Delivery: $3" --data-binary @-
		;;
	email)
		program=$(command -v sendmail || command -v /usr/sbin/sendmail || command -v /usr/lib/sendmail) || {
			echo "there is no sendmail"
			return 1
		}
		{
			printf 'To: %s\nSubject: %s\nMessage-ID: <%s@slipway>\n' "$(conf notify_email)" "$(get subject)" "$3"
			printf 'MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nAuto-Submitted: auto-generated\n\n'
			printf '%s is %s.\n%s\n' "$(get commit)" "$(get event)" "$(get text)"
		} | limited 60 "$program" -i -- "$(conf notify_email)"
		;;
	esac >"$slip/spool/said" 2>&1
}

# After a failure a minute is waited, then two, at most an hour; whoever is no longer to be told is not.
cmd_tell() {
	lock_base=$slip/spool.lock
	lock_take 0 || exit 0
	for file in "$slip"/spool/*.*; do
		kind=${file##*.} id=${file##*/}
		id=${id%.*}
		[ -f "$file" ] || continue
		[ -n "$(conf "notify_$kind")" ] || {
			rm -f "$file"
			continue
		}
		next=$(sed -n 's/^next=//p' "$file") tries=$(sed -n 's/^tries=//p' "$file") since=$(sed -n 's/^since=//p' "$file")
		[ "${next:-0}" -le "$(now)" ] || continue
		if deliver "$file" "$kind" "$id"; then
			rm -f "$file"
			note "told by $kind: $id"
		elif [ "$(now)" -gt $((${since:-0} + NOTIFY_DAYS * 86400)) ]; then
			rm -f "$file"
			note "given up after $NOTIFY_DAYS days to tell by $kind: $id: $(head -n 1 "$slip/spool/said")"
		else
			note "cannot tell by $kind yet: $id: $(head -n 1 "$slip/spool/said")"
			tries=$((${tries:-0} + 1))
			wait_s=$((tries > 6 ? 3600 : 60 << (tries - 1)))
			[ -z "${SLIPWAY_TELL_AGAIN-}" ] || wait_s=$SLIPWAY_TELL_AGAIN
			sed "s/^tries=.*/tries=$tries/; s/^next=.*/next=$(($(now) + wait_s))/" "$file" >"$slip/spool/again" &&
				mv -f "$slip/spool/again" "$file"
		fi
	done
	rm -f "$slip/spool/said"
	rmdir "$slip/spool" 2>/dev/null || :
}
