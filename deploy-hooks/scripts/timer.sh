# shellcheck shell=sh
# What makes the box look again and start the site after a reboot: lines of the crontab, units of systemd, or nothing.
# shellcheck disable=SC2154,SC2015 # shared variables; "a && b || c": c for either

mode() {
	case $(conf mode) in
	auto)
		if [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ] && ! command -v crontab >/dev/null; then echo systemd; else echo cron; fi
		;;
	*) conf mode ;;
	esac
}

timer_install() {
	case $(mode) in
	systemd)
		cron_remove
		units_install
		;;
	cron)
		units_remove
		cron_install
		;;
	none)
		cron_remove
		units_remove
		say "no poll (as asked): a pull by hand or by something else deploys"
		;;
	esac
}

timer_remove() {
	cron_remove
	units_remove
}

cron_mark() { printf '# slipway:%s' "$slip"; }

# cron_merge [LINE…]: the user's crontab without our lines, and with these. Never anything else of it.
cron_merge() {
	old=$(crontab -l 2>"$slip/cron.said") || {
		grep -Eqi "no crontab for|can't open '[^/]*': No such file" "$slip/cron.said" || {
			why="cannot read the crontab: $(head -n 1 "$slip/cron.said")"
			rm -f "$slip/cron.said"
			return 1
		}
		old=
	}
	rm -f "$slip/cron.said"
	new=$({
		[ -z "$old" ] || printf '%s\n' "$old" | awk -v mark="$(cron_mark)" '
			substr($0, length($0) - length(mark) + 1) != mark'
		for entry; do printf '%s %s\n' "$entry" "$(cron_mark)"; done
	})
	[ "$new" != "$old" ] || return 0
	if [ -z "$new" ]; then crontab -r; else printf '%s\n' "$new" | crontab -; fi || {
		why="cannot change the crontab"
		return 1
	}
}

cron_remove() {
	grep -qx cron=yes "$slip/made" 2>/dev/null || return 0
	cron_merge || complain "$why; take the lines with '$(cron_mark)' out of it"
}

cron_daemon_runs() { grep -qsxE 'cron|crond|anacron|fcron|dcron' /proc/[0-9]*/comm; }

cron_install() {
	command -v crontab >/dev/null || {
		say "no poll: there is no crontab command; run '$slip/scripts/deploy poll' from something else"
		return 0
	}
	case $slip in *[\'%]*)
		complain "no poll: the clone's path holds a quote or a percent sign"
		return 0
		;;
	esac
	program="'$slip/scripts/deploy'"
	if [ "$(conf poll)" = 0 ]; then
		cron_merge "@reboot $program start"
	else
		cron_merge "*/$(conf poll) * * * * $program poll" "@reboot $program start"
	fi || {
		complain "no poll: $why"
		return 0
	}
	grep -qx cron=yes "$slip/made" 2>/dev/null || echo cron=yes >>"$slip/made"
	if [ "$(conf poll)" = 0 ]; then say "no poll (as asked)"; else say "poll: every $(conf poll) minutes, by cron"; fi
	cron_daemon_runs || complain "no cron daemon runs here: nothing polls until one does"
}

units=/etc/systemd/system

# One name for a clone, wherever it is: its folder's and some digits of its path's hash.
unit_name() {
	folder=${gitdir%/.git}
	printf '%s' "$slip" >"$slip/unit.path"
	printf 'slipway-%s-%.8s' "$(printf '%s' "${folder##*/}" | tr -c 'A-Za-z0-9_-' _)" "$(sha256_of "$slip/unit.path")"
	rm -f "$slip/unit.path"
}

# What a unit starts (the site's supervisor) is to outlive it, hence KillMode=process.
unit_text() {
	program="\"$(printf '%s' "$slip" | sed 's/%/%%/g; s/\$/$$/g')/scripts/deploy\""
	echo "# slipway: written by 'make install', removed by 'make uninstall'"
	case $1 in
	*-watch.service)
		cat <<-EOF
			[Unit]
			Description=Slipway hears of publications for ${gitdir%/.git}
			Wants=network-online.target
			After=network-online.target
			[Service]
			Environment="HOME=$HOME" "PATH=$PATH"
			ExecStart=$program watch
			KillMode=process
			Restart=always
			RestartSec=5
			[Install]
			WantedBy=multi-user.target
		EOF
		;;
	*.service)
		cat <<-EOF
			[Unit]
			Description=Slipway starts and deploys ${gitdir%/.git}
			Wants=network-online.target
			After=network-online.target
			[Service]
			Type=oneshot
			Environment="HOME=$HOME" "PATH=$PATH"
			ExecStart=$program start
			ExecStart=$program poll
			KillMode=process
			[Install]
			WantedBy=multi-user.target
		EOF
		;;
	*.timer)
		cat <<-EOF
			[Unit]
			Description=Slipway polls for ${gitdir%/.git}
			[Timer]
			OnBootSec=1min
			OnUnitInactiveSec=$(conf poll)min
			RandomizedDelaySec=15
			[Install]
			WantedBy=timers.target
		EOF
		;;
	esac
}

# unit_write NAME: 0 where it changed.
unit_write() {
	unit_text "$1" >"$slip/unit.new"
	if cmp -s "$slip/unit.new" "$units/$1"; then
		rm -f "$slip/unit.new"
		return 1
	fi
	cp "$slip/unit.new" "$units/$1.new" && chmod 644 "$units/$1.new" && mv -f "$units/$1.new" "$units/$1" || die "cannot write '$units/$1'"
	rm -f "$slip/unit.new"
}

units_install() {
	[ "$(id -u)" = 0 ] || die "MODE=systemd writes units, which only root can; MODE=cron needs no root"
	[ -d /run/systemd/system ] || die "MODE=systemd: systemd does not run here; MODE=cron or none does"
	case $slip$HOME$PATH in *[\"\\]*) die "MODE=systemd: a path here holds a quote or a backslash" ;; esac
	name=$(unit_name)
	want="$name.service"
	[ "$(conf poll)" = 0 ] || want="$want $name.timer"
	[ -z "$(conf stream)" ] || want="$want $name-watch.service"
	for unit in $name.service $name.timer $name-watch.service; do
		case " $want " in *" $unit "*) ;; *) unit_drop "$unit" ;; esac
	done
	grep -qx "units=$name" "$slip/made" 2>/dev/null || echo "units=$name" >>"$slip/made"
	for unit in $want; do unit_write "$unit" && changed=1; done
	[ -z "${changed-}" ] || systemctl daemon-reload || die "systemd does not take the units"
	# shellcheck disable=SC2086 # words
	systemctl -q enable $want || die "systemd does not enable the units"
	for unit in $want; do
		case $unit in
		*.timer) systemctl start "$unit" ;;
		*-watch.service) systemctl restart "$unit" ;;
		esac || die "systemd does not start '$unit'"
	done
	say "poll: by systemd, $want"
}

unit_drop() {
	[ -e "$units/$1" ] || return 0
	systemctl -q disable --now "$1" 2>/dev/null
	rm -f "$units/$1"
	systemctl daemon-reload 2>/dev/null
	systemctl reset-failed "$1" 2>/dev/null || :
}

units_remove() {
	name=$(sed -n 's/^units=//p' "$slip/made" 2>/dev/null)
	[ -n "$name" ] || return 0
	for unit in "$name.timer" "$name-watch.service" "$name.service"; do unit_drop "$unit"; done
}
