# shellcheck shell=sh
# `install` and `uninstall`: the hook, the poll, the settings and the installed scripts.
# shellcheck disable=SC2034,SC2154,SC2015 # shared variables; "a && b || c": c for either

hook_text() {
	cat <<'END'
#!/bin/sh
# slipway: deploys what the pull brought; written by `make install`, removed by `make uninstall`
[ -z "${SLIPWAY_POLL-}" ] || exit 0
deploy=$(git rev-parse --absolute-git-dir)/slipway/scripts/deploy
[ ! -x "$deploy" ] || "$deploy" deploy hook || :
END
}

needs() {
	for tool in git bunzip2 curl awk sed od df; do
		command -v $tool >/dev/null || die "'$tool' is not on this box"
	done
	command -v sha256sum >/dev/null || command -v openssl >/dev/null || die "neither 'sha256sum' nor 'openssl' is on this box"
}

# The settings: what is given now, else what was kept, else nothing (the default then holds, also a later one).
conf_new() {
	echo "# Settings of the deploy hooks; changed by 'make install NAME=VALUE'. What is not here has its default."
	for name in $(settings | cut -d '|' -f 1); do
		value=$(sed -n "s/^$name=//p" "$slip/deploy.conf" 2>/dev/null)
		for pair in "$@"; do
			# An older name: CRON=no is MODE=none.
			case $pair in CRON=yes) pair=MODE=cron ;; CRON=no) pair=MODE=none ;; esac
			[ "${pair%%=*}" != "$(echo "$name" | tr '[:lower:]' '[:upper:]')" ] || value=${pair#*=}
		done
		[ -n "$value" ] || continue
		printf '%s\n' "$value" | grep -Eqx -e "$(setting_pattern "$name")" ||
			die "$(echo "$name" | tr '[:lower:]' '[:upper:]') cannot be '$value': $(setting_help "$name")"
		[ "$(printf '%s' "$value" | wc -l)" = 0 ] || die "$name is one line"
		printf '%s=%s\n' "$name" "$value"
	done
}

# Into the state folder as a whole; a shell that still runs the old ones has read them already.
scripts_copy() {
	[ "$here" != "$slip/scripts" ] || return 0
	rm -rf "$slip/scripts.new" "$slip/scripts.old"
	mkdir "$slip/scripts.new" && cp -R "$here/." "$slip/scripts.new" && chmod -R u+rwX "$slip/scripts.new" &&
		chmod +x "$slip/scripts.new/deploy" "$slip"/scripts.new/drivers/*.sh || die "cannot copy the scripts to '$slip'"
	[ ! -e "$slip/scripts" ] || mv "$slip/scripts" "$slip/scripts.old"
	mv "$slip/scripts.new" "$slip/scripts" || die "cannot write '$slip/scripts'"
	rm -rf "$slip/scripts.old"
}

hook_path() {
	hooks=$(git -C "${gitdir%/.git}" rev-parse --git-path hooks)
	case $hooks in /*) ;; *) hooks=${gitdir%/.git}/$hooks ;; esac
	printf '%s/post-merge' "$hooks"
}

hook_install() {
	hook=$(hook_path)
	# The hook of 2015 destroys what runs before it looks at anything: it and ours cannot both be there.
	case $(conf compat):$(readlink "$hook") in
	seed:*/scripts/post-merge.hook)
		mv -f "$hook" "$hook.seed" || die "cannot move '$hook'"
		say "the hook of before is '$hook.seed' now; uninstall puts it back"
		;;
	esac
	if [ -e "$hook" ] && ! grep -q '^# slipway: ' "$hook"; then
		if grep -q 'slipway/scripts/deploy' "$hook"; then return 0; fi
		# shellcheck disable=SC2016 # to be pasted as it is
		complain "'$hook' is not ours and stays as it is. To deploy on each pull, add this line to it:" \
			'"$(git rev-parse --absolute-git-dir)/slipway/scripts/deploy" deploy hook || :'
		return 0
	fi
	if [ ! -d "${hook%/*}" ]; then
		mkdir -p "${hook%/*}" || die "cannot make '${hook%/*}'"
		echo "hooks=${hook%/*}" >>"$slip/made"
	fi
	hook_text >"$hook.new" && chmod 755 "$hook.new" && mv -f "$hook.new" "$hook" || die "cannot write '$hook'"
	case $hook in "$gitdir"/*) ;; *) say "core.hooksPath: the hook is '$hook'; in other clones it does nothing" ;; esac
	say "hook: $hook"
}

# self_update: the scripts of HEAD are installed where they are others than the installed ones.
self_update() {
	[ "$(conf self_update)" = yes ] && [ -z "${SLIPWAY_UPDATED-}" ] || return 0
	tree=$(git_here rev-parse -q --verify HEAD:scripts) && [ "$tree" != "$(cat "$slip/scripts.tree" 2>/dev/null)" ] || return 0
	rm -rf "$slip/update"
	mkdir "$slip/update" && git_here archive --format=tar HEAD scripts | tar -x -C "$slip/update" && [ -f "$slip/update/scripts/deploy" ] || {
		complain "the scripts that came cannot be unpacked; those that are installed go on"
		rm -rf "$slip/update"
		return 0
	}
	for script in "$slip/update/scripts/deploy" "$slip"/update/scripts/*.sh; do
		sh -n "$script" 2>/dev/null && continue
		complain "the scripts that came are no good ('${script##*/}'); those that are installed go on"
		printf '%s\n' "$tree" >"$slip/scripts.tree"
		rm -rf "$slip/update"
		return 0
	done
	say "the scripts that came are installed (self_update)"
	[ -z "${lock_folder-}" ] || rm -rf "$lock_folder"
	SLIPWAY_UPDATED=1 exec sh "$slip/update/scripts/deploy" install
}

given_check() {
	for pair in "$@"; do
		name=${pair%%=*}
		case $pair in *=*) ;; *) die "'$pair' is not NAME=VALUE" ;; esac
		case $pair in CRON=yes | CRON=no) ;; CRON=*) die "CRON is yes or no" ;; esac
		[ "$name" = CRON ] || [ "$name" = PUBLIC_KEY ] || settings | cut -d '|' -f 1 | tr '[:lower:]' '[:upper:]' | grep -qx -e "$name" ||
			die "there is no setting '$name'; 'make help' lists them"
	done
}

# keys_pin WHAT: a file of minisign's public keys (its comments are left out), a key itself, or none.
keys_pin() {
	if [ "$1" = none ]; then
		rm -f "$slip/public.keys"
		return
	fi
	if [ -f "$1" ]; then keys=$(grep -v '^untrusted comment:' "$1"); else keys=$1; fi
	[ -n "$keys" ] && ! printf '%s\n' "$keys" | grep -qvE '^RW[A-Za-z0-9+/]{54}$' ||
		die "PUBLIC_KEY '$1' is neither a file of public keys nor one (runner repo sign-key NAME prints it)"
	printf '%s\n' "$keys" >"$slip/public.keys.new" && sync_file "$slip/public.keys.new" && mv -f "$slip/public.keys.new" "$slip/public.keys" || die "cannot write '$slip/public.keys'"
}

keys_install() {
	for pair in "$@"; do
		case $pair in PUBLIC_KEY=?*) keys_pin "${pair#*=}" ;; esac
	done
	if pinned; then
		command -v minisign >/dev/null || die "'minisign' is not on this box: signatures cannot be checked"
		say "signatures: by $(wc -l <"$slip/public.keys" | tr -d ' ') pinned key(s)"
	else
		say "signatures are not checked: whoever can push to this repository decides what runs (PUBLIC_KEY=… pins a key)"
	fi
}

cmd_install() {
	given_check "$@"
	needs
	[ "$gitdir" = "${gitdir%/.git}/.git" ] && [ -d "$gitdir" ] && [ "$(conf_clone 2>/dev/null)" = "${gitdir%/.git}" ] ||
		die "'$gitdir' is not the .git folder of an ordinary clone"
	mkdir -p "$slip/state/held" "$slip/images" "$slip/log" "$slip/run" || die "cannot write '$slip'"
	chmod 700 "$slip/run" "$slip/state"
	lock_take 60 || die "another deploy is going on here"
	[ ! -x "$slip/scripts/deploy" ] || before=$(conf_of_running)
	(umask 077 && conf_new "$@" >"$slip/deploy.conf.new") || exit 1
	driver_now=$(sed -n 's/^driver=//p' "$slip/deploy.conf.new")
	[ -x "$here/drivers/${driver_now:-unix}.sh" ] || die "there is no driver '$driver_now' in scripts/drivers"
	# What can be refused is, before anything is stopped.
	said=$(with_new driver check 2>&1) || die "$said"
	keys_install "$@"
	scripts_copy
	here=$slip/scripts
	install_settings
	hook_install
	git_here rev-parse -q --verify HEAD:scripts >"$slip/scripts.tree" || :
	rm -rf "$slip/update"
	timer_install
	watch_stop
	watch_start
	say "installed: $(conf driver), $(in_repo latest), http://$(conf listen)$(conf probe)"
	cd "$slip" || exit 1
	cmd_deploy install
}

# What an image was started with.
conf_of_running() {
	for name in driver listen run_as $(driver_settings); do echo "$name=$(conf "$name")"; done
}

# with_new COMMAND…: under the settings that are not in force yet. In a shell of its own.
with_new() (
	conf_file=$slip/deploy.conf.new driver_program=
	conf_load
	"$@"
)

# Another address, driver or user: what runs was started with the old ones and is started again with the new.
install_settings() {
	after=$(with_new conf_of_running) stopped=
	if [ -n "${before-}" ] && [ "$before" != "$after" ] && driver running >/dev/null 2>&1; then
		say "the settings of the running image change: it is started again"
		driver stop
		stopped=1
	fi
	sync_file "$slip/deploy.conf.new"
	mv -f "$slip/deploy.conf.new" "$slip/deploy.conf" || die "cannot write '$slip/deploy.conf'"
	driver_program=
	conf_load
	# At once: what is still to be installed may fail.
	driver_ready
	[ -z "$stopped" ] || ensure_current || :
}

cmd_uninstall() {
	timer_remove
	watch_stop
	if driver running >/dev/null 2>&1; then say "the site is stopped"; fi
	said=$(driver stop 2>&1) || complain "$said"
	hook=$(hook_path)
	if [ -f "$hook" ] && grep -q '^# slipway: ' "$hook"; then rm -f "$hook"; fi
	if [ -L "$hook.seed" ] && [ ! -e "$hook" ]; then mv "$hook.seed" "$hook"; fi
	made=$(sed -n 's/^hooks=//p' "$slip/made" 2>/dev/null)
	[ -z "$made" ] || rmdir "$made" 2>/dev/null
	cd "$gitdir" || exit 1
	rm -rf "$slip"
	echo "deploy: removed: hook, poll, settings, images, logs"
}
