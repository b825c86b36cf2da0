# shellcheck shell=bash disable=SC2034,SC2154 # the variables are shared with the caller
# A box that runs Xen, under QEMU without KVM: booted, told what to do, cut off. Sourced; needs $work and $rig.
# The box's disk outlives a boot; its folder of the host is $work/share.

say()
{
	printf -- '-- %s\n' "$*"
}

fail()
{
	echo "FAILED: $*" >&2
	[[ ! -e $work/serial ]] || tail -n 40 "$work/serial" | sed 's/^/  serial: /' >&2
	exit 1
}

xen_prepare()
{
	mkdir -p "$work"/share/{cmd,out} "$work/overlay/usr/bin"
	gcc -O2 -static -o "$work/overlay/usr/bin/fetch" "$here/fetch.c"
	(cd "$work/overlay" && find . | cpio -o -H newc -R 0:0 --quiet) >"$work/overlay.cpio"
	cat "$rig/base.cpio" "$work/overlay.cpio" >"$work/dom0.cpio"
	truncate -s 256M "$work/disk"
	mke2fs -q -t ext4 "$work/disk"
}

xen_boot()
{
	rm -f "$work"/share/cmd/* "$work"/share/out/*
	# Not "-cpu max": dom0 dies of it under TCG.
	qemu-system-x86_64 -accel tcg -cpu qemu64,+svm,+npt -machine q35 -smp 1 -m 640 -nodefaults -display none \
		-no-reboot -serial "file:$work/serial" -kernel "$rig/xen" \
		-append 'console=com1 com1=115200,8n1 noreboot dom0_mem=400M,max:400M dom0_max_vcpus=1 bootscrub=0 spec-ctrl=no xpti=0 loglvl=warning' \
		-initrd "$rig/vmlinux console=hvc0 quiet panic=-1 rdinit=/init,$work/dom0.cpio" \
		-drive "file=$work/disk,format=raw,if=virtio" \
		-virtfs "local,path=$work/share,mount_tag=host,security_model=none" &
	qemu=$!
}

# xen_kill: as a power cut does.
xen_kill()
{
	kill -9 "$qemu" 2>/dev/null || true
	wait "$qemu" 2>/dev/null || true
	qemu=
}

# tell COMMAND…: begins it in dom0; $commands is its number, also where the last one was told in a subshell.
tell()
{
	commands=1
	while [[ -e $work/share/cmd/$commands ]]; do ((++commands)); done
	printf '%s\n' "$*" >"$work/share/cmd/$commands.new"
	mv "$work/share/cmd/$commands.new" "$work/share/cmd/$commands"
}

# told SECONDS: waits for the last one's end; its words in $said, its status is the result.
told()
{
	local until=$((SECONDS + $1))
	until [[ -e $work/share/out/$commands.status ]]; do
		((SECONDS < until)) || fail "in dom0, not done within $1 s: $(cat "$work/share/cmd/$commands"); so far: $(cat "$work/share/out/$commands" 2>/dev/null)"
		kill -0 "$qemu" 2>/dev/null || fail "dom0 has ended in: $(cat "$work/share/cmd/$commands")"
		read -rt 0.05 <>"$work/never" || true
	done
	said=$(cat "$work/share/out/$commands")
	return "$(cat "$work/share/out/$commands.status")"
}

# dom0 COMMAND…: and waits, 300 s at the longest: the machine may be busy.
dom0()
{
	tell "$@"
	told 300
}

# has TEXT PART
has()
{
	[[ $1 == *"$2"* ]] || fail "not said: '$2' in: $1"
}
