# shellcheck shell=sh
# One image goes live, or is held while the old one goes on serving:
#
#   fetch ─→ beside ─→ probe ─→ switch ─→ watch ─→ record
#     └────────┴─────────┴────────┴─────────┴── fails: hold; after the switch also: back to the old one
#
# Where there is no room for two (a driver says so), it takes the old one's place and is probed there.
#
# state/deploying says how far it is, so that a run after a kill -9 or a power cut knows. Steps before the switch are
# begun anew; from the switch on, what runs decides.
# shellcheck disable=SC2154,SC2015 # why, image, slip…: shared with the other parts

step() {
	printf 'commit=%s\nstep=%s\nattempt=%s\nhow=%s\n' "$commit" "$1" "$attempt" "$how" | write_state deploying || unwritten deploying || return
	fault "$1"
}

# answers ADDRESS: the probe page is right. Else why says what was wrong.
answers() {
	patience=$(conf probe_seconds)
	[ "$patience" -le 5 ] || patience=5
	code=$(curl -s -o "$slip/run/answer" -w '%{http_code}' --max-time "$patience" --noproxy '*' "http://$1$(conf probe)" 2>/dev/null 9>&-)
	case $? in
	0) ;;
	28) why="GET $(conf probe) did not answer within $patience s" ;;
	*) why="GET $(conf probe) is not answered" ;;
	esac
	if [ "$code" != 000 ]; then
		why="GET $(conf probe) answered $code, expected $(conf status)"
		[ "$code" = "$(conf status)" ] || return 1
		contains=$(conf contains)
		[ -z "$contains" ] || grep -qF -e "$contains" "$slip/run/answer" || {
			why="GET $(conf probe) answered without '$contains'"
			return 1
		}
		return 0
	fi
	return 1
}

probe_beside() {
	deadline=$(($(now) + $(conf probe_seconds))) why=''
	while :; do
		# Asked also when the time is over: that it has ended says more than that it does not answer.
		address=$(driver probe-address "$commit" 2>&1) || {
			why=$(printf '%s' "$address" | head -n 1)
			return 1
		}
		[ -z "$why" ] || [ "$(now)" -lt "$deadline" ] || return 1
		why=''
		answers "$address" && return
		[ "$(now)" -ge "$deadline" ] || pause
	done
}

# live COMMIT: it is what runs. Sets pid, restarts, address and noun.
live() {
	runs=$(driver running 2>/dev/null) || return 1
	# shellcheck disable=SC2086 # words
	set -- "$1" $runs
	pid=$3 restarts=$4 address=$6 noun=${7:-process}
	[ "$1" = "$2" ]
}

watch_live() {
	watch=$(conf watch) misses=0
	# The clock counts whole seconds: one more, so that it is never less than what was asked for.
	end=$(($(now) + watch + (watch > 0)))
	while :; do
		if answers "$address"; then misses=0; else misses=$((misses + 1)); fi
		# After the answer: it may have come from one that was started again meanwhile.
		live "$commit" && [ "$restarts" = 0 ] || { why="it ended while it was watched"; return 1; }
		[ $misses -lt 3 ] || return 1
		[ "$(now)" -lt "$end" ] || [ $misses -gt 0 ] || return 0
		pause
	done
}

# bring_back COMMIT: an image that was proven before serves again.
bring_back() {
	kept_image "$1" || {
		complain "$(short "$1") is not here any more, whole"
		return 1
	}
	if [ -z "$(driver running 2>/dev/null)" ]; then
		said=$(driver resume "$1" "$image" 2>&1)
	else
		said=$(driver start-beside "$1" "$image" 2>&1)
		case $? in
		0) said=$(driver switch "$1" 2>&1) ;;
		3) said=$(driver switch "$1" "$image" 2>&1) ;;
		*) false ;;
		esac
	fi || {
		complain "cannot start $(short "$1"): $said"
		return 1
	}
}

# What serves is what was recorded: after a reboot, a kill, a change by hand.
ensure_current() {
	current=$(state current commit)
	[ -n "$current" ] || return 0
	live "$current" && return
	bring_back "$current" || return
	remember again "$current" "" || complain "$why"
	say "$(short "$current") serves again"
}

# put_on_hold COMMIT REASON: with the end of what it printed.
put_on_hold() {
	rm -f "$slip/state/held/$1.console"
	driver console "$1" 2>/dev/null | tail -c 65536 >"$slip/state/held/$1.console" 2>/dev/null
	driver stop-beside "$1" >/dev/null 2>&1
	complain "$(short "$1") is held: $2"
	[ ! -s "$slip/state/held/$1.console" ] || {
		echo "deploy: its console ends:"
		tail -n 10 "$slip/state/held/$1.console" | sed 's/^/	/'
	} >&2
	hold "$1" "$2" "$(published_id "$1")" || complain "$why"
	rm -f "$slip/state/deploying"
}

# Ends a deploy that failed. $1: 1 the image is at fault, 2 this box is.
give_up() {
	driver stop-beside "$commit" >/dev/null 2>&1
	if [ "$1" = 1 ]; then
		put_on_hold "$commit" "$why"
	else
		complain "$(short "$commit") is not deployed: $why"
		rm -f "$slip/state/deploying"
	fi
	current=$(state current commit)
	[ -z "$current" ] || say "$(short "$current") goes on serving"
	return 1
}

# The public has it, and it is no good: the old one serves again.
take_back() {
	old=$(state current commit) reason=$why
	if [ -n "$old" ] && [ "$old" != "$commit" ]; then
		bring_back "$old" || complain "nothing proven serves"
	else
		driver stop
	fi
	why=$reason
	give_up "$1"
}

# After the switch: watch, then record, or back to the old one.
settle() {
	step watch || {
		complain "$why"
		return 1
	}
	watch_live || { take_back 1; return; }
	fault watched
	record || {
		complain "$(short "$commit") is live, but not recorded: $why"
		return 1
	}
}

record() {
	step record || return
	old=$(state current commit)
	if [ "$old" = "$commit" ]; then old=$(state current previous); fi
	remember "$how" "$commit" "${old:+after $old}" || return
	fault remembered
	printf 'commit=%s\nprevious=%s\nsince=%s\nhow=%s\n' "$commit" "$old" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$how" |
		write_state current || unwritten current || return
	fault recorded
	rm -f "$slip/state/deploying" "$slip/state/held/$commit" "$slip/state/held/$commit.console"
	images_prune
}

# roll_out COMMIT HOW: the whole way. HOW is a word of the history: deployed, rollback.
roll_out() {
	commit=$1 how=$2 why='' attempt=1
	[ "$(state deploying commit)" != "$commit" ] || attempt=$(($(state deploying attempt) + 1))
	[ $attempt -le 3 ] || {
		why="its deploy was cut off three times"
		give_up 1
		return
	}
	step fetch || { give_up 2; return; }
	# A rollback goes to what was here, as whoever is at this box says.
	if ! if [ "$how" = rollback ]; then kept_image "$commit"; else kept_signed "$commit"; fi; then
		fetch_image "$commit" || { give_up $?; return; }
	fi
	say "$(short "$commit") is verified: ${image##*/}, $(($(wc -c <"$image") / 1024)) kB"
	step beside || { give_up 2; return; }
	why=$(driver start-beside "$commit" "$image" 2>&1)
	case $? in
	0)
		step probe || { give_up 2; return; }
		probe_beside || { give_up 1; return; }
		say "$(short "$commit") booted beside the old one and answers on $address"
		step switch || { give_up 2; return; }
		why=$(driver switch "$commit" 2>&1) || { give_up 1; return; }
		;;
	3)
		say "$(short "$commit") takes the place of the old one: $why"
		step switch || { give_up 2; return; }
		if ! why=$(driver switch "$commit" "$image" 2>&1) || ! probe_beside; then
			take_back 1
			return
		fi
		;;
	2)
		give_up 2
		return
		;;
	*)
		give_up 1
		return
		;;
	esac
	fault switched
	live "$commit" || { why="it does not run after the switch"; give_up 1; return; }
	say "$(short "$commit") is live on $address, $noun $pid"
	settle || return 1
	say "$(short "$commit") was watched for $(conf watch) s and is recorded"
}

# What a run finds that an earlier one left behind.
recover() {
	rm -f "$slip"/state/*.new.* "$slip"/state/held/*.new.*
	commit=$(state deploying commit)
	[ -n "$commit" ] || { ensure_current; return; }
	how=$(state deploying how) attempt=$(state deploying attempt) at=$(state deploying step)
	say "the deploy of $(short "$commit") was cut off at: $at"
	case $at in
	switch | watch | record)
		if live "$commit"; then
			settle
			return
		fi
		;;
	esac
	driver stop-beside "$commit" >/dev/null 2>&1
	ensure_current
}
