# shellcheck shell=bash disable=SC2034 # the variables are for those who source this
# What the demo, the end-to-end tests and the bench share: a runner, a site repository, a deployment repository behind
# a real sshd, all below one throwaway folder on loopback. Sourced by bash with `set -euo pipefail`; $BIN is the
# folder of the programs. Everything started here is stopped by flow_end, by process id.

flow_pids=()

# flow_begin: the folder ($work) and an environment that no setting of the user's leaks into.
flow_begin() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/slipway.XXXXXX")
	export SLIPWAY_STATE=$work/state PATH=$BIN:$PATH
	export GIT_CONFIG_GLOBAL=$work/gitconfig GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
	unset "${!GIT_DIR@}" "${!GIT_WORK_TREE@}" "${!GIT_INDEX_FILE@}" 2>/dev/null || true
	git config --file "$GIT_CONFIG_GLOBAL" user.name 'A Person'
	git config --file "$GIT_CONFIG_GLOBAL" user.email person@example.org
	git config --file "$GIT_CONFIG_GLOBAL" init.defaultBranch main
	git config --file "$GIT_CONFIG_GLOBAL" advice.detachedHead false
	git config --file "$GIT_CONFIG_GLOBAL" gc.auto 0
}

# flow_wait SECONDS WHAT COMMAND...: until the command succeeds; says WHAT when it never does.
flow_wait() {
	local until=$((SECONDS + $1)) what=$2
	shift 2
	until "$@"; do
		if ((SECONDS >= until)); then
			echo "waited in vain for: $what" >&2
			return 1
		fi
		read -rt 0.05 <> <(:) || true
	done
}

flow_now_ms() { date +%s%3N; }

flow_free_port() {
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# flow_serve [OPTION...]: the daemon; sets $serve_pid and $serve_url.
flow_serve() {
	rm -f "$SLIPWAY_STATE/serve.addr"
	runner serve --listen 127.0.0.1:0 "$@" >>"$work/serve.out" 2>>"$work/serve.log" </dev/null &
	serve_pid=$!
	flow_pids+=("$serve_pid")
	flow_wait 20 'runner serve to listen' flow_listens || { cat "$work/serve.log" >&2 && return 1; }
	serve_url=$(cat "$SLIPWAY_STATE/serve.addr")
}
flow_listens() { [ -s "$SLIPWAY_STATE/serve.addr" ] || ! kill -0 "$serve_pid"; }

# flow_sshd: an sshd for this user, on loopback or $flow_ssh_address, that lets the keys in $work/ssh/authorized_keys do
# git and nothing else; sets $ssh_port.
flow_sshd() {
	mkdir -p "$work/ssh"
	[ "$(id -u)" != 0 ] || mkdir -p /run/sshd
	[ -e "$work/ssh/host" ] || ssh-keygen -q -t ed25519 -N '' -C host -f "$work/ssh/host"
	touch "$work/ssh/authorized_keys"
	ssh_port=$(flow_free_port)
	cat >"$work/ssh/config" <<-END
		Port $ssh_port
		ListenAddress ${flow_ssh_address:-127.0.0.1}
		HostKey $work/ssh/host
		PidFile none
		UsePAM no
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		PermitRootLogin prohibit-password
		AuthorizedKeysFile $work/ssh/authorized_keys
		StrictModes no
	END
	/usr/sbin/sshd -D -e -f "$work/ssh/config" 2>"$work/ssh/log" </dev/null &
	flow_pids+=("$!")
	flow_wait 10 'sshd to listen' flow_port_open "$ssh_port" "${flow_ssh_address:-127.0.0.1}" ||
		{ cat "$work/ssh/log" >&2 && return 1; }
}
flow_port_open() { (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null; }

# flow_allow_key FILE.pub: this key may push and fetch.
flow_allow_key() {
	# shellcheck disable=SC2016 # sshd's shell is to expand it
	printf 'restrict,command="git-shell -c \\"$SSH_ORIGINAL_COMMAND\\"" %s\n' "$(cat "$1")" >>"$work/ssh/authorized_keys"
}

# flow_repositories NAME: bare site and deployment repositories, the first registered as NAME and hooked up, the second
# with the deploy hooks in it; sets $site_url and $deploy_url (by ssh; flow_sshd first).
flow_repositories() {
	local top
	top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
	site_url=$work/site.git
	deploy_url=ssh://$(id -un)@127.0.0.1:$ssh_port$work/deployment.git
	git init -q --bare "$site_url"
	git init -q --bare "$work/deployment.git"
	git init -q "$work/hooks"
	"$top/deploy-hooks/add-to" "$work/hooks"
	git -C "$work/hooks" add -A
	git -C "$work/hooks" commit -qm 'deploy hooks'
	git -C "$work/hooks" push -q "$work/deployment.git" HEAD:main
	rm -rf "$work/hooks"
	runner repo add "$1" "$site_url" >"$work/repo-add.out"
	runner hook install --repo "$1" "$site_url" >>"$work/repo-add.out"
}

# flow_deploy_key NAME CI_YML: a fresh deploy key, allowed at the sshd, its private half sealed into the file and never
# in one of its own.
flow_deploy_key() {
	senv keygen --ssh DEPLOY_KEY -C "deploy key of $1" -k "$(runner repo key "$1")" --scope "$1" --add "$2" \
		>"$work/deploy-key.pub"
	flow_allow_key "$work/deploy-key.pub"
}

# flow_stop PID: this process, and wait until it is gone.
flow_stop() {
	kill "$1" 2>/dev/null || return 0
	wait "$1" 2>/dev/null || true
}

# flow_running_jobs: 0 while a leader of this runner lives.
flow_running_jobs() {
	runner status --json 2>/dev/null | python3 -c '
import json, sys
live = [j for b in json.load(sys.stdin) for j in b["jobs"] if j["state"] in ("running", "publishing")]
sys.exit(0 if live else 1)'
}
flow_no_running_jobs() { ! flow_running_jobs; }

# flow_end: what was started is stopped, the folder removed; with jobs still under way they are canceled first.
flow_end() {
	local status=$? pid job
	trap '' HUP INT TERM
	set +e
	if [ -d "$SLIPWAY_STATE" ] && flow_running_jobs; then
		for job in $(runner status --json | python3 -c '
import json, sys
print(*[j["number"] for b in json.load(sys.stdin) for j in b["jobs"] if not j["finished_at_ms"]])'); do
			runner cancel "$job" 2>/dev/null
		done
		flow_wait 20 'the jobs to end' flow_no_running_jobs
	fi
	[ ! -d "$work/box" ] || make -s -C "$work/box" uninstall >/dev/null 2>&1
	for pid in "${flow_pids[@]}"; do flow_stop "$pid"; done
	! mountpoint -q "$SLIPWAY_STATE" || umount "$SLIPWAY_STATE"
	rm -rf "$work" 2>/dev/null || { echo "left behind: $work" >&2 && status=1; }
	return $status
}
