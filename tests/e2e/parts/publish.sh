# Sourced by the tests of `runner publish`: a folder of its own, an sshd on loopback, shorthands.
# shellcheck shell=bash

# shellcheck disable=SC2034 # used by those who source this
runner=$BIN/runner
dir=$(mktemp -d "${TMPDIR:-/tmp}/slipway-publish-XXXXXX")
sshd_pid=

clean_up()
{
	[[ -z $sshd_pid ]] || kill "$sshd_pid" 2>/dev/null || true
	rm -rf "$dir"
}
trap clean_up EXIT
cd "$dir" || exit
export HOME=$dir GIT_CONFIG_NOSYSTEM=1

fail()
{
	echo "FAILED: $*"
	exit 1
}

# same WANTED GOT WHAT
same()
{
	[[ $1 == "$2" ]] || fail "$3: expected '$1', got '$2'"
}

# refused KIND TEXT COMMAND…: exit status 1 and, on stderr, "runner publish: " and a message that matches TEXT (a
# pattern); KIND is what --json calls it.
refused()
{
	local kind=$1 text=$2 rc=0
	shift 2
	"$@" --json >out 2>err || rc=$?
	same 1 "$rc" "exit status of $*: $(cat err)"
	# shellcheck disable=SC2053 # TEXT is a pattern
	[[ $(tail -n 1 err) == "runner publish: "$text ]] || fail "expected the message '$text', got '$(cat err)'"
	same "$kind" "$(tail -n 1 out | sed 's/.*"kind":"\([a-z]*\)".*/\1/')" "kind"
}

# start_sshd: sets $port and $sshd_pid; the host key is ./hostkey, the users' keys are ./authorized.
start_sshd()
{
	local tries=0 start
	[[ -x /usr/sbin/sshd ]] || {
		echo "skip: no /usr/sbin/sshd"
		exit 77
	}
	((EUID != 0)) || mkdir -p /run/sshd
	[[ -e hostkey ]] || ssh-keygen -q -t ed25519 -N '' -f hostkey
	touch authorized
	while ((tries++ < 20)); do
		port=$((20000 + RANDOM % 20000))
		cat >sshd_config <<-EOT
			ListenAddress 127.0.0.1:$port
			HostKey $dir/hostkey
			AuthorizedKeysFile $dir/authorized
			PidFile none
			UsePAM no
			StrictModes no
			PasswordAuthentication no
			PermitRootLogin prohibit-password
			MaxStartups 100
			AcceptEnv GIT_TRACE
		EOT
		/usr/sbin/sshd -D -e -f "$dir/sshd_config" 2>sshd.log &
		sshd_pid=$!
		start=$SECONDS
		while kill -0 "$sshd_pid" 2>/dev/null && ((SECONDS - start < 10)); do
			if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && grep -q "listening on 127.0.0.1 port $port" sshd.log; then
				return 0
			fi
			read -rt 0.05 <> <(:) || true
		done
		kill "$sshd_pid" 2>/dev/null || true
		wait "$sshd_pid" 2>/dev/null || true
	done
	cat sshd.log
	fail "sshd does not start"
}

stop_sshd()
{
	kill "$sshd_pid"
	wait "$sshd_pid" 2>/dev/null || true
	sshd_pid=
}

ssh_url()
{
	echo "ssh://$(id -un)@127.0.0.1:$port$dir/$1"
}

# sha CHARACTER: 40 of them
sha()
{
	printf "$1%.0s" {1..40}
}
