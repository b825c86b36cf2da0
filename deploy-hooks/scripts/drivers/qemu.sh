#!/bin/sh
# Driver for unikernels that boot by PVH (an ELF file with Xen's note) in QEMU's microvm, with a virtio-net device.
# The verbs are in ../machine.sh; this says what is special to QEMU.
# shellcheck disable=SC2034,SC2154 # kind, groups, link, mac, args: shared with machine.sh
set -u
kind=qemu

program() {
	case $(uname -m) in x86_64 | i?86) echo qemu-system-x86_64 ;; *) uname -m ;; esac
}

accel() {
	case $QEMU_ACCEL in
	auto) if [ -w /dev/kvm ] && grep -Eqw 'vmx|svm' /proc/cpuinfo; then echo kvm; else echo tcg; fi ;;
	*) echo "$QEMU_ACCEL" ;;
	esac
}

tender_check() {
	command -v "$(program)" >/dev/null || fail 2 "'$(program)' is not on this box (QEMU's microvm is for x86)"
	"$(program)" -machine help 2>/dev/null | grep -q '^microvm ' || fail 2 "'$(program)' has no machine 'microvm'"
	[ "$(accel)" != kvm ] || [ -w /dev/kvm ] || fail 2 "QEMU_ACCEL=kvm, and there is no /dev/kvm to be used"
}

image_check() {
	[ "$(head -c 4 "$1" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ] || fail 1 "it is no ELF file: QEMU would not boot it"
	LC_ALL=C grep -q 'Xen' "$1" || fail 1 "it has no note of Xen's in it: QEMU would not boot it"
}

tender() {
	[ "$(accel)" != kvm ] || groups="--groups $(stat -c %g /dev/kvm)"
	as_user "$(program)" -accel "$(accel)" -machine microvm -nodefaults -no-user-config -no-reboot -display none \
		-chardev stdio,id=console,signal=off -serial chardev:console -device isa-debug-exit,iobase=0xf4 \
		-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
		-m "$MACHINE_MEMORY" -kernel "$1" -append "$args" \
		-netdev "tap,id=net,ifname=$link,script=no,downscript=no" -device "virtio-net-device,netdev=net,mac=$mac"
}

# shellcheck source-path=SCRIPTDIR/.. source=machine.sh
. "$SCRIPTS/machine.sh"
machine_main "$@"
