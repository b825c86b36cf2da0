# shellcheck shell=bash
# Helpers of the deploy tests: a deployment repository, images for it, a clone with the hooks installed.
# Sourced with $BIN and $work (an own folder) set; calls finish at the end.
# shellcheck disable=SC2154,SC2119,SC2120 # BIN, work; arguments that may be left out
parts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hooks=${parts%/tests/e2e/parts}/deploy-hooks
export GIT_CONFIG_GLOBAL=$work/gitconfig GIT_CONFIG_SYSTEM=/dev/null
git config --global user.name tester
git config --global user.email tester@example.com
git config --global init.defaultBranch main
git config --global protocol.file.allow always
export PATH=$BIN:$PATH
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac

say() { echo "-- $*"; }

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

is()
{
	[[ $1 == "$2" ]] || fail "${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: '$1', expected '$2'"
}

has()
{
	[[ $1 == *"$2"* ]] || fail "${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]}: '$2' is not in: $1"
}

# wait_for SECONDS COMMAND…: until it succeeds.
wait_for()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || fail "not within its time: $*"
		read -r -t 0.05 <> <(:) || true
	done
}

free_port()
{
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

finish()
{
	local clone
	for clone in "$work"/clone*; do
		[[ ! -x $clone/.git/slipway/scripts/deploy ]] || "$clone/.git/slipway/scripts/deploy" uninstall >/dev/null 2>&1 || true
	done
	rm -rf "$work"
}

# image NAME PAGE [MODE]: compiles an image that answers PAGE.
image()
{
	cc -O1 -D_GNU_SOURCE "-DPAGE=\"$2\"" "-DMODE=${3:-SERVE}" "$parts/web.c" -o "$work/$1"
}

commit_of() { printf '%s' "$1" | sha1sum | cut -c 1-40; }

# load_start HOST PORT [AT_LEAST]: four clients that fetch all the while until load_end, which prints what they saw.
load_start()
{
	[[ -x $work/load ]] || cc -O1 -D_GNU_SOURCE -pthread "$parts/load.c" -o "$work/load"
	touch "$work/going"
	"$work/load" "$1" "$2" "$work/going" "${3:-1}" >"$work/load.said" &
	load=$!
}

load_end()
{
	rm "$work/going"
	wait "$load"
	cat "$work/load.said"
}

# again MS WHAT COMMAND…: it succeeds at most so many ms after the time in $since, which is printed.
again()
{
	local limit=$1 what=$2 took
	shift 2
	wait_for $((limit / 1000 + 2)) "$@"
	took=$(((${EPOCHREALTIME/./} - since) / 1000))
	echo "$what after $took ms"
	((took <= limit)) || fail "$what only after $took ms"
}

# machine_image NAME [-D…]: a unikernel that serves over virtio-net, for QEMU's microvm.
machine_image()
{
	local name=$1
	shift
	gcc -m32 -march=i686 -O1 -ffreestanding -fno-pic -fno-stack-protector -nostdlib -static "$@" \
		-Wl,-Ttext=0x100000,--section-start=.note.Xen=0x200000,--build-id=none,-e,entry,-z,noexecstack \
		-o "$work/$name" "$parts/guest.c"
}

# publish COMMIT FILE [KEY=VALUE…]: as `runner publish` lays it out; a KEY changes that line of the manifest.
publish()
{
	local commit=$1 file=$2 dir=$work/publisher/unix/$1 pair
	shift 2
	mkdir -p "$dir"
	bzip2 -9c "$file" >"$dir/site.bz2"
	cat >"$dir/manifest.json" <<END
{
 "arch": "$arch",
 "backend": "unix",
 "branch": "main",
 "checks": "unix",
 "commit": "$commit",
 "emulated": false,
 "files": [],
 "format": "slipway-manifest-1",
 "image": "site",
 "image_mode": "0755",
 "image_sha256": "$(sha256sum <"$file" | cut -d ' ' -f 1)",
 "image_size": $(stat -c %s "$file"),
 "job": "test/site 1.1",
 "packed": "site.bz2",
 "packed_sha256": "$(sha256sum <"$dir/site.bz2" | cut -d ' ' -f 1)",
 "packed_size": $(stat -c %s "$dir/site.bz2"),
 "packing": "bzip2",
 "path": "unix"
}
END
	for pair; do sed -i "s|^ \"${pair%%=*}\": .*[^,]\(,\{0,1\}\)\$| \"${pair%%=*}\": ${pair#*=}\1|" "$dir/manifest.json"; done
	publish_commit "$commit"
}

publish_commit()
{
	printf '%s\n' "$1" >"$work/publisher/unix/latest"
	git -C "$work/publisher" add -A
	git -C "$work/publisher" commit -q -m "publish ${1:0:10}"
	git -C "$work/publisher" push -q
}

# A bare deployment repository with the hooks in it (their shell is $SHELL_UNDER_TEST), and a publisher's clone.
deployment_make()
{
	git init -q --bare "$work/deployment.git"
	git clone -q "$work/deployment.git" "$work/publisher" 2>/dev/null
	"$hooks/add-to" "$work/publisher"
	if [[ ${SHELL_UNDER_TEST-} ]]; then
		sed -i "1s,^#!/bin/sh,#!$SHELL_UNDER_TEST," "$work/publisher/scripts/deploy" "$work/publisher"/scripts/drivers/*.sh
	fi
	git -C "$work/publisher" add -A
	git -C "$work/publisher" commit -q -m 'the deploy hooks'
	git -C "$work/publisher" push -q -u origin HEAD
}

clone_make()
{
	clone=$work/${1:-clone}
	git clone -q "$work/deployment.git" "$clone"
	deploy=$clone/.git/slipway/scripts/deploy
	port=$(free_port)
}

install()
{
	make -s -C "$clone" install "LISTEN=127.0.0.1:$port" PROBE_SECONDS=2 WATCH=1 CRON=no "$@"
}

pull() { git -C "$clone" pull -q --ff-only 2>&1; }
page() { curl -s --max-time 5 --noproxy '*' "http://127.0.0.1:$port/"; }
serves() { [[ $(page) == "$1" ]]; }
live_pid() { "$deploy" status | sed -n 's/^running .* process \([0-9]*\) .*/\1/p'; }
live_commit() { "$deploy" status | sed -n 's/^running *\([0-9a-f]*\) .*/\1/p'; }
supervisor_pid() { "$BIN/slipway-supervise" ctl "$clone/.git/slipway/run/control" status | sed -n 's/^supervisor //p'; }
